/* SPDX-License-Identifier: MIT */
/*
 * A C client as users write them, with hiredis: WHERE QUEUE PROTO. Adds 1000
 * jobs in one pipeline, takes one and completes it. Exit status 77: this
 * hiredis does not know the protocol.
 */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
die(const char *what, const redisContext *c, const redisReply *r)
{
	fprintf(stderr, "%s: %s %s\n", what, c ? c->errstr : "",
	    r && r->str ? r->str : "");
	exit(1);
}

static redisReply *
want(redisContext *c, redisReply *r, int type, const char *what)
{
	if (!r || r->type != type)
		die(what, c, r);
	return r;
}

/* The value beside a name in a map, flat or not. */
static const char *
field(const redisReply *map, const char *name)
{
	size_t i;

	for (i = 0; i + 1 < map->elements; i += 2)
		if (!strcmp(map->element[i]->str, name))
			return map->element[i + 1]->str;
	return NULL;
}

int
main(int argc, char **argv)
{
	redisContext *c;
	redisReply *r;
	const char *token;
	char first[32] = "";
	int i, port;

	if (argc != 4)
		return 2;
	port = atoi(argv[1]);
	c = port ? redisConnect("127.0.0.1", port)
	    : redisConnectUnix(argv[1]);
	if (!c || c->err)
		die("connect", c, NULL);
	if (!strcmp(argv[3], "3")) {
#ifdef REDIS_REPLY_MAP
		r = want(c, redisCommand(c, "HELLO 3"), REDIS_REPLY_MAP,
		    "HELLO");
		freeReplyObject(r);
#else
		return 77;	/* hiredis before 1.0 speaks RESP2 alone */
#endif
	}
	for (i = 0; i < 1000; i++)
		redisAppendCommand(c, "JOB.ADD %s p%d", argv[2], i);
	for (i = 0; i < 1000; i++) {
		void *reply = NULL;

		if (redisGetReply(c, &reply) != REDIS_OK)
			die("pipeline", c, NULL);
		r = want(c, reply, REDIS_REPLY_STRING, "JOB.ADD");
		if (i == 0)
			snprintf(first, sizeof(first), "%s", r->str);
		freeReplyObject(r);
	}
	r = want(c, redisCommand(c, "JOB.FETCH %s BLOCK 5000", argv[2]),
	    REDIS_REPLY_ARRAY, "JOB.FETCH");
	if (r->elements != 1 || !field(r->element[0], "id") ||
	    strcmp(field(r->element[0], "id"), first))
		die("JOB.FETCH: not the first job", c, NULL);
	token = field(r->element[0], "token");
	if (!token)
		die("JOB.FETCH: no token", c, NULL);
	freeReplyObject(want(c, redisCommand(c, "JOB.DONE %s %s %b", first,
	    token, "a\0b", (size_t)3), REDIS_REPLY_STATUS, "JOB.DONE"));
	freeReplyObject(r);
	r = want(c, redisCommand(c, "JOB.GET nonsense"), REDIS_REPLY_ERROR,
	    "JOB.GET");
	if (strncmp(r->str, "BADARG ", 7))
		die("JOB.GET: another error", c, r);
	freeReplyObject(r);
	redisFree(c);
	puts("fine");
	return 0;
}
