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
#include "front/resp.h"

#define REFUSAL "-ERR max number of clients reached\r\n"
#define INHERIT_MAX 64

struct front {
	struct resp_door door;
	struct listener **listeners;
	size_t nlisteners;
};

static void
on_accept(void *arg, int fd, const struct peer *peer)
{
	struct front *f = arg;
	struct cmd_env *env = f->door.env;

	if (f->door.nclients >= (size_t)env->conf->max_connections) {
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

	if (i >= f->door.nclients)
		return false;
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

/* Beyond this machine there is no one whom the system vouches for. */
static int
check_reach(const struct front *f, const struct listener *l, struct err *e)
{
	const struct tokens *tokens = f->door.env->tokens;

	if (listen_is_local(l) || (tokens && tokens_count(tokens) > 0))
		return 0;
	return err_set(e, BH_E_ERR, "listen.resp: other machines can reach"
	    " '%s', but there is no token: start without that address, run"
	    " 'bellhopctl token add NAME --role ROLE', and put it back",
	    listen_address(l));
}

static int
add_listener(struct front *f, struct loop *l, const char *address, int fd,
    struct err *e)
{
	struct listen_config config = {.loop = l, .accepted = on_accept,
	    .arg = f, .refusal = REFUSAL};
	struct listener *one;
	struct err cause;

	if (address ? listen_open(&one, address, &config, &cause) < 0 :
	    listen_adopt(&one, fd, &config, &cause) < 0)
		return err_set(e, cause.code, "listen.resp: %.200s",
		    cause.text);
	f->listeners = xrealloc(f->listeners, (f->nlisteners + 1) *
	    sizeof(*f->listeners));
	f->listeners[f->nlisteners++] = one;
	return check_reach(f, one, e);
}

/* What systemd passes replaces the list in the configuration. */
static int
add_listeners(struct front *f, struct loop *l, struct err *e)
{
	char *const *addresses = f->door.env->conf->listen_resp;
	int fds[INHERIT_MAX];
	size_t n = listen_inherit("resp", fds, INHERIT_MAX);

	for (size_t i = 0; i < n; i++)
		if (add_listener(f, l, NULL, fds[i], e) < 0)
			return -1;
	for (size_t i = 0; n == 0 && addresses[i]; i++)
		if (add_listener(f, l, addresses[i], -1, e) < 0)
			return -1;
	return 0;
}

int
front_new(struct front **ret, struct loop *l, struct cmd_env *env,
    struct err *e)
{
	struct front *f = xcalloc(1, sizeof(*f));

	f->door.env = env;
	f->door.conns = conn_set_new(l);
	TAILQ_INIT(&f->door.ready);
	TAILQ_INIT(&f->door.gone);
	env->front = f;
	env->client_at = client_at;
	env->client_kill = kill_client;
	env->monitor = monitor;
	if (add_listeners(f, l, e) < 0) {
		front_free(&f);
		return -1;
	}
	*ret = f;
	return 0;
}

void
front_start(struct front *f)
{
	for (size_t i = 0; i < f->nlisteners; i++)
		listen_start(f->listeners[i]);
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
	for (size_t i = 0; i < f->nlisteners; i++)
		listen_free(&f->listeners[i]);
	free(f->listeners);
	front_close_clients(f);
	client_reap(&f->door);
	CHECK(TAILQ_EMPTY(&f->door.gone));
	conn_set_free(&f->door.conns);
	free(f->door.clients);
	env->front = NULL;
	env->client_at = NULL;
	env->client_kill = NULL;
	env->monitor = NULL;
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

void
front_drain(struct front *f)
{
	for (size_t i = 0; i < f->nlisteners; i++)
		listen_stop(f->listeners[i]);
	/* What the kernel holds now was received before: it is read first. */
	for (size_t i = f->door.nclients; i-- > 0;)
		client_drain(f->door.clients[i]);
	f->door.draining = true;
	for (size_t i = f->door.nclients; i-- > 0;)
		client_settle(f->door.clients[i]);
}

bool
front_idle(const struct front *f)
{
	return f->door.nclients == 0 && TAILQ_EMPTY(&f->door.gone);
}

const char *
front_address(const struct front *f, size_t i)
{
	return i < f->nlisteners ? listen_address(f->listeners[i]) : NULL;
}
