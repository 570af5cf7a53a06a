/* SPDX-License-Identifier: MIT */
#include "suite.h"

#include <ftw.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/die.h"
#include "base/xalloc.h"

/* A backend that needs more turns than this for one answer is spinning. */
#define TURNS_MAX 50000
/* Real milliseconds without any news after which it is given up. */
#define PATIENCE_MS 10000

static const struct suite_backend *suite_backend;
/* Threads of the backend may read the clock too. */
static int64_t now_wall, now_mono;

static struct clock_time
suite_clock(void)
{
	return (struct clock_time){
	    __atomic_load_n(&now_wall, __ATOMIC_RELAXED),
	    __atomic_load_n(&now_mono, __ATOMIC_RELAXED)};
}

static void
clock_publish(const struct suite_env *t)
{
	__atomic_store_n(&now_wall, t->wall, __ATOMIC_RELAXED);
	__atomic_store_n(&now_mono, t->mono, __ATOMIC_RELAXED);
}

void
suite_wake(void *arg)
{
	struct suite_env *t = arg;
	uint64_t one = 1;

	/* A full counter wakes as well. */
	if (write(t->wake_fd, &one, sizeof(one)) < 0)
		return;
}

/* True when woken within ms real milliseconds. */
static bool
wake_await(struct suite_env *t, int ms)
{
	struct pollfd p = {.fd = t->wake_fd, .events = POLLIN};
	uint64_t n;

	if (t->backend->wait)
		return t->backend->wait(t, ms);
	if (poll(&p, 1, ms) <= 0)
		return false;
	return read(t->wake_fd, &n, sizeof(n)) == (ssize_t)sizeof(n);
}

/* As in the daemon, verbs come between the two halves of a turn. */
void
suite_begin(struct suite_env *t)
{
	clock_publish(t);
	if (!t->in_turn)
		t->ops->turn_begin(t->be, t->wall, t->mono);
	t->in_turn = true;
}

void
suite_turn(struct suite_env *t)
{
	if (t->backend->wait && !t->in_turn)
		(void)t->backend->wait(t, 0);
	suite_begin(t);
	t->in_turn = false;
	t->next = t->ops->turn_end(t->be);
	if (t->fault[0])
		fail_msg("%s", t->fault);
}

/* Whether a real loop would turn again at this very moment: something is due,
 * or the backend's threads have woken it. */
static bool
turn_wanted(struct suite_env *t, bool hoping)
{
	if (t->next <= t->mono)
		return true;
	if (!t->ops->idle(t->be)) {
		if (!wake_await(t, PATIENCE_MS))
			fail_msg("the backend waits for its disk, and nobody"
			    " wakes the loop");
		return true;
	}
	return wake_await(t, hoping ? 200 : 0);
}

/* Turns until c is answered (NULL: never), or nothing moves any more. */
static void
turns_until(struct suite_env *t, const struct call *c)
{
	int turns = 0;

	/* A wake-up is taken only where a turn follows. */
	do {
		if (turns++ == TURNS_MAX)
			fail_msg("after %d turns at one moment there is still"
			    " something due", TURNS_MAX);
		suite_turn(t);
	} while (!(c && c->answers) && turn_wanted(t, c != NULL));
}

void
suite_settle(struct suite_env *t)
{
	turns_until(t, NULL);
}

void
call_wait(struct call *c)
{
	if (!c->answers && (c->t->in_turn || turn_wanted(c->t, true)))
		turns_until(c->t, c);
	if (!c->answers)
		fail_msg("%s was not answered", c->verb);
}

/* No turn that the daemon would not make, so that a missing wake-up shows. */
bool
call_answered(struct call *c)
{
	if (c->t->in_turn || turn_wanted(c->t, false))
		suite_settle(c->t);
	return c->answers;
}

void
suite_pass(struct suite_env *t, int64_t ms)
{
	int64_t end = t->mono + ms;

	suite_settle(t);
	while (t->mono < end) {
		int64_t step = (t->next < end ? t->next : end) - t->mono;

		t->mono += step;
		t->wall += step;
		if (turn_wanted(t, false))
			suite_settle(t);
	}
}

void
suite_jump(struct suite_env *t, int64_t ms)
{
	suite_settle(t);
	t->wall += ms;
	/* The daemon hears of it from a timer of the system's. */
	suite_settle(t);
}

/* --- events --- */

