/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "base/str.h"
#include "base/xalloc.h"
#include "conf/conf.h"
#include "conf/reader.h"

#define MAX_FILE (4 << 20)
#define MAX_DEPTH 16
#define MAX_NAME 200

static void *
field_of(struct conf *c, const struct option *o)
{
	return (char *)c + o->offset;
}

/* "unix:PATH" or "HOST:PORT" or "[HOST]:PORT". */
static bool
is_address(const char *s)
{
	const char *colon = strrchr(s, ':');
	int64_t port;

	if (strncmp(s, "unix:", 5) == 0)
		return s[5] && strlen(s + 5) <
		    sizeof(((struct sockaddr_un *)0)->sun_path);
	if (!colon || colon == s || strpbrk(s, " \t\n"))
		return false;
	if (s[0] == '[' ? colon[-1] != ']' || colon - s < 3 :
	    memchr(s, ':', (size_t)(colon - s)) != NULL)
		return false;
	return str_int(colon + 1, strlen(colon + 1), &port) == 0 &&
	    port >= 0 && port <= 65535;
}

static bool
is_plugin(const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyz"
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");

	return n > 0 && n <= 64 && s[n] == '\0';
}

static bool
is_host(const char *s)
{
	return *s && strlen(s) <= 255 && !strpbrk(s, " \t\n/:@");
}

/* Browsers send scheme, host and port, nothing more. */
static bool
is_origin(const char *s)
{
	const char *host = strstr(s, "://");

	if (strcmp(s, "*") == 0 || strcmp(s, "null") == 0)
		return true;
	return host && host > s && host[3] && strlen(s) <= 255 &&
	    !strpbrk(host + 3, " \t\n/@");
}

/* What an element of this list has to look like, NULL when it does. */
static const char *
element_wants(const struct option *o, const char *s)
{
	if (strncmp(o->rule.name, "listen.", 7) == 0)
		return is_address(s) ? NULL : "an address unix:PATH (107 "
		    "bytes at most) or HOST:PORT (port 0 to 65535)";
	if (strcmp(o->rule.name, "keys.volatile") == 0)
		return strlen(s) <= 256 ? NULL : "a prefix of at most 256 "
		    "bytes";
	if (strcmp(o->rule.name, "allow_hosts") == 0)
		return *s && !strpbrk(s, "/@ \t\n") ? NULL : "the name or "
		    "address of a host, or a pattern such as *.example.org";
	if (strcmp(o->rule.name, "exec_allow") == 0)
		return *s == '/' ? NULL : "the absolute path of a program";
	if (strcmp(o->rule.name, "http_hosts") == 0)
		return is_host(s) ? NULL : "a name without scheme and port, "
		    "or *";
	if (strcmp(o->rule.name, "http_origins") == 0)
		return is_origin(s) ? NULL : "a site as browsers name it: "
		    "SCHEME://HOST[:PORT], without a path, or *";
	if (strcmp(o->rule.name, "backend.sentinel") == 0)
		return *s && !strpbrk(s, " \t\n") ? NULL : "the HOST:PORT of a"
		    " sentinel";
	return is_plugin(s) ? NULL : "a plugin's name, 1 to 64 of "
	    "A-Z a-z 0-9 _ -";
}

static bool
is_mail_server(const char *s)
{
	const char *host = strncmp(s, "smtp://", 7) == 0 ? s + 7 :
	    strncmp(s, "smtps://", 8) == 0 ? s + 8 : "";
	const char *colon = strrchr(host, ':');
	int64_t port;

	if (!*host || colon == host || strpbrk(host, "/@ \t\n"))
		return false;
	if (!colon || host[strlen(host) - 1] == ']')
		return true;
	return str_int(colon + 1, strlen(colon + 1), &port) == 0 &&
	    port >= 1 && port <= 65535;
}

/* What this text has to look like, NULL when it does. */
static const char *
text_wants(const struct option *o, const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyz"
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:-");

	if (strcmp(o->rule.name, "alerts.queue") == 0)
		return n <= 128 && s[n] == '\0' ? NULL : "a queue's name, 1 "
		    "to 128 of A-Z a-z 0-9 _ . : -";
	if (strcmp(o->rule.name, "alerts.webhook") == 0)
		return strncmp(s, "https://", 8) == 0 ||
		    strncmp(s, "http://", 7) == 0 ? NULL :
		    "a URL http://… or https://…";
	if (strcmp(o->rule.name, "alerts.mail") == 0 ||
	    strcmp(o->rule.name, "mail_from") == 0)
		return !*s || strchr(s, '@') ? NULL : "a mail address";
	if (strcmp(o->rule.name, "mail_server") == 0)
		return !*s || is_mail_server(s) ? NULL : "smtp://HOST:PORT or "
		    "smtps://HOST:PORT";
	return NULL;
}

