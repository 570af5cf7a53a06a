/* SPDX-License-Identifier: MIT */
#include "lib/faultvfs.h"

#include <sqlite3.h>
#include <stdatomic.h>
#include <string.h>

#include "base/die.h"

static sqlite3_vfs *below;
static sqlite3_vfs shim;
static atomic_long writes, syncs, failures, bad_write, bad_sync;
static atomic_int write_rc, sync_rc, all_rc;
static atomic_bool torn_write;

/* SQLite allocates szOsFile bytes: ours, then the real file behind it. */
struct fault_file {
	sqlite3_file base;
	sqlite3_file *real;
};

static sqlite3_file *
real(sqlite3_file *f)
{
	return ((struct fault_file *)f)->real;
}

static int
fail_with(int rc)
{
	failures++;
	return rc;
}

static int
fault_close(sqlite3_file *f)
{
	return real(f)->pMethods->xClose(real(f));
}

static int
fault_read(sqlite3_file *f, void *to, int n, sqlite3_int64 at)
{
	return real(f)->pMethods->xRead(real(f), to, n, at);
}

static int
fault_write(sqlite3_file *f, const void *from, int n, sqlite3_int64 at)
{
	long count = ++writes;

	if (all_rc)
		return fail_with(all_rc);
	if (count != bad_write)
		return real(f)->pMethods->xWrite(real(f), from, n, at);
	if (torn_write && n > 1)
		(void)real(f)->pMethods->xWrite(real(f), from, n / 2, at);
	return fail_with(write_rc);
}

static int
fault_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	return real(f)->pMethods->xTruncate(real(f), size);
}

static int
fault_sync(sqlite3_file *f, int flags)
{
	long count = ++syncs;

	if (all_rc)
		return fail_with(all_rc);
	if (count == bad_sync)
		return fail_with(sync_rc);
	return real(f)->pMethods->xSync(real(f), flags);
}

static int
fault_size(sqlite3_file *f, sqlite3_int64 *ret)
{
	return real(f)->pMethods->xFileSize(real(f), ret);
}

static int
fault_lock(sqlite3_file *f, int level)
{
	return real(f)->pMethods->xLock(real(f), level);
}

static int
fault_unlock(sqlite3_file *f, int level)
{
	return real(f)->pMethods->xUnlock(real(f), level);
}

static int
fault_reserved(sqlite3_file *f, int *ret)
{
	return real(f)->pMethods->xCheckReservedLock(real(f), ret);
}

static int
fault_control(sqlite3_file *f, int op, void *arg)
{
	return real(f)->pMethods->xFileControl(real(f), op, arg);
}

static int
fault_sector(sqlite3_file *f)
{
	return real(f)->pMethods->xSectorSize(real(f));
}

static int
fault_device(sqlite3_file *f)
{
	return real(f)->pMethods->xDeviceCharacteristics(real(f));
}

static int
fault_shm_map(sqlite3_file *f, int page, int size, int extend,
    void volatile **ret)
{
	return real(f)->pMethods->xShmMap(real(f), page, size, extend, ret);
}

static int
fault_shm_lock(sqlite3_file *f, int at, int n, int flags)
{
	return real(f)->pMethods->xShmLock(real(f), at, n, flags);
}

static void
fault_shm_barrier(sqlite3_file *f)
{
	real(f)->pMethods->xShmBarrier(real(f));
}

static int
fault_shm_unmap(sqlite3_file *f, int remove)
{
	return real(f)->pMethods->xShmUnmap(real(f), remove);
}

static int
fault_fetch(sqlite3_file *f, sqlite3_int64 at, int n, void **ret)
{
	return real(f)->pMethods->xFetch(real(f), at, n, ret);
}

static int
fault_unfetch(sqlite3_file *f, sqlite3_int64 at, void *p)
{
	return real(f)->pMethods->xUnfetch(real(f), at, p);
}

static const sqlite3_io_methods methods = {
	.iVersion = 3,
	.xClose = fault_close,
	.xRead = fault_read,
	.xWrite = fault_write,
	.xTruncate = fault_truncate,
	.xSync = fault_sync,
	.xFileSize = fault_size,
	.xLock = fault_lock,
	.xUnlock = fault_unlock,
	.xCheckReservedLock = fault_reserved,
	.xFileControl = fault_control,
	.xSectorSize = fault_sector,
	.xDeviceCharacteristics = fault_device,
	.xShmMap = fault_shm_map,
	.xShmLock = fault_shm_lock,
	.xShmBarrier = fault_shm_barrier,
	.xShmUnmap = fault_shm_unmap,
	.xFetch = fault_fetch,
	.xUnfetch = fault_unfetch,
};

static int
fault_open(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags,
    int *ret_flags)
{
	struct fault_file *ff = (struct fault_file *)f;
	int rc;

	(void)v;
	ff->real = (sqlite3_file *)(ff + 1);
	memset(ff->real, 0, (size_t)below->szOsFile);
	rc = below->xOpen(below, name, ff->real, flags, ret_flags);
	ff->base.pMethods = ff->real->pMethods ? &methods : NULL;
	return rc;
}

void
faultvfs_register(void)
{
	if (below)
		return;
	below = sqlite3_vfs_find(NULL);
	CHECK(below);
	shim = *below;
	shim.szOsFile = (int)sizeof(struct fault_file) + below->szOsFile;
	shim.zName = "fault";
	shim.xOpen = fault_open;
	CHECK(sqlite3_vfs_register(&shim, 0) == SQLITE_OK);
}

void
faultvfs_reset(void)
{
	writes = syncs = failures = 0;
	bad_write = bad_sync = 0;
	write_rc = sync_rc = all_rc = 0;
	torn_write = false;
}

void
faultvfs_fail_write(long n, int rc, bool torn)
{
	torn_write = torn;
	write_rc = rc;
	bad_write = writes + n;
}

void
faultvfs_fail_sync(long n, int rc)
{
	sync_rc = rc;
	bad_sync = syncs + n;
}

void
faultvfs_fail_all(int rc)
{
	all_rc = rc;
}

long
faultvfs_writes(void)
{
	return writes;
}

long
faultvfs_syncs(void)
{
	return syncs;
}

long
faultvfs_failures(void)
{
	return failures;
}
