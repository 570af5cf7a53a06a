/* SPDX-License-Identifier: MIT */
/*
 * The keyspace: typed values by name, in memory, with Redis' commands, their
 * replies and their error texts. A key is volatile (its name has one of the
 * configured prefixes: least recently used ones go when the cache is full, all
 * are gone after a restart) or durable (kept in the journal, never evicted).
 *
 * Requests are those of plugin.h. A command changes the memory at once; what
 * changed is written down once a turn (keys_settle), and an answer is
 * delivered when everything that it shows is durable. A command that walks
 * over all keys runs in slices, one a turn; those that come meanwhile wait.
 *
 * Times are arguments (keys_time). Expiry follows the wall clock, as Redis'.
 * Main thread only.
 */
#ifndef KEYS_KEYS_H
#define KEYS_KEYS_H

#include "base/err.h"
#include "journal/journal.h"
#include "plugin.h"

#define KEYS_VALUE_MAX ((size_t)16 << 20)

enum keys_durability {
	KEYS_COMMIT,			/* answered once committed */
	KEYS_RELAXED,			/* the same, see bellhop.conf(5) */
	KEYS_MEMORY			/* answered at once */
};

struct keys_limits {
	char *const *volatile_prefixes;	/* ends with NULL; outlives the keys */
	int64_t cache_bytes;		/* of all volatile keys */
	int64_t durable_bytes;		/* of all durable ones; 0 no limit */
	enum keys_durability durability;
	int64_t eval_ms;		/* a script's time; 0 no limit */
	int64_t eval_bytes;		/* Lua's memory; 0 no limit */
	int64_t answer_bytes;		/* of one answer; 0 no limit */
};

struct keys_stats {
	int64_t keys, expires, durable;	/* counts */
	int64_t cache_bytes, durable_bytes;
	int64_t hits, misses, expired, evicted;
};

/* Where PUBLISH and CL.THROTTLE inside of EXEC and scripts go. */
struct keys_doors {
	struct throttle *throttle;
	int64_t (*receivers)(void *arg, struct bh_bytes topic);
	/* To be told when what this turn writes is durable. */
	void (*publish)(void *arg, struct bh_bytes topic,
	    struct bh_bytes message);
	void *arg;
};

struct keys;

/* Without a journal all keys must be volatile. */
struct keys *keys_new(struct journal *j);
/* Answers what is left with BH_E_CANCELED; after the journal is closed. */
void keys_free(struct keys **ks);
void keys_set_limits(struct keys *ks, const struct keys_limits *limits);
void keys_set_doors(struct keys *ks, const struct keys_doors *doors);
void keys_time(struct keys *ks, int64_t wall_ms, int64_t mono_ms);
/* Reads the durable keys; time and limits must be set. */
MUSTCHECK int keys_load(struct keys *ks, struct err *e);

void keys_command(struct keys *ks, struct bh_key_command *r);
/* Ends a command that waits for a key with BH_E_CANCELED, later. */
void keys_cancel(struct keys *ks, struct bh_req *req);
/* Durable keys are not written any more while code is not BH_OK. */
void keys_refuse(struct keys *ks, const struct err *why);

/* Expires a slice of what is due. */
void keys_run_due(struct keys *ks);
/* A slice of a long command; then writes down what has changed. */
void keys_settle(struct keys *ks);
/* True while half of what must be one commit is in the journal's batch, which
 * is not to be handed over; and the other half, where it is. */
bool keys_half_written(const struct keys *ks);
void keys_write_whole(struct keys *ks);
/* Calls done() of every answer that is ready; true when there was one. */
bool keys_deliver(struct keys *ks);
/* Mono ms of the next thing due (now: at once), INT64_MAX for none. */
int64_t keys_next(const struct keys *ks);
/* True when no answer is under way. */
bool keys_quiet(const struct keys *ks);
void keys_stats(const struct keys *ks, struct keys_stats *ret);

#endif
