/* SPDX-License-Identifier: MIT */
#include "http/gate.h"

#include <string.h>
#include <strings.h>

#include "http/text.h"

void
gate_init(struct gate *g)
{
	*g = (struct gate){.length = -1};
}

static void
fault(struct gate *g, const char *text)
{
	if (!g->fault)
		g->fault = text;
}

/* RFC 9110: a token. */
static bool
is_token(const char *s, size_t len)
{
	static const char marks[] = "!#$%&'*+-.^_`|~";

	for (size_t i = 0; i < len; i++) {
		char c = s[i];

		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
		    (c >= 'A' && c <= 'Z') || (c && strchr(marks, c))))
			return false;
	}
	return len > 0;
}

static bool
is_value(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (((unsigned char)s[i] < 0x20 && s[i] != '\t') ||
		    s[i] == 0x7f)
			return false;
	return true;
}

static bool
is_named(const char *name, size_t nlen, const char *s)
{
	return bytes_is_nocase((struct bh_bytes){name, nlen}, s);
}

void
gate_header(struct gate *g, const char *name, size_t nlen, const char *value,
    size_t vlen)
{
	if (!is_token(name, nlen))
		fault(g, "a header's name has characters that it must not"
		    " have, such as a blank before the colon");
	if (!is_value(value, vlen))
		fault(g, "a header's value has control characters");
	if (is_named(name, nlen, "Content-Length")) {
		g->lengths++;
		if (number_parse(value, vlen, &g->length) < 0)
			fault(g, "Content-Length is not a number");
	} else if (is_named(name, nlen, "Transfer-Encoding")) {
		g->encodings++;
		if (!is_named(value, vlen, "chunked"))
			fault(g, "Transfer-Encoding is not 'chunked', the"
			    " only one that is understood");
	} else if (is_named(name, nlen, "Host")) {
		g->hosts++;
	}
}

const char *
gate_verdict(struct gate *g, bool http11)
{
	if (g->lengths > 1)
		fault(g, "Content-Length is there twice");
	if (g->encodings > 1)
		fault(g, "Transfer-Encoding is there twice");
	if (g->lengths > 0 && g->encodings > 0)
		fault(g, "Content-Length and Transfer-Encoding exclude each"
		    " other");
	if (g->encodings > 0 && !http11)
		fault(g, "Transfer-Encoding needs HTTP/1.1");
	if (g->hosts > 1)
		fault(g, "Host is there twice");
	if (g->hosts == 0 && http11)
		fault(g, "Host is missing");
	return g->fault;
}

int
gate_split_host(struct bh_bytes v, struct bh_bytes *host,
    struct bh_bytes *port)
{
	const char *end = v.data + v.len, *p = v.data, *colon = NULL;

	*port = (struct bh_bytes){"", 0};
	if (v.len > 0 && *p == '[') {
		const char *close = memchr(p, ']', v.len);

		if (!close || (close + 1 < end && close[1] != ':'))
			return -1;
		*host = (struct bh_bytes){p + 1, (size_t)(close - p - 1)};
		colon = close + 1 < end ? close + 1 : NULL;
	} else {
		colon = v.len > 0 ? memchr(p, ':', v.len) : NULL;
		*host = (struct bh_bytes){p, colon ? (size_t)(colon - p) :
		    v.len};
	}
	if (colon)
		*port = (struct bh_bytes){colon + 1,
		    (size_t)(end - colon - 1)};
	for (size_t i = 0; i < port->len; i++)
		if (port->data[i] < '0' || port->data[i] > '9')
			return -1;
	return host->len > 0 && port->len <= 5 ? 0 : -1;
}

static bool
same_name(struct bh_bytes a, struct bh_bytes b)
{
	/* A final dot says that the name is complete. */
	if (a.len > 1 && a.data[a.len - 1] == '.')
		a.len--;
	return a.len == b.len && strncasecmp(a.data, b.data, a.len) == 0;
}

/* Names that mean this machine everywhere: no foreign zone can have them. */
static bool
is_loopback(struct bh_bytes host)
{
	static const char tail[] = ".localhost";
	size_t n = strlen(tail);

	return same_name(host, bytes_of("localhost")) ||
	    same_name(host, bytes_of("127.0.0.1")) ||
	    same_name(host, bytes_of("::1")) ||
	    (host.len > n &&
	    strncasecmp(host.data + host.len - n, tail, n) == 0);
}

bool
gate_host_known(struct bh_bytes value, const struct gate_names *names)
{
	struct bh_bytes host, port, one, ignored;

	if (!names->local)
		return true;
	if (gate_split_host(value, &host, &port) < 0)
		return false;
	if (is_loopback(host) || same_name(host, bytes_of(names->local)))
		return true;
	for (char *const *p = names->listen; *p; p++)
		if (gate_split_host(bytes_of(*p), &one, &ignored) == 0 &&
		    same_name(host, one))
			return true;
	for (char *const *p = names->hosts; *p; p++)
		if (strcmp(*p, "*") == 0 ||
		    (gate_split_host(bytes_of(*p), &one, &ignored) == 0 &&
		    same_name(host, one)))
			return true;
	return false;
}

static struct bh_bytes
without_default_port(struct bh_bytes port, bool tls)
{
	if (bytes_is(port, tls ? "443" : "80"))
		port.len = 0;
	return port;
}

/* Whether an origin is scheme and authority of the request's own host. A
 * proxy may have taken TLS off, so either scheme is. */
static bool
is_own(struct bh_bytes origin, struct bh_bytes host)
{
	static const char *const schemes[] = {"http://", "https://"};
	struct bh_bytes name, port, own, own_port;

	for (int tls = 0; tls < 2; tls++) {
		size_t n = strlen(schemes[tls]);
		struct bh_bytes rest = {origin.data + n, origin.len - n};

		if (origin.len <= n ||
		    strncasecmp(origin.data, schemes[tls], n) != 0)
			continue;
		if (gate_split_host(rest, &name, &port) < 0 ||
		    gate_split_host(host, &own, &own_port) < 0)
			return false;
		port = without_default_port(port, tls);
		own_port = without_default_port(own_port, tls);
		return same_name(name, own) && port.len == own_port.len &&
		    memcmp(port.data, own_port.data, port.len) == 0;
	}
	return false;
}

enum gate_origin
gate_origin_of(struct bh_bytes origin, struct bh_bytes host,
    const struct gate_names *names)
{
	if (host.len > 0 && is_own(origin, host))
		return GATE_SAME;
	for (char *const *p = names->origins; *p; p++)
		if (strcmp(*p, "*") == 0 ||
		    bytes_is_nocase(origin, *p))
			return GATE_LISTED;
	return GATE_FOREIGN;
}
