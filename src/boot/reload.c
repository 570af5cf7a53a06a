/* SPDX-License-Identifier: MIT */
/*
 * A reload: read the configuration; when it is bad, say so and change
 * nothing. Else put it in force, load the scripts anew, and answer everybody
 * who asked once they are loaded. Asked for again meanwhile, it runs again.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/xalloc.h"
#include "boot/daemon.h"

static void run(struct daemon *d);

static void
log_report(enum log_level level, const char *report)
{
	while (*report) {
		size_t len = strcspn(report, "\n");

		log_about(level, NULL, "reload: %.*s", (int)len, report);
		report += len + (report[len] == '\n');
	}
}

static void
finish(struct daemon *d, bool ok)
{
	size_t i, n = d->nwaiters;
	struct reload_waiter *answered = d->waiters;
	const char *text = buf_str(&d->report);

	log_report(ok ? LOG_INFO : LOG_ERROR, text);
	d->waiters = d->nnext ? xmemdup(answered + n,
	    d->nnext * sizeof(*answered)) : NULL;
	d->nwaiters = d->nnext;
	d->nnext = 0;
	d->reloading = false;
	for (i = 0; i < n; i++)
		answered[i].done(answered[i].user, ok, text);
	free(answered);
	buf_reset(&d->report, 0);
	if (d->again && !d->reloading)
		run(d);
}

static void
scripts_loaded(void *user, bool ok, const char *report)
{
	struct daemon *d = user;

	conf_free(&d->old_conf);
	buf_adds(&d->report, report);
	if (ok && buf_size(&d->report) == 0)
		buf_adds(&d->report, "nothing has changed\n");
	finish(d, ok);
}

static void
run(struct daemon *d)
{
	struct buf bad = BUF_INIT, restart = BUF_INIT;
	struct conf *c;
	struct err e = ERR_INIT;

	d->reloading = true;
	d->again = false;
	if (daemon_conf(d, &c, &bad, &e) < 0) {
		buf_adds(&d->report, buf_size(&bad) ? buf_str(&bad) : e.text);
		buf_done(&bad);
		finish(d, false);
		return;
	}
	buf_done(&bad);
	if (conf_needs_restart(d->conf, c, &restart) > 0) {
		const char *name = buf_str(&restart);

		while (*name) {
			size_t len = strcspn(name, "\n");

			buf_addf(&d->report, "%.*s: changed, needs a "
			    "restart\n", (int)len, name);
			name += len + (name[len] == '\n');
		}
	}
	buf_done(&restart);
	d->old_conf = d->conf;
	d->conf = c;
	daemon_apply(d);
	pool_load(d->pool, c, scripts_loaded, d);
}

void
reload_start(void *arg, void (*done)(void *user, bool ok,
    const char *report), void *user)
{
	struct daemon *d = arg;
	size_t n = d->nwaiters + d->nnext;

	d->waiters = xrealloc(d->waiters, (n + 1) * sizeof(*d->waiters));
	d->waiters[n] = (struct reload_waiter){done, user};
	if (d->reloading) {
		d->nnext++;
		d->again = true;
		return;
	}
	d->nwaiters++;
	run(d);
}

void
reload_done(struct daemon *d)
{
	conf_free(&d->old_conf);
	buf_done(&d->report);
	free(d->waiters);
}
