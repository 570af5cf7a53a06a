/* SPDX-License-Identifier: MIT */
#include "script/lua_mail.h"

#include <ctype.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/attr.h"
#include "base/clock.h"
#include "base/rng.h"
#include "base/str.h"
#include "base/xalloc.h"
#include "script/lua_misc.h"
#include "script/mail_text.h"
#include "script/state.h"

#define RECIPIENTS_MAX 1000
#define FILES_MAX 100

/* The mail is built in a userdata, so that an error on the way loses
 * nothing: its __gc frees what was not sent. */
static const char meta_key;		/* registry: metatable of drafts */

static const char *const fields[] = {"from", "to", "cc", "bcc", "reply_to",
    "subject", "text", "html", "attachments", "headers"};

struct draft {
	lua_State *L;
	struct mail_call *m;		/* NULL once it is on its way */
};

static int
draft_gc(lua_State *L)
{
	struct cpu *cpu = &state_of(L)->host->cpu;
	struct draft *d = lua_touserdata(L, 1);
	struct call *c = d->m ? &d->m->call : NULL;

	cpu_guard(cpu);
	d->m = NULL;
	call_free(&c);
	cpu_unguard(cpu);
	return 0;
}

static struct draft *
draft_new(lua_State *L)
{
	struct draft *d = lua_newuserdatauv(L, sizeof(*d), 0);
	struct state *st = state_of(L);

	d->L = L;
	d->m = NULL;
	lua_rawgetp(L, LUA_REGISTRYINDEX, &meta_key);
	lua_setmetatable(L, -2);
	cpu_guard(&st->host->cpu);
	d->m = call_new(CALL_MAIL, sizeof(*d->m), st->src->env);
	cpu_unguard(&st->host->cpu);
	return d;
}

static void
check_fields(lua_State *L)
{
	const char *name;
	size_t i;

	lua_pushnil(L);
	while (lua_next(L, 1)) {
		name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) :
		    "";
		for (i = 0; i < nitems(fields); i++)
			if (strcmp(fields[i], name) == 0)
				break;
		if (i == nitems(fields))
			luaL_error(L, "mail.send: unknown field '%s'",
			    luaL_tolstring(L, -2, NULL));
		lua_pop(L, 1);
	}
}

/* The string on top, or NULL for nil; anything else is an error. */
static const char *
text_on_top(lua_State *L, const char *field, size_t *len)
{
	if (lua_isnil(L, -1))
		return NULL;
	if (lua_type(L, -1) != LUA_TSTRING)
		luaL_error(L, "mail.send: field '%s' must be a string, not a "
		    "%s", field, luaL_typename(L, -1));
	return lua_tolstring(L, -1, len);
}

static void
refuse_breaks(lua_State *L, const char *field, const char *s, size_t len)
{
	if (memchr(s, '\r', len) || memchr(s, '\n', len) ||
	    memchr(s, '\0', len))
		luaL_error(L, "mail.send: field '%s' has a line break", field);
}

static void
line_begin(struct draft *d, const char *name)
{
	struct cpu *cpu = &state_of(d->L)->host->cpu;

	cpu_guard(cpu);
	buf_addf(&d->m->lines, "%s: ", name);
	cpu_unguard(cpu);
}

static void
line_end(struct draft *d)
{
	struct cpu *cpu = &state_of(d->L)->host->cpu;

	cpu_guard(cpu);
	buf_addc(&d->m->lines, '\0');
	cpu_unguard(cpu);
}

static void
add_line(struct draft *d, const char *name, const char *s, size_t len)
{
	struct cpu *cpu = &state_of(d->L)->host->cpu;

	line_begin(d, name);
	cpu_guard(cpu);
	mail_words(&d->m->lines, s, len);
	cpu_unguard(cpu);
	line_end(d);
}

/* One address: into the line under construction, and (unless it is the
 * sender's) to the recipients. */
static void
add_address(struct draft *d, const char *field, bool recipient, bool shown,
    bool first)
{
	struct cpu *cpu = &state_of(d->L)->host->cpu;
	struct buf form = BUF_INIT, addr = BUF_INIT;
	struct mail_call *m = d->m;
	size_t len = 0;
	const char *s = text_on_top(d->L, field, &len);
	bool ok;

	if (m->nto == RECIPIENTS_MAX)
		luaL_error(d->L, "mail.send: more than %d recipients",
		    RECIPIENTS_MAX);
	cpu_guard(cpu);
	ok = s && mail_address(&form, &addr, s, len);
	if (ok && shown) {
		buf_adds(&m->lines, first ? "" : ",\r\n ");
		buf_adds(&m->lines, buf_str(&form));
	}
	if (ok && recipient) {
		m->to = xrealloc(m->to, (m->nto + 2) * sizeof(*m->to));
		m->to[m->nto++] = xstrdup(buf_str(&addr));
		m->to[m->nto] = NULL;
	} else if (ok && !m->from) {
		m->from = xstrdup(buf_str(&addr));
	}
	buf_done(&form);
	buf_done(&addr);
	cpu_unguard(cpu);
	if (!ok)
		luaL_error(d->L, "mail.send: field '%s': '%s' is no address "
		    "such as \"Ana <ana@example.org>\"; several go into a "
		    "list", field, luaL_tolstring(d->L, -1, NULL));
}

