/* SPDX-License-Identifier: MIT */
/*
 * The event loop of a thread. Each iteration calls the turn, then sleeps
 * until a descriptor is ready, a signal or a wake comes, or until the time
 * that the turn answered with. There is no other timer.
 *
 * All but loop_wake() belong to the thread that runs the loop.
 */
#ifndef RT_LOOP_H
#define RT_LOOP_H

#include <stdint.h>

struct ev_loop;
struct loop;

struct loop *loop_new(void);
void loop_free(struct loop **l);

/* woke (may be NULL) is called after each sleep, before the callbacks of
 * descriptors and signals; turn after them. turn answers with the mono ms (clock_now) of the next thing that is due;
 * INT64_MAX: nothing is. A time that has passed means "again, at once". */
void loop_on_turn(struct loop *l, void (*woke)(void *arg),
    int64_t (*turn)(void *arg), void *arg);
/* fn is called in the loop, not in the signal's context. */
void loop_on_signal(struct loop *l, int signo, void (*fn)(void *arg, int signo),
    void *arg);

/* Runs until loop_stop(). */
void loop_run(struct loop *l);
void loop_stop(struct loop *l);
/* One iteration, for tests: sleeps at most max_ms. */
void loop_once(struct loop *l, int64_t max_ms);

/* Any thread: there will be another turn. */
void loop_wake(struct loop *l);

/* For watchers of one's own, where ev.h may be included. */
struct ev_loop *loop_ev(struct loop *l);

#endif
