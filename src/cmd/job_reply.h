/* SPDX-License-Identifier: MIT */
/* A job as a map: the fields that apply, in a fixed order. */
#ifndef CMD_JOB_REPLY_H
#define CMD_JOB_REPLY_H

#include "cmd/reply.h"

/* The token is among them when the job has one. */
void job_reply(struct reply *r, const struct bh_job *job);
/* The name of a gate: "paused". */
const char *gate_name(enum bh_gate gate);

#endif
