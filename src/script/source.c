/* SPDX-License-Identifier: MIT */
#include "script/source.h"

#include <ctype.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/attr.h"
#include "base/die.h"
#include "base/xalloc.h"
#include "script/script_schedule.h"

static struct conf_user *
user_copy(const struct conf_user *from, size_t n)
{
	struct conf_user *to = xcalloc(n, sizeof(*to));
	size_t i;

	for (i = 0; i < n; i++) {
		to[i] = from[i];
		to[i].name = xstrdup(from[i].name);
		to[i].s = from[i].s ? xstrdup(from[i].s) : NULL;
	}
	return to;
}

/* Options that a test leaves out are NULL. */
static char *
text_copy(const char *s)
{
	return xstrdup(s ? s : "");
}

static char **
list_copy(char *const *from, bool lower)
{
	size_t n = 0, i;
	char **to, *p;

	while (from && from[n])
		n++;
	to = xcalloc(n + 1, sizeof(*to));
	for (i = 0; i < n; i++) {
		to[i] = xstrdup(from[i]);
		for (p = to[i]; lower && *p; p++)
			*p = (char)tolower((unsigned char)*p);
	}
	return to;
}

static void
list_free(char **list)
{
	size_t i;

	for (i = 0; list[i]; i++)
		free(list[i]);
	free(list);
}

static bool
list_equal(char *const *a, char *const *b)
{
	size_t i;

	for (i = 0; a[i] && b[i]; i++)
		if (strcmp(a[i], b[i]) != 0)
			return false;
	return !a[i] && !b[i];
}

/* The plain strings of an environment. */
static const size_t texts[] = {
	offsetof(struct script_env, lua_dir),
	offsetof(struct script_env, secrets_dir),
	offsetof(struct script_env, state_dir),
	offsetof(struct script_env, http_ca_file),
	offsetof(struct script_env, http_proxy),
	offsetof(struct script_env, mail_server),
	offsetof(struct script_env, mail_user),
	offsetof(struct script_env, mail_password),
	offsetof(struct script_env, mail_from),
	offsetof(struct script_env, mail_tls),
};

static char *
text_at(const struct script_env *e, size_t i)
{
	return *(char **)(uintptr_t)((const char *)e + texts[i]);
}

struct script_env *
script_env_new(const struct conf *conf)
{
	struct script_env *e = xcalloc(1, sizeof(*e));

	atomic_init(&e->refs, 1);
	e->lua_dir = text_copy(conf->lua_dir);
	e->secrets_dir = text_copy(conf->secrets_dir);
	e->state_dir = text_copy(conf->state_dir);
	e->http_ca_file = text_copy(conf->http_ca_file);
	e->http_proxy = text_copy(conf->http_proxy);
	e->http_max_size = conf->http_max_size;
	e->allow_hosts = list_copy(conf->allow_hosts, true);
	e->mail_server = text_copy(conf->mail_server);
	e->mail_user = text_copy(conf->mail_user);
	e->mail_password = text_copy(conf->mail_password);
	e->mail_from = text_copy(conf->mail_from);
	e->mail_tls = text_copy(conf->mail_tls);
	e->exec_allow = list_copy(conf->exec_allow, false);
	/* Not compared below: it changes nothing for other scripts. */
	e->alerts = (conf->alerts_webhook && *conf->alerts_webhook) ||
	    (conf->alerts_mail && *conf->alerts_mail);
	e->memory = conf->script_memory;
	e->cpu_ms = conf->script_cpu;
	e->max_payload = conf->max_payload;
	e->max_result = conf->max_result;
	e->user = user_copy(conf->user, conf->nuser);
	e->nuser = conf->nuser;
	return e;
}

struct script_env *
script_env_ref(struct script_env *e)
{
	atomic_fetch_add(&e->refs, 1);
	return e;
}

void
script_env_unref(struct script_env **ep)
{
	struct script_env *e = *ep;
	size_t i;

	*ep = NULL;
	if (!e || atomic_fetch_sub(&e->refs, 1) > 1)
		return;
	for (i = 0; i < e->nuser; i++) {
		free(e->user[i].name);
		free(e->user[i].s);
	}
	free(e->user);
	for (i = 0; i < nitems(texts); i++)
		free(text_at(e, i));
	list_free(e->allow_hosts);
	list_free(e->exec_allow);
	free(e);
}

static bool
user_equal(const struct conf_user *a, const struct conf_user *b)
{
	if (strcmp(a->name, b->name) != 0 || a->type != b->type)
		return false;
	if (a->type == 's')
		return strcmp(a->s, b->s) == 0;
	return a->i == b->i && memcmp(&a->d, &b->d, sizeof(a->d)) == 0;
}

