/* SPDX-License-Identifier: MIT */
/*
 * The keyspace answers in the shape of RESP2, whoever keeps it. For a reader
 * of RESP3 this gives each command's answer the shape that Redis has for it:
 * maps, sets, doubles, pairs. Main thread only.
 */
#ifndef CMD_RESP3_H
#define CMD_RESP3_H

#include "cmd/reply.h"

/* Writes the answer to the command argv; what follows it in its row. */
const struct bh_value *resp3_reply(struct reply *r,
    const struct bh_bytes *argv, size_t argc, const struct bh_value *v);

#endif
