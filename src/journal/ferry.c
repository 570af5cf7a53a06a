/* SPDX-License-Identifier: MIT */
#include "journal/ferry.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/xalloc.h"
#include "journal/ferry_sql.h"
#include "journal/lock.h"
#include "rt/mbox.h"
#include "rt/thr.h"

/* A request on its way; without one: the end. */
struct errand {
	struct mail mail;
	struct bh_local *r;
};

struct ferry {
	char *dir;
	int lock_fd;
	pthread_t thread;
	struct mbox out, back;
	size_t under_way;
	struct ferry_db *db;		/* the thread's */
};

static int
work(struct ferry *f, struct bh_local *r, struct err *e)
{
	/* A store that is not there has nothing to move. */
	if (!f->db && ferry_db_open(&f->db, f->dir, r->op !=
	    BH_LOCAL_BEGIN || r->down, e) < 0)
		return -1;
	if (!f->db)
		return 0;
	return ferry_do(f->db, r, e);
}

static void *
ferry_main(void *arg)
{
	struct ferry *f = arg;
	struct mail *m, *next;
	bool end = false;

	while (!end) {
		for (m = mbox_wait(&f->out); m; m = next) {
			struct errand *a = (struct errand *)m;
			struct err e = ERR_INIT;

			next = m->next;
			if (!a->r) {
				end = true;
				free(a);
				continue;
			}
			if (end) {
				a->r->req.status = BH_E_CANCELED;
			} else if (work(f, a->r, &e) < 0) {
				a->r->req.status = e.code;
				snprintf(a->r->req.text,
				    sizeof(a->r->req.text), "%s", e.text);
			}
			m->next = NULL;
			mbox_send(&f->back, m);
		}
	}
	ferry_db_close(&f->db);
	return NULL;
}

int
ferry_open(struct ferry **ret, const char *dir, void (*wake)(void *arg),
    void *arg, struct err *e)
{
	struct ferry *f = xcalloc(1, sizeof(*f));

	f->lock_fd = -1;
	if (lock_take(dir, &f->lock_fd, e) < 0) {
		free(f);
		return -1;
	}
	f->dir = xstrdup(dir);
	mbox_init(&f->out, NULL, NULL);
	mbox_init(&f->back, wake, arg);
	thr_start(&f->thread, "ferry", ferry_main, f);
	*ret = f;
	return 0;
}

static void
send_errand(struct ferry *f, struct bh_local *r)
{
	struct errand *a = xcalloc(1, sizeof(*a));

	a->r = r;
	mbox_send(&f->out, &a->mail);
}

void
ferry_send(struct ferry *f, struct bh_local *r)
{
	r->req.status = BH_OK;
	*r->req.text = '\0';
	f->under_way++;
	send_errand(f, r);
}

void
ferry_take(struct ferry *f)
{
	struct mail *m, *next;

	for (m = mbox_take(&f->back); m; m = next) {
		struct errand *a = (struct errand *)m;
		struct bh_local *r = a->r;

		next = m->next;
		free(a);
		f->under_way--;
		r->req.done(&r->req);
	}
}

void
ferry_close(struct ferry **fp)
{
	struct ferry *f = *fp;

	if (!f)
		return;
	*fp = NULL;
	send_errand(f, NULL);
	thr_join(f->thread);
	/* Whoever is told may not ask again: nobody would answer. */
	ferry_take(f);
	mbox_done(&f->out);
	mbox_done(&f->back);
	lock_drop(&f->lock_fd);
	free(f->dir);
	free(f);
}

void
ferry_free_rows(struct bh_local *r)
{
	ferry_rows_free(r);
}
