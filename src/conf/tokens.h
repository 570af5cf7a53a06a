/* SPDX-License-Identifier: MIT */
/*
 * Access tokens: state_dir/tokens, one line each, "name role sha256-hex
 * [pattern …]", mode 0600, written by rename. The token itself (256 random
 * bits, base64url) is shown once and never stored. Main thread only.
 */
#ifndef CONF_TOKENS_H
#define CONF_TOKENS_H

#include "base/attr.h"
#include "base/err.h"

struct tokens;

struct token {
	char *name;			/* [A-Za-z0-9_.-]{1,64} */
	char *role;			/* "reader" … "admin" */
	unsigned char hash[32];
	char **patterns;		/* queue globs; none: all */
	size_t npatterns;
};

/* A missing file is an empty set. */
MUSTCHECK int tokens_open(struct tokens **ret, const char *path,
    struct err *e);
void tokens_free(struct tokens **t);
size_t tokens_count(const struct tokens *t);
const struct token *tokens_at(const struct tokens *t, size_t i);

/* Compared in constant time with every token; NULL: unknown. */
const struct token *tokens_check(const struct tokens *t, const char *secret,
    size_t len);
/* CONFLICT when the name is taken; *ret_secret is the caller's to free. */
MUSTCHECK int tokens_add(struct tokens *t, const char *name,
    const char *role, char **patterns, size_t npatterns, char **ret_secret,
    struct err *e);
MUSTCHECK int tokens_remove(struct tokens *t, const char *name,
    struct err *e);

#endif
