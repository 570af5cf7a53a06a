/* SPDX-License-Identifier: MIT */
/*
 * Ordered reply slots: each command of a connection takes one, commands end in
 * any order, and their answers leave in the order of the slots. The head of
 * the line writes straight into the connection's output, the others into a
 * buffer of their own.
 *
 * A slot holds a copy of its request, in one allocation. Main thread only.
 */
#ifndef FRONT_SLOT_H
#define FRONT_SLOT_H

#include <bsd/sys/queue.h>

#include "base/buf.h"
#include "cmd/cmd.h"
#include "front/resp_sink.h"

struct slot_line;

struct slot {
	struct cmd_call call;		/* first */
	struct resp_sink sink;
	struct slot_line *line;
	struct buf own;
	bool ended;
	size_t bytes;			/* of the whole slot */
	STAILQ_ENTRY(slot) entry;
	struct bh_bytes argv[];		/* and behind them their bytes */
};

/* bytes is what the requests under way cost, held what their finished answers
 * do that have to wait. */
struct slot_line {
	STAILQ_HEAD(, slot) slots;
	struct buf *out;		/* NULL: answers are thrown away */
	size_t n;
	size_t bytes;
	size_t held;
};

void slot_line_init(struct slot_line *line, struct buf *out);

/* A slot at the end of the line, with a copy of the arguments and a sink;
 * muted: its answer is thrown away unless the call unmutes itself. */
struct slot *slot_new(struct slot_line *line, const struct bh_bytes *argv,
    size_t argc, int proto, bool muted);
/* Its answer is complete: it leaves with all that waited behind it, or it
 * waits for those before it. It may be freed then. */
void slot_end(struct slot *s);

/* The connection is gone: nothing is written any more, and every call still
 * under way is cancelled. Their ends still come through slot_end(). */
void slot_line_abandon(struct slot_line *line);
/* Cancels the calls that may wait for a client's time; with all, also those
 * that could still answer at once. */
void slot_line_cancel_waiting(struct slot_line *line, bool all);

#endif
