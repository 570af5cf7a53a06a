/* SPDX-License-Identifier: MIT */
/* The file of the outbox, and the errands that its thread runs there. */
#ifndef REDIS_OUTBOX_DB_H
#define REDIS_OUTBOX_DB_H

#include "redis/outbox.h"

enum errand_op {
	ERRAND_PUT, ERRAND_FINISH, ERRAND_GET, ERRAND_READ, ERRAND_DROP,
	ERRAND_NOTES
};

struct errand {
	struct errand *next;
	enum errand_op op;
	struct bh_req *req;
	int64_t now;
	int64_t n;			/* entries that it adds */
	int64_t seq, id, alias;
	int64_t notes[OUTBOX_NOTES];
	outbox_read_fn *fn;
	void *arg;
	/* out: */
	bool failed;
	int code;
	char *text;
	int64_t bytes;			/* of the file's entries; -1 unknown */
	struct outbox_entry *entries;
	size_t nentries;
};

struct outbox_db;

int outbox_db_open(struct outbox_db **ret, const char *dir,
    char err[BH_ERROR_TEXT]);
void outbox_db_close(struct outbox_db **d);
int outbox_db_load(struct outbox_db *d, int64_t notes[OUTBOX_NOTES],
    int64_t *count, int64_t *ends, int64_t *bytes, void (*alias)(void *arg, int64_t id,
    int64_t job), void *arg, char err[BH_ERROR_TEXT]);
/* All of the list in one transaction; when it fails, all that write fail. */
void outbox_db_run(struct outbox_db *d, struct errand *list);
void outbox_entries_free(struct errand *a);

#endif
