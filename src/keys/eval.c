/* SPDX-License-Identifier: MIT */
/* EVAL and its kin, SCRIPT, the scripts that are known, and Lua's memory. */
#include "keys/eval.h"

#include <lauxlib.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "base/str.h"
#include "base/xalloc.h"

/* Scripts that are remembered; what goes is NOSCRIPT again, as after a
 * restart, which clients are prepared for. */
enum { SCRIPTS_MAX = 1000, TEXT_BYTES = 4 << 20, STEP_KB = 256 };

/* --- memory --- */

/* A shrink is never refused: Lua counts on that. */
static void *
lua_alloc(void *ud, void *p, size_t old_size, size_t size)
{
	struct eval *ev = ud;

	if (!p)
		old_size = 0;		/* Lua passes a type there */
	if (size > old_size && !ev->uncapped &&
	    ev->used - old_size + size > ev->cap)
		return NULL;
	ev->used = ev->used - old_size + size;
	if (size == 0) {
		free(p);
		return NULL;
	}
	return xrealloc(p, size);
}

size_t
eval_room(const struct eval *ev)
{
	return ev->used < ev->cap ? ev->cap - ev->used : 0;
}

static int
on_panic(lua_State *L)
{
	CHECK(!lua_tostring(L, -1));
	return 0;
}

/* --- scripts --- */

void
eval_sha(const char *data, size_t len, char hex[EVAL_SHA + 1])
{
	unsigned char md[EVP_MAX_MD_SIZE];
	unsigned n;

	CHECK(EVP_Digest(data, len, md, &n, EVP_sha1(), NULL) == 1);
	for (size_t i = 0; i < EVAL_SHA / 2; i++)
		snprintf(hex + 2 * i, 3, "%02x", md[i]);
}

static uint64_t
sha_hash(const char *sha)
{
	uint64_t h = 0;

	for (int i = 0; i < 16; i++)
		h = h << 4 | (uint64_t)(sha[i] <= '9' ? sha[i] - '0' :
		    (sha[i] | 32) - 'a' + 10);
	return h;
}

static uint64_t
script_hash(const void *item)
{
	return ((const struct eval_script *)item)->hash;
}

static bool
script_equal(const void *item, const void *sha)
{
	return memcmp(((const struct eval_script *)item)->sha, sha,
	    EVAL_SHA) == 0;
}

static const struct map_ops script_ops = {script_hash, script_equal};

static struct eval_script *
script_find(struct eval *ev, struct bh_bytes name)
{
	struct eval_script *s;
	char sha[EVAL_SHA];

	if (!ev || name.len != EVAL_SHA)
		return NULL;
	for (size_t i = 0; i < EVAL_SHA; i++) {
		char ch = name.data[i];

		if (ch >= 'A' && ch <= 'F')
			ch |= 32;
		if (!((ch >= '0' && ch <= '9') || (ch >= 'a' && ch <= 'f')))
			return NULL;
		sha[i] = ch;
	}
	s = map_get(&ev->by_sha, sha_hash(sha), sha);
	if (s && TAILQ_FIRST(&ev->lru) != s) {
		TAILQ_REMOVE(&ev->lru, s, lru);
		TAILQ_INSERT_HEAD(&ev->lru, s, lru);
	}
	return s;
}

static void
script_free(struct eval *ev, struct eval_script *s)
{
	map_remove(&ev->by_sha, s);
	TAILQ_REMOVE(&ev->lru, s, lru);
	ev->nscripts--;
	ev->text_bytes -= s->size;
	luaL_unref(ev->L, LUA_REGISTRYINDEX, s->fn);
	free(s);
}

static void
scripts_forget(struct eval *ev)
{
	struct eval_script *s;

	while ((s = TAILQ_FIRST(&ev->lru)))
		script_free(ev, s);
}

/* --- the first line --- */

static bool
take_flag(struct kcall *c, struct eval_script *s, const char *flag, size_t len)
{
	/* What only concerns replicas and clusters holds here anyway. */
	static const char *const others[] = {"allow-stale", "no-cluster",
	    "allow-cross-slot-keys"};

	if (str_is(flag, len, "no-writes")) {
		s->no_writes = true;
		return true;
	}
	if (str_is(flag, len, "allow-oom")) {
		s->allow_oom = true;
		return true;
	}
	for (size_t i = 0; i < nitems(others); i++)
		if (str_is(flag, len, others[i]))
			return true;
	put_error(c, "ERR Unexpected flag in script shebang: %.*s",
	    (int)(len > 100 ? 100 : len), flag);
	return false;
}

