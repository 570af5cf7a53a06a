/* SPDX-License-Identifier: MIT */
/* What opening creates, upgrades and refuses, and how a refusal reads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "journal/db.h"
#include "journal/schema.h"
#include "lib/journalfix.h"

static const char *
path_of(struct journalfix *f, const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", f->dir, name);
	return path;
}

static void
write_file(const char *path, const void *data, size_t len, long at)
{
	FILE *file = fopen(path, at ? "r+e" : "we");

	assert_non_null(file);
	assert_int_equal(fseek(file, at, SEEK_SET), 0);
	assert_int_equal(fwrite(data, 1, len, file), len);
	assert_int_equal(fclose(file), 0);
}

static void
test_creates_a_new_file(void **state)
{
	struct journalfix *f = *state;

	journalfix_open(f);
	journalfix_close(f);
	assert_int_equal(journalfix_int(f, "PRAGMA user_version"),
	    SCHEMA_VERSION);
	assert_int_equal(journalfix_int(f, "PRAGMA application_id"),
	    SCHEMA_APPLICATION_ID);
	assert_int_equal(journalfix_int(f, "SELECT next_id FROM meta"), 1);
	assert_string_equal(journalfix_text(f, "PRAGMA integrity_check"), "ok");
}

static void
test_an_empty_file_is_new(void **state)
{
	struct journalfix *f = *state;

	write_file(path_of(f, "bellhop.db"), "", 0, 0);
	journalfix_open(f);
	journalfix_close(f);
	assert_int_equal(journalfix_int(f, "PRAGMA user_version"),
	    SCHEMA_VERSION);
}

static void
test_opens_its_own_file_again(void **state)
{
	struct journalfix *f = *state;

	journalfix_open(f);
	journalfix_simple(f, JR_NEXT_ID, 9);
	journalfix_close(f);
	journalfix_open(f);
	journalfix_close(f);
	assert_int_equal(journalfix_int(f, "SELECT next_id FROM meta"), 9);
}

static void
test_refuses_a_missing_directory(void **state)
{
	struct journalfix *f = *state;

	f->config.dir = "/nonexistent/bellhop";
	journalfix_refused(f, "state_dir \"/nonexistent/bellhop\": does not "
	    "exist; create it");
}

static void
test_refuses_a_file_as_directory(void **state)
{
	struct journalfix *f = *state;
	char path[128];

	write_file(path_of(f, "bellhop.lock"), "", 0, 0);
	snprintf(path, sizeof(path), "%s", path_of(f, "bellhop.lock"));
	f->config.dir = path;
	journalfix_refused(f, "not a directory");
	snprintf(path, sizeof(path), "%s", path_of(f, "bellhop.lock/below"));
	journalfix_refused(f, "Not a directory");
}

static void
test_refuses_a_directory_it_may_not_write(void **state)
{
	struct journalfix *f = *state;

	if (geteuid() == 0) {
		f->config.dir = "/proc/self";
		journalfix_refused(f, "/proc/self");
		return;
	}
	assert_int_equal(chmod(f->dir, 0500), 0);
	journalfix_refused(f, "not writable for user id");
	assert_int_equal(chmod(f->dir, 0700), 0);
}

static void
test_refuses_a_second_daemon(void **state)
{
	struct journalfix *f = *state;
	struct journal *first;
	char part[64];

	journalfix_open(f);
	first = f->j;
	f->j = NULL;
	snprintf(part, sizeof(part), "another bellhopd (pid %d) works here",
	    (int)getpid());
	journalfix_refused(f, part);
	f->j = first;
	journalfix_close(f);
	journalfix_open(f);
}

static void
test_refuses_a_newer_schema(void **state)
{
	struct journalfix *f = *state;

	journalfix_open(f);
	journalfix_close(f);
	assert_int_equal(journalfix_exec(f, "PRAGMA user_version = 99"), 0);
	journalfix_refused(f, "written by a newer Bellhop (schema 99, this one "
	    "knows 2)");
	/* The refusal has changed nothing. */
	assert_int_equal(journalfix_int(f, "PRAGMA user_version"), 99);
}

static void
test_refuses_a_foreign_database(void **state)
{
	struct journalfix *f = *state;

	assert_int_equal(journalfix_exec(f, "CREATE TABLE t (a)"), 0);
	journalfix_refused(f, "a SQLite database, but not one of Bellhop's");
	assert_int_equal(journalfix_int(f,
	    "SELECT count(*) FROM sqlite_schema"), 1);
}

static void
test_refuses_what_is_no_database(void **state)
{
	static char text[8192] = "these are my holiday notes";
	struct journalfix *f = *state;

	write_file(path_of(f, "bellhop.db"), text, sizeof(text), 0);
	journalfix_refused(f, "bellhopctl restore FILE");
}

