/* SPDX-License-Identifier: MIT */
/* What leaves one store is what arrives in the other, whatever dies between. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/xalloc.h"
#include "journal/ferry.h"
#include "journal/ferry_sql.h"
#include "lib/journalfix.h"

static const char content[] =
    "UPDATE meta SET next_id = 901;"
    "INSERT INTO queue (id, name, paused_at, paused_by, held_until,"
    " held_reason, processed, failed, stalled) VALUES"
    " (1, 'default', 5, 'ann', 99, 'a 429', 7, 8, 9),"
    " (2, 'other', NULL, NULL, NULL, NULL, 0, 0, 0),"
    " (3, 'unused', NULL, NULL, NULL, NULL, 1, 0, 0);"
    "INSERT INTO job (id, queue, run_at, created_at, payload) VALUES"
    " (20, 1, 300, 1, x'00ff'), (21, 2, 100, 1, x''), (22, 1, 200, 1, x'70');"
    "INSERT INTO job (id, queue, priority, attempt, error_count, stalled,"
    " wall, run_at, line_at, expires_at, unique_until, follows, retain_ms,"
    " group_key, unique_key, lease_ms, max_stalled, created_at, started_at,"
    " attempts, timeout_ms, backoff_type, backoff_ms, backoff_max_ms,"
    " backoff_factor, backoff_jitter, unique_ttl_ms, unique_mode, origin,"
    " progress, payload) VALUES (900, 2, 3, 4, 5, 6, 1, 900, 50, 8, 9, 20,"
    " 11, 'g', 'u', 12, 13, 14, 15, 16, 17, 1, 18, 19, 2.5, 0.2, 20, 2,"
    " '{}', x'01', x'61');"
    "INSERT INTO job (id, queue, state, run_at, created_at, finished_at,"
    " error, fingerprint, payload) VALUES (1, 1, 2, 1, 1, 70, 'why', -5,"
    " x'66');"
    "INSERT INTO job (id, queue, state, run_at, created_at, finished_at,"
    " result, payload) VALUES (2, 1, 1, 1, 1, 60, x'7b7d', x'63');"
    "INSERT INTO lease VALUES (22, 2, -7, 1, 10, 20, 'w');"
    "INSERT INTO error VALUES (1, 1, 1, 5, 'first', 'v1'),"
    " (1, 9, 2, 6, 'last', NULL);"
    "INSERT INTO step VALUES (900, 1, 'one', x'31'), (900, 2, 'nap', NULL);"
    "INSERT INTO callback VALUES (4, 1, 1, 1, 2, x'66', NULL, 'why');"
    "INSERT INTO key (id, name, type, expires_at, value) VALUES"
    " (5, x'61', 0, NULL, x'00'), (6, x'ff00', 4, 12, x'');"
    "INSERT INTO key_part VALUES (6, x'62', x'00'), (6, x'61', NULL);"
    "INSERT INTO schedule (id, name, queue, every_ms, misfire, overlap,"
    " created_at, backoff_factor, payload) VALUES (8, 'often', 'default',"
    " 1000, 1, 0, 3, 1.5, x'78');"
    "INSERT INTO schedule_state VALUES (8, 2000, 1000, 1000, 20);"
    "INSERT INTO tick VALUES (8, 1, 900, 901, 0, 20),"
    " (8, 2, 1000, 1001, 2, NULL)";

/* Everything but ids that are a store's own. */
static const char dump[] =
    "SELECT group_concat(line, '\n') FROM ("
    "SELECT 'q ' || name || ' ' || quote(paused_at) || quote(paused_by) ||"
    " quote(held_until) || quote(held_reason) || processed || failed ||"
    " stalled AS line FROM queue WHERE name <> 'unused'"
    " UNION ALL SELECT 'j ' || job.id || queue.name || state ||"
    " quote(priority) || attempt || error_count || job.stalled || wall ||"
    " run_at || quote(line_at) || quote(expires_at) || quote(finished_at) ||"
    " quote(unique_until) || quote(follows) || quote(retain_ms) ||"
    " quote(fingerprint) || quote(group_key) || quote(unique_key) ||"
    " quote(lease_ms) || quote(max_stalled) || created_at ||"
    " quote(started_at) || quote(attempts) || quote(timeout_ms) ||"
    " quote(backoff_type) || quote(backoff_ms) || quote(backoff_max_ms) ||"
    " quote(backoff_factor) || quote(backoff_jitter) ||"
    " quote(unique_ttl_ms) || quote(unique_mode) || quote(origin) ||"
    " quote(progress) || quote(error) || quote(result) || quote(payload)"
    " FROM job JOIN queue ON queue.id = queue"
    " UNION ALL SELECT 'l ' || id || attempt || token || handler ||"
    " started_at || until || quote(worker) FROM lease"
    " UNION ALL SELECT 'e ' || job || n || attempt || at || message ||"
    " quote(version) FROM error"
    " UNION ALL SELECT 's ' || job || n || name || quote(value) FROM step"
    " UNION ALL SELECT 'c ' || callback.id || queue.name || kind || job ||"
    " attempt || quote(payload) || quote(result) || quote(error)"
    " FROM callback JOIN queue ON queue.id = queue"
    " UNION ALL SELECT 'k ' || quote(name) || type || quote(expires_at) ||"
    " quote(value) FROM key"
    " UNION ALL SELECT 'v ' || quote(name) || quote(part) ||"
    " quote(key_part.value) FROM key_part JOIN key ON key.id = key"
    " UNION ALL SELECT 'p ' || name || quote(owner) || queue ||"
    " quote(every_ms) || misfire || overlap || schedule.created_at ||"
    " quote(backoff_factor) || quote(payload) || quote(next_at) || after_at"
    " || seen_at || quote(job) FROM schedule JOIN schedule_state USING (id)"
    " UNION ALL SELECT 't ' || name || n || due || at || outcome ||"
    " quote(job) FROM tick JOIN schedule ON schedule.id = schedule"
    " UNION ALL SELECT 'm ' || next_id FROM meta ORDER BY 1)";

