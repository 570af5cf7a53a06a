/* SPDX-License-Identifier: MIT */
/* What the system says about this process. Any thread. */
#ifndef CMD_PROC_H
#define CMD_PROC_H

#include <stdint.h>

/* -1 where the system does not say. */
struct proc_figures {
	int64_t rss_bytes;
	int64_t threads;
	int64_t fds, max_fds;
	double cpu_s;			/* user and system time */
};

void proc_figures(struct proc_figures *ret);

#endif
