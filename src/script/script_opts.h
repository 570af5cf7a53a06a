/* SPDX-License-Identifier: MIT */
/* The table that a script returns, checked and taken apart. */
#ifndef SCRIPT_SCRIPT_OPTS_H
#define SCRIPT_SCRIPT_OPTS_H

#include <lua.h>

#include "base/attr.h"
#include "base/buf.h"
#include "conf/qopts.h"
#include "script/script_hook.h"

struct script_opts {
	char queue[129];		/* empty: none */
	bool performs;			/* it serves the queue */
	bool has_hook;
	bool has_schedule;
	struct bh_queue_opts opts;
	struct hook_opts hook;
	struct topic_opts topics;
};

/* Reads the table at idx; what the script does not say stays "not said".
 * 0, or -1 with a sentence in e that names the option, the value and what was
 * expected. Raises Lua errors only for want of memory. */
MUSTCHECK int script_opts_read(lua_State *L, int idx,
    struct script_opts *ret, struct buf *e);

#endif
