/* SPDX-License-Identifier: MIT */
/*
 * The keyspace of a dry run: enough of it, in memory, for what cache, session,
 * limit, once, lock and topic ask. Nothing expires, every limit allows.
 */
#ifndef SCRIPT_DRY_KEYS_H
#define SCRIPT_DRY_KEYS_H

#include <bsd/sys/queue.h>

#include "script/msg.h"

TAILQ_HEAD(dry_keys, dry_key);

void dry_keys_init(struct dry_keys *k);
void dry_keys_done(struct dry_keys *k);
/* Answers the ask; false: it is not about keys. */
bool dry_keys_answer(struct dry_keys *k, struct ask *a);

#endif
