/* SPDX-License-Identifier: MIT */
/*
 * Lua code for tests: a temporary directory for scripts, modules and secrets,
 * a configuration filled by hand, and one call that runs a snippet as the
 * body of perform in a dry run.
 */
#ifndef TESTS_LIB_LUAFIX_H
#define TESTS_LIB_LUAFIX_H

#include "base/buf.h"
#include "conf/conf.h"

struct luafix {
	char dir[64];
	char scripts[80], modules[80], secrets[80];
	struct conf conf;
	bool live;			/* calls go out */
	struct buf out;			/* what the last run printed */
	struct err e;			/* why it failed */
};

/* For cmocka's setup and teardown: *state is the struct luafix. */
int luafix_setup(void **state);
int luafix_teardown(void **state);

void luafix_init(struct luafix *f);
void luafix_done(struct luafix *f);

/* Writes dir/name. */
void luafix_write(const char *dir, const char *name, const char *text);
void luafix_remove(const char *dir, const char *name);

/* A dry run of `perform = function(job) BODY end`; payload may be NULL. */
int luafix_run(struct luafix *f, const char *body, const char *payload);
/* Asserts that it completes and answers with the JSON text of its result. */
const char *luafix_result(struct luafix *f, const char *body);
/* Asserts that it fails and answers with the error. */
const char *luafix_error(struct luafix *f, const char *body);
/* script_check of a whole file; the summary is in out. */
int luafix_check(struct luafix *f, const char *text);

#endif
