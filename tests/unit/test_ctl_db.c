/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "base/xalloc.h"
#include "ctl/ctl.h"

static char dir[40];
static char out_text[20000], err_text[4000];

/* Runs the tool where no daemon is; the words are cut at blanks. */
static int
run_at(const char *words)
{
	char *copy = xasprintf("--socket %s/none %s --state-dir %s", dir,
	    words, dir);
	char *argv[16] = {(char []){"bellhopctl"}}, *rest = copy;
	FILE *out = fmemopen(out_text, sizeof(out_text), "w");
	FILE *err = fmemopen(err_text, sizeof(err_text), "w");
	int argc = 1, status;

	while (argc < 15 && (argv[argc] = strsep(&rest, " ")))
		argc++;
	out_text[0] = err_text[0] = '\0';
	status = ctl_main(argc, argv, stdin, out, err);
	fclose(out);
	fclose(err);
	free(copy);
	return status;
}

static int
set_up(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/bellhop-db-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int
tear_down(void **state)
{
	char command[80];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	return system(command);
}

/* A database with the columns that the doctor looks at. */
static void
make_database(const char *change)
{
	char *path = xasprintf("%s/bellhop.db", dir);
	sqlite3 *db = NULL;

	unlink(path);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "PRAGMA application_id = 1113943148;"
	    "PRAGMA user_version = 2;"
	    "CREATE TABLE meta (one, next_id);"
	    "INSERT INTO meta VALUES (1, 3);"
	    "CREATE TABLE queue (id INTEGER PRIMARY KEY, name);"
	    "INSERT INTO queue VALUES (1, 'q');"
	    "CREATE TABLE job (id INTEGER PRIMARY KEY, queue, state, "
	    "finished_at, error, result, unique_key, unique_until, follows);"
	    "CREATE TABLE lease (id INTEGER PRIMARY KEY, token);"
	    "CREATE TABLE error (job, n);"
	    "CREATE TABLE step (job, n);"
	    "CREATE TABLE schedule (id INTEGER PRIMARY KEY, name);"
	    "CREATE TABLE schedule_state (id INTEGER PRIMARY KEY, after_at);"
	    "CREATE TABLE tick (schedule, n);"
	    "CREATE TABLE key (name);"
	    "INSERT INTO job (id, queue, state, unique_key) "
	    "VALUES (1, 1, 0, 'k');"
	    "INSERT INTO lease VALUES (1, 99);", NULL, NULL, NULL),
	    SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, change, NULL, NULL, NULL),
	    SQLITE_OK);
	sqlite3_close(db);
	free(path);
}

static void
doctor_finds_what_is_wrong(void **state)
{
	static const struct {
		const char *change, *said;
	} table[] = {
		{"DELETE FROM job", "fail  1 leases without a living job"},
		{"UPDATE job SET queue = 2", "fail  1 jobs of a queue that"},
		{"UPDATE job SET state = 1", "fail  1 jobs that contradict"},
		{"UPDATE job SET error = 'x'", "fail  1 jobs that contradict"},
		{"INSERT INTO error VALUES (9, 1)",
		    "fail  1 errors without a job"},
		{"INSERT INTO step VALUES (9, 1)",
		    "fail  1 steps without a living or failed job"},
		{"INSERT INTO job (id, queue, state, unique_key) VALUES "
		    "(2, 1, 0, 'k')", "fail  1 unique keys that several"},
		{"UPDATE meta SET next_id = 1", "fail  1 ids that would be"},
		{"INSERT INTO schedule VALUES (1, 's')",
		    "fail  1 schedules without a state"},
		{"INSERT INTO tick VALUES (1, 1)",
		    "fail  1 schedules without a state, or ticks"},
		{"INSERT INTO lease SELECT 2, 99", "tokens that two leases"},
		{"PRAGMA user_version = 99", "schema version 99"},
		{"PRAGMA application_id = 5", "not a database of Bellhop"},
	};

	(void)state;
	make_database("");
	assert_int_equal(run_at("doctor"), 0);
	assert_null(strstr(out_text, "fail"));
	assert_non_null(strstr(out_text, "ok    every lease holds a living"));
	/* A file that no newer daemon has opened yet. */
	make_database("DROP TABLE schedule; DROP TABLE tick;"
	    "PRAGMA user_version = 1");
	assert_int_equal(run_at("doctor"), 0);
	make_database("INSERT INTO job (id, queue, state, unique_key, "
	    "follows) VALUES (2, 1, 0, 'k', 1)");
	assert_int_equal(run_at("doctor"), 0);
	for (size_t i = 0; i < nitems(table); i++) {
		make_database(table[i].change);
		assert_int_equal(run_at("doctor"), 1);
		assert_non_null(strstr(out_text, table[i].said));
	}
	assert_int_equal(run_at("--json doctor"), 1);
	assert_int_equal(strncmp(out_text, "[{\"verdict\":\"fail\",", 19), 0);
}

static int
count_jobs(const char *name)
{
	char *path = xasprintf("%s/%s", dir, name);
	sqlite3_stmt *stmt = NULL;
	sqlite3 *db = NULL;
	int n = -1;

	if (sqlite3_open(path, &db) == SQLITE_OK &&
	    sqlite3_prepare_v2(db, "SELECT count(*) FROM job", -1, &stmt,
	    NULL) == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW)
		n = sqlite3_column_int(stmt, 0);
	sqlite3_finalize(stmt);
	sqlite3_close(db);
	free(path);
	return n;
}

static void
a_backup_can_be_restored(void **state)
{
	char words[200], copy[64];
	struct stat st;

	(void)state;
	snprintf(copy, sizeof(copy), "%s/copy.db", dir);
	snprintf(words, sizeof(words), "backup %s", copy);
	make_database("");
	assert_int_equal(run_at(words), 0);
	assert_int_equal(stat(copy, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	/* Nothing is overwritten. */
	assert_int_equal(run_at(words), 1);
	assert_non_null(strstr(err_text, "overwrites nothing"));
	make_database("DELETE FROM lease; DELETE FROM job;");
	assert_int_equal(count_jobs("bellhop.db"), 0);
	snprintf(words, sizeof(words), "restore %s", copy);
	assert_int_equal(run_at(words), 0);
	assert_non_null(strstr(out_text, "bellhop.db.before-restore-"));
	assert_int_equal(count_jobs("bellhop.db"), 1);
	assert_int_equal(run_at("doctor"), 0);
}

static void
a_restore_needs_a_stopped_daemon_and_a_good_file(void **state)
{
	char words[200], path[64];
	int fd;

	(void)state;
	make_database("");
	snprintf(words, sizeof(words), "restore %s/none.db", dir);
	assert_int_equal(run_at(words), 1);
	snprintf(path, sizeof(path), "%s/rubbish", dir);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	assert_int_equal(write(fd, "no database at all, but some text", 33),
	    33);
	close(fd);
	snprintf(words, sizeof(words), "restore %s", path);
	assert_int_equal(run_at(words), 1);
	assert_non_null(strstr(err_text, path));
	snprintf(path, sizeof(path), "%s/bellhop.lock", dir);
	fd = open(path, O_RDWR | O_CREAT, 0600);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	snprintf(words, sizeof(words), "restore %s/bellhop.db", dir);
	assert_int_equal(run_at(words), 1);
	assert_non_null(strstr(err_text, "bellhopd is running"));
	close(fd);
	assert_int_equal(run_at("doctor"), 0);
}

int
main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(doctor_finds_what_is_wrong),
		T(a_backup_can_be_restored),
		T(a_restore_needs_a_stopped_daemon_and_a_good_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
