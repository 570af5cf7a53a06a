/* SPDX-License-Identifier: MIT */
/* The rules: each says of a state of things whether an alert holds. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/str.h"
#include "base/xalloc.h"
#include "cmd/alert_impl.h"

#define SAMPLE_MS 15000
#define WINDOW_MS (SAMPLE_MS * (SAMPLES - 1))
#define TRIES_MIN 20
#define LOOKS_MAX 200			/* queues whose errors are read, a round */
#define ERRORS_MAX 20			/* new errors of a queue at a time */
#define QUIET_MS (15 * 60 * 1000)	/* an error that is over */
#define OUTSIDE_MS 60000		/* disk and memory change by themselves */

/* --- queues --- */

static struct trend *
trend_get(struct alerts *a, const char *queue)
{
	struct trend *w = map_get(&a->by_queue, alert_hash(queue), queue);

	if (w)
		return w;
	w = xcalloc(1, sizeof(*w));
	w->queue = xstrdup(queue);
	TAILQ_INSERT_TAIL(&a->trends, w, entry);
	map_put(&a->by_queue, w);
	return w;
}

void
trend_free(struct alerts *a, struct trend *w)
{
	map_remove(&a->by_queue, w);
	TAILQ_REMOVE(&a->trends, w, entry);
	free(w->queue);
	free(w);
}

static void
sample_add(struct trend *w, int64_t mono, int64_t tries, int64_t failed)
{
	unsigned at = (w->first + w->n) % SAMPLES;

	if (w->n == SAMPLES)
		w->first = (w->first + 1) % SAMPLES;
	else
		w->n++;
	w->sample[at].mono = mono;
	w->sample[at].tries = tries;
	w->sample[at].failed = failed;
}

static void
judge_rate(struct alerts *a, struct trend *w, const struct bh_queue_stats *q)
{
	int64_t limit = a->env->conf->alerts_failed_rate, tries, failed;
	int64_t bad = q->failed_total + q->retried_total;

	/* A queue that came later began with nothing. */
	if (w->n == 0)
		sample_add(w, a->mono, a->ran ? 0 : q->processed_total,
		    a->ran ? 0 : bad);
	while (w->n > 1 && a->mono - w->sample[(w->first + 1) %
	    SAMPLES].mono >= WINDOW_MS) {
		w->first = (w->first + 1) % SAMPLES;
		w->n--;
	}
	tries = q->processed_total - w->sample[w->first].tries;
	failed = bad - w->sample[w->first].failed;
	if (limit > 0 && tries >= TRIES_MIN && failed * 100 > tries * limit) {
		alert_holds(a, ALERT_FAILED_RATE, w->queue,
		    failed * 100 / tries, limit, "%lld of the last %lld tries "
		    "of queue %s failed", (long long)failed,
		    (long long)tries, w->queue);
		alerts_due(a, a->mono + SAMPLE_MS);
	}
	if (a->mono - w->sample[(w->first + w->n - 1) % SAMPLES].mono >=
	    SAMPLE_MS)
		sample_add(w, a->mono, q->processed_total, bad);
}

/* Its errors are read when some came or went since. */
static void
judge_failures(struct alerts *a, struct trend *w,
    const struct bh_queue_stats *q)
{
	int64_t failed = q->count[BH_FAILED];
	struct look *l;

	if ((q->failed_total == w->failed_total && failed >= w->failed) ||
	    !a->env->conf->alerts_new_error || a->nlooks == LOOKS_MAX)
		return;
	w->failed_total = q->failed_total;
	w->failed = failed;
	l = xcalloc(1, sizeof(*l));
	snprintf(l->queue, sizeof(l->queue), "%s", w->queue);
	STAILQ_INSERT_TAIL(&a->looks, l, entry);
	a->nlooks++;
}