bool
script_env_equal(const struct script_env *a, const struct script_env *b)
{
	size_t i;

	for (i = 0; i < nitems(texts); i++)
		if (strcmp(text_at(a, i), text_at(b, i)) != 0)
			return false;
	if (a->memory != b->memory || a->cpu_ms != b->cpu_ms ||
	    a->max_payload != b->max_payload ||
	    a->max_result != b->max_result || a->nuser != b->nuser ||
	    a->http_max_size != b->http_max_size ||
	    !list_equal(a->allow_hosts, b->allow_hosts) ||
	    !list_equal(a->exec_allow, b->exec_allow))
		return false;
	for (i = 0; i < a->nuser; i++)
		if (!user_equal(&a->user[i], &b->user[i]))
			return false;
	return true;
}

static void
version_set(struct source *s)
{
	unsigned char md[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	int i;

	CHECK(EVP_Digest(s->text, s->len, md, &n, EVP_sha256(), NULL) == 1);
	for (i = 0; i < 12; i++) {
		int half = i & 1 ? md[i / 2] & 15 : md[i / 2] >> 4;

		s->version[i] = "0123456789abcdef"[half];
	}
}

struct source *
source_new(const char *file, char *text, size_t len, struct script_env *env)
{
	struct source *s = xcalloc(1, sizeof(*s));
	char *slash;

	atomic_init(&s->refs, 1);
	s->file = xstrdup(file);
	slash = strrchr(s->file, '/');
	s->name = slash ? slash + 1 : s->file;
	s->text = text;
	s->len = len;
	s->env = script_env_ref(env);
	version_set(s);
	return s;
}

struct source *
source_ref(struct source *s)
{
	atomic_fetch_add(&s->refs, 1);
	return s;
}

void
source_unref(struct source **sp)
{
	struct source *s = *sp;

	*sp = NULL;
	if (!s || atomic_fetch_sub(&s->refs, 1) > 1)
		return;
	script_env_unref(&s->env);
	script_plan_free(&s->plan);
	free(s->file);
	free(s->text);
	free(s);
}

char *
source_error(const char *file, const char *msg)
{
	const char *slash = strrchr(file, '/');
	const char *name = slash ? slash + 1 : file;
	size_t n = strlen(name);

	if (strncmp(msg, name, n) == 0 && msg[n] == ':')
		return xasprintf("%s%s", file, msg + n);
	return xasprintf("%s: %s", file, msg);
}

/* Past a comment that begins at p, or p itself. */
static const char *
skip_comment(const char *p, const char *end)
{
	const char *q;

	if (end - p < 2 || p[0] != '-' || p[1] != '-')
		return p;
	if (end - p >= 4 && p[2] == '[' && p[3] == '[') {
		q = memmem(p, (size_t)(end - p), "]]", 2);
		return q ? q + 2 : end;
	}
	q = memchr(p, '\n', (size_t)(end - p));
	return q ? q : end;
}

static const char *
skip_blank(const char *p, const char *end)
{
	while (p < end && isspace((unsigned char)*p))
		p++;
	return p;
}

/* The quoted value after "NAME =" at p, or NULL. */
static char *
quoted_value(const char *p, const char *end)
{
	const char *q;

	p = skip_blank(p, end);
	if (p == end || *p++ != '=')
		return NULL;
	p = skip_blank(p, end);
	if (p == end || (*p != '"' && *p != '\''))
		return NULL;
	q = memchr(p + 1, *p, (size_t)(end - p - 1));
	if (!q || q - p - 1 < 1 || q - p - 1 > 128)
		return NULL;
	return xstrndup(p + 1, (size_t)(q - p - 1));
}

/* Behind the next `name` outside of comments and of longer words, or NULL. */
static const char *
find_word(const char *p, const char *end, const char *name)
{
	size_t n = strlen(name);
	bool word = false;		/* p is inside a word */

	while (p < end) {
		const char *q = skip_comment(p, end);

		if (q != p) {
			p = q;
			word = false;
			continue;
		}
		if (!word && (size_t)(end - p) > n && memcmp(p, name, n) == 0)
			return p + n;
		word = isalnum((unsigned char)*p) || *p == '_' || *p == '.';
		p++;
	}
	return NULL;
}

/* The first quoted value that a `name` is set to, or NULL. */
static char *
find_value(const char *p, const char *end, const char *name)
{
	char *value = NULL;

	while (!value && (p = find_word(p, end, name)))
		value = quoted_value(p, end);
	return value;
}

char *
source_guess_queue(const char *text, size_t len)
{
	return find_value(text, text + len, "queue");
}

char *
source_guess_hook(const char *text, size_t len)
{
	const char *end = text + len, *p = text, *q;
	char *name;

	while ((p = find_word(p, end, "hook"))) {
		q = skip_blank(p, end);
		if (q == end || *q != '=')
			continue;
		name = find_value(q, end, "name");
		return name ? name : source_guess_queue(text, len);
	}
	return NULL;
}
