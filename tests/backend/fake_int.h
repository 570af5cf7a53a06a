/* SPDX-License-Identifier: MIT */
/* What the files of the fake backend share. */
#ifndef BACKEND_FAKE_INT_H
#define BACKEND_FAKE_INT_H

#include <bsd/sys/queue.h>

#include "arena.h"
#include "conf/qopts.h"
#include "fake.h"

#define FAKE_NEVER INT64_MAX
#define FAKE_SLICE 500			/* jobs of a bulk operation a turn */
#define FAKE_ERRORS 10			/* first and last five */
#define FAKE_ERROR_MAX 4096
#define FAKE_RUNS 1000			/* run times for the percentiles */

struct fake_queue {
	TAILQ_ENTRY(fake_queue) link;
	char *name;
	struct bh_queue_opts opts;
	bool paused;
	int64_t paused_at;
	struct bh_bytes paused_by;
	int64_t held_until;		/* wall, as shown */
	int64_t held_mono;		/* 0 not held */
	struct bh_bytes held_reason;
	int64_t processed, failed, stalled;
	int64_t pass;			/* stride scheduling */
	int64_t runs_ms[FAKE_RUNS];
	int64_t nruns, run_sum_ms;
	int64_t buckets[BH_RUNTIME_BUCKETS];
	int64_t added, completed, retried, removed;
};

/* Turns and tokens of one (queue, group); a queue's own has group "". */
struct fake_line {
	TAILQ_ENTRY(fake_line) link;
	struct fake_queue *queue;
	struct bh_bytes group;
	uint64_t served;		/* place in the order of turns */
	int64_t tat_us;			/* GCRA, monotonic; 0 all tokens */
};

struct fake_job {
	TAILQ_ENTRY(fake_job) link;	/* by id */
	int64_t id;
	struct fake_queue *queue;
	enum bh_job_state state;
	struct bh_job_opts opts;	/* group and unique are copies */
	struct bh_bytes payload, progress, result, error, origin, reason;
	struct bh_job_error errors[FAKE_ERRORS];
	size_t nerrors;
	struct bh_step *steps;
	size_t nsteps;
	int32_t attempt, error_count, stalled;
	int64_t run_at, expires_at, created_at, started_at, finished_at;
	int64_t lease_until;
	int64_t due_mono;		/* delayed, unless by_wall */
	bool by_wall;			/* run_at follows the wall clock */
	int64_t expires_mono;		/* 0 never */
	int64_t lease_mono, lease_ms;
	int64_t started_mono, finished_mono;
	bool has_key;
	int64_t key_mono;		/* 0: as long as it lives */
	int64_t follows;		/* waits for this active job */
	uint64_t seq;			/* place in line, 0 not in it */
	uint64_t token;
	bool handler;
	bool cancelled, told;
	uint64_t fingerprint;
};

struct fake_owed {
	TAILQ_ENTRY(fake_owed) link;
	struct bh_callback cb;
	struct arena arena;
	bool offered;
};

struct fake_reqs {
	struct bh_req *head;
};

TAILQ_HEAD(fake_queues, fake_queue);
TAILQ_HEAD(fake_lines, fake_line);
TAILQ_HEAD(fake_jobs, fake_job);
TAILQ_HEAD(fake_oweds, fake_owed);
TAILQ_HEAD(fake_newses, fake_news);

struct fake {
	struct qopts *qopts;
	int64_t wall, mono;
	int64_t next_id, next_callback;
	uint64_t next_seq, next_token;
	int64_t pass;			/* of the queue served last */
	struct fake_queues queues;
	struct fake_lines lines;
	struct fake_jobs jobs;
	struct fake_oweds owed;
	struct fake_reqs inbox, parked, ready;
	struct fake_newses news;
	bool watched;
	const struct bh_events *events;
	void *events_arg;
	bool again;			/* a bulk operation has more to do */
	bool draining;
	uint32_t turn;
};

