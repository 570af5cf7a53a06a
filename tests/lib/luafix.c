/* SPDX-License-Identifier: MIT */
#include "lib/luafix.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/xalloc.h"
#include "script/dryrun.h"

static char name_lua[] = "t.lua";

void
luafix_init(struct luafix *f)
{
	memset(f, 0, sizeof(*f));
	strcpy(f->dir, "/tmp/bellhop-lua-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->scripts, sizeof(f->scripts), "%s/scripts", f->dir);
	snprintf(f->modules, sizeof(f->modules), "%s/lua", f->dir);
	snprintf(f->secrets, sizeof(f->secrets), "%s/secrets", f->dir);
	assert_int_equal(mkdir(f->scripts, 0700), 0);
	assert_int_equal(mkdir(f->modules, 0700), 0);
	assert_int_equal(mkdir(f->secrets, 0700), 0);
	f->conf.scripts_dir = f->scripts;
	f->conf.lua_dir = f->modules;
	f->conf.secrets_dir = f->secrets;
	f->conf.script_threads = 2;
	f->conf.script_memory = 64 << 20;
	f->conf.scripts_memory = 256 << 20;
	f->conf.script_cpu = 1000;
	f->conf.script_slots = 1024;
	f->conf.max_payload = 1 << 20;
	f->conf.max_result = 1 << 20;
	f->conf.http_max_size = 10 << 20;
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void
luafix_done(struct luafix *f)
{
	nftw(f->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	buf_done(&f->out);
}

int
luafix_setup(void **state)
{
	struct luafix *f = xcalloc(1, sizeof(*f));

	luafix_init(f);
	*state = f;
	return 0;
}

int
luafix_teardown(void **state)
{
	struct luafix *f = *state;

	luafix_done(f);
	free(f);
	return 0;
}

/* As an editor does: written beside, then renamed. */
void
luafix_write(const char *dir, const char *name, const char *text)
{
	char *path = xasprintf("%s/%s", dir, name);
	char *tmp = xasprintf("%s/.%s.tmp", dir, name);
	FILE *out = fopen(tmp, "w");

	assert_non_null(out);
	assert_true(fputs(text, out) >= 0);
	assert_int_equal(fclose(out), 0);
	assert_int_equal(rename(tmp, path), 0);
	free(tmp);
	free(path);
}

void
luafix_remove(const char *dir, const char *name)
{
	char *path = xasprintf("%s/%s", dir, name);

	assert_int_equal(unlink(path), 0);
	free(path);
}

int
luafix_run(struct luafix *f, const char *body, const char *payload)
{
	char *text = xasprintf("return { queue = \"q\", timeout = \"20s\", "
	    "perform = function(job) %s\nend }", body);
	char *file = xasprintf("%s/%s", f->dir, name_lua);
	struct bh_bytes data = {payload, payload ? strlen(payload) : 0};
	char *printed = NULL;
	size_t len = 0;
	FILE *out;
	int rc;

	luafix_write(f->dir, name_lua, text);
	out = open_memstream(&printed, &len);
	assert_non_null(out);
	f->e = (struct err)ERR_INIT;
	rc = script_run(file, &f->conf, data, f->live, out, &f->e);
	fclose(out);
	buf_reset(&f->out, 0);
	buf_add(&f->out, printed, len);
	free(printed);
	free(file);
	free(text);
	return rc;
}

const char *
luafix_result(struct luafix *f, const char *body)
{
	const char *all, *at;

	if (luafix_run(f, body, NULL) != 0)
		fail_msg("it fails: %s", f->e.text);
	all = buf_str(&f->out);
	at = strstr(all, "result: ");
	assert_non_null(at);
	buf_consume(&f->out, (size_t)(at - all) + strlen("result: "));
	at = buf_str(&f->out);
	f->out.len = f->out.head + strcspn(at, "\n");
	return buf_str(&f->out);
}

const char *
luafix_error(struct luafix *f, const char *body)
{
	if (luafix_run(f, body, NULL) == 0)
		fail_msg("it completes: %s", buf_str(&f->out));
	return f->e.text;
}

int
luafix_check(struct luafix *f, const char *text)
{
	char *file = xasprintf("%s/%s", f->dir, name_lua);
	int rc;

	luafix_write(f->dir, name_lua, text);
	buf_reset(&f->out, 0);
	f->e = (struct err)ERR_INIT;
	rc = script_check(file, &f->conf, &f->out, &f->e);
	free(file);
	return rc;
}
