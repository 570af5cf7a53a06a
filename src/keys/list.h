/* SPDX-License-Identifier: MIT */
/* What the files of list commands share. */
#ifndef KEYS_LIST_H
#define KEYS_LIST_H

#include "keys/klist.h"
#include "keys/part.h"

/* Elements of one slice: a change of one is a record. */
enum { SLICE_READ = 4096, SLICE_WRITE = 1024 };

/* Writes down what changes of this list. */
struct list_writing {
	struct klist_log log;
	struct kcall *call;
	struct key *key;
};

void list_writing_init(struct list_writing *w, struct kcall *c,
    struct key *k);

/* Where a walk is. */
struct lwalk {
	struct key *key;
	struct klist_at at;
	bool front, all, after, many;
	int64_t rank, count, left;
	size_t index;
};

/* At once if it is little work, else in slices. */
void list_walk(struct kcall *c, struct lwalk *w, size_t work, size_t slice,
    bool (*step)(struct kcall *c));

/* Negative: from the end; block NULL: there is none. */
struct klist_at list_seek(const struct klist *l, int64_t index);
/* The caller says key_settled(). */
void list_push(struct kcall *c, struct key *k, bool front,
    struct bh_bytes v);
/* The element at the end, put into the answer and out of the list. */
void list_pop(struct kcall *c, struct key *k, bool front);
/* Up to n as an array, n < 0 all; the last thing that a command does. */
void list_pop_many(struct kcall *c, struct key *k, bool front, int64_t n);

#endif
