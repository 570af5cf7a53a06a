/* SPDX-License-Identifier: MIT */
/*
 * A script thread: its own event loop, one state for each script version in
 * use, one coroutine for each run. It takes to_worker messages and sends
 * from_worker ones in chains. Whatever comes in goes out exactly once: a run
 * as FROM_ENDED, an ask (answered) is freed here, notes are freed here.
 *
 * Any thread may send; only the main thread makes and frees workers.
 */
#ifndef SCRIPT_WORKER_H
#define SCRIPT_WORKER_H

#include "rt/mbox.h"
#include "script/msg.h"
#include "script/state.h"

struct worker;

/* index 0 also scans directories and watches them. */
struct worker *worker_new(int index, struct script_memory *memory,
    struct mbox *to_main);
/* Ends the thread; its runs come back as releases first. */
void worker_free(struct worker **w);

/* How long the thread has been at one thing. */
int64_t worker_busy_ms(const struct worker *w);

void worker_send(struct worker *w, struct msg *m);
void worker_send_chain(struct worker *w, struct msg *first,
    struct msg *last);

#endif