struct pair {
	struct journalfix *here, *there;
	struct ferry_db *from, *to;
	size_t cut;			/* transfers before the next crash */
};

static void
must(struct ferry_db *d, struct bh_local *r)
{
	struct err e = ERR_INIT;

	if (ferry_do(d, r, &e) < 0)
		fail_msg("%s", e.text);
}

static void
open_db(struct ferry_db **ret, struct journalfix *f)
{
	struct err e = ERR_INIT;

	if (ferry_db_open(ret, f->dir, true, &e) < 0)
		fail_msg("%s", e.text);
}

static int
setup(void **state)
{
	struct pair *p = xcalloc(1, sizeof(*p));
	void *one, *two;

	journalfix_setup_closed(&one);
	journalfix_setup_closed(&two);
	p->here = one;
	p->there = two;
	journalfix_open(p->here);
	journalfix_close(p->here);
	assert_int_equal(journalfix_exec(p->here, "DELETE FROM queue"), 0);
	assert_int_equal(journalfix_exec(p->here, content), 0);
	open_db(&p->from, p->here);
	open_db(&p->to, p->there);
	*state = p;
	return 0;
}

static int
teardown(void **state)
{
	struct pair *p = *state;
	void *one = p->here, *two = p->there;

	ferry_db_close(&p->from);
	ferry_db_close(&p->to);
	journalfix_teardown(&one);
	journalfix_teardown(&two);
	free(p);
	return 0;
}

/* False: a crash, between the two ends. */
static bool
move_batch(struct pair *p, struct bh_local *r)
{
	struct bh_local w = {.op = BH_LOCAL_WRITE, .rows = r->rows,
	    .nrows = r->nrows};

	must(p->to, &w);
	if (p->cut > 0 && --p->cut == 0)
		return false;
	r->op = BH_LOCAL_DROP;
	must(p->from, r);
	return true;
}

