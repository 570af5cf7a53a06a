/* SPDX-License-Identifier: MIT */
/*
 * A command that has asked the backend: the request under way and the call
 * that waits for it. Most commands are one op: op_new(), fill one of the
 * requests, ask; the request's done() writes the answer and calls op_end().
 *
 * Main thread only.
 */
#ifndef CMD_OP_H
#define CMD_OP_H

#include "cmd/cmd.h"
#include "cmd/env.h"

struct op {
	union {				/* first: a request is its op */
		struct bh_req req;
		struct bh_put put;
		struct bh_reserve reserve;
		struct bh_finish finish;
		struct bh_extend extend;
		struct bh_get get;
		struct bh_list list;
		struct bh_alter alter;
		struct bh_stats stats;
		struct bh_queue_alter queue_alter;
		struct bh_key_command key;
		struct bh_throttle throttle;
		struct bh_publish publish;
		struct bh_schedule_put schedule_put;
		struct bh_schedule_list schedule_list;
		struct bh_schedule_remove schedule_remove;
	};
	struct cmd_call *call;
	struct bh_req *busy;		/* what cancel ends, or NULL */
	void (*send)(struct op *op);	/* op_guarded: what comes then */
	int64_t id;
	struct bh_why *why;		/* freed with the op */
	int64_t *ids;			/* freed with the op */
	struct bh_window *windows;	/* freed with the op */
	struct bh_put *also;		/* freed with the op */
	struct multi *multi;		/* freed with the op */
	char text[160];			/* for a name that a request needs */
};

/* Becomes call->state; cancelling the call cancels op->busy. */
struct op *op_new(struct cmd_call *call);
static inline struct op *
op_of(struct bh_req *req)
{
	return (struct op *)req;
}

/* The answer has been written. */
void op_end(struct op *op);
/* The end with OK. */
void op_ok(struct op *op);
/* The end with an error: what parsing said, or what the backend said. */
void op_fail(struct op *op, const struct err *e);
/* True when the request failed: the error has been written, op is gone. */
bool op_failed(struct op *op);

/* Calls send(op) once it is sure that the caller's token includes the queue
 * of this job; that takes a look at the job only where it must. */
void op_guarded(struct op *op, int64_t id, void (*send)(struct op *op));

#endif
