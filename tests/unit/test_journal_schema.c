/* SPDX-License-Identifier: MIT */
/* The schema: what it forbids, and the views that people read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "base/attr.h"
#include "lib/journalfix.h"

static void
test_checks_refuse_contradictions(void **state)
{
	static const char *const wrong[] = {
	    "UPDATE job SET state = 1",
	    "UPDATE job SET state = 2, finished_at = 1",
	    "UPDATE job SET state = 3, finished_at = 1",
	    "UPDATE job SET finished_at = 1",
	    "UPDATE job SET error = 'e'",
	    "UPDATE job SET priority = 10",
	    "UPDATE job SET priority = -1",
	    "UPDATE job SET attempt = -1",
	    "UPDATE job SET unique_until = 5",
	    "UPDATE job SET run_at = NULL",
	    "UPDATE job SET run_at = 'soon'",
	    "INSERT INTO lease VALUES (1, 1, 1, 0, 1, NULL, NULL)",
	    "INSERT INTO lease VALUES (1, 1, 1, 0, 1, 0, NULL)",
	    "INSERT INTO lease VALUES (1, 0, 1, 0, 1, 1, NULL)",
	    "UPDATE queue SET paused_by = 'x'",
	    "UPDATE queue SET held_reason = 'x'",
	    "INSERT INTO meta (one, next_id, created_at) VALUES (2, 1, 1)",
	    "INSERT INTO queue (id, name) VALUES (2, 'default')",
	};
	struct journalfix *f = *state;
	size_t i;

	journalfix_job(f, 1, "x");
	journalfix_settle(f);
	for (i = 0; i < nitems(wrong); i++)
		if (journalfix_exec(f, wrong[i]) != SQLITE_CONSTRAINT)
			fail_msg("not refused: %s", wrong[i]);
}

static void
test_tables_hold_no_index_for_living_jobs(void **state)
{
	struct journalfix *f = *state;

	assert_int_equal(journalfix_int(f, "SELECT count(*) FROM sqlite_schema"
	    " WHERE type = 'index' AND tbl_name IN ('job', 'lease') AND"
	    " sql NOT LIKE '%WHERE state%'"), 0);
	assert_int_equal(journalfix_int(f, "SELECT count(*) FROM sqlite_schema"
	    " WHERE type = 'table' AND sql NOT LIKE '%STRICT%'"), 0);
	assert_int_equal(journalfix_int(f, "PRAGMA auto_vacuum"), 2);
	assert_string_equal(journalfix_text(f, "PRAGMA journal_mode"), "wal");
}

static void
test_jobs_view_names_the_state(void **state)
{
	struct journalfix *f = *state;
	struct jrec r = {.kind = JR_JOB_SET, .id = 2};

	for (int i = 1; i <= 5; i++)
		journalfix_job(f, i, "x");
	r.u.set.run_at = 4102444800000;
	journal_append(f->j, &r);
	r.id = 1;
	r.u.set.run_at = 1000;
	journal_append(f->j, &r);
	journalfix_lease(f, 3, 6);
	journalfix_finish(f, 4, JSTATE_COMPLETED, 0, "r");
	journalfix_finish(f, 5, JSTATE_FAILED, 1, "e");
	journalfix_settle(f);
	assert_string_equal(journalfix_text(f, "SELECT group_concat(state) "
	    "FROM (SELECT state FROM jobs_view ORDER BY id)"),
	    "waiting,delayed,active,completed,failed");
	assert_string_equal(journalfix_text(f, "SELECT queue || ' ' || priority"
	    " || ' ' || attempt || ' ' || worker || ' ' || lease_until FROM "
	    "jobs_view WHERE id = 3"),
	    "default 5 6 worker-a 2026-09-21T14:13:50.000Z");
	assert_string_equal(journalfix_text(f, "SELECT run_at FROM jobs_view "
	    "WHERE id = 1"), "1970-01-01T00:00:01.000Z");
}

static void
test_jobs_view_shows_text_and_bytes(void **state)
{
	struct journalfix *f = *state;
	struct jrec r = {.kind = JR_JOB_PAYLOAD, .id = 2};
	char long_bytes[40] = {0};

	journalfix_job(f, 1, "caf\xc3\xa9\n{\"a\":1}");
	journalfix_job(f, 2, "x");
	r.u.text = (struct bh_bytes){"\x01\xff", 2};
	journal_append(f->j, &r);
	journalfix_job(f, 3, "x");
	r.id = 3;
	r.u.text = (struct bh_bytes){long_bytes, sizeof(long_bytes)};
	journal_append(f->j, &r);
	journalfix_settle(f);
	assert_string_equal(journalfix_text(f,
	    "SELECT payload FROM jobs_view WHERE id = 1"),
	    "caf\xc3\xa9\n{\"a\":1}");
	assert_string_equal(journalfix_text(f,
	    "SELECT payload FROM jobs_view WHERE id = 2"), "x'01FF'");
	assert_string_equal(journalfix_text(f, "SELECT substr(payload, -14) "
	    "FROM jobs_view WHERE id = 3"), "...' (40 bytes)" + 1);
}

static void
test_queues_view_counts(void **state)
{
	struct journalfix *f = *state;
	struct jrec q = {.kind = JR_QUEUE, .id = 2};
	struct jrec r = {.kind = JR_JOB_SET, .id = 1};

	q.u.queue.name = journalfix_bytes("unused");
	q.u.queue.paused_at = 1000;
	journal_append(f->j, &q);
	for (int i = 1; i <= 6; i++)
		journalfix_job(f, i, "x");
	for (r.id = 1; r.id <= 2; r.id++) {
		r.u.set.run_at = 1000;
		journal_append(f->j, &r);
	}
	r.u.set.run_at = 4102444800000;
	journal_append(f->j, &r);
	journalfix_lease(f, 4, 1);
	journalfix_finish(f, 5, JSTATE_COMPLETED, 0, "r");
	journalfix_finish(f, 6, JSTATE_FAILED, 1, "e");
	journalfix_settle(f);
	assert_string_equal(journalfix_text(f, "SELECT waiting || delayed || "
	    "active || completed || failed FROM queues_view WHERE queue = "
	    "'default'"), "21111");
	assert_string_equal(journalfix_text(f, "SELECT waiting || failed || "
	    "paused_since FROM queues_view WHERE queue = 'unused'"),
	    "001970-01-01T00:00:01.000Z");
}

static void
test_errors_view_groups(void **state)
{
	struct journalfix *f = *state;

	for (int i = 1; i <= 4; i++)
		journalfix_job(f, i, "x");
	journalfix_finish(f, 1, JSTATE_FAILED, 0xabc, "timeout 1");
	journalfix_finish(f, 2, JSTATE_FAILED, 0xffffffffffffffff, "odd");
	journalfix_finish(f, 3, JSTATE_FAILED, 0xabc, "timeout 3");
	journalfix_finish(f, 4, JSTATE_COMPLETED, 0, NULL);
	journalfix_settle(f);
	assert_string_equal(journalfix_text(f, "SELECT group_concat(fingerprint"
	    " || ' ' || count || ' ' || sample_id || ' ' || text, '; ') FROM "
	    "errors_view"), "0000000000000abc 2 3 timeout 3; "
	    "ffffffffffffffff 1 2 odd");
}

#define T(test) cmocka_unit_test_setup_teardown(test, journalfix_setup, \
	journalfix_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(test_checks_refuse_contradictions),
	    T(test_tables_hold_no_index_for_living_jobs),
	    T(test_jobs_view_names_the_state),
	    T(test_jobs_view_shows_text_and_bytes),
	    T(test_queues_view_counts),
	    T(test_errors_view_groups),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
