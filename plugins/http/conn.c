/* SPDX-License-Identifier: MIT */
#include "http/conn.h"

#include <stdlib.h>
#include <string.h>

#include "http/text.h"

/* Who reads slower than this is not waited for. */
#define BYTES_PER_S 16384.0

static void
arm(struct conn_set *s, double due)
{
	double in = due - ev_now(s->loop);

	if (s->timer_at > 0 && s->timer_at <= due)
		return;
	ev_timer_stop(s->loop, &s->timer);
	ev_timer_set(&s->timer, in > 0.001 ? in : 0.001, 0);
	ev_timer_start(s->loop, &s->timer);
	s->timer_at = due;
}

static void
sweep(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct conn_set *s = timer->data;
	double now = ev_now(loop), next = 0;

	(void)events;
	s->timer_at = 0;
	for (int p = 0; p < PHASES; p++) {
		struct web_conn *c, *then;

		for (c = TAILQ_FIRST(&s->phase[p]); c && c->due > 0; c = then) {
			then = TAILQ_NEXT(c, entry);
			if (c->due <= now) {
				s->late(c);
				continue;
			}
			if (next == 0 || c->due < next)
				next = c->due;
			if (p != PHASE_SENDING)
				break;
		}
	}
	if (next > 0)
		arm(s, next);
}

void
conn_set_init(struct conn_set *s, struct ev_loop *loop,
    void (*late)(struct web_conn *c))
{
	s->loop = loop;
	s->late = late;
	for (int p = 0; p < PHASES; p++)
		TAILQ_INIT(&s->phase[p]);
	ev_init(&s->timer, sweep);
	s->timer.data = s;
}

void
conn_set_done(struct conn_set *s)
{
	ev_timer_stop(s->loop, &s->timer);
}

struct web_conn *
conn_new(struct conn_set *s, struct web *w, int fd,
    const struct bh_peer *peer)
{
	size_t len = strlen(peer->name);
	struct web_conn *c = mem_new(sizeof(*c) + len + 1);

	memcpy(c->name, peer->name, len);
	c->web = w;
	c->fd = fd;
	c->is_unix = peer->is_unix;
	c->loopback = peer->loopback;
	c->phase = PHASE_NEW;
	TAILQ_INSERT_TAIL(&s->phase[PHASE_NEW], c, entry);
	s->count++;
	conn_enter(s, c, PHASE_NEW, 0);
	return c;
}

void
conn_free(struct conn_set *s, struct web_conn *c)
{
	ev_io_stop(s->loop, &c->watch);
	TAILQ_REMOVE(&s->phase[c->phase], c, entry);
	s->count--;
	free(c->local);
	free(c);
}

void
conn_enter(struct conn_set *s, struct web_conn *c, enum phase phase,
    size_t bytes)
{
	double now = ev_now(s->loop);

	TAILQ_REMOVE(&s->phase[c->phase], c, entry);
	TAILQ_INSERT_TAIL(&s->phase[phase], c, entry);
	c->phase = phase;
	switch (phase) {
	case PHASE_NEW:
	case PHASE_HEAD:
		c->due = now + s->request_s;
		break;
	case PHASE_REST:
		c->due = now + s->rest_s;
		break;
	case PHASE_SENDING:
		c->due = now + s->request_s + (double)bytes / BYTES_PER_S;
		break;
	default:
		c->due = 0;
	}
	if (c->due > 0)
		arm(s, c->due);
}
