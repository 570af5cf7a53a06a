/* SPDX-License-Identifier: MIT */
/* Commands about when a key expires. */
#include "base/str.h"
#include "keys/part.h"

enum { IF_NX = 1, IF_XX = 2, IF_GT = 4, IF_LT = 8 };

static bool
parse_flags(struct kcall *c, unsigned *ret)
{
	static const char *const words[] = {"NX", "XX", "GT", "LT"};
	unsigned flags = 0;

	for (size_t i = 3; i < c->argc; i++) {
		struct bh_bytes w = c->argv[i];
		size_t k = 0;

		while (k < nitems(words) && !str_is(w.data, w.len, words[k]))
			k++;
		if (k == nitems(words)) {
			put_error(c, "ERR Unsupported option %.*s",
			    (int)(w.len > 128 ? 128 : w.len), w.data);
			return false;
		}
		flags |= 1u << k;
	}
	if ((flags & IF_NX) && (flags & ~(unsigned)IF_NX)) {
		put_error(c, "ERR NX and XX, GT or LT options at the same time"
		    " are not compatible");
		return false;
	}
	if ((flags & IF_GT) && (flags & IF_LT)) {
		put_error(c, "ERR GT and LT options at the same time are not"
		    " compatible");
		return false;
	}
	*ret = flags;
	return true;
}

/* Whether the flags let an expiry at `old` (0 never) become one at `at`. */
static bool
flags_allow(unsigned flags, int64_t old, int64_t at)
{
	if ((flags & IF_NX) && old)
		return false;
	if ((flags & IF_XX) && !old)
		return false;
	if ((flags & IF_GT) && (!old || at <= old))
		return false;
	return !((flags & IF_LT) && old && at >= old);
}

static void
expire(struct kcall *c, bool seconds, bool absolute)
{
	int64_t now = c->ks->wall_ms, at;
	unsigned flags;
	struct key *k;

	if (!parse_flags(c, &flags) || !arg_number(c, 2, &at))
		return;
	if ((seconds && __builtin_mul_overflow(at, INT64_C(1000), &at)) ||
	    (!absolute && __builtin_add_overflow(at, now, &at))) {
		put_bad_expire(c);
		return;
	}
	k = key_peek(c, c->argv[1]);
	if (!k || !flags_allow(flags, key_expiry(k), at)) {
		put_int(c, 0);
		return;
	}
	if (at <= now)
		key_delete(c, k);
	else
		key_set_expiry(c, k, at);
	put_int(c, 1);
}

void
k_expire(struct kcall *c)
{
	expire(c, true, false);
}

void
k_pexpire(struct kcall *c)
{
	expire(c, false, false);
}

void
k_expireat(struct kcall *c)
{
	expire(c, true, true);
}

void
k_pexpireat(struct kcall *c)
{
	expire(c, false, true);
}

static void
tell(struct kcall *c, bool seconds, bool absolute)
{
	struct key *k = key_peek(c, c->argv[1]);
	int64_t at = k ? key_expiry(k) : 0;

	if (!at) {
		put_int(c, k ? -1 : -2);
		return;
	}
	if (!absolute)
		at -= c->ks->wall_ms;
	put_int(c, seconds ? at / 1000 + (at % 1000 >= 500) : at);
}

void
k_ttl(struct kcall *c)
{
	tell(c, true, false);
}

void
k_pttl(struct kcall *c)
{
	tell(c, false, false);
}

void
k_expiretime(struct kcall *c)
{
	tell(c, true, true);
}

void
k_pexpiretime(struct kcall *c)
{
	tell(c, false, true);
}

void
k_persist(struct kcall *c)
{
	struct key *k = key_peek(c, c->argv[1]);

	if (!k || !key_expiry(k)) {
		put_int(c, 0);
		return;
	}
	key_set_expiry(c, k, 0);
	put_int(c, 1);
}
