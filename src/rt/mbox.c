/* SPDX-License-Identifier: MIT */
#include "rt/mbox.h"

#include <stddef.h>

#include "base/die.h"

void
mbox_init(struct mbox *m, void (*wake)(void *arg), void *arg)
{
	CHECK(pthread_mutex_init(&m->lock, NULL) == 0);
	CHECK(pthread_cond_init(&m->filled, NULL) == 0);
	m->head = NULL;
	m->tail = &m->head;
	m->wake = wake;
	m->arg = arg;
}

void
mbox_done(struct mbox *m)
{
	CHECK(m->head == NULL);
	CHECK(pthread_cond_destroy(&m->filled) == 0);
	CHECK(pthread_mutex_destroy(&m->lock) == 0);
}

void
mbox_send(struct mbox *m, struct mail *msg)
{
	msg->next = NULL;
	mbox_send_chain(m, msg, msg);
}

void
mbox_send_chain(struct mbox *m, struct mail *first, struct mail *last)
{
	bool was_empty;

	CHECK(last->next == NULL);
	CHECK(pthread_mutex_lock(&m->lock) == 0);
	was_empty = m->head == NULL;
	*m->tail = first;
	m->tail = &last->next;
	if (was_empty && !m->wake)
		CHECK(pthread_cond_signal(&m->filled) == 0);
	CHECK(pthread_mutex_unlock(&m->lock) == 0);
	if (was_empty && m->wake)
		m->wake(m->arg);
}

/* Empties the box; the lock is held. */
static struct mail *
take_all(struct mbox *m)
{
	struct mail *all = m->head;

	m->head = NULL;
	m->tail = &m->head;
	return all;
}

struct mail *
mbox_take(struct mbox *m)
{
	struct mail *all;

	CHECK(pthread_mutex_lock(&m->lock) == 0);
	all = take_all(m);
	CHECK(pthread_mutex_unlock(&m->lock) == 0);
	return all;
}

struct mail *
mbox_wait(struct mbox *m)
{
	struct mail *all;

	CHECK(m->wake == NULL);
	CHECK(pthread_mutex_lock(&m->lock) == 0);
	while (!m->head)
		CHECK(pthread_cond_wait(&m->filled, &m->lock) == 0);
	all = take_all(m);
	CHECK(pthread_mutex_unlock(&m->lock) == 0);
	return all;
}
