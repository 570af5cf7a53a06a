/* SPDX-License-Identifier: MIT */
#include "front/front.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/die.h"
#include "base/log.h"
#include "base/xalloc.h"
#include "front/bind.h"
#include "front/resp.h"

/* How long a drain waits for the first command of a client that had just been
 * accepted. */
#define YOUNG_MS 250
#define REFUSAL "-ERR max number of clients reached\r\n"

struct front {
	struct resp_door door;
	struct bind bind;
};

static void
on_accept(void *arg, int fd, const struct peer *peer)
{
	struct front *f = arg;
	struct cmd_env *env = f->door.env;

	if (f->door.nclients + env->callers >=
	    (size_t)env->conf->max_connections) {
		env->stats.rejected++;
		log_debug("%s: refused: max_connections (%lld) is reached",
		    peer->name, (long long)env->conf->max_connections);
		(void)!send(fd, REFUSAL, strlen(REFUSAL), MSG_NOSIGNAL);
		close(fd);
		return;
	}
	env->stats.connections++;
	client_new(&f->door, fd, peer);
}

static bool
client_at(void *front, size_t i, const struct session **ret)
{
	struct front *f = front;

	const struct cmd_env *env = f->door.env;

	if (i >= f->door.nclients)
		return env->caller_at &&
		    env->caller_at(env->host, i - f->door.nclients, ret);
	*ret = client_session(f->door.clients[i]);
	return true;
}

static bool
kill_client(void *front, uint64_t id)
{
	struct front *f = front;

	for (size_t i = 0; i < f->door.nclients; i++) {
		if (client_session(f->door.clients[i])->id != id)
			continue;
		client_drop(f->door.clients[i], "CLIENT KILL");
		return true;
	}
	return f->door.env->caller_kill &&
	    f->door.env->caller_kill(f->door.env->host, id);
}

static bool
unblock(void *front, uint64_t id, enum unblock how)
{
	struct front *f = front;

	for (size_t i = 0; i < f->door.nclients; i++)
		if (client_session(f->door.clients[i])->id == id)
			return client_unblock(f->door.clients[i], how);
	return false;
}

/* As redis-cli and others parse it: the text in quotes, the rest escaped. */
static void
put_quoted(struct buf *b, struct bh_bytes v)
{
	static const char from[] = "\n\r\t\a\b\\\"", to[] = "nrtab\\\"";

	buf_addc(b, '"');
	for (size_t i = 0; i < v.len; i++) {
		char c = v.data[i];
		const char *known = c ? strchr(from, c) : NULL;

		if (known) {
			buf_addc(b, '\\');
			buf_addc(b, to[known - from]);
		} else if (c >= ' ' && c <= '~') {
			buf_addc(b, c);
		} else {
			buf_addf(b, "\\x%02x", (unsigned char)c);
		}
	}
	buf_addc(b, '"');
}

static void
monitor(void *front, const struct cmd_call *call)
{
	struct front *f = front;
	struct buf b = BUF_INIT;
	struct timeval now;

	gettimeofday(&now, NULL);
	buf_addf(&b, "+%lld.%06ld [0 %s]", (long long)now.tv_sec,
	    (long)now.tv_usec, call->who->addr);
	for (size_t i = 0; i < call->argc; i++) {
		buf_addc(&b, ' ');
		if (cmd_is_secret(call, i))
			buf_adds(&b, "\"(redacted)\"");
		else
			put_quoted(&b, call->argv[i]);
	}
	buf_adds(&b, "\r\n");
	/* From the end: one that is closed for its backlog leaves a gap that
	 * the last one fills. */
	for (size_t i = f->door.nclients; i-- > 0;) {
		struct client *c = f->door.clients[i];

		if (client_session(c)->monitor)
			client_tell(c, &b);
	}
	buf_done(&b);
}

static int
watch(void *front, struct session *who, const struct bh_bytes *pattern,
    struct err *e)
{
	struct front *f = front;

	for (size_t i = 0; i < f->door.nclients; i++)
		if (client_session(f->door.clients[i]) == who)
			return client_watch(f->door.clients[i], pattern, e);
	return err_set(e, BH_E_ERR, "BELLHOP EVENTS needs a connection of its"
	    " own over RESP");
}

static void
push(void *front, struct session *who, void (*fill)(struct reply *r,
    const void *arg), const void *arg)
{
	(void)front;
	client_push(client_of(who), fill, arg);
}

int
front_new(struct front **ret, struct loop *l, struct cmd_env *env,
    struct err *e)
{
	struct front *f = xcalloc(1, sizeof(*f));
	struct listen_config config = {.loop = l, .accepted = on_accept,
	    .arg = f, .refusal = REFUSAL};

	f->door.env = env;
	f->door.conns = conn_set_new(l);
	TAILQ_INIT(&f->door.ready);
	TAILQ_INIT(&f->door.gone);
	env->front = f;
	env->client_at = client_at;
	env->client_kill = kill_client;
	env->client_unblock = unblock;
	env->monitor = monitor;
	env->watch = watch;
	env->push = push;
	if (bind_all(&f->bind, "listen.resp", "resp", env->conf->listen_resp,
	    env->tokens, &config, e) < 0) {
		front_free(&f);
		return -1;
	}
	*ret = f;
	return 0;
}

void
front_start(struct front *f)
{
	bind_start(&f->bind);
}

void
front_close_clients(struct front *f)
{
	while (f->door.nclients > 0)
		client_drop(f->door.clients[f->door.nclients - 1],
		    "the daemon ends");
}

void
front_free(struct front **fp)
{
	struct front *f = *fp;
	struct cmd_env *env;

	if (!f)
		return;
	*fp = NULL;
	env = f->door.env;
	bind_done(&f->bind);
	front_close_clients(f);
	client_reap(&f->door);
	CHECK(TAILQ_EMPTY(&f->door.gone));
	conn_set_free(&f->door.conns);
	free(f->door.clients);
	env->front = NULL;
	env->client_at = NULL;
	env->client_kill = NULL;
	env->client_unblock = NULL;
	env->monitor = NULL;
	env->watch = NULL;
	env->push = NULL;
	free(f);
}

bool
front_flush(struct front *f)
{
	struct resp_door *door = &f->door;
	bool ran = client_run_ready(door);

	conn_set_flush(door->conns, (size_t)door->env->conf->max_output);
	client_reap(door);
	return ran || door->nready > 0;
}

static void
settle_all(struct front *f)
{
	for (size_t i = f->door.nclients; i-- > 0;)
		client_settle(f->door.clients[i]);
}

void
front_drain(struct front *f)
{
	bind_stop(&f->bind);
	/* What the kernel holds now was received before: it is read first. */
	for (size_t i = f->door.nclients; i-- > 0;)
		client_drain(f->door.clients[i]);
	f->door.draining = true;
	f->door.young_until = clock_now().mono_ms + YOUNG_MS;
	settle_all(f);
}

int64_t
front_next(struct front *f)
{
	int64_t until = f->door.young_until;

	if (!f->door.draining || until == INT64_MAX)
		return INT64_MAX;
	if (clock_now().mono_ms < until)
		return until;
	f->door.young_until = INT64_MAX;
	settle_all(f);
	return 0;
}

bool
front_idle(const struct front *f)
{
	return f->door.nclients == 0 && TAILQ_EMPTY(&f->door.gone);
}

const char *
front_address(const struct front *f, size_t i)
{
	return bind_address(&f->bind, i);
}

bool
front_inherited(const struct front *f)
{
	return f->bind.inherited;
}
