/* SPDX-License-Identifier: MIT */
#include "front/json_sink.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"

static struct json_sink *
sink_of(struct reply *r)
{
	return (struct json_sink *)r;
}

/* Whether the next part is a key. */
static bool
at_key(const struct json_sink *s)
{
	return s->depth > 0 && s->open[s->depth - 1].map &&
	    s->open[s->depth - 1].left % 2 == 0;
}

/* A part is complete: so may be what it is a part of. */
static void
leave(struct json_sink *s)
{
	while (s->depth > 0) {
		if (s->open[s->depth - 1].left > 0 &&
		    --s->open[s->depth - 1].left > 0)
			return;
		if (s->open[s->depth - 1].map)
			json_object_end(&s->json);
		else
			json_array_end(&s->json);
		s->depth--;
	}
}

/* True when this part is not written: it belongs to what was too deep. */
static bool
skipped(struct json_sink *s, size_t parts)
{
	if (s->skip == 0)
		return false;
	s->skip += parts;
	if (--s->skip == 0)
		leave(s);
	return true;
}

/* What other sinks write as bytes: a key, a body, or a string. */
static void
put_bytes(struct json_sink *s, const char *data, size_t len)
{
	struct json *j = &s->json;

	if (skipped(s, 0))
		return;
	if (s->raw && s->depth == 0) {
		buf_reserve(j->out, 1);
		buf_add(j->out, data, len);
		return;
	}
	if (!at_key(s)) {
		if (*s->body)
			json_body(j, s->body, data, len);
		else
			json_bytes(j, data, len);
		*s->body = '\0';
	} else if ((len == 7 && memcmp(data, "payload", 7) == 0) ||
	    (len == 6 && memcmp(data, "result", 6) == 0)) {
		memcpy(s->body, data, len);	/* with the value, whose kind
						   decides */
		s->body[len] = '\0';
	} else {
		json_key_bytes(j, data, len);
	}
	leave(s);
}

/* Before a value that is no bytes. */
static bool
plain(struct json_sink *s, size_t parts)
{
	if (skipped(s, parts))
		return false;
	if (*s->body)
		json_key(&s->json, s->body);
	*s->body = '\0';
	return true;
}

static void
sink_simple(struct reply *r, const char *text)
{
	put_bytes(sink_of(r), text, strlen(text));
}

static void
sink_bulk(struct reply *r, const void *data, size_t len)
{
	put_bytes(sink_of(r), data, len);
}

static void
sink_verbatim(struct reply *r, const char *text, size_t len)
{
	put_bytes(sink_of(r), text, len);
}

/* Inside an aggregate it is a part like others, as RESP has it. */
static void
sink_error(struct reply *r, int code, const char *text)
{
	struct json_sink *s = sink_of(r);
	char line[sizeof(s->text) + 32];

	if (s->depth > 0 || s->skip > 0) {
		snprintf(line, sizeof(line), "%s %s", err_word(code), text);
		put_bytes(s, line, strlen(line));
		return;
	}
	s->status = code;
	snprintf(s->text, sizeof(s->text), "%s", text);
}

static void
sink_error_line(struct reply *r, const char *line)
{
	sink_error(r, BH_E_ERR, line);
}

static void
sink_integer(struct reply *r, int64_t v)
{
	struct json_sink *s = sink_of(r);
	char text[24];

	if (at_key(s)) {
		snprintf(text, sizeof(text), "%lld", (long long)v);
		put_bytes(s, text, strlen(text));
	} else if (plain(s, 0)) {
		json_int(&s->json, v);
		leave(s);
	}
}

static void
sink_real(struct reply *r, double v)
{
	struct json_sink *s = sink_of(r);

	if (!plain(s, 0))
		return;
	json_double(&s->json, v);
	leave(s);
}

static void
sink_boolean(struct reply *r, bool v)
{
	struct json_sink *s = sink_of(r);

	if (!plain(s, 0))
		return;
	json_bool(&s->json, v);
	leave(s);
}

static void
sink_null(struct reply *r)
{
	struct json_sink *s = sink_of(r);

	if (!plain(s, 0))
		return;
	if (s->raw && s->depth == 0) {
		s->nil = true;
		return;
	}
	json_null(&s->json);
	leave(s);
}

static void
begin(struct json_sink *s, size_t parts, bool map)
{
	if (!plain(s, parts))
		return;
	if (s->depth == JSON_SINK_DEPTH) {
		json_null(&s->json);
		s->skip = parts;
		if (parts == 0)
			leave(s);
		return;
	}
	if (map)
		json_object(&s->json);
	else
		json_array(&s->json);
	s->open[s->depth].left = parts;
	s->open[s->depth++].map = map;
	if (parts == 0)
		leave(s);
}

static void
sink_array(struct reply *r, size_t n)
{
	begin(sink_of(r), n, false);
}

static void
sink_map(struct reply *r, size_t n)
{
	begin(sink_of(r), 2 * n, true);
}

static const struct reply_ops sink_ops = {
	.simple = sink_simple,
	.error = sink_error,
	.error_line = sink_error_line,
	.integer = sink_integer,
	.real = sink_real,
	.boolean = sink_boolean,
	.bulk = sink_bulk,
	.verbatim = sink_verbatim,
	.null = sink_null,
	.null_array = sink_null,
	.array = sink_array,
	.map = sink_map,
	.set = sink_array,
	.push = sink_array,
};

void
json_sink_init(struct json_sink *s, struct buf *out)
{
	s->reply.ops = &sink_ops;
	s->reply.proto = 3;
	json_init(&s->json, out);
	s->depth = 0;
	s->raw = false;
	s->nil = false;
	s->skip = 0;
	s->body[0] = '\0';
	s->status = BH_OK;
	s->text[0] = '\0';
}