static bool
holds(char *const *list, const char *s)
{
	for (; *list; list++)
		if (strcmp(*list, s) == 0)
			return true;
	return false;
}

static void
read_list(struct reader *r, const config_setting_t *s,
    const struct option *o)
{
	struct buf expected = BUF_INIT;
	int type = config_setting_type(s), n = config_setting_length(s);
	char ***field = field_of(r->conf, o), **list;

	if (type != CONFIG_TYPE_ARRAY && type != CONFIG_TYPE_LIST) {
		rule_expects(&o->rule, &expected);
		reader_reject(r, s, o->rule.name, buf_str(&expected));
		buf_done(&expected);
		return;
	}
	list = xcalloc((size_t)n + 1, sizeof(*list));
	for (int i = 0, kept = 0; i < n; i++) {
		const config_setting_t *elem =
		    config_setting_get_elem(s, (unsigned)i);
		const char *text = config_setting_get_string(elem);
		const char *wants = text ? element_wants(o, text) :
		    "strings in its list";

		/* Two of one plugin would be one object with two owners. */
		if (!wants && strcmp(o->rule.name, "plugins") == 0 &&
		    holds(list, text))
			wants = "each plugin once";
		if (wants)
			reader_reject(r, elem, o->rule.name, wants);
		else
			list[kept++] = xstrdup(text);
	}
	for (size_t i = 0; (*field)[i]; i++)
		free((*field)[i]);
	free(*field);
	*field = list;
}

static void
read_option(struct reader *r, const config_setting_t *s,
    const struct option *o)
{
	struct value v;
	void *field = field_of(r->conf, o);
	const char *wants;

	if (o->rule.type == RULE_LIST) {
		read_list(r, s, o);
		return;
	}
	if (reader_value(r, s, &o->rule, &v) != 0)
		return;
	wants = o->rule.type == RULE_STR ? text_wants(o, v.s) : NULL;
	if (wants) {
		reader_reject(r, s, o->rule.name, wants);
		return;
	}
	if (o->rule.type == RULE_BOOL) {
		*(bool *)field = v.i;
	} else if (v.s) {
		free(*(char **)field);
		*(char **)field = xstrdup(v.s);
	} else {
		*(int64_t *)field = v.i;
	}
}

/* The structured options stand beside the rows in what may be meant. */
static const char *
known_name(size_t i)
{
	static const char *const structured[] = {"queues", "config"};

	if (i < nitems(structured))
		return structured[i];
	return conf_name(i - nitems(structured));
}

/* Whether some option is called "name.…". */
static bool
is_prefix(const char *name)
{
	size_t len = strlen(name);
	const char *full;

	for (size_t i = 0; (full = conf_name(i)); i++) {
		if (strncmp(full, name, len) == 0 && full[len] == '.')
			return true;
	}
	return false;
}

static void
read_group(struct reader *r, const config_setting_t *group,
    const char *prefix)
{
	const config_setting_t *s;
	char name[MAX_NAME];

	for (unsigned i = 0; (s = config_setting_get_elem(group, i)); i++) {
		const struct option *o;

		snprintf(name, sizeof(name), "%s%s%s", prefix,
		    *prefix ? "." : "", config_setting_name(s));
		o = option_find(name);
		if (o)
			read_option(r, s, o);
		else if (strcmp(name, "queues") == 0)
			reader_queues(r, s);
		else if (strcmp(name, "config") == 0)
			reader_user(r, s);
		else if (!is_prefix(name))
			reader_unknown(r, s, name, known_name);
		else if (config_setting_is_group(s))
			read_group(r, s, name);
		else
			reader_reject(r, s, name, "a group { … }");
	}
}

/* Takes the leaf, or says why not. */
static void
add_leaf(struct reader *r, const config_setting_t *s, const char *name)
{
	struct conf *c = r->conf;
	struct conf_user u = {0};

	switch (config_setting_type(s)) {
	case CONFIG_TYPE_STRING:
		u.type = 's';
		u.s = xstrdup(config_setting_get_string(s));
		break;
	case CONFIG_TYPE_FLOAT:
		u.type = 'd';
		u.d = config_setting_get_float(s);
		break;
	case CONFIG_TYPE_BOOL:
		u.type = 'b';
		u.i = config_setting_get_bool(s);
		break;
	default:
		u.type = 'i';
		u.i = config_setting_get_int64(s);
	}
	u.name = xstrdup(name);
	c->user = xrealloc(c->user, (c->nuser + 1) * sizeof(*c->user));
	c->user[c->nuser++] = u;
}

