/* SPDX-License-Identifier: MIT */
/*
 * The parts of the Redis backend, each with a file of its own name:
 *
 *	redis	the vtable, the turn, life and end
 *	server	the main link: who is at its end, whether it may be used
 *	answer	requests that are answered without asking the server
 *	script	EVALSHA, and the scripts of lua/
 *	jobs	put, reserve, finish, extend, get
 *	list	a page of jobs; alter, queue, stats likewise
 *	sched	schedules, sched_row and sched_tick
 *	news	events of jobs; owed callbacks
 *	keys	the users' keys; throttle, pubsub likewise
 *
 * done() is never called before the verb has returned: from a reply function,
 * or by be_answer() and be_fail() in the next half of the turn.
 *
 * Names of functions begin with r: the tests link them beside the daemon's.
 *
 * Main thread only.
 */
#ifndef REDIS_PART_H
#define REDIS_PART_H

#include <stdbool.h>
#include <stdint.h>

#include "plugin.h"
#include "redis/link.h"
#include "redis/redis.h"

struct rjobs;
struct rqueue;
struct rlists;
struct rkeys;
struct rpubsub;
struct rscripts;
struct rserver;
struct rscheds;
struct rnews;
struct rowed;
struct rhealth;
struct rqueue;
struct redisReply;

/* Calls of list, alter, queue and stats that have no answer yet. */
struct rlists {
	size_t under_way;
	bool up;			/* rlist_ready() has been called */
};
struct rmove;
struct raway;

struct redis_be {
	const struct bh_host *host;
	struct redis_config config;	/* owned */
	struct rserver *server;
	struct rlink *main;		/* commands and scripts; NULL: it is
					   not known yet where to */
	bool looked;			/* the server is fit to be used */
	/* It is used: true between r*_up() and r*_down(). Otherwise away says
	 * why. */
	bool ready;
	char away[BH_ERROR_TEXT];
	int64_t wall_ms, mono_ms;	/* of this turn */
	int64_t wall0_ms, mono0_ms;	/* when it was opened */
	struct bh_req *answers, **answers_tail;
	const struct bh_events *events;	/* NULL: nobody listens */
	void *events_arg;
	bool watching;			/* events->job is wanted */
	bool draining;
	bool closing;			/* the links are gone for good */
	struct rjobs *jobs;
	struct rlists *lists;
	struct rkeys *keys;
	struct rpubsub *pubsub;
	size_t throttles;		/* under way */
	struct rscripts *scripts;
	struct rscheds *scheds;
	struct rnews *news;
	struct rowed *owed;
	struct rhealth *health;
	int64_t activity;		/* calls that may have changed a job */
	struct rmove *move;
	struct raway *aside;
};

/* A clock that only ascends, also over restarts as far as the wall clock
 * does: for config.turn_clock. */
static inline int64_t
be_steady(const struct redis_be *be)
{
	return be->wall0_ms + be->mono_ms - be->mono0_ms;
}

/* --- server.c --- */

int rserver_new(struct redis_be *be, char err[BH_ERROR_TEXT]);
void rserver_free(struct redis_be *be);
/* The first attempt has ended, one way or the other. */
bool rserver_tried(const struct redis_be *be);
/* Why the server must not be used, or NULL. */
const char *rserver_refused(const struct redis_be *be);
/* That it has lost what it had, or an empty string. */
const char *rserver_loss(const struct redis_be *be);
/* An error has come: some say that the master is another one now. */
void rserver_heed(struct redis_be *be, const char *error);
/* The server has been looked at, and all is known that must be: it is used
 * from now on. */
