/* SPDX-License-Identifier: MIT */
/* What spec.c and spec_run.c share. One process runs one spec at a time. */
#ifndef SCRIPT_SPEC_IMPL_H
#define SCRIPT_SPEC_IMPL_H

#include <bsd/sys/queue.h>
#include <stdio.h>

#include "script/run.h"

/* A script that a spec has loaded. */
struct actor {
	TAILQ_ENTRY(actor) entry;
	struct script_env *env;
	struct source *src;
	struct state *st;
	struct script_opts opts;
};

/* One file of specs. */
struct spec {
	struct host host;		/* first */
	struct script_memory memory;
	const struct conf *conf;
	struct state *st;		/* the specs' own */
	int handlers;			/* registry: table of spec.lua */
	TAILQ_HEAD(, actor) actors;
	char dir[40];			/* for secrets */
	unsigned ndirs;
	FILE *out;
	/* the run under way */
	struct ask *asked;
	int64_t nap_ms;
	bool broken;			/* a handler raised; it is on L's top */
};

/* spec.lua and spec_stream.lua, made at build time */
extern const char spec_lua[], spec_stream_lua[];

/* Milliseconds of the turned clock; adds to it. */
int64_t spec_now(void);
void spec_advance(int64_t ms);

/* native.run(actor, what, question): what a function of a script came to. */
int spec_run(lua_State *L);
/* host->ask, nap and log. */
void spec_ask(struct host *h, struct ask *a);
void spec_nap(struct host *h, struct run *r, int64_t ms);
void spec_log(struct host *h, enum log_level level,
    const struct log_about *about, const char *text);

#endif
