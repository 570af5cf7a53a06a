/* SPDX-License-Identifier: MIT */
/*
 * An SQLite VFS named "fault" over the default one, whose writes and syncs can
 * be made to fail. Counts start at faultvfs_reset(); any thread.
 */
#ifndef LIB_FAULTVFS_H
#define LIB_FAULTVFS_H

#include <stdbool.h>

void faultvfs_register(void);
/* Zero counts, no faults. */
void faultvfs_reset(void);

/* The n-th write (1, 2, …) from now on fails with the SQLite result code rc;
 * torn: the first half of it arrives. */
void faultvfs_fail_write(long n, int rc, bool torn);
/* The n-th sync fails; what was written stays written. */
void faultvfs_fail_sync(long n, int rc);
/* Every write and every sync fails; 0 ends that. */
void faultvfs_fail_all(int rc);

long faultvfs_writes(void);
long faultvfs_syncs(void);
/* How many calls were made to fail. */
long faultvfs_failures(void);

#endif
