/* SPDX-License-Identifier: MIT */
/*
 * A mailbox: the one way that threads talk. Any thread may send; one thread
 * takes. The sender wakes the receiver when the box was empty; the receiver
 * takes everything at once and works unlocked. A sent message belongs to the
 * receiver.
 */
#ifndef RT_MBOX_H
#define RT_MBOX_H

#include <pthread.h>
#include <stdbool.h>

/* First member of every message. */
struct mail {
	struct mail *next;
};

struct mbox {
	pthread_mutex_t lock;
	pthread_cond_t filled;
	struct mail *head;
	struct mail **tail;
	void (*wake)(void *arg);	/* NULL: the receiver uses mbox_wait */
	void *arg;
};

/* wake is called unlocked, on the sender's thread, when the box was empty:
 * for a libev loop, an ev_async_send. */
void mbox_init(struct mbox *m, void (*wake)(void *arg), void *arg);
void mbox_done(struct mbox *m);

void mbox_send(struct mbox *m, struct mail *msg);
/* A chain from first to last (linked by next, last->next is NULL). */
void mbox_send_chain(struct mbox *m, struct mail *first, struct mail *last);
/* Everything that is there, oldest first, or NULL. */
struct mail *mbox_take(struct mbox *m);
/* The same, but waits until there is something. */
struct mail *mbox_wait(struct mbox *m);

#endif
