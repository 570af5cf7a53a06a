/* SPDX-License-Identifier: MIT */
#include "ctl/render.h"

#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "base/str.h"
#include "base/xalloc.h"

#define BOLD "\033[1m"
#define PLAIN "\033[0m"

const struct resp_value *
value_get(const struct resp_value *v, const char *key)
{
	size_t len = strlen(key);

	if (!v || v->type != RESP_MAP)
		return NULL;
	for (size_t i = 0; i < v->n; i++) {
		const struct resp_value *k = &v->items[2 * i];

		if (k->s.len == len && k->s.data &&
		    memcmp(k->s.data, key, len) == 0)
			return &v->items[2 * i + 1];
	}
	return NULL;
}

int64_t
value_int(const struct resp_value *v, const char *key, int64_t def)
{
	const struct resp_value *found = value_get(v, key);
	int64_t n;

	if (!found)
		return def;
	if (found->type == RESP_INT || found->type == RESP_BOOL)
		return found->i;
	if (found->s.data && str_int(found->s.data, found->s.len, &n) == 0)
		return n;
	return def;
}

struct bh_bytes
value_bytes(const struct resp_value *v, const char *key)
{
	const struct resp_value *found = value_get(v, key);

	return found ? found->s : (struct bh_bytes){NULL, 0};
}

static void
render_object(struct json *j, const struct resp_value *v)
{
	json_object(j);
	for (size_t i = 0; i < v->n; i++) {
		const struct resp_value *k = &v->items[2 * i];
		const struct resp_value *item = &v->items[2 * i + 1];

		if (item->type == RESP_BULK && item->s.data &&
		    str_is(k->s.data, k->s.len, "payload")) {
			json_body(j, "payload", item->s.data,
			    item->s.len);
		} else if (item->type == RESP_BULK && item->s.data &&
		    str_is(k->s.data, k->s.len, "result")) {
			json_body(j, "result", item->s.data,
			    item->s.len);
		} else {
			json_key_bytes(j, k->s.data, k->s.len);
			render_json(j, item);
		}
	}
	json_object_end(j);
}

void
render_json(struct json *j, const struct resp_value *v)
{
	switch (v->type) {
	case RESP_INT:
		json_int(j, v->i);
		break;
	case RESP_BOOL:
		json_bool(j, v->i != 0);
		break;
	case RESP_DOUBLE:
		json_double(j, v->d);
		break;
	case RESP_NULL:
		json_null(j);
		break;
	case RESP_MAP:
		render_object(j, v);
		break;
	case RESP_ARRAY:
	case RESP_SET:
	case RESP_PUSH:
		json_array(j);
		for (size_t i = 0; i < v->n; i++)
			render_json(j, &v->items[i]);
		json_array_end(j);
		break;
	default:
		json_bytes(j, v->s.data, v->s.len);
	}
}

/* Columns that s takes: one for each character, wide ones are not known. */
static size_t
columns(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

void
render_text(struct buf *out, struct bh_bytes s, size_t max)
{
	bool text = json_utf8(s.data, s.len);
	size_t shown = 0;

	if (s.len == 0) {
		buf_adds(out, "-");
		return;
	}
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.data[i];
		/* C1 controls move a terminal too. */
		bool c1 = text && c == 0xc2 && i + 1 < s.len &&
		    (unsigned char)s.data[i + 1] < 0xa0;

		if ((c & 0xc0) != 0x80 || !text)
			shown++;
		if (max && shown > max - (i + 1 < s.len)) {
			buf_adds(out, "…");
			return;
		}
		if (c < 0x20 || c == 0x7f || c1)
			buf_addc(out, ' ');
		else if (c >= 0x80 && !text)
			buf_addc(out, '?');
		else
			buf_addc(out, (char)c);
		i += c1;
	}
}

void
render_when(struct buf *out, int64_t at, int64_t now)
{
	char span[40];

	if (at == 0) {
		buf_adds(out, "-");
		return;
	}
	str_span(at > now ? at - now : now - at, span, sizeof(span));
	if (at > now)
		buf_addf(out, "in %s", span);
	else
		buf_addf(out, "%s ago", span);
}

void
render_size(struct buf *out, int64_t bytes)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
	double v = (double)bytes;
	size_t i = 0;

	while (v >= 1024 && i < nitems(units) - 1) {
		v /= 1024;
		i++;
	}
	buf_addf(out, i && v < 100 ? "%.1f %s" : "%.0f %s", v, units[i]);
}

static bool
ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n >= m && strcmp(s + n - m, end) == 0;
}

static void
render_int(struct buf *out, const char *key, int64_t v, int64_t now)
{
	char span[40];

	if (ends_with(key, "_at") || ends_with(key, "_until")) {
		render_when(out, v, now);
	} else if (ends_with(key, "_bytes")) {
		render_size(out, v);
	} else if (ends_with(key, "_ms")) {
		str_span(v, span, sizeof(span));
		buf_adds(out, span);
	} else if (ends_with(key, "_us")) {
		buf_addf(out, "%.2f ms", (double)v / 1000);
	} else {
		buf_addi(out, v);
	}
}