void rserver_serve(struct redis_be *be);
/* Some commands know less there. */
bool rserver_is_6(const struct redis_be *be);
/* It seems to have lost its data: looks at once. */
void rserver_look(struct redis_be *be);
/* What an instance has told the server of itself is told again. */
void rnames_again(struct redis_be *be);
/* What is there is not ours any more: no marker is kept. */
void rserver_forget(struct redis_be *be);
/* Another link to the same server: what c does not say is filled in. */
struct rlink *be_link(struct redis_be *be, const struct rlink_config *c);
void be_tell(const struct redis_be *be, enum bh_log_level level,
    const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* --- answer.c --- */

/* Calls done() in the next half of the turn; the request is complete. */
void be_answer(struct redis_be *be, struct bh_req *req);
void be_ok(struct redis_be *be, struct bh_req *req);
void be_fail(struct redis_be *be, struct bh_req *req, int code,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* Redis is not there: BH_E_BACKEND with the reason. */
void be_fail_away(struct redis_be *be, struct bh_req *req);
/* From a reply function only: done() at once. */
void be_done(struct bh_req *req);
void be_done_fail(struct bh_req *req, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The same for an error of the server (r->type is an error) or a lost reply
 * (NULL): its code, and a sentence that says what to do. */
void be_done_error(struct redis_be *be, struct bh_req *req,
    const struct redisReply *r);
/* The code and the sentence alone. */
int be_error(struct redis_be *be, const struct redisReply *r,
    char text[BH_ERROR_TEXT]);
/* Calls done() of all that be_answer() has; true when there were any. */
bool be_answers(struct redis_be *be);

/* --- script.c --- */

enum rscript {
#define SCRIPT(name, before, file) RSCRIPT_##name,
#include "redis/script.def"
#undef SCRIPT
	RSCRIPT_COUNT
};

/* EVALSHA on the main link, with the script loaded again when the server has
 * forgotten it. argv: nkeys keys, then arguments; it is copied. argvlen NULL:
 * they end with a NUL.
 * False: not ready, fn is not called. */
bool rscript_call(struct redis_be *be, enum rscript s, int nkeys, int argc,
    const char **argv, const size_t *argvlen, rlink_reply_fn *fn, void *arg);
/* The same without a copy: argv and argvlen live until fn is called. */
bool rscript_send(struct redis_be *be, enum rscript s, int nkeys, int argc,
    const char **argv, const size_t *argvlen, rlink_reply_fn *fn, void *arg);
/* Loads all of them, before anything else is sent. */
void rscript_up(struct redis_be *be);
void rscript_new(struct redis_be *be);
void rscript_free(struct redis_be *be);

/* --- the parts: jobs.c, list.c, keys.c, pubsub.c, throttle.c ---
 *
 * new: once, at the start. up, down: the server is ready, or is not any more
 * (replies under way have been called with NULL by then). begin, end: halves
 * of the turn; end answers with the mono ms of the next thing due, INT64_MAX
 * none. idle: nothing is under way at the server. free: the links are gone, and
 * what was under way has been called with NULL; what waits is answered with
 * BH_E_CANCELED by be_fail(). */

void rjobs_new(struct redis_be *be);
void rjobs_up(struct redis_be *be);
void rjobs_down(struct redis_be *be);
void rjobs_begin(struct redis_be *be);
int64_t rjobs_end(struct redis_be *be);
bool rjobs_idle(const struct redis_be *be);
void rjobs_drain(struct redis_be *be);
void rjobs_options_changed(struct redis_be *be);
/* True: the request was one of these, and is answered later. */
bool rjobs_cancel(struct redis_be *be, struct bh_req *req);
void rjobs_free(struct redis_be *be);

void rjobs_put(void *be, struct bh_put *r);
void rjobs_reserve(void *be, struct bh_reserve *r);
void rjobs_finish(void *be, struct bh_finish *r);
/* req.priv.kind RFINISH_LATE: its lease may have ended meanwhile, which does
 * not matter while nobody has begun anew. */
enum { RFINISH_LATE = 1 };
void rjobs_extend(void *be, struct bh_extend *r);
void rjobs_get(void *be, struct bh_get *r);

void rlist_new(struct redis_be *be);
void rlist_up(struct redis_be *be);
void rlist_down(struct redis_be *be);
void rlist_begin(struct redis_be *be);
int64_t rlist_end(struct redis_be *be);
bool rlist_idle(const struct redis_be *be);
/* be->events or be->watching has changed. */
void rlist_listen(struct redis_be *be);
void rlist_free(struct redis_be *be);

void rlist_list(void *be, struct bh_list *r);
void rlist_alter(void *be, struct bh_alter *r);
void rlist_stats(void *be, struct bh_stats *r);
void rlist_queue_alter(void *be, struct bh_queue_alter *r);
/* What a script of jobs has to tell besides its results: what is "news" or
 * "owed" (lists, see prelude.lua's note() and owe()). From a reply. */
void rlist_heard(struct redis_be *be, struct rqueue *q, const char *what,
    const struct redisReply *list);
/* Another instance has told this on the wake channel; rest: behind arg. */
void rlist_told(struct redis_be *be, struct rqueue *q, char kind,
    struct bh_bytes arg, struct bh_bytes rest);
/* A try has ended after so long. */
void rlist_ran(struct redis_be *be, struct rqueue *q, int64_t ms);

void rsched_new(struct redis_be *be);
void rsched_up(struct redis_be *be);
void rsched_turn(struct redis_be *be);
int64_t rsched_next(const struct redis_be *be);
bool rsched_idle(const struct redis_be *be);
void rsched_free(struct redis_be *be);
void rsched_put(void *be, struct bh_schedule_put *r);
void rsched_list(void *be, struct bh_schedule_list *r);
void rsched_remove(void *be, struct bh_schedule_remove *r);

/* News come with the answers of this instance's scripts, too. */
bool rnews_with_answers(const struct redis_be *be);
/* What an answer has: the news themselves, or that some were published. */
void rnews_reply(struct redis_be *be, struct bh_bytes queue,
    const struct redisReply *r);
void rnews_published(struct redis_be *be);
void rnews_new(struct redis_be *be);
void rnews_listen(struct redis_be *be);
void rnews_down(struct redis_be *be);
bool rnews_idle(const struct redis_be *be);
void rnews_free(struct redis_be *be);

/* Callbacks that an answer has, and a queue where another instance owes
 * some. */
void rowed_reply(struct redis_be *be, struct bh_bytes queue,
    const struct redisReply *r);
void rowed_wake(struct redis_be *be, struct bh_bytes queue);
void rowed_new(struct redis_be *be);
void rowed_up(struct redis_be *be);
void rowed_look(struct redis_be *be, struct bh_bytes queue);
void rowed_listen(struct redis_be *be);
void rowed_tell(struct redis_be *be);
void rowed_begin(struct redis_be *be);
int64_t rowed_next(const struct redis_be *be);
bool rowed_idle(const struct redis_be *be);
void rowed_free(struct redis_be *be);
void rowed_done(void *be, int64_t id);

void rhealth_new(struct redis_be *be);
void rhealth_free(struct redis_be *be);
void rhealth_show(struct redis_be *be, struct bh_health *ret);

void rkeys_new(struct redis_be *be);
void rkeys_down(struct redis_be *be);
bool rkeys_idle(const struct redis_be *be);
bool rkeys_cancel(struct redis_be *be, struct bh_req *req);
void rkeys_free(struct redis_be *be);
void rkeys_command(void *be, struct bh_key_command *r);

void rpubsub_new(struct redis_be *be);
void rpubsub_up(struct redis_be *be);
void rpubsub_down(struct redis_be *be);
bool rpubsub_idle(const struct redis_be *be);
void rpubsub_free(struct redis_be *be);
void rpubsub_publish(void *be, struct bh_publish *r);
void rpubsub_subscribe(void *be, struct bh_bytes pattern, bool on);
/* The backend's own channel (with the prefix already in the name): fn hears
 * each message. An empty one is sent after each (re)connect, since some may
 * have been missed. fn NULL: it is not listened to any more. */
void rpubsub_listen(struct redis_be *be, const char *channel,
    void (*fn)(void *arg, struct bh_bytes message), void *arg);

void rthrottle_take(void *be, struct bh_throttle *r);
bool rthrottle_idle(const struct redis_be *be);
/* The name of the key of a limiter; freed by the caller. */
char *rthrottle_key(const struct redis_be *be, struct bh_bytes key,
    size_t *ret_len);

/* Handlers that run here. */
size_t rhandlers_count(const struct redis_be *be);

/* --- move.c: what the store of this machine holds comes here --- */

void rmove_new(struct redis_be *be);
void rmove_free(struct redis_be *be);
/* Once a turn; the mono ms of the next thing due. */
int64_t rmove_turn(struct redis_be *be);
/* Its ids are known at the server, or it has none. */
bool rmove_claimed(const struct redis_be *be);
/* The doors may open. */
bool rmove_doors(const struct redis_be *be);
/* Living jobs are still to come: new ones have to wait behind them. */
bool rmove_living(const struct redis_be *be);
/* All has come; until then ids below the bound may be on their way. */
bool rmove_over(const struct redis_be *be);
int64_t rmove_bound(const struct redis_be *be);
/* bh_backend_type.migrate: the way back. */
void rmove_migrate(void *be, struct bh_migrate *r);

#endif
