/* SPDX-License-Identifier: MIT */
/*
 * The job engine: every decision about jobs and queues, in memory, told to the
 * journal record by record. It knows no sockets, no threads and no clock: the
 * time is an argument (engine_time), and nothing here waits.
 *
 * Requests are those of plugin.h. A verb changes the memory at once; its
 * answer is queued with the journal position that it must wait for, and
 * engine_deliver() calls done() when that is durable and what had to be read
 * has been read.
 *
 * Main thread only.
 */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include "base/err.h"
#include "conf/qopts.h"
#include "journal/journal.h"
#include "plugin.h"

struct engine;

struct engine_config {
	struct journal *journal;	/* opened, not started */
	struct qopts *qopts;
	int64_t payload_cache;
	int64_t max_queues;
	int64_t max_schedules;
};

struct engine *engine_new(const struct engine_config *config);
/* Ends what is parked; before the journal is closed. */
void engine_stop(struct engine *e);
/* Answers what is left with BH_E_CANCELED; after the journal is closed. */
void engine_free(struct engine **e);
/* Gives a record's owner back: the journal's release hook. */
void engine_release(void *owner);

void engine_time(struct engine *e, int64_t wall_ms, int64_t mono_ms);
/* Reads everything back from the journal; time must be set. */
MUSTCHECK int engine_load(struct engine *e, struct err *err);
void engine_set_limits(struct engine *e, int64_t payload_cache,
    int64_t max_queues, int64_t max_schedules);

void engine_put(struct engine *e, struct bh_put *r);
void engine_reserve(struct engine *e, struct bh_reserve *r);
void engine_finish(struct engine *e, struct bh_finish *r);
void engine_extend(struct engine *e, struct bh_extend *r);
void engine_get(struct engine *e, struct bh_get *r);
void engine_list(struct engine *e, struct bh_list *r);
void engine_alter(struct engine *e, struct bh_alter *r);
void engine_stats(struct engine *e, struct bh_stats *r);
void engine_queue_alter(struct engine *e, struct bh_queue_alter *r);
void engine_schedule_put(struct engine *e, struct bh_schedule_put *r);
void engine_schedule_list(struct engine *e, struct bh_schedule_list *r);
void engine_schedule_remove(struct engine *e, struct bh_schedule_remove *r);
void engine_cancel(struct engine *e, struct bh_req *req);

void engine_listen(struct engine *e, const struct bh_events *ev, void *arg);
/* Whether bh_events.job is wanted; what was noted so far is told no more when
 * it is not. */
void engine_watch_jobs(struct engine *e, bool on);
void engine_callback_done(struct engine *e, int64_t id);

/* Queue options may have changed. */
void engine_options_changed(struct engine *e);
/* No job is handed out any more. */
void engine_drain(struct engine *e);
/* New work is refused with this error; code BH_OK takes it again. */
void engine_refuse(struct engine *e, const struct err *why);
/* The disk refuses what is not durable yet: adds among that are answered with
 * the error and taken back. Only while journal_failure() is set. */
void engine_take_back(struct engine *e, const struct err *why);
/* Deletes up to SLICE of the oldest completed jobs, but none of the last two
 * seconds; how many. */
size_t engine_shed_completed(struct engine *e);

/* Does everything that is due. */
void engine_run_due(struct engine *e);
/* Hands waiting jobs to parked callers, one slice of each bulk operation. */
void engine_serve(struct engine *e);
/* Writes down what is written once a turn (next id, totals). */
void engine_settle(struct engine *e);
/* Calls done() of every answer that is ready; true when there was one. */
bool engine_deliver(struct engine *e);
/* Mono ms of the next thing due (now: at once), INT64_MAX for none. */
int64_t engine_next(const struct engine *e);
/* True when no answer is under way. */
bool engine_quiet(const struct engine *e);
size_t engine_memory(const struct engine *e);

#endif
