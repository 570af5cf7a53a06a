/* SPDX-License-Identifier: MIT */
/* A disk that fails, fills up or loses power: what counts as kept is kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "base/attr.h"
#include "base/die.h"
#include "lib/faultvfs.h"
#include "lib/journalfix.h"

#define T0 1790000000000

static void
owned_job(struct journalfix *f, int64_t id, struct journalfix_owner *owner)
{
	struct jrec r = {.kind = JR_JOB_INSERT, .id = id, .owner = owner};
	static struct bh_job_opts o;

	bh_job_opts_init(&o);
	r.u.insert.queue = 1;
	r.u.insert.run_at = r.u.insert.created_at = T0;
	r.u.insert.opts = &o;
	r.u.insert.payload = journalfix_bytes("owned");
	journal_append(f->j, &r);
}

static void
retry_now(struct journalfix *f)
{
	f->mono_ms = journal_next(f->j);
	assert_true(f->mono_ms != INT64_MAX);
	journal_take(f->j, f->mono_ms);
}

/* Turns, retries included, until all is durable. */
static void
settle_at_last(struct journalfix *f)
{
	for (;;) {
		journal_take(f->j, f->mono_ms);
		journal_kick(f->j);
		if (journal_durable(f->j) == journal_last(f->j))
			return;
		if (journal_next(f->j) != INT64_MAX)
			f->mono_ms = journal_next(f->j);
		else
			journalfix_wait(f);
	}
}

static void
copy_file(const char *from, const char *to, const char *name)
{
	static char data[1 << 16];
	char path[128];
	size_t n;
	FILE *in, *out;

	snprintf(path, sizeof(path), "%s/%s", from, name);
	in = fopen(path, "re");
	if (!in)
		return;
	snprintf(path, sizeof(path), "%s/%s", to, name);
	out = fopen(path, "we");
	assert_non_null(out);
	while ((n = fread(data, 1, sizeof(data), in)) > 0)
		assert_int_equal(fwrite(data, 1, n, out), n);
	fclose(in);
	assert_int_equal(fclose(out), 0);
}

/* The file as a power cut would leave it, if the kernel wrote everything. */
static struct journalfix *
power_cut(struct journalfix *f, bool with_wal)
{
	void *state;
	struct journalfix *copy;

	journalfix_setup_closed(&state);
	copy = state;
	copy_file(f->dir, copy->dir, "bellhop.db");
	if (with_wal)
		copy_file(f->dir, copy->dir, "bellhop.db-wal");
	return copy;
}

static void
assert_kept(struct journalfix *f, int64_t upto)
{
	char sql[80];

	snprintf(sql, sizeof(sql), "SELECT count(*) FROM job WHERE id <= %lld",
	    (long long)upto);
	assert_int_equal(journalfix_int(f, sql), upto);
	assert_string_equal(journalfix_text(f, "PRAGMA integrity_check"), "ok");
}

static void
drop(struct journalfix *f)
{
	void *state = f;

	journalfix_teardown(&state);
}

static void
test_failed_commit_acknowledges_nothing(void **state)
{
	struct journalfix *f = *state;
	struct journalfix_owner owner = {0};
	uint64_t before = journal_durable(f->j);

	faultvfs_fail_sync(1, SQLITE_IOERR_FSYNC);
	owned_job(f, 1, &owner);
	journalfix_until_failure(f);
	assert_int_equal(journal_failure(f->j)->code, BH_E_IO);
	assert_non_null(strstr(journal_failure(f->j)->text, "I/O error"));
	assert_int_equal(journal_durable(f->j), before);
	assert_int_equal(owner.released, 0);
	assert_int_equal(journal_next(f->j), f->mono_ms + 1000);
	/* Nothing happens before its time, kick or not. */
	journal_kick(f->j);
	journal_take(f->j, f->mono_ms + 999);
	assert_int_equal(journal_next(f->j), f->mono_ms + 1000);
	retry_now(f);
	settle_at_last(f);
	assert_null(journal_failure(f->j));
	assert_int_equal(journal_next(f->j), INT64_MAX);
	assert_int_equal(owner.released, 1);
	assert_int_equal(journalfix_int(f, "SELECT recovered FROM meta"), 1);
	assert_kept(f, 1);
}

