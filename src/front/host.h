/* SPDX-License-Identifier: MIT */
/*
 * What the daemon offers to plugins (struct bh_host) and what they have
 * registered: doors, backends, Lua libraries, metrics, health checks, sinks.
 *
 * There is one host in a process, as the calls of plugin.h carry no context.
 * Life: host_new, plugins_init, host_start (the store is open), the turns,
 * host_drain, host_close_doors, plugins_free, host_free.
 *
 * Main thread only.
 */
#ifndef FRONT_HOST_H
#define FRONT_HOST_H

#include "base/err.h"
#include "cmd/env.h"
#include "rt/loop.h"

struct plugin_host;

/* It fills in the plugins' side of struct cmd_env. */
struct plugin_host *host_new(struct loop *l, struct cmd_env *env);
/* What plugins are given. */
const struct bh_host *host_api(const struct plugin_host *h);
/* After the plugins are gone. */
void host_free(struct plugin_host **h);

/* The backend of this name that a plugin has brought, or NULL. */
const struct bh_backend_type *host_backend(const struct plugin_host *h,
    const char *name);
/* "embedded, redis": the names that backend.type may have. */
void host_backend_names(const struct plugin_host *h, struct buf *out);

/* --- doors --- */

/* Starts each door; an error says why one could not. */
MUSTCHECK int host_start(struct plugin_host *h, struct err *e);
/* In the turn: commands start; answers leave. The mono ms when a door wants
 * another turn by itself. */
void host_take(struct plugin_host *h);
int64_t host_flush(struct plugin_host *h);
void host_reload(struct plugin_host *h);
/* The shutdown begins: as front_drain(). */
void host_drain(struct plugin_host *h);
bool host_idle(const struct plugin_host *h);
/* Every connection and every call of a door ends now. */
void host_close_doors(struct plugin_host *h);

/* The i-th address that a door listens on; NULL past the end. */
const char *host_address(const struct plugin_host *h, size_t i);
/* As front_inherited(). */
bool host_inherited(const struct plugin_host *h);

/* News of a job, to the plugins' sinks. */
void host_job(struct plugin_host *h, const struct bh_job_event *ev);

#endif
