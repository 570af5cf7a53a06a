/* SPDX-License-Identifier: MIT */
#include "keys/inner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/die.h"
#include "base/str.h"
#include "base/xalloc.h"
#include "keys/throttle.h"

enum { SLICE_US = 1000 };

bool
slice_over(int64_t began_us)
{
	return clock_mono_us() - began_us >= SLICE_US;
}

/* --- what is no command of the keyspace --- */

static void
k_publish(struct kcall *c)
{
	const struct keys_doors *doors = &c->ks->doors;
	struct inner *in = container_of(c, struct inner, call);
	struct bh_bytes topic = c->argv[1], text = c->argv[2];
	struct inner_message *m;

	m = xmalloc(sizeof(*m) + topic.len + text.len);
	m->next = NULL;
	m->topic_len = topic.len;
	m->len = text.len;
	if (topic.len)
		memcpy(m->text, topic.data, topic.len);
	if (text.len)
		memcpy(m->text + topic.len, text.data, text.len);
	*in->messages_tail = m;
	in->messages_tail = &m->next;
	put_int(c, doors->receivers ? doors->receivers(doors->arg, topic) : 0);
}

/* A part of a second counts as one. */
static int64_t
seconds(int64_t ms)
{
	return ms < 0 ? -1 : ms / 1000 + (ms % 1000 != 0);
}

static void
k_throttle(struct kcall *c)
{
	struct bh_window w = {0};
	struct bh_throttle r = {.key = c->argv[1], .quantity = 1,
	    .windows = &w, .nwindows = 1};
	int64_t period_s;

	if (c->argc > 6 || !c->ks->doors.throttle) {
		put_syntax(c);
		return;
	}
	if (!arg_number(c, 2, &w.burst) || !arg_number(c, 3, &w.limit) ||
	    !arg_number(c, 4, &period_s) ||
	    (c->argc == 6 && !arg_number(c, 5, &r.quantity)))
		return;
	if (w.burst < INT64_MAX)
		w.burst++;
	if (__builtin_mul_overflow(period_s, INT64_C(1000), &w.per_ms))
		w.per_ms = -1;
	if (throttle_take(c->ks->doors.throttle, &r, clock_mono_us()) < 0) {
		put_error(c, "%s %s", err_word(r.req.status), r.req.text);
		return;
	}
	put_array(c, 5);
	put_int(c, !r.allowed);
	put_int(c, w.burst);
	put_int(c, w.remaining);
	put_int(c, seconds(w.retry_ms));
	put_int(c, seconds(w.reset_ms));
}

static void
k_ping(struct kcall *c)
{
	if (c->argc > 2)
		put_error(c, "ERR wrong number of arguments for 'ping'"
		    " command");
	else if (c->argc == 2)
		put_bytes(c, c->argv[1].data, c->argv[1].len);
	else
		put_status(c, "PONG");
}

static void
k_echo(struct kcall *c)
{
	put_bytes(c, c->argv[1].data, c->argv[1].len);
}

static void
k_select(struct kcall *c)
{
	int64_t n;

	if (!arg_number(c, 1, &n))
		return;
	if (n != 0)
		put_error(c, "ERR DB index is out of range");
	else
		put_ok(c);
}

static void
k_time(struct kcall *c)
{
	int64_t ms = c->ks->wall_ms + clock_mono_us() / 1000 -
	    c->ks->mono_ms;

	put_array(c, 2);
	put_text(c, "%lld", (long long)(ms / 1000));
	put_text(c, "%lld", (long long)(ms % 1000 * 1000 +
	    clock_mono_us() % 1000));
}

static const struct kcmd others[] = {
	{"CL.THROTTLE", -5, KF_WRITE, 1, 1, 1, k_throttle},
	{"ECHO", 2, KF_FAST, 0, 0, 0, k_echo},
	{"PING", -1, KF_FAST, 0, 0, 0, k_ping},
	{"PUBLISH", 3, KF_FAST, 0, 0, 0, k_publish},
	{"SELECT", 2, KF_FAST, 0, 0, 0, k_select},
	{"TIME", 1, KF_FAST, 0, 0, 0, k_time},
};

const struct kcmd *
inner_find(struct bh_bytes name)
{
	const struct kcmd *cmd = kcmd_find(name);

	for (size_t i = 0; !cmd && i < nitems(others); i++)
		if (str_is(name.data, name.len, others[i].name))
			cmd = &others[i];
	return cmd;
}

/* --- a call --- */

void
inner_init(struct inner *in)
{
	memset(in, 0, sizeof(*in));
	in->messages_tail = &in->messages;
}

static struct inner_message *
take_message(struct inner *in)
{
	struct inner_message *m = in->messages;

	if (m)
		in->messages = m->next;
	if (!in->messages)
		in->messages_tail = &in->messages;
	return m;
}

void
inner_end(struct inner *in, struct kcall *outer)
{
	struct keys *ks = outer->ks;
	struct inner_message *m;

	if (ks->nheld > 0)
		outer->dirty = true;
	while ((m = take_message(in))) {
		if (ks->doors.publish)
			ks->doors.publish(ks->doors.arg,
			    (struct bh_bytes){m->text, m->topic_len},
			    (struct bh_bytes){m->text + m->topic_len, m->len});
		free(m);
	}
}

void
inner_done(struct inner *in)
{
	struct inner_message *m;

	while ((m = take_message(in)))
		free(m);
	if (in->goes_on)
		call_drop(&in->call);
	in->goes_on = false;
}

static bool
ended(struct inner *in, struct kcall *outer)
{
	struct kcall *c = &in->call;

	in->goes_on = false;
	call_drop(c);
	if (c->lsn > outer->lsn)
		outer->lsn = c->lsn;
	if (c->dirty)
		outer->dirty = true;
	keys_evict_now(c->ks);
	return true;
}

bool
inner_step(struct inner *in, struct kcall *outer)
{
	if (!put_gives_up(&in->call) && in->call.step(&in->call))
		return false;
	return ended(in, outer);
}

bool
inner_run(struct inner *in, struct kcall *outer, const struct kcmd *cmd,
    const struct bh_bytes *argv, size_t argc, struct kreply *re)
{
	struct kcall *c = &in->call;
	struct err refused = {0};

	*c = (struct kcall){.ks = outer->ks, .argv = argv, .argc = argc,
	    .re = re, .begin = re->n, .r = outer->r, .cmd = cmd,
	    .inner = true};
	if ((cmd->flags & KF_GROW) && !call_may_grow(c, &refused)) {
		put_error(c, "%s %s", err_word(refused.code), refused.text);
		return ended(in, outer);
	}
	cmd->fn(c);
	if (!c->step)
		return ended(in, outer);
	in->goes_on = true;
	return inner_step(in, outer);
}
