/* SPDX-License-Identifier: MIT */
/*
 * The smallest plugin that has one of everything but doors and backends: a
 * sink that counts what happens to jobs, a figure for /metrics, a health
 * check, and a library for scripts:
 *
 *	local n = skeleton.answer()	-- 42
 *
 * Copy it to begin your own; plugins/README.md explains it.
 */
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>

#include "plugin.h"

/* All on the main thread. */
static const struct bh_host *host;
static unsigned long long events;

static void
on_job(void *arg, const struct bh_job_event *ev)
{
	(void)arg, (void)ev;
	events++;
}

static void
measure(void *arg, const struct bh_metrics *m)
{
	(void)arg;
	m->family(m, "bellhop_skeleton_events_total", "counter",
	    "Job events that the skeleton plugin has seen.");
	m->sample(m, "", "", (double)events);
}

/* Ill while the environment says so: tests do. */
static bool
check(void *arg, char text[BH_ERROR_TEXT])
{
	const char *file = getenv("BELLHOP_SKELETON_ILL");
	FILE *f = file ? fopen(file, "re") : NULL;

	(void)arg;
	if (!f)
		return true;
	fclose(f);
	snprintf(text, BH_ERROR_TEXT, "skeleton: %s is there", file);
	return false;
}

/* On script threads: it shares nothing with the functions above. */
static int
answer(lua_State *L)
{
	lua_pushinteger(L, 42);
	return 1;
}

static int
open_library(lua_State *L)
{
	lua_createtable(L, 0, 1);
	lua_pushcfunction(L, answer);
	lua_setfield(L, -2, "answer");
	return 1;
}

static int
init(const struct bh_host *h, char err[BH_ERROR_TEXT])
{
	if (getenv("BELLHOP_SKELETON_REFUSE")) {
		snprintf(err, BH_ERROR_TEXT, "BELLHOP_SKELETON_REFUSE is set");
		return -1;
	}
	host = h;
	h->add_sink(on_job, NULL);
	h->add_metrics(measure, NULL);
	h->add_health(check, NULL);
	h->add_lua("skeleton", open_library);
	h->log(BH_LOG_INFO, "skeleton", "here");
	return 0;
}

static void
done(void)
{
	host->log(BH_LOG_INFO, "skeleton", "gone");
}

const struct bh_plugin bellhop_plugin = {
	.abi = BH_ABI,
	.name = "skeleton",
	.version = "1",
	.init = init,
	.done = done,
};
