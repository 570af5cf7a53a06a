/* SPDX-License-Identifier: MIT */
#include "journal/upkeep.h"

#include <stdlib.h>
#include <sys/statvfs.h>

#include "base/clock.h"
#include "base/die.h"
#include "base/log.h"
#include "base/xalloc.h"
#include "journal/db.h"
#include "journal/spare.h"

/* Past so many frames the WAL is copied back: 16 MiB. Much smaller, and a
 * backlog's oldest and newest pages are written back over and over; much
 * larger, and commits wait too long for one checkpoint (10 ms as it is). */
#define WAL_FRAMES 4000
/* A WAL that grows past this is held up by a reader, and that is told. */
#define WAL_FRAMES_HELD (4 * WAL_FRAMES)

/* Vacuum when so many pages are free, and a quarter of the file. */
#define FREE_PAGES 1024
#define FREE_PART 4
#define VACUUM_SLICE "PRAGMA incremental_vacuum(256)"
#define VACUUM_PAUSE_US 200000

#define QUIET_MS 2000
/* The fsync itself has the rest of the promised second. */
#define SYNC_US 900000
#define DISK_US 1000000
/* With less than this, look after each commit: a second is long. */
#define DISK_TIGHT (256 << 20)
/* How often to ask again while a reader holds a checkpoint up. */
#define HELD_US 1000000

#define NEVER INT64_MAX

struct upkeep {
	sqlite3 *db;
	const char *dir;
	bool relaxed;
	int64_t quiet_us;
	int64_t page_size;
	int64_t pages, free_pages;
	int64_t frames;			/* in the WAL, copied ones too */
	int64_t copied;			/* of these, back in the file */
	int64_t asked;			/* frames at the last checkpoint */
	int64_t sync_at, vacuum_at, quiet_at, disk_at;
	int64_t held_at;		/* a reader held the last one up */
	bool held_again;		/* long ago, and there is more */
	bool quiet;			/* vacuum without pauses */
	bool unsynced;			/* a sync has failed */
	bool held_told, failed_told;
	int64_t wal_bytes, disk_free;
	struct spare spare;
};

static int
on_wal(void *arg, sqlite3 *db UNUSED, const char *name UNUSED, int frames)
{
	struct upkeep *u = arg;

	if (frames < u->asked)		/* it has started at the front again */
		u->asked = u->copied = 0;
	u->frames = frames;
	return SQLITE_OK;
}

static int64_t
pragma(sqlite3 *db, const char *sql)
{
	int64_t v = 0;

	return db_int(db, sql, &v) == SQLITE_OK ? v : 0;
}

static sqlite3_file *
wal_file(sqlite3 *db)
{
	sqlite3_file *f = NULL;

	if (sqlite3_file_control(db, "main", SQLITE_FCNTL_JOURNAL_POINTER,
	    &f) != SQLITE_OK)
		return NULL;
	return f && f->pMethods ? f : NULL;
}

static void
measure_wal(struct upkeep *u)
{
	sqlite3_file *f = wal_file(u->db);
	sqlite3_int64 size = 0;

	if (f && f->pMethods->xFileSize(f, &size) == SQLITE_OK)
		u->wal_bytes = size;
}

static void
measure_disk(struct upkeep *u)
{
	struct statvfs v;

	if (statvfs(u->dir, &v) == 0)
		u->disk_free = (int64_t)v.f_bavail * (int64_t)v.f_frsize;
}

struct upkeep *
upkeep_new(sqlite3 *db, const char *dir, bool relaxed, int64_t quiet_ms)
{
	struct upkeep *u = xcalloc(1, sizeof(*u));

	u->db = db;
	u->dir = dir;
	u->relaxed = relaxed;
	u->quiet_us = (quiet_ms ? quiet_ms : QUIET_MS) * 1000;
	u->sync_at = u->vacuum_at = u->quiet_at = u->held_at = NEVER;
	u->page_size = pragma(db, "PRAGMA page_size");
	u->pages = pragma(db, "PRAGMA page_count");
	u->free_pages = pragma(db, "PRAGMA freelist_count");
	/* Replaces SQLite's own automatic checkpoint, which would make the
	 * commit wait. */
	sqlite3_wal_hook(db, on_wal, u);
	measure_disk(u);
	spare_init(&u->spare, dir);
	spare_hold(&u->spare, u->disk_free);
	return u;
}

void
upkeep_free(struct upkeep **u)
{
	if (!*u)
		return;
	sqlite3_wal_hook((*u)->db, NULL, NULL);
	spare_done(&(*u)->spare);
	free(*u);
	*u = NULL;
}

/* A failure is told once for each series. */
static void
tell_failure(struct upkeep *u, const char *what)
{
	if (!u->failed_told)
		log_warn("journal: %s fails: %s; nothing committed is lost, "
		    "it is tried again", what, sqlite3_errmsg(u->db));
	u->failed_told = true;
}

static void
tell_held(struct upkeep *u)
{
	if (u->frames < WAL_FRAMES_HELD) {
		u->held_told = false;
		return;
	}
	if (!u->held_told)
		log_about(LOG_WARN, LOG_OF(WAL_GROWN),
		    "journal: the write-ahead log has grown to %lld MiB, "
		    "because some program has been reading bellhop.db for long;"
		    " end that program's transaction", (long long)
		    (u->frames * u->page_size / (1 << 20)));
	u->held_told = true;
}

