/* SPDX-License-Identifier: MIT */
/*
 * What the service manager is told (sd_notify(3)), and the watchdog that it
 * keeps. Where no service manager listens, each call does nothing.
 *
 * Main thread only.
 */
#ifndef RT_SDNOTIFY_H
#define RT_SDNOTIFY_H

#include <stdint.h>

#include "base/attr.h"

/* The doors are open, or the reload has ended. */
void sdnotify_ready(void);
void sdnotify_reloading(void);
void sdnotify_stopping(void);
/* One sentence for `systemctl status`. */
PRINTF(1, 2) void sdnotify_status(const char *fmt, ...);
/* The start or the stop takes this much longer. */
void sdnotify_extend(int64_t ms);
/* Every thread makes progress. */
void sdnotify_alive(void);

/* Without a sign of life for so long the daemon is ended; 0: never. */
int64_t sdnotify_watchdog_ms(void);

#endif
