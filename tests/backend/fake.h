/* SPDX-License-Identifier: MIT */
/*
 * A backend in memory: as simple and as obviously right as can be, for tests.
 * Everything is a linear scan, nothing is stored, there are no threads. A verb
 * only queues its request; the next turn_end() does the work and answers.
 */
#ifndef BACKEND_FAKE_H
#define BACKEND_FAKE_H

#include "plugin.h"

struct qopts;

extern const struct bh_backend_ops fake_ops;

/* qopts must outlive it. Freed by fake_ops.close(). */
void *fake_open(struct qopts *qopts);

#endif