/* Members of arrays and lists are named by their number, from 1. */
static void
read_user(struct reader *r, const config_setting_t *s, const char *name,
    int depth)
{
	char child[MAX_NAME];

	if (config_setting_is_scalar(s)) {
		add_leaf(r, s, name);
		return;
	}
	for (int i = 0; i < config_setting_length(s); i++) {
		const config_setting_t *elem =
		    config_setting_get_elem(s, (unsigned)i);
		const char *own = config_setting_name(elem);
		const char *dot = *name ? "." : "";
		int n = own ?
		    snprintf(child, sizeof(child), "%s%s%s", name, dot, own) :
		    snprintf(child, sizeof(child), "%s%s%d", name, dot,
			i + 1);

		if (n < (int)sizeof(child) && depth < MAX_DEPTH)
			read_user(r, elem, child, depth + 1);
		else
			reader_error(r, elem, "option 'config.%.40s…': "
			    "nested deeper than %d or a name longer than %d",
			    name, MAX_DEPTH, MAX_NAME - 1);
	}
}

void
reader_user(struct reader *r, const config_setting_t *s)
{
	if (!config_setting_is_group(s))
		reader_reject(r, s, "config", "a group { … } of values for "
		    "scripts");
	else
		read_user(r, s, "", 0);
}

/* What no rule of one option can say. */
static void
check_together(struct reader *r, const config_t *cfg)
{
	const struct conf *c = r->conf;
	const config_setting_t *at = config_lookup(cfg, "max_request");

	if (c->max_request >= c->max_payload)
		return;
	at = at ? at : config_lookup(cfg, "max_payload");
	reader_error(r, at, "option 'max_request': %jd bytes cannot hold a "
	    "payload of max_payload (%jd bytes)", (intmax_t)c->max_request,
	    (intmax_t)c->max_payload);
}

/* What makes the whole text unreadable. */
PRINTF(3, 4) static void
unreadable(struct reader *r, int line, const char *fmt, ...)
{
	char what[BH_ERROR_TEXT];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	r->errors++;
	err_set(r->e, BH_E_BADARG, "%.120s:%d: %.100s", r->file, line, what);
	if (r->report)
		buf_addf(r->report, "%s:%d: %s\n", r->file, line, what);
}

static void
parse_error(struct reader *r, const config_t *cfg)
{
	const char *main_file = r->file, *file = config_error_file(cfg);
	const char *cause = config_error_text(cfg);

	if (strcmp(cause, "syntax error") == 0)
		cause = "syntax error, expected NAME = VALUE; (is a bracket "
		    "or a semicolon missing here or above?)";
	r->file = file ? file : main_file;
	unreadable(r, config_error_line(cfg), "%s", cause);
	r->file = main_file;
}

static void
read_text(struct reader *r, const char *text)
{
	char *path = xstrdup(r->file);
	config_t cfg;

	config_init(&cfg);
	config_set_include_dir(&cfg, dirname(path));
	if (!config_read_string(&cfg, text)) {
		parse_error(r, &cfg);
	} else {
		read_group(r, config_root_setting(&cfg), "");
		if (r->errors == 0)
			check_together(r, &cfg);
	}
	config_destroy(&cfg);
	free(path);
}

static void
read_bytes(struct reader *r, const char *text, size_t len)
{
	const char *nul = len ? memchr(text, '\0', len) : NULL;
	char *wide;
	int line = 1;

	if (nul) {
		for (const char *p = text; p < nul; p++)
			line += *p == '\n';
		unreadable(r, line, "a NUL byte, expected text");
		return;
	}
	wide = reader_widen(text, len, &line);
	if (wide)
		read_text(r, wide);
	else
		unreadable(r, line, "a string or comment begins here and "
		    "never ends");
	free(wide);
}

int
conf_load_text(struct conf **ret, const char *name, const char *text,
    size_t len, struct buf *report, struct err *e)
{
	struct reader r = {.file = name, .report = report, .e = e,
	    .conf = conf_new()};

	free(r.conf->file);
	r.conf->file = xstrdup(name);
	read_bytes(&r, text, len);
	if (r.errors) {
		conf_free(&r.conf);
		return -1;
	}
	*ret = r.conf;
	return 0;
}

int
conf_load(struct conf **ret, const char *file, struct buf *report,
    struct err *e)
{
	char *text;
	size_t len;
	int rc = str_read_file(file, MAX_FILE, &text, &len);

	if (rc < 0) {
		err_set(e, BH_E_BADARG, "%s: cannot be read: %s", file,
		    strerror(-rc));
		if (report)
			buf_addf(report, "%s\n", e->text);
		return -1;
	}
	rc = conf_load_text(ret, file, text, len, report, e);
	free(text);
	return rc;
}
