/* SPDX-License-Identifier: MIT */
/*
 * The reply sink that writes RESP into a buffer: the door's slots use it, and
 * so do the script threads' asks. The buffer may be exchanged between two
 * replies. One thread at a time.
 */
#ifndef FRONT_RESP_SINK_H
#define FRONT_RESP_SINK_H

#include "base/buf.h"
#include "cmd/reply.h"

struct resp_sink {
	struct reply reply;		/* first; what a command is given */
	struct buf *out;
};

/* proto is 2 or 3; out stays the caller's. */
void resp_sink_init(struct resp_sink *s, struct buf *out, int proto);

#endif
