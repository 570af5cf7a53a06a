/* SPDX-License-Identifier: MIT */
/* Commands of the users' keys go to the server as they are; what it answers
 * is the answer. */
#include <hiredis/hiredis.h>

#include "redis/mem.h"
#include "redis/part.h"

/* A command on its way, by its request's priv.state. */
struct key_ask {
	struct redis_be *be;
	struct bh_key_command *r;
};

struct rkeys {
	size_t under_way;
};

void
rkeys_new(struct redis_be *be)
{
	be->keys = mem_new(sizeof(*be->keys));
}

void
rkeys_down(struct redis_be *be)
{
	(void)be;
}

bool
rkeys_idle(const struct redis_be *be)
{
	return be->keys->under_way == 0;
}

bool
rkeys_cancel(struct redis_be *be, struct bh_req *req)
{
	(void)be, (void)req;
	return false;
}

void
rkeys_free(struct redis_be *be)
{
	free(be->keys);
	be->keys = NULL;
}

/* --- a reply as a value --- */

static size_t
count_values(const redisReply *r)
{
	size_t n = 1;

	for (size_t i = 0; r->type == REDIS_REPLY_ARRAY && i < r->elements;
	    i++)
		n += count_values(r->element[i]);
	return n;
}

/* Writes a reply and its items; answers with the place behind them. */
static struct bh_value *
fill_values(struct bh_value *v, const redisReply *r)
{
	*v = (struct bh_value){.type = BH_NULL};
	switch (r->type) {
	case REDIS_REPLY_INTEGER:
		v->type = BH_INTEGER;
		v->i = r->integer;
		break;
	case REDIS_REPLY_ARRAY:
		v->type = BH_ARRAY;
		v->n = r->elements;
		v++;
		for (size_t i = 0; i < r->elements; i++)
			v = fill_values(v, r->element[i]);
		return v;
	case REDIS_REPLY_STRING:
	case REDIS_REPLY_STATUS:
	case REDIS_REPLY_ERROR:
		v->type = r->type == REDIS_REPLY_STRING ? BH_STRING :
		    r->type == REDIS_REPLY_STATUS ? BH_STATUS : BH_ERROR;
		v->s = (struct bh_bytes){r->str, (size_t)r->len};
		break;
	default:
		break;
	}
	return v + 1;
}

static void
on_reply(void *arg, redisReply *reply)
{
	struct key_ask *a = arg;
	struct redis_be *be = a->be;
	struct bh_key_command *r = a->r;
	struct bh_value *values;

	free(a);
	be->keys->under_way--;
	if (!reply) {
		be_done_error(be, &r->req, NULL);
		return;
	}
	values = mem_new(count_values(reply) * sizeof(*values));
	fill_values(values, reply);
	r->value = values;
	be_done(&r->req);
	free(values);
}

void
rkeys_command(void *arg, struct bh_key_command *r)
{
	struct redis_be *be = arg;
	const char **argv = mem_new(r->argc * sizeof(*argv));
	size_t *lens = mem_new(r->argc * sizeof(*lens));
	struct key_ask *a = mem_new(sizeof(*a));

	a->be = be;
	a->r = r;
	for (size_t i = 0; i < r->argc; i++) {
		argv[i] = r->argv[i].data ? r->argv[i].data : "";
		lens[i] = r->argv[i].len;
	}
	if (be->ready && rlink_send(be->main, (int)r->argc, argv, lens,
	    on_reply, a)) {
		be->keys->under_way++;
	} else {
		free(a);
		be_fail_away(be, &r->req);
	}
	free(argv);
	free(lens);
}
