/* SPDX-License-Identifier: MIT */
/*
 * `bellhopctl script check | run`: one script in this process, in the same
 * sandbox as in the daemon, without a store: what it asks of the store is
 * printed and answered with something harmless. So are HTTP requests, mails
 * and programs, unless they are to be done for real.
 */
#ifndef SCRIPT_DRYRUN_H
#define SCRIPT_DRYRUN_H

#include <stdio.h>

#include "base/err.h"
#include "conf/conf.h"

/* Loads it. 0, or -1 and "FILE:LINE: cause". */
MUSTCHECK int script_check(const char *file, const struct conf *conf,
    struct buf *ret_summary, struct err *e);

/* Calls perform once with this payload; prints log lines, store calls,
 * result, time and memory to out. live: calls go out. 0 when the job would
 * have completed. */
MUSTCHECK int script_run(const char *file, const struct conf *conf,
    struct bh_bytes payload, bool live, FILE *out, struct err *e);

#endif
