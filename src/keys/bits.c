/* SPDX-License-Identifier: MIT */
/* Commands of single bits in strings. Bit 0 is the highest one of byte 0. */
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "base/xalloc.h"
#include "keys/bits.h"

static bool
is(struct bh_bytes v, const char *word)
{
	return str_is(v.data, v.len, word);
}

bool
arg_bit_offset(struct kcall *c, struct bh_bytes v, int64_t unit,
    uint64_t *ret)
{
	bool counted = unit && v.len > 0 && v.data[0] == '#';
	int64_t at;

	if (counted) {
		v.data++;
		v.len--;
	}
	if (!num_int(v, &at) || (counted &&
	    __builtin_mul_overflow(at, unit, &at)) || at < 0 ||
	    (uint64_t)at >> 3 >= KEYS_VALUE_MAX) {
		put_error(c, "ERR bit offset is not an integer or out of"
		    " range");
		return false;
	}
	*ret = (uint64_t)at;
	return true;
}

unsigned char *
bits_edit(struct kcall *c, struct key *k, uint64_t last)
{
	size_t want = (size_t)(last >> 3) + 1;

	if (!k)
		k = key_store(c, c->argv[1], kval_new("", 0), false);
	return (unsigned char *)key_edit(k, want > k->str->len ? want :
	    k->str->len);
}

void
k_setbit(struct kcall *c)
{
	unsigned char *bytes, bit;
	uint64_t at;
	int64_t on;
	struct key *k;
	bool was;

	if (!arg_bit_offset(c, c->argv[2], 0, &at) ||
	    !arg_range(c, 3, 0, 1, "bit is not an integer or out of range",
	    &on) || !key_find_as(c, c->argv[1], KEY_STRING, &k))
		return;
	bytes = bits_edit(c, k, at);
	bit = (unsigned char)(0x80 >> (at & 7));
	was = bytes[at >> 3] & bit;
	if (on)
		bytes[at >> 3] |= bit;
	else
		bytes[at >> 3] &= (unsigned char)~bit;
	if (!k)
		k = key_peek(c, c->argv[1]);
	key_changed(c, k);
	put_int(c, was);
}

static bool
bit_at(const struct kval *v, uint64_t at)
{
	return at >> 3 < v->len &&
	    v->data[at >> 3] & (char)(0x80 >> (at & 7));
}

void
k_getbit(struct kcall *c)
{
	uint64_t at;
	struct key *k;

	if (arg_bit_offset(c, c->argv[2], 0, &at) &&
	    key_find_as(c, c->argv[1], KEY_STRING, &k))
		put_int(c, k && bit_at(k->str, at));
}

/* --- ranges --- */

/* Bits from … to (both in it) of so many. */
struct span {
	int64_t from, to, len;
	bool in_bits;
};

/* BYTE or BIT, if that word is there. */
static bool
parse_unit(struct kcall *c, size_t i, struct span *s)
{
	if (i >= c->argc)
		return true;
	s->in_bits = is(c->argv[i], "BIT");
	if (s->in_bits || is(c->argv[i], "BYTE"))
		return true;
	put_syntax(c);
	return false;
}

/* Negative ones count from the end; then all in bits. False: it is empty. */
static bool
settle(struct span *s)
{
	int64_t len = s->in_bits ? s->len * 8 : s->len;

	if (s->from < 0)
		s->from += len;
	if (s->to < 0)
		s->to += len;
	if (s->from < 0)
		s->from = 0;
	if (s->to < 0)
		s->to = 0;
	if (s->to >= len)
		s->to = len - 1;
	if (s->from > s->to)
		return false;
	if (!s->in_bits) {
		s->from *= 8;
		s->to = s->to * 8 + 7;
	}
	return true;
}

static int64_t
count_bits(const struct kval *v, const struct span *s)
{
	const unsigned char *p = (const unsigned char *)v->data;
	int64_t n = 0, at = s->from, end = s->to + 1;
	uint64_t word;

	for (; at < end && at & 7; at++)
		n += bit_at(v, (uint64_t)at);
	for (; end - at >= 64; at += 64) {
		memcpy(&word, p + (at >> 3), sizeof(word));
		n += __builtin_popcountll(word);
	}
	for (; at < end; at++)
		n += bit_at(v, (uint64_t)at);
	return n;
}

