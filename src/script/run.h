/* SPDX-License-Identifier: MIT */
/*
 * One run on its coroutine, whoever schedules it (a script thread, or a dry
 * run).
 *
 *   run_begin ─► run_step ─► false: it waits (run.wait says for what); when
 *                   ▲  │            that has come, run_step again
 *                   └──┘
 *                      └──► true: msg->end says what came of it
 *
 * run_drop ends a run that waits. After CPU_STUCK the state is dead: the
 * caller must end all its other runs with run_drop() and free it.
 */
#ifndef SCRIPT_RUN_H
#define SCRIPT_RUN_H

#include <stdbool.h>

#include "base/attr.h"
#include "script/state.h"

/* false: no memory for it; msg->end says so. */
MUSTCHECK bool run_begin(struct state *st, struct run_msg *m);
/* Gives it the CPU until it waits (false) or has ended (true). */
MUSTCHECK bool run_step(struct run_msg *m);
/* Forgets the coroutine; msg->end must be filled by the caller. */
void run_drop(struct run_msg *m);

/* Its job objects stand for nothing from now on. */
void run_forget(struct run_msg *m);

/* Ends that do not come from the script. */
PRINTF(3, 4) void run_end_fail(struct run_msg *m, bool final,
    const char *fmt, ...);
/* The start is given back. */
void run_end_release(struct run_msg *m, int64_t delay_ms);

#endif
