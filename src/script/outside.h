/* SPDX-License-Identifier: MIT */
/*
 * Where the calls of one thread go: libcurl for HTTP and mail, child processes
 * for exec. It lives on the thread's loop and waits for nothing.
 *
 * outside_begin() takes the call over. It comes back through done(), with an
 * answer or an error in it, maybe before outside_begin() returns; done() must
 * not call back. outside_cancel() ends and frees one that is under way.
 */
#ifndef SCRIPT_OUTSIDE_H
#define SCRIPT_OUTSIDE_H

#include "script/call.h"

struct ev_loop;
struct outside;

typedef void outside_fn(void *arg, struct call *c);

struct outside *outside_new(struct ev_loop *loop, outside_fn *done, void *arg);
/* No call may be under way. */
void outside_free(struct outside **o);

void outside_begin(struct outside *o, struct call *c);
void outside_cancel(struct outside *o, struct call *c);

#endif
