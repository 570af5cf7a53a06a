/* SPDX-License-Identifier: MIT */
#include "conf/conf.h"

#include <stdlib.h>
#include <string.h>

#include "base/xalloc.h"
#include "conf/option.h"

static void *
field_of(const struct conf *c, const struct option *o)
{
	return (char *)(uintptr_t)c + o->offset;
}

static char **
split(const char *s)
{
	char **list = xcalloc(1, sizeof(*list));
	size_t n = 0;

	for (s += strspn(s, " "); *s; s += strspn(s, " ")) {
		size_t len = strcspn(s, " ");

		list = xrealloc(list, (n + 2) * sizeof(*list));
		list[n++] = xstrndup(s, len);
		list[n] = NULL;
		s += len;
	}
	return list;
}

static void
list_free(char **list)
{
	for (size_t i = 0; list && list[i]; i++)
		free(list[i]);
	free(list);
}

static void
set_default(struct conf *c, const struct option *o)
{
	void *field = field_of(c, o);

	switch (o->rule.type) {
	case RULE_STR:
	case RULE_ENUM:
		*(char **)field = xstrdup(o->def_s);
		break;
	case RULE_LIST:
		*(char ***)field = split(o->def_s);
		break;
	case RULE_BOOL:
		*(bool *)field = o->def_i != 0;
		break;
	default:
		*(int64_t *)field = o->def_i;
	}
}

struct conf *
conf_new(void)
{
	struct conf *c = xcalloc(1, sizeof(*c));
	const struct option *o;

	c->file = xstrdup("");
	for (size_t i = 0; (o = option_at(i)); i++)
		set_default(c, o);
	return c;
}

void
conf_free(struct conf **cp)
{
	struct conf *c = *cp;
	const struct option *o;

	if (!c)
		return;
	for (size_t i = 0; (o = option_at(i)); i++) {
		void *field = field_of(c, o);

		if (o->rule.type == RULE_STR || o->rule.type == RULE_ENUM)
			free(*(char **)field);
		else if (o->rule.type == RULE_LIST)
			list_free(*(char ***)field);
	}
	for (size_t i = 0; i < c->nqueues; i++)
		free(c->queues[i].pattern);
	for (size_t i = 0; i < c->nuser; i++) {
		free(c->user[i].name);
		free(c->user[i].s);
	}
	free(c->queues);
	free(c->user);
	free(c->file);
	free(c);
	*cp = NULL;
}

const char *
conf_name(size_t i)
{
	const struct option *o = option_at(i);

	return o ? o->rule.name : NULL;
}

static void
add_list(char *const *list, struct buf *out)
{
	for (size_t i = 0; list[i]; i++) {
		if (i)
			buf_addc(out, ' ');
		buf_adds(out, list[i]);
	}
}

static void
add_value(const struct conf *c, const struct option *o, struct buf *out)
{
	void *field = field_of(c, o);

	switch (o->rule.type) {
	case RULE_STR:
	case RULE_ENUM:
		buf_adds(out, *(char **)field);
		break;
	case RULE_LIST:
		add_list(*(char ***)field, out);
		break;
	case RULE_BOOL:
		rule_format(RULE_BOOL, *(bool *)field, out);
		break;
	case RULE_SIZE:
		buf_addi(out, *(int64_t *)field);
		break;
	default:
		rule_format(o->rule.type, *(int64_t *)field, out);
	}
}

/* What stands before the @ of URLs is nobody's business: it becomes ***. */
static void
add_hidden(const char *s, struct buf *out)
{
	const char *from, *at;

	while ((from = strstr(s, "://"))) {
		from += 3;
		at = NULL;
		for (const char *p = from; *p && !strchr(" ?#", *p) &&
		    !(at && *p == '/'); p++)
			if (*p == '@')
				at = p;
		buf_add(out, s, (size_t)(from - s));
		if (at)
			buf_adds(out, "***");
		s = at ? at : from;
	}
	buf_adds(out, s);
}

int
conf_get(const struct conf *c, const char *name, struct buf *out)
{
	const struct option *o = option_find(name);
	struct buf value = BUF_INIT;

	if (!o)
		return -1;
	add_value(c, o, &value);
	add_hidden(buf_str(&value), out);
	buf_done(&value);
	return 0;
}

size_t
conf_needs_restart(const struct conf *old, const struct conf *new_,
    struct buf *out)
{
	const struct option *o;
	size_t n = 0;

	for (size_t i = 0; (o = option_at(i)); i++) {
		struct buf a = BUF_INIT, b = BUF_INIT;

		if (o->reload)
			continue;
		add_value(old, o, &a);
		add_value(new_, o, &b);
		if (strcmp(buf_str(&a), buf_str(&b)) != 0) {
			buf_addf(out, "%s\n", o->rule.name);
			n++;
		}
		buf_done(&a);
		buf_done(&b);
	}
	return n;
}

void
conf_apply_queues(const struct conf *c, struct qopts *q)
{
	qopts_config_clear(q);
	for (size_t i = 0; i < c->nqueues; i++)
		qopts_config_add(q, c->queues[i].pattern, &c->queues[i].opts);
}
