/* SPDX-License-Identifier: MIT */
/*
 * SUBSCRIBE and its kin: what a connection hears of topics. A Redis channel is
 * a topic: PUBLISH, POST /v1/topics and a script's topic.publish() reach the
 * same subscribers. Main thread only.
 */
#ifndef CMD_SUBSCRIBE_H
#define CMD_SUBSCRIBE_H

#include "cmd/cmd.h"
#include "cmd/env.h"

enum sub_kind { SUB_CHANNEL, SUB_PATTERN, SUB_SHARD, SUB_KINDS };

struct subs;

/* Ends all of them: RESET, or the client has gone. */
void subscribe_leave(struct session *who);
size_t subscribe_count(const struct session *who, enum sub_kind kind);
/* In RESP2 who has subscribed may say little else: false, and the answer is
 * an error. */
MUSTCHECK bool subscribe_allows(struct cmd_call *call);
/* PING is answered otherwise then. */
bool subscribe_only(const struct session *who);

#endif