/* A field that is an address or a list of them. header NULL: not shown. */
static void
read_addresses(struct draft *d, const char *field, const char *header,
    bool recipient)
{
	lua_State *L = d->L;
	lua_Integer i, n = 1;
	bool list;

	lua_getfield(L, 1, field);
	list = lua_istable(L, -1);
	if (list)
		n = luaL_len(L, -1);
	if (lua_isnil(L, -1) || n == 0) {
		lua_pop(L, 1);
		return;
	}
	if (header)
		line_begin(d, header);
	for (i = 1; i <= n; i++) {
		if (list)
			lua_geti(L, -1, i);
		add_address(d, field, recipient, header != NULL, i == 1);
		if (list)
			lua_pop(L, 1);
	}
	if (header)
		line_end(d);
	lua_pop(L, 1);
}

static void
read_from(struct draft *d)
{
	const char *def = state_of(d->L)->src->env->mail_from;

	lua_getfield(d->L, 1, "from");
	if (lua_isnil(d->L, -1)) {
		if (!*def && state_of(d->L)->host->dry)
			def = "bellhop@localhost";
		if (!*def)
			luaL_error(d->L, "mail.send: field 'from' is missing, "
			    "and option 'mail_from' is not set");
		lua_pop(d->L, 1);
		lua_pushstring(d->L, def);
	}
	line_begin(d, "From");
	add_address(d, "from", false, true, true);
	line_end(d);
	lua_pop(d->L, 1);
}

static void
read_subject(struct draft *d)
{
	size_t len = 0;
	const char *s;

	lua_getfield(d->L, 1, "subject");
	s = text_on_top(d->L, "subject", &len);
	if (s) {
		refuse_breaks(d->L, "subject", s, len);
		add_line(d, "Subject", s, len);
	}
	lua_pop(d->L, 1);
}

static void
add_own_lines(struct draft *d)
{
	struct cpu *cpu = &state_of(d->L)->host->cpu;
	struct mail_call *m = d->m;
	unsigned char r[12];
	const char *domain;
	size_t i, n;

	cpu_guard(cpu);
	rng_bytes(r, sizeof(r));
	n = (size_t)snprintf(m->id, sizeof(m->id), "%llx.",
	    (unsigned long long)clock_now().wall_ms);
	for (i = 0; i < sizeof(r); i++)
		n += (size_t)snprintf(m->id + n, sizeof(m->id) - n, "%02x",
		    r[i]);
	domain = strrchr(m->from, '@');
	snprintf(m->id + n, sizeof(m->id) - n, "@%.60s", domain + 1);
	buf_adds(&m->lines, "Date: ");
	mail_date(&m->lines, clock_now().wall_ms);
	buf_addc(&m->lines, '\0');
	buf_addf(&m->lines, "Message-ID: <%s>", m->id);
	buf_addc(&m->lines, '\0');
	cpu_unguard(cpu);
}