/* fake_job.c: the states */
struct fake_queue *fake_queue_get(struct fake *f, struct bh_bytes name,
    bool make);
struct fake_line *fake_line_get(struct fake *f, struct fake_queue *q,
    struct bh_bytes group);
struct fake_job *fake_job_find(struct fake *f, int64_t id);
struct fake_job *fake_job_new(struct fake *f, struct fake_queue *q,
    struct bh_bytes payload, const struct bh_job_opts *o);
void fake_job_free(struct fake *f, struct fake_job *j);
void fake_job_forget_steps(struct fake_job *j);
void fake_job_schedule(struct fake *f, struct fake_job *j,
    const struct bh_job_opts *o);
void fake_job_delay(struct fake *f, struct fake_job *j, int64_t ms);
void fake_job_wait(struct fake *f, struct fake_job *j);
void fake_job_start(struct fake *f, struct fake_job *j,
    const struct bh_reserve *r);
void fake_job_complete(struct fake *f, struct fake_job *j,
    struct bh_bytes result);
/* One more error: back-off, or the end. */
void fake_job_error(struct fake *f, struct fake_job *j,
    const struct bh_finish *r);
void fake_job_fail(struct fake *f, struct fake_job *j, struct bh_bytes error);
void fake_job_cancel(struct fake *f, struct fake_job *j);
bool fake_job_keyed(struct fake *f, const struct fake_job *j);
/* What is due; the mono ms of what is due next. */
void fake_jobs_run_due(struct fake *f);
int64_t fake_jobs_next(struct fake *f);
uint64_t fake_fingerprint(struct bh_bytes message);
void fake_offer(struct fake *f);

/* fake_pick.c: who runs next */
/* First gate that holds a job of this queue; until is mono. */
enum bh_gate fake_gate(struct fake *f, struct fake_job *j, int64_t *until,
    int64_t *ahead);
/* Best job of the queues by weight, NULL none. Takes its tokens. */
struct fake_job *fake_pick(struct fake *f, const struct bh_reserve *r);
int64_t fake_pick_next(struct fake *f);

/* fake_news.c */
void fake_note(struct fake *f, enum bh_job_news news,
    const struct fake_job *j, struct bh_bytes text);
void fake_tell(struct fake *f);
void fake_watch_jobs(void *be, bool on);

/* fake_put.c */
bool fake_exec_put(struct fake *f, struct bh_req *req);
/* The newest living job that has the key, or NULL. */
struct fake_job *fake_unique_holder(struct fake *f,
    const struct fake_queue *q, struct bh_bytes key);
int64_t fake_queue_count(struct fake *f, const struct fake_queue *q,
    enum bh_job_state s);

/* fake_verb.c: each true once answered, false while it waits */
bool fake_exec(struct fake *f, struct bh_req *req);
/* Answers those who wait in job_get for this job. */
void fake_answer_waiting(struct fake *f, const struct fake_job *j);
void fake_answer(struct fake *f, struct bh_req *req, int status,
    const char *text);
void fake_serve_parked(struct fake *f);
bool fake_reqs_remove(struct fake_reqs *l, const struct bh_req *req);
void fake_reqs_add(struct fake_reqs *l, struct bh_req *req);

enum fake_kind {
	FAKE_PUT, FAKE_RESERVE, FAKE_FINISH, FAKE_EXTEND, FAKE_GET, FAKE_LIST,
	FAKE_ALTER, FAKE_STATS, FAKE_QUEUE
};

static inline struct bh_bytes
fake_str(const char *s)
{
	return (struct bh_bytes){s, __builtin_strlen(s)};
}

struct bh_bytes fake_dup(struct bh_bytes b);
void fake_clear(struct bh_bytes *b);
void fake_set(struct bh_bytes *b, struct bh_bytes to);
bool fake_equal(struct bh_bytes a, struct bh_bytes b);

#endif
