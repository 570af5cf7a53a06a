/* SPDX-License-Identifier: MIT */
/*
 * Shared by move*.c alone: what the store of this machine holds moves to
 * Redis, or everything here moves back.
 *
 *	move.c       the way: read, write, drop, batch after batch
 *	move_row.c   rows as words of a command, and replies as rows
 *	move_far.c   the far end of the way up: queues, schedules, keys
 *	move_keys.c  keys as commands, and as rows
 *	move_down.c  the way down
 */
#ifndef REDIS_MOVE_H
#define REDIS_MOVE_H

#include "redis/part.h"

struct redisReply;

/* The stations of the way, in this order up; down, see move_far.c. */
enum station {
	MOVE_ASK,			/* what is in the local store? */
	MOVE_CLAIM,			/* its ids are announced */
	MOVE_QUEUES, MOVE_SCHEDULES, MOVE_KEYS,
	/* The doors may open from here on. */
	MOVE_LIVING, MOVE_ENDED, MOVE_CALLBACKS, MOVE_CLOSE, MOVE_END,
	MOVE_NOTHING,			/* it is over, or there was nothing */
	MOVE_DOWN,			/* the other way, under way */
	MOVE_LEFT			/* everything is at the machine */
};

/* Words of a command, each with bytes of its own. */
struct mwords {
	const char **argv;
	size_t *lens;
	char **own;
	size_t n, cap;
};

void mwords_add(struct mwords *w, const void *data, size_t len);
void mwords_str(struct mwords *w, const char *s);
void mwords_int(struct mwords *w, int64_t v);
void mwords_done(struct mwords *w);

/* Rows that have been made here; freed whole. */
struct row_list {
	struct bh_row *all;
	struct bh_bytes **cols;		/* what all[i].cols is */
	size_t n, cap;
};

void row_list_done(struct row_list *l);
/* A row with all columns NULL, and a column of it. */
struct bh_bytes *row_new(struct row_list *l, enum bh_table table);
void row_set(struct bh_bytes *col, const void *data, size_t len);
void row_set_int(struct bh_bytes *col, int64_t v);

size_t row_ncols(enum bh_table table);
const char *row_name(enum bh_table table);
/* "JOB id queue …" for each table, as move.lua wants to know it. */
extern const char rmove_columns[];

/* How ids are told at Redis: as they are while base is 0. */
int64_t move_id(int64_t base, int64_t id);
/* A row as move.lua reads it. */
void mwords_row(struct mwords *w, const struct bh_row *row, int64_t base,
    int64_t job);
/* A row as move.lua has told it; false: it is none. */
bool row_read(struct row_list *l, const struct redisReply *r, int64_t *job);

/* The integer of a column, or what it is when there is none. */
int64_t col_int(struct bh_bytes col, int64_t none);

struct rmove {
	struct redis_be *be;		/* NULL: it is closed */
	const struct bh_host *host;
	enum station at;
	struct bh_local local;		/* the request under way */
	bool local_busy;
	char name[BH_MOVE_NAME];	/* of this way */
	int64_t base;			/* see move_id() */
	int64_t bound;			/* the local store's ids are below */
	int64_t last;			/* place of the last row that moved */
	int64_t retry_at;		/* mono; 0: not waiting */
	size_t under_way;		/* commands without a reply */
	bool sent;			/* … of this batch */
	bool failed;			/* one of them has */
	char trouble[BH_ERROR_TEXT];	/* said once */
	int64_t total, done, told_at;
	int64_t counts[BH_TABLE_COUNT];
	char **queues;			/* that rows have gone to */
	size_t nqueues;
	/* Down: */
	struct bh_migrate *asked;	/* who waits for it */
	struct row_list rows;		/* on their way to the local store */
	struct mwords drop;		/* what is dropped when they are there */
	size_t queue_at;
	int64_t began;			/* wall ms */
	char cursor[24], next_cursor[24];	/* of SCAN */
	char **globs;
	size_t nglobs, glob_at;
	bool next_after;		/* the queue ends with this batch */
	int64_t drain_until;		/* mono */
	int stage;			/* of MOVE_DOWN */
};

/* --- move.c --- */

void move_go_on(struct rmove *m);
void move_trouble(struct rmove *m, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* A reply has come: true when it is a good one. */
bool move_reply(struct rmove *m, const struct redisReply *r);
void move_local(struct rmove *m, enum bh_local_op op);
void move_tell(struct rmove *m, enum bh_log_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* --- move_keys.c --- */

/* What makes the key anew, as commands of Redis; its parts follow its row. The
 * caller frees the list and its words. */
size_t move_key_commands(const struct bh_row *row, size_t n, bool old,
    struct mwords **ret);

/* Commands under construction. */
struct mcommands {
	struct mwords *all;
	size_t n;
};

/* Another one, with its first words. */
struct mwords *mcommand(struct mcommands *c, const char *verb,
    struct bh_bytes key);
struct mwords *mcommand_plain(struct mcommands *c, const char *verb);
/* move_stream.c. old: for Redis 6.2 */
void move_stream_make(struct mcommands *out, const struct bh_row *row,
    size_t n, bool old);


void move_keys_globs(struct rmove *m, const struct bh_bytes *keys, size_t n);
/* A page of keys on the way down; what is stored goes there. */
void move_keys_ask(struct rmove *m);
void move_keys_drop(struct rmove *m, rlink_reply_fn *fn);
void move_keys_next(struct rmove *m);

/* --- move_far.c --- */

struct rqueue;
/* move.lua for one queue; w: what follows the channel. */
void move_call(struct rmove *m, struct rqueue *q, const struct mwords *w,
    rlink_reply_fn *fn, void *arg);

/* Sends the rows of m->local to where they belong; replies count down
 * m->under_way. */
void move_send(struct rmove *m);
void move_claim(struct rmove *m);
void move_close(struct rmove *m);

/* --- move_down.c --- */

void move_down(struct rmove *m);
void move_down_stored(struct rmove *m);
/* The local store is ready for it; or the daemon has died on the way. */
void move_down_begun(struct rmove *m);
void move_down_ended(struct rmove *m);
void move_keys_done(struct rmove *m);

#endif
