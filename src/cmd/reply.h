/* SPDX-License-Identifier: MIT */
/*
 * Where a command writes its answer. A front door implements the sink (RESP2,
 * RESP3, later JSON); a command says what the answer is and never how it is
 * encoded. Aggregates announce their length and are followed by their parts;
 * a map is n pairs.
 */
#ifndef CMD_REPLY_H
#define CMD_REPLY_H

#include <stddef.h>
#include <stdint.h>

#include "plugin.h"

struct reply;

struct reply_ops {
	void (*simple)(struct reply *r, const char *text);	/* OK, PONG */
	void (*error)(struct reply *r, int code, const char *text);
	/* An error whose first word may be any. */
	void (*error_line)(struct reply *r, const char *line);
	void (*integer)(struct reply *r, int64_t v);
	void (*real)(struct reply *r, double v);
	void (*boolean)(struct reply *r, bool v);
	void (*bulk)(struct reply *r, const void *data, size_t len);
	void (*verbatim)(struct reply *r, const char *text, size_t len);
	void (*null)(struct reply *r);
	void (*null_array)(struct reply *r);	/* instead of an array */
	void (*array)(struct reply *r, size_t n);
	void (*map)(struct reply *r, size_t n);
	void (*set)(struct reply *r, size_t n);
	void (*push)(struct reply *r, size_t n);
};

/* First member of a door's own sink. */
struct reply {
	const struct reply_ops *ops;
	int proto;		/* RESP 2 or 3; HELLO changes its own reply's */
};

/* Shorthands over the sink. */
void reply_ok(struct reply *r);
void reply_str(struct reply *r, const char *s);		/* bulk */
void reply_bytes(struct reply *r, struct bh_bytes b);	/* NULL data: null */
void reply_id(struct reply *r, int64_t id);		/* decimal bulk */
void reply_hex(struct reply *r, uint64_t v);		/* 16 digits, bulk */
/* One pair of a map. */
void reply_pair_int(struct reply *r, const char *name, int64_t v);
void reply_pair_str(struct reply *r, const char *name, const char *v);

#endif
