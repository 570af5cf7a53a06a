/* SPDX-License-Identifier: MIT */
#include "front/resp_sink.h"

#include "front/resp_codec.h"

static struct buf *
out_of(struct reply *r)
{
	return ((struct resp_sink *)r)->out;
}

static void
sink_simple(struct reply *r, const char *text)
{
	resp_put_simple(out_of(r), text);
}

static void
sink_error(struct reply *r, int code, const char *text)
{
	resp_put_error(out_of(r), err_word(code), text);
}

static void
sink_error_line(struct reply *r, const char *line)
{
	resp_put_error(out_of(r), NULL, line);
}

static void
sink_integer(struct reply *r, int64_t v)
{
	resp_put_int(out_of(r), v);
}

static void
sink_real(struct reply *r, double v)
{
	resp_put_double(out_of(r), r->proto, v);
}

static void
sink_boolean(struct reply *r, bool v)
{
	resp_put_bool(out_of(r), r->proto, v);
}

static void
sink_bulk(struct reply *r, const void *data, size_t len)
{
	resp_put_bulk(out_of(r), data, len);
}

static void
sink_verbatim(struct reply *r, const char *text, size_t len)
{
	resp_put_verbatim(out_of(r), r->proto, text, len);
}

static void
sink_null(struct reply *r)
{
	resp_put_null(out_of(r), r->proto);
}

static void
sink_null_array(struct reply *r)
{
	resp_put_null_array(out_of(r), r->proto);
}

static void
sink_array(struct reply *r, size_t n)
{
	resp_put_array(out_of(r), n);
}

static void
sink_map(struct reply *r, size_t n)
{
	resp_put_map(out_of(r), r->proto, n);
}

static void
sink_set(struct reply *r, size_t n)
{
	resp_put_set(out_of(r), r->proto, n);
}

static void
sink_push(struct reply *r, size_t n)
{
	resp_put_push(out_of(r), r->proto, n);
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
	.null_array = sink_null_array,
	.array = sink_array,
	.map = sink_map,
	.set = sink_set,
	.push = sink_push,
};

void
resp_sink_init(struct resp_sink *s, struct buf *out, int proto)
{
	s->reply.ops = &sink_ops;
	s->reply.proto = proto;
	s->out = out;
}