static bool
move_table(struct pair *p, enum bh_table t)
{
	struct bh_local r = {.table = t, .limit = 2};

	for (;;) {
		bool ok;

		r.op = BH_LOCAL_READ;
		must(p->from, &r);
		if (r.nrows == 0) {
			ferry_rows_free(&r);
			return true;
		}
		for (size_t i = 0; i < r.nrows; i++)
			if (r.rows[i].at > r.after)
				r.after = r.rows[i].at;
		ok = move_batch(p, &r);
		ferry_rows_free(&r);
		if (!ok)
			return false;
	}
}

static bool
move_all(struct pair *p)
{
	static const enum bh_table order[] = {BH_T_META, BH_T_QUEUE,
	    BH_T_SCHEDULE, BH_T_KEY, BH_T_JOB, BH_T_CALLBACK};
	struct bh_local up = {.op = BH_LOCAL_BEGIN};
	struct bh_local in = {.op = BH_LOCAL_BEGIN, .down = true};

	must(p->from, &up);
	must(p->to, &in);
	assert_false(up.down);
	for (size_t i = 0; i < nitems(order); i++)
		if (!move_table(p, order[i]))
			return false;
	up.op = in.op = BH_LOCAL_END;
	must(p->from, &up);
	must(p->to, &in);
	return true;
}

static void
rows_arrive_as_they_left(void **state)
{
	struct pair *p = *state;
	struct bh_local again = {.op = BH_LOCAL_BEGIN};
	char *before = strdup(journalfix_text(p->here, dump));

	assert_true(move_all(p));
	assert_string_equal(journalfix_text(p->there, dump), before);
	must(p->from, &again);
	assert_string_equal(again.move, "");
	assert_int_equal(journalfix_int(p->here, "SELECT (SELECT count(*)"
	    " FROM job) + (SELECT count(*) FROM lease) + (SELECT count(*)"
	    " FROM error) + (SELECT count(*) FROM step) + (SELECT count(*)"
	    " FROM callback) + (SELECT count(*) FROM key) + (SELECT count(*)"
	    " FROM queue) + (SELECT count(*) FROM schedule) +"
	    " (SELECT count(*) FROM schedule_state) + (SELECT count(*)"
	    " FROM tick)"), 0);
	free(before);
}

static void
a_batch_that_comes_again_changes_nothing(void **state)
{
	struct pair *p = *state;
	char *before = strdup(journalfix_text(p->here, dump));
	size_t crashes = 0;

	for (p->cut = 1; !move_all(p); p->cut = crashes + 1)
		if (++crashes > 100)
			fail_msg("it never ends");
	assert_true(crashes > 3);
	assert_string_equal(journalfix_text(p->there, dump), before);
	free(before);
}

static void
living_jobs_go_first_in_the_order_they_would_run(void **state)
{
	struct pair *p = *state;
	struct bh_local b = {.op = BH_LOCAL_BEGIN}, r = {.op = BH_LOCAL_READ,
	    .table = BH_T_JOB, .limit = 100};
	struct buf ids = BUF_INIT;

	must(p->from, &b);
	assert_int_equal(b.counts[BH_T_JOB], 6);
	assert_int_equal(b.living, 4);
	must(p->from, &r);
	for (size_t i = 0; i < r.nrows; i++)
		if (r.rows[i].table == BH_T_JOB)
			buf_addf(&ids, "%s ", r.rows[i].cols[BH_JOB_id].data);
	/* 900 stands in its group's line since 50. */
	assert_string_equal(buf_str(&ids), "900 21 22 20 2 1 ");
	ferry_rows_free(&r);
	buf_done(&ids);
}

