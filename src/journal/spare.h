/* SPDX-License-Identifier: MIT */
/*
 * Spare disk space: a file that only holds room. When the disk is full it is
 * given up, so that deletes and the ends of jobs can still be committed; when
 * there is space again it is made anew. Writer's thread only.
 */
#ifndef JOURNAL_SPARE_H
#define JOURNAL_SPARE_H

#include <stdbool.h>
#include <stdint.h>

struct spare {
	char *path;
	bool held;
};

void spare_init(struct spare *s, const char *dir);
void spare_done(struct spare *s);
/* Makes the file when it is not there and disk_free leaves enough beside it. */
void spare_hold(struct spare *s, int64_t disk_free);
void spare_give_up(struct spare *s);

#endif
