/* SPDX-License-Identifier: MIT */
#include "conf/qopts.h"

#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "base/xalloc.h"
#include "plugin.h"

#define HOUR_MS INT64_C(3600000)
#define DAY_MS (24 * HOUR_MS)

struct entry {
	char *name;			/* a pattern, or a queue */
	size_t len;
	bool plain;			/* no wildcard in it */
	struct bh_queue_opts opts;
};

struct qopts {
	struct entry *config;		/* in the file's order */
	size_t nconfig;
	struct entry *scripts;		/* sorted by name */
	size_t nscripts;
};

/* What holds when nobody says anything; also the list of plain fields. */
#define FIELDS(X)                                                            \
	X(weight, 1)                                                         \
	X(strict, 0)                                                         \
	X(concurrency, 10)                                                   \
	X(max_active, 0)                                                     \
	X(group_concurrency, 1)                                              \
	X(group_order, BH_GROUP_STRICT)                                      \
	X(max_waiting, 0)                                                    \
	X(batch_max, 0)                                                      \
	X(batch_window_ms, 2000)                                             \
	X(batch_quiet_ms, 0)                                                 \
	X(retain_completed_ms, DAY_MS)                                       \
	X(retain_completed_count, 1000)                                      \
	X(retain_failed_ms, 30 * DAY_MS)                                     \
	X(retain_failed_count, 10000)                                        \
	X(attempts, 12)                                                      \
	X(backoff_type, BH_BACKOFF_EXPONENTIAL)                              \
	X(backoff_ms, 5000)                                                  \
	X(backoff_max_ms, 6 * HOUR_MS)                                       \
	X(backoff_factor, 3)                                                 \
	X(backoff_jitter, 0.2)                                               \
	X(timeout_ms, 60000)                                                 \
	X(lease_ms, 30000)                                                   \
	X(max_stalled, 2)                                                    \
	X(callbacks, 0)

static const struct bh_queue_opts nothing_said = {
#define X(field, def) .field = -1,
	FIELDS(X)
#undef X
	.rate_limit = -1, .rate_per_ms = -1, .rate_burst = -1, .rate_by = -1,
};

void
queue_opts_init(struct bh_queue_opts *o)
{
	*o = nothing_said;
}

struct qopts *
qopts_new(void)
{
	return xcalloc(1, sizeof(struct qopts));
}

void
qopts_config_clear(struct qopts *q)
{
	for (size_t i = 0; i < q->nconfig; i++)
		free(q->config[i].name);
	free(q->config);
	q->config = NULL;
	q->nconfig = 0;
}

void
qopts_free(struct qopts **qp)
{
	struct qopts *q = *qp;

	if (!q)
		return;
	qopts_config_clear(q);
	for (size_t i = 0; i < q->nscripts; i++)
		free(q->scripts[i].name);
	free(q->scripts);
	free(q);
	*qp = NULL;
}

static struct entry
entry_of(const char *name, const struct bh_queue_opts *o)
{
	return (struct entry){.name = xstrdup(name), .len = strlen(name),
	    .plain = strpbrk(name, "*?[\\") == NULL, .opts = *o};
}

void
qopts_config_add(struct qopts *q, const char *pattern,
    const struct bh_queue_opts *o)
{
	q->config = xrealloc(q->config,
	    (q->nconfig + 1) * sizeof(*q->config));
	q->config[q->nconfig++] = entry_of(pattern, o);
}

/* Where the queue's script stands, or would stand. */
static size_t
script_place(const struct qopts *q, const char *queue, bool *ret_found)
{
	size_t low = 0, high = q->nscripts;

	*ret_found = false;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(queue, q->scripts[middle].name);

		if (order == 0) {
			*ret_found = true;
			return middle;
		}
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

void
qopts_script_set(struct qopts *q, const char *queue,
    const struct bh_queue_opts *o)
{
	bool found;
	size_t at = script_place(q, queue, &found);
	struct entry *e;

	if (found && o) {
		q->scripts[at].opts = *o;
	} else if (found) {
		free(q->scripts[at].name);
		q->nscripts--;
		e = &q->scripts[at];
		memmove(e, e + 1, (q->nscripts - at) * sizeof(*e));
	} else if (o) {
		q->scripts = xrealloc(q->scripts,
		    (q->nscripts + 1) * sizeof(*q->scripts));
		e = &q->scripts[at];
		memmove(e + 1, e, (q->nscripts - at) * sizeof(*e));
		*e = entry_of(queue, o);
		q->nscripts++;
	}
}

static const struct bh_queue_opts *
config_of(const struct qopts *q, const char *queue)
{
	size_t len = strlen(queue);

	for (size_t i = 0; i < q->nconfig; i++) {
		const struct entry *e = &q->config[i];

		if (e->plain ? e->len == len && !memcmp(e->name, queue, len) :
		    str_glob(e->name, e->len, queue, len))
			return &e->opts;
	}
	return NULL;
}

static const struct bh_queue_opts *
script_of(const struct qopts *q, const char *queue)
{
	bool found;
	size_t at = script_place(q, queue, &found);

	return found ? &q->scripts[at].opts : NULL;
}

/* A rate is one option: whoever says its limit says all of it, so that a
 * limit in the configuration never inherits the burst of a script's. */
static void
resolve_rate(const struct bh_queue_opts *top, const struct bh_queue_opts *below,
    struct bh_queue_opts *ret)
{
	const struct bh_queue_opts *from = top->rate_limit >= 0 ? top : below;

	ret->rate_limit = from->rate_limit >= 0 ? from->rate_limit : 0;
	ret->rate_per_ms = from->rate_per_ms > 0 ? from->rate_per_ms : 1000;
	ret->rate_burst = from->rate_burst > 0 ? from->rate_burst :
	    ret->rate_limit;
	ret->rate_by = from->rate_by >= 0 ? from->rate_by : BH_RATE_BY_QUEUE;
}

void
qopts_resolve(const struct qopts *q, const char *queue,
    struct bh_queue_opts *ret)
{
	const struct bh_queue_opts *top = config_of(q, queue);
	const struct bh_queue_opts *below = script_of(q, queue);

	top = top ? top : &nothing_said;
	below = below ? below : &nothing_said;
#define X(field, def)                                                        \
	ret->field = top->field >= 0 ? top->field :                          \
	    below->field >= 0 ? below->field : def;
	FIELDS(X)
#undef X
	resolve_rate(top, below, ret);
	memcpy(ret->dead_letter,
	    top->dead_letter[0] ? top->dead_letter : below->dead_letter,
	    sizeof(ret->dead_letter));
}
