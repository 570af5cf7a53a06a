/* SPDX-License-Identifier: MIT */
/* Answers under construction. Strings of keys are held, others are copied to
 * chunks that never move. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "keys/part.h"

enum { SPARE_MAX = 128, KEEP_ITEMS = 64, CHUNK = 4096 };

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
	re->n = re->nholds = 0;
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
	size_t want = re->n == 0 ? len : len > CHUNK ? len : CHUNK;
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
	return (struct bh_bytes){at, len};
}

static struct bh_value
held(struct kreply *re, struct kval *v)
{
	if (!v)
		return (struct bh_value){.type = BH_NULL};
	if (re->nholds == re->holds_cap) {
		re->holds_cap = re->holds_cap ? re->holds_cap * 2 : 4;
		re->holds = xrealloc(re->holds,
		    re->holds_cap * sizeof(struct kval *));
	}
	re->holds[re->nholds++] = kval_ref(v);
	return (struct bh_value){.type = BH_STRING, .s = val_bytes(v)};
}

static struct bh_value
copied(struct kreply *re, enum bh_value_type type, const void *data,
    size_t len)
{
	return (struct bh_value){.type = type, .s = copy(re, data, len)};
}

void
put_null(struct kcall *c)
{
	c->re->root = (struct bh_value){.type = BH_NULL};
}

void
put_status(struct kcall *c, const char *text)
{
	c->re->root = (struct bh_value){.type = BH_STATUS,
	    .s = {text, strlen(text)}};
}

void
put_ok(struct kcall *c)
{
	put_status(c, "OK");
}

void
put_int(struct kcall *c, int64_t v)
{
	c->re->root = (struct bh_value){.type = BH_INTEGER, .i = v};
}

void
put_bytes(struct kcall *c, const void *data, size_t len)
{
	c->re->root = copied(c->re, BH_STRING, data, len);
}

void
put_val(struct kcall *c, struct kval *v)
{
	c->re->root = held(c->re, v);
}

void
put_error(struct kcall *c, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	c->re->root = copied(c->re, BH_ERROR, text, strlen(text));
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
put_bad_expire(struct kcall *c)
{
	char name[24];
	size_t n = 0;

	for (; c->cmd->name[n] && n < sizeof(name) - 1; n++)
		name[n] = (char)(c->cmd->name[n] | 0x20);
	name[n] = '\0';
	put_error(c, "ERR invalid expire time in '%s' command", name);
}

static struct bh_value *
item(struct kreply *re)
{
	if (re->n == re->cap) {
		re->cap = re->cap ? re->cap * 2 : 8;
		re->items = xrealloc(re->items,
		    re->cap * sizeof(struct bh_value));
	}
	return &re->items[re->n++];
}

void
item_bytes(struct kcall *c, const void *data, size_t len)
{
	struct bh_value *v = item(c->re);

	*v = copied(c->re, BH_STRING, data, len);
}

void
item_val(struct kcall *c, struct kval *val)
{
	struct bh_value *v = item(c->re);

	*v = held(c->re, val);
}

static struct bh_value
array(const struct kreply *re)
{
	return (struct bh_value){.type = BH_ARRAY, .items = re->items,
	    .n = re->n};
}

void
put_array(struct kcall *c)
{
	c->re->root = array(c->re);
}

void
put_scan(struct kcall *c, uint64_t cursor)
{
	struct kreply *re = c->re;
	char text[24];
	int n = snprintf(text, sizeof(text), "%llu",
	    (unsigned long long)cursor);

	re->pair[0] = copied(re, BH_STRING, text, (size_t)n);
	re->pair[1] = array(re);
	re->root = (struct bh_value){.type = BH_ARRAY, .items = re->pair,
	    .n = 2};
}
