/* SPDX-License-Identifier: MIT */
/* One mail over SMTP. The header lines come ready made from lua_mail.c; the
 * body's parts are libcurl's work. */
#include "script/curl_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/xalloc.h"


static struct mail_call *
mail_of(const struct transfer *t)
{
	return (struct mail_call *)t->call;
}

/* The server's last refusal, for the error; after it comes the answer to
 * QUIT. */
static size_t
on_answer(char *data, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;
	size_t len;

	n *= size;
	if (n < 3 || (data[0] != '4' && data[0] != '5'))
		return n;
	len = n < sizeof(t->answer) - 1 ? n : sizeof(t->answer) - 1;
	while (len > 0 && (data[len - 1] == '\n' || data[len - 1] == '\r'))
		len--;
	memcpy(t->answer, data, len);
	t->answer[len] = '\0';
	return n;
}

static bool
is_loopback(const char *host)
{
	return strcasecmp(host, "localhost") == 0 ||
	    strncmp(host, "127.", 4) == 0 || strcmp(host, "[::1]") == 0 ||
	    strcmp(host, "::1") == 0;
}

/* The host of smtp://host:port or smtps://host:port into t->host. */
static int
take_server(struct transfer *t, const char *url)
{
	const struct curl_lib *l = t->lib;
	CURLU *u = l->url();
	char *s = NULL;
	int rc = -1;

	t->host[0] = '\0';
	if (u && l->url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
	    l->url_get(u, CURLUPART_HOST, &s, 0) == CURLUE_OK) {
		snprintf(t->host, sizeof(t->host), "%s", s);
		rc = 0;
	}
	l->free(s);
	l->url_cleanup(u);
	if (rc < 0)
		call_fail(t->call, "option 'mail_server' is not a URL such as "
		    "smtp://mail.example.org:587: \"%s\"", url);
	return rc;
}

static long
tls_level(const struct transfer *t)
{
	const char *level = t->call->env->mail_tls;

	if (strcmp(level, "auto") == 0)
		level = is_loopback(t->host) ? "none" : "required";
	if (strcmp(level, "required") == 0)
		return CURLUSESSL_ALL;
	if (strcmp(level, "opportunistic") == 0)
		return CURLUSESSL_TRY;
	return CURLUSESSL_NONE;
}