static bool
take_flags(struct kcall *c, struct eval_script *s, const char *at,
    const char *end)
{
	while (at < end) {
		const char *comma = memchr(at, ',', (size_t)(end - at));
		const char *stop = comma ? comma : end;

		if (!take_flag(c, s, at, (size_t)(stop - at)))
			return false;
		at = comma ? comma + 1 : end;
	}
	return true;
}

/* "#!lua flags=no-writes,allow-oom": *text goes to the end of that line. */
static bool
take_shebang(struct kcall *c, struct eval_script *s, struct bh_bytes *text)
{
	const char *at = text->data, *end, *word;

	if (text->len < 2 || memcmp(at, "#!", 2))
		return true;
	end = memchr(at, '\n', text->len);
	if (!end) {
		put_error(c, "ERR Invalid script shebang");
		return false;
	}
	s->shebang = true;
	text->len -= (size_t)(end - at);
	text->data = end;
	for (word = at; at < end; word = at) {
		while (word < end && (*word == ' ' || *word == '\r'))
			word++;
		for (at = word; at < end && *at != ' ' && *at != '\r'; )
			at++;
		if (word == at)
			break;
		if (*word == '#') {
			if (at - word == 5 && memcmp(word, "#!lua", 5) == 0)
				continue;
			put_error(c, "ERR Unexpected engine in script shebang:"
			    " %.*s", (int)(at - word > 100 ? 100 : at - word),
			    word);
			return false;
		}
		if (at - word >= 6 && memcmp(word, "flags=", 6) == 0) {
			if (!take_flags(c, s, word + 6, at))
				return false;
			continue;
		}
		put_error(c, "ERR Unknown lua shebang option: %.*s",
		    (int)(at - word > 100 ? 100 : at - word), word);
		return false;
	}
	return true;
}

/* --- compiling --- */

struct source {
	struct bh_bytes text;
	int fn;
};

static int
compile(lua_State *L)
{
	struct source *src = lua_touserdata(L, 1);

	if (luaL_loadbufferx(L, src->text.data, src->text.len, "@user_script",
	    "t") != LUA_OK)
		return lua_error(L);
	src->fn = luaL_ref(L, LUA_REGISTRYINDEX);
	return 0;
}

static void
make_room(struct eval *ev, size_t size)
{
	while (ev->nscripts > 0 && (ev->nscripts >= SCRIPTS_MAX ||
	    ev->text_bytes + size > TEXT_BYTES))
		script_free(ev, TAILQ_LAST(&ev->lru, eval_list));
}

static int
compile_in(struct eval *ev, struct source *src)
{
	lua_pushcfunction(ev->L, compile);
	lua_pushlightuserdata(ev->L, src);
	return lua_pcall(ev->L, 1, 0, 0);
}

/* Those that are known leave when it has no memory beside them. */
static int
compile_source(struct eval *ev, struct source *src)
{
	int status = compile_in(ev, src);

	if (status != LUA_ERRMEM || ev->nscripts == 0)
		return status;
	lua_pop(ev->L, 1);
	scripts_forget(ev);
	lua_gc(ev->L, LUA_GCCOLLECT);
	return compile_in(ev, src);
}

/* NULL: the answer is an error. */
static struct eval_script *
script_load(struct kcall *c, struct eval *ev, struct bh_bytes text)
{
	struct eval_script made = {.size = text.len}, *s;
	struct source src = {.text = text};

	if (!take_shebang(c, &made, &src.text))
		return NULL;
	make_room(ev, text.len);
	if (compile_source(ev, &src) != LUA_OK) {
		const char *why = lua_tostring(ev->L, -1);

		put_error(c, "ERR Error compiling script (new function):"
		    " %.180s", why ? why : "unknown error");
		lua_pop(ev->L, 1);
		return NULL;
	}
	made.fn = src.fn;
	eval_sha(text.data, text.len, made.sha);
	made.hash = sha_hash(made.sha);
	s = xmemdup(&made, sizeof(made));
	map_put(&ev->by_sha, s);
	TAILQ_INSERT_HEAD(&ev->lru, s, lru);
	ev->nscripts++;
	ev->text_bytes += s->size;
	return s;
}

