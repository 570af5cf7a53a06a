/* SPDX-License-Identifier: MIT */
/* The last commands that took longer than slowlog_slower_than. Main thread
 * only. */
#ifndef CMD_SLOWLOG_H
#define CMD_SLOWLOG_H

#include "cmd/env.h"

struct slowlog;

/* Notes a call that took us; forgets the oldest past slowlog_max_len. */
void slowlog_add(struct cmd_env *env, const struct cmd_call *call, int64_t us);
void slowlog_free(struct slowlog **s);

#endif
