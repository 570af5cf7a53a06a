/* SPDX-License-Identifier: MIT */
/*
 * What backends ask of the daemon: options of queues, the instance's id,
 * fingerprints, times of schedules. Kept apart from host.c so that tests of a
 * backend have it without the rest.
 *
 * As with host.c there is one in a process. Main thread only.
 */
#ifndef FRONT_HOST_STORE_H
#define FRONT_HOST_STORE_H

#include "conf/qopts.h"
#include "plugin.h"

/* Fills in that part of api. Both must live until host_store_done(). */
void host_store_init(struct bh_host *api, const struct qopts *q,
    const char *(*state_dir)(void));
void host_store_done(void);

#endif