static void
the_name_of_a_move_stays_until_it_is_over(void **state)
{
	struct pair *p = *state;
	struct bh_local one = {.op = BH_LOCAL_BEGIN},
	    two = {.op = BH_LOCAL_BEGIN},
	    back = {.op = BH_LOCAL_BEGIN, .down = true},
	    again = {.op = BH_LOCAL_BEGIN};

	must(p->from, &one);
	must(p->from, &two);
	assert_string_equal(one.move, two.move);
	must(p->from, &back);
	assert_string_not_equal(one.move, back.move);
	must(p->from, &again);
	assert_true(again.down);
	assert_string_equal(again.move, back.move);
	ferry_db_close(&p->from);
	journalfix_refused(p->here, "on their way back");
	open_db(&p->from, p->here);
	again.op = BH_LOCAL_END;
	must(p->from, &again);
	ferry_db_close(&p->from);
	journalfix_open(p->here);
	journalfix_close(p->here);
}

/* Somebody who starts the local store again begins anew. */
static void
a_store_that_was_left_can_be_used_again(void **state)
{
	struct pair *p = *state;
	struct bh_local one = {.op = BH_LOCAL_BEGIN},
	    two = {.op = BH_LOCAL_BEGIN};

	must(p->from, &one);
	ferry_db_close(&p->from);
	journalfix_open(p->here);
	journalfix_close(p->here);
	assert_int_equal(journalfix_int(p->here, "SELECT count(*) FROM"
	    " sqlite_schema WHERE name IN ('moved', 'ferry')"), 0);
	open_db(&p->from, p->here);
	must(p->from, &two);
	assert_string_not_equal(one.move, two.move);
}

/* --- the thread --- */

static void
count_done(struct bh_req *req)
{
	++*(int *)req->user;
}

static void
requests_are_done_in_order_by_the_thread(void **state)
{
	struct pair *p = *state;
	struct ferry *f;
	struct err e = ERR_INIT;
	int done = 0;
	struct bh_local b = {.req = {.done = count_done, .user = &done},
	    .op = BH_LOCAL_BEGIN},
	    r = {.req = {.done = count_done, .user = &done},
	    .op = BH_LOCAL_READ, .table = BH_T_JOB, .limit = 1};

	ferry_db_close(&p->from);
	assert_int_equal(ferry_open(&f, p->here->dir, NULL, NULL, &e), 0);
	journalfix_refused(p->here, "another bellhopd");
	ferry_send(f, &b);
	ferry_send(f, &r);
	while (done < 2)
		ferry_take(f);
	assert_int_equal(r.req.status, BH_OK);
	assert_string_equal(r.rows[0].cols[BH_JOB_id].data, "900");
	ferry_free_rows(&r);
	ferry_close(&f);
}

static void
a_directory_without_a_store_has_nothing_to_move(void **state)
{
	struct pair *p = *state;
	struct ferry *f;
	struct err e = ERR_INIT;
	int done = 0;
	struct bh_local b = {.req = {.done = count_done, .user = &done},
	    .op = BH_LOCAL_BEGIN};
	char path[300];

	ferry_db_close(&p->to);
	snprintf(path, sizeof(path), "%s/bellhop.db", p->there->dir);
	unlink(path);
	assert_int_equal(ferry_open(&f, p->there->dir, NULL, NULL, &e), 0);
	ferry_send(f, &b);
	while (done < 1)
		ferry_take(f);
	assert_int_equal(b.req.status, BH_OK);
	assert_string_equal(b.move, "");
	assert_int_equal(access(path, F_OK), -1);
	ferry_close(&f);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(rows_arrive_as_they_left),
		CASE(a_batch_that_comes_again_changes_nothing),
		CASE(living_jobs_go_first_in_the_order_they_would_run),
		CASE(the_name_of_a_move_stays_until_it_is_over),
		CASE(a_store_that_was_left_can_be_used_again),
		CASE(requests_are_done_in_order_by_the_thread),
		CASE(a_directory_without_a_store_has_nothing_to_move),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
