/* SPDX-License-Identifier: MIT */
#include "ctl/ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/xalloc.h"
#include "ctl/db.h"

static int
sync_path(const char *path, int flags)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | flags), rc = -1;

	if (fd >= 0) {
		rc = fsync(fd);
		close(fd);
	}
	return rc;
}

static int
sync_dir_of(const char *path)
{
	char *copy = xstrdup(path);
	int rc = sync_path(dirname(copy), O_DIRECTORY);

	free(copy);
	return rc;
}

static int
vacuum_into(sqlite3 *db, const char *file, struct err *e)
{
	sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(db, "VACUUM INTO ?1", -1, &stmt, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_bind_text(stmt, 1, file, -1, SQLITE_TRANSIENT);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	if (rc != SQLITE_DONE)
		err_set(e, BH_E_IO, "%s: %s", file, sqlite3_errmsg(db));
	sqlite3_finalize(stmt);
	return rc == SQLITE_DONE ? 0 : -1;
}

static int
check_file(const char *file, struct err *e)
{
	sqlite3 *db;
	int rc;

	if (db_open_readonly(&db, file, e) != 0)
		return -1;
	rc = db_check(db, file, e);
	sqlite3_close(db);
	return rc;
}

/* Gives a file its name unless that is taken. Not every file system can do
 * that by renaming, and not every one has links. */
static int
name_new(const char *temp, const char *to)
{
	if (renameat2(AT_FDCWD, temp, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
		return 0;
	return errno == EINVAL || errno == ENOSYS ? link(temp, to) : -1;
}

/* A copy of one moment, made beside its place and checked there; it takes its
 * name last, so a file of that name is whole or is not there. */
static int
copy_db(const char *from, const char *to, struct err *e)
{
	char *temp = xasprintf("%s.partial", to);
	mode_t mask = umask(0077);
	sqlite3 *db = NULL;
	int rc;

	unlink(temp);
	rc = db_open_readonly(&db, from, e);
	if (rc == 0)
		rc = vacuum_into(db, temp, e);
	umask(mask);
	sqlite3_close(db);
	if (rc == 0)
		rc = check_file(temp, e);
	if (rc == 0 && (sync_path(temp, 0) != 0 ||
	    name_new(temp, to) != 0 || sync_dir_of(to) != 0))
		rc = err_set(e, BH_E_IO, "%s: %s", to, strerror(errno));
	unlink(temp);
	free(temp);
	return rc;
}

int
ctl_backup(struct ctl *ctl, int argc, char **argv)
{
	struct ctl_option opts[] = {{.name = "state-dir", .arg = "DIR"}};
	char *dir = NULL, *from = NULL;
	int n, status = CTL_USAGE;
	struct stat st;
	struct err e;

	if (ctl_parse(ctl, argc, argv, opts, 1, 1, 1, &n) != 0)
		goto out;
	status = CTL_FAILED;
	if (lstat(argv[0], &st) == 0) {
		ctl_fail(ctl, "%s: exists, and a backup overwrites nothing",
		    argv[0]);
		goto out;
	}
	dir = db_state_dir(ctl, opts[0].value);
	if (!dir)
		goto out;
	from = xasprintf("%s/bellhop.db", dir);
	if (copy_db(from, argv[0], &e) != 0) {
		ctl_fail(ctl, "%s", e.text);
		goto out;
	}
	status = CTL_OK;
	if (stat(argv[0], &st) == 0) {
		struct buf size = BUF_INIT;

		render_size(&size, st.st_size);
		fprintf(ctl->out, "%s: %s, checked\n", argv[0],
		    buf_str(&size));
		buf_done(&size);
	}
out:
	free(from);
	free(dir);
	ctl_options_done(opts, 1);
	return status;
}

/* Holds what the daemon holds while it runs. The file, when we make it, must
 * be the daemon's user's. */
static int
take_lock(const char *dir, int *ret_fd, struct err *e)
{
	char *path = xasprintf("%s/bellhop.lock", dir);
	struct stat st;
	int fd = open(path, O_RDWR | O_CLOEXEC), rc = -1;

	if (fd < 0 && errno == ENOENT && stat(dir, &st) == 0) {
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
		if (fd >= 0 && fchown(fd, st.st_uid, st.st_gid) != 0 &&
		    geteuid() == 0) {
			close(fd);
			fd = -1;
		}
	}
	if (fd < 0)
		err_set(e, BH_E_IO, "%s: %s", path, strerror(errno));
	else if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		rc = 0;
	else
		err_set(e, BH_E_IO, "%s: bellhopd is running; stop it first: "
		    "systemctl stop bellhop", dir);
	if (rc == 0)
		*ret_fd = fd;
	else if (fd >= 0)
		close(fd);
	free(path);
	return rc;
}

/* So that all that was committed is in the one file. A database too broken
 * for that is kept as it is, with its log. */
static void
fold_wal(const char *file)
{
	sqlite3 *db = NULL;

	if (sqlite3_open_v2(file, &db, SQLITE_OPEN_READWRITE, NULL) ==
	    SQLITE_OK)
		sqlite3_wal_checkpoint_v2(db, NULL,
		    SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
	sqlite3_close(db);
}

/* Renames from.suffix to to.suffix; a file that is not there is fine. */
static int
move_part(const char *from, const char *to, const char *suffix,
    struct err *e)
{
	char *a = xasprintf("%s%s", from, suffix);
	char *b = xasprintf("%s%s", to, suffix);
	int rc = rename(a, b);

	if (rc != 0 && errno == ENOENT)
		rc = 0;
	else if (rc != 0)
		err_set(e, BH_E_IO, "%s: %s", a, strerror(errno));
	free(a);
	free(b);
	return rc;
}

/* Moves the old database away, log first: what is left of it at any moment
 * is never a log without its database. */
static int
put_aside(const char *file, const char *aside, struct err *e)
{
	char *shm = xasprintf("%s-shm", file);
	char *wal = xasprintf("%s-wal", file);
	struct stat st;
	int rc;

	fold_wal(file);
	if (stat(wal, &st) == 0 && st.st_size == 0)
		unlink(wal);
	rc = move_part(file, aside, "-wal", e);
	if (rc == 0)
		rc = move_part(file, aside, "", e);
	if (rc == 0)
		unlink(shm);
	free(wal);
	free(shm);
	return rc;
}

/* The new file belongs to whom the directory belongs. */
static int
give_owner(const char *file, const char *dir, struct err *e)
{
	struct stat st;

	if (stat(dir, &st) == 0 && chmod(file, 0600) == 0 &&
	    (geteuid() != 0 || chown(file, st.st_uid, st.st_gid) == 0))
		return 0;
	return err_set(e, BH_E_IO, "%s: %s", file, strerror(errno));
}

static int
restore(struct ctl *ctl, const char *backup, const char *dir, struct err *e)
{
	char *file = xasprintf("%s/bellhop.db", dir);
	char *fresh = xasprintf("%s/bellhop.db.restored", dir);
	char *aside = NULL, stamp[32];
	time_t now = (time_t)(ctl->now / 1000);
	struct tm tm;
	int rc;

	gmtime_r(&now, &tm);
	strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", &tm);
	aside = xasprintf("%s.before-restore-%s", file, stamp);
	unlink(fresh);
	rc = check_file(backup, e);
	if (rc == 0)
		rc = copy_db(backup, fresh, e);
	if (rc == 0)
		rc = give_owner(fresh, dir, e);
	if (rc == 0 && access(aside, F_OK) == 0)
		rc = err_set(e, BH_E_IO, "%s: exists already", aside);
	if (rc == 0)
		rc = put_aside(file, aside, e);
	if (rc == 0 && (rename(fresh, file) != 0 || sync_dir_of(file) != 0))
		rc = err_set(e, BH_E_IO, "%s: %s", file, strerror(errno));
	if (rc == 0) {
		fprintf(ctl->out, "%s: restored\n", file);
		if (access(aside, F_OK) == 0)
			fprintf(ctl->out, "%s: what was there before\n",
			    aside);
	}
	unlink(fresh);
	free(aside);
	free(fresh);
	free(file);
	return rc;
}

int
ctl_restore(struct ctl *ctl, int argc, char **argv)
{
	struct ctl_option opts[] = {{.name = "state-dir", .arg = "DIR"}};
	int n, fd = -1, status = CTL_USAGE;
	char *dir = NULL;
	struct err e;

	if (ctl_parse(ctl, argc, argv, opts, 1, 1, 1, &n) != 0)
		goto out;
	status = CTL_FAILED;
	dir = db_state_dir(ctl, opts[0].value);
	if (!dir)
		goto out;
	if (take_lock(dir, &fd, &e) != 0 ||
	    restore(ctl, argv[0], dir, &e) != 0)
		ctl_fail(ctl, "%s", e.text);
	else
		status = CTL_OK;
out:
	if (fd >= 0)
		close(fd);
	free(dir);
	ctl_options_done(opts, 1);
	return status;
}
