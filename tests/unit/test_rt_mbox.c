/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/xalloc.h"
#include "rt/mbox.h"
#include "rt/thr.h"

#define SENDERS 4
#define EACH 2000

struct note {
	struct mail mail;
	int from;
	int n;
};

static void
count_wake(void *arg)
{
	++*(int *)arg;
}

static void
takes_in_order(void **state)
{
	struct note notes[3] = {{.n = 0}, {.n = 1}, {.n = 2}};
	struct mbox m;
	struct mail *all;
	int wakes = 0;

	(void)state;
	mbox_init(&m, count_wake, &wakes);
	assert_null(mbox_take(&m));
	for (int i = 0; i < 3; i++)
		mbox_send(&m, &notes[i].mail);
	assert_int_equal(wakes, 1);
	all = mbox_take(&m);
	for (int i = 0; i < 3; i++, all = all->next)
		assert_int_equal(((struct note *)all)->n, i);
	assert_null(all);
	assert_null(mbox_take(&m));
	mbox_send(&m, &notes[0].mail);
	assert_int_equal(wakes, 2);
	assert_non_null(mbox_take(&m));
	mbox_done(&m);
}

static void
chains_stay_together(void **state)
{
	struct note a = {.n = 1}, b = {.n = 2}, c = {.n = 3};
	struct mbox m;
	struct mail *all;
	int wakes = 0;

	(void)state;
	mbox_init(&m, count_wake, &wakes);
	mbox_send(&m, &a.mail);
	b.mail.next = &c.mail;
	c.mail.next = NULL;
	mbox_send_chain(&m, &b.mail, &c.mail);
	all = mbox_take(&m);
	assert_ptr_equal(all, &a.mail);
	assert_ptr_equal(all->next, &b.mail);
	assert_ptr_equal(all->next->next, &c.mail);
	assert_null(all->next->next->next);
	assert_int_equal(wakes, 1);
	mbox_done(&m);
}

struct sender {
	struct mbox *to;
	int id;
	pthread_t thread;
};

static void *
send_many(void *arg)
{
	struct sender *s = arg;

	for (int i = 0; i < EACH; i++) {
		struct note *n = xmalloc(sizeof(*n));

		n->from = s->id;
		n->n = i;
		mbox_send(s->to, &n->mail);
	}
	return NULL;
}

/* Nothing is lost, nothing comes twice, and each sender's order is kept. */
static void
many_senders_one_taker(void **state)
{
	struct sender senders[SENDERS];
	int next[SENDERS] = {0};
	struct mbox m;
	int got = 0;

	(void)state;
	mbox_init(&m, NULL, NULL);
	for (int i = 0; i < SENDERS; i++) {
		senders[i] = (struct sender){.to = &m, .id = i};
		thr_start(&senders[i].thread, "sender", send_many,
		    &senders[i]);
	}
	while (got < SENDERS * EACH) {
		struct mail *all = mbox_wait(&m);

		while (all) {
			struct note *n = (struct note *)all;

			all = all->next;
			assert_int_equal(n->n, next[n->from]);
			next[n->from]++;
			got++;
			free(n);
		}
	}
	for (int i = 0; i < SENDERS; i++)
		thr_join(senders[i].thread);
	assert_null(mbox_take(&m));
	mbox_done(&m);
}

static void *
read_mask(void *arg)
{
	sigset_t mask;

	if (pthread_sigmask(SIG_SETMASK, NULL, &mask) == 0)
		*(int *)arg = sigismember(&mask, SIGTERM) == 1 &&
		    sigismember(&mask, SIGHUP) == 1;
	return NULL;
}

static void
threads_have_their_signals_blocked(void **state)
{
	sigset_t before, after;
	pthread_t t;
	int blocked = 0;

	(void)state;
	pthread_sigmask(SIG_SETMASK, NULL, &before);
	thr_start(&t, "fifteen-letters", read_mask, &blocked);
	thr_join(t);
	assert_int_equal(blocked, 1);
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	assert_int_equal(sigismember(&after, SIGTERM),
	    sigismember(&before, SIGTERM));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_in_order),
		cmocka_unit_test(chains_stay_together),
		cmocka_unit_test(many_senders_one_taker),
		cmocka_unit_test(threads_have_their_signals_blocked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
