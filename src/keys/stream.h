/* SPDX-License-Identifier: MIT */
/*
 * The value of a stream key: entries by ascending id, and consumer groups.
 *
 *   stream.c        entries, in blocks     stream_group.c  groups, consumers
 *   stream_type.c   its rows, copies       stream_arg.c    ids, what is shown
 *   xadd.c, xrange.c, xread.c, xgroup.c, xpend.c, xclaim.c, xinfo.c: commands
 *
 * Invariants:
 * 1. Blocks and the entries in them ascend by id, and no block is empty;
 *    entries come at the end only.
 * 2. A pending entry is in the tree of its group and in that of its consumer.
 *    Its entry may be gone.
 * 3. `bytes` is what all of it has of memory.
 *
 * An entry is kept as it is on the disk: varints of the stream's count of
 * entries when it came and of its number of fields and values, then each of
 * these with its length (a varint) before it.
 */
#ifndef KEYS_STREAM_H
#define KEYS_STREAM_H

#include <bsd/sys/tree.h>

#include "keys/part.h"

struct sid {
	uint64_t ms, seq;
};

#define SID_MAX ((struct sid){UINT64_MAX, UINT64_MAX})

struct sentry {
	struct sid id;
	uint32_t at, len;		/* in its block's data */
};

struct sblock {
	uint32_t head, n, room;		/* entries: first, end, allocated */
	uint32_t used, cap, live;	/* bytes of data */
	struct sentry *entries;
	char *data;
};

struct sconsumer;

struct pending {
	RB_ENTRY(pending) in_group, in_consumer;
	struct sid id;
	int64_t at;			/* wall ms of its last delivery */
	int64_t count;			/* deliveries */
	struct sconsumer *who;
};

RB_HEAD(group_pending, pending);
RB_HEAD(consumer_pending, pending);

struct sconsumer {
	RB_ENTRY(sconsumer) link;
	struct consumer_pending pending;
	size_t npending;
	int64_t seen;			/* wall ms */
	uint32_t id;			/* in its group, for its rows */
	uint32_t len;
	char name[];
};

RB_HEAD(consumers, sconsumer);

struct sgroup {
	RB_ENTRY(sgroup) link;
	struct group_pending pending;
	size_t npending;
	struct consumers consumers;
	size_t nconsumers;
	struct sid last_id;
	int64_t entries_read;		/* -1 unknown */
	uint32_t id, next_consumer;	/* for rows */
	uint32_t len;
	char name[];
};

RB_HEAD(groups, sgroup);

struct stream_loading;

struct stream {
	struct sblock **blocks;
	size_t first, end, cap;		/* of blocks */
	size_t length;
	struct sid last_id, max_deleted;
	uint64_t added;			/* entries, ever */
	struct groups groups;
	size_t ngroups;
	uint32_t next_group;
	size_t rows;			/* of groups, consumers, pending ones */
	size_t bytes;
	struct stream_loading *loading;	/* while it is read back */
};

static inline int
sid_cmp(struct sid a, struct sid b)
{
	if (a.ms != b.ms)
		return a.ms < b.ms ? -1 : 1;
	return (a.seq > b.seq) - (a.seq < b.seq);
}

static inline bool
sid_zero(struct sid a)
{
	return a.ms == 0 && a.seq == 0;
}

/* The next one, the one before; false: there is none. */
bool sid_next(struct sid *id);
bool sid_prev(struct sid *id);

/* --- stream.c --- */

struct stream *stream_new(void);

/* A place between entries or at one. */
struct splace {
	size_t block;
	uint32_t at;
};

/* The first entry that is not before id; the last one that is not past it. */
struct splace stream_from(const struct stream *s, struct sid id);
struct splace stream_back(const struct stream *s, struct sid id);
/* NULL past the ends. */
const struct sentry *stream_at(const struct stream *s, struct splace p);
void stream_step(const struct stream *s, struct splace *p, bool back);
const struct sentry *stream_find(const struct stream *s, struct sid id);
/* 0-0 when there is none. */
struct sid stream_first_id(const struct stream *s);
struct sid stream_top_id(const struct stream *s);

/* id is past last_id. The bytes are valid until the next change. */
struct bh_bytes stream_append(struct stream *s, struct sid id,
    const struct bh_bytes *words, size_t n);
size_t stream_entry_size(const struct bh_bytes *words, size_t n);
/* One that was stored. */
void stream_append_raw(struct stream *s, struct sid id, struct bh_bytes data);
bool stream_delete(struct stream *s, struct sid id);

/* What an entry holds. */
struct bh_bytes stream_data(const struct stream *s, struct splace p);
uint64_t varint_get(struct bh_bytes *from);

