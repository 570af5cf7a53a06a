/* SPDX-License-Identifier: MIT */
/* One HTTP exchange. Redirects are followed here and not by libcurl, so that
 * each of them is judged as the first request was. */
#include "script/curl_impl.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/str.h"
#include "base/xalloc.h"
#include "script/net_guard.h"

#define HEAD_MAX (256 * 1024)
#define EXPECT_MIN (1024 * 1024)	/* libcurl would ask before sending */
#define KEEP_BYTES 4096

static struct http_call *
http_of(const struct transfer *t)
{
	return (struct http_call *)t->call;
}

static size_t
on_head(char *data, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;
	struct http_call *h = http_of(t);

	n *= size;
	/* A new header: what came before was a "100 Continue". */
	if (n > 5 && memcmp(data, "HTTP/", 5) == 0)
		buf_reset(&h->head, KEEP_BYTES);
	if (buf_size(&h->head) + n > HEAD_MAX)
		return 0;
	buf_add(&h->head, data, n);
	return n;
}

static size_t
on_body(char *data, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;
	struct http_call *h = http_of(t);

	n *= size;
	if (buf_size(&h->reply) + n > (size_t)h->max_size) {
		t->too_big = true;
		return 0;
	}
	buf_add(&h->reply, data, n);
	return n;
}

static int
fail(struct transfer *t, const char *what)
{
	call_fail(t->call, "%s%s", t->hops ? "redirect: " : "", what);
	return -1;
}

/* The part of the URL, lower-case where to is host; "" when it has none. */
static void
url_part(struct transfer *t, CURLU *u, CURLUPart part, unsigned flags,
    char *to, size_t size)
{
	char *s = NULL;

	*to = '\0';
	if (t->lib->url_get(u, part, &s, flags) == CURLUE_OK)
		snprintf(to, size, "%s", s);
	t->lib->free(s);
}

static void
tidy_host(char *host)
{
	size_t i, n = strlen(host);

	if (host[0] == '[' && n > 2) {
		memmove(host, host + 1, n - 2);
		host[n - 2] = '\0';
		host[strcspn(host, "%")] = '\0';
	} else if (n > 1 && host[n - 1] == '.') {
		host[n - 1] = '\0';
	}
	for (i = 0; host[i]; i++)
		host[i] = (char)tolower((unsigned char)host[i]);
}

static int
check_host(struct transfer *t)
{
	char *const *allowed = t->call->env->allow_hosts;
	const char *why;
	size_t i;

	for (i = 0; t->host[i]; i++)
		if ((unsigned char)t->host[i] >= 0x80)
			return fail(t, "the host's name has letters beyond "
			    "ASCII: write its xn-- form");
	if (!net_host_allowed(allowed, t->host)) {
		call_fail(t->call, "%shost '%s' is not in allow_hosts",
		    t->hops ? "redirect: " : "", t->host);
		return -1;
	}
	t->guarded = !net_host_listed(allowed, t->host);
	if (t->guarded && (why = net_literal_refused(t->host))) {
		call_fail(t->call, "%s%s is %s: refused (allow_hosts can "
		    "name it)", t->hops ? "redirect: " : "", t->host, why);
		return -1;
	}
	return 0;
}

/* Takes the URL apart: t->url, t->host and, the first time, t->origin. */
static int
take_url(struct transfer *t, const char *url)
{
	const struct curl_lib *l = t->lib;
	char scheme[16], port[8], *text = NULL, *origin;
	CURLU *u = l->url();
	CURLUcode rc;

	if (!u)
		return fail(t, "libcurl: no memory");
	rc = l->url_set(u, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME);
	if (rc == CURLUE_OK)
		rc = l->url_get(u, CURLUPART_URL, &text, 0);
	if (rc != CURLUE_OK) {
		l->url_cleanup(u);
		call_fail(t->call, "%sthe URL is not valid: %s",
		    t->hops ? "redirect: " : "", rc == CURLUE_BAD_SCHEME ||
		    rc == CURLUE_BAD_SLASHES ?
		    "it must begin with http:// or https://" :
		    l->url_strerror(rc));
		return -1;
	}
	url_part(t, u, CURLUPART_SCHEME, 0, scheme, sizeof(scheme));
	url_part(t, u, CURLUPART_HOST, 0, t->host, sizeof(t->host));
	url_part(t, u, CURLUPART_PORT, CURLU_DEFAULT_PORT, port, sizeof(port));
	l->url_cleanup(u);
	tidy_host(t->host);
	free(t->url);
	t->url = xstrdup(text);
	l->free(text);
	if (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0) {
		call_fail(t->call, "%sscheme '%s' is refused: only http and "
		    "https", t->hops ? "redirect: " : "", scheme);
		return -1;
	}
	origin = xasprintf("%s://%s:%s", scheme, t->host, port);
	if (t->hops == 0) {
		free(t->origin);
		t->origin = origin;
	} else {
		if (strcmp(origin, t->origin) != 0)
			t->foreign = true;
		free(origin);
	}
	return check_host(t);
}

