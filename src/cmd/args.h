/* SPDX-License-Identifier: MIT */
/*
 * Arguments of commands, parsed in one way for all: each function takes the
 * whole value or fails with a sentence that names the argument, the value and
 * what was expected. Outputs are untouched on failure.
 */
#ifndef CMD_ARGS_H
#define CMD_ARGS_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/err.h"
#include "plugin.h"

#define ARG_KEY_MAX 256			/* group, unique, worker, reasons */
#define ARG_QUEUE_MAX 128
#define ARG_SPAN_MAX INT64_C(3155760000000)	/* a hundred years, ms */

MUSTCHECK int arg_int(const char *name, struct bh_bytes v, int64_t min,
    int64_t max, int64_t *ret, struct err *e);
MUSTCHECK int arg_real(const char *name, struct bh_bytes v, double min,
    double max, double *ret, struct err *e);
/* 1 to ARG_KEY_MAX bytes; TOOBIG beyond. */
MUSTCHECK int arg_key(const char *name, struct bh_bytes v,
    struct bh_bytes *ret, struct err *e);
/* One of words (ends with NULL), any case; *ret is its index. */
MUSTCHECK int arg_word(const char *name, struct bh_bytes v,
    const char *const *words, int64_t *ret, struct err *e);
MUSTCHECK int arg_queue(struct bh_bytes v, struct err *e);
MUSTCHECK int arg_state(struct bh_bytes v, enum bh_job_state *ret,
    struct err *e);
MUSTCHECK int arg_id(struct bh_bytes v, int64_t *ret, struct err *e);
/* A token is opaque to clients: one that was never given is 0, which holds no
 * job (STALE). */
uint64_t arg_token(struct bh_bytes v);
/* 16 hexadecimal digits: fingerprints. */
MUSTCHECK int arg_hex(const char *name, struct bh_bytes v, uint64_t *ret,
    struct err *e);
/* TOOBIG when v has more than max bytes; limit is the option's name. */
MUSTCHECK int arg_size(const char *name, struct bh_bytes v, int64_t max,
    const char *limit, struct err *e);

/* The job options of JOB.ADD: argv[at..argc). */
MUSTCHECK int arg_job_opts(const struct bh_bytes *argv, size_t argc,
    size_t at, struct bh_job_opts *ret, struct err *e);

/* Other options: NAME or NAME value, in any order, each at most once. */
struct arg_opt {
	const char *name;
	bool flag;			/* no value */
	bool seen;			/* out */
	struct bh_bytes value;		/* out */
};

/* argv[at..argc) against the n options; cmd is for the message. */
MUSTCHECK int arg_opts(const char *cmd, const struct bh_bytes *argv,
    size_t argc, size_t at, struct arg_opt *opts, size_t n, struct err *e);

/* The names of enum bh_job_state. */
extern const char *const arg_states[BH_STATES + 1];

#endif
