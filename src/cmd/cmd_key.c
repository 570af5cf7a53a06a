/* SPDX-License-Identifier: MIT */
/* Commands of the keyspace: all of them go to the backend as they are, and
 * its answer goes to the client as it is. */
#include <string.h>

#include "cmd/op.h"
#include "cmd/rows.h"

/* An error's first word is its name; what is no name of ours is an ERR. */
static void
put_error(struct reply *r, struct bh_bytes s)
{
	static const int codes[] = {BH_E_ERR, BH_E_WRONGTYPE, BH_E_OOM};
	char text[512];
	size_t n = s.len < sizeof(text) ? s.len : sizeof(text) - 1;

	memcpy(text, s.data, n);
	text[n] = '\0';
	for (size_t i = 0; i < nitems(codes); i++) {
		const char *word = err_word(codes[i]);
		size_t len = strlen(word);

		if (n > len && memcmp(text, word, len) == 0 &&
		    text[len] == ' ') {
			r->ops->error(r, codes[i], text + len + 1);
			return;
		}
	}
	r->ops->error(r, BH_E_ERR, text);
}

/* What follows the value in its preorder. */
static const struct bh_value *
put_value(struct reply *r, const struct bh_value *v)
{
	size_t n = v->n;
	char text[64];

	switch (v->type) {
	case BH_NULL:
		r->ops->null(r);
		return v + 1;
	case BH_NULL_ARRAY:
		r->ops->null_array(r);
		return v + 1;
	case BH_STATUS:
		n = v->s.len < sizeof(text) ? v->s.len : sizeof(text) - 1;
		memcpy(text, v->s.data, n);
		text[n] = '\0';
		r->ops->simple(r, text);
		return v + 1;
	case BH_ERROR:
		put_error(r, v->s);
		return v + 1;
	case BH_INTEGER:
		r->ops->integer(r, v->i);
		return v + 1;
	case BH_DOUBLE:
		r->ops->real(r, v->d);
		return v + 1;
	case BH_STRING:
		r->ops->bulk(r, v->s.data, v->s.len);
		return v + 1;
	case BH_ARRAY:
		r->ops->array(r, n);
		break;
	case BH_MAP:
		r->ops->map(r, n);
		n *= 2;
		break;
	}
	v++;
	for (size_t i = 0; i < n; i++)
		v = put_value(r, v);
	return v;
}

static void
answered(struct bh_req *req)
{
	struct op *op = op_of(req);
	struct cmd_call *call = op->call;

	if (op_failed(op))
		return;
	if (op->key.value->type == BH_ERROR)
		call->env->stats.errors++;
	put_value(call->reply, op->key.value);
	op_end(op);
}

void
cmd_key(struct cmd_call *call)
{
	struct op *op = op_new(call);

	op->key = (struct bh_key_command){.req.done = answered,
	    .argv = call->argv, .argc = call->argc};
	if (call->row->flags & CMD_BLOCKS) {
		op->busy = &op->req;
		call->waits = true;
	}
	call->env->ops->key_command(call->env->be, &op->key);
}

static void
published(struct bh_req *req)
{
	struct op *op = op_of(req);

	if (op_failed(op))
		return;
	op->call->reply->ops->integer(op->call->reply, op->publish.receivers);
	op_end(op);
}

void
cmd_publish(struct cmd_call *call)
{
	struct op *op = op_new(call);

	op->publish = (struct bh_publish){.req.done = published,
	    .topic = call->argv[1], .message = call->argv[2]};
	call->env->ops->publish(call->env->be, &op->publish);
}
