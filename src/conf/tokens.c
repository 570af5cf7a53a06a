/* SPDX-License-Identifier: MIT */
#include "conf/tokens.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/die.h"
#include "base/rng.h"
#include "base/str.h"
#include "base/xalloc.h"

#define MAX_FILE (8 << 20)
#define HASH_LEN 32
#define NAME_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"  \
	"0123456789_.-"

struct tokens {
	char *path;
	struct token *list;
	size_t n;
};

static void
token_done(struct token *t)
{
	for (size_t i = 0; i < t->npatterns; i++)
		free(t->patterns[i]);
	free(t->patterns);
	free(t->name);
	free(t->role);
}

void
tokens_free(struct tokens **tp)
{
	struct tokens *t = *tp;

	if (!t)
		return;
	for (size_t i = 0; i < t->n; i++)
		token_done(&t->list[i]);
	free(t->list);
	free(t->path);
	free(t);
	*tp = NULL;
}

size_t
tokens_count(const struct tokens *t)
{
	return t->n;
}

const struct token *
tokens_at(const struct tokens *t, size_t i)
{
	return i < t->n ? &t->list[i] : NULL;
}

static void
hash_secret(const char *secret, size_t len, unsigned char out[HASH_LEN])
{
	unsigned int n = 0;

	CHECK(EVP_Digest(secret, len, out, &n, EVP_sha256(), NULL) == 1);
	CHECK(n == HASH_LEN);
}

static bool
is_name(const char *s)
{
	size_t len = strlen(s);

	return len >= 1 && len <= 64 && strspn(s, NAME_CHARS) == len;
}

static bool
is_role(const char *s)
{
	static const char *const roles[] = {"reader", "producer", "worker",
	    "operator", "admin"};

	for (size_t i = 0; i < nitems(roles); i++) {
		if (strcmp(s, roles[i]) == 0)
			return true;
	}
	return false;
}

static bool
is_pattern(const char *s)
{
	size_t len = strlen(s);

	return len >= 1 && len <= 128 &&
	    strspn(s, NAME_CHARS ":*?[]^\\") == len;
}

static int
check_token(const char *name, const char *role, char **patterns,
    size_t npatterns, struct err *e)
{
	if (!is_name(name))
		return err_set(e, BH_E_BADARG, "token name \"%.80s\": "
		    "expected 1 to 64 of A-Z a-z 0-9 _ . -", name);
	if (!is_role(role))
		return err_set(e, BH_E_BADARG, "role \"%.40s\": expected "
		    "one of reader, producer, worker, operator, admin",
		    role);
	for (size_t i = 0; i < npatterns; i++) {
		if (!is_pattern(patterns[i]))
			return err_set(e, BH_E_BADARG, "queue pattern "
			    "\"%.100s\": expected 1 to 128 of A-Z a-z 0-9 "
			    "_ . : - * ? [ ]", patterns[i]);
	}
	return 0;
}

static struct token *
append(struct tokens *t, const char *name, const char *role)
{
	struct token *token;

	t->list = xrealloc(t->list, (t->n + 1) * sizeof(*t->list));
	token = &t->list[t->n++];
	*token = (struct token){.name = xstrdup(name),
	    .role = xstrdup(role)};
	return token;
}

static void
add_pattern(struct token *t, const char *pattern)
{
	t->patterns = xrealloc(t->patterns,
	    (t->npatterns + 1) * sizeof(*t->patterns));
	t->patterns[t->npatterns++] = xstrdup(pattern);
}

static int
parse_hash(const char *hex, unsigned char out[HASH_LEN])
{
	static const char digits[] = "0123456789abcdef";

	if (strlen(hex) != 2 * HASH_LEN ||
	    strspn(hex, digits) != 2 * HASH_LEN)
		return -1;
	for (size_t i = 0; i < HASH_LEN; i++)
		out[i] = (unsigned char)
		    ((strchr(digits, hex[2 * i]) - digits) << 4 |
		    (strchr(digits, hex[2 * i + 1]) - digits));
	return 0;
}

static const struct token *
token_find(const struct tokens *t, const char *name)
{
	for (size_t i = 0; i < t->n; i++) {
		if (strcmp(t->list[i].name, name) == 0)
			return &t->list[i];
	}
	return NULL;
}

/* One line; it is cut into its words. */
static int
parse_line(struct tokens *t, char *line, struct err *e)
{
	char *rest = line, *word;
	const char *name = strsep(&rest, " "), *role = strsep(&rest, " ");
	const char *hex = strsep(&rest, " ");
	unsigned char hash[HASH_LEN];
	struct token *token;

	if (!role || !hex || parse_hash(hex, hash) != 0)
		return err_set(e, BH_E_BADARG,
		    "expected NAME ROLE SHA256-HEX [PATTERN ...]");
	if (check_token(name, role, NULL, 0, e) != 0)
		return -1;
	if (token_find(t, name))
		return err_set(e, BH_E_BADARG, "token \"%s\" stands here a "
		    "second time", name);
	token = append(t, name, role);
	memcpy(token->hash, hash, HASH_LEN);
	while ((word = strsep(&rest, " "))) {
		if (check_token(name, role, &word, 1, e) != 0)
			return -1;
		add_pattern(token, word);
	}
	return 0;
}

