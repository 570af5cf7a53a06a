/* SPDX-License-Identifier: MIT */
#include "journal/spare.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/xalloc.h"

enum { SPARE_BYTES = 4 << 20 };

void
spare_init(struct spare *s, const char *dir)
{
	struct stat st;

	s->path = xasprintf("%s/bellhop.spare", dir);
	s->held = stat(s->path, &st) == 0 && st.st_size == SPARE_BYTES;
}

void
spare_done(struct spare *s)
{
	free(s->path);
	s->path = NULL;
}

void
spare_hold(struct spare *s, int64_t disk_free)
{
	int fd;

	if (s->held || disk_free < 4 * (int64_t)SPARE_BYTES)
		return;
	fd = open(s->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	if (fd < 0)
		return;		/* it is a help, not a need */
	s->held = posix_fallocate(fd, 0, SPARE_BYTES) == 0;
	close(fd);
	if (!s->held)
		unlink(s->path);
}

void
spare_give_up(struct spare *s)
{
	if (!s->held)
		return;
	s->held = false;
	if (unlink(s->path) == 0)
		log_about(LOG_WARN, LOG_OF(SPACE_SPARE),
		    "journal: the disk is full: its spare space (%d MiB) "
		    "is used now, to let jobs end and be removed",
		    SPARE_BYTES >> 20);
}
