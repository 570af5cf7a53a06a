/* SPDX-License-Identifier: MIT */
/* What each kind of record leaves in the file, and when it counts as kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "lib/journalfix.h"

#define T0 1790000000000

static void
test_plain_job(void **state)
{
	struct journalfix *f = *state;

	journalfix_job(f, 7, "hello");
	journalfix_settle(f);
	assert_string_equal(journalfix_text(f, "SELECT id || ' ' || queue || "
	    "' ' || state || ' ' || run_at || ' ' || created_at || ' ' || "
	    "ifnull(priority, 'none') || ' ' || attempt || ' ' || "
	    "CAST(payload AS TEXT) FROM job"),
	    "7 1 0 1790000000000 1790000000000 none 0 hello");
	assert_int_equal(journalfix_int(f, "SELECT count(*) FROM job WHERE "
	    "expires_at IS NULL AND group_key IS NULL AND attempts IS NULL "
	    "AND backoff_factor IS NULL AND unique_until IS NULL"), 1);
}

static void
test_job_with_all_options(void **state)
{
	struct journalfix *f = *state;
	struct jrec r = {.kind = JR_JOB_INSERT, .id = 9};
	struct bh_job_opts o;

	bh_job_opts_init(&o);
	o.priority = 0;
	o.retain_ms = 0;
	o.group = journalfix_bytes("g");
	o.unique = journalfix_bytes("u");
	o.lease_ms = 11;
	o.max_stalled = 0;
	o.attempts = 3;
	o.timeout_ms = 13;
	o.backoff_type = BH_BACKOFF_FIXED;
	o.backoff_ms = 14;
	o.backoff_max_ms = 15;
	o.backoff_factor = 1.5;
	o.backoff_jitter = 0;
	o.unique_ttl_ms = 16;
	o.unique_mode = BH_UNIQUE_FOLLOW;
	r.u.insert.queue = 1;
	r.u.insert.created_at = 1;
	r.u.insert.run_at = 2;
	r.u.insert.expires_at = 3;
	r.u.insert.unique_until = 4;
	r.u.insert.line_at = 5;
	r.u.insert.after = 6;
	r.u.insert.wall = true;
	r.u.insert.opts = &o;
	r.u.insert.payload = journalfix_bytes("p");
	r.u.insert.origin = journalfix_bytes("other:5");
	journal_append(f->j, &r);
	journalfix_settle(f);
	assert_string_equal(journalfix_text(f, "SELECT concat FROM (SELECT "
	    "priority || ' ' || wall || ' ' || run_at || ' ' || line_at || ' '"
	    " || expires_at || ' ' || unique_until || ' ' || follows || ' ' ||"
	    " retain_ms || ' ' || group_key || ' ' || unique_key || ' ' || "
	    "lease_ms || ' ' || max_stalled || ' ' || attempts || ' ' || "
	    "timeout_ms || ' ' || backoff_type || ' ' || backoff_ms || ' ' || "
	    "backoff_max_ms || ' ' || backoff_factor || ' ' || backoff_jitter "
	    "|| ' ' || unique_ttl_ms || ' ' || unique_mode || ' ' || origin "
	    "AS concat FROM job)"),
	    "0 1 2 5 3 4 6 0 g u 11 0 3 13 0 14 15 1.5 0.0 16 2 other:5");
}

static void
test_empty_payload_is_not_null(void **state)
{
	struct journalfix *f = *state;

	journalfix_job(f, 1, "");
	journalfix_job(f, 2, NULL);
	journalfix_settle(f);
	assert_int_equal(journalfix_int(f,
	    "SELECT count(*) FROM job WHERE payload = x''"), 2);
}

static void
test_payload_keeps_every_byte(void **state)
{
	struct journalfix *f = *state;
	struct jrec r = {.kind = JR_JOB_PAYLOAD, .id = 1};

	journalfix_job(f, 1, "x");
	r.u.text = (struct bh_bytes){"a\0\xff\n", 4};
	journal_append(f->j, &r);
	journalfix_settle(f);
	assert_string_equal(journalfix_text(f, "SELECT hex(payload) FROM job"),
	    "6100FF0A");
}

static void
test_set_changes_the_numbers(void **state)
{
	struct journalfix *f = *state;
	struct jrec r = {.kind = JR_JOB_SET, .id = 1};

	journalfix_job(f, 1, "x");
	r.u.set.run_at = 100;
	r.u.set.line_at = 101;
	r.u.set.started_at = 102;
	r.u.set.after = 104;
	r.u.set.attempt = 3;
	r.u.set.error_count = 2;
	r.u.set.stalled = 1;
	r.u.set.wall = true;
	journal_append(f->j, &r);
	journalfix_settle(f);
	assert_string_equal(journalfix_text(f, "SELECT run_at || ' ' || line_at"
	    " || ' ' || started_at || ' ' || follows || ' ' || attempt || ' '"
	    " || error_count || ' ' || stalled || ' ' || wall FROM job"),
	    "100 101 102 104 3 2 1 1");
	/* Two of them stay when nothing is said. */
	r.u.set.line_at = r.u.set.started_at = r.u.set.after = 0;
	journal_append(f->j, &r);
	journalfix_settle(f);
	assert_int_equal(journalfix_int(f, "SELECT count(*) FROM job WHERE "
	    "line_at = 101 AND started_at = 102 AND follows IS NULL"), 1);
}