/* Redis' guess how many entries there were up to id; -1 unknown. */
int64_t stream_read_up_to(const struct stream *s, struct sid id);
/* Whether entries from id on may have been deleted. */
bool stream_has_holes(const struct stream *s, struct sid from);

void stream_free_block(struct stream *s);	/* the first one */

/* --- stream_group.c --- */

RB_PROTOTYPE(groups, sgroup, link, x);
RB_PROTOTYPE(consumers, sconsumer, link, x);
RB_PROTOTYPE(group_pending, pending, in_group, x);
RB_PROTOTYPE(consumer_pending, pending, in_consumer, x);

struct sgroup *group_find(const struct stream *s, struct bh_bytes name);
struct sgroup *group_add(struct stream *s, struct bh_bytes name, uint32_t id);
struct sconsumer *consumer_find(const struct sgroup *g, struct bh_bytes name);
struct sconsumer *consumer_add(struct stream *s, struct sgroup *g,
    struct bh_bytes name, uint32_t id);
/* Nothing pending may be left of it. */
void consumer_remove(struct stream *s, struct sgroup *g,
    struct sconsumer *who);
void group_remove(struct stream *s, struct sgroup *g);

struct pending *pending_find(const struct sgroup *g, struct sid id);
/* The first one that is not before id. */
struct pending *pending_from(const struct sgroup *g, struct sid id);
struct pending *pending_of(const struct sconsumer *who, struct sid id);
struct pending *pending_add(struct stream *s, struct sgroup *g,
    struct sconsumer *who, struct sid id);
void pending_move(struct pending *p, struct sconsumer *to);
void pending_remove(struct stream *s, struct sgroup *g, struct pending *p);
/* Frees some of what groups have, *budget counted down; true: all of it. */
bool groups_free_some(struct stream *s, int *budget);

/* --- stream_type.c --- */

/* Rows that follow a change. */
void row_entry(struct kcall *c, struct key *k, struct sid id,
    struct bh_bytes data);
void row_entry_gone(struct kcall *c, struct key *k, struct sid id);
void row_meta(struct kcall *c, struct key *k);
void row_group(struct kcall *c, struct key *k, const struct sgroup *g);
void row_group_gone(struct kcall *c, struct key *k, const struct sgroup *g);
void row_consumer(struct kcall *c, struct key *k, const struct sgroup *g,
    const struct sconsumer *who);
void row_consumer_gone(struct kcall *c, struct key *k, const struct sgroup *g,
    const struct sconsumer *who);
void row_pending(struct kcall *c, struct key *k, const struct sgroup *g,
    const struct pending *p);
void row_pending_gone(struct kcall *c, struct key *k, const struct sgroup *g,
    struct sid id);

extern const struct ktype stream_type;

/* --- stream_arg.c --- */

/* Elements that a command may deal with in one slice. */
enum { SLICE_ENTRIES = 1024 };

/* As words of a command; false: the answer is an error (c may be NULL). A
 * strict one is no - and no +; seq is what an id without one gets. */
MUSTCHECK bool arg_sid(struct kcall *c, struct bh_bytes word, uint64_t seq,
    bool strict, struct sid *ret);
/* ms-* too: *ret_auto. */
MUSTCHECK bool arg_sid_auto(struct kcall *c, struct bh_bytes word,
    struct sid *ret, bool *ret_auto);
/* The ends of a range, maybe exclusive: "(ms-seq". */
MUSTCHECK bool arg_sid_from(struct kcall *c, struct bh_bytes word,
    struct sid *ret);
MUSTCHECK bool arg_sid_to(struct kcall *c, struct bh_bytes word,
    struct sid *ret);
/* Ids argv[i] … argv[end - 1] are all well-formed. */
MUSTCHECK bool args_are_sids(struct kcall *c, size_t i, size_t end);

void put_sid(struct kcall *c, struct sid id);
/* [id, [field, value, …]] */
void put_entry(struct kcall *c, const struct stream *s, struct splace p);
void put_no_group(struct kcall *c, struct bh_bytes key, struct bh_bytes group);

/* The stream of a key that is there. */
static inline struct stream *
stream_of(const struct key *k)
{
	return k->obj;
}

/* The stream and its group; NOGROUP, WRONGTYPE: false. */
MUSTCHECK bool arg_group(struct kcall *c, size_t key, size_t group,
    struct key **ret_key, struct sgroup **ret_group);
/* The consumer, made when there is none; it has been seen. */
struct sconsumer *seen_consumer(struct kcall *c, struct key *k,
    struct sgroup *g, struct bh_bytes name);

#endif
