/* SPDX-License-Identifier: MIT */
#include "ctl/ctl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/timex.h>

#include "base/xalloc.h"
#include "ctl/db.h"

/* What must never be: each counts the rows that break it. A database in one
 * read transaction is looked at, so a daemon at work changes nothing. */
static const struct {
	const char *what;		/* when nothing breaks it */
	const char *broken;		/* "N …" */
	const char *sql;
	int since;			/* schema version, 0 the first */
} invariants[] = {
	{"every lease holds a living job",
	    "leases without a living job",
	    "SELECT count(*) FROM lease LEFT JOIN job ON job.id = lease.id "
	    "WHERE job.id IS NULL OR job.state <> 0"},
	{"every job has its queue", "jobs of a queue that does not exist",
	    "SELECT count(*) FROM job LEFT JOIN queue "
	    "ON queue.id = job.queue WHERE queue.id IS NULL"},
	{"every state has its fields", "jobs that contradict their state",
	    "SELECT count(*) FROM job WHERE NOT CASE state "
	    "WHEN 0 THEN finished_at IS NULL AND error IS NULL "
	    "AND result IS NULL "
	    "WHEN 1 THEN finished_at IS NOT NULL AND error IS NULL "
	    "WHEN 2 THEN finished_at IS NOT NULL AND error IS NOT NULL "
	    "ELSE 0 END"},
	{"every error belongs to a job", "errors without a job",
	    "SELECT count(*) FROM error LEFT JOIN job ON job.id = error.job "
	    "WHERE job.id IS NULL"},
	{"every step belongs to a job that has not completed",
	    "steps without a living or failed job",
	    "SELECT count(*) FROM step LEFT JOIN job ON job.id = step.job "
	    "WHERE job.id IS NULL OR job.state = 1", 2},
	{"every unique key has one holder",
	    "unique keys that several living jobs hold",
	    "SELECT count(*) FROM (SELECT 1 FROM job WHERE state = 0 "
	    "AND unique_key IS NOT NULL AND follows IS NULL "
	    "AND (unique_until IS NULL OR unique_until > "
	    "CAST(strftime('%s', 'now') AS INTEGER) * 1000) "
	    "GROUP BY queue, unique_key HAVING count(*) > 1)"},
	{"every schedule has its state and every tick its schedule",
	    "schedules without a state, or ticks without a schedule",
	    "SELECT (SELECT count(*) FROM schedule LEFT JOIN schedule_state "
	    "USING (id) WHERE after_at IS NULL) + (SELECT count(*) FROM tick "
	    "LEFT JOIN schedule ON schedule.id = tick.schedule "
	    "WHERE schedule.id IS NULL)", 2},
	{"no id is given twice", "ids that would be given again",
	    "SELECT count(*) FROM job WHERE id >= "
	    "(SELECT next_id FROM meta)"},
	{"attempt tokens differ", "tokens that two leases share",
	    "SELECT count(*) - count(DISTINCT token) FROM lease"},
	{"every key has one value", "keys that are there more than once",
	    "SELECT count(*) - count(DISTINCT name) FROM key", 2},
};

struct doctor {
	struct ctl *ctl;
	struct json json;
	struct buf out;
	int fails;
};

enum verdict { OK, WARN, FAIL };

PRINTF(3, 4) static void
say(struct doctor *d, enum verdict verdict, const char *fmt, ...)
{
	static const char *const words[] = {"ok", "warn", "fail"};
	static const char *const colors[] = {"32", "33", "31"};
	struct buf text = BUF_INIT;
	va_list ap;

	va_start(ap, fmt);
	buf_vaddf(&text, fmt, ap);
	va_end(ap);
	d->fails += verdict == FAIL;
	if (d->ctl->json) {
		json_object(&d->json);
		json_key(&d->json, "verdict");
		json_str(&d->json, words[verdict]);
		json_key(&d->json, "text");
		json_str(&d->json, buf_str(&text));
		json_object_end(&d->json);
	} else if (d->ctl->color) {
		fprintf(d->ctl->out, "\033[%sm%-4s\033[0m  %s\n",
		    colors[verdict], words[verdict], buf_str(&text));
	} else {
		fprintf(d->ctl->out, "%-4s  %s\n", words[verdict],
		    buf_str(&text));
	}
	buf_done(&text);
}

static void
check_invariants(struct doctor *d, sqlite3 *db)
{
	struct err e;
	int64_t n, version;

	if (db_number(db, "PRAGMA user_version", &version, &e) != 0)
		version = 0;
	for (size_t i = 0; i < nitems(invariants); i++) {
		if (invariants[i].since > version)
			continue;
		if (db_number(db, invariants[i].sql, &n, &e) != 0)
			say(d, FAIL, "%s", e.text);
		else if (n != 0)
			say(d, FAIL, "%jd %s", (intmax_t)n,
			    invariants[i].broken);
		else
			say(d, OK, "%s", invariants[i].what);
	}
}