static void
read_headers(struct draft *d)
{
	static const char *const ours[] = {"from", "to", "cc", "bcc", "sender",
	    "subject", "date", "message-id", "reply-to", "mime-version"};
	lua_State *L = d->L;
	const char *name, *value;
	size_t i, n, len;

	lua_getfield(L, 1, "headers");
	if (lua_isnil(L, -1)) {
		lua_pop(L, 1);
		return;
	}
	if (!lua_istable(L, -1))
		luaL_error(L, "mail.send: field 'headers' must be a table");
	lua_pushnil(L);
	while (lua_next(L, -2)) {
		name = lua_type(L, -2) == LUA_TSTRING ?
		    lua_tolstring(L, -2, &n) : "";
		for (i = 0; name[i]; i++)
			if (!isalnum((unsigned char)name[i]) && name[i] != '-')
				break;
		if (i == 0 || name[i] || n != i)
			luaL_error(L, "mail.send: '%s' is no name for a "
			    "header", name);
		for (i = 0; i < nitems(ours); i++)
			if (str_is(name, n, ours[i]))
				luaL_error(L, "mail.send: header '%s' has a "
				    "field of its own", name);
		if (n > 8 && str_is(name, 8, "content-"))
			luaL_error(L, "mail.send: header '%s' follows from "
			    "the mail's parts", name);
		value = text_on_top(L, name, &len);
		refuse_breaks(L, name, value, len);
		add_line(d, name, value, len);
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
}

static void
read_body(struct draft *d, const char *field, char **to, size_t *ret_len)
{
	struct cpu *cpu = &state_of(d->L)->host->cpu;
	size_t len = 0;
	const char *s;

	lua_getfield(d->L, 1, field);
	s = text_on_top(d->L, field, &len);
	if (s) {
		cpu_guard(cpu);
		*to = mail_lines(s, len, ret_len);
		cpu_unguard(cpu);
	}
	lua_pop(d->L, 1);
}

/* A string member of the attachment on top, copied. */
static char *
file_member(struct draft *d, const char *member, const char *def, bool binary,
    size_t *ret_len)
{
	struct cpu *cpu = &state_of(d->L)->host->cpu;
	lua_State *L = d->L;
	char field[40], *copy;
	const char *s;
	size_t len = 0;

	snprintf(field, sizeof(field), "attachments.%s", member);
	lua_getfield(L, -1, member);
	s = text_on_top(L, field, &len);
	if (!s && !def)
		luaL_error(L, "mail.send: an attachment has no '%s'", member);
	if (!s) {
		s = def;
		len = strlen(def);
	}
	if (!binary)
		refuse_breaks(L, field, s, len);
	cpu_guard(cpu);
	copy = xstrndup(s, len);
	cpu_unguard(cpu);
	lua_pop(L, 1);
	if (ret_len)
		*ret_len = len;
	return copy;
}

static bool
type_ok(const char *type)
{
	const char *slash = strchr(type, '/');

	for (; *type; type++)
		if (!isalnum((unsigned char)*type) &&
		    !strchr("/+-._; =\"", *type))
			return false;
	return slash && slash[1];
}

static void
read_files(struct draft *d)
{
	struct cpu *cpu = &state_of(d->L)->host->cpu;
	struct mail_call *m = d->m;
	lua_State *L = d->L;
	lua_Integer i, n;

	lua_getfield(L, 1, "attachments");
	if (lua_isnil(L, -1)) {
		lua_pop(L, 1);
		return;
	}
	n = lua_istable(L, -1) ? luaL_len(L, -1) : -1;
	if (n < 0 || n > FILES_MAX)
		luaL_error(L, "mail.send: field 'attachments' must be a list "
		    "of at most %d", FILES_MAX);
	cpu_guard(cpu);
	m->files = xcalloc((size_t)n + 1, sizeof(*m->files));
	cpu_unguard(cpu);
	for (i = 1; i <= n; i++) {
		struct mail_file *f = &m->files[m->nfiles];

		if (lua_geti(L, -1, i) != LUA_TTABLE)
			luaL_error(L, "mail.send: an attachment must be a "
			    "table { name =, type =, data = }");
		m->nfiles++;
		f->name = file_member(d, "name", NULL, false, NULL);
		f->type = file_member(d, "type", "application/octet-stream",
		    false, NULL);
		f->data = file_member(d, "data", NULL, true, &f->len);
		if (!type_ok(f->type))
			luaL_error(L, "mail.send: '%s' is no type of an "
			    "attachment", f->type);
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
}

static void
check_complete(struct draft *d)
{
	if (d->m->nto == 0)
		luaL_error(d->L, "mail.send: nobody to send it to: field 'to' "
		    "is missing");
	if (!d->m->text && !d->m->html)
		luaL_error(d->L, "mail.send: field 'text' or 'html' is "
		    "missing");
}

/* What the configuration has to say. */
static void
read_config(struct draft *d)
{
	struct state *st = state_of(d->L);
	const struct script_env *env = st->src->env;

	if (st->host->dry)
		return;
	if (!*env->mail_server)
		luaL_error(d->L, "mail.send: option 'mail_server' is not set");
	if (!*env->mail_user)
		return;
	lua_misc_secret(d->L, *env->mail_password ? env->mail_password :
	    "mail_password");
	cpu_guard(&st->host->cpu);
	d->m->password = xstrdup(lua_tostring(d->L, -1));
	cpu_unguard(&st->host->cpu);
	lua_pop(d->L, 1);
}

static int
mail_end(lua_State *L, int status, lua_KContext ctx)
{
	const struct mail_call *m =
	    (struct mail_call *)state_of(L)->run->called;

	(void)status;
	(void)ctx;
	if (m->call.error)
		return luaL_error(L, "mail.send: %s", m->call.error);
	lua_pushstring(L, m->id);
	return 1;
}

static int
mail_send(lua_State *L)
{
	struct mail_call *m;
	struct draft *d;

	call_check(L, "mail.send");
	luaL_checktype(L, 1, LUA_TTABLE);
	lua_settop(L, 1);
	check_fields(L);
	d = draft_new(L);
	read_from(d);
	read_addresses(d, "to", "To", true);
	read_addresses(d, "cc", "Cc", true);
	read_addresses(d, "bcc", NULL, true);
	read_addresses(d, "reply_to", "Reply-To", false);
	read_subject(d);
	add_own_lines(d);
	read_headers(d);
	read_body(d, "text", &d->m->text, &d->m->text_len);
	read_body(d, "html", &d->m->html, &d->m->html_len);
	read_files(d);
	check_complete(d);
	read_config(d);
	m = d->m;
	d->m = NULL;
	return call_wait(L, &m->call, 0, mail_end);
}

void
lua_mail_open(lua_State *L)
{
	static const luaL_Reg lib[] = {
		{"send", mail_send},
		{NULL, NULL},
	};

	lua_createtable(L, 0, 1);
	lua_pushcfunction(L, draft_gc);
	lua_setfield(L, -2, "__gc");
	lua_rawsetp(L, LUA_REGISTRYINDEX, &meta_key);
	luaL_newlib(L, lib);
	lua_setfield(L, -2, "mail");
}
