/* SPDX-License-Identifier: MIT */
/* What curl_client.c, curl_http.c and curl_mail.c share. */
#ifndef SCRIPT_CURL_IMPL_H
#define SCRIPT_CURL_IMPL_H

#include <bsd/sys/queue.h>

#include "base/attr.h"
#include "script/call.h"
#include "script/curl_lib.h"

/* One easy handle. It is reused for calls of the same kind: what may differ
 * from one to the next is set each time. */
struct transfer {
	TAILQ_ENTRY(transfer) entry;	/* under way, or free */
	const struct curl_lib *lib;
	struct curl_client *client;
	CURL *easy;
	enum call_kind kind;
	struct call *call;		/* NULL while it is free */
	struct script_env *env;		/* whose options the handle has */
	struct curl_slist *lines;	/* an array: the header of the call */
	size_t lines_cap;
	int64_t begun_us;
	char error[CURL_ERROR_SIZE];	/* libcurl's words */
	char peer[64];			/* an address that was refused */
	const char *refused;		/* why, or NULL */
	/* HTTP: the exchange under way, which a redirect changes */
	char host[256];			/* lower-case, no brackets */
	char *url;			/* as libcurl writes it */
	char *origin;			/* scheme://host:port of the first */
	const char *method;
	bool guarded;			/* addresses are checked */
	bool body;			/* the body is still sent */
	bool foreign;			/* no longer at the first origin */
	bool too_big;
	int hops;			/* redirects that were followed */
	/* mail */
	char answer[512];		/* the server's last line */
	struct curl_slist *rcpt;
	curl_mime *mime;
};

/* Sets the handle up for its call; -1: the call has an error. */
MUSTCHECK int curl_http_begin(struct transfer *t);
/* What the handle came to goes into the call. true: there is another request
 * to send with the same handle (a redirect). */
MUSTCHECK bool curl_http_end(struct transfer *t, CURLcode rc);
/* Frees what the handle needed for the call. */
void curl_http_clear(struct transfer *t);

MUSTCHECK int curl_mail_begin(struct transfer *t);
void curl_mail_end(struct transfer *t, CURLcode rc);
void curl_mail_clear(struct transfer *t);

/* The "Name: value\0" lines of b and those of extra (ends with NULL), but
 * those that skip() wants left out, as libcurl's list; valid until the next
 * call. */
struct curl_slist *curl_lines(struct transfer *t, struct buf *b,
    const char *const *extra, bool (*skip)(const struct transfer *, const char *));
/* Why libcurl gave up, for people. */
void curl_fail(struct transfer *t, CURLcode rc);

#endif