static void
test_completed_keeps_the_result(void **state)
{
	struct journalfix *f = *state;

	journalfix_job(f, 1, "x");
	journalfix_job(f, 2, "x");
	journalfix_finish(f, 1, JSTATE_COMPLETED, 0, "{\"a\":1}");
	journalfix_finish(f, 2, JSTATE_COMPLETED, 0, NULL);
	journalfix_settle(f);
	assert_string_equal(journalfix_text(f, "SELECT state || ' ' || "
	    "finished_at || ' ' || CAST(result AS TEXT) FROM job WHERE id = 1"),
	    "1 1790000000001 {\"a\":1}");
	assert_int_equal(journalfix_int(f,
	    "SELECT count(*) FROM job WHERE state = 1 AND result IS NULL"), 1);
}

static void
test_failed_says_why(void **state)
{
	struct journalfix *f = *state;

	journalfix_job(f, 1, "x");
	journalfix_job(f, 2, "x");
	journalfix_finish(f, 1, JSTATE_FAILED, UINT64_MAX, "boom");
	journalfix_finish(f, 2, JSTATE_FAILED, 0, NULL);
	journalfix_settle(f);
	assert_string_equal(journalfix_text(f, "SELECT state || ' ' || "
	    "fingerprint || ' ' || error FROM job WHERE id = 1"),
	    "2 -1 boom");
	assert_int_equal(journalfix_int(f, "SELECT count(*) FROM job WHERE "
	    "id = 2 AND error = '' AND fingerprint IS NULL"), 1);
}

static void
test_revived_lives_again(void **state)
{
	struct journalfix *f = *state;
	struct jrec r = {.kind = JR_JOB_REVIVE, .id = 1};

	journalfix_job(f, 1, "x");
	journalfix_finish(f, 1, JSTATE_FAILED, 5, "boom");
	r.u.set.run_at = 55;
	r.u.set.attempt = 4;
	journal_append(f->j, &r);
	journalfix_settle(f);
	assert_int_equal(journalfix_int(f, "SELECT count(*) FROM job WHERE "
	    "state = 0 AND finished_at IS NULL AND error IS NULL AND "
	    "fingerprint IS NULL AND run_at = 55 AND attempt = 4"), 1);
}

static void
test_delete_takes_lease_and_errors_along(void **state)
{
	struct journalfix *f = *state;
	struct jrec r = {.kind = JR_JOB_DELETE, .id = 1};

	journalfix_job(f, 1, "x");
	journalfix_job(f, 2, "x");
	journalfix_lease(f, 1, 1);
	journalfix_lease(f, 2, 1);
	journalfix_error(f, 1, 1, "e");
	journalfix_error(f, 2, 1, "e");
	journalfix_settle(f);
	r.u.del.leased = r.u.del.errors = true;
	journal_append(f->j, &r);
	journalfix_settle(f);
	assert_int_equal(journalfix_int(f, "SELECT sum(id) FROM job"), 2);
	assert_int_equal(journalfix_int(f, "SELECT sum(id) FROM lease"), 2);
	assert_int_equal(journalfix_int(f, "SELECT sum(job) FROM error"), 2);
}

