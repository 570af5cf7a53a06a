/* SPDX-License-Identifier: MIT */
/*
 * The log as native records of systemd's journal, where that reads our
 * standard error: MESSAGE, PRIORITY, MESSAGE_ID and BELLHOP_QUEUE, _JOB,
 * _SCRIPT, _ATTEMPT, _PLUGIN.
 */
#ifndef RT_JOURNALD_H
#define RT_JOURNALD_H

/* Once, at the start. */
void journald_open(void);

#endif
