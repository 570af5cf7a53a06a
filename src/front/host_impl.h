/* SPDX-License-Identifier: MIT */
/* The parts of struct plugin_host: host.c has the plugins and their doors,
 * caller.c who asks through them. */
#ifndef FRONT_HOST_IMPL_H
#define FRONT_HOST_IMPL_H

#include <bsd/sys/queue.h>

#include "front/bind.h"
#include "front/host.h"

/* A function that a plugin has registered. */
struct hosted {
	void *arg;
	union {
		const struct bh_door_ops *door;
		void (*metrics)(void *arg, const struct bh_metrics *m);
		bool (*health)(void *arg, char text[BH_ERROR_TEXT]);
		void (*sink)(void *arg, const struct bh_job_event *ev);
	};
};

struct hosted_list {
	struct hosted *all;
	size_t n;
};

/* The addresses of one listen(). */
struct door_bind {
	struct bind bind;
	struct plugin_host *host;
	void (*accepted)(void *arg, int fd, const struct bh_peer *peer);
	void *arg;
	struct door_bind *next;
};

struct bh_caller {
	struct session session;
	struct plugin_host *host;
	bool granted;			/* it has shown a token */
	size_t calls;			/* under way */
	size_t index;			/* in host->callers */
};

struct host_call;
TAILQ_HEAD(host_calls, host_call);

struct plugin_host {
	struct bh_host api;
	struct loop *loop;
	struct cmd_env *env;
	struct hosted_list doors, metrics, healths, sinks;
	size_t started;			/* so many doors */
	const struct bh_backend_type **backends;
	size_t nbackends;
	struct lua_lib *libs;
	size_t nlibs;
	struct door_bind *binds;
	bool watching;			/* the sinks want to hear of jobs */
	bool draining;

	/* caller.c */
	struct bh_caller **callers;
	size_t ncallers, cap;
	struct host_calls calls;	/* under way */
	size_t ncalls;
	struct host_calls spare;	/* kept for reuse */
	size_t nspare;
	struct bh_hook *refused;	/* answered in the next flush; linked by
					   priv */
};

/* The one of this process. */
struct plugin_host *host_current(void);

/* --- caller.c --- */

void caller_init(struct plugin_host *h);
void caller_done(struct plugin_host *h);
/* Calls that wait for a client's time end now. */
void caller_drain(struct plugin_host *h);
/* Answers the hooks that nobody takes; true when there were any. */
bool caller_flush(struct plugin_host *h);

#endif