static void
test_life_inside_one_batch(void **state)
{
	struct journalfix *f = *state;
	struct jrec r = {.kind = JR_JOB_DELETE, .id = 1, .u.del = {true, true}};

	journalfix_job(f, 1, "x");
	journalfix_lease(f, 1, 1);
	journalfix_error(f, 1, 1, "e");
	journal_append(f->j, &r);
	journalfix_job(f, 2, "x");
	journalfix_lease(f, 2, 1);
	journalfix_settle(f);
	assert_string_equal(journalfix_text(f, "SELECT (SELECT sum(id) FROM "
	    "job) || ' ' || (SELECT sum(id) FROM lease) || ' ' || (SELECT "
	    "count(*) FROM error)"), "2 2 0");
}

static void
test_progress(void **state)
{
	struct journalfix *f = *state;
	struct jrec r = {.kind = JR_JOB_PROGRESS, .id = 1};

	journalfix_job(f, 1, "x");
	r.u.text = journalfix_bytes("42");
	journal_append(f->j, &r);
	journalfix_settle(f);
	assert_string_equal(journalfix_text(f,
	    "SELECT CAST(progress AS TEXT) FROM job"), "42");
}

static void
test_lease_life(void **state)
{
	struct journalfix *f = *state;
	struct jrec r = {.kind = JR_LEASE_EXTEND, .id = 3};

	journalfix_job(f, 3, "x");
	journalfix_lease(f, 3, 2);
	journalfix_settle(f);
	assert_string_equal(journalfix_text(f, "SELECT attempt || ' ' || token "
	    "|| ' ' || handler || ' ' || started_at || ' ' || until || ' ' || "
	    "worker FROM lease WHERE id = 3"),
	    "2 -4 0 1790000000001 1790000030000 worker-a");
	r.u.until = 77;
	journal_append(f->j, &r);
	journalfix_settle(f);
	assert_int_equal(journalfix_int(f, "SELECT until FROM lease"), 77);
	journalfix_simple(f, JR_LEASE_END, 3);
	journalfix_settle(f);
	assert_int_equal(journalfix_int(f, "SELECT count(*) FROM lease"), 0);
}

static void
test_few_errors_are_all_kept(void **state)
{
	struct journalfix *f = *state;
	int n;

	journalfix_job(f, 1, "x");
	for (n = 1; n <= 10; n++)
		journalfix_error(f, 1, n, "e");
	journalfix_settle(f);
	assert_string_equal(journalfix_text(f,
	    "SELECT group_concat(n) FROM (SELECT n FROM error ORDER BY n)"),
	    "1,2,3,4,5,6,7,8,9,10");
}

static void
test_errors_without_number_get_the_next(void **state)
{
	struct journalfix *f = *state;
	int n;

	journalfix_job(f, 1, "x");
	for (n = 1; n <= 12; n++)
		journalfix_error(f, 1, 0, "e");
	journalfix_settle(f);
	assert_string_equal(journalfix_text(f,
	    "SELECT group_concat(n) FROM (SELECT n FROM error ORDER BY n)"),
	    "1,2,3,4,5,8,9,10,11,12");
}

static void
test_first_five_and_last_five_errors(void **state)
{
	struct journalfix *f = *state;
	int n;

	journalfix_job(f, 1, "x");
	journalfix_job(f, 2, "x");
	journalfix_error(f, 2, 6, "of another job");
	for (n = 1; n <= 12; n++)
		journalfix_error(f, 1, n, "e");
	journalfix_settle(f);
	assert_string_equal(journalfix_text(f, "SELECT group_concat(n) FROM "
	    "(SELECT n FROM error WHERE job = 1 ORDER BY n)"),
	    "1,2,3,4,5,8,9,10,11,12");
	assert_int_equal(journalfix_int(f,
	    "SELECT count(*) FROM error WHERE job = 2"), 1);
}