static void
told_cancelled(void *arg, int64_t id, uint64_t token, struct bh_bytes reason)
{
	struct suite_env *t = arg;
	struct told *n = arena_alloc(&t->arena, sizeof(*n));

	n->cancelled = true;
	n->token = token;
	n->reason = arena_bytes(&t->arena, reason);
	n->cb.job = id;
	TAILQ_INSERT_TAIL(&t->told, n, link);
}

static void
told_callback(void *arg, const struct bh_callback *cb)
{
	struct suite_env *t = arg;
	struct told *n = arena_alloc(&t->arena, sizeof(*n));

	n->cb = *cb;
	n->cb.queue = arena_bytes(&t->arena, cb->queue);
	n->cb.payload = arena_bytes(&t->arena, cb->payload);
	n->cb.result = arena_bytes(&t->arena, cb->result);
	n->cb.error = arena_bytes(&t->arena, cb->error);
	TAILQ_INSERT_TAIL(&t->told, n, link);
}

static void
told_job(void *arg, const struct bh_job_event *ev)
{
	struct suite_env *t = arg;
	struct heard *h = arena_alloc(&t->arena, sizeof(*h));

	h->ev = *ev;
	h->ev.queue = arena_bytes(&t->arena, ev->queue);
	h->ev.progress = arena_bytes(&t->arena, ev->progress);
	h->ev.error = arena_bytes(&t->arena, ev->error);
	TAILQ_INSERT_TAIL(&t->heard, h, link);
}

static int64_t
told_message(void *arg, struct bh_bytes topic, struct bh_bytes text)
{
	struct suite_env *t = arg;
	struct message *m = arena_alloc(&t->arena, sizeof(*m));

	m->topic = arena_bytes(&t->arena, topic);
	m->text = arena_bytes(&t->arena, text);
	TAILQ_INSERT_TAIL(&t->messages, m, link);
	return t->receivers;
}

static const struct bh_events suite_events = {
	.cancelled = told_cancelled,
	.callback = told_callback,
	.job = told_job,
	.message = told_message,
};

struct told *
told_next(struct suite_env *t)
{
	struct told *n;

	suite_settle(t);
	n = TAILQ_FIRST(&t->told);
	if (n)
		TAILQ_REMOVE(&t->told, n, link);
	return n;
}

const struct bh_job_event *
heard_next(struct suite_env *t)
{
	struct heard *h;

	suite_settle(t);
	h = TAILQ_FIRST(&t->heard);
	if (!h)
		return NULL;
	TAILQ_REMOVE(&t->heard, h, link);
	return &h->ev;
}

const struct message *
message_next(struct suite_env *t)
{
	struct message *m;

	suite_settle(t);
	m = TAILQ_FIRST(&t->messages);
	if (m)
		TAILQ_REMOVE(&t->messages, m, link);
	return m;
}

/* --- a test's life --- */

static void
listen_all(struct suite_env *t)
{
	t->ops->listen(t->be, &suite_events, t);
	if (t->ops->subscribe)
		t->ops->subscribe(t->be, bytes("*"), true);
}

static void
reopen_with(struct suite_env *t, void *(*how)(struct suite_env *, void *),
    int64_t down_ms)
{
	t->wall += down_ms;
	t->mono = 7000 + t->mono % 1000;
	clock_publish(t);
	t->be = how(t, t->be);
	t->in_turn = false;
	assert_non_null(t->be);
	listen_all(t);
	suite_settle(t);
}

void
suite_reopen(struct suite_env *t, int64_t down_ms)
{
	suite_settle(t);
	reopen_with(t, t->backend->reopen, down_ms);
}

void
suite_crash(struct suite_env *t, int64_t down_ms)
{
	suite_settle(t);
	reopen_with(t, t->backend->crash, down_ms);
}

void
suite_crash_now(struct suite_env *t)
{
	reopen_with(t, t->backend->crash, 0);
}

static void
dir_make(char *dir, size_t size)
{
	const char *base = getenv("TMPDIR");

	snprintf(dir, size, "%s/bellhop-suite-XXXXXX", base ? base : P_tmpdir);
	CHECK(mkdtemp(dir));
}

static int
entry_remove(const char *path, const struct stat *st, int type,
    struct FTW *where)
{
	(void)st;
	(void)type;
	(void)where;
	return remove(path);
}

static void
dir_remove(const char *dir)
{
	nftw(dir, entry_remove, 16, FTW_DEPTH | FTW_PHYS);
}