static void
test_full_disk_has_its_own_code(void **state)
{
	struct journalfix *f = *state;

	faultvfs_fail_all(SQLITE_FULL);
	journalfix_job(f, 1, "x");
	journalfix_until_failure(f);
	assert_int_equal(journal_failure(f->j)->code, BH_E_DISKFULL);
	assert_non_null(strstr(journal_failure(f->j)->text,
	    "the disk is full"));
	faultvfs_reset();
	settle_at_last(f);
	assert_kept(f, 1);
}

static void
test_failure_lasts_while_the_disk_fails(void **state)
{
	struct journalfix *f = *state;
	int i;

	faultvfs_fail_all(SQLITE_IOERR_WRITE);
	journalfix_job(f, 1, "x");
	journalfix_until_failure(f);
	for (i = 2; i <= 4; i++) {
		journalfix_job(f, i, "x");
		retry_now(f);
		while (journal_next(f->j) == INT64_MAX) {
			journalfix_wait(f);
			journal_take(f->j, f->mono_ms);
		}
		assert_non_null(journal_failure(f->j));
	}
	faultvfs_reset();
	settle_at_last(f);
	assert_kept(f, 4);
	assert_int_equal(journalfix_int(f, "SELECT recovered FROM meta"), 1);
}

static void
test_void_takes_back_from_both_batches(void **state)
{
	struct journalfix *f = *state;
	struct journalfix_owner owner = {0};
	struct jrec r = {.kind = JR_JOB_PAYLOAD, .id = 2, .owner = &owner};

	faultvfs_fail_all(SQLITE_FULL);
	journalfix_job(f, 1, "x");
	owned_job(f, 2, &owner);
	journalfix_lease(f, 2, 1);
	journalfix_until_failure(f);
	r.u.text = journalfix_bytes("later");
	journal_append(f->j, &r);
	journalfix_error(f, 2, 1, "e");
	owned_job(f, 3, &owner);
	journalfix_job(f, 4, "x");
	journal_void_job(f->j, 3);
	journal_void_job(f->j, 2);
	faultvfs_reset();
	settle_at_last(f);
	assert_int_equal(owner.released, 3);
	assert_string_equal(journalfix_text(f, "SELECT (SELECT group_concat(id)"
	    " FROM job) || ' ' || (SELECT count(*) FROM lease) || "
	    "(SELECT count(*) FROM error)"), "1,4 00");
}

static void
test_void_while_the_retry_is_under_way(void **state)
{
	struct journalfix *f = *state;

	faultvfs_fail_sync(1, SQLITE_IOERR_FSYNC);
	journalfix_job(f, 1, "x");
	journalfix_job(f, 2, "x");
	journalfix_lease(f, 2, 1);
	journalfix_until_failure(f);
	retry_now(f);
	assert_non_null(journal_failure(f->j));
	journal_void_job(f->j, 2);
	settle_at_last(f);
	assert_null(journal_failure(f->j));
	assert_string_equal(journalfix_text(f, "SELECT (SELECT group_concat(id)"
	    " FROM job) || ' ' || (SELECT count(*) FROM lease)"), "1 0");
}

static void
test_an_empty_retry_still_proves_the_disk(void **state)
{
	struct journalfix *f = *state;

	faultvfs_fail_all(SQLITE_FULL);
	journalfix_job(f, 1, "x");
	journalfix_until_failure(f);
	journal_void_job(f->j, 1);
	retry_now(f);
	while (journal_next(f->j) == INT64_MAX) {
		journalfix_wait(f);
		journal_take(f->j, f->mono_ms);
	}
	assert_non_null(journal_failure(f->j));
	faultvfs_reset();
	settle_at_last(f);
	assert_int_equal(journalfix_int(f, "SELECT count(*) FROM job"), 0);
}

static void
test_close_on_a_dead_disk_ends(void **state)
{
	struct journalfix *f = *state;
	struct journalfix_owner owner = {0};

	faultvfs_fail_all(SQLITE_IOERR_WRITE);
	owned_job(f, 1, &owner);
	journalfix_until_failure(f);
	owned_job(f, 2, &owner);
	journalfix_close(f);
	assert_int_equal(owner.released, 2);
	faultvfs_reset();
	assert_int_equal(journalfix_int(f, "SELECT count(*) FROM job"), 0);
	assert_kept(f, 0);
}