static void
judge_queue(struct alerts *a, const struct bh_queue_stats *q)
{
	const struct conf *c = a->env->conf;
	char name[129], span[40];
	struct trend *w;
	int64_t waiting = q->count[BH_WAITING], old = q->oldest_waiting_ms;

	snprintf(name, sizeof(name), "%.*s", (int)q->name.len, q->name.data);
	w = trend_get(a, name);
	w->seen = true;
	if (c->alerts_queue_depth && waiting > c->alerts_queue_depth)
		alert_holds(a, ALERT_QUEUE_DEPTH, name, waiting,
		    c->alerts_queue_depth, "%lld jobs wait in queue %s%s",
		    (long long)waiting, name, q->paused ? ", which is paused" :
		    "");
	if (c->alerts_oldest_waiting && waiting > 0 &&
	    old > c->alerts_oldest_waiting) {
		str_span(old, span, sizeof(span));
		alert_holds(a, ALERT_OLDEST_WAITING, name, old,
		    c->alerts_oldest_waiting, "the oldest job of queue %s has "
		    "waited for %s%s", name, span, q->paused ?
		    "; the queue is paused" : "");
	} else if (c->alerts_oldest_waiting && waiting > 0) {
		alerts_due(a, a->mono + c->alerts_oldest_waiting - old + 1);
	}
	judge_rate(a, w, q);
	judge_failures(a, w, q);
}

void
judge_queues(struct alerts *a, const struct bh_queue_stats *q, size_t n)
{
	struct trend *w, *next;
	size_t i;

	TAILQ_FOREACH(w, &a->trends, entry)
		w->seen = false;
	for (i = 0; i < n; i++)
		judge_queue(a, &q[i]);
	TAILQ_FOREACH_SAFE(w, &a->trends, entry, next)
		if (!w->seen)
			trend_free(a, w);
}

/* --- errors --- */

static size_t
count_errors(const struct alerts *a, const char *queue)
{
	const struct alert *al;
	size_t n = 0;

	TAILQ_FOREACH(al, &a->all, entry)
		n += al->rule == ALERT_NEW_ERROR && al->on &&
		    strcmp(al->subject, queue) == 0;
	return n;
}

static void
judge_error(struct alerts *a, const char *queue,
    const struct bh_error_group *g)
{
	struct alert *al = alert_find(a, ALERT_NEW_ERROR, queue,
	    g->fingerprint);
	bool fresh = !al;

	if (fresh && (g->first_at < a->env->started_at ||
	    count_errors(a, queue) >= ERRORS_MAX))
		return;
	if (fresh && !(al = alert_add(a, ALERT_NEW_ERROR, queue,
	    g->fingerprint)))
		return;
	al->gone = false;
	al->last_at = g->last_at;
	al->value = g->count;
	snprintf(al->text, sizeof(al->text), "a new error in queue %s, job "
	    "%lld: %.*s", queue, (long long)g->sample_id,
	    g->text.len > 160 ? 160 : (int)g->text.len, g->text.data);
	if (fresh)
		alert_begin(a, al);
}

void
judge_errors(struct alerts *a, const char *queue,
    const struct bh_error_group *g, size_t n)
{
	struct alert *al;
	size_t i;

	TAILQ_FOREACH(al, &a->all, entry)
		if (al->rule == ALERT_NEW_ERROR &&
		    strcmp(al->subject, queue) == 0)
			al->gone = true;
	for (i = 0; i < n; i++)
		judge_error(a, queue, &g[i]);
}

void
judge_done(struct alerts *a)
{
	struct alert *al;

	TAILQ_FOREACH(al, &a->all, entry) {
		int64_t quiet_at = al->last_at + QUIET_MS;

		if (al->rule != ALERT_NEW_ERROR || !al->on || al->gone ||
		    quiet_at <= a->wall || !a->env->conf->alerts_new_error)
			continue;
		al->seen = true;
		alerts_due(a, a->mono + (quiet_at - a->wall));
	}
}

/* --- schedules --- */

void
judge_schedules(struct alerts *a, const struct bh_schedule *s, size_t n)
{
	char name[257];
	size_t i;

	for (i = 0; i < n; i++) {
		const struct bh_tick *t = s[i].ticks;
		struct alert *al;

		if (s[i].nticks == 0 || t->outcome == BH_TICK_RAN)
			continue;
		snprintf(name, sizeof(name), "%.*s", (int)s[i].name.len,
		    s[i].name.data);
		alert_holds(a, ALERT_SCHEDULE_MISSED, name, t->due, 0,
		    "schedule %s %s", name, t->outcome == BH_TICK_LATE ?
		    "missed its time and was made up for later" :
		    "left out a tick");
		al = alert_find(a, ALERT_SCHEDULE_MISSED, name, 0);
		if (!al)
			continue;
		free(al->queue);
		al->queue = xstrndup(s[i].queue.data, s[i].queue.len);
	}
}

