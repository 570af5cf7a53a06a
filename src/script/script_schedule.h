/* SPDX-License-Identifier: MIT */
/* The list `schedule` of a script, checked and taken apart. */
#ifndef SCRIPT_SCRIPT_SCHEDULE_H
#define SCRIPT_SCRIPT_SCHEDULE_H

#include <lua.h>

#include "base/attr.h"
#include "base/buf.h"
#include "plugin.h"

#define SCHEDULES_MAX 64

struct state;

/* Rows without owner and queue; each string is a heap block of its own. */
struct script_plan {
	size_t n;
	struct bh_schedule rows[SCHEDULES_MAX];
};

void script_plan_free(struct script_plan **p);

/* Judges the value on top of the stack and leaves it there. 0, or -1 with a
 * sentence in e. Raises only for want of memory. */
MUSTCHECK int script_schedule_check(lua_State *L, struct buf *e);
/* Keeps what the script's table (at idx, checked) declares in its source, once
 * for all threads; queue names those that have no name. Raises an error for
 * data that JSON does not have. */
void script_schedule_keep(lua_State *L, struct state *st, int idx,
    const char *queue);

#endif
