/* SPDX-License-Identifier: MIT */
/*
 * What a script says about its webhook, and whether a request is genuine.
 *
 * A request is genuine when one of the secrets, with the signature's method,
 * gives the value that its header (or query parameter) carries. Comparisons
 * take as long wherever values differ. The time that a sender signs must be
 * within the window.
 *
 * Pure functions; any thread.
 */
#ifndef SCRIPT_HOOK_H
#define SCRIPT_HOOK_H

#include "base/attr.h"
#include "base/err.h"
#include "plugin.h"

#define HOOK_SECRETS 4

enum hook_signature {
	HOOK_NONE, HOOK_SHA256, HOOK_SHA1, HOOK_SHA512, HOOK_TOKEN
};
enum hook_encoding { HOOK_HEX, HOOK_BASE64 };
enum hook_time { HOOK_SECONDS, HOOK_MILLISECONDS, HOOK_RFC3339 };

/* An empty string: not said. Header names are lower-case. */
struct hook_opts {
	char name[129];			/* empty: the script has no hook */
	char secrets[HOOK_SECRETS][129];	/* their names */
	int64_t nsecrets;
	int64_t signature;		/* enum hook_signature */
	char header[65];		/* where the signature stands */
	char query[65];			/* or the token: a parameter */
	char field[33];			/* "v1" of "t=…,v1=…" */
	char prefix[33];		/* before the signature */
	char payload[129];		/* what is signed; empty: the body */
	int64_t encoding;		/* enum hook_encoding */
	int64_t secret_encoding;	/* HOOK_BASE64: decode it first */
	struct {
		char header[65];
		char field[33];
		int64_t window_ms;
		int64_t format;		/* enum hook_time */
	} timestamp;
	char delivery[65];		/* header with the delivery's id */
	int64_t delivery_ttl_ms;
	int64_t methods;		/* bits of hook_method() */
	int64_t max_body;		/* 0: the door's limit */
	bool accept, challenge;		/* the functions that there are */
};

/* The defaults: POST, no signature. */
void hook_opts_init(struct hook_opts *o);
/* A bit for each method that a hook can have, 0 for others. */
unsigned hook_method(const char *name);

/* The value of a header (lower-case name), data NULL when it is absent. */
struct bh_bytes hook_header(const struct bh_hook *h, const char *name);

/* 0, or -1 with a sentence that says what is wrong with the request, without
 * any secret in it. wall_ms is now. */
MUSTCHECK int hook_verify(const struct hook_opts *o,
    const struct bh_bytes *secrets, size_t nsecrets, const struct bh_hook *h,
    int64_t wall_ms, struct err *e);

#endif
