/* SPDX-License-Identifier: MIT */
/* How a schedule looks in an answer. */
#ifndef CMD_SCHEDULE_REPLY_H
#define CMD_SCHEDULE_REPLY_H

#include "cmd/reply.h"
#include "plugin.h"

/* One map. */
void schedule_reply(struct reply *r, const struct bh_schedule *s);

/* The words of enum bh_misfire and of enum bh_overlap, ended by NULL. */
extern const char *const schedule_misfires[];
extern const char *const schedule_overlaps[];

#endif
