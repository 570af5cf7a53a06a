/* SPDX-License-Identifier: MIT */
#include "script/hook.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/str.h"

#define MD_MAX EVP_MAX_MD_SIZE

static const char *const methods[] = {"GET", "POST", "PUT"};

void
hook_opts_init(struct hook_opts *o)
{
	memset(o, 0, sizeof(*o));
	o->methods = hook_method("POST");
	o->timestamp.window_ms = 5 * 60 * 1000;
	o->delivery_ttl_ms = 24 * 3600 * 1000;
}

unsigned
hook_method(const char *name)
{
	unsigned i;

	for (i = 0; i < nitems(methods); i++)
		if (strcmp(methods[i], name) == 0)
			return 1u << i;
	return 0;
}

static struct bh_bytes
find(const struct bh_header *list, size_t n, const char *name)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (strcmp(list[i].name, name) == 0)
			return list[i].value;
	return (struct bh_bytes){NULL, 0};
}

struct bh_bytes
hook_header(const struct bh_hook *h, const char *name)
{
	return find(h->headers, h->nheaders, name);
}

/* Takes the next part off the front of *rest: up to a byte of `ends`, blanks
 * around it removed. false: nothing is left. */
static bool
next_part(struct bh_bytes *rest, const char *ends, struct bh_bytes *ret)
{
	const char *p = rest->data, *end = p + rest->len, *q;

	while (p < end && (*p == ' ' || strchr(ends, *p)))
		p++;
	if (p == end)
		return false;
	for (q = p; q < end && !strchr(ends, *q); )
		q++;
	*rest = (struct bh_bytes){q, (size_t)(end - q)};
	while (q > p && q[-1] == ' ')
		q--;
	*ret = (struct bh_bytes){p, (size_t)(q - p)};
	return true;
}

/* Cuts a prefix off; false when it is not there. */
static bool
cut(struct bh_bytes *v, const char *prefix)
{
	size_t n = strlen(prefix);

	if (v->len < n || strncasecmp(v->data, prefix, n) != 0)
		return false;
	v->data += n;
	v->len -= n;
	return true;
}

/* The first "field=value" of a header such as "t=…,v1=…". */
static struct bh_bytes
find_field(struct bh_bytes v, const char *field)
{
	struct bh_bytes part;

	while (next_part(&v, ",", &part))
		if (cut(&part, field) && cut(&part, "="))
			return part;
	return (struct bh_bytes){NULL, 0};
}

static int64_t
parse_rfc3339(struct bh_bytes v)
{
	char text[40];
	const char *p;
	struct tm tm = {0};
	int h = 0, m = 0;
	int64_t at;

	if (v.len >= sizeof(text))
		return -1;
	memcpy(text, v.data, v.len);
	text[v.len] = '\0';
	p = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	if (!p)
		return -1;
	at = (int64_t)timegm(&tm) * 1000;
	if (*p == '.')
		p += 1 + strspn(p + 1, "0123456789");
	if ((*p == 'Z' || *p == 'z') && !p[1])
		return at;
	if ((*p != '+' && *p != '-') || sscanf(p + 1, "%2d:%2d", &h, &m) != 2)
		return -1;
	return at + (*p == '-' ? 1 : -1) * (int64_t)(h * 60 + m) * 60000;
}

/* Wall ms, or -1. */
static int64_t
parse_time(struct bh_bytes v, enum hook_time format)
{
	int64_t n;

	if (format == HOOK_RFC3339)
		return parse_rfc3339(v);
	if (str_int(v.data, v.len, &n) < 0 || n < 0 || n > INT64_MAX / 1000)
		return -1;
	return format == HOOK_SECONDS ? n * 1000 : n;
}

/* The signed time as it is written; checks that it is near now. */
static int
check_time(const struct hook_opts *o, const struct bh_hook *h,
    int64_t wall_ms, struct bh_bytes *ret, struct err *e)
{
	const char *header = *o->timestamp.header ? o->timestamp.header :
	    o->header;
	struct bh_bytes v = hook_header(h, header);
	char span[40];
	int64_t at;

	if (v.data && *o->timestamp.field)
		v = find_field(v, o->timestamp.field);
	if (!v.data)
		return err_set(e, BH_E_NOAUTH, "the header %s has no time",
		    header);
	at = parse_time(v, (enum hook_time)o->timestamp.format);
	if (at < 0)
		return err_set(e, BH_E_NOAUTH, "the time in the header %s is "
		    "\"%.*s\", expected %s", header,
		    v.len > 40 ? 40 : (int)v.len, v.data,
		    o->timestamp.format == HOOK_RFC3339 ?
		    "a date such as 2026-01-31T08:00:00Z" :
		    o->timestamp.format == HOOK_SECONDS ?
		    "seconds since 1970" : "milliseconds since 1970");
	if (llabs((long long)(wall_ms - at)) > o->timestamp.window_ms) {
		str_span((int64_t)llabs((long long)(wall_ms - at)), span,
		    sizeof(span));
		return err_set(e, BH_E_NOAUTH, "its time is %s %s: outside of "
		    "the window", span, at < wall_ms ? "old" : "ahead");
	}
	*ret = v;
	return 0;
}

/* What is signed: the body, or the template filled in. */
static struct bh_bytes
signed_text(const struct hook_opts *o, const struct bh_hook *h,
    struct bh_bytes time, struct buf *room)
{
	const char *p = o->payload;
	struct bh_bytes id;

