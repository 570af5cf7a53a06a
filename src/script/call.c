/* SPDX-License-Identifier: MIT */
#include "script/call.h"

#include <lauxlib.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "base/xalloc.h"
#include "script/state.h"

void *
call_new(enum call_kind kind, size_t size, struct script_env *env)
{
	struct call *c = xcalloc(1, size);

	c->kind = kind;
	c->env = script_env_ref(env);
	return c;
}

static void
http_free(struct call *c)
{
	struct http_call *h = (struct http_call *)c;

	free(h->url);
	buf_done(&h->lines);
	free(h->body);
	free(h->final_url);
	buf_done(&h->head);
	buf_done(&h->reply);
}

static void
mail_free(struct call *c)
{
	struct mail_call *m = (struct mail_call *)c;
	size_t i;

	free(m->from);
	for (i = 0; i < m->nto; i++)
		free(m->to[i]);
	free(m->to);
	buf_done(&m->lines);
	free(m->text);
	free(m->html);
	for (i = 0; i < m->nfiles; i++) {
		free(m->files[i].name);
		free(m->files[i].type);
		free(m->files[i].data);
	}
	free(m->files);
	free(m->password);
}

static void
list_free(char **list)
{
	size_t i;

	for (i = 0; list && list[i]; i++)
		free(list[i]);
	free(list);
}

static void
exec_free(struct call *c)
{
	struct exec_call *x = (struct exec_call *)c;

	list_free(x->argv);
	list_free(x->envp);
	free(x->input);
	buf_done(&x->out);
	buf_done(&x->err);
}

void
call_free(struct call **cp)
{
	static void (*const fns[CALL_KINDS])(struct call *) = {
		[CALL_HTTP] = http_free,
		[CALL_MAIL] = mail_free,
		[CALL_EXEC] = exec_free,
	};
	struct call *c = *cp;

	*cp = NULL;
	if (!c)
		return;
	fns[c->kind](c);
	script_env_unref(&c->env);
	free(c->error);
	free(c);
}

void
call_fail(struct call *c, const char *fmt, ...)
{
	struct buf b = BUF_INIT;
	va_list ap;

	if (c->error)
		return;
	va_start(ap, fmt);
	buf_vaddf(&b, fmt, ap);
	va_end(ap);
	c->error = buf_take(&b);
}

void
call_check(lua_State *L, const char *what)
{
	if (!state_of(L)->run)
		luaL_error(L, "%s: not while the script loads; do it in "
		    "perform", what);
	if (!lua_isyieldable(L))
		luaL_error(L, "%s: not inside a function of table.sort or "
		    "string.gsub", what);
}

int
call_wait(lua_State *L, struct call *c, lua_KContext ctx, lua_KFunction k)
{
	struct run *r = state_of(L)->run;

	CHECK(!r->call);
	c->run = r;
	r->call = c;
	r->wait = WAIT_CALL;
	return lua_yieldk(L, 0, ctx, k);
}
