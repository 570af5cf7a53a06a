/* SPDX-License-Identifier: MIT */
/* BELLHOP METRICS: all figures in Prometheus' text format. What each of them
 * means stands in doc/METRICS.md. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "cmd/alert.h"
#include "cmd/args.h"
#include "cmd/bus.h"
#include "cmd/env.h"
#include "cmd/metrics.h"
#include "cmd/op.h"
#include "cmd/proc.h"
#include "cmd/rows.h"
#include "cmd/session.h"

static struct bh_bytes
text(const char *s)
{
	return (struct bh_bytes){s, strlen(s)};
}

static void
put_daemon(struct metrics *m, const struct cmd_env *env)
{
	const struct cmd_stats *s = &env->stats;

	metrics_family(m, "bellhop_info", "gauge",
	    "1; the version is a label.");
	metrics_sample(m, "", metrics_labels(m, "version",
	    text(BELLHOP_VERSION), ""), 1);
	metrics_one(m, "bellhop_draining", "gauge",
	    "Whether the daemon is shutting down.", env->draining);
	metrics_one(m, "bellhop_commands_total", "counter",
	    "Commands of clients and scripts.", (double)s->commands);
	metrics_one(m, "bellhop_command_errors_total", "counter",
	    "Commands that were answered with an error.", (double)s->errors);
	metrics_one(m, "bellhop_connections_total", "counter",
	    "Connections that were accepted.", (double)s->connections);
	metrics_one(m, "bellhop_connections_rejected_total", "counter",
	    "Connections that were turned away for max_connections.",
	    (double)s->rejected);
}

static void
put_process(struct metrics *m, const struct cmd_env *env)
{
	struct proc_figures p;

	proc_figures(&p);
	metrics_one(m, "bellhop_process_start_time_seconds", "gauge",
	    "When the daemon started, seconds since 1970.",
	    (double)env->started_at / 1000);
	metrics_one(m, "bellhop_process_cpu_seconds_total", "counter",
	    "CPU time of all threads.", p.cpu_s);
	metrics_one(m, "bellhop_process_resident_memory_bytes", "gauge",
	    "Memory in use (RSS).", (double)p.rss_bytes);
	metrics_one(m, "bellhop_process_threads", "gauge", "Threads.",
	    (double)p.threads);
	metrics_one(m, "bellhop_process_open_fds", "gauge",
	    "Open descriptors.", (double)p.fds);
	metrics_one(m, "bellhop_process_max_fds", "gauge",
	    "Most descriptors that may be open.", (double)p.max_fds);
}

/* Each door's connections, those of RESP also when there are none. */
static void
put_connections(struct metrics *m, const struct cmd_env *env)
{
	enum { DOORS_MAX = 16 };
	const char *door[DOORS_MAX] = {"resp"};
	int64_t count[DOORS_MAX] = {0};
	const struct session *s;
	size_t ndoors = 1, k;

	for (size_t i = 0; env->client_at &&
	    env->client_at(env->front, i, &s); i++) {
		for (k = 0; k < ndoors; k++)
			if (strcmp(door[k], s->door) == 0)
				break;
		if (k == DOORS_MAX)
			continue;
		if (k == ndoors)
			door[ndoors++] = s->door;
		count[k]++;
	}
	metrics_family(m, "bellhop_connections", "gauge",
	    "Open connections by door.");
	for (k = 0; k < ndoors; k++)
		metrics_sample(m, "", metrics_labels(m, "door",
		    text(door[k]), ""), (double)count[k]);
}

static void
put_commits(struct metrics *m, const struct bh_health *h)
{
	metrics_one(m, "bellhop_commits_total", "counter",
	    "Transactions of the store.", (double)h->commits_total);
	metrics_one(m, "bellhop_commit_rows_total", "counter",
	    "Changes in these transactions; divided by them: the batch.",
	    (double)h->commit_rows_total);
	metrics_family(m, "bellhop_commit_seconds", "summary",
	    "How long a transaction takes, with its fsync.");
	metrics_sample(m, "", "quantile=\"0.5\"",
	    (double)h->commit_p50_us / 1e6);
	metrics_sample(m, "", "quantile=\"0.99\"",
	    (double)h->commit_p99_us / 1e6);
	metrics_sample(m, "_count", "", (double)h->commits_total);
}

