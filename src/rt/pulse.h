/* SPDX-License-Identifier: MIT */
/*
 * A thread's heartbeat: since when it has been at one piece of work. The
 * thread beats when it begins one and rests before it waits for the next; any
 * other thread may look how long the last beat is ago.
 */
#ifndef RT_PULSE_H
#define RT_PULSE_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/clock.h"

struct pulse {
	atomic_llong since_us;		/* mono; 0 at rest */
};

static inline void
pulse_beat(struct pulse *p)
{
	atomic_store_explicit(&p->since_us, clock_mono_us(),
	    memory_order_relaxed);
}

static inline void
pulse_rest(struct pulse *p)
{
	atomic_store_explicit(&p->since_us, 0, memory_order_relaxed);
}

/* How long it has been at one thing; 0 at rest. */
static inline int64_t
pulse_busy_ms(const struct pulse *p)
{
	int64_t since = atomic_load_explicit(&p->since_us,
	    memory_order_relaxed);

	return since ? (clock_mono_us() - since) / 1000 : 0;
}

#endif