static void
set_server(struct transfer *t)
{
	struct script_env *env = t->call->env;
	const struct curl_lib *l = t->lib;
	struct mail_call *m = mail_of(t);

	l->easy_setopt(t->easy, CURLOPT_URL, env->mail_server);
	l->easy_setopt(t->easy, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
	l->easy_setopt(t->easy, CURLOPT_USE_SSL, tls_level(t));
	if (*env->http_ca_file)
		l->easy_setopt(t->easy, CURLOPT_CAINFO, env->http_ca_file);
	if (m->password) {
		l->easy_setopt(t->easy, CURLOPT_USERNAME, env->mail_user);
		l->easy_setopt(t->easy, CURLOPT_PASSWORD, m->password);
	}
	l->easy_setopt(t->easy, CURLOPT_HEADERFUNCTION, on_answer);
	l->easy_setopt(t->easy, CURLOPT_HEADERDATA, t);
	l->easy_setopt(t->easy, CURLOPT_TIMEOUT_MS, 60000L);
	l->easy_setopt(t->easy, CURLOPT_CONNECTTIMEOUT_MS, 20000L);
}

static void
add_text(struct transfer *t, curl_mime *to, const char *text, size_t len,
    const char *type)
{
	curl_mimepart *p = t->lib->mime_addpart(to);

	t->lib->mime_data(p, text, len);
	t->lib->mime_type(p, type);
	t->lib->mime_encoder(p, "quoted-printable");
}

/* text and html, or one of them, as parts of `to`. */
static void
add_words(struct transfer *t, curl_mime *to)
{
	struct mail_call *m = mail_of(t);

	if (m->text)
		add_text(t, to, m->text, m->text_len,
		    "text/plain; charset=utf-8");
	if (m->html)
		add_text(t, to, m->html, m->html_len,
		    "text/html; charset=utf-8");
}

/* filename for old readers, filename* for names beyond ASCII (RFC 6266). */
static void
add_disposition(struct buf *b, const char *name)
{
	const char *p;

	buf_adds(b, "Content-Disposition: attachment; filename=\"");
	for (p = name; *p; p++)
		buf_addc(b, (unsigned char)*p >= 0x7f || *p == '"' ||
		    *p == '\\' ? '_' : *p);
	buf_adds(b, "\"; filename*=UTF-8''");
	for (p = name; *p; p++)
		if ((*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'z') ||
		    (*p >= 'A' && *p <= 'Z') || strchr("-._~", *p))
			buf_addc(b, *p);
		else
			buf_addf(b, "%%%02X", (unsigned char)*p);
}

static void
add_file(struct transfer *t, const struct mail_file *f)
{
	curl_mimepart *p = t->lib->mime_addpart(t->mime);
	struct buf b = BUF_INIT;

	t->lib->mime_data(p, f->data, f->len);
	t->lib->mime_type(p, f->type);
	t->lib->mime_encoder(p, "base64");
	add_disposition(&b, f->name);
	t->lib->mime_headers(p, t->lib->slist_append(NULL, buf_str(&b)), 1);
	buf_done(&b);
}

/* multipart/mixed of the words and the files, or only the words. */
static void
add_parts(struct transfer *t)
{
	struct mail_call *m = mail_of(t);
	const struct curl_lib *l = t->lib;
	curl_mimepart *part;
	curl_mime *words;
	size_t i;

	t->mime = l->mime_init(t->easy);
	if (m->nfiles == 0 || !m->text || !m->html) {
		add_words(t, t->mime);
	} else {
		words = l->mime_init(t->easy);
		add_words(t, words);
		part = l->mime_addpart(t->mime);
		l->mime_subparts(part, words);
		l->mime_type(part, "multipart/alternative");
	}
	for (i = 0; i < m->nfiles; i++)
		add_file(t, &m->files[i]);
	l->easy_setopt(t->easy, CURLOPT_MIMEPOST, t->mime);
}

int
curl_mail_begin(struct transfer *t)
{
	static const char *const mixed[] = {"Content-Type: multipart/mixed",
	    NULL};
	static const char *const both[] = {
	    "Content-Type: multipart/alternative", NULL};
	struct mail_call *m = mail_of(t);
	const struct curl_lib *l = t->lib;
	size_t i;

	if (take_server(t, t->call->env->mail_server) < 0)
		return -1;
	t->answer[0] = '\0';
	set_server(t);
	l->easy_setopt(t->easy, CURLOPT_MAIL_FROM, m->from);
	for (i = 0; i < m->nto; i++)
		t->rcpt = l->slist_append(t->rcpt, m->to[i]);
	l->easy_setopt(t->easy, CURLOPT_MAIL_RCPT, t->rcpt);
	l->easy_setopt(t->easy, CURLOPT_HTTPHEADER, curl_lines(t, &m->lines,
	    m->nfiles == 0 && m->text && m->html ? both : mixed, NULL));
	add_parts(t);
	return 0;
}

void
curl_mail_end(struct transfer *t, CURLcode rc)
{
	long code = 0;

	if (rc == CURLE_OK)
		return;
	t->lib->easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &code);
	if (code >= 400 && rc != CURLE_PEER_FAILED_VERIFICATION) {
		t->call->permanent = code >= 500;
		call_fail(t->call, "%s%s answered: %s", code >= 500 ?
		    "permanent: " : "", t->host, t->answer);
	} else if (rc == CURLE_USE_SSL_FAILED) {
		call_fail(t->call, "%s offers no TLS, and mail_tls wants it",
		    t->host);
	} else if (rc == CURLE_LOGIN_DENIED) {
		t->call->permanent = true;
		call_fail(t->call, "permanent: %s does not take the login of "
		    "mail_user: %s", t->host, t->answer);
	} else {
		curl_fail(t, rc);
	}
}

void
curl_mail_clear(struct transfer *t)
{
	if (t->mime)
		t->lib->mime_free(t->mime);
	t->lib->slist_free_all(t->rcpt);
	t->mime = NULL;
	t->rcpt = NULL;
}
