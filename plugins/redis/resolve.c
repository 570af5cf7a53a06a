/* SPDX-License-Identifier: MIT */
#include "redis/resolve.h"

#include <ev.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "redis/mem.h"

struct rresolve {
	char *host, *port;
	int rc;
	struct addrinfo *addrs;
	/* The rest belongs to the lock until the thread has ended. */
	pthread_mutex_t lock;
	bool ended;			/* the thread is through */
	bool dropped;			/* nobody wants the answer */
	struct ev_loop *loop;
	ev_async woken;
	rresolve_fn *fn;
	void *arg;
};

static void
destroy(struct rresolve *r)
{
	if (r->addrs)
		freeaddrinfo(r->addrs);
	pthread_mutex_destroy(&r->lock);
	free(r->host);
	free(r->port);
	free(r);
}

static void *
run(void *arg)
{
	struct rresolve *r = arg;
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	bool dropped;

	r->rc = getaddrinfo(r->host, r->port, &hints, &r->addrs);
	pthread_mutex_lock(&r->lock);
	r->ended = true;
	dropped = r->dropped;
	/* Under the lock: the loop cannot go away meanwhile. */
	if (!dropped)
		ev_async_send(r->loop, &r->woken);
	pthread_mutex_unlock(&r->lock);
	if (dropped)
		destroy(r);
	return NULL;
}

static void
on_woken(struct ev_loop *loop, ev_async *w, int what)
{
	struct rresolve *r = w->data;
	struct addrinfo *addrs;
	const char *why;

	(void)what;
	/* It may still hold the lock that it sent the wake-up under. */
	pthread_mutex_lock(&r->lock);
	pthread_mutex_unlock(&r->lock);
	addrs = r->rc == 0 ? r->addrs : NULL;
	why = r->rc == 0 ? "" : gai_strerror(r->rc);
	ev_async_stop(loop, &r->woken);
	r->addrs = NULL;
	r->fn(r->arg, addrs, why);
	destroy(r);
}

/* Signals are the main thread's. */
static int
start(struct rresolve *r)
{
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t all, old;
	int rc;

	sigfillset(&all);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&thread, &attr, run, r);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return rc;
}

struct rresolve *
rresolve_new(struct ev_loop *loop, const char *host, const char *port,
    rresolve_fn *fn, void *arg)
{
	struct rresolve *r = mem_new(sizeof(*r));
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
	    .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};

	r->host = mem_str(host);
	r->port = mem_str(port);
	r->loop = loop;
	r->fn = fn;
	r->arg = arg;
	pthread_mutex_init(&r->lock, NULL);
	ev_async_init(&r->woken, on_woken);
	r->woken.data = r;
	ev_async_start(loop, &r->woken);
	if (getaddrinfo(host, port, &hints, &r->addrs) == 0 ||
	    start(r) != 0) {
		if (!r->addrs)
			r->rc = EAI_AGAIN;
		r->ended = true;
		ev_async_send(loop, &r->woken);
	}
	return r;
}

void
rresolve_cancel(struct rresolve **rp)
{
	struct rresolve *r = *rp;
	bool ended;

	if (!r)
		return;
	*rp = NULL;
	pthread_mutex_lock(&r->lock);
	ev_async_stop(r->loop, &r->woken);
	r->dropped = true;
	ended = r->ended;
	pthread_mutex_unlock(&r->lock);
	if (ended)
		destroy(r);
}