static void
test_queue_pause_and_hold(void **state)
{
	struct journalfix *f = *state;
	struct jrec r = {.kind = JR_QUEUE, .id = 2};

	r.u.queue.name = journalfix_bytes("mail");
	r.u.queue.paused_at = 10;
	r.u.queue.paused_by = journalfix_bytes("root");
	r.u.queue.held_until = 20;
	r.u.queue.held_reason = journalfix_bytes("429");
	journal_append(f->j, &r);
	journalfix_settle(f);
	assert_string_equal(journalfix_text(f, "SELECT name || ' ' || paused_at"
	    " || ' ' || paused_by || ' ' || held_until || ' ' || held_reason "
	    "FROM queue WHERE id = 2"), "mail 10 root 20 429");
	r.u.queue.paused_at = r.u.queue.held_until = 0;
	r.u.queue.paused_by = r.u.queue.held_reason = journalfix_bytes("");
	journal_append(f->j, &r);
	journalfix_settle(f);
	assert_int_equal(journalfix_int(f, "SELECT count(*) FROM queue WHERE "
	    "id = 2 AND paused_at IS NULL AND paused_by IS NULL AND held_until"
	    " IS NULL AND held_reason IS NULL"), 1);
}

static void
test_queue_totals_survive_a_pause(void **state)
{
	struct journalfix *f = *state;
	struct jrec r = {.kind = JR_QUEUE_TOTALS, .id = 1};
	struct jrec q = {.kind = JR_QUEUE, .id = 1};

	r.u.totals.processed = 5;
	r.u.totals.failed = 6;
	r.u.totals.stalled = 7;
	journal_append(f->j, &r);
	q.u.queue.name = journalfix_bytes("default");
	q.u.queue.paused_at = 1;
	journal_append(f->j, &q);
	journalfix_settle(f);
	assert_string_equal(journalfix_text(f, "SELECT processed || ' ' || "
	    "failed || ' ' || stalled || ' ' || paused_at FROM queue"),
	    "5 6 7 1");
}

static void
test_callback_until_done(void **state)
{
	struct journalfix *f = *state;
	struct jrec r = {.kind = JR_CALLBACK, .id = 4};

	r.u.callback.queue = 1;
	r.u.callback.kind = BH_ON_FAILED;
	r.u.callback.job = 99;
	r.u.callback.attempt = 2;
	r.u.callback.payload = journalfix_bytes("p");
	r.u.callback.error = journalfix_bytes("e");
	journal_append(f->j, &r);
	journalfix_settle(f);
	assert_string_equal(journalfix_text(f, "SELECT id || ' ' || queue || "
	    "' ' || kind || ' ' || job || ' ' || attempt || ' ' || error || "
	    "' ' || (result IS NULL) FROM callback"), "4 1 1 99 2 e 1");
	journalfix_simple(f, JR_CALLBACK_DONE, 4);
	journalfix_settle(f);
	assert_int_equal(journalfix_int(f, "SELECT count(*) FROM callback"), 0);
}

static void
test_next_id(void **state)
{
	struct journalfix *f = *state;

	journalfix_simple(f, JR_NEXT_ID, 12345);
	journalfix_settle(f);
	assert_int_equal(journalfix_int(f, "SELECT next_id FROM meta"), 12345);
}

static void
test_positions_ascend_and_wait_for_the_commit(void **state)
{
	struct journalfix *f = *state;
	uint64_t before = journal_last(f->j);

	assert_int_equal(journalfix_job(f, 1, "x"), before + 1);
	assert_int_equal(journalfix_job(f, 2, "x"), before + 2);
	assert_int_equal(journal_last(f->j), before + 2);
	assert_int_equal(journal_durable(f->j), before);
	journal_take(f->j, 0);
	assert_int_equal(journal_durable(f->j), before);
	assert_int_equal(journalfix_int(f, "SELECT count(*) FROM job"), 0);
	journalfix_settle(f);
	assert_int_equal(journal_durable(f->j), before + 2);
	assert_int_equal(journalfix_int(f, "SELECT count(*) FROM job"), 2);
}

static void
test_records_gather_while_the_writer_works(void **state)
{
	struct journalfix *f = *state;
	struct journal_stats s;
	int64_t commits;
	int i;

	journal_stats(f->j, &s);
	commits = s.commits;
	journalfix_job(f, 1, "x");
	journal_kick(f->j);
	for (i = 2; i <= 50; i++) {
		journalfix_job(f, i, "x");
		journal_kick(f->j);
	}
	journalfix_settle(f);
	journal_stats(f->j, &s);
	assert_int_equal(s.commits, commits + 2);
	assert_int_equal(journalfix_int(f, "SELECT count(*) FROM job"), 50);
}