static void
put_keys(struct metrics *m, const struct bh_health *h)
{
	metrics_family(m, "bellhop_keys", "gauge",
	    "Keys, by what a restart does to them.");
	metrics_sample(m, "", "policy=\"durable\"", (double)h->keys_durable);
	metrics_sample(m, "", "policy=\"volatile\"",
	    (double)(h->keys - h->keys_durable));
	metrics_one(m, "bellhop_keys_expiring", "gauge",
	    "Keys with an expiry.", (double)h->keys_expiring);
	metrics_family(m, "bellhop_keys_memory_bytes", "gauge",
	    "Memory of keys; that of volatile ones is the cache.");
	metrics_sample(m, "", "policy=\"durable\"",
	    (double)h->keys_memory_bytes);
	metrics_sample(m, "", "policy=\"volatile\"",
	    (double)h->cache_memory_bytes);
	metrics_one(m, "bellhop_key_hits_total", "counter",
	    "Keys that were asked for and found.", (double)h->key_hits);
	metrics_one(m, "bellhop_key_misses_total", "counter",
	    "Keys that were asked for and not found.",
	    (double)h->key_misses);
	metrics_one(m, "bellhop_keys_expired_total", "counter",
	    "Keys that came to their expiry.", (double)h->keys_expired);
	metrics_one(m, "bellhop_keys_evicted_total", "counter",
	    "Keys that made room in the cache.", (double)h->keys_evicted);
	metrics_one(m, "bellhop_limiters", "gauge", "Rate limiters.",
	    (double)h->limiters);
}

static void
put_backend(struct metrics *m, const struct cmd_env *env)
{
	struct bh_health h = {0};

	env->ops->health(env->be, &h);
	metrics_family(m, "bellhop_backend_accepting", "gauge",
	    "Whether the backend takes new work.");
	metrics_sample(m, "", metrics_labels(m, "backend",
	    text(h.type ? h.type : ""), ""), h.accepting);
	metrics_one(m, "bellhop_outbox_entries", "gauge", "Jobs and results"
	    " that wait until the backend is back.", (double)h.outbox);
	metrics_one(m, "bellhop_backend_busy_seconds", "gauge",
	    "How long its slowest thread has been at one thing.",
	    (double)h.busy_ms / 1000);
	metrics_family(m, "bellhop_store_bytes", "gauge",
	    "Size of the database and of its log.");
	metrics_sample(m, "", "file=\"db\"", (double)h.db_bytes);
	metrics_sample(m, "", "file=\"wal\"", (double)h.wal_bytes);
	metrics_one(m, "bellhop_store_limit_bytes", "gauge",
	    "max_disk; 0: no limit.", (double)h.disk_limit);
	metrics_one(m, "bellhop_jobs_memory_bytes", "gauge",
	    "Memory of all jobs.", (double)h.jobs_memory_bytes);
	put_commits(m, &h);
	put_keys(m, &h);
}

static void
put_alerts(struct metrics *m, const struct cmd_call *call)
{
	const struct cmd_env *env = call->env;
	struct alert_info a;

	metrics_family(m, "bellhop_alert", "gauge",
	    "1 while the alert is on.");
	for (size_t i = 0; env->alerts && alerts_at(env->alerts, i, &a); i++) {
		char rule[64];

		/* New errors of one queue are one sample. */
		snprintf(rule, sizeof(rule), "rule=\"%s\"", a.rule);
		if (alert_visible(call->who, &a) &&
		    alerts_first(env->alerts, i))
			metrics_sample(m, "", metrics_labels(m, a.kind &&
			    strcmp(a.kind, "schedule") == 0 ? "schedule" :
			    "queue", text(a.subject), rule), 1);
	}
}

static void
put_scripts(struct metrics *m, const struct cmd_env *env)
{
	struct script_figures f = {0};
	struct script_info s;
	int64_t broken = 0, n = 0;

	if (!env->script_figures)
		return;
	env->script_figures(env->arg, &f);
	metrics_one(m, "bellhop_script_threads", "gauge",
	    "Threads that run Lua.", (double)f.threads);
	metrics_one(m, "bellhop_script_busy_seconds", "gauge",
	    "How long the slowest of them has been at one thing.",
	    (double)f.busy_ms / 1000);
	metrics_one(m, "bellhop_handlers_running", "gauge",
	    "Lua handlers at work.", (double)f.running);
	metrics_one(m, "bellhop_handler_slots", "gauge",
	    "Handlers that may be at work at once (script_slots).",
	    (double)f.slots);
	metrics_family(m, "bellhop_script_running", "gauge",
	    "Handlers at work by script.");
	for (; env->script_at && env->script_at(env->arg, (size_t)n, &s);
	    n++) {
		broken += s.error != NULL;
		metrics_sample(m, "", metrics_labels(m, "script",
		    text(s.file), ""), (double)s.running);
	}
	metrics_one(m, "bellhop_scripts", "gauge", "Scripts.", (double)n);
	metrics_one(m, "bellhop_scripts_broken", "gauge",
	    "Scripts whose newest version cannot be loaded.",
	    (double)broken);
}

