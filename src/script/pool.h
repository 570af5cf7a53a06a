/* SPDX-License-Identifier: MIT */
/*
 * The handler host as the main thread sees it: it reserves jobs of the queues
 * that scripts serve, as many as their concurrency leaves free, hands them to
 * the script threads, and finishes them with what comes back. It owns the
 * script threads, the loaded versions and the watchdog over hung threads.
 *
 * Main thread only.
 */
#ifndef SCRIPT_POOL_H
#define SCRIPT_POOL_H

#include "base/err.h"
#include "cmd/env.h"
#include "conf/conf.h"
#include "conf/qopts.h"

struct pool;

struct pool_config {
	const struct conf *conf;	/* the one in force at the start */
	struct qopts *qopts;		/* script options go here */
	struct cmd_env *env;		/* backend and commands */
	/* Wakes the main loop: called on script threads. */
	void (*wake)(void *arg);
	void *wake_arg;
};

/* Starts the threads; nothing is loaded yet. */
struct pool *pool_new(const struct pool_config *config);
/* After the backend's close(): no request of the pool may be under way. */
void pool_free(struct pool **p);

/* Loads or reloads every script of scripts_dir, on the script threads. done()
 * is called once, from pool_turn(). ok is false when any script is broken;
 * report has a line for each script loaded anew, removed or refused
 * ("FILE:LINE: cause"). What is broken keeps its last good version. The caller
 * logs the report; a load that a changed file sets off is logged here. The
 * configuration in force (env->conf) must be the new one already. */
void pool_load(struct pool *p, const struct conf *conf,
    void (*done)(void *user, bool ok, const char *report), void *user);

/* First half of a turn: takes what the script threads sent. */
void pool_take(struct pool *p, int64_t mono_ms);
/* Second half: asks the backend for jobs where slots are free. */
void pool_feed(struct pool *p);
/* Mono ms when pool_take() wants to be called by itself; INT64_MAX never. */
int64_t pool_next(const struct pool *p);

/* No more jobs are asked for; handlers may end. */
void pool_drain(struct pool *p);
/* Ends what still runs: their starts are given back. */
void pool_stop_handlers(struct pool *p);
size_t pool_running(const struct pool *p);
/* How long the slowest script thread has been at one thing. */
int64_t pool_busy_ms(const struct pool *p);

/* The store is open: scripts hear their topics from now on. */
void pool_listen(struct pool *p);

/* A webhook: struct bh_hook of plugin.h. Its done() is called once, later. */
void pool_hook(struct pool *p, struct bh_hook *hook);

/* no_handler, broken or concurrency; false when none of them holds. */
bool pool_gate(const struct pool *p, struct bh_bytes queue,
    struct bh_why *ret);
void pool_figures(const struct pool *p, struct script_figures *ret);
bool pool_script_at(const struct pool *p, size_t i, struct script_info *ret);

/* For backend->listen(). */
extern const struct bh_events pool_events;

#endif
