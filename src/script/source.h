/* SPDX-License-Identifier: MIT */
/*
 * What a script thread needs to know, as immutable snapshots that threads
 * share: the configuration that scripts see, and one version of one script.
 * Both are counted; whoever drops the last reference frees it. Any thread.
 */
#ifndef SCRIPT_SOURCE_H
#define SCRIPT_SOURCE_H

#include <stdatomic.h>
#include <stdint.h>

#include "cmd/env.h"
#include "conf/conf.h"

struct script_plan;

struct script_env {
	atomic_int refs;
	char *lua_dir;
	char *secrets_dir;
	bool alerts;			/* the built-in script is wanted */
	int64_t memory;			/* of one state, bytes */
	int64_t cpu_ms;			/* between two waits */
	int64_t max_payload;
	int64_t max_result;
	char *state_dir;
	char *http_ca_file, *http_proxy;
	int64_t http_max_size;
	char **allow_hosts;		/* lower-case; lists end with NULL */
	char *mail_server, *mail_user, *mail_password, *mail_from, *mail_tls;
	char **exec_allow;
	struct conf_user *user;
	size_t nuser;
	const struct lua_lib *libs;	/* of plugins; they outlive all */
	size_t nlibs;
};

struct script_env *script_env_new(const struct conf *conf);
struct script_env *script_env_ref(struct script_env *e);
void script_env_unref(struct script_env **e);
bool script_env_equal(const struct script_env *a, const struct script_env *b);

struct source {
	atomic_int refs;
	char *file;			/* path */
	const char *name;		/* its last part, points into file */
	char *text;
	size_t len;
	char version[13];		/* 12 hex digits of the SHA-256 */
	struct script_env *env;
	/* What it declares; made by the first thread that loads it. */
	struct script_plan *plan;
};

/* Takes text over. */
struct source *source_new(const char *file, char *text, size_t len,
    struct script_env *env);
struct source *source_ref(struct source *s);
void source_unref(struct source **s);

/* "FILE:LINE: cause" from a message that begins with the bare name; a message
 * without one gets the file in front. The caller frees it. */
char *source_error(const char *file, const char *msg);

/* The queue that a script which does not compile seems to serve: the first
 * `queue = "NAME"` outside of comments, or NULL. The caller frees it. */
char *source_guess_queue(const char *text, size_t len);
/* The same for the name of its webhook; the queue's when it says none. */
char *source_guess_hook(const char *text, size_t len);

#endif