static void
put_bus(struct metrics *m, const struct cmd_env *env)
{
	struct bus_stats s;

	if (!env->bus)
		return;
	bus_stats(env->bus, &s);
	metrics_one(m, "bellhop_subscribers", "gauge",
	    "Subscriptions to topics and job events.", (double)s.subscribers);
	metrics_one(m, "bellhop_event_messages", "gauge",
	    "Messages kept for subscribers that come back.",
	    (double)s.messages);
	metrics_one(m, "bellhop_event_bytes", "gauge",
	    "Memory of these messages.", (double)s.bytes);
}

/* --- queues --- */

/* The queues that the caller may see. */
struct seen {
	const struct bh_queue_stats **all;
	size_t n;
};

struct queue_family {
	const char *name, *type, *help;
	size_t offset;			/* of an int64_t */
	double unit;			/* what one is */
};

#define Q(field) offsetof(struct bh_queue_stats, field)

static const struct queue_family queue_families[] = {
	{"bellhop_queue_oldest_waiting_seconds", "gauge",
	    "How long the job at the front has waited.",
	    Q(oldest_waiting_ms), 0.001},
	{"bellhop_jobs_processed_total", "counter",
	    "Tries that have ended; kept over restarts.",
	    Q(processed_total), 1},
	{"bellhop_jobs_failed_total", "counter",
	    "Jobs that failed for good; kept over restarts.",
	    Q(failed_total), 1},
	{"bellhop_jobs_stalled_total", "counter",
	    "Leases that were lost; kept over restarts.",
	    Q(stalled_total), 1},
	{"bellhop_jobs_added_total", "counter",
	    "Jobs that were added.", Q(added_total), 1},
	{"bellhop_jobs_completed_total", "counter",
	    "Jobs that were completed.", Q(completed_total), 1},
	{"bellhop_jobs_retried_total", "counter",
	    "Failed tries that another one follows.", Q(retried_total), 1},
	{"bellhop_jobs_removed_total", "counter",
	    "Jobs that were removed or purged.", Q(removed_total), 1},
};

static void
put_states(struct metrics *m, const struct seen *s)
{
	char state[40];

	metrics_family(m, "bellhop_jobs", "gauge",
	    "Jobs by queue and state.");
	for (size_t i = 0; i < s->n; i++) {
		for (int k = 0; k < BH_STATES; k++) {
			snprintf(state, sizeof(state), "state=\"%s\"",
			    arg_states[k]);
			metrics_sample(m, "", metrics_labels(m, "queue",
			    s->all[i]->name, state),
			    (double)s->all[i]->count[k]);
		}
	}
}

static void
put_gates(struct metrics *m, const struct seen *s)
{
	metrics_family(m, "bellhop_queue_paused", "gauge",
	    "Whether the queue is paused.");
	for (size_t i = 0; i < s->n; i++)
		metrics_sample(m, "", metrics_labels(m, "queue",
		    s->all[i]->name, ""), s->all[i]->paused);
	metrics_family(m, "bellhop_queue_held", "gauge",
	    "Whether the queue is held for a while.");
	for (size_t i = 0; i < s->n; i++)
		metrics_sample(m, "", metrics_labels(m, "queue",
		    s->all[i]->name, ""), s->all[i]->held_until != 0);
}

static void
put_run_times(struct metrics *m, const struct bh_queue_stats *q)
{
	static const int64_t bounds_ms[] = {BH_RUNTIME_BOUNDS};
	int64_t n = 0;
	char le[40];

	for (size_t i = 0; i < BH_RUNTIME_BUCKETS; i++) {
		n += q->runtime_bucket[i];
		if (i < nitems(bounds_ms))
			snprintf(le, sizeof(le), "le=\"%g\"",
			    (double)bounds_ms[i] / 1000);
		else
			snprintf(le, sizeof(le), "le=\"+Inf\"");
		metrics_sample(m, "_bucket", metrics_labels(m, "queue",
		    q->name, le), (double)n);
	}
	metrics_sample(m, "_sum", metrics_labels(m, "queue", q->name, ""),
	    (double)q->runtime_sum_ms / 1000);
	metrics_sample(m, "_count", metrics_labels(m, "queue", q->name, ""),
	    (double)q->runtime_count);
}

static void
put_queues(struct metrics *m, const struct seen *s)
{
	put_states(m, s);
	put_gates(m, s);
	for (size_t f = 0; f < nitems(queue_families); f++) {
		const struct queue_family *q = &queue_families[f];

		metrics_family(m, q->name, q->type, q->help);
		for (size_t i = 0; i < s->n; i++) {
			const char *at = (const char *)s->all[i] + q->offset;

			metrics_sample(m, "", metrics_labels(m, "queue",
			    s->all[i]->name, ""),
			    (double)*(const int64_t *)at * q->unit);
		}
	}
	metrics_family(m, "bellhop_job_run_seconds", "histogram",
	    "How long tries took that have ended.");
	for (size_t i = 0; i < s->n; i++)
		put_run_times(m, s->all[i]);
}

