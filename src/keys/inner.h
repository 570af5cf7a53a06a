/* SPDX-License-Identifier: MIT */
/*
 * Commands inside of another one: of a transaction or a script. They run at
 * once, wait for nothing, and their records commit with those of the outer
 * call. Beside the keyspace's there are PUBLISH and CL.THROTTLE, and for
 * scripts PING, ECHO, TIME and SELECT.
 *
 * Main thread only.
 */
#ifndef KEYS_INNER_H
#define KEYS_INNER_H

#include "keys/part.h"

/* A message that is told when the outer call's end is durable. */
struct inner_message {
	struct inner_message *next;
	size_t topic_len, len;
	char text[];			/* the topic, then the message */
};

struct inner {
	struct kcall call;
	bool goes_on;			/* inner_step() is to be called */
	struct inner_message *messages, **messages_tail;
};

void inner_init(struct inner *in);
/* The outer call has come to its end: what was published is on its way. */
void inner_end(struct inner *in, struct kcall *outer);
/* Frees what it has, also in the middle. */
void inner_done(struct inner *in);

/* A command's row, also one of those that only inner calls have. */
const struct kcmd *inner_find(struct bh_bytes name);

/*
 * Runs a command for the outer call, whose answer is appended to re. Its name
 * and arity have been checked. False: it has not ended, inner_step() goes on
 * (false until it has). What the answer shows is in the outer call's lsn and
 * dirty then.
 */
bool inner_run(struct inner *in, struct kcall *outer, const struct kcmd *cmd,
    const struct bh_bytes *argv, size_t argc, struct kreply *re);
bool inner_step(struct inner *in, struct kcall *outer);

/* True when the slice of a walk that began then is over. */
bool slice_over(int64_t began_us);

#endif
