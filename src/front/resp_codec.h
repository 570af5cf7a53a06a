/* SPDX-License-Identifier: MIT */
/*
 * RESP2 and RESP3 bytes, both ways, without any I/O: the door parses requests
 * and encodes answers; bellhopctl and the script threads do the opposite.
 * Pure functions over buffers; any thread.
 */
#ifndef FRONT_RESP_CODEC_H
#define FRONT_RESP_CODEC_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "plugin.h"

/* Limits on what a peer may send. */
struct resp_limits {
	size_t max_args;		/* of one command */
	size_t max_bulk;		/* bytes of one argument */
	size_t max_request;		/* bytes of one command */
	size_t max_inline;		/* bytes of an inline command */
};

/* An incremental parser of requests: multibulk or inline. It remembers where
 * it stopped, so that input in small pieces costs no more than in one. */
struct resp_parser {
	struct bh_bytes *argv;		/* point into the input */
	size_t argc, cap;
	bool is_inline;			/* the last command was no multibulk */
	/* private: where it stopped */
	size_t want, pos;
	size_t *offsets;
	struct buf scratch;		/* unquoted arguments of a line */
};

void resp_parser_init(struct resp_parser *p);
/* Frees everything; the parser is as after init. */
void resp_parser_done(struct resp_parser *p);
/* True between two commands. */
bool resp_parser_at_rest(const struct resp_parser *p);

/* Looks for one whole command at the front of the len bytes. 1: found, argv
 * points into data (quoted inline arguments: into the parser) until the next
 * call, and *ret_used bytes belong to it (argc 0 for an empty line). 0: more
 * is needed; call again with the same front bytes and more. -1: broken or
 * over a limit, see e; the connection cannot go on. */
MUSTCHECK int resp_parse(struct resp_parser *p, const char *data, size_t len,
    const struct resp_limits *lim, size_t *ret_used, struct err *e);

/* Encoding of answers; proto is 2 or 3. In RESP2 a map is a flat array, a
 * boolean an integer, a double a bulk string, null a null bulk. */
void resp_put_simple(struct buf *b, const char *text);
/* word NULL: text begins with it. */
void resp_put_error(struct buf *b, const char *word, const char *text);
void resp_put_int(struct buf *b, int64_t v);
void resp_put_double(struct buf *b, int proto, double v);
void resp_put_bool(struct buf *b, int proto, bool v);
void resp_put_bulk(struct buf *b, const void *data, size_t len);
void resp_put_verbatim(struct buf *b, int proto, const char *s, size_t len);
void resp_put_null(struct buf *b, int proto);
/* Where an array was expected: RESP2 has its own null for that. */
void resp_put_null_array(struct buf *b, int proto);
void resp_put_array(struct buf *b, size_t n);
void resp_put_map(struct buf *b, int proto, size_t n);
void resp_put_set(struct buf *b, int proto, size_t n);
void resp_put_push(struct buf *b, int proto, size_t n);
/* A whole request. */
void resp_put_command(struct buf *b, const struct bh_bytes *argv, size_t argc);

/* A decoded answer: a tree. Verbatim strings and big numbers come as BULK. */
enum resp_type {
	RESP_SIMPLE, RESP_ERROR, RESP_INT, RESP_DOUBLE, RESP_BOOL, RESP_BULK,
	RESP_NULL, RESP_ARRAY, RESP_MAP, RESP_SET, RESP_PUSH
};

struct resp_value {
	enum resp_type type;
	int64_t i;			/* INT, BOOL */
	double d;
	struct bh_bytes s;		/* points into the input */
	struct resp_value *items;	/* 2 × n of a map: key, value, … */
	size_t n;			/* items, or pairs of a map */
};

/* 1 found: *ret_used bytes belong to it, and the caller ends the value with
 * resp_value_done(). 0 more needed, -1 broken (or deeper than 32): nothing to
 * end. */
MUSTCHECK int resp_decode(const char *data, size_t len,
    struct resp_value *ret, size_t *ret_used, struct err *e);
void resp_value_done(struct resp_value *v);

#endif
