/* SPDX-License-Identifier: MIT */
#include "redis/url.h"

#include <ctype.h>
#include <errno.h>

#include "redis/mem.h"

#define KNOWN "redis://HOST, rediss://HOST (TLS) or unix:PATH is expected"

static int
bad(char err[BH_ERROR_TEXT], const char *what)
{
	snprintf(err, BH_ERROR_TEXT, "%s", what);
	return -1;
}

static int
hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A copy without %XX; NULL when an escape is broken. */
static char *
unescape(const char *s, size_t len)
{
	char *out = mem_copy(s, len);
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		int hi, lo;

		if (s[i] != '%') {
			out[n++] = s[i];
			continue;
		}
		hi = i + 2 < len ? hex(s[i + 1]) : -1;
		lo = i + 2 < len ? hex(s[i + 2]) : -1;
		if (hi < 0 || lo < 0 || hi + lo == 0) {
			free(out);
			return NULL;
		}
		out[n++] = (char)(hi * 16 + lo);
		i += 2;
	}
	out[n] = '\0';
	return out;
}

/* USER:PASSWORD, :PASSWORD, USER or nothing before the @. */
static int
parse_user(struct redis_url *u, const char *s, size_t len,
    char err[BH_ERROR_TEXT])
{
	const char *colon = memchr(s, ':', len);
	size_t n = colon ? (size_t)(colon - s) : len;

	if (n > 0)
		u->user = unescape(s, n);
	if (colon && n + 1 < len)
		u->password = unescape(colon + 1, len - n - 1);
	if ((n > 0 && !u->user) || (colon && n + 1 < len && !u->password))
		return bad(err, "the user or the password has a % that is not"
		    " followed by two hexadecimal digits: write %25 for it");
	if (u->user && !u->password)
		return bad(err, "there is a user and no password: write"
		    " USER:PASSWORD@, or :PASSWORD@ for the default user");
	return 0;
}

static int
parse_db(struct redis_url *u, const char *s, char err[BH_ERROR_TEXT])
{
	char *end;
	long n;

	if (!*s)
		return 0;
	n = strtol(s, &end, 10);
	if (!isdigit((unsigned char)*s) || *end || n > 1000000) {
		snprintf(err, BH_ERROR_TEXT, "the database '%.40s' is no"
		    " number: 0 is expected, or another one that the server"
		    " has", s);
		return -1;
	}
	u->db = (int)n;
	return 0;
}

static bool
is_port(const char *s)
{
	char *end;
	long n = strtol(s, &end, 10);

	return isdigit((unsigned char)*s) && !*end && n > 0 && n < 65536;
}

static int
parse_host(struct redis_url *u, const char *s, size_t len, const char *port,
    char err[BH_ERROR_TEXT])
{
	const char *end, *host = s;
	size_t n = len;

	if (len > 0 && *s == '[') {
		end = memchr(s, ']', len);
		if (!end)
			return bad(err, "the address has a [ and no ]");
		host++;
		n = (size_t)(end - host);
		end++;
	} else {
		end = memchr(s, ':', len);
		if (!end)
			end = s + len;
		n = (size_t)(end - s);
	}
	if (n == 0)
		return bad(err, "the host is missing: " KNOWN);
	if (end < s + len && *end != ':')
		return bad(err, "after the host, :PORT or the end is"
		    " expected");
	u->host = mem_copy(host, n);
	if (end + 1 < s + len)
		u->port = mem_copy(end + 1, (size_t)(s + len - end) - 1);
	else
		u->port = mem_str(port);
	if (is_port(u->port))
		return 0;
	snprintf(err, BH_ERROR_TEXT, "'%.40s' is no port: a number from 1 to"
	    " 65535 is expected", u->port);
	return -1;
}

static int
parse_unix(struct redis_url *u, const char *s, char err[BH_ERROR_TEXT])
{
	const char *query = strstr(s, "?db="), *at;
	size_t len = query ? (size_t)(query - s) : strlen(s);

	if (strncmp(s, "//", 2) == 0) {
		s += 2;
		len -= 2;
		at = memchr(s, '/', len);
		if (at && at > s && at[-1] == '@') {
			if (parse_user(u, s, (size_t)(at - s) - 1, err) < 0)
				return -1;
			len -= (size_t)(at - s);
			s = at;
		}
	}
	if (len == 0 || *s != '/')
		return bad(err, "after unix: the absolute path of the socket"
		    " is expected, as in unix:/run/redis/redis-server.sock");
	u->path = mem_copy(s, len);
	if (len >= 108)
		return bad(err, "the path of the socket is longer than the"
		    " 107 bytes that are possible");
	return query ? parse_db(u, query + 4, err) : 0;
}

static int
parse_tcp(struct redis_url *u, const char *s, char err[BH_ERROR_TEXT])
{
	const char *slash, *at = NULL;
	size_t len;

	/* The last @ before the path: a password may have one unescaped. */
	for (const char *p = s; *p && !(at && *p == '/'); p++)
		if (*p == '@')
			at = p;
	if (at) {
		if (parse_user(u, s, (size_t)(at - s), err) < 0)
			return -1;
		s = at + 1;
	}
	slash = strchr(s, '/');
	len = slash ? (size_t)(slash - s) : strlen(s);
	if (parse_host(u, s, len, "6379", err) < 0)
		return -1;
	return slash ? parse_db(u, slash + 1, err) : 0;
}

int
redis_url_parse(struct redis_url *ret, const char *text,
    char err[BH_ERROR_TEXT])
{
	int rc;

	*ret = (struct redis_url){0};
	if (strncmp(text, "redis://", 8) == 0) {
		rc = parse_tcp(ret, text + 8, err);
	} else if (strncmp(text, "rediss://", 9) == 0) {
		ret->tls = true;
		rc = parse_tcp(ret, text + 9, err);
	} else if (strncmp(text, "unix:", 5) == 0) {
		rc = parse_unix(ret, text + 5, err);
	} else {
		rc = bad(err, KNOWN);
	}
	if (rc < 0)
		redis_url_done(ret);
	return rc;
}

int
redis_url_host(struct redis_url *ret, const char *text, const char *port,
    char err[BH_ERROR_TEXT])
{
	int rc;

	*ret = (struct redis_url){0};
	rc = parse_host(ret, text, strlen(text), port, err);
	if (rc < 0)
		redis_url_done(ret);
	return rc;
}

static char *
copy(const char *s)
{
	return s ? mem_str(s) : NULL;
}

void
redis_url_copy(struct redis_url *to, const struct redis_url *from)
{
	*to = (struct redis_url){.tls = from->tls, .path = copy(from->path),
	    .host = copy(from->host), .port = copy(from->port),
	    .user = copy(from->user), .password = copy(from->password),
	    .db = from->db};
}

void
redis_url_move(struct redis_url *u, const char *host, const char *port)
{
	char *h = mem_str(host), *p = mem_str(port);

	free(u->path);
	free(u->host);
	free(u->port);
	u->path = NULL;
	u->host = h;
	u->port = p;
}

void
redis_url_done(struct redis_url *u)
{
	free(u->path);
	free(u->host);
	free(u->port);
	free(u->user);
	if (u->password)
		explicit_bzero(u->password, strlen(u->password));
	free(u->password);
	*u = (struct redis_url){0};
}

void
redis_url_show(const struct redis_url *u, char *out, size_t size)
{
	if (u->path)
		snprintf(out, size, "unix:%s", u->path);
	else if (strchr(u->host, ':'))
		snprintf(out, size, "[%s]:%s", u->host, u->port);
	else
		snprintf(out, size, "%s:%s", u->host, u->port);
}
