/* SPDX-License-Identifier: MIT */
/* A pool with real script threads over a small backend for tests. */
#ifndef TESTS_LIB_POOLFIX_H
#define TESTS_LIB_POOLFIX_H

#include <bsd/sys/queue.h>
#include <pthread.h>

#include "lib/luafix.h"
#include "script/pool.h"

/* ThreadSanitizer holds signals back while foreign code spins. */
#ifdef __SANITIZE_THREAD__
#define NEEDS_TICKS() skip()
#else
#define NEEDS_TICKS() (void)0
#endif

struct fake_job {
	STAILQ_ENTRY(fake_job) entry;
	int64_t id;
	char *queue, *payload;
	int64_t timeout_ms;
	int32_t attempt;
};

/* How an attempt ended. */
struct fake_end {
	int64_t id;
	enum bh_outcome outcome;
	bool final;
	int64_t delay_ms;
	char text[400];
	char version[16];
};

struct fake {
	STAILQ_HEAD(, fake_job) jobs;
	struct bh_req *reserves, *done, **done_tail;
	struct fake_end ends[512];
	size_t nends;
	int64_t next_id;
	int64_t callbacks_done[16];
	size_t ncallbacks;
	int options_changed;
	char progress[64];
	char added[400];		/* last job_put: queue=payload … */
	char group[64];			/* and the group of its first job */
	int nputs;
	char keys[8][100];		/* that were SET */
	size_t nkeys;
	bool stale;			/* job_extend is refused */
	uint32_t batch;			/* so many waiting jobs together */
	uint32_t last_batch;
};

struct poolfix {
	struct luafix lua;
	struct fake be;
	struct cmd_env env;
	struct qopts *qopts;
	struct pool *pool;
	pthread_mutex_t lock;
	pthread_cond_t woken;
	bool wake;
	int loads;
	bool load_ok;
	char report[4000];
};

/* A job waits in the backend; its id. */
int64_t poolfix_add(struct poolfix *f, const char *queue,
    const char *payload);
/* Writes a file into scripts_dir. */
void poolfix_script(struct poolfix *f, const char *name, const char *text);
/* Loads and waits for the end of it: see loads, load_ok, report. */
void poolfix_load(struct poolfix *f);
/* How the job ended, or NULL. */
const struct fake_end *poolfix_end(struct poolfix *f, int64_t id);
/* Adds a job and waits for its end. */
const struct fake_end *poolfix_run(struct poolfix *f, const char *queue,
    const char *payload);
/* One turn of the main loop. */
void poolfix_turn(struct poolfix *f);
/* Waits for a wake from a script thread; fails the test after a while. */
void poolfix_wait(struct poolfix *f);
/* The backend's half of a turn. */
void poolfix_backend(struct poolfix *f);

/* For cmocka. */
int poolfix_setup(void **state);
int poolfix_teardown(void **state);

#define UNTIL(f, cond)                                                    \
	do {                                                              \
		poolfix_turn(f);                                                  \
		while (!(cond)) {                                         \
			poolfix_wait(f);                                     \
			poolfix_turn(f);                                          \
		}                                                         \
	} while (0)

#endif
