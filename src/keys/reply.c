/* SPDX-License-Identifier: MIT */
/* Answers under construction. Strings of keys are held, others are copied to
 * chunks that never move. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "keys/part.h"

enum { SPARE_MAX = 1024, KEEP_ITEMS = 64, CHUNK = 4096 };
/* What a value without bytes of its own is on the wire, at least. */
enum { ITEM_WIRE = 4 };

struct chunk {
	struct chunk *next;
	size_t used, size;
	char data[];
};

struct kreply *
reply_new(struct keys *ks)
{
	struct kreply *re = ks->spare;

	if (!re)
		return xcalloc(1, sizeof(*re));
	ks->spare = re->next;
	ks->nspare--;
	re->n = re->nholds = re->bytes = 0;
	return re;
}

static void
reply_drop(struct kreply *re)
{
	free(re->items);
	free(re->holds);
	free(re);
}

void
reply_free(struct keys *ks, struct kreply *re)
{
	struct chunk *next;

	for (size_t i = 0; i < re->nholds; i++)
		kval_unref(re->holds[i]);
	for (; re->chunks; re->chunks = next) {
		next = re->chunks->next;
		free(re->chunks);
	}
	if (ks->nspare == SPARE_MAX || re->cap > KEEP_ITEMS ||
	    re->holds_cap > KEEP_ITEMS) {
		reply_drop(re);
		return;
	}
	re->next = ks->spare;
	ks->spare = re;
	ks->nspare++;
}

void
reply_free_spare(struct keys *ks)
{
	struct kreply *re;

	while ((re = ks->spare)) {
		ks->spare = re->next;
		reply_drop(re);
	}
	ks->nspare = 0;
}

static struct bh_bytes
copy(struct kreply *re, const void *data, size_t len)
{
	struct chunk *c = re->chunks;
	size_t want = re->n <= 1 ? len : len > CHUNK ? len : CHUNK;
	char *at;

	if (!c || c->size - c->used < len) {
		c = xmalloc(sizeof(*c) + want);
		c->used = 0;
		c->size = want;
		c->next = re->chunks;
		re->chunks = c;
	}
	at = c->data + c->used;
	if (len)
		memcpy(at, data, len);
	c->used += len;
	re->bytes += len;
	return (struct bh_bytes){at, len};
}

/* The next value of the row. */
static struct bh_value *
put(struct kcall *c, enum bh_value_type type)
{
	struct kreply *re = c->re;
	struct bh_value *v;

	if (re->n == re->cap) {
		re->cap = re->cap ? re->cap * 2 : 8;
		re->items = xrealloc(re->items,
		    re->cap * sizeof(struct bh_value));
	}
	v = &re->items[re->n++];
	v->type = type;
	re->bytes += ITEM_WIRE;
	return v;
}

void
put_null(struct kcall *c)
{
	put(c, BH_NULL);
}

void
put_null_array(struct kcall *c)
{
	put(c, BH_NULL_ARRAY);
}

void
put_status(struct kcall *c, const char *text)
{
	put(c, BH_STATUS)->s = (struct bh_bytes){text, strlen(text)};
}

void
put_ok(struct kcall *c)
{
	put_status(c, "OK");
}

void
put_int(struct kcall *c, int64_t v)
{
	put(c, BH_INTEGER)->i = v;
}

struct bh_bytes
put_bytes(struct kcall *c, const void *data, size_t len)
{
	return put(c, BH_STRING)->s = copy(c->re, data, len);
}

void
put_text(struct kcall *c, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	put_bytes(c, text, strlen(text));
}

void
put_val(struct kcall *c, struct kval *v)
{
	struct kreply *re = c->re;

	if (!v) {
		put_null(c);
		return;
	}
	if (re->nholds == re->holds_cap) {
		re->holds_cap = re->holds_cap ? re->holds_cap * 2 : 4;
		re->holds = xrealloc(re->holds,
		    re->holds_cap * sizeof(struct kval *));
	}
	re->holds[re->nholds++] = kval_ref(v);
	re->bytes += v->len;
	put(c, BH_STRING)->s = val_bytes(v);
}

void
put_array(struct kcall *c, size_t n)
{
	put(c, BH_ARRAY)->n = n;
}

size_t
put_array_open(struct kcall *c)
{
	put_array(c, 0);
	return c->re->n - 1;
}

void
put_array_close(struct kcall *c, size_t open, size_t n)
{
	c->re->items[open].n = n;
}

void
put_text_at(struct kcall *c, size_t at, const char *text)
{
	c->re->items[at].type = BH_STRING;
	c->re->items[at].s = copy(c->re, text, strlen(text));
}

void
put_cursor(struct kcall *c, size_t at, uint64_t cursor)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)cursor);
	put_text_at(c, at, text);
}

void
put_empty_scan(struct kcall *c)
{
	put_array(c, 2);
	put_bytes(c, "0", 1);
	put_array(c, 0);
}

void
put_error(struct kcall *c, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	c->re->n = c->begin;
	put(c, BH_ERROR)->s = copy(c->re, text, strlen(text));
}

bool
put_failed(const struct kcall *c)
{
	return c->re->n > c->begin &&
	    c->re->items[c->begin].type == BH_ERROR;
}

bool
put_is_too_big(const struct kcall *c)
{
	int64_t max = c->ks->limits.answer_bytes;

	return max > 0 && c->re->bytes > (uint64_t)max;
}

void
put_too_big(struct kcall *c)
{
	put_error(c, "ERR the answer has more than %lld bytes (max_output)",
	    (long long)c->ks->limits.answer_bytes);
}

bool
put_gives_up(struct kcall *c)
{
	if (c->cmd->flags & KF_WRITE || !put_is_too_big(c))
		return false;
	put_too_big(c);
	return true;
}

void
put_syntax(struct kcall *c)
{
	put_error(c, "ERR syntax error");
}

void
put_not_integer(struct kcall *c)
{
	put_error(c, "ERR value is not an integer or out of range");
}

void
put_wrong_type(struct kcall *c)
{
	put_error(c, "WRONGTYPE Operation against a key holding the wrong kind"
	    " of value");
}

/* An error about the command, whose name is written small in it. */
static void
put_about(struct kcall *c, const char *what, const char *sub)
{
	char name[48];
	size_t n;

	snprintf(name, sizeof(name), "%s%s%s", c->cmd->name, sub ? "|" : "",
	    sub ? sub : "");
	for (n = 0; name[n]; n++)
		if (name[n] >= 'A' && name[n] <= 'Z')
			name[n] = (char)(name[n] + 32);
	put_error(c, "ERR %s '%s' command", what, name);
}

void
put_bad_expire(struct kcall *c)
{
	put_about(c, "invalid expire time in", NULL);
}

void
put_bad_arity(struct kcall *c)
{
	put_about(c, "wrong number of arguments for", NULL);
}

void
put_bad_sub_arity(struct kcall *c, const char *sub)
{
	put_about(c, "wrong number of arguments for", sub);
}
