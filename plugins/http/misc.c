/* SPDX-License-Identifier: MIT */
/* The pages beside the interface: figures, health, version, a first page. */
#include <string.h>
#include <zlib.h>

#include "http/routes.h"

#define GZIP_MIN 1024

static bool
takes_gzip(const struct ask *a)
{
	struct bh_bytes v = a->web.headers[WEB_ACCEPT_ENCODING];
	const char *p = v.data ? memmem(v.data, v.len, "gzip", 4) : NULL;
	size_t rest = p ? (size_t)(v.data + v.len - p) - 4 : 0;

	/* gzip;q=0 is a refusal. */
	return p && !(rest >= 4 && memcmp(p + 4, ";q=0", 4) == 0 &&
	    (rest == 4 || p[8] == ',' || p[8] == ' '));
}

/* Level 1: the text is made anew each time. */
static bool
gzip(struct text *t)
{
	struct text out = {0};
	z_stream z = {0};
	int rc;

	if (deflateInit2(&z, 1, Z_DEFLATED, 15 + 16, 8,
	    Z_DEFAULT_STRATEGY) != Z_OK)
		return false;
	z.next_in = (unsigned char *)t->data;
	z.avail_in = (uInt)t->len;
	z.avail_out = (uInt)deflateBound(&z, t->len);
	z.next_out = (unsigned char *)text_room(&out, z.avail_out);
	rc = deflate(&z, Z_FINISH);
	out.len = z.total_out;
	deflateEnd(&z);
	if (rc != Z_STREAM_END) {
		text_free(&out);
		return false;
	}
	text_free(t);
	*t = out;
	return true;
}

static void
answer(struct ask *a, const char *type, struct text *t)
{
	web_header(&a->web, "Vary", "Accept-Encoding");
	if (t->len >= GZIP_MIN && takes_gzip(a) && gzip(t))
		web_header(&a->web, "Content-Encoding", "gzip");
	ask_text(a, type, t);
}

static void
metrics(struct ask *a)
{
	struct text t = {0};

	text_add(&t, a->call.json.data, a->call.json.len);
	answer(a, "text/plain; version=0.0.4; charset=utf-8", &t);
}

void
page_metrics(struct ask *a)
{
	ask_word(a, "BELLHOP");
	ask_word(a, "METRICS");
	ask_run(a, BH_CALL_RAW, metrics);
}

void
page_health(struct ask *a)
{
	struct text t = {0};

	text_adds(&t, "ok\n");
	if (ask_known(a, &a->query))
		ask_text(a, "text/plain; charset=utf-8", &t);
	else
		text_free(&t);
}

static void
ready(struct ask *a)
{
	struct bh_bytes json = a->call.json;

	a->status = memmem(json.data, json.len, "\"ready\":true", 12) ?
	    200 : 503;
	ask_then_json(a);
}

void
page_ready(struct ask *a)
{
	ask_word(a, "BELLHOP");
	ask_word(a, "HEALTH");
	ask_run(a, 0, ready);
}

void
page_version(struct ask *a)
{
	struct text t = {0};

	if (!ask_known(a, &a->query))
		return;
	text_adds(&t, "{\"version\":");
	text_json(&t, a->door->host->version, strlen(a->door->host->version));
	text_adds(&t, "}\n");
	ask_text(a, "application/json", &t);
}

void
page_index(struct ask *a)
{
	struct text t = {0};
	const char *version = a->door->host->version;

	if (!ask_known(a, &a->query))
		return;
	text_adds(&t, "<!doctype html>\n<html lang=\"en\">\n<meta charset="
	    "\"utf-8\">\n<title>Bellhop</title>\n<h1>Bellhop ");
	text_html(&t, version, strlen(version));
	text_adds(&t, "</h1>\n<ul>\n"
	    "<li><a href=\"v1/queues\">queues</a>\n"
	    "<li><a href=\"v1/schedules\">schedules</a>\n"
	    "<li><a href=\"metrics\">metrics</a>\n"
	    "<li><a href=\"readyz\">health</a>\n"
	    "</ul>\n");
	web_header(&a->web, "Content-Security-Policy",
	    "default-src 'none'; frame-ancestors 'none'");
	answer(a, "text/html; charset=utf-8", &t);
}
