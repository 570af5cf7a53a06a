/* SPDX-License-Identifier: MIT */
/*
 * Scripts at the server. All are loaded when the connection is up; one that
 * the server has forgotten since (SCRIPT FLUSH) is sent whole.
 */
#include <hiredis/hiredis.h>
#include <openssl/evp.h>

#include "redis/lua.h"
#include "redis/mem.h"
#include "redis/move.h"
#include "redis/part.h"

enum { HEX = 40 };

enum before { SCRIPT_NONE, SCRIPT_JOBS, SCRIPT_MOVE };

static const struct {
	enum before before;
	const char *body;
} parts[] = {
#define SCRIPT(name, before, file) {before, file},
#include "redis/script.def"
#undef SCRIPT
};

struct rscripts {
	struct {
		char *text;
		size_t len;
		char sha[HEX + 1];
	} all[RSCRIPT_COUNT];
};

/* A call under way: what is needed to send it again. */
struct call {
	struct redis_be *be;
	enum rscript script;
	int argc;			/* of words */
	const char **words;		/* EVALSHA, digest, keys, … */
	size_t *lens;
	char count[12];
	char *copy;			/* of the arguments, or NULL */
	rlink_reply_fn *fn;
	void *arg;
};

static void
make(struct rscripts *s, int i)
{
	const char *first = "", *second = "", *third = "";
	unsigned char md[EVP_MAX_MD_SIZE];
	size_t size;
	unsigned n;

	if (parts[i].before != SCRIPT_NONE) {
		first = rlua_prelude;
		second = rlua_batch;
	}
	if (parts[i].before == SCRIPT_MOVE)
		third = rmove_columns;
	size = strlen(first) + strlen(second) + strlen(third) +
	    strlen(parts[i].body) + 1;
	s->all[i].text = mem_new(size);
	s->all[i].len = size - 1;
	snprintf(s->all[i].text, size, "%s%s%s%s", first, second,
	    third, parts[i].body);
	if (!EVP_Digest(s->all[i].text, size - 1, md, &n, EVP_sha1(), NULL))
		return;			/* it is sent whole then */
	for (unsigned k = 0; k < n && k < HEX / 2; k++)
		snprintf(s->all[i].sha + (size_t)2 * k, 3, "%02x", md[k]);
}

void
rscript_new(struct redis_be *be)
{
	be->scripts = mem_new(sizeof(*be->scripts));
	for (int i = 0; i < RSCRIPT_COUNT; i++)
		make(be->scripts, i);
}

void
rscript_free(struct redis_be *be)
{
	for (int i = 0; i < RSCRIPT_COUNT; i++)
		free(be->scripts->all[i].text);
	free(be->scripts);
	be->scripts = NULL;
}

static void
loaded(void *arg, struct redisReply *r)
{
	struct redis_be *be = arg;
	char text[BH_ERROR_TEXT];

	if (!r || r->type != REDIS_REPLY_ERROR)
		return;
	(void)be_error(be, r, text);
	be->host->log(BH_LOG_ERROR, "redis", text);
}

void
rscript_up(struct redis_be *be)
{
	for (int i = 0; i < RSCRIPT_COUNT; i++)
		rlink_sendv(be->main, loaded, be, "SCRIPT", "LOAD",
		    be->scripts->all[i].text, NULL);
}

static void
call_free(struct call *c)
{
	free(c->words);
	free(c->lens);
	free(c->copy);
	free(c);
}

static void
replied(void *arg, struct redisReply *r)
{
	struct call *c = arg;
	struct rscripts *s = c->be->scripts;

	if (r && r->type == REDIS_REPLY_ERROR &&
	    strncmp(r->str, "NOSCRIPT", 8) == 0 &&
	    strcmp(c->words[0], "EVALSHA") == 0) {
		c->words[0] = "EVAL";
		c->lens[0] = 4;
		c->words[1] = s->all[c->script].text;
		c->lens[1] = s->all[c->script].len;
		if (rlink_send(c->be->main, c->argc, c->words, c->lens,
		    replied, c))
			return;
		r = NULL;
	}
	c->fn(c->arg, r);
	call_free(c);
}

static void
keep_copy(struct call *c, int argc, const char **argv, const size_t *lens)
{
	size_t size = 0;
	char *p;

	for (int i = 0; i < argc; i++)
		size += lens ? lens[i] : strlen(argv[i]);
	c->copy = p = mem_new(size);
	for (int i = 0; i < argc; i++) {
		size_t n = lens ? lens[i] : strlen(argv[i]);

		if (n > 0)
			memcpy(p, argv[i], n);
		c->words[i + 3] = p;
		c->lens[i + 3] = n;
		p += n;
	}
}

static struct call *
call_new(struct redis_be *be, enum rscript s, int nkeys, int argc,
    rlink_reply_fn *fn, void *arg)
{
	struct call *c = mem_new(sizeof(*c));
	bool hashed = be->scripts->all[s].sha[0];

	c->be = be;
	c->script = s;
	c->fn = fn;
	c->arg = arg;
	c->argc = argc + 3;
	c->words = mem_new((size_t)c->argc * sizeof(*c->words));
	c->lens = mem_new((size_t)c->argc * sizeof(*c->lens));
	snprintf(c->count, sizeof(c->count), "%d", nkeys);
	c->words[0] = hashed ? "EVALSHA" : "EVAL";
	c->words[1] = hashed ? be->scripts->all[s].sha
			     : be->scripts->all[s].text;
	c->words[2] = c->count;
	for (int i = 0; i < 3; i++)
		c->lens[i] = strlen(c->words[i]);
	return c;
}

static bool
send_call(struct call *c)
{
	if (c->be->ready && rlink_send(c->be->main, c->argc, c->words,
	    c->lens, replied, c))
		return true;
	call_free(c);
	return false;
}

bool
rscript_send(struct redis_be *be, enum rscript s, int nkeys, int argc,
    const char **argv, const size_t *argvlen, rlink_reply_fn *fn, void *arg)
{
	struct call *c = call_new(be, s, nkeys, argc, fn, arg);

	memcpy(c->words + 3, argv, (size_t)argc * sizeof(*argv));
	memcpy(c->lens + 3, argvlen, (size_t)argc * sizeof(*argvlen));
	return send_call(c);
}

bool
rscript_call(struct redis_be *be, enum rscript s, int nkeys, int argc,
    const char **argv, const size_t *argvlen, rlink_reply_fn *fn, void *arg)
{
	struct call *c = call_new(be, s, nkeys, argc, fn, arg);

	keep_copy(c, argc, argv, argvlen);
	return send_call(c);
}