/* Options that change only with the configuration. */
static void
set_env(struct transfer *t)
{
	struct script_env *env = t->call->env;
	const struct curl_lib *l = t->lib;
	CURL *e = t->easy;

	if (t->env == env)
		return;
	if (!t->env) {
		l->easy_setopt(e, CURLOPT_HEADERFUNCTION, on_head);
		l->easy_setopt(e, CURLOPT_HEADERDATA, t);
		l->easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
		l->easy_setopt(e, CURLOPT_WRITEDATA, t);
		l->easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
		l->easy_setopt(e, CURLOPT_ACCEPT_ENCODING, "gzip, deflate");
		l->easy_setopt(e, CURLOPT_USERAGENT, "bellhop/"
		    BELLHOP_VERSION);
		l->easy_setopt(e, CURLOPT_NOPROXY, "localhost,127.0.0.1,::1");
		l->easy_setopt(e, CURLOPT_HTTP_VERSION,
		    (long)CURL_HTTP_VERSION_2TLS);
	}
	script_env_unref(&t->env);
	t->env = script_env_ref(env);
	if (*env->http_ca_file)
		l->easy_setopt(e, CURLOPT_CAINFO, env->http_ca_file);
	l->easy_setopt(e, CURLOPT_PROXY, env->http_proxy);
}

/* Credentials of one place are none of another's business. */
static bool
skip_line(const struct transfer *t, const char *line)
{
	static const char *const secret[] = {"authorization", "cookie",
	    "proxy-authorization", "x-api-key", "api-key", "x-auth-token"};
	static const char *const bodily[] = {"content-type",
	    "content-encoding", "content-language"};
	size_t i, n = strcspn(line, ":;");

	for (i = 0; t->foreign && i < nitems(secret); i++)
		if (str_is(line, n, secret[i]))
			return true;
	for (i = 0; !t->body && t->hops && i < nitems(bodily); i++)
		if (str_is(line, n, bodily[i]))
			return true;
	return false;
}

static bool
has_line(struct buf *b, const char *name)
{
	const char *p = buf_peek(b), *end = p + buf_size(b);

	for (; p < end; p += strlen(p) + 1)
		if (str_is(p, strcspn(p, ":;"), name))
			return true;
	return false;
}

static void
set_method(struct transfer *t)
{
	struct http_call *h = http_of(t);
	const struct curl_lib *l = t->lib;
	const char *usual = "GET";

	if (t->body) {
		usual = "POST";
		l->easy_setopt(t->easy, CURLOPT_POSTFIELDSIZE_LARGE,
		    (curl_off_t)h->body_len);
		l->easy_setopt(t->easy, CURLOPT_POSTFIELDS, h->body);
		l->easy_setopt(t->easy, CURLOPT_POST, 1L);
	} else {
		l->easy_setopt(t->easy, CURLOPT_HTTPGET, 1L);
	}
	if (strcmp(t->method, "HEAD") == 0 && !t->body) {
		l->easy_setopt(t->easy, CURLOPT_NOBODY, 1L);
		usual = "HEAD";
	}
	l->easy_setopt(t->easy, CURLOPT_CUSTOMREQUEST,
	    strcmp(t->method, usual) == 0 ? NULL : t->method);
}

/* Lines that keep libcurl from adding what the script has not said. */
static void
extra_lines(struct transfer *t, const char *extra[3])
{
	struct http_call *h = http_of(t);

	if (t->body && !has_line(&h->lines, "content-type"))
		*extra++ = "Content-Type:";
	if (t->body && h->body_len >= EXPECT_MIN)
		*extra++ = "Expect:";
	*extra = NULL;
}

/* 0: the handle is ready for the request of t->url. */
static int
prepare(struct transfer *t)
{
	struct http_call *h = http_of(t);
	const struct curl_lib *l = t->lib;
	int64_t spent = (clock_mono_us() - t->begun_us) / 1000;
	const char *extra[3];

	if (spent >= h->timeout_ms) {
		curl_fail(t, CURLE_OPERATION_TIMEDOUT);
		return -1;
	}
	buf_reset(&h->head, KEEP_BYTES);
	buf_reset(&h->reply, KEEP_BYTES);
	t->too_big = false;
	set_env(t);
	set_method(t);
	extra_lines(t, extra);
	l->easy_setopt(t->easy, CURLOPT_URL, t->url);
	l->easy_setopt(t->easy, CURLOPT_HTTPHEADER, curl_lines(t, &h->lines,
	    extra, skip_line));
	l->easy_setopt(t->easy, CURLOPT_TIMEOUT_MS,
	    (long)(h->timeout_ms - spent));
	l->easy_setopt(t->easy, CURLOPT_CONNECTTIMEOUT_MS,
	    (long)h->connect_ms);
	l->easy_setopt(t->easy, CURLOPT_MAXFILESIZE_LARGE,
	    (curl_off_t)h->max_size);
	return 0;
}