/* --- disk, memory, backend --- */

static void
judge_disk(struct alerts *a, const struct bh_health *h)
{
	const struct conf *c = a->env->conf;
	int64_t used = h->db_bytes + h->wal_bytes, percent;
	struct statvfs fs;

	if (!c->alerts_disk)
		return;
	if (h->disk_limit > 0 && used * 100.0 / (double)h->disk_limit >
	    (double)c->alerts_disk) {
		percent = (int64_t)(used * 100.0 / (double)h->disk_limit);
		alert_holds(a, ALERT_DISK, "", percent, c->alerts_disk,
		    "the database uses %lld %% of max_disk",
		    (long long)percent);
		return;
	}
	if (statvfs(c->state_dir, &fs) < 0 || fs.f_blocks == 0)
		return;
	percent = (int64_t)(100.0 - (double)fs.f_bavail * 100.0 /
	    (double)(fs.f_blocks - fs.f_bfree + fs.f_bavail));
	if (percent <= c->alerts_disk)
		return;
	alert_holds(a, ALERT_DISK, "", percent, c->alerts_disk,
	    "the file system of %s is %lld %% full", c->state_dir,
	    (long long)percent);
	alerts_due(a, a->mono + OUTSIDE_MS);
}

/* The number in the first line of a file that begins with `key`; -1. */
static int64_t
read_figure(const char *path, const char *key)
{
	FILE *f = fopen(path, "re");
	char line[512];
	long long v = -1;

	if (!f)
		return -1;
	while (v < 0 && fgets(line, sizeof(line), f)) {
		if (strncmp(line, key, strlen(key)) != 0 ||
		    sscanf(line + strlen(key), " %lld", &v) != 1)
			v = -1;
	}
	fclose(f);
	return v;
}

/* What the control group of the service may use, or -1. */
static int64_t
group_limit(void)
{
	FILE *f = fopen("/proc/self/cgroup", "re");
	char line[512], path[600];
	int64_t limit = -1;

	if (!f)
		return -1;
	while (limit < 0 && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, "0::", 3) != 0)
			continue;
		snprintf(path, sizeof(path), "/sys/fs/cgroup%s/memory.max",
		    line + 3);
		limit = read_figure(path, "");
	}
	fclose(f);
	return limit;
}

static void
judge_memory(struct alerts *a)
{
	const struct conf *c = a->env->conf;
	int64_t limit, used, percent, total, left;
	bool ours = false;

	if (!c->alerts_memory)
		return;
	total = read_figure("/proc/meminfo", "MemTotal:");
	left = read_figure("/proc/meminfo", "MemAvailable:");
	if (total <= 0 || left < 0)
		return;
	percent = (total - left) * 100 / total;
	limit = group_limit();
	used = read_figure("/proc/self/status", "VmRSS:") * 1024;
	if (limit > 0 && used * 100 / limit > percent) {
		percent = used * 100 / limit;
		ours = true;
	}
	if (percent <= c->alerts_memory)
		return;
	alert_holds(a, ALERT_MEMORY, "", percent, c->alerts_memory,
	    "%lld %% of the memory %s is used", (long long)percent, ours ?
	    "that the service may have" : "of this machine");
	alerts_due(a, a->mono + OUTSIDE_MS);
}

void
judge_store(struct alerts *a, const struct bh_health *h)
{
	if (a->env->conf->alerts_backend && !h->accepting) {
		alert_holds(a, ALERT_BACKEND, "", 0, 0, "%s%s", h->outbox_open ?
		    "" : "the store takes no new work: ", h->text);
		alerts_due(a, a->mono + SAMPLE_MS);
	}
}

void
judge_places(struct alerts *a, const struct bh_health *h)
{
	judge_disk(a, h);
	judge_memory(a);
	judge_store(a, h);
}