static void
check_space(struct doctor *d, sqlite3 *db)
{
	int64_t pages, unused;
	struct err e;

	if (db_number(db, "PRAGMA page_count", &pages, &e) != 0 ||
	    db_number(db, "PRAGMA freelist_count", &unused, &e) != 0)
		say(d, FAIL, "%s", e.text);
	else if (pages > 2560 && unused * 2 > pages)
		say(d, WARN, "%jd of the file's %jd pages are unused; they "
		    "are given back while the daemon runs",
		    (intmax_t)unused, (intmax_t)pages);
	else
		say(d, OK, "%jd of the file's %jd pages are unused",
		    (intmax_t)unused, (intmax_t)pages);
}

static void
check_database(struct doctor *d, const char *dir)
{
	char *file = xasprintf("%s/bellhop.db", dir);
	sqlite3 *db = NULL;
	struct err e;
	int rc = db_open_readonly(&db, file, &e);

	if (rc == 0 &&
	    sqlite3_exec(db, "BEGIN", NULL, NULL, NULL) != SQLITE_OK)
		rc = err_set(&e, BH_E_IO, "%s: %s", file, sqlite3_errmsg(db));
	if (rc == 0)
		rc = db_check(db, file, &e);
	if (rc != 0) {
		say(d, FAIL, "%s", e.text);
	} else {
		say(d, OK, "%s is whole", file);
		check_invariants(d, db);
		check_space(d, db);
	}
	sqlite3_close(db);
	free(file);
}

static void
check_disk(struct doctor *d, const char *dir)
{
	struct buf size = BUF_INIT;
	struct statvfs fs;
	int64_t left;

	if (statvfs(dir, &fs) != 0) {
		say(d, FAIL, "%s: %s", dir, strerror(errno));
		return;
	}
	left = (int64_t)(fs.f_bavail * fs.f_frsize);
	render_size(&size, left);
	if (left < 64 << 20)
		say(d, FAIL, "only %s are free in %s", buf_str(&size), dir);
	else if (fs.f_blocks > 0 && fs.f_bavail < fs.f_blocks / 20)
		say(d, WARN, "%s are free in %s, less than 5 %%",
		    buf_str(&size), dir);
	else
		say(d, OK, "%s are free in %s", buf_str(&size), dir);
	buf_done(&size);
}

static void
check_clock(struct doctor *d)
{
	struct timex tx = {0};

	if (d->ctl->now < INT64_C(1577836800000))
		say(d, FAIL, "the clock says a time before 2020: jobs with "
		    "a time of day run wrong");
	else if (adjtimex(&tx) == TIME_ERROR)
		say(d, WARN, "the clock is not synchronized (timedatectl)");
	else
		say(d, OK, "the clock is synchronized");
}

static void
check_scripts(struct doctor *d)
{
	const struct resp_value *v = ctl_ask(d->ctl, "BELLHOP", "SCRIPTS",
	    NULL);

	for (size_t i = 0; v && i < v->n; i++) {
		struct bh_bytes error = value_bytes(&v->items[i], "error");
		struct buf text = BUF_INIT;

		if (error.len > 0) {
			render_text(&text, error, 0);
			say(d, WARN, "a script cannot be loaded: %s",
			    buf_str(&text));
		}
		buf_done(&text);
	}
	if (v)
		say(d, OK, "%zu scripts are known", v->n);
}

/* A daemon that is not running is no fault of the database. */
static void
check_daemon(struct doctor *d)
{
	const struct resp_value *v;
	struct buf text = BUF_INIT;

	d->ctl->quiet = true;
	v = ctl_ask(d->ctl, "BELLHOP", "STATUS", NULL);
	if (!v) {
		say(d, WARN, "the daemon does not answer: bellhopctl status "
		    "says why");
	} else {
		render_text(&text, value_bytes(v, "text"), 0);
		if (!value_int(v, "accepting", 1) &&
		    value_int(v, "outbox_open", 0))
			say(d, WARN, "the daemon keeps new jobs on this"
			    " machine (%jd so far): %s",
			    (intmax_t)value_int(v, "outbox", 0),
			    buf_str(&text));
		else if (!value_int(v, "accepting", 1))
			say(d, FAIL, "the daemon refuses new work: %s",
			    buf_str(&text));
		else
			say(d, OK, "the daemon answers and takes work");
		check_scripts(d);
	}
	d->ctl->quiet = false;
	buf_done(&text);
}

int
ctl_doctor(struct ctl *ctl, int argc, char **argv)
{
	struct ctl_option opts[] = {{.name = "state-dir", .arg = "DIR"}};
	struct doctor d = {.ctl = ctl, .out = BUF_INIT};
	int n, status = CTL_USAGE;
	char *dir = NULL;

	if (ctl_parse(ctl, argc, argv, opts, 1, 0, 0, &n) != 0)
		goto out;
	status = CTL_FAILED;
	dir = db_state_dir(ctl, opts[0].value);
	if (!dir)
		goto out;
	json_init(&d.json, &d.out);
	json_array(&d.json);
	check_database(&d, dir);
	check_disk(&d, dir);
	check_clock(&d);
	check_daemon(&d);
	json_array_end(&d.json);
	if (ctl->json)
		fprintf(ctl->out, "%s\n", buf_str(&d.out));
	status = d.fails ? CTL_FAILED : CTL_OK;
out:
	buf_done(&d.out);
	free(dir);
	ctl_options_done(opts, 1);
	return status;
}
