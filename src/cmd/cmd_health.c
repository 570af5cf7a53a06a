/* SPDX-License-Identifier: MIT */
/* BELLHOP HEALTH: whether the daemon lives, and whether it is ready for
 * work. */
#include <stdarg.h>
#include <stdio.h>

#include "base/str.h"
#include "cmd/env.h"
#include "cmd/rows.h"

/* A thread that has been at one thing for so long does not live. */
#define HUNG_MS 60000
#define CHECKS_MAX 64

struct check {
	const char *name;
	bool ok;
	bool vital;			/* ill: not even alive */
	char text[BH_ERROR_TEXT];	/* why not */
};

struct checks {
	struct check all[CHECKS_MAX];
	size_t n;
};

PRINTF(5, 6) static void
add(struct checks *c, const char *name, bool vital, bool ok,
    const char *why, ...)
{
	struct check *one = &c->all[c->n];
	va_list ap;

	if (c->n == CHECKS_MAX)
		return;
	c->n++;
	*one = (struct check){.name = name, .ok = ok, .vital = vital};
	if (ok)
		return;
	va_start(ap, why);
	vsnprintf(one->text, sizeof(one->text), why, ap);
	va_end(ap);
}

static void
check_threads(struct checks *c, const char *name, int64_t busy_ms,
    const char *what)
{
	char span[40];

	str_span(busy_ms, span, sizeof(span));
	add(c, name, true, busy_ms < HUNG_MS, "%s has been at one thing for"
	    " %s", what, span);
}

static void
check_all(struct checks *c, struct cmd_env *env)
{
	struct script_figures f = {0};
	struct bh_health h = {0};
	char text[BH_ERROR_TEXT];
	int ok;

	env->ops->health(env->be, &h);
	add(c, "backend", false, h.accepting, "%s", h.text);
	/* It may have something to say all the same. */
	snprintf(c->all[c->n - 1].text, sizeof(c->all[0].text), "%s", h.text);
	check_threads(c, "store", h.busy_ms, "a thread of the store");
	if (env->script_figures)
		env->script_figures(env->arg, &f);
	check_threads(c, "scripts", f.busy_ms, "a script thread");
	add(c, "shutdown", false, !env->draining,
	    "the daemon is shutting down");
	for (size_t i = 0; env->plugin_health; i++) {
		ok = env->plugin_health(env->host, i, text);
		if (ok < 0)
			break;
		add(c, "plugin", false, ok, "%s", text);
	}
}

static void
put_check(struct reply *r, const struct check *c)
{
	r->ops->map(r, *c->text ? 3 : 2);
	reply_pair_str(r, "name", c->name);
	reply_str(r, "ok");
	r->ops->boolean(r, c->ok);
	if (*c->text)
		reply_pair_str(r, "text", c->text);
}

void
bellhop_health(struct cmd_call *call)
{
	struct reply *r = call->reply;
	struct checks c = {.n = 0};
	bool live = true, ready = true;

	check_all(&c, call->env);
	for (size_t i = 0; i < c.n; i++) {
		ready &= c.all[i].ok;
		live &= c.all[i].ok || !c.all[i].vital;
	}
	r->ops->map(r, 3);
	reply_str(r, "live");
	r->ops->boolean(r, live);
	reply_str(r, "ready");
	r->ops->boolean(r, ready);
	reply_str(r, "checks");
	r->ops->array(r, c.n);
	for (size_t i = 0; i < c.n; i++)
		put_check(r, &c.all[i]);
	cmd_done(call);
}
