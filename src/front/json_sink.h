/* SPDX-License-Identifier: MIT */
/*
 * The reply sink that writes JSON: the objects of the HTTP door. Maps become
 * objects, and a payload or result is embedded with its *_encoding beside it
 * (json_body). An error is no JSON: it is kept apart. One pass, no tree.
 *
 * One thread at a time.
 */
#ifndef FRONT_JSON_SINK_H
#define FRONT_JSON_SINK_H

#include "base/buf.h"
#include "base/json.h"
#include "cmd/reply.h"

/* Deeper parts of an answer are left out: null stands in their place. */
#define JSON_SINK_DEPTH 32

struct json_sink {
	struct reply reply;		/* first; what a command is given */
	struct json json;
	/* The open aggregates: how many parts they still wait for. */
	struct {
		size_t left;
		bool map;
	} open[JSON_SINK_DEPTH];
	size_t depth;
	bool raw;			/* a lone string: its bytes alone */
	bool nil;			/* raw, and there is none */
	size_t skip;			/* parts of what was too deep */
	char body[8];			/* "payload" or "result" */
	int status;			/* BH_OK, or the answer is an error */
	char text[512];
};

/* out stays the caller's. */
void json_sink_init(struct json_sink *s, struct buf *out);

#endif
