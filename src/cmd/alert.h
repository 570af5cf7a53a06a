/* SPDX-License-Identifier: MIT */
/*
 * Built-in alerts: what the operator of a server without a monitoring system
 * wants to be told. Rounds look at queues, disk, memory, backend, schedules
 * and new errors; an alert is told when it begins and when it is over, once
 * each, to the log, to a queue and to a webhook or a mail address (as jobs,
 * so that nothing is lost).
 *
 * Rounds are at least alerts.interval apart and happen only after something
 * was committed, or when time alone may change an alert: an idle daemon is
 * not woken. An alert begins at most once a minute.
 *
 * Main thread only.
 */
#ifndef CMD_ALERT_H
#define CMD_ALERT_H

#include "cmd/env.h"

/* Queue of the built-in script that sends them; see script/alerts.lua. */
#define ALERT_QUEUE "bellhop.alerts"

struct alerts;

/* Made once env is filled and the store is open. */
struct alerts *alerts_new(struct cmd_env *env);
/* After the backend's close(): nothing is under way. */
void alerts_free(struct alerts **a);

/* Once a turn, before the backend's turn_end(). The mono ms when it wants to
 * be called by itself, INT64_MAX never. */
int64_t alerts_turn(struct alerts *a, int64_t wall_ms, int64_t mono_ms);

/* The i-th alert that is on; false past the end. */
struct alert_info {
	const char *rule;		/* "queue_depth" */
	const char *kind;		/* "queue", "schedule" or NULL */
	const char *subject;		/* its name, or "" */
	const char *queue;		/* that it tells of, or NULL */
	const char *text;
	int64_t value, limit;
	int64_t since;			/* wall ms */
};
bool alerts_at(const struct alerts *a, size_t i, struct alert_info *ret);
/* Whether the token of this caller lets it see the alert. */
bool alert_visible(const struct session *who, const struct alert_info *i);
/* Whether none before it has the same rule and subject. */
bool alerts_first(const struct alerts *a, size_t i);

#endif