/* The script of this text, known or new. */
static struct eval_script *
script_of(struct kcall *c, struct eval *ev, struct bh_bytes text)
{
	char sha[EVAL_SHA + 1];
	struct eval_script *s;

	eval_sha(text.data, text.len, sha);
	s = script_find(ev, (struct bh_bytes){sha, EVAL_SHA});
	return s ? s : script_load(c, ev, text);
}

/* --- life --- */

void
eval_free(struct eval **evp)
{
	struct eval *ev = *evp;

	if (!ev)
		return;
	scripts_forget(ev);
	map_done(&ev->by_sha);
	ev->uncapped = true;
	if (ev->L)
		lua_close(ev->L);
	free(ev);
	*evp = NULL;
}

static struct eval *
eval_new(struct keys *ks)
{
	struct eval *ev = xcalloc(1, sizeof(*ev));

	ev->ks = ks;
	ev->cap = SIZE_MAX / 2;
	map_init(&ev->by_sha, &script_ops);
	TAILQ_INIT(&ev->lru);
	ev->L = lua_newstate(lua_alloc, ev);
	CHECK(ev->L);
	lua_atpanic(ev->L, on_panic);
	*(struct eval **)lua_getextraspace(ev->L) = ev;
	lua_pushcfunction(ev->L, eval_open_base);
	CHECK(lua_pcall(ev->L, 0, 0, 0) == LUA_OK);
	ev->tidy_bytes = ev->used;
	return ev;
}

/* Made by the first script. */
static struct eval *
eval_get(struct keys *ks)
{
	if (!ks->eval)
		ks->eval = eval_new(ks);
	ks->eval->cap = ks->limits.eval_bytes > 0 ?
	    (size_t)ks->limits.eval_bytes : SIZE_MAX / 2;
	return ks->eval;
}

bool
eval_collect(struct eval *ev)
{
	if (lua_gc(ev->L, LUA_GCSTEP, STEP_KB) == 0)
		return false;
	ev->untidy = false;
	ev->tidy_bytes = ev->used;
	return true;
}

/* One step a turn, while a big script's garbage is about. */
void
eval_tidy(struct eval *ev)
{
	if (ev && ev->untidy && !ev->run)
		(void)eval_collect(ev);
}

bool
eval_untidy(const struct eval *ev)
{
	return ev && ev->untidy;
}

/* --- EVAL --- */

static bool
arg_nkeys(struct kcall *c, size_t *ret)
{
	int64_t n;

	if (!arg_number(c, 2, &n))
		return false;
	if (n > (int64_t)c->argc - 3)
		put_error(c, "ERR Number of keys can't be greater than number"
		    " of args");
	else if (n < 0)
		put_error(c, "ERR Number of keys can't be negative");
	else
		*ret = (size_t)n;
	return n >= 0 && n <= (int64_t)c->argc - 3;
}

/* What says in its first line that it knows of OOM is asked here. */
static bool
has_memory(struct kcall *c, const struct eval_script *s)
{
	struct keys *ks = c->ks;

	if (!s->shebang || s->no_writes || s->allow_oom ||
	    ks->limits.durable_bytes == 0 ||
	    ks->durable_bytes <= ks->limits.durable_bytes)
		return true;
	put_error(c, "OOM allow-oom flag is not set on the script, can not run"
	    " it when used memory > 'maxmemory'");
	return false;
}

static void
eval(struct kcall *c, bool by_sha, bool read_only)
{
	struct eval_script *s;
	struct eval *ev;
	size_t nkeys = 0;

	if (!arg_nkeys(c, &nkeys))
		return;
	ev = eval_get(c->ks);
	s = by_sha ? script_find(ev, c->argv[1]) :
	    script_of(c, ev, c->argv[1]);
	if (!s && by_sha)
		put_error(c, "NOSCRIPT No matching script. Please use EVAL.");
	if (s && has_memory(c, s))
		eval_begin(c, ev, s, nkeys, read_only);
}

void
k_eval(struct kcall *c)
{
	eval(c, false, false);
}

void
k_evalsha(struct kcall *c)
{
	eval(c, true, false);
}

void
k_eval_ro(struct kcall *c)
{
	eval(c, false, true);
}

void
k_evalsha_ro(struct kcall *c)
{
	eval(c, true, true);
}

/* --- SCRIPT --- */