static int
parse_all(struct tokens *t, char *text, size_t len, struct err *e)
{
	char *rest = text, *line;
	struct err cause;

	if (strlen(text) != len)
		return err_set(e, BH_E_BADARG, "%s: a NUL byte, expected "
		    "text", t->path);
	for (int n = 1; (line = strsep(&rest, "\n")); n++) {
		if (line[0] == '\0' || line[0] == '#')
			continue;
		if (parse_line(t, line, &cause) != 0)
			return err_set(e, BH_E_BADARG, "%.100s:%d: %.120s",
			    t->path, n, cause.text);
	}
	return 0;
}

int
tokens_open(struct tokens **ret, const char *path, struct err *e)
{
	struct tokens *t = xcalloc(1, sizeof(*t));
	char *text = NULL;
	size_t len = 0;
	int rc;

	t->path = xstrdup(path);
	rc = str_read_file(path, MAX_FILE, &text, &len);
	if (rc == -ENOENT)
		rc = 0;
	else if (rc < 0)
		err_set(e, BH_E_IO, "%.160s: cannot be read: %s", path,
		    strerror(-rc));
	else
		rc = parse_all(t, text, len, e);
	free(text);
	if (rc < 0) {
		tokens_free(&t);
		return -1;
	}
	*ret = t;
	return 0;
}

/* Every token is looked at, whether or not one was found: the time says
 * nothing about which. */
const struct token *
tokens_check(const struct tokens *t, const char *secret, size_t len)
{
	const struct token *found = NULL;
	unsigned char hash[HASH_LEN];

	hash_secret(secret, len, hash);
	for (size_t i = 0; i < t->n; i++) {
		if (CRYPTO_memcmp(hash, t->list[i].hash, HASH_LEN) == 0)
			found = &t->list[i];
	}
	return found;
}

static void
print_all(const struct tokens *t, struct buf *out)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct token *token = &t->list[i];

		buf_addf(out, "%s %s ", token->name, token->role);
		for (size_t k = 0; k < HASH_LEN; k++)
			buf_addf(out, "%02x", token->hash[k]);
		for (size_t k = 0; k < token->npatterns; k++)
			buf_addf(out, " %s", token->patterns[k]);
		buf_addc(out, '\n');
	}
}

static int
write_all(int fd, const char *p, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* So that a power cut cannot undo the rename. */
static int
sync_dir(const char *path)
{
	char *copy = xstrdup(path);
	int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = -1;

	if (fd >= 0) {
		rc = fsync(fd);
		close(fd);
	}
	free(copy);
	return rc;
}

/* The old file or the new one is there at any time, never half of one. */
static int
save(const struct tokens *t, struct err *e)
{
	char *temp = xasprintf("%s.new", t->path);
	struct buf out = BUF_INIT;
	int fd, rc = -1;

	print_all(t, &out);
	unlink(temp);
	fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd >= 0) {
		rc = write_all(fd, buf_peek(&out), buf_size(&out));
		if (rc == 0)
			rc = fsync(fd);
		if (close(fd) != 0)
			rc = -1;
		if (rc == 0)
			rc = rename(temp, t->path);
		if (rc == 0)
			rc = sync_dir(t->path);
	}
	if (rc != 0)
		err_set(e, BH_E_IO, "%.160s: cannot be written: %s", t->path,
		    strerror(errno));
	buf_done(&out);
	free(temp);
	return rc;
}

/* 32 random bytes as base64url; the caller frees it. */
static char *
new_secret(void)
{
	unsigned char raw[32];
	char text[48];

	rng_bytes(raw, sizeof(raw));
	EVP_EncodeBlock((unsigned char *)text, raw, sizeof(raw));
	for (char *p = text; *p; p++) {
		if (*p == '+')
			*p = '-';
		else if (*p == '/')
			*p = '_';
		else if (*p == '=')
			*p = '\0';
	}
	OPENSSL_cleanse(raw, sizeof(raw));
	return xstrdup(text);
}

int
tokens_add(struct tokens *t, const char *name, const char *role,
    char **patterns, size_t npatterns, char **ret_secret, struct err *e)
{
	struct token *token;
	char *secret;

	if (check_token(name, role, patterns, npatterns, e) != 0)
		return -1;
	if (token_find(t, name))
		return err_set(e, BH_E_CONFLICT, "there is a token named "
		    "\"%s\" already: remove it first", name);
	secret = new_secret();
	token = append(t, name, role);
	hash_secret(secret, strlen(secret), token->hash);
	for (size_t i = 0; i < npatterns; i++)
		add_pattern(token, patterns[i]);
	if (save(t, e) != 0) {
		token_done(&t->list[--t->n]);
		free(secret);
		return -1;
	}
	*ret_secret = secret;
	return 0;
}

int
tokens_remove(struct tokens *t, const char *name, struct err *e)
{
	const struct token *token = token_find(t, name);
	struct token removed;
	size_t at;

	if (!token)
		return err_set(e, BH_E_NOTFOUND, "there is no token named "
		    "\"%.80s\"", name);
	at = (size_t)(token - t->list);
	removed = t->list[at];
	memmove(&t->list[at], &t->list[at + 1],
	    (t->n - at - 1) * sizeof(*t->list));
	t->n--;
	if (save(t, e) != 0) {
		memmove(&t->list[at + 1], &t->list[at],
		    (t->n - at) * sizeof(*t->list));
		t->list[at] = removed;
		t->n++;
		return -1;
	}
	token_done(&removed);
	return 0;
}