static void
test_a_large_batch_with_large_strings(void **state)
{
	static char big[300000];
	struct journalfix *f = *state;
	int i;

	memset(big, 'b', sizeof(big) - 1);
	for (i = 1; i <= 5000; i++)
		journalfix_job(f, i, i % 1000 == 0 ? big : "small");
	journalfix_settle(f);
	assert_int_equal(journalfix_int(f, "SELECT count(*) FROM job"), 5000);
	assert_int_equal(journalfix_int(f,
	    "SELECT sum(length(payload)) FROM job"), 5 * 299999 + 4995 * 5);
}

static void
test_owner_comes_back_once_for_each_record(void **state)
{
	struct journalfix *f = *state;
	struct journalfix_owner owner = {0};
	struct jrec r = {.kind = JR_JOB_INSERT, .id = 1, .owner = &owner};
	struct bh_job_opts o;

	bh_job_opts_init(&o);
	r.u.insert.queue = 1;
	r.u.insert.run_at = r.u.insert.created_at = T0;
	r.u.insert.opts = &o;
	r.u.insert.payload = journalfix_bytes("kept by its owner");
	journal_append(f->j, &r);
	r.kind = JR_JOB_PAYLOAD;
	r.u.text = journalfix_bytes("changed");
	journal_append(f->j, &r);
	assert_int_equal(owner.released, 0);
	journalfix_settle(f);
	assert_int_equal(owner.released, 2);
	assert_string_equal(journalfix_text(f,
	    "SELECT CAST(payload AS TEXT) FROM job"), "changed");
}

static void
test_strings_without_owner_are_copied(void **state)
{
	struct journalfix *f = *state;
	char text[] = "before";

	journalfix_job(f, 1, text);
	journalfix_error(f, 1, 1, text);
	memcpy(text, "behind", 6);
	journalfix_settle(f);
	assert_string_equal(journalfix_text(f, "SELECT CAST(payload AS TEXT) ||"
	    " ' ' || message FROM job JOIN error ON job = id"),
	    "before before");
}

static void
test_close_commits_what_is_open(void **state)
{
	struct journalfix *f = *state;
	struct journalfix_owner owner = {0};
	struct jrec r = {.kind = JR_JOB_PAYLOAD, .id = 1, .owner = &owner};

	journalfix_job(f, 1, "x");
	journal_kick(f->j);
	r.u.text = journalfix_bytes("late");
	journal_append(f->j, &r);
	journalfix_close(f);
	assert_int_equal(owner.released, 1);
	assert_string_equal(journalfix_text(f,
	    "SELECT CAST(payload AS TEXT) FROM job"), "late");
}

static void
test_close_commits_without_a_start(void **state)
{
	struct journalfix *f = *state;
	struct err e = ERR_INIT;

	journalfix_close(f);
	assert_int_equal(journal_open(&f->j, &f->config, &e), 0);
	journalfix_simple(f, JR_NEXT_ID, 50);
	journalfix_close(f);
	assert_int_equal(journalfix_int(f, "SELECT next_id FROM meta"), 50);
}

static void
test_stats(void **state)
{
	struct journalfix *f = *state;
	struct journal_stats before, s;

	journal_stats(f->j, &before);
	journalfix_job(f, 1, "x");
	journalfix_lease(f, 1, 1);
	journalfix_settle(f);
	journal_stats(f->j, &s);
	assert_int_equal(s.commits, before.commits + 1);
	assert_int_equal(s.rows, before.rows + 2);
	assert_true(s.db_bytes >= 4096 && s.db_bytes % 4096 == 0);
	assert_true(s.wal_bytes > 0);
	assert_true(s.commit_p50_us > 0 && s.commit_p99_us >= s.commit_p50_us);
	assert_true(s.disk_free_bytes > 0);
}

static void
test_file_is_not_for_others(void **state)
{
	struct journalfix *f = *state;
	struct stat st;
	char path[128];

	snprintf(path, sizeof(path), "%s/bellhop.db", f->dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0007, 0);
	snprintf(path, sizeof(path), "%s/bellhop.db-wal", f->dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0007, 0);
}

