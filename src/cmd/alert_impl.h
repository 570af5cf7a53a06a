/* SPDX-License-Identifier: MIT */
/*
 * What the files of the alerts share; nobody else includes this.
 *
 *   alert.c        rounds, begin and end of alerts
 *   alert_judge.c  the rules
 *   alert_tell.c   log, jobs, BELLHOP ALERTS
 */
#ifndef CMD_ALERT_IMPL_H
#define CMD_ALERT_IMPL_H

#include <bsd/sys/queue.h>

#include "base/attr.h"
#include "cmd/alert.h"
#include "ds/map.h"

enum alert_rule {
	ALERT_QUEUE_DEPTH, ALERT_FAILED_RATE, ALERT_OLDEST_WAITING,
	ALERT_NEW_ERROR, ALERT_SCHEDULE_MISSED, ALERT_DISK, ALERT_MEMORY,
	ALERT_BACKEND, ALERT_RULES
};

struct alert {
	TAILQ_ENTRY(alert) entry;	/* the oldest first */
	enum alert_rule rule;
	char *subject;			/* queue, schedule or "" */
	char *queue;			/* a schedule's, else NULL */
	uint64_t key;			/* NEW_ERROR: fingerprint, else 0 */
	bool on;
	bool seen;			/* holds in this round */
	bool owed;			/* what was to be told is not stored */
	int putting;			/* notifications under way */
	bool gone;			/* NEW_ERROR: nobody fails of it now */
	int64_t last_at;		/* NEW_ERROR: wall ms */
	int64_t since;			/* wall ms */
	int64_t begun_mono, told_mono;
	int64_t value, limit;
	char text[300];
};

#define SAMPLES 21			/* of 15 s: five minutes */

/* The tries of a queue over time. */
struct trend {
	TAILQ_ENTRY(trend) entry;
	char *queue;
	bool seen;
	int64_t failed_total, failed;	/* at the last look at its errors */
	struct {
		int64_t mono, tries, failed;
	} sample[SAMPLES];
	unsigned first, n;
};

/* A queue whose errors are to be looked at. */
struct look {
	STAILQ_ENTRY(look) entry;
	char queue[129];
};

struct alerts {
	struct cmd_env *env;
	TAILQ_HEAD(, alert) all;
	size_t nall;
	TAILQ_HEAD(, trend) trends;
	struct map by_queue;		/* the same */
	STAILQ_HEAD(, look) looks;
	size_t nlooks;
	bool ran;			/* the first round has ended */
	bool busy;			/* a round is under way */
	bool active;			/* something happened since */
	int64_t wall, mono;		/* of this turn */
	int64_t last_mono;		/* when the last round began */
	int64_t due_mono;		/* when time alone calls for one */
	int64_t commits;		/* health's, at the last round */
	union {
		struct bh_req req;
		struct bh_stats stats;
		struct bh_schedule_list schedules;
	};
};

/* alert.c */
/* The rule's condition holds now. */
PRINTF(6, 7) void alert_holds(struct alerts *a, enum alert_rule rule,
    const char *subject, int64_t value, int64_t limit, const char *fmt, ...);
struct alert *alert_find(const struct alerts *a, enum alert_rule rule,
    const char *subject, uint64_t key);
/* A new one; NULL: there are too many. */
struct alert *alert_add(struct alerts *a, enum alert_rule rule,
    const char *subject, uint64_t key);
void alert_begin(struct alerts *a, struct alert *al);
/* A round is wanted at this time at the latest. */
void alerts_due(struct alerts *a, int64_t mono);

/* alert_judge.c */
void judge_queues(struct alerts *a, const struct bh_queue_stats *q, size_t n);
void judge_errors(struct alerts *a, const char *queue,
    const struct bh_error_group *g, size_t n);
void judge_schedules(struct alerts *a, const struct bh_schedule *s, size_t n);
/* Whether the store takes new work; judge_places() looks at it as well. */
void judge_store(struct alerts *a, const struct bh_health *h);
void judge_places(struct alerts *a, const struct bh_health *h);
/* After all of these: errors that nothing more was heard of. */
void judge_done(struct alerts *a);
void trend_free(struct alerts *a, struct trend *w);
uint64_t alert_hash(const char *name);

/* alert_tell.c */
extern const char *const alert_names[ALERT_RULES];
void alert_tell(struct alerts *a, struct alert *al);

#endif