	if (!*p || strcmp(p, "{body}") == 0)
		return h->body;
	while (*p) {
		if (strncmp(p, "{body}", 6) == 0) {
			buf_add(room, h->body.data, h->body.len);
			p += 6;
		} else if (strncmp(p, "{timestamp}", 11) == 0) {
			buf_add(room, time.data, time.len);
			p += 11;
		} else if (strncmp(p, "{id}", 4) == 0) {
			id = hook_header(h, o->delivery);
			buf_add(room, id.data, id.len);
			p += 4;
		} else {
			buf_addc(room, *p++);
		}
	}
	return (struct bh_bytes){buf_peek(room), buf_size(room)};
}

/* The bytes that a signature stands for; their number, 0 when it is none. */
static size_t
decode(struct bh_bytes v, enum hook_encoding encoding, unsigned char *out)
{
	size_t n = 0;
	int rc;

	if (encoding == HOOK_BASE64)
		rc = sodium_base642bin(out, MD_MAX, v.data, v.len, NULL, &n,
		    NULL, sodium_base64_VARIANT_ORIGINAL);
	else
		rc = sodium_hex2bin(out, MD_MAX, v.data, v.len, NULL, &n,
		    NULL);
	return rc == 0 ? n : 0;
}

/* A secret as it is, or "whsec_…" decoded. */
static struct bh_bytes
secret_key(const struct hook_opts *o, struct bh_bytes s, unsigned char *room,
    size_t size)
{
	size_t n = 0;

	if (o->secret_encoding != HOOK_BASE64)
		return s;
	(void)cut(&s, "whsec_");
	if (sodium_base642bin(room, size, s.data, s.len, NULL, &n, NULL,
	    sodium_base64_VARIANT_ORIGINAL) != 0)
		n = 0;
	return (struct bh_bytes){(char *)room, n};
}

static bool
mac_is(const struct hook_opts *o, struct bh_bytes secret,
    struct bh_bytes text, const unsigned char *sig, size_t len)
{
	const EVP_MD *type = o->signature == HOOK_SHA256 ? EVP_sha256() :
	    o->signature == HOOK_SHA1 ? EVP_sha1() : EVP_sha512();
	unsigned char md[MD_MAX], room[512];
	struct bh_bytes key = secret_key(o, secret, room, sizeof(room));
	unsigned n = 0;

	if (key.len == 0 || !HMAC(type, key.data, (int)key.len,
	    (const unsigned char *)text.data, text.len, md, &n))
		return false;
	return n == len && sodium_memcmp(md, sig, n) == 0;
}

/* One candidate against every secret; none of them is left out, so that the
 * time does not tell which one it was. */
static bool
candidate_ok(const struct hook_opts *o, const struct bh_bytes *secrets,
    size_t nsecrets, struct bh_bytes text, struct bh_bytes v)
{
	unsigned char sig[MD_MAX];
	size_t i, len;
	bool ok = false;

	if (*o->prefix) {
		if (!cut(&v, o->prefix))
			return false;
	} else {
		(void)cut(&v, o->signature == HOOK_SHA256 ? "sha256=" :
		    o->signature == HOOK_SHA1 ? "sha1=" : "sha512=");
	}
	len = decode(v, (enum hook_encoding)o->encoding, sig);
	for (i = 0; len && i < nsecrets; i++)
		ok |= mac_is(o, secrets[i], text, sig, len);
	return ok;
}

/* The header may carry several signatures: "v1=…,v1=…" or "v1,… v1,…". */
static bool
signature_ok(const struct hook_opts *o, const struct bh_bytes *secrets,
    size_t nsecrets, struct bh_bytes text, struct bh_bytes v)
{
	struct bh_bytes part;
	bool ok = false;
	int n = 0;

	while (n++ < 16 && next_part(&v, *o->field ? "," : " ", &part)) {
		if (*o->field && (!cut(&part, o->field) || !cut(&part, "=")))
			continue;
		ok |= candidate_ok(o, secrets, nsecrets, text, part);
	}
	return ok;
}

/* By their digests: whatever their lengths are. */
static bool
token_ok(const struct hook_opts *o, const struct bh_bytes *secrets,
    size_t nsecrets, struct bh_bytes v)
{
	unsigned char a[crypto_hash_sha256_BYTES], b[sizeof(a)];
	bool ok = false;
	size_t i;

	if (*o->prefix && !cut(&v, o->prefix))
		return false;
	crypto_hash_sha256(a, (const unsigned char *)v.data, v.len);
	for (i = 0; i < nsecrets; i++) {
		crypto_hash_sha256(b, (const unsigned char *)secrets[i].data,
		    secrets[i].len);
		ok |= secrets[i].len > 0 && sodium_memcmp(a, b, sizeof(a)) == 0;
	}
	return ok;
}

int
hook_verify(const struct hook_opts *o, const struct bh_bytes *secrets,
    size_t nsecrets, const struct bh_hook *h, int64_t wall_ms, struct err *e)
{
	struct bh_bytes v, text, time = {NULL, 0};
	struct buf room = BUF_INIT;
	bool ok;

	if (o->signature == HOOK_NONE)
		return 0;
	v = *o->query ? find(h->query, h->nquery, o->query) :
	    hook_header(h, o->header);
	if (!v.data)
		return err_set(e, BH_E_NOAUTH, "the %s %s is missing",
		    *o->query ? "parameter" : "header",
		    *o->query ? o->query : o->header);
	if ((*o->timestamp.header || *o->timestamp.field) &&
	    check_time(o, h, wall_ms, &time, e) < 0)
		return -1;
	if (o->signature == HOOK_TOKEN) {
		ok = token_ok(o, secrets, nsecrets, v);
	} else {
		text = signed_text(o, h, time, &room);
		ok = signature_ok(o, secrets, nsecrets, text, v);
		buf_done(&room);
	}
	if (!ok)
		return err_set(e, BH_E_NOAUTH, "the %s is not right",
		    o->signature == HOOK_TOKEN ? "token" : "signature");
	return 0;
}