static int
by_name(const void *a, const void *b)
{
	const struct bh_bytes *x = &(*(const struct bh_queue_stats *const *)
	    a)->name;
	const struct bh_bytes *y = &(*(const struct bh_queue_stats *const *)
	    b)->name;
	int order = memcmp(x->data, y->data, x->len < y->len ? x->len : y->len);

	return order ? order : (x->len > y->len) - (x->len < y->len);
}

static struct seen
visible(const struct cmd_call *call, const struct bh_stats *stats)
{
	struct seen s = {NULL, 0};

	s.all = xcalloc(stats->nqueues + 1, sizeof(*s.all));
	for (size_t i = 0; i < stats->nqueues; i++)
		if (session_may(call->who, stats->queues[i].name))
			s.all[s.n++] = &stats->queues[i];
	qsort(s.all, s.n, sizeof(*s.all), by_name);
	return s;
}

/* --- schedules --- */

/* Those whose queue the caller may see. */
static bool
may_see(const struct cmd_call *call, const struct bh_schedule *s)
{
	return session_may(call->who, s->queue);
}

static void
put_ticks(struct metrics *m, const struct bh_schedule *s)
{
	static const char *const names[] = {
		[BH_TICK_RAN] = "outcome=\"ran\"",
		[BH_TICK_LATE] = "outcome=\"late\"",
		[BH_TICK_SKIPPED] = "outcome=\"skipped\"",
	};
	size_t count[nitems(names)] = {0};

	for (size_t i = 0; i < s->nticks; i++)
		count[s->ticks[i].outcome]++;
	for (size_t i = 0; i < nitems(names); i++)
		metrics_sample(m, "", metrics_labels(m, "schedule", s->name,
		    names[i]), (double)count[i]);
}

static void
put_schedules(struct metrics *m, const struct cmd_call *call,
    const struct bh_schedule_list *l)
{
	metrics_family(m, "bellhop_schedule_next_time_seconds", "gauge",
	    "When a schedule is due, seconds since 1970; 0: never.");
	for (size_t i = 0; i < l->nschedules; i++)
		if (may_see(call, &l->schedules[i]))
			metrics_sample(m, "", metrics_labels(m, "schedule",
			    l->schedules[i].name, ""),
			    (double)l->schedules[i].next_at / 1000);
	metrics_family(m, "bellhop_schedule_ticks", "gauge",
	    "What became of a schedule's last ticks.");
	for (size_t i = 0; i < l->nschedules; i++)
		if (may_see(call, &l->schedules[i]))
			put_ticks(m, &l->schedules[i]);
}

/* --- the page --- */

/* It waits for two answers of the backend. */
struct page {
	struct bh_schedule_list list;	/* first */
	struct op *op;
	struct metrics m;
};

static void
finish(struct page *p)
{
	struct cmd_env *env = p->op->call->env;
	struct reply *r = p->op->call->reply;

	if (env->plugin_metrics)
		env->plugin_metrics(env->host, &p->m.api);
	r->ops->verbatim(r, buf_peek(&p->m.out), buf_size(&p->m.out));
	metrics_done(&p->m);
	op_end(p->op);
	free(p);
}

static void
schedules_known(struct bh_req *req)
{
	struct page *p = (struct page *)req;

	if (req->status == BH_OK)
		put_schedules(&p->m, p->op->call, &p->list);
	finish(p);
}

static void
queues_known(struct bh_req *req)
{
	struct op *op = op_of(req);
	struct cmd_env *env = op->call->env;
	struct page *p = xcalloc(1, sizeof(*p));
	struct seen s;

	p->op = op;
	p->list.req.done = schedules_known;
	metrics_init(&p->m);
	put_daemon(&p->m, env);
	put_process(&p->m, env);
	put_connections(&p->m, env);
	put_backend(&p->m, env);
	put_alerts(&p->m, op->call);
	put_scripts(&p->m, env);
	put_bus(&p->m, env);
	/* With the backend away, the rest is still worth knowing. */
	if (req->status == BH_OK) {
		s = visible(op->call, &op->stats);
		put_queues(&p->m, &s);
		free(s.all);
	}
	if (req->status == BH_OK && env->ops->schedule_list)
		env->ops->schedule_list(env->be, &p->list);
	else
		finish(p);
}

void
bellhop_metrics(struct cmd_call *call)
{
	struct op *op = op_new(call);

	op->stats = (struct bh_stats){.req.done = queues_known};
	call->env->ops->queue_stats(call->env->be, &op->stats);
}