static void
test_refuses_a_locked_database(void **state)
{
	struct journalfix *f = *state;
	sqlite3 *db;

	assert_int_equal(sqlite3_open(path_of(f, "bellhop.db"), &db), 0);
	assert_int_equal(sqlite3_exec(db, "BEGIN EXCLUSIVE", NULL, NULL, NULL),
	    SQLITE_OK);
	journalfix_refused(f, "locked by another program");
	sqlite3_close(db);
}

static void next_id(void *arg, int64_t id) { (void)arg; (void)id; }
static void
queue(void *arg, const struct jqueue_row *row)
{
	(void)arg;
	(void)row;
}

static void
job(void *arg, const struct jjob_row *row)
{
	(void)row;
	++*(int *)arg;
}

static void
lease(void *arg, const struct jlease_row *row)
{
	(void)arg;
	(void)row;
}

static void
callback(void *arg, int64_t queue_id, const struct bh_callback *row)
{
	(void)arg;
	(void)queue_id;
	(void)row;
}

static const struct jvisitor counter = {next_id, queue, job, lease, callback};

/* Recovery of the file as it is fails with a sentence that holds part. */
static void
recovery_refused(struct journalfix *f, const char *part)
{
	struct err e = ERR_INIT;
	int jobs = 0;

	assert_int_equal(journal_open(&f->j, &f->config, &e), 0);
	assert_int_equal(journal_recover(f->j, &counter, &jobs, &e), -1);
	assert_int_equal(e.code, BH_E_IO);
	if (!strstr(e.text, part))
		fail_msg("\"%s\" does not say \"%s\"", e.text, part);
	journalfix_close(f);
}

static void
fill(struct journalfix *f)
{
	struct jrec r = {.kind = JR_QUEUE, .id = 1};
	char payload[400];

	memset(payload, 'p', sizeof(payload));
	payload[sizeof(payload) - 1] = '\0';
	journalfix_open(f);
	r.u.queue.name = journalfix_bytes("default");
	journal_append(f->j, &r);
	for (int i = 1; i <= 2000; i++)
		journalfix_job(f, i, payload);
	journalfix_close(f);
}

static void
test_recovery_tells_a_damaged_page(void **state)
{
	struct journalfix *f = *state;
	char noise[4096];

	fill(f);
	memset(noise, 0x5a, sizeof(noise));
	write_file(path_of(f, "bellhop.db"), noise, sizeof(noise), 4096 * 60);
	recovery_refused(f, "the database is damaged");
}

static void
test_recovery_tells_a_job_without_queue(void **state)
{
	struct journalfix *f = *state;

	fill(f);
	assert_int_equal(journalfix_exec(f,
	    "UPDATE job SET queue = 77 WHERE id = 5"), 0);
	recovery_refused(f, "job 5: its queue does not exist");
}

static void
test_recovery_tells_a_lease_without_job(void **state)
{
	struct journalfix *f = *state;

	fill(f);
	assert_int_equal(journalfix_exec(f, "INSERT INTO lease VALUES "
	    "(9000, 1, 1, 0, 1, 1, NULL)"), 0);
	recovery_refused(f, "job 9000: leased, but it does not exist");
}

static void
test_recovery_tells_a_lease_of_an_ended_job(void **state)
{
	struct journalfix *f = *state;

	fill(f);
	assert_int_equal(journalfix_exec(f, "INSERT INTO lease VALUES "
	    "(9, 1, 1, 0, 1, 1, NULL); UPDATE job SET state = 1, finished_at ="
	    " 1 WHERE id = 9"), 0);
	recovery_refused(f, "job 9: leased, but it has ended");
}

/* An old file in the shape of no version that ever was. */
static sqlite3 *
old_file(struct journalfix *f)
{
	struct err e = ERR_INIT;
	sqlite3 *db;

	assert_int_equal(journalfix_exec(f, "CREATE TABLE t (a);"
	    "INSERT INTO t VALUES (1); PRAGMA user_version = 1"), 0);
	assert_int_equal(db_open(&db, path_of(f, "bellhop.db"),
	    SQLITE_OPEN_READWRITE, NULL, &e), 0);
	return db;
}

static void
test_upgrade_takes_each_step(void **state)
{
	static const struct schema_step steps[] = {
	    {1, "ALTER TABLE t ADD COLUMN b; UPDATE t SET b = a + 1"},
	    {2, "ALTER TABLE t ADD COLUMN c; UPDATE t SET c = b + 1"},
	};
	struct journalfix *f = *state;
	struct err e = ERR_INIT;
	sqlite3 *db = old_file(f);

	assert_int_equal(schema_upgrade(db, steps, 2, 3, &e), 0);
	db_close(&db);
	assert_int_equal(journalfix_int(f, "SELECT c FROM t"), 3);
	assert_int_equal(journalfix_int(f, "PRAGMA user_version"), 3);
}

