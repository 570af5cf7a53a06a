/* SPDX-License-Identifier: MIT */
/*
 * The running daemon: all its parts, in the order in which they are started
 * (and stopped in reverse). Shared by the files of this folder only. Main
 * thread.
 */
#ifndef BOOT_DAEMON_H
#define BOOT_DAEMON_H

#include "backend/spare.h"
#include "cmd/env.h"
#include "conf/conf.h"
#include "front/front.h"
#include "front/host.h"
#include "front/plugin.h"
#include "journal/ferry.h"
#include "rt/loop.h"
#include "script/pool.h"

struct reload_waiter {
	void (*done)(void *user, bool ok, const char *report);
	void *user;
};

/* idle.c */
struct idle {
	bool possible;			/* somebody would start it again */
	bool warned;
	bool looking;			/* at queues and schedules */
	bool looked, found;		/* the answer: something is due */
	int64_t at;			/* mono: the next look */
	int64_t connections;		/* that had come by then */
	uint64_t round, look_round;	/* + 1 while there is work */
	struct bh_stats stats;
	struct bh_schedule_list schedules;
};

struct daemon {
	const char *conf_file;		/* NULL: the defaults alone */
	const char *state_dir;		/* --state-dir, or NULL */
	struct conf *conf;
	struct qopts *qopts;
	struct loop *loop;
	struct cmd_env env;
	struct plugin_host *host;
	struct plugins *plugins;
	struct front *front;
	struct pool *pool;
	/* Beside a backend that a plugin brings; else NULL. */
	const struct bh_backend_type *brought;
	struct ferry *ferry;
	struct err unready;		/* while the doors wait for it */
	struct spare *spare;		/* while it is away */

	/* reload.c */
	struct conf *old_conf;		/* until the scripts are off it */
	struct buf report;
	bool reloading;
	bool again;			/* asked for while one is running */
	struct reload_waiter *waiters;
	size_t nwaiters;		/* of the one that is running */
	size_t nnext;			/* of the next one, behind them */

	/* service.c */
	int64_t watchdog_ms;		/* 0: nobody watches */
	int64_t service_at;		/* mono: the next word */
	struct bh_stats counts;		/* for the sentence */
	bool counting;			/* it is under way */

	struct idle idle;

	/* shutdown.c */
	bool asked_to_stop;
	bool stopping;			/* it has begun */
	int64_t grace_until;		/* mono ms */
	bool handlers_stopped;
};

/* --- boot.c --- */

/* The configuration as the command line and its file say; report as in
 * conf_load(). */
MUSTCHECK int daemon_conf(const struct daemon *d, struct conf **ret,
    struct buf *report, struct err *e);
/* Tells every part of the configuration in force. */
void daemon_apply(struct daemon *d);

/* --- brought.c --- */

/* Opens the backend of a plugin, and the local store for what has to move. */
MUSTCHECK int brought_open(struct daemon *d, struct err *e);
/* Turns until the backend lets the doors open. */
MUSTCHECK int brought_wait(struct daemon *d, struct err *e);
void brought_close(struct daemon *d);
/* The limits of the keyspace as the configuration has them. */
struct keys_limits daemon_keys_limits(const struct conf *c);

/* --- events.c --- */

/* For backend->listen(): each event goes to whom it concerns. */
extern const struct bh_events daemon_events;

/* --- turn.c --- */

/* The two halves of a turn; turn_run answers with the mono ms of the next
 * thing due. */
void turn_wake(void *daemon);
int64_t turn_run(void *daemon);

/* --- reload.c --- */

/* cmd_env.reload. */
void reload_start(void *daemon, void (*done)(void *user, bool ok,
    const char *report), void *user);
/* Answers everybody who waits for a reload: it will not end. */
void reload_abort(struct daemon *d);
void reload_done(struct daemon *d);

/* --- service.c --- */

void service_recovering(void *daemon);	/* now and then, at the start */
void service_ready(struct daemon *d);
void service_reloading(struct daemon *d);
void service_reloaded(struct daemon *d);
void service_stopping(struct daemon *d);
/* Once a turn; the mono ms when it wants to be called again. */
int64_t service_turn(struct daemon *d, int64_t mono_ms);

/* --- idle.c --- */

/* At the start and after a reload: whether idle_exit can be kept. */
void idle_configured(struct daemon *d);
/* Once a turn, with the mono ms of what is due next; the mono ms when it wants
 * to be called again. */
int64_t idle_turn(struct daemon *d, int64_t mono_ms, int64_t due);

/* --- shutdown.c --- */

/* cmd_env.shutdown, and the first SIGTERM. */
void shutdown_ask(void *daemon);
/* Once a turn; true when all has ended. At most until *next. */
bool shutdown_step(struct daemon *d, int64_t mono_ms, int64_t *next);

#endif
