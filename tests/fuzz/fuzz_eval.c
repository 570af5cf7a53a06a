/* SPDX-License-Identifier: MIT */
/* Scripts of EVAL and what their libraries decode (src/keys/eval*.c): whatever
 * comes, the keyspace answers, and the next script is answered as ever. The
 * first byte says what the rest is. */
#include <ftw.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/attr.h"
#include "base/clock.h"
#include "base/die.h"
#include "journal/journal.h"
#include "keys/keys.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const scripts[] = {
	NULL,				/* the data is the script */
	"local v = cjson.decode(ARGV[1]) local s = cjson.encode(v)"
	" assert(cjson.encode(cjson.decode(s)) == s) return v",
	"local v = {cmsgpack.unpack(ARGV[1])}"
	" local s = cmsgpack.pack(v)"
	" assert(cmsgpack.pack(cmsgpack.unpack(s)) == s) return v",
	"return {cmsgpack.unpack_limit(ARGV[1], 3, 1)}",
	"local f = string.match(ARGV[1], '^[^|]*') or ''"
	" return {struct.unpack(f, ARGV[1], #f + 1)}",
	"local f = string.match(ARGV[1], '^[^|]*') or ''"
	" return struct.pack(f, ARGV[1], 1, 2.5, 'x', -1, 7)",
	"local f = string.match(ARGV[1], '^[^|]*') or ''"
	" return string.format(f, 1, 2.5, 'x', ARGV[1])",
	"local ok, e = pcall(loadstring, ARGV[1])"
	" if type(e) == 'function' then return e() end return e",
	"local r = {} for w in string.gmatch(ARGV[1], '%S+') do r[#r+1] = w"
	" end return redis.pcall(unpack(r))",
};

static void
answered(struct bh_req *req)
{
	struct bh_key_command *r = (struct bh_key_command *)req;

	CHECK(req->status == BH_OK);
	CHECK(r->value);
	*(bool *)req->user = true;
}

static const struct bh_value *
ask(struct keys *ks, const struct bh_bytes *argv, size_t argc,
    struct bh_key_command *r)
{
	bool done = false;

	*r = (struct bh_key_command){.req.done = answered, .req.user = &done,
	    .argv = argv, .argc = argc};
	keys_command(ks, r);
	while (!done) {
		struct clock_time now = clock_now();

		keys_time(ks, now.wall_ms, now.mono_ms);
		keys_settle(ks);
		keys_deliver(ks);
	}
	return r->value;
}

static char dir[] = "/tmp/bh-fuzz-eval-XXXXXX";

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st, (void)type, (void)at;
	return remove(path);
}

static void
remove_dir(void)
{
	(void)nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void
nothing(void *arg)
{
	(void)arg;
}

/* No key here is durable: nothing is written to it. */
static struct journal *
journal_get(void)
{
	static struct journal *j;
	struct journal_config c = {.dir = dir, .wake = nothing,
	    .release = nothing};
	struct err e = ERR_INIT;

	if (j)
		return j;
	CHECK(mkdtemp(dir));
	CHECK(atexit(remove_dir) == 0);
	CHECK(journal_open(&j, &c, &e) == 0);
	return j;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char none_of[] = "", *everything[] = {none_of, NULL};
	static const struct bh_bytes eval = {"EVAL", 4}, none = {"0", 1};
	struct keys_limits limits = {.volatile_prefixes = everything,
	    .cache_bytes = 1 << 20, .eval_ms = 50, .eval_bytes = 4 << 20};
	struct bh_bytes argv[4] = {eval, {0}, none, {0}};
	struct bh_key_command r;
	struct keys *ks;
	size_t what;

	if (size == 0)
		return 0;
	what = data[0] % nitems(scripts);
	argv[3] = (struct bh_bytes){(const char *)data + 1, size - 1};
	argv[1] = what ? (struct bh_bytes){scripts[what],
	    strlen(scripts[what])} : argv[3];
	ks = keys_new(journal_get());
	keys_set_limits(ks, &limits);
	(void)ask(ks, argv, 4, &r);
	argv[1] = (struct bh_bytes){"return 'well'", 13};
	CHECK(ask(ks, argv, 3, &r)->type == BH_STRING);
	keys_free(&ks);
	return 0;
}