static int
setup_quick(void **state)
{
	struct journalfix *f;

	journalfix_setup(state);
	f = *state;
	journalfix_close(f);
	f->config.quiet_ms = 20;
	journalfix_open(f);
	return 0;
}

static void
test_space_comes_back_when_quiet(void **state)
{
	static char big[4000];
	struct journalfix *f = *state;
	struct jrec r = {.kind = JR_JOB_DELETE};
	struct journal_stats s;
	int64_t full;

	memset(big, 'b', sizeof(big) - 1);
	for (int i = 1; i <= 4000; i++)
		journalfix_job(f, i, big);
	journalfix_settle(f);
	journal_stats(f->j, &s);
	full = s.db_bytes;
	for (r.id = 1; r.id <= 4000; r.id++)
		journal_append(f->j, &r);
	journalfix_settle(f);
	do
		journal_stats(f->j, &s);
	while (s.db_bytes > full / 2);
	assert_true(s.free_bytes <= s.db_bytes);
	assert_string_equal(journalfix_text(f, "PRAGMA integrity_check"), "ok");
}

/* Six commits of 10 MiB each. */
static void
write_much(struct journalfix *f)
{
	static char big[100001];
	int64_t id = journalfix_int(f, "SELECT ifnull(max(id), 0) FROM job");

	memset(big, 'b', sizeof(big) - 1);
	for (int batch = 0; batch < 6; batch++) {
		for (int i = 0; i < 100; i++)
			journalfix_job(f, ++id, big);
		journalfix_settle(f);
	}
}

static void
test_the_log_is_bounded(void **state)
{
	struct journalfix *f = *state;
	struct journal_stats s;

	write_much(f);
	journal_stats(f->j, &s);
	assert_true(s.db_bytes > 55 << 20);
	assert_true(s.wal_bytes < 40 << 20);
}

static void
test_the_log_shrinks_after_a_long_reader(void **state)
{
	struct journalfix *f = *state;
	struct journal_stats s;
	char path[128];
	sqlite3 *db;
	int64_t next = 5000;

	snprintf(path, sizeof(path), "%s/bellhop.db", f->dir);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "BEGIN; SELECT * FROM queue", NULL,
	    NULL, NULL), SQLITE_OK);
	write_much(f);
	journal_stats(f->j, &s);
	assert_true(s.wal_bytes > 55 << 20);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	do {
		/* The same value again would write nothing. */
		journalfix_simple(f, JR_NEXT_ID, next++);
		journalfix_settle(f);
		journal_stats(f->j, &s);
	} while (s.wal_bytes > 33 << 20);
	assert_int_equal(journalfix_int(f, "SELECT count(*) FROM job"), 600);
}

#define T(test) cmocka_unit_test_setup_teardown(test, journalfix_setup, \
	journalfix_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(test_plain_job),
	    T(test_job_with_all_options),
	    T(test_empty_payload_is_not_null),
	    T(test_payload_keeps_every_byte),
	    T(test_set_changes_the_numbers),
	    T(test_completed_keeps_the_result),
	    T(test_failed_says_why),
	    T(test_revived_lives_again),
	    T(test_delete_takes_lease_and_errors_along),
	    T(test_life_inside_one_batch),
	    T(test_progress),
	    T(test_lease_life),
	    T(test_few_errors_are_all_kept),
	    T(test_errors_without_number_get_the_next),
	    T(test_first_five_and_last_five_errors),
	    T(test_queue_pause_and_hold),
	    T(test_queue_totals_survive_a_pause),
	    T(test_callback_until_done),
	    T(test_next_id),
	    T(test_positions_ascend_and_wait_for_the_commit),
	    T(test_records_gather_while_the_writer_works),
	    T(test_a_large_batch_with_large_strings),
	    T(test_owner_comes_back_once_for_each_record),
	    T(test_strings_without_owner_are_copied),
	    T(test_close_commits_what_is_open),
	    T(test_close_commits_without_a_start),
	    T(test_stats),
	    T(test_file_is_not_for_others),
	    T(test_the_log_is_bounded),
	    T(test_the_log_shrinks_after_a_long_reader),
	    cmocka_unit_test_setup_teardown(test_space_comes_back_when_quiet,
		setup_quick, journalfix_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