static void
test_upgrade_that_fails_leaves_the_last_step(void **state)
{
	static const struct schema_step steps[] = {
	    {1, "ALTER TABLE t ADD COLUMN b"},
	    {2, "ALTER TABLE t ADD COLUMN c; UPDATE missing SET c = 1"},
	};
	struct journalfix *f = *state;
	struct err e = ERR_INIT;
	sqlite3 *db = old_file(f);

	assert_int_equal(schema_upgrade(db, steps, 2, 3, &e), -1);
	assert_non_null(strstr(e.text, "no such table: missing"));
	db_close(&db);
	assert_int_equal(journalfix_int(f, "PRAGMA user_version"), 2);
	assert_int_equal(journalfix_int(f,
	    "SELECT count(*) FROM pragma_table_info('t')"), 2);
}

static void
test_upgrade_without_a_way_is_refused(void **state)
{
	static const struct schema_step steps[] = {{2, "SELECT 1"}};
	struct journalfix *f = *state;
	struct err e = ERR_INIT;
	sqlite3 *db = old_file(f);

	assert_int_equal(schema_upgrade(db, steps, 1, 3, &e), -1);
	assert_non_null(strstr(e.text, "schema version 1 cannot be upgraded to "
	    "3"));
	db_close(&db);
}

/* Makes a file that has nothing which version 1 did not have. */
static void
make_version_1(struct journalfix *f)
{
	journalfix_open(f);
	journalfix_close(f);
	assert_int_equal(journalfix_exec(f, "DROP VIEW schedules_view;"
	    "DROP TABLE tick; DROP TABLE schedule_state; DROP TABLE schedule;"
	    "DROP VIEW keys_view; DROP TABLE key; DROP TABLE key_part; DROP TABLE limiter; DROP TABLE IF EXISTS step;"
	    "PRAGMA user_version = 1"), 0);
}

static void
test_upgrade_of_version_1_brings_schedules(void **state)
{
	struct journalfix *f = *state;
	struct bh_schedule row = {.name = journalfix_bytes("s"),
	    .queue = journalfix_bytes("q"), .every_ms = 1000,
	    .payload = journalfix_bytes("x")};
	struct jrec r = {.kind = JR_SCHEDULE, .id = 1};

	bh_job_opts_init(&row.opts);
	make_version_1(f);
	journalfix_open(f);
	assert_int_equal(journalfix_int(f, "PRAGMA user_version"),
	    SCHEMA_VERSION);
	r.u.schedule.row = &row;
	r.u.schedule.state.after_at = 5;
	journal_append(f->j, &r);
	journalfix_settle(f);
	assert_string_equal(journalfix_text(f, "SELECT name || every_ms ||"
	    " misfire || overlap FROM schedules_view"), "s1000skipskip");
	/* As in a new file: each column and each promise. */
	assert_int_equal(journalfix_int(f, "SELECT count(*) FROM"
	    " pragma_table_info('schedule')"), 28);
	assert_int_equal(journalfix_int(f, "SELECT count(*) FROM"
	    " pragma_table_info('tick')"), 6);
	assert_int_equal(journalfix_exec(f, "UPDATE schedule SET cron = 'x'"),
	    SQLITE_CONSTRAINT);
	assert_int_equal(journalfix_exec(f, "UPDATE schedule SET misfire = 3"),
	    SQLITE_CONSTRAINT);
	assert_int_equal(journalfix_exec(f, "INSERT INTO tick VALUES"
	    " (1, 1, 1, 1, 3, 0)"), SQLITE_CONSTRAINT);
}

#define T(test) cmocka_unit_test_setup_teardown(test, \
	journalfix_setup_closed, journalfix_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(test_creates_a_new_file),
	    T(test_an_empty_file_is_new),
	    T(test_opens_its_own_file_again),
	    T(test_refuses_a_missing_directory),
	    T(test_refuses_a_file_as_directory),
	    T(test_refuses_a_directory_it_may_not_write),
	    T(test_refuses_a_second_daemon),
	    T(test_refuses_a_newer_schema),
	    T(test_refuses_a_foreign_database),
	    T(test_refuses_what_is_no_database),
	    T(test_refuses_a_locked_database),
	    T(test_recovery_tells_a_damaged_page),
	    T(test_recovery_tells_a_job_without_queue),
	    T(test_recovery_tells_a_lease_without_job),
	    T(test_recovery_tells_a_lease_of_an_ended_job),
	    T(test_upgrade_takes_each_step),
	    T(test_upgrade_that_fails_leaves_the_last_step),
	    T(test_upgrade_without_a_way_is_refused),
	    T(test_upgrade_of_version_1_brings_schedules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
