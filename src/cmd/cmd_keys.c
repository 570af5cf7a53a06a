/* SPDX-License-Identifier: MIT */
#include "cmd/cmd_keys.h"

#include <string.h>

#include "base/str.h"

/* Behind the fixed ones, if any, there are more keys: so many as the word at
 * `count` says, from the next one on. */
static const struct {
	const char *name;
	size_t count;
} counted[] = {
	{"BLMPOP", 2}, {"BZMPOP", 2}, {"EVAL", 2}, {"EVALSHA", 2},
	{"EVALSHA_RO", 2}, {"EVAL_RO", 2}, {"LMPOP", 1}, {"SINTERCARD", 1},
	{"ZDIFF", 1}, {"ZDIFFSTORE", 2}, {"ZINTER", 1}, {"ZINTERCARD", 1},
	{"ZINTERSTORE", 2}, {"ZMPOP", 1}, {"ZUNION", 1}, {"ZUNIONSTORE", 2},
};

static bool
is(struct bh_bytes v, const char *word)
{
	return str_is(v.data, v.len, word);
}

static int
find_counted(size_t count, const struct bh_bytes *argv, size_t argc,
    size_t *places, int n)
{
	int64_t k;

	if (count >= argc || str_int(argv[count].data, argv[count].len,
	    &k) < 0 || k < 0 || (uint64_t)k > argc - count - 1)
		return -1;
	for (size_t i = 1; i <= (size_t)k; i++)
		places[n++] = count + i;
	return n;
}

/* XREAD … STREAMS key … id …: the first half behind the word. */
static int
find_streams(const struct bh_bytes *argv, size_t argc, size_t *places, int n)
{
	for (size_t i = 1; i < argc; i++) {
		if (!is(argv[i], "STREAMS"))
			continue;
		if ((argc - i - 1) % 2 || i + 1 == argc)
			return -1;
		for (size_t k = i + 1; k <= i + (argc - i - 1) / 2; k++)
			places[n++] = k;
		return n;
	}
	return -1;
}

/* SORT key … STORE key: the last one counts. */
static int
find_store(const struct bh_bytes *argv, size_t argc, size_t *places, int n)
{
	size_t to = 0;

	for (size_t i = 2; i + 1 < argc; i++)
		if (is(argv[i], "STORE"))
			to = i + 1;
	if (to)
		places[n++] = to;
	return n;
}

bool
cmd_has_keys(const struct cmd_row *row)
{
	return row->first_key != 0 || row->flags & CMD_MOVABLE;
}

int
cmd_keys(const struct cmd_row *row, const struct bh_bytes *argv, size_t argc,
    size_t *places)
{
	int last = row->last_key < 0 ? (int)argc + row->last_key :
	    row->last_key;
	int n = 0;

	for (int i = row->first_key; i > 0 && i <= last && i < (int)argc;
	    i += row->key_step)
		places[n++] = (size_t)i;
	if (!(row->flags & CMD_MOVABLE))
		return n;
	for (size_t i = 0; i < nitems(counted); i++)
		if (strcmp(row->name, counted[i].name) == 0)
			return find_counted(counted[i].count, argv, argc,
			    places, n);
	if (strcmp(row->name, "SORT") == 0)
		return find_store(argv, argc, places, n);
	return find_streams(argv, argc, places, n);
}
