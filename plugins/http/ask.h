/* SPDX-License-Identifier: MIT */
/*
 * A request on its way to a command and back: the words of the command are
 * gathered, the daemon runs it, then() turns its answer into HTTP's. Errors
 * leave as application/problem+json (RFC 9457).
 */
#ifndef HTTP_ASK_H
#define HTTP_ASK_H

#include <jansson.h>

#include "http/door.h"
#include "http/gate.h"
#include "http/web.h"

struct ask;
typedef void ask_fn(struct ask *a);

enum body_kind {
	BODY_NONE,
	BODY_PAYLOAD,			/* bytes, max_payload */
	BODY_JSON,			/* a small document */
	BODY_BATCH			/* max_request */
};

struct route {
	unsigned method;		/* enum web_method */
	const char *path;		/* "{}" stands for one part */
	ask_fn *fn;
	enum body_kind body;
};

/* Named values: a query, or the members of a JSON object. */
struct pairs {
	struct bh_header *items;
	size_t n;
	uint64_t seen;			/* bit i: somebody has asked for it */
	const char *what;		/* "query parameter", for messages */
};

#define PAIRS_MAX 64
#define WORDS_FEW 24

struct ask {
	struct web_req web;		/* first */
	struct door *door;
	struct client *client;
	const struct route *route;
	enum gate_origin origin;
	struct bh_bytes param[2];	/* what stands for {} */
	struct pairs query;
	struct bh_call call;
	bool running;
	struct bh_bytes *argv;
	size_t argc, argcap;
	struct bh_bytes few[WORDS_FEW];
	ask_fn *then;
	int status;			/* of a good answer */
	json_t *json;			/* the body, ask_document() */
	char *taken;			/* FETCH's answer, until it is sent */
	struct bh_hook *hook;
	unsigned line;			/* of a batch, for errors; 0: none */
	/* An error of the command in the words of the request; NULL: it
	 * starts with the name of a value, or with none. */
	const char *(*retold)(struct ask *a, const char *text);
};

/* The word of an error, "QUEUEFULL", and its HTTP status. */
const char *code_word(int code);
int code_status(int code);

/* Answers with an error. */
void ask_fail(struct ask *a, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void ask_problem(struct ask *a, int status, const char *word,
    const char *detail, int64_t retry_ms);
/* Answers with JSON text, or with nothing (204). */
void ask_json(struct ask *a, int status, struct bh_bytes json);
void ask_text(struct ask *a, const char *type, struct text *t);
void ask_none(struct ask *a);

/* Each has answered with an error when it is false. */
bool pairs_get(struct pairs *p, const char *name, struct bh_bytes *ret);
bool ask_span(struct ask *a, struct pairs *p, const char *name,
    int64_t *ret_ms, bool *seen);
bool ask_flag(struct ask *a, struct pairs *p, const char *name, bool *ret);
/* Whether every value has been asked for; names the first that was not. */
bool ask_known(struct ask *a, struct pairs *p);
/* The body as an object; empty: {}. */
bool ask_document(struct ask *a);
/* The members of an object as pairs; nested ones become outer_inner. */
bool ask_members(struct ask *a, json_t *object, struct pairs *ret);

/* Member NAME of an object whose text is given: its exact JSON text, or its
 * bytes where NAME_encoding says text or base64. data NULL: absent or null. */
bool ask_bytes(struct ask *a, struct pairs *p, struct bh_bytes text,
    const char *name, struct bh_bytes *ret);
/* A plain value from the object or, if it is not there, from the query. */
bool ask_value(struct ask *a, struct pairs *p, const char *name,
    struct bh_bytes *ret);

/* Words of the command. They are not copied. */
void ask_add(struct ask *a, struct bh_bytes word);
void ask_word(struct ask *a, const char *word);
void ask_number(struct ask *a, int64_t v);
/* Sends it; then() gets the answer if it is a good one. */
void ask_run(struct ask *a, unsigned flags, ask_fn *then);
/* The text of an error with the name that the value has in this door:
 * "PRIORITY: 'x' is no …" is about priority. */
const char *ask_retell(struct ask *a, const char *text);
/* Another one for the same request. */
void ask_again(struct ask *a);

/* Common ends: the answer as it is; null becomes 404; 204. */
void ask_then_json(struct ask *a);
void ask_then_none(struct ask *a);
/* {"count":n} */
void ask_then_count(struct ask *a);
bool ask_is_null(const struct ask *a);

/* The text of a member's value at the top of an object, exactly as it stands
 * in the text, which must be valid JSON. data NULL: it has none. */
struct bh_bytes json_member(const char *text, size_t len, const char *name);

#endif
