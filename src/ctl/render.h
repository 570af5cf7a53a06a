/* SPDX-License-Identifier: MIT */
/*
 * How answers look: as JSON for programs, as aligned columns for people.
 * Text from clients is cleaned of control bytes before a terminal sees it.
 */
#ifndef CTL_RENDER_H
#define CTL_RENDER_H

#include <stdio.h>

#include "base/json.h"
#include "front/resp_codec.h"

/* Of a map by key, NULL when there is none (or v is no map). */
const struct resp_value *value_get(const struct resp_value *v,
    const char *key);
/* A number, also when it came as text; def when there is none. */
int64_t value_int(const struct resp_value *v, const char *key, int64_t def);
/* The bytes, {NULL, 0} when there are none. */
struct bh_bytes value_bytes(const struct resp_value *v, const char *key);

/* The objects of the HTTP door: maps become objects, and a payload or result
 * is embedded with its *_encoding json, text or base64 beside it. */
void render_json(struct json *j, const struct resp_value *v);

/* Text for people: no control bytes, at most max columns (0: no limit),
 * "-" when there is none. */
void render_text(struct buf *out, struct bh_bytes s, size_t max);
/* A moment as seen from now: "3 m 10 s ago", "in 5 s", "-" for 0. */
void render_when(struct buf *out, int64_t at, int64_t now);
/* A count of bytes: "1.5 MiB". */
void render_size(struct buf *out, int64_t bytes);
/* A value as its key's ending suggests: _at, _until, _ms, _us, _bytes. */
void render_value(struct buf *out, const char *key,
    const struct resp_value *v, int64_t now);
/* "key  value" lines of a map, nested maps as "key.key". */
void render_map(FILE *f, const struct resp_value *map, int64_t now,
    bool color);

struct table;

/* Column titles separated by '|'; a '>' before a title aligns it right. */
struct table *table_new(const char *titles);
void table_free(struct table **t);
/* The next cell of the table, row by row. */
void table_add(struct table *t, const char *s);
void table_add_buf(struct table *t, struct buf *b);	/* empties b */
void table_add_int(struct table *t, int64_t v);
void table_add_text(struct table *t, struct bh_bytes s, size_t max);
void table_add_when(struct table *t, int64_t at, int64_t now);
size_t table_rows(const struct table *t);
void table_print(const struct table *t, FILE *f, bool color);

#endif
