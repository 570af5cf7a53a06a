/* SPDX-License-Identifier: MIT */
/* The tables `hook` and `subscribe` of a script, checked and taken apart. */
#ifndef SCRIPT_SCRIPT_HOOK_H
#define SCRIPT_SCRIPT_HOOK_H

#include <lua.h>

#include "base/attr.h"
#include "base/buf.h"
#include "script/hook.h"

#define TOPICS_MAX 16

/* The patterns of `subscribe`, in their alphabetical order. */
struct topic_opts {
	char patterns[TOPICS_MAX][129];
	int n;
};

/* Both read the value on top of the stack and leave it there. 0, or -1 with a
 * sentence in e. Raise only for want of memory. */
MUSTCHECK int script_hook_read(lua_State *L, struct hook_opts *ret,
    struct buf *e);
MUSTCHECK int script_topics_read(lua_State *L, struct topic_opts *ret,
    struct buf *e);
/* What can only be judged once the whole script is read: the name that is not
 * said is the queue's. */
MUSTCHECK int script_hook_settle(struct hook_opts *o, const char *queue,
    struct buf *e);

#endif
