/* SPDX-License-Identifier: MIT */
#include "front/host_store.h"

#include <bsd/sys/queue.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/die.h"
#include "base/err.h"
#include "base/keyspace.h"
#include "base/log.h"
#include "base/retry.h"
#include "base/rng.h"
#include "base/sched.h"
#include "base/str.h"
#include "base/xalloc.h"

enum { ID_LEN = 16, LOOK_MS = 3600000 };

/* A zone that schedules use; it stays until the end. */
struct zone {
	TAILQ_ENTRY(zone) all;
	struct tz *tz;
	int64_t looked;			/* mono: at its file */
};

/* Plugins call without a context: it is here. */
static struct {
	const struct qopts *qopts;
	const char *(*state_dir)(void);
	char id[ID_LEN + 1];
	TAILQ_HEAD(, zone) zones;
} store = {.zones = TAILQ_HEAD_INITIALIZER(store.zones)};

/* --- options, errors --- */

static void
api_queue_options(const char *queue, struct bh_queue_opts *ret)
{
	CHECK(store.qopts != NULL);
	qopts_resolve(store.qopts, queue, ret);
}

static size_t
api_fold(struct bh_bytes message, char *out, size_t size)
{
	return retry_fold(message.data, message.len, out, size);
}

static uint64_t
api_fingerprint(struct bh_bytes message)
{
	return retry_fingerprint(message.data, message.len);
}

/* --- the instance --- */

static int
id_read(const char *path, char out[ID_LEN + 1])
{
	char *data;
	size_t len;
	int rc = str_read_file(path, 4096, &data, &len);

	if (rc < 0)
		return rc;
	while (len > 0 && data[len - 1] == '\n')
		len--;
	if (len == ID_LEN && strspn(data, "0123456789abcdef") >= len) {
		memcpy(out, data, len);
		out[len] = '\0';
	} else {
		rc = -EINVAL;
	}
	free(data);
	return rc;
}

/* Complete under its name or not there at all. */
static int
id_write(const char *path, const char *id)
{
	char *tmp = xasprintf("%s.new", path);
	char line[ID_LEN + 2];
	size_t len = (size_t)snprintf(line, sizeof(line), "%s\n", id);
	int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int rc = fd < 0 ? -errno : 0;

	if (fd >= 0) {
		errno = EIO;
		if (write(fd, line, len) != (ssize_t)len || fsync(fd) < 0)
			rc = -errno;
		if (close(fd) < 0 && rc == 0)
			rc = -errno;
	}
	if (rc == 0 && rename(tmp, path) < 0)
		rc = -errno;
	if (rc < 0)
		(void)unlink(tmp);
	free(tmp);
	return rc;
}

static const char *
api_instance(char err[BH_ERROR_TEXT])
{
	char *path;
	int rc;

	if (store.id[0])
		return store.id;
	path = xasprintf("%s/instance", store.state_dir());
	rc = id_read(path, store.id);
	if (rc == -ENOENT) {
		snprintf(store.id, sizeof(store.id), "%016llx",
		    (unsigned long long)rng_u64());
		rc = id_write(path, store.id);
	}
	if (rc == -EINVAL)
		snprintf(err, BH_ERROR_TEXT, "%s: not 16 hexadecimal digits: "
		    "remove the file to get a new id", path);
	else if (rc < 0)
		snprintf(err, BH_ERROR_TEXT, "%s: %s", path, strerror(-rc));
	free(path);
	if (rc < 0)
		store.id[0] = '\0';
	return rc < 0 ? NULL : store.id;
}

/* --- schedules --- */

/* A file that is being written is looked at again later. */
static void
zone_renew(struct zone *z)
{
	int64_t now = clock_now().mono_ms;
	struct err e = ERR_INIT;
	struct tz *tz;

	if (now - z->looked < LOOK_MS)
		return;
	z->looked = now;
	if (!tz_changed(z->tz) ||
	    tz_load(tz_name(z->tz), strlen(tz_name(z->tz)), &tz, &e) < 0)
		return;
	log_info("time zone %s: its file has changed", tz_name(tz));
	tz_free(&z->tz);
	z->tz = tz;
}

static struct tz *
zone_get(struct bh_bytes name, struct err *e)
{
	struct zone *z;
	struct tz *tz;

	if (!name.len)
		name = (struct bh_bytes){"UTC", 3};
	TAILQ_FOREACH(z, &store.zones, all)
		if (strlen(tz_name(z->tz)) == name.len &&
		    memcmp(tz_name(z->tz), name.data, name.len) == 0) {
			zone_renew(z);
			return z->tz;
		}
	if (tz_load(name.data, name.len, &tz, e) < 0)
		return NULL;
	z = xcalloc(1, sizeof(*z));
	z->tz = tz;
	z->looked = clock_now().mono_ms;
	TAILQ_INSERT_TAIL(&store.zones, z, all);
	return tz;
}

