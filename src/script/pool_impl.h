/* SPDX-License-Identifier: MIT */
/*
 * What the files of the pool share; nobody else includes this.
 *
 *   pool.c        life, turn, gates
 *   pool_feed.c   reserve -> hand out -> run -> finish, cancels
 *   pool_batch.c  the same with several jobs in one run
 *   pool_log.c    what the log tells of a job
 *   pool_owed.c   callbacks that the backend owes
 *   pool_load.c   loading and reloading
 *   pool_ask.c    commands of scripts
 *   pool_hook.c   webhooks
 *   pool_subscribe.c  messages of topics
 *
 * Main thread only.
 */
#ifndef SCRIPT_POOL_IMPL_H
#define SCRIPT_POOL_IMPL_H

#include <bsd/sys/queue.h>

#include "rt/mbox.h"
#include "script/msg.h"
#include "script/pool.h"
#include "script/state.h"
#include "script/worker.h"

TAILQ_HEAD(run_msg_list, run_msg);

/* A script file that was seen at the last load, or is still in force. */
struct script {
	TAILQ_ENTRY(script) entry;	/* by file name */
	char *file;
	struct source *src;		/* in force; NULL: never loaded */
	struct script_opts opts;	/* of src */
	char *error;			/* why the newest one is refused */
	char *guess;			/* queue, as far as one can tell */
	char *guess_hook;		/* and the hook's name */
	int64_t loaded_at;
	/* While a load is under way: */
	bool seen;
	struct source *fresh;		/* to be put in force */
	struct script_opts fresh_opts;
};

/* Lines that the log has had of one kind, in this period. */
struct line_budget {
	int64_t period;
	int64_t lines;
};

/* A queue that a script serves or has served. Never freed before the pool:
 * runs and requests point to it. */
struct served {
	TAILQ_ENTRY(served) entry;
	char *queue;
	struct script *script;		/* NULL: nobody serves it now */
	int64_t concurrency;
	int64_t running;
	int64_t requested;
	struct line_budget good_lines, bad_lines;
};

/* A job_reserve under way. */
struct feed {
	struct bh_reserve r;
	TAILQ_ENTRY(feed) entry;
	struct pool *pool;
	struct served *served;
	struct bh_bytes queue;
};

/* A callback that waits for its turn. */
struct owed {
	TAILQ_ENTRY(owed) entry;
	struct run_msg *msg;		/* ready but for its source */
};

/* Who asks, when a script does: one for each file name, kept for good. */
struct asker {
	TAILQ_ENTRY(asker) entry;
	struct session who;
};

struct pool_thread {
	struct worker *worker;
	int64_t load;			/* runs that it holds */
	struct msg *first, *last;	/* not sent yet */
};

struct load_job {
	bool active;
	bool again;			/* another one was asked for meanwhile */
	struct script_env *env;
	char *dir;
	bool modules_changed;
	size_t waits;			/* checks under way */
	size_t orders;			/* of schedules, under way */
	bool settling;			/* it ends with them */
	bool unsettled;			/* the backend was away for them */
	int64_t settle_after;		/* mono: then they are tried again */
	bool ok;
	struct buf report;
	/* Everybody who wants to hear of this one, and of the next. */
	struct load_ear *ears, *next_ears;
};

struct load_ear {
	struct load_ear *next;
	void (*done)(void *user, bool ok, const char *report);
	void *user;
};

struct pool {
	struct pool_config config;
	struct cmd_env *env;
	struct mbox inbox;
	struct script_memory memory;
	struct pool_thread *threads;
	int nthreads;
	TAILQ_HEAD(, script) scripts;
	TAILQ_HEAD(, served) served;
	TAILQ_HEAD(, feed) feeds;
	TAILQ_HEAD(, owed) owed;
	struct hooks *hooks;		/* pool_hook.c's */
	struct topics *topics;		/* pool_subscribe.c's */
	uint64_t generation;		/* loads that have ended */
	bool listening;			/* the bus may be asked */
	TAILQ_HEAD(, asker) askers;
	TAILQ_HEAD(, flight) flights;
	TAILQ_HEAD(, held) held;
	struct run_msg_list running;
	size_t nrunning;
	size_t nowed_running;		/* of them callbacks */
	size_t finishing;		/* job_finish under way */
	struct run_msg *spare;		/* chained by m.mail.next */
	size_t nspare;
	uint32_t slots;			/* free ones of script_slots */
	int64_t slots_total;
	int64_t slots_owed;		/* to take away as they come free */
	int64_t mono_ms;
	int64_t feed_after;		/* mono: the backend had an error */
	bool loaded;			/* the first load has ended */
	bool draining;
	bool stopping;
	char modules[65];
	struct script_env *script_env;	/* of the last load */
	struct load_job load;
	uint64_t next_session;
};

