/* SPDX-License-Identifier: MIT */
/* BITFIELD: integers of any width at any bit of a string. */
#include <stdlib.h>

#include "base/str.h"
#include "base/xalloc.h"
#include "keys/bits.h"

enum verb { GET, SET, INCRBY };
enum overflow { WRAP, SAT, FAIL };

struct field_op {
	enum verb verb;
	enum overflow overflow;
	bool is_signed;
	unsigned bits;
	uint64_t at;
	int64_t value;
};

struct field_ops {
	struct field_op *ops;
	size_t n;
	bool writes;
	uint64_t last;			/* bit that is written */
};

static bool
is(struct bh_bytes v, const char *word)
{
	return str_is(v.data, v.len, word);
}

static bool
parse_type(struct kcall *c, struct bh_bytes v, struct field_op *op)
{
	struct bh_bytes digits = {v.data + 1, v.len - 1};
	int64_t bits;

	op->is_signed = v.len > 0 && v.data[0] == 'i';
	if (v.len < 2 || (!op->is_signed && v.data[0] != 'u') ||
	    !num_int(digits, &bits) || bits < 1 || bits > 63 + op->is_signed) {
		put_error(c, "ERR Invalid bitfield type. Use something like"
		    " i16 u8. Note that u64 is not supported but i64 is.");
		return false;
	}
	op->bits = (unsigned)bits;
	return true;
}

static bool
parse_overflow(struct kcall *c, struct bh_bytes v, enum overflow *ret)
{
	if (is(v, "WRAP")) {
		*ret = WRAP;
	} else if (is(v, "SAT")) {
		*ret = SAT;
	} else if (is(v, "FAIL")) {
		*ret = FAIL;
	} else {
		put_error(c, "ERR Invalid OVERFLOW type specified");
		return false;
	}
	return true;
}

/* One of GET type at, SET type at value, INCRBY type at value, at *i. */
static bool
parse_op(struct kcall *c, size_t *i, struct field_op *op)
{
	size_t behind = c->argc - *i - 1;

	if (is(c->argv[*i], "GET") && behind >= 2) {
		op->verb = GET;
	} else if (is(c->argv[*i], "SET") && behind >= 3) {
		op->verb = SET;
	} else if (is(c->argv[*i], "INCRBY") && behind >= 3) {
		op->verb = INCRBY;
	} else {
		put_syntax(c);
		return false;
	}
	if (!parse_type(c, c->argv[*i + 1], op) ||
	    !arg_bit_offset(c, c->argv[*i + 2], op->bits, &op->at) ||
	    (op->verb != GET && !arg_number(c, *i + 3, &op->value)))
		return false;
	*i += op->verb == GET ? 3 : 4;
	return true;
}

static bool
parse(struct kcall *c, struct field_ops *all)
{
	enum overflow overflow = WRAP;
	struct field_op *op;
	size_t i = 2;

	all->ops = xcalloc(c->argc, sizeof(*all->ops));
	while (i < c->argc) {
		if (is(c->argv[i], "OVERFLOW") && i + 1 < c->argc) {
			if (!parse_overflow(c, c->argv[i + 1], &overflow))
				return false;
			i += 2;
			continue;
		}
		op = &all->ops[all->n];
		op->overflow = overflow;
		if (!parse_op(c, &i, op))
			return false;
		all->n++;
		if (op->verb == GET)
			continue;
		all->writes = true;
		if (op->at + op->bits - 1 > all->last)
			all->last = op->at + op->bits - 1;
	}
	return true;
}

/* Bits beyond the end are zeros. */
static int64_t
read_field(const unsigned char *bytes, size_t len, const struct field_op *op)
{
	uint64_t v = 0;

	for (uint64_t at = op->at; at < op->at + op->bits; at++) {
		unsigned byte = at >> 3 < len ? bytes[at >> 3] : 0;

		v = v << 1 | (byte >> (7 - (at & 7)) & 1);
	}
	if (op->is_signed && op->bits < 64 && v >> (op->bits - 1))
		v |= UINT64_MAX << op->bits;
	return (int64_t)v;
}

static void
write_field(unsigned char *bytes, const struct field_op *op, int64_t value)
{
	for (unsigned i = 0; i < op->bits; i++) {
		uint64_t at = op->at + i;
		unsigned char bit = (unsigned char)(0x80 >> (at & 7));

		if ((uint64_t)value >> (op->bits - 1 - i) & 1)
			bytes[at >> 3] |= bit;
		else
			bytes[at >> 3] &= (unsigned char)~bit;
	}
}

/* The value as the field's type has room for it; false: it must fail. */
static bool
fit(const struct field_op *op, __int128 v, int64_t *ret)
{
	unsigned bits = op->bits - op->is_signed;
	__int128 max = ((__int128)1 << bits) - 1;
	__int128 min = op->is_signed ? -max - 1 : 0;
	uint64_t low = (uint64_t)v;

	if (v >= min && v <= max) {
		*ret = (int64_t)v;
		return true;
	}
	if (op->overflow == SAT)
		*ret = (int64_t)(v < min ? min : max);
	if (op->overflow != WRAP)
		return op->overflow == SAT;
	if (op->bits < 64)
		low &= ~(UINT64_MAX << op->bits);
	if (op->is_signed && op->bits < 64 && low >> (op->bits - 1))
		low |= UINT64_MAX << op->bits;
	*ret = (int64_t)low;
	return true;
}

static void
change(struct kcall *c, unsigned char *bytes, size_t len,
    const struct field_op *op)
{
	int64_t old = read_field(bytes, len, op), now;
	__int128 v;

	if (op->verb == INCRBY)
		v = (__int128)old + op->value;
	else
		v = op->is_signed ? op->value : (__int128)(uint64_t)op->value;
	if (!fit(op, v, &now)) {
		put_null(c);
		return;
	}
	write_field(bytes, op, now);
	put_int(c, op->verb == SET ? old : now);
}

static void
work(struct kcall *c, const struct field_ops *all, struct key *k)
{
	unsigned char *bytes = NULL;
	size_t len = k ? k->str->len : 0;

	if (all->writes) {
		bytes = bits_edit(c, k, all->last);
		if (!k)
			k = key_peek(c, c->argv[1]);
		len = k->str->len;
	} else if (k) {
		bytes = (unsigned char *)k->str->data;
	}
	put_array(c, all->n);
	for (size_t i = 0; i < all->n; i++) {
		const struct field_op *op = &all->ops[i];

		if (op->verb == GET)
			put_int(c, read_field(bytes, len, op));
		else
			change(c, bytes, len, op);
	}
	if (all->writes)
		key_changed(c, k);
}

static void
bitfield(struct kcall *c, bool read_only)
{
	struct field_ops all = {0};
	struct key *k;

	if (!parse(c, &all))
		goto out;
	if (all.writes && read_only)
		put_error(c, "ERR BITFIELD_RO only supports the GET"
		    " subcommand");
	else if (key_find_as(c, c->argv[1], KEY_STRING, &k))
		work(c, &all, k);
out:
	free(all.ops);
}

void
k_bitfield(struct kcall *c)
{
	bitfield(c, false);
}

void
k_bitfield_ro(struct kcall *c)
{
	bitfield(c, true);
}
