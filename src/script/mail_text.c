/* SPDX-License-Identifier: MIT */
#include "script/mail_text.h"

#include <ctype.h>
#include <openssl/evp.h>
#include <string.h>
#include <time.h>

#define WORD_BYTES 45			/* 60 characters of base64 */
#define PLAIN_MAX 900			/* a line may have 998 characters */

static bool
is_plain(const char *s, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if ((unsigned char)s[i] < 0x20 || (unsigned char)s[i] > 0x7e)
			return false;
	return len < PLAIN_MAX && !memmem(s, len, "=?", 2);
}

/* The largest piece that splits no character. */
static size_t
piece(const char *s, size_t len)
{
	size_t n = len < WORD_BYTES ? len : WORD_BYTES;

	while (n < len && n > WORD_BYTES - 4 &&
	    ((unsigned char)s[n] & 0xc0) == 0x80)
		n--;
	return n;
}

void
mail_words(struct buf *out, const char *s, size_t len)
{
	unsigned char b64[4 * WORD_BYTES / 3 + 8];
	bool first = true;

	if (is_plain(s, len)) {
		buf_add(out, s, len);
		return;
	}
	while (len > 0) {
		size_t n = piece(s, len);

		EVP_EncodeBlock(b64, (const unsigned char *)s, (int)n);
		buf_addf(out, "%s=?UTF-8?B?%s?=", first ? "" : "\r\n ",
		    (char *)b64);
		first = false;
		s += n;
		len -= n;
	}
}

/* local@domain of printable ASCII without what would end it early. */
static bool
is_address(const char *s, size_t len)
{
	const char *at = memrchr(s, '@', len);
	size_t i;

	if (!at || at == s || at == s + len - 1 || len > 320)
		return false;
	for (i = 0; i < len; i++)
		if ((unsigned char)s[i] <= 0x20 ||
		    (unsigned char)s[i] >= 0x7f || strchr("<>()[],;:\\\"",
		    s[i]))
			return false;
	return memchr(s, '@', len) == at;
}

static void
add_name(struct buf *out, const char *s, size_t len)
{
	size_t i;

	if (!is_plain(s, len)) {
		mail_words(out, s, len);
		return;
	}
	buf_addc(out, '"');
	for (i = 0; i < len; i++) {
		if (s[i] == '"' || s[i] == '\\')
			buf_addc(out, '\\');
		buf_addc(out, s[i]);
	}
	buf_addc(out, '"');
}

static void
trim(const char **s, size_t *len)
{
	while (*len > 0 && isspace((unsigned char)**s)) {
		(*s)++;
		(*len)--;
	}
	while (*len > 0 && isspace((unsigned char)(*s)[*len - 1]))
		(*len)--;
}

bool
mail_address(struct buf *out, struct buf *addr, const char *s, size_t len)
{
	const char *open;

	if (memchr(s, '\r', len) || memchr(s, '\n', len) ||
	    memchr(s, '\0', len))
		return false;
	trim(&s, &len);
	open = memrchr(s, '<', len);
	if (!open) {
		if (!is_address(s, len))
			return false;
		buf_add(out, s, len);
		buf_add(addr, s, len);
		return true;
	}
	if (s[len - 1] != '>' ||
	    !is_address(open + 1, len - (size_t)(open - s) - 2))
		return false;
	buf_add(addr, open + 1, len - (size_t)(open - s) - 2);
	len = (size_t)(open - s);
	trim(&s, &len);
	if (len > 1 && s[0] == '"' && s[len - 1] == '"') {
		s++;
		len -= 2;
	}
	if (len > 0) {
		add_name(out, s, len);
		buf_addc(out, ' ');
	}
	buf_addf(out, "<%s>", buf_str(addr));
	return true;
}

void
mail_date(struct buf *out, int64_t wall_ms)
{
	static const char days[] = "SunMonTueWedThuFriSat";
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	time_t t = (time_t)(wall_ms / 1000);
	struct tm tm;

	gmtime_r(&t, &tm);
	buf_addf(out, "%.3s, %d %.3s %d %02d:%02d:%02d +0000",
	    days + 3 * tm.tm_wday, tm.tm_mday, months + 3 * tm.tm_mon,
	    tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

char *
mail_lines(const char *s, size_t len, size_t *ret_len)
{
	struct buf b = BUF_INIT;
	size_t i;

	for (i = 0; i < len; i++) {
		if (s[i] == '\n' && (i == 0 || s[i - 1] != '\r'))
			buf_addc(&b, '\r');
		buf_addc(&b, s[i]);
	}
	*ret_len = buf_size(&b);
	return buf_take(&b);
}
