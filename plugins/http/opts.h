/* SPDX-License-Identifier: MIT */
/* The job options: from a query or a JSON object to the words of JOB.ADD. */
#ifndef HTTP_OPTS_H
#define HTTP_OPTS_H

#include "http/ask.h"

/* Adds what p says about a job; false: it has answered with an error. */
bool opts_add(struct ask *a, struct pairs *p);

/* "2026-03-01T06:00:00+01:00", or ms since 1970. -1: neither. */
int moment_parse(struct bh_bytes v, int64_t *ret_ms);

#endif