static void
script_help(struct kcall *c)
{
	static const char *const lines[] = {
		"SCRIPT <subcommand> [<arg> [value] [opt] ...]. Subcommands"
		" are:",
		"EXISTS <sha1> [<sha1> ...]",
		"    Return information about the existence of the scripts in"
		" the script cache.",
		"FLUSH [ASYNC|SYNC]",
		"    Flush the Lua scripts cache. Very dangerous on replicas.",
		"KILL",
		"    Kill the currently executing Lua script.",
		"LOAD <script>",
		"    Load a script into the scripts cache without executing"
		" it.",
		"HELP",
		"    Prints this help.",
	};

	put_array(c, nitems(lines));
	for (size_t i = 0; i < nitems(lines); i++)
		put_status(c, lines[i]);
}

static void
script_exists(struct kcall *c)
{
	put_array(c, c->argc - 2);
	for (size_t i = 2; i < c->argc; i++)
		put_int(c, script_find(c->ks->eval, c->argv[i]) != NULL);
}

static void
script_load_command(struct kcall *c)
{
	struct eval_script *s = script_of(c, eval_get(c->ks), c->argv[2]);

	if (s)
		put_bytes(c, s->sha, EVAL_SHA);
}

static void
script_flush(struct kcall *c)
{
	struct eval *ev = c->ks->eval;

	if (c->argc == 3 &&
	    !str_is(c->argv[2].data, c->argv[2].len, "ASYNC") &&
	    !str_is(c->argv[2].data, c->argv[2].len, "SYNC")) {
		put_error(c, "ERR SCRIPT FLUSH only support SYNC|ASYNC"
		    " option");
		return;
	}
	if (ev) {
		scripts_forget(ev);
		ev->untidy = true;
	}
	put_ok(c);
}

/* While a script runs, eval_answer_now() comes first. */
static void
script_kill(struct kcall *c)
{
	put_error(c, "NOTBUSY No scripts in execution right now.");
}

void
k_script(struct kcall *c)
{
	static const struct {
		const char *name;
		size_t min, max;
		void (*fn)(struct kcall *c);
	} subs[] = {
		{"EXISTS", 3, SIZE_MAX, script_exists},
		{"FLUSH", 2, 3, script_flush}, {"HELP", 2, 2, script_help},
		{"KILL", 2, 2, script_kill},
		{"LOAD", 3, 3, script_load_command},
	};
	struct bh_bytes word = c->argv[1];

	for (size_t i = 0; i < nitems(subs); i++) {
		char low[16];
		size_t n = 0;

		if (!str_is(word.data, word.len, subs[i].name))
			continue;
		if (c->argc >= subs[i].min && c->argc <= subs[i].max) {
			subs[i].fn(c);
			return;
		}
		for (; subs[i].name[n]; n++)
			low[n] = (char)(subs[i].name[n] | 32);
		low[n] = '\0';
		put_error(c, "ERR wrong number of arguments for 'script|%s'"
		    " command", low);
		return;
	}
	put_error(c, "ERR unknown subcommand '%.*s'. Try SCRIPT HELP.",
	    (int)(word.len > 128 ? 128 : word.len), word.data);
}

/* --- while a script runs --- */

static bool
is_kill(const struct bh_key_command *r)
{
	return r->argc == 2 && str_is(r->argv[0].data, r->argv[0].len,
	    "SCRIPT") && str_is(r->argv[1].data, r->argv[1].len, "KILL");
}

static void
kill_now(struct kcall *c, struct eval_run *run)
{
	if (run->wrote) {
		put_error(c, "UNKILLABLE Sorry the script already executed"
		    " write commands against the dataset. You can either wait"
		    " the script termination or kill the server in a hard way"
		    " using the SHUTDOWN NOSAVE command.");
		return;
	}
	run->verdict = EVAL_KILLED;
	put_ok(c);
}

bool
eval_answer_now(struct kcall *c)
{
	struct eval_run *run = c->ks->eval ? c->ks->eval->run : NULL;
	struct bh_bytes name = c->r->argv[0];

	if (!run)
		return false;
	if (is_kill(c->r))
		kill_now(c, run);
	else if (eval_is_late(run) && !str_is(name.data, name.len, "UNWATCH"))
		put_error(c, "BUSY Redis is busy running a script. You can"
		    " only call SCRIPT KILL or SHUTDOWN NOSAVE.");
	else
		return false;
	return true;
}