static int
env_setup(void **state)
{
	struct suite_env *t = xcalloc(1, sizeof(*t));

	t->backend = suite_backend;
	t->ops = suite_backend->ops;
	t->wall = INT64_C(1790000000000);
	t->mono = 5000000;
	TAILQ_INIT(&t->calls);
	TAILQ_INIT(&t->told);
	TAILQ_INIT(&t->heard);
	TAILQ_INIT(&t->messages);
	t->qopts = qopts_new();
	t->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	CHECK(t->wake_fd >= 0);
	dir_make(t->dir, sizeof(t->dir));
	clock_publish(t);
	t->be = t->backend->open(t);
	*state = t;
	if (!t->be)
		return -1;
	listen_all(t);
	return 0;
}

/* The answered request must be as the answer left it. */
static bool
poison_intact(const struct call *c)
{
	const unsigned char *p = (const unsigned char *)c->u;

	for (size_t i = sizeof(struct bh_req); i < sizeof(*c->u); i++) {
		if (p[i] != 0xa5)
			return false;
	}
	return true;
}

static int
calls_end(struct suite_env *t)
{
	struct call *c;
	int bad = 0;

	while ((c = TAILQ_FIRST(&t->calls))) {
		TAILQ_REMOVE(&t->calls, c, link);
		if (c->answers != 1) {
			print_error("%s: done() was called %d times until the"
			    " backend was closed\n", c->verb, c->answers);
			bad = -1;
		} else if (!poison_intact(c)) {
			print_error("%s: the request was written to after"
			    " done()\n", c->verb);
			bad = -1;
		}
		arena_done(&c->inputs);
		free(c->u);
		free(c);
	}
	return bad;
}

static int
env_teardown(void **state)
{
	struct suite_env *t = *state;
	int bad;

	if (t->be)
		t->ops->close(t->be);
	bad = calls_end(t);
	if (t->fault[0]) {
		print_error("%s\n", t->fault);
		bad = -1;
	}
	arena_done(&t->arena);
	qopts_free(&t->qopts);
	close(t->wake_fd);
	dir_remove(t->dir);
	free(t);
	return bad;
}

/* --- the run --- */

static const struct suite_case *const suite_themes[] = {
	suite_put_cases, suite_reserve_cases, suite_finish_cases,
	suite_retry_cases, suite_lease_cases, suite_time_cases,
	suite_unique_cases, suite_group_cases, suite_gate_cases,
	suite_share_cases, suite_keep_cases, suite_failed_cases,
	suite_read_cases, suite_alter_cases, suite_callback_cases,
	suite_event_cases, suite_batch_cases,
	suite_reopen_cases, suite_recover_cases, suite_storm_cases,
	suite_schedule_cases, suite_misfire_cases,
	suite_step_cases, suite_chain_cases, suite_key_cases,
	suite_key_bag_cases, suite_key_list_cases, suite_stream_cases,
	suite_key_tx_cases,
};

static bool
theme_applies(const struct suite_case *theme)
{
	if (theme == suite_schedule_cases || theme == suite_misfire_cases)
		return suite_backend->ops->schedule_put;
	if (theme == suite_key_cases || theme == suite_key_bag_cases ||
	    theme == suite_key_list_cases || theme == suite_stream_cases ||
	    theme == suite_key_tx_cases)
		return suite_backend->ops->key_command;
	return true;
}

static bool
case_applies(const struct suite_case *c)
{
	if (c->needs == SUITE_STORAGE)
		return suite_backend->reopen;
	if (c->needs == SUITE_CRASH)
		return suite_backend->crash;
	if (c->needs == SUITE_BATCHES)
		return suite_backend->batches;
	if (c->needs == SUITE_KEYSPACE)
		return suite_backend->crash && !suite_backend->own_clock;
	return true;
}

int
suite_main(const struct suite_backend *b, int argc, char **argv)
{
	struct CMUnitTest *tests = NULL;
	size_t n = 0;
	int failed;

	suite_backend = b;
	clock_set_source(suite_clock);
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	for (size_t i = 0; i < nitems(suite_themes); i++) {
		const struct suite_case *c = suite_themes[i];

		for (; c->name; c++) {
			if (!theme_applies(suite_themes[i]) ||
			    !case_applies(c))
				continue;
			tests = xrealloc(tests, (n + 1) * sizeof(*tests));
			tests[n++] = (struct CMUnitTest){c->name, c->run,
			    env_setup, env_teardown, NULL};
		}
	}
	failed = _cmocka_run_group_tests(b->name, tests, n, NULL, NULL);
	free(tests);
	return failed;
}
