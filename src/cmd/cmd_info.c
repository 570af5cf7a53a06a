/* SPDX-License-Identifier: MIT */
/* INFO: figures as text, in Redis' sections and spelling. */
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/str.h"
#include "cmd/args.h"
#include "cmd/env.h"
#include "cmd/op.h"
#include "cmd/proc.h"
#include "cmd/rows.h"
#include "cmd/session.h"
#include "cmd/version.h"

/* A section writes its lines; the queues' figures are in stats, or NULL. */
struct info {
	struct buf out;
	struct cmd_call *call;
	const struct bh_stats *stats;
};

static void
line(struct info *in, const char *name, int64_t v)
{
	buf_addf(&in->out, "%s:%lld\r\n", name, (long long)v);
}

static void
info_server(struct info *in)
{
	struct cmd_env *env = in->call->env;
	int64_t up = clock_now().wall_ms - env->started_at;

	buf_addf(&in->out, "redis_version:%s\r\nredis_mode:standalone\r\n"
	    "bellhop_version:%s\r\nmultiplexing_api:libev\r\n",
	    CMD_REDIS_VERSION, BELLHOP_VERSION);
	line(in, "process_id", getpid());
	line(in, "uptime_in_seconds", up / 1000);
	line(in, "uptime_in_days", up / 86400000);
	buf_addf(&in->out, "config_file:%s\r\n", env->conf->file);
}

static void
info_clients(struct info *in)
{
	struct cmd_env *env = in->call->env;
	const struct session *s;
	size_t n = 0;

	while (env->client_at && env->client_at(env->front, n, &s))
		n++;
	line(in, "connected_clients", (int64_t)n);
	line(in, "maxclients", env->conf->max_connections);
}

static void
info_memory(struct info *in)
{
	struct mallinfo2 m = mallinfo2();
	struct bh_health h = {0};
	struct proc_figures p;

	proc_figures(&p);
	in->call->env->ops->health(in->call->env->be, &h);
	line(in, "used_memory", (int64_t)(m.uordblks + m.hblkhd));
	line(in, "used_memory_rss", p.rss_bytes);
	line(in, "jobs_memory_bytes", h.jobs_memory_bytes);
	line(in, "keys_memory_bytes", h.keys_memory_bytes);
	line(in, "cache_memory_bytes", h.cache_memory_bytes);
	line(in, "rate_limiters", h.limiters);
	line(in, "maxmemory", 0);
	/* What BullMQ and others look at: nothing durable is ever evicted. */
	buf_adds(&in->out, "maxmemory_policy:noeviction\r\n");
}

static void
info_persistence(struct info *in)
{
	struct bh_health h = {0};

	in->call->env->ops->health(in->call->env->be, &h);
	buf_addf(&in->out, "loading:0\r\nbackend:%s\r\ndurability:%s\r\n",
	    h.type ? h.type : "", in->call->env->conf->durability);
	line(in, "accepting", h.accepting);
	line(in, "db_bytes", h.db_bytes);
	line(in, "wal_bytes", h.wal_bytes);
	line(in, "disk_limit", h.disk_limit);
	line(in, "commits_total", h.commits_total);
	line(in, "commit_rows_total", h.commit_rows_total);
	line(in, "commit_p50_us", h.commit_p50_us);
	line(in, "commit_p99_us", h.commit_p99_us);
}

static void
info_stats(struct info *in)
{
	const struct cmd_stats *s = &in->call->env->stats;
	struct bh_health h = {0};

	line(in, "total_connections_received", s->connections);
	line(in, "rejected_connections", s->rejected);
	line(in, "total_commands_processed", s->commands);
	line(in, "total_error_replies", s->errors);
	in->call->env->ops->health(in->call->env->be, &h);
	line(in, "expired_keys", h.keys_expired);
	line(in, "evicted_keys", h.keys_evicted);
	line(in, "keyspace_hits", h.key_hits);
	line(in, "keyspace_misses", h.key_misses);
}