int
curl_http_begin(struct transfer *t)
{
	struct http_call *h = http_of(t);

	t->hops = 0;
	t->foreign = false;
	t->method = h->method;
	t->body = h->body != NULL;
	if (take_url(t, h->url) < 0)
		return -1;
	return prepare(t);
}

/* What becomes of the method: only 307 and 308 promise to keep it. */
static void
redirect_method(struct transfer *t, int status)
{
	bool head = strcmp(t->method, "HEAD") == 0;

	if ((status == 303 && !head) ||
	    ((status == 301 || status == 302) &&
	    strcmp(t->method, "POST") == 0)) {
		t->method = "GET";
		t->body = false;
	}
}

/* true: the handle is ready for the next request. */
static bool
redirect(struct transfer *t)
{
	struct http_call *h = http_of(t);
	char *to = NULL, *url;

	if (h->redirects == 0 || h->status < 301 || h->status > 308 ||
	    (h->status > 303 && h->status < 307))
		return false;
	t->lib->easy_getinfo(t->easy, CURLINFO_REDIRECT_URL, &to);
	if (!to)
		return false;
	if (t->hops == h->redirects) {
		call_fail(t->call, "more than %d redirects", h->redirects);
		return false;
	}
	t->hops++;
	redirect_method(t, h->status);
	url = xstrdup(to);
	if (take_url(t, url) < 0 || prepare(t) < 0) {
		free(url);
		return false;
	}
	free(url);
	return true;
}

static void
fail_http(struct transfer *t, CURLcode rc)
{
	struct http_call *h = http_of(t);

	if (t->too_big || rc == CURLE_FILESIZE_EXCEEDED)
		call_fail(t->call, "the answer is larger than max_size (%lld "
		    "bytes)", (long long)h->max_size);
	else if (rc == CURLE_WRITE_ERROR)
		call_fail(t->call, "the answer's header is larger than %d "
		    "bytes", HEAD_MAX);
	else
		curl_fail(t, rc);
}

bool
curl_http_end(struct transfer *t, CURLcode rc)
{
	struct http_call *h = http_of(t);
	long status = 0;

	h->elapsed_us = clock_mono_us() - t->begun_us;
	t->lib->easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
	h->status = (int)status;
	if (rc != CURLE_OK) {
		fail_http(t, rc);
		return false;
	}
	if (redirect(t))
		return true;
	if (!t->call->error)
		h->final_url = xstrdup(t->url);
	return false;
}

/* The body and the lines belong to the call, which is gone in a moment. */
void
curl_http_clear(struct transfer *t)
{
	if (!t->easy)
		return;
	t->lib->easy_setopt(t->easy, CURLOPT_HTTPHEADER, NULL);
	t->lib->easy_setopt(t->easy, CURLOPT_POSTFIELDS, NULL);
	t->lib->easy_setopt(t->easy, CURLOPT_CUSTOMREQUEST, NULL);
}

void
curl_fail(struct transfer *t, CURLcode rc)
{
	const char *words = t->error[0] ? t->error : t->lib->easy_strerror(rc);
	long os = 0;

	t->lib->easy_getinfo(t->easy, CURLINFO_OS_ERRNO, &os);
	if (t->refused)
		call_fail(t->call, "%s is %s: refused%s", t->peer, t->refused,
		    t->kind == CALL_HTTP ? " (allow_hosts can name the host)" :
		    "");
	else if (rc == CURLE_COULDNT_RESOLVE_HOST)
		call_fail(t->call, "could not resolve host '%s'", t->host);
	else if (rc == CURLE_COULDNT_RESOLVE_PROXY)
		call_fail(t->call, "could not resolve the proxy (http_proxy)");
	else if (rc == CURLE_COULDNT_CONNECT && os)
		call_fail(t->call, "could not connect: %s", strerror((int)os));
	else if (rc == CURLE_OPERATION_TIMEDOUT)
		call_fail(t->call, "timeout: %s", words);
	else if (rc == CURLE_GOT_NOTHING)
		call_fail(t->call, "the connection was closed without an "
		    "answer");
	else if (rc == CURLE_PEER_FAILED_VERIFICATION)
		call_fail(t->call, "the server's certificate is refused: %s",
		    words);
	else
		call_fail(t->call, "%s", words);
}
