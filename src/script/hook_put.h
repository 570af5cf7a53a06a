/* SPDX-License-Identifier: MIT */
/* The jobs of a webhook as one request to the backend. Main thread only. */
#ifndef SCRIPT_HOOK_PUT_H
#define SCRIPT_HOOK_PUT_H

#include "script/msg.h"

/* Zeroed: empty. What it points to belongs to the webhook until done. */
struct hook_put {
	struct bh_put put;		/* the first job */
	struct bh_put *more;		/* the others, or NULL */
	struct bh_bytes *payloads;
	int64_t id, *ids;		/* ids: of the others */
	size_t n;
};

/* The jobs that accept() named. -1 with a sentence: TOOBIG is the sender's
 * fault, anything else the script's. */
MUSTCHECK int hook_put_jobs(struct hook_put *p, struct hook_run *r,
    int64_t max_payload, struct err *e);
/* The request's body as the payload of one job. */
MUSTCHECK int hook_put_body(struct hook_put *p, const struct hook_run *r,
    const char *queue, int64_t max_payload, struct err *e);
void hook_put_done(struct hook_put *p);

/* What the sender is told once they are stored. */
void hook_put_json(const struct hook_put *p, struct buf *out);
/* A living job with its unique key was found instead. */
bool hook_put_duplicate(const struct hook_put *p);

#endif