/* pool.c */
struct served *pool_served_find(const struct pool *p, struct bh_bytes queue);
struct served *pool_served_get(struct pool *p, const char *queue);
/* A slot of script_slots is free again. */
void pool_slot_free(struct pool *p);
void pool_slots_set(struct pool *p, int64_t total);

/* pool_feed.c */
void pool_feed_cancel(struct pool *p, const struct served *s);
void pool_run_ended(struct pool *p, struct run_msg *m);
struct run_msg *run_msg_new(struct pool *p, size_t room);
void run_msg_done(struct pool *p, struct run_msg *m);
/* Copies into m's room. */
struct bh_bytes run_msg_copy(struct run_msg *m, struct bh_bytes from);
/* Gives the run to the thread with the least to do; sent by pool_flush(). */
void pool_dispatch(struct pool *p, struct run_msg *m, struct served *s);
/* The same for a run that belongs to no queue. */
void pool_dispatch_to(struct pool *p, struct run_msg *m,
    const struct script *s);
void pool_flush(struct pool *p);
void pool_cancelled(void *arg, int64_t id, uint64_t token,
    struct bh_bytes reason);
struct run_msg *pool_job_msg(struct pool *p, const struct bh_job *j,
    struct served *s);
/* The job's part is over: m->end says how. */
void pool_job_ended(struct pool *p, struct run_msg *m);
void pool_job_finish(struct pool *p, struct run_msg *m, bh_done_fn *done);

/* pool_batch.c */
/* Hands out the jobs together: one run, one slot. */
void pool_batch_start(struct pool *p, const struct bh_job *jobs, size_t n,
    struct served *s);
void pool_batch_ended(struct pool *p, struct run_msg *b);
/* The job of this token in a batch that runs, or NULL. */
struct run_msg *pool_batch_find(const struct run_msg *b, uint64_t token);
/* It was cancelled and its batch still runs: it alone ends now. */
void pool_batch_grace(struct pool *p, uint64_t token);

/* pool_log.c */
void pool_log_end(struct pool *p, const struct run_msg *m);

/* pool_owed.c */
void pool_callback(void *arg, const struct bh_callback *cb);
void pool_owed_ended(struct pool *p, struct run_msg *m);
void pool_owed_feed(struct pool *p);
void pool_owed_free(struct pool *p);

/* pool_hook.c */
void pool_hooks_new(struct pool *p);
void pool_hooks_free(struct pool *p);
/* Answers those that could not even begin. */
void pool_hooks_answer(struct pool *p);
void pool_hook_ended(struct pool *p, struct run_msg *m);

/* pool_subscribe.c */
void pool_topics_new(struct pool *p);
void pool_topics_free(struct pool *p);
/* Subscribes to what the scripts in force want to hear. */
void pool_topics_publish(struct pool *p);
void pool_message_ended(struct pool *p, struct run_msg *m);

/* pool_load.c */
void pool_scanned(struct pool *p, struct scan *s);
void pool_checked(struct pool *p, struct check *c);
void pool_changed(struct pool *p);
void pool_scripts_free(struct pool *p);
void pool_refresh(struct pool *p);	/* concurrency, after new options */

/* A line of the report and of the log; EVENT_SCRIPT_BROKEN makes the load
 * fail. */
PRINTF(3, 4) void pool_load_tell(struct pool *p, enum log_event event,
    const char *fmt, ...);
void pool_load_done(struct pool *p);

/* pool_schedule.c */
/* Rows of the backend follow what scripts declare; false when there is none
 * yet. The end of it is the end of the load if that is settling. */
bool pool_schedules_settle(struct pool *p);
/* Tries again what the backend could not take. The mono ms of the next try. */
void pool_schedules_retry(struct pool *p);
int64_t pool_schedules_next(const struct pool *p);

/* pool_ask.c */
void pool_asked(struct pool *p, struct ask *a);
/* Back to its thread, with its reply. */
void pool_ask_answer(struct pool *p, struct ask *a);
void pool_askers_free(struct pool *p);

/* pool_flight.c */
void pool_flights_new(struct pool *p);
void pool_flights_free(struct pool *p);
/* One of the pool's own commands; false: it is another one. */
bool pool_flight_asked(struct pool *p, struct ask *a);
/* The run now holds a key, if the answer is OK. */
void pool_hold(struct pool *p, const struct ask *a);
void pool_flight_ended(struct pool *p, const struct run *who);

#endif