static void
test_close_tries_once_more(void **state)
{
	struct journalfix *f = *state;

	faultvfs_fail_sync(1, SQLITE_IOERR_FSYNC);
	journalfix_job(f, 1, "x");
	journalfix_until_failure(f);
	journalfix_job(f, 2, "x");
	journalfix_close(f);
	assert_kept(f, 2);
}

/* Five jobs before the fault and three batches of five under it. Whatever the
 * fault and wherever the power is cut: what was durable is there. */
static void
run_with_fault(void (*arm)(long n), long n, bool *ret_hit)
{
	struct journalfix *f;
	struct journalfix *cut;
	void *state;
	int64_t durable_id = 0;
	int64_t id = 1;
	int batch, i;

	journalfix_setup_fault(&state);
	f = state;
	for (batch = 0; batch < 4; batch++) {
		if (batch == 1)
			arm(n);
		for (i = 0; i < 5; i++, id++) {
			journalfix_job(f, id, "some payload");
			journalfix_lease(f, id, 1);
		}
		while (journal_durable(f->j) != journal_last(f->j)) {
			journal_kick(f->j);
			journalfix_wait(f);
			journal_take(f->j, f->mono_ms);
			if (!journal_failure(f->j))
				continue;
			cut = power_cut(f, true);
			assert_kept(cut, durable_id);
			drop(cut);
			settle_at_last(f);
		}
		durable_id = id - 1;
		cut = power_cut(f, true);
		assert_kept(cut, durable_id);
		drop(cut);
	}
	*ret_hit = faultvfs_failures() > 0;
	journalfix_close(f);
	assert_kept(f, 20);
	drop(f);
}

static void
arm_write_error(long n)
{
	faultvfs_fail_write(n, SQLITE_IOERR_WRITE, false);
}

static void
arm_torn_write(long n)
{
	faultvfs_fail_write(n, SQLITE_FULL, true);
}

static void
arm_sync_error(long n)
{
	faultvfs_fail_sync(n, SQLITE_IOERR_FSYNC);
}

static void
try_each(void (*arm)(long n), long at_least)
{
	bool hit = true;
	long n;

	for (n = 1; hit; n++)
		run_with_fault(arm, n, &hit);
	/* The loop went past the last call that could fail. */
	assert_true(n - 2 >= at_least);
}

static void
test_each_failing_write(void **state)
{
	(void)state;
	try_each(arm_write_error, 6);
}

static void
test_each_torn_write(void **state)
{
	(void)state;
	try_each(arm_torn_write, 6);
}

static void
test_each_failing_sync(void **state)
{
	(void)state;
	try_each(arm_sync_error, 3);
}

static void
test_commit_mode_syncs_each_commit(void **state)
{
	struct journalfix *f = *state;
	long before;
	int i;

	for (i = 1; i <= 3; i++) {
		before = faultvfs_syncs();
		journalfix_job(f, i, "x");
		journalfix_settle(f);
		assert_true(faultvfs_syncs() > before);
	}
}

/* The WAL's start must not sync by itself: one commit goes before. */
static void
reopen(struct journalfix *f, bool relaxed, int64_t quiet_ms)
{
	journalfix_close(f);
	f->config.relaxed = relaxed;
	f->config.quiet_ms = quiet_ms;
	journalfix_open(f);
	journalfix_simple(f, JR_NEXT_ID, 1000);
	journalfix_settle(f);
}

static void
test_relaxed_mode_syncs_within_a_second(void **state)
{
	struct journalfix *f = *state;
	long before;

	reopen(f, true, 1000000);
	before = faultvfs_syncs();
	journalfix_job(f, 1, "x");
	journalfix_settle(f);
	assert_int_equal(faultvfs_syncs(), before);
	while (faultvfs_syncs() == before)
		sched_yield();
	assert_int_equal(faultvfs_syncs(), before + 1);
}

static void
test_relaxed_close_syncs(void **state)
{
	struct journalfix *f = *state;
	long before;

	reopen(f, true, 1000000);
	journalfix_job(f, 1, "x");
	journalfix_settle(f);
	before = faultvfs_syncs();
	journalfix_close(f);
	assert_true(faultvfs_syncs() > before);
	assert_kept(f, 1);
}