void
render_value(struct buf *out, const char *key, const struct resp_value *v,
    int64_t now)
{
	switch (v->type) {
	case RESP_INT:
		render_int(out, key, v->i, now);
		break;
	case RESP_BOOL:
		buf_adds(out, v->i ? "yes" : "no");
		break;
	case RESP_DOUBLE:
		buf_addf(out, "%g", v->d);
		break;
	case RESP_NULL:
		buf_adds(out, "-");
		break;
	case RESP_ARRAY:
	case RESP_SET:
	case RESP_PUSH:
		for (size_t i = 0; i < v->n; i++) {
			if (i)
				buf_adds(out, ", ");
			render_value(out, key, &v->items[i], now);
		}
		if (v->n == 0)
			buf_adds(out, "-");
		break;
	case RESP_MAP:
		for (size_t i = 0; i < v->n; i++) {
			if (i)
				buf_addc(out, ' ');
			buf_add(out, v->items[2 * i].s.data,
			    v->items[2 * i].s.len);
			buf_addc(out, '=');
			render_value(out, "", &v->items[2 * i + 1], now);
		}
		break;
	default:
		render_text(out, v->s, 0);
	}
}

static void
add_pairs(struct table *t, const char *prefix, const struct resp_value *map,
    int64_t now)
{
	for (size_t i = 0; i < map->n; i++) {
		const struct resp_value *k = &map->items[2 * i];
		const struct resp_value *v = &map->items[2 * i + 1];
		struct buf name = BUF_INIT, text = BUF_INIT;

		buf_addf(&name, "%s%.*s", prefix, (int)k->s.len, k->s.data);
		if (v->type == RESP_MAP) {
			buf_addc(&name, '.');
			add_pairs(t, buf_str(&name), v, now);
		} else {
			table_add(t, buf_str(&name));
			render_value(&text, buf_str(&name), v, now);
			table_add_buf(t, &text);
		}
		buf_done(&name);
	}
}

void
render_map(FILE *f, const struct resp_value *map, int64_t now, bool color)
{
	struct table *t = table_new("|");

	if (map->type == RESP_MAP)
		add_pairs(t, "", map, now);
	table_print(t, f, color);
	table_free(&t);
}

struct table {
	char **titles;
	bool *right;
	size_t ncols;
	char **cells;
	size_t n;
};

struct table *
table_new(const char *titles)
{
	struct table *t = xcalloc(1, sizeof(*t));

	for (const char *p = titles;; p++) {
		size_t len = strcspn(p, "|");
		bool right = len > 0 && *p == '>';

		t->titles = xrealloc(t->titles,
		    (t->ncols + 1) * sizeof(*t->titles));
		t->right = xrealloc(t->right,
		    (t->ncols + 1) * sizeof(*t->right));
		t->titles[t->ncols] = xstrndup(p + right, len - right);
		t->right[t->ncols++] = right;
		p += len;
		if (*p == '\0')
			return t;
	}
}

void
table_free(struct table **tp)
{
	struct table *t = *tp;

	if (!t)
		return;
	for (size_t i = 0; i < t->ncols; i++)
		free(t->titles[i]);
	for (size_t i = 0; i < t->n; i++)
		free(t->cells[i]);
	free(t->titles);
	free(t->right);
	free(t->cells);
	free(t);
	*tp = NULL;
}

void
table_add(struct table *t, const char *s)
{
	if (t->n % 64 == 0)
		t->cells = xrealloc(t->cells,
		    (t->n + 64) * sizeof(*t->cells));
	t->cells[t->n++] = xstrdup(s);
}

void
table_add_buf(struct table *t, struct buf *b)
{
	table_add(t, buf_str(b));
	buf_done(b);
}

void
table_add_text(struct table *t, struct bh_bytes s, size_t max)
{
	struct buf b = BUF_INIT;

	render_text(&b, s, max);
	table_add_buf(t, &b);
}

void
table_add_when(struct table *t, int64_t at, int64_t now)
{
	struct buf b = BUF_INIT;

	render_when(&b, at, now);
	table_add_buf(t, &b);
}

void
table_add_int(struct table *t, int64_t v)
{
	struct buf b = BUF_INIT;

	buf_addi(&b, v);
	table_add_buf(t, &b);
}

size_t
table_rows(const struct table *t)
{
	CHECK(t->n % t->ncols == 0);
	return t->n / t->ncols;
}

static void
print_row(const struct table *t, char *const *cells, const size_t *width,
    FILE *f)
{
	for (size_t i = 0; i < t->ncols; i++) {
		bool last = i + 1 == t->ncols;
		int pad = (int)(width[i] - columns(cells[i]));

		if (t->right[i])
			fprintf(f, "%*s", pad, "");
		fputs(cells[i], f);
		if (!t->right[i] && !last)
			fprintf(f, "%*s", pad, "");
		fputs(last ? "\n" : "  ", f);
	}
}

void
table_print(const struct table *t, FILE *f, bool color)
{
	size_t *width = xcalloc(t->ncols, sizeof(*width));
	size_t rows = table_rows(t);
	bool titled = false;

	for (size_t i = 0; i < t->ncols; i++) {
		width[i] = columns(t->titles[i]);
		titled |= width[i] > 0;
	}
	for (size_t i = 0; i < t->n; i++) {
		size_t w = columns(t->cells[i]);

		if (w > width[i % t->ncols])
			width[i % t->ncols] = w;
	}
	if (titled) {
		fputs(color ? BOLD : "", f);
		print_row(t, t->titles, width, f);
		fputs(color ? PLAIN : "", f);
	}
	for (size_t r = 0; r < rows; r++)
		print_row(t, t->cells + r * t->ncols, width, f);
	free(width);
}
