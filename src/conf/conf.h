/* SPDX-License-Identifier: MIT */
/*
 * The configuration: one row for each option in conf.def (name, type, bounds,
 * default, reloadable, unit, sentence), from which the struct, the parser,
 * the dump and the checks of the sample file and the manual come.
 *
 * A struct conf is immutable once loaded; a reload makes a new one. Strings
 * and lists are never NULL (lists end with NULL).
 */
#ifndef CONF_CONF_H
#define CONF_CONF_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "conf/qopts.h"

struct conf_queue {
	char *pattern;
	struct bh_queue_opts opts;
};

/* A leaf of the free-form group `config`, for scripts: "a.b" = text. Members
 * of arrays and lists go by their number, from 1: "hosts.1". */
struct conf_user {
	char *name;
	char type;			/* 's', 'i', 'd', 'b' */
	char *s;
	int64_t i;
	double d;
};

struct conf {
	char *file;			/* where it came from, "" defaults */
#define OPT_STR(name, field, def, reload, help) char *field;
#define OPT_ENUM(name, field, def, words, reload, help) char *field;
#define OPT_INT(name, field, def, min, max, reload, help) int64_t field;
#define OPT_SIZE(name, field, def, min, max, reload, help) int64_t field;
#define OPT_DURATION(name, field, def, min, max, reload, help) int64_t field;
#define OPT_BOOL(name, field, def, reload, help) bool field;
#define OPT_LIST(name, field, def, reload, help) char **field;
#include "conf/conf.def"
	struct conf_queue *queues;
	size_t nqueues;
	struct conf_user *user;
	size_t nuser;
};

/* The defaults alone. */
struct conf *conf_new(void);
/* Reads a file; every error names FILE:LINE, the option, the value and what
 * was expected. With several errors, e has the first and *report (may be
 * NULL) all, a line each. */
MUSTCHECK int conf_load(struct conf **ret, const char *file,
    struct buf *report, struct err *e);
/* The same from memory; name stands for the file in errors, and the
 * directory of its path is where @include looks. */
MUSTCHECK int conf_load_text(struct conf **ret, const char *name,
    const char *text, size_t len, struct buf *report, struct err *e);
void conf_free(struct conf **c);

/* Options that differ and need a restart, one name a line into out; the
 * number of them. */
size_t conf_needs_restart(const struct conf *old, const struct conf *new_,
    struct buf *out);
/* Value of an option as text, without the passwords of URLs, or -1. For
 * CONFIG GET. */
MUSTCHECK int conf_get(const struct conf *c, const char *name,
    struct buf *out);
/* The i-th option's name, NULL past the end. */
const char *conf_name(size_t i);
/* Copies the queues into the resolver. */
void conf_apply_queues(const struct conf *c, struct qopts *q);

#endif
