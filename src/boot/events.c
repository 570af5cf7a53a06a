/* SPDX-License-Identifier: MIT */
/* Who hears what of the backend's events; the argument is the daemon. */
#include "boot/daemon.h"
#include "cmd/bus.h"

static void
on_cancelled(void *arg, int64_t id, uint64_t token, struct bh_bytes reason)
{
	pool_events.cancelled(((struct daemon *)arg)->pool, id, token, reason);
}

static void
on_callback(void *arg, const struct bh_callback *cb)
{
	pool_events.callback(((struct daemon *)arg)->pool, cb);
}

static void
on_job(void *arg, const struct bh_job_event *ev)
{
	struct daemon *d = arg;

	host_job(d->host, ev);
	bus_job(d->env.bus, ev);
}

static int64_t
on_message(void *arg, struct bh_bytes topic, struct bh_bytes message)
{
	return bus_message(((struct daemon *)arg)->env.bus, topic, message);
}

static int64_t
on_receivers(void *arg, struct bh_bytes topic)
{
	return bus_receivers(((struct daemon *)arg)->env.bus, topic);
}

const struct bh_events daemon_events = {
	.cancelled = on_cancelled,
	.callback = on_callback,
	.job = on_job,
	.message = on_message,
	.receivers = on_receivers,
};
