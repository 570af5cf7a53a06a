/* SPDX-License-Identifier: MIT */
#include "journal/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/log.h"
#include "base/xalloc.h"

static int
refuse(int fd, const char *dir, struct err *e)
{
	char pid[24];
	ssize_t n = pread(fd, pid, sizeof(pid) - 1, 0);

	pid[n > 0 ? n : 0] = '\0';
	pid[strcspn(pid, "\n")] = '\0';
	return err_set(e, BH_E_IO, "%s: another bellhopd (pid %s) works here; "
	    "stop it, or choose another state_dir", dir,
	    *pid ? pid : "unknown");
}

int
lock_take(const char *dir, int *ret_fd, struct err *e)
{
	char *path = xasprintf("%s/bellhop.lock", dir);
	char pid[24];
	size_t len = (size_t)snprintf(pid, sizeof(pid), "%ld\n",
	    (long)getpid());
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	int ret = -1;

	if (fd < 0) {
		err_set(e, BH_E_IO, "%s: %s", path, strerror(errno));
	} else if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		if (errno == EWOULDBLOCK)
			refuse(fd, dir, e);
		else
			err_set(e, BH_E_IO, "%s: cannot be locked: %s", path,
			    strerror(errno));
	} else {
		/* The pid is a courtesy: on a full disk the lock must do. */
		if (ftruncate(fd, 0) == 0 && pwrite(fd, pid, len, 0) < 0)
			log_debug("%s: the pid is not written: %s", path,
			    strerror(errno));
		*ret_fd = fd;
		ret = 0;
	}
	if (ret != 0 && fd >= 0)
		close(fd);
	free(path);
	return ret;
}

/* The file stays: removing it would let two daemons lock two files. The pid in
 * it misleads nobody, as it is only read when the lock is held. */
void
lock_drop(int *fd)
{
	if (*fd < 0)
		return;
	close(*fd);
	*fd = -1;
}