/* After a failed sync only copying everything back proves it safe. */
static void
test_relaxed_failed_sync_is_made_good(void **state)
{
	struct journalfix *f = *state;
	struct journalfix *cut;
	int64_t found = 0;

	reopen(f, true, 1000000);
	faultvfs_fail_sync(1, SQLITE_IOERR_FSYNC);
	journalfix_job(f, 1, "x");
	journalfix_settle(f);
	while (found == 0) {
		cut = power_cut(f, false);
		found = journalfix_int(cut, "SELECT count(*) FROM job");
		drop(cut);
	}
	assert_int_equal(faultvfs_failures(), 1);
	assert_null(journal_failure(f->j));
}

static void
test_failing_checkpoint_harms_nobody(void **state)
{
	struct journalfix *f = *state;

	reopen(f, false, 20);
	journalfix_job(f, 1, "x");
	journalfix_settle(f);
	faultvfs_fail_all(SQLITE_IOERR_WRITE);
	while (faultvfs_failures() == 0)
		sched_yield();
	faultvfs_reset();
	journalfix_job(f, 2, "x");
	journalfix_settle(f);
	assert_kept(f, 2);
}

/* In the child: batches of three until it is killed. Tells the parent, for
 * each batch, the last id that counted as kept. */
static void
child_works(struct journalfix *f, const char *spec, int to_parent)
{
	int64_t id = 1;

	setenv("BELLHOP_TEST_CRASH", spec, 1);
	journalfix_open(f);
	while (id < 100) {
		for (int i = 0; i < 3; i++, id++) {
			journalfix_job(f, id, "x");
			journalfix_lease(f, id, 1);
		}
		journalfix_settle(f);
		id--;
		CHECK(write(to_parent, &id, sizeof(id)) == sizeof(id));
		id++;
	}
	_exit(3);
}

static int64_t
run_child(struct journalfix *f, const char *spec)
{
	int64_t told = 0;
	int64_t id;
	int pipes[2];
	int status;
	pid_t pid;

	assert_int_equal(pipe(pipes), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		child_works(f, spec, pipes[1]);
	close(pipes[1]);
	while (read(pipes[0], &id, sizeof(id)) == sizeof(id))
		told = id;
	close(pipes[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGKILL);
	return told;
}

static void
test_killed_at_each_point(void **state)
{
	/* The point and which batch must not be there, or must be. */
	static const struct {
		const char *spec;
		int64_t kept;
	} cases[] = {
	    {"begin:4", 9}, {"apply:20", 9}, {"commit-before:4", 9},
	    {"commit-after:4", 12}, {"ack:4", 12},
	};
	struct journalfix *f;
	void *s;
	size_t i;

	(void)state;
	for (i = 0; i < nitems(cases); i++) {
		journalfix_setup(&s);
		f = s;
		journalfix_close(f);
		assert_int_equal(run_child(f, cases[i].spec), 9);
		assert_int_equal(journalfix_int(f,
		    "SELECT max(id) FROM job"), cases[i].kept);
		assert_kept(f, cases[i].kept);
		journalfix_open(f);
		drop(f);
	}
}

static void
test_an_unknown_point_is_told(void **state)
{
	struct journalfix *f = *state;
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		close(2);
		setenv("BELLHOP_TEST_CRASH", "lunch:1", 1);
		journalfix_open(f);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 1);
}

#define T(test) cmocka_unit_test_setup_teardown(test, \
	journalfix_setup_fault, journalfix_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(test_failed_commit_acknowledges_nothing),
	    T(test_full_disk_has_its_own_code),
	    T(test_failure_lasts_while_the_disk_fails),
	    T(test_void_takes_back_from_both_batches),
	    T(test_void_while_the_retry_is_under_way),
	    T(test_an_empty_retry_still_proves_the_disk),
	    T(test_close_on_a_dead_disk_ends),
	    T(test_close_tries_once_more),
	    cmocka_unit_test(test_each_failing_write),
	    cmocka_unit_test(test_each_torn_write),
	    cmocka_unit_test(test_each_failing_sync),
	    T(test_commit_mode_syncs_each_commit),
	    T(test_relaxed_mode_syncs_within_a_second),
	    T(test_relaxed_close_syncs),
	    T(test_relaxed_failed_sync_is_made_good),
	    T(test_failing_checkpoint_harms_nobody),
	    cmocka_unit_test(test_killed_at_each_point),
	    cmocka_unit_test_setup_teardown(test_an_unknown_point_is_told,
		journalfix_setup_closed, journalfix_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