/* As Redis has it; each database with keys is a line. */
static void
info_keyspace(struct info *in)
{
	struct bh_health h = {0};

	in->call->env->ops->health(in->call->env->be, &h);
	if (h.keys > 0)
		buf_addf(&in->out, "db0:keys=%lld,expires=%lld,avg_ttl=0,"
		    "durable=%lld\r\n", (long long)h.keys,
		    (long long)h.keys_expiring, (long long)h.keys_durable);
}

static void
info_jobs(struct info *in)
{
	int64_t count[BH_STATES] = {0}, processed = 0, failed = 0, stalled = 0;

	for (size_t i = 0; i < in->stats->nqueues; i++) {
		const struct bh_queue_stats *q = &in->stats->queues[i];

		for (int k = 0; k < BH_STATES; k++)
			count[k] += q->count[k];
		processed += q->processed_total;
		failed += q->failed_total;
		stalled += q->stalled_total;
	}
	for (int k = 0; k < BH_STATES; k++)
		line(in, arg_states[k], count[k]);
	line(in, "processed_total", processed);
	line(in, "failed_total", failed);
	line(in, "stalled_total", stalled);
}

static void
info_queues(struct info *in)
{
	for (size_t i = 0; i < in->stats->nqueues; i++) {
		const struct bh_queue_stats *q = &in->stats->queues[i];

		if (!session_may(in->call->who, q->name))
			continue;
		buf_addf(&in->out, "queue_%.*s:", (int)q->name.len,
		    q->name.data);
		for (int k = 0; k < BH_STATES; k++)
			buf_addf(&in->out, "%s=%lld,", arg_states[k],
			    (long long)q->count[k]);
		buf_addf(&in->out, "paused=%d\r\n", q->paused);
	}
}

static const struct {
	const char *name;
	const char *title;
	void (*write)(struct info *in);
	bool asks;			/* needs the queues' figures */
} sections[] = {
	{"server", "Server", info_server, false},
	{"clients", "Clients", info_clients, false},
	{"memory", "Memory", info_memory, false},
	{"persistence", "Persistence", info_persistence, false},
	{"stats", "Stats", info_stats, false},
	{"jobs", "Jobs", info_jobs, true},
	{"queues", "Queues", info_queues, true},
	{"keyspace", "Keyspace", info_keyspace, false},
};

static bool
wanted(const struct cmd_call *call, const char *name)
{
	static const char *const all[] = {"all", "default", "everything"};

	if (call->argc == 1)
		return true;
	for (size_t i = 1; i < call->argc; i++) {
		const struct bh_bytes *v = &call->argv[i];

		if (str_is(v->data, v->len, name))
			return true;
		for (size_t k = 0; k < nitems(all); k++)
			if (str_is(v->data, v->len, all[k]))
				return true;
	}
	return false;
}

static void
write_info(struct cmd_call *call, const struct bh_stats *stats)
{
	struct info in = {.out = BUF_INIT, .call = call, .stats = stats};
	const char *text;

	for (size_t i = 0; i < nitems(sections); i++) {
		if (!wanted(call, sections[i].name) ||
		    (sections[i].asks && !stats))
			continue;
		if (buf_size(&in.out) > 0)
			buf_adds(&in.out, "\r\n");
		buf_addf(&in.out, "# %s\r\n", sections[i].title);
		sections[i].write(&in);
	}
	text = buf_str(&in.out);
	call->reply->ops->verbatim(call->reply, text, buf_size(&in.out));
	buf_done(&in.out);
}

/* With the backend away, the other sections are still worth showing. */
static void
stats_known(struct bh_req *req)
{
	struct op *op = op_of(req);

	write_info(op->call, req->status == BH_OK ? &op->stats : NULL);
	op_end(op);
}

void
cmd_info(struct cmd_call *call)
{
	struct op *op;
	bool asks = false;

	for (size_t i = 0; i < nitems(sections); i++)
		asks |= sections[i].asks && wanted(call, sections[i].name);
	if (!asks) {
		write_info(call, NULL);
		cmd_done(call);
		return;
	}
	op = op_new(call);
	op->stats = (struct bh_stats){.req.done = stats_known};
	call->env->ops->queue_stats(call->env->be, &op->stats);
}
