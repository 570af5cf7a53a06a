/* SPDX-License-Identifier: MIT */
/*
 * The local store as a place that things move from and to, while another
 * backend is at work: the requests of struct bh_local (plugin.h), done by a
 * thread of its own with a connection of its own. It holds the lock of the
 * state directory, as a daemon that uses the store itself would.
 *
 * The table `moved` says where the store's things are:
 *
 *     none ──BEGIN up──► up ──the store is opened as a store──► none
 *       ▲                 │
 *       └──END── down ◄───┘ BEGIN down
 *
 * A store that is on its way down is half here, half there, and not opened.
 *
 * For the main thread, which never waits for it but in open and close.
 */
#ifndef JOURNAL_FERRY_H
#define JOURNAL_FERRY_H

#include "base/attr.h"
#include "base/err.h"

struct ferry;

/* Takes the lock; wake is called on the ferry's thread. */
MUSTCHECK int ferry_open(struct ferry **ret, const char *dir,
    void (*wake)(void *arg), void *arg, struct err *e);
/* Requests under way are ended with BH_E_CANCELED. */
void ferry_close(struct ferry **f);
void ferry_send(struct ferry *f, struct bh_local *r);
/* Calls done() of what has been done. */
void ferry_take(struct ferry *f);
/* What a READ gave. Any time after its done(). */
void ferry_free_rows(struct bh_local *r);

#endif