/* A zone or an expression that this machine does not know has no ticks. */
static struct sched_rule
rule_of(const struct bh_schedule *s, struct cron *cron)
{
	struct sched_rule r = {.every_ms = s->every_ms,
	    .misfire = s->misfire, .overlap = s->overlap};
	struct err e = ERR_INIT;

	if (!s->cron.len)
		return r;
	r.cron = cron;
	if (cron_parse(cron, s->cron.data, s->cron.len, &e) == 0)
		r.zone = zone_get(s->zone, &e);
	return r;
}

static int
api_check(const struct bh_schedule *s, int64_t wall_ms,
    char err[BH_ERROR_TEXT])
{
	struct err e = ERR_INIT;
	struct cron cron;
	const struct tz *tz;
	int rc = 0;

	if (s->cron.len) {
		tz = zone_get(s->zone, &e);
		rc = !tz ? -1 : cron_check(&cron, s->cron.data, s->cron.len,
		    tz, wall_ms, &e);
	}
	if (rc < 0)
		snprintf(err, BH_ERROR_TEXT, "%s", e.text);
	return rc < 0 ? e.code : 0;
}

static void
api_begin(const struct bh_schedule *s, struct bh_schedule_clock *c,
    int64_t wall_ms, int64_t steady_ms)
{
	struct cron cron;
	struct sched_rule r = rule_of(s, &cron);

	sched_begin(&r, c, wall_ms, steady_ms);
}

static void
api_renew(const struct bh_schedule *s, struct bh_schedule_clock *c)
{
	struct cron cron;
	struct sched_rule r = rule_of(s, &cron);

	sched_renew(&r, c);
}

static bool
api_look(const struct bh_schedule *s, struct bh_schedule_clock *c,
    int64_t wall_ms)
{
	struct cron cron;
	struct sched_rule r = rule_of(s, &cron);

	return sched_look(&r, c, wall_ms);
}

static void
api_accept(const struct bh_schedule *s, struct bh_schedule_clock *c)
{
	struct cron cron;
	struct sched_rule r = rule_of(s, &cron);

	sched_accept(&r, c);
}

static bool
api_plan(const struct bh_schedule *s, struct bh_schedule_clock *c,
    int64_t wall_ms, int64_t steady_ms, struct bh_tick_plan *ret)
{
	struct cron cron;
	struct sched_rule r = rule_of(s, &cron);

	return sched_plan(&r, c, wall_ms, steady_ms, ret);
}

static void
api_dealt(const struct bh_schedule *s, struct bh_schedule_clock *c,
    const struct bh_tick_plan *plan, int64_t wall_ms)
{
	struct cron cron;
	struct sched_rule r = rule_of(s, &cron);

	sched_dealt(&r, c, plan, wall_ms);
}

/* --- commands --- */

static bool
api_key_info(struct bh_bytes command, struct bh_key_info *ret)
{
	const struct key_row *row = keyspace_find(command.data, command.len);

	if (!row)
		return false;
	*ret = (struct bh_key_info){.first = row->first, .last = row->last,
	    .step = row->step, .blocks = row->flags & KF_BLOCKS,
	    .movable = row->flags & KF_MOVABLE};
	return true;
}

/* --- life --- */

void
host_store_init(struct bh_host *api, const struct qopts *q,
    const char *(*state_dir)(void))
{
	static const struct bh_schedule_time schedules = {
		.check = api_check, .begin = api_begin, .renew = api_renew,
		.look = api_look, .accept = api_accept, .plan = api_plan,
		.dealt = api_dealt,
	};

	store.qopts = q;
	store.state_dir = state_dir;
	store.id[0] = '\0';
	TAILQ_INIT(&store.zones);
	api->queue_options = api_queue_options;
	api->instance = api_instance;
	api->fold = api_fold;
	api->fingerprint = api_fingerprint;
	api->schedules = &schedules;
	api->key_info = api_key_info;
}

void
host_store_done(void)
{
	struct zone *z;

	while ((z = TAILQ_FIRST(&store.zones))) {
		TAILQ_REMOVE(&store.zones, z, all);
		tz_free(&z->tz);
		free(z);
	}
	store.qopts = NULL;
}
