/* SPDX-License-Identifier: MIT */
/*
 * Something outside of Bellhop that a run waits for: an HTTP exchange, a mail,
 * another program. Lua code makes one with the whole question in it, hangs it
 * on its run (run.call, WAIT_CALL) and yields; whoever drives the run has it
 * answered and puts it in run.called before the next step, which reads it.
 *
 *   lua_http.c ─► run.call ─► outside_begin() … done() ─► run.called ─► freed
 *                     └─────► outside_cancel(), when the run has ended
 *
 * A dry run answers it without going anywhere. A call belongs to one thread.
 */
#ifndef SCRIPT_CALL_H
#define SCRIPT_CALL_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "script/source.h"

enum call_kind { CALL_HTTP, CALL_MAIL, CALL_EXEC, CALL_KINDS };

struct run;

struct call {
	enum call_kind kind;
	struct run *run;		/* NULL: nobody waits any more */
	struct script_env *env;		/* holds a reference */
	char *error;			/* why there is no answer, or NULL */
	bool permanent;			/* trying again is of no use */
};

/* An exchange, redirects included. */
struct http_call {
	struct call call;		/* first */
	/* the question */
	char method[16];
	char *url;			/* as the script built it */
	struct buf lines;		/* "Name: value\0" each */
	char *body;			/* NULL: none */
	size_t body_len;
	int64_t timeout_ms, connect_ms;
	int64_t max_size;
	int redirects;			/* how many may be followed */
	/* the answer */
	int status;
	char *final_url;
	struct buf head;		/* the last answer's header, raw */
	struct buf reply;		/* its body */
	int64_t elapsed_us;
};

/* A file that goes with a mail. */
struct mail_file {
	char *name, *type;
	char *data;
	size_t len;
};

struct mail_call {
	struct call call;		/* first */
	char *from;			/* the envelope's address */
	char **to;			/* all of the envelope's; ends with NULL */
	size_t nto;
	struct buf lines;		/* "Name: value\0" each, all encoded */
	char *text, *html;		/* one of them at least */
	size_t text_len, html_len;
	struct mail_file *files;
	size_t nfiles;
	char *password;			/* NULL: no login */
	char id[128];			/* Message-ID without < > */
};

struct exec_call {
	struct call call;		/* first */
	char **argv;			/* ends with NULL; [0] is the path */
	char **envp;
	char *input;			/* what it reads; NULL: nothing */
	size_t input_len;
	int64_t timeout_ms;
	int64_t max_output;		/* of each stream */
	/* the answer */
	int status;			/* -1: ended by a signal */
	int signal;			/* 0: ended by itself */
	struct buf out, err;
};

/* What is left is filled by the caller. env gains a reference. */
void *call_new(enum call_kind kind, size_t size, struct script_env *env);
void call_free(struct call **c);
/* The first error counts. */
PRINTF(2, 3) void call_fail(struct call *c, const char *fmt, ...);

/* Whether the coroutine may wait here; raises an error that begins with what
 * ("http.get") otherwise. */
void call_check(lua_State *L, const char *what);
/* Hangs c on the run of L and yields; k reads run.called. */
int call_wait(lua_State *L, struct call *c, lua_KContext ctx, lua_KFunction k);

#endif