/* BITCOUNT key [start end [BYTE|BIT]] */
void
k_bitcount(struct kcall *c)
{
	struct span s = {.to = -1};
	bool nothing;
	struct key *k;

	if (!key_find_as(c, c->argv[1], KEY_STRING, &k))
		return;
	if (!k) {
		put_int(c, 0);
		return;
	}
	if (c->argc == 3 || c->argc > 5) {
		put_syntax(c);
		return;
	}
	if (c->argc > 2 && (!arg_number(c, 2, &s.from) ||
	    !arg_number(c, 3, &s.to)))
		return;
	nothing = s.from < 0 && s.to < 0 && s.from > s.to;
	if (!nothing && !parse_unit(c, 4, &s))
		return;
	s.len = k->str->len;
	put_int(c, !nothing && settle(&s) ? count_bits(k->str, &s) : 0);
}

/* Where the first bit of that value is, or -1. */
static int64_t
find_bit(const struct kval *v, const struct span *s, bool bit)
{
	const unsigned char *p = (const unsigned char *)v->data;
	unsigned char other = bit ? 0 : 0xff;
	int64_t at = s->from;

	while (at <= s->to) {
		if ((at & 7) == 0 && s->to - at >= 7 && p[at >> 3] == other)
			at += 8;
		else if (bit_at(v, (uint64_t)at) == bit)
			return at;
		else
			at++;
	}
	return -1;
}

/* BITPOS key bit [start [end [BYTE|BIT]]] */
void
k_bitpos(struct kcall *c)
{
	struct span s = {.to = -1};
	int64_t bit, at = -1;
	struct key *k;

	if (!arg_number(c, 2, &bit))
		return;
	if (bit != 0 && bit != 1) {
		put_error(c, "ERR The bit argument must be 1 or 0.");
		return;
	}
	if (!key_find_as(c, c->argv[1], KEY_STRING, &k))
		return;
	if (!k) {
		put_int(c, bit ? -1 : 0);
		return;
	}
	if (c->argc > 6) {
		put_syntax(c);
		return;
	}
	if ((c->argc > 3 && !arg_number(c, 3, &s.from)) ||
	    !parse_unit(c, 5, &s) ||
	    (c->argc > 4 && !arg_number(c, 4, &s.to)))
		return;
	s.len = k->str->len;
	if (settle(&s)) {
		at = find_bit(k->str, &s, bit != 0);
		/* Without an end, zeros follow the last byte for ever. */
		if (at < 0 && !bit && c->argc < 5)
			at = s.to + 1;
	}
	put_int(c, at);
}

/* --- BITOP --- */

enum bitop { AND, OR, XOR, NOT, BITOPS };

static enum bitop
parse_op(struct bh_bytes v)
{
	static const char *const names[BITOPS] = {"AND", "OR", "XOR", "NOT"};
	enum bitop op = AND;

	while (op < BITOPS && !is(v, names[op]))
		op++;
	return op;
}

static void
combine(unsigned char *to, size_t len, const struct kval *v, enum bitop op)
{
	size_t n = v ? v->len : 0;

	for (size_t i = 0; i < n; i++) {
		unsigned char b = (unsigned char)v->data[i];

		if (op == AND)
			to[i] &= b;
		else if (op == OR)
			to[i] |= b;
		else
			to[i] ^= b;
	}
	if (op == AND)
		memset(to + n, 0, len - n);
}

static struct kval *
calculate(struct kval **from, size_t n, enum bitop op, size_t len)
{
	struct kval *v = kval_new(NULL, len);
	unsigned char *to = (unsigned char *)v->data;

	memset(to, op == AND || op == NOT ? 0xff : 0, len);
	for (size_t i = 0; i < n; i++)
		combine(to, len, from[i], op);
	return v;
}

/* BITOP operation destination key … */
void
k_bitop(struct kcall *c)
{
	enum bitop op = parse_op(c->argv[1]);
	size_t n = c->argc - 3, len = 0;
	struct kval **from;
	struct key *k;

	if (op == BITOPS) {
		put_syntax(c);
		return;
	}
	if (op == NOT && n > 1) {
		put_error(c, "ERR BITOP NOT must be called with a single"
		    " source key.");
		return;
	}
	from = xcalloc(n, sizeof(struct kval *));
	for (size_t i = 0; i < n; i++) {
		if (!key_find_as(c, c->argv[3 + i], KEY_STRING, &k))
			goto out;
		from[i] = k ? k->str : NULL;
		if (k && k->str->len > len)
			len = k->str->len;
	}
	if (len > 0)
		key_store(c, c->argv[2], calculate(from, n, op, len), false);
	else if ((k = key_peek(c, c->argv[2])))
		key_delete(c, k);
	put_int(c, (int64_t)len);
out:
	free(from);
}
