/* SPDX-License-Identifier: MIT */
/*
 * A backend that a plugin brings: it is opened in place of the built-in one,
 * whose store stays at hand (journal/ferry.h) so that things can move from it
 * and to it.
 */
#include "base/clock.h"
#include "base/log.h"
#include "boot/daemon.h"

static void
wake(void *arg)
{
	loop_wake(((struct daemon *)arg)->loop);
}

static void
local(void *arg, struct bh_local *r)
{
	ferry_send(((struct daemon *)arg)->ferry, r);
}

/* It is there only while it is needed: a later absence begins anew. */
static struct spare *
spare_of(struct daemon *d)
{
	struct keys_limits l = daemon_keys_limits(d->conf);

	if (!d->spare)
		d->spare = spare_new(&l, d->conf->limits_memory);
	return d->spare;
}

static bool
use_spare_key(void *arg, struct bh_key_command *r)
{
	struct daemon *d = arg;

	return spare_key(spare_of(d), r);
}

static void
use_spare_throttle(void *arg, struct bh_throttle *r)
{
	spare_throttle(spare_of(arg), r);
}

static void
end_spare(void *arg)
{
	spare_free(&((struct daemon *)arg)->spare);
}

static void
migrate(void *arg, struct bh_migrate *r)
{
	struct daemon *d = arg;

	d->brought->migrate(d->env.be, r);
}

int
brought_open(struct daemon *d, struct err *e)
{
	const char *name = d->env.ops->name;
	char why[BH_ERROR_TEXT] = "";

	d->brought = host_backend(d->host, name);
	if (ferry_open(&d->ferry, d->conf->state_dir, wake, d, e) < 0)
		return -1;
	d->env.local = local;
	d->env.local_free = ferry_free_rows;
	d->env.spare_key = use_spare_key;
	d->env.spare_throttle = use_spare_throttle;
	d->env.spare_end = end_spare;
	d->env.migrate = d->brought->migrate ? migrate : NULL;
	if (d->brought->open(&d->env.be, host_api(d->host), why) == 0)
		return 0;
	d->env.be = NULL;
	return err_set(e, BH_E_BACKEND, "backend '%s': %s", name, *why ? why :
	    "it does not open");
}

static void
shut_wake(void *arg)
{
	struct daemon *d = arg;
	struct clock_time now = clock_now();

	d->env.ops->turn_begin(d->env.be, now.wall_ms, now.mono_ms);
}

/* A turn of a daemon whose doors are shut. */
static int64_t
shut_turn(void *arg)
{
	struct daemon *d = arg;
	char why[BH_ERROR_TEXT] = "";
	int64_t next;
	int ready;

	ferry_take(d->ferry);
	next = d->env.ops->turn_end(d->env.be);
	service_recovering(d);
	ready = d->brought->ready(d->env.be, why);
	if (ready < 0)
		err_set(&d->unready, BH_E_BACKEND, "backend '%s': %s",
		    d->env.ops->name, why);
	if (ready != 0)
		loop_stop(d->loop);
	return next;
}

int
brought_wait(struct daemon *d, struct err *e)
{
	if (!d->brought || !d->brought->ready)
		return 0;
	loop_on_turn(d->loop, shut_wake, shut_turn, d);
	loop_run(d->loop);
	if (!d->unready.code)
		return 0;
	*e = d->unready;
	return -1;
}

void
brought_close(struct daemon *d)
{
	spare_free(&d->spare);
	ferry_close(&d->ferry);
	d->env.local = NULL;
	d->env.migrate = NULL;
}
