/* SPDX-License-Identifier: MIT */
/* An answer of the keyspace, written to whoever asked. Main thread only. */
#ifndef CMD_KEY_REPLY_H
#define CMD_KEY_REPLY_H

#include "cmd/reply.h"

/* What follows the value in its row. */
const struct bh_value *key_reply(struct reply *r, const struct bh_value *v);

#endif
