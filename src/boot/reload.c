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

/* Each line goes to the report and to the log; what the scripts have to say
 * is logged where it happens. */
static void
tell_lines(struct daemon *d, enum log_level level, const char *text,
    const char *suffix)
{
	while (*text) {
		size_t len = strcspn(text, "\n");

		log_about(level, NULL, "%.*s%s", (int)len, text, suffix);
		buf_addf(&d->report, "%.*s%s\n", (int)len, text, suffix);
		text += len + (text[len] == '\n');
	}
}

static void
finish(struct daemon *d, bool ok)
{
	size_t i, n = d->nwaiters;
	struct reload_waiter *answered = d->waiters;
	const char *text = buf_str(&d->report);

	d->waiters = d->nnext ? xmemdup(answered + n,
	    d->nnext * sizeof(*answered)) : NULL;
	d->nwaiters = d->nnext;
	d->nnext = 0;
	d->reloading = false;
	service_reloaded(d);
	if (ok)
		log_about(LOG_INFO, LOG_OF(RELOADED), "reloaded");
	else
		log_about(LOG_WARN, LOG_OF(RELOAD_REFUSED), "not all of it "
		    "could be reloaded: what is bad stays as it was");
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
	service_reloading(d);
	d->again = false;
	if (daemon_conf(d, &c, &bad, &e) < 0) {
		if (!buf_size(&bad))
			buf_addf(&bad, "%s\n", e.text);
		tell_lines(d, LOG_ERROR, buf_str(&bad), "");
		buf_done(&bad);
		finish(d, false);
		return;
	}
	if (conf_needs_restart(d->conf, c, &restart) > 0)
		tell_lines(d, LOG_WARN, buf_str(&restart),
		    ": changed, needs a restart");
	buf_done(&restart);
	d->old_conf = d->conf;
	d->conf = c;
	daemon_apply(d);
	idle_configured(d);
	host_reload(d->host);
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
reload_abort(struct daemon *d)
{
	size_t n = d->nwaiters + d->nnext;

	d->nwaiters = d->nnext = 0;
	for (size_t i = 0; i < n; i++)
		d->waiters[i].done(d->waiters[i].user, false,
		    "the daemon ends\n");
}

void
reload_done(struct daemon *d)
{
	conf_free(&d->old_conf);
	buf_done(&d->report);
	free(d->waiters);
}
