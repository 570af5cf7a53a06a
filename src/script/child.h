/* SPDX-License-Identifier: MIT */
/*
 * Other programs that scripts run: children of one thread, each the leader of
 * a process group of its own, without a shell, with no descriptor but three
 * pipes. When its call ends, however it does, the whole group is killed. See
 * outside.h for how it is called.
 */
#ifndef SCRIPT_CHILD_H
#define SCRIPT_CHILD_H

#include "script/outside.h"

struct children;

struct children *children_new(struct ev_loop *loop, outside_fn *done,
    void *arg);
void children_free(struct children **c);

void children_begin(struct children *c, struct call *call);
void children_cancel(struct children *c, struct call *call);

#endif