/* Passive: it waits for nobody. When all was copied, the next commit starts at
 * the front of the WAL again, over blocks that the file has already: a sync is
 * cheaper there than at a growing end, so the file is not truncated. */
static bool
checkpoint(struct upkeep *u, int64_t now_us)
{
	int in_log = 0;
	int copied = 0;
	int rc = sqlite3_wal_checkpoint_v2(u->db, "main",
	    SQLITE_CHECKPOINT_PASSIVE, &in_log, &copied);

	u->asked = u->frames;
	u->held_at = NEVER;
	u->held_again = false;
	if (rc != SQLITE_OK) {
		tell_failure(u, "copying the write-ahead log back");
		return false;
	}
	u->copied = copied;
	if (copied < in_log)
		u->held_at = now_us + HELD_US;
	tell_held(u);
	return copied == in_log;
}

static bool
wants_checkpoint(const struct upkeep *u)
{
	return u->frames - u->asked >= WAL_FRAMES || u->held_again;
}

/* After a failed sync the kernel may have dropped the error with the data
 * still unwritten: only copying everything back, synced, proves it safe. */
static void
sync_wal(struct upkeep *u, int64_t now_us)
{
	sqlite3_file *f = wal_file(u->db);
	int rc = SQLITE_OK;

	u->sync_at = NEVER;
	if (u->unsynced)
		u->unsynced = !checkpoint(u, now_us);
	else if (f)
		rc = f->pMethods->xSync(f, SQLITE_SYNC_NORMAL);
	if (rc != SQLITE_OK) {
		u->unsynced = true;
		log_error("journal: fsync of the write-ahead log fails "
		    "(SQLite code %d): what was acknowledged in the last second"
		    " may not survive a power cut", rc);
	}
	if (u->unsynced)
		u->sync_at = now_us + SYNC_US;
}

static bool
wants_vacuum(const struct upkeep *u)
{
	return u->free_pages > FREE_PAGES &&
	    u->free_pages > u->pages / FREE_PART;
}

static void
vacuum(struct upkeep *u, int64_t now_us)
{
	int64_t before = u->free_pages;

	u->vacuum_at = NEVER;
	if (db_exec(u->db, VACUUM_SLICE) != SQLITE_OK) {
		tell_failure(u, "giving free pages back");
		return;
	}
	u->pages = pragma(u->db, "PRAGMA page_count");
	u->free_pages = pragma(u->db, "PRAGMA freelist_count");
	if (u->relaxed && u->sync_at == NEVER)
		u->sync_at = now_us + SYNC_US;
	if (wants_vacuum(u) && u->free_pages < before)
		u->vacuum_at = u->quiet ? now_us : now_us + VACUUM_PAUSE_US;
	else if (u->quiet)
		u->quiet_at = now_us;
}

/* The last act: after it nothing is due. */
static void
settle(struct upkeep *u, int64_t now_us)
{
	u->quiet_at = NEVER;
	if (u->frames > u->copied)
		checkpoint(u, now_us);
	sqlite3_db_release_memory(u->db);
	measure_disk(u);
}

void
upkeep_committed(struct upkeep *u, int64_t pages, int64_t free_pages,
    int64_t now_us)
{
	u->pages = pages;
	u->free_pages = free_pages;
	u->quiet = false;
	u->failed_told = false;
	u->quiet_at = now_us + u->quiet_us;
	if (u->relaxed && u->sync_at == NEVER)
		u->sync_at = now_us + SYNC_US;
	if (u->vacuum_at == NEVER && wants_vacuum(u))
		u->vacuum_at = now_us + VACUUM_PAUSE_US;
	/* Not a timer: a held-up log that does not grow can wait. */
	u->held_again = now_us >= u->held_at;
	measure_wal(u);
	if (now_us >= u->disk_at || u->disk_free < DISK_TIGHT) {
		measure_disk(u);
		spare_hold(&u->spare, u->disk_free);
		u->disk_at = now_us + DISK_US;
	}
}

void
upkeep_failed(struct upkeep *u, bool full, int64_t now_us)
{
	if (full)
		spare_give_up(&u->spare);
	checkpoint(u, now_us);
	measure_wal(u);
	measure_disk(u);
	u->disk_at = now_us + DISK_US;
}

void
upkeep_run(struct upkeep *u, int64_t now_us)
{
	if (now_us >= u->sync_at)
		sync_wal(u, now_us);
	if (wants_checkpoint(u))
		checkpoint(u, now_us);
	if (now_us >= u->quiet_at && !u->quiet && wants_vacuum(u)) {
		u->quiet = true;
		u->quiet_at = NEVER;
		u->vacuum_at = now_us;
	}
	if (now_us >= u->vacuum_at)
		vacuum(u, now_us);
	else if (now_us >= u->quiet_at)
		settle(u, now_us);
	measure_wal(u);
}

int64_t
upkeep_next(const struct upkeep *u)
{
	int64_t at = u->sync_at;

	if (wants_checkpoint(u))
		return 0;
	if (u->vacuum_at < at)
		at = u->vacuum_at;
	return u->quiet_at < at ? u->quiet_at : at;
}

void
upkeep_finish(struct upkeep *u)
{
	if (u->sync_at != NEVER)
		sync_wal(u, 0);
}

void
upkeep_sizes(const struct upkeep *u, struct journal_stats *ret)
{
	ret->db_bytes = u->pages * u->page_size;
	ret->free_bytes = u->free_pages * u->page_size;
	ret->wal_bytes = u->wal_bytes;
	ret->disk_free_bytes = u->disk_free;
}
