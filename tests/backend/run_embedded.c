/* SPDX-License-Identifier: MIT */
/* The conformance suite on the embedded backend. */
#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "backend/embedded.h"
#include "base/err.h"
#include "base/str.h"
#include "suite.h"

/* Small, so that most payloads are read back from the disk. */
#define PAYLOAD_CACHE 16384

static void
store_path(const struct suite_env *t, char *out, size_t size)
{
	snprintf(out, size, "%s/%d", t->dir, t->lives);
}

static void *
store_open(struct suite_env *t)
{
	static char cache[] = "cache:";
	static char *const prefixes[] = {cache, NULL};
	struct embedded_config c = {
		.keys.volatile_prefixes = prefixes,
		.limiters_durable = true,
		.qopts = t->qopts,
		.payload_cache = PAYLOAD_CACHE,
		.max_disk = INT64_C(1) << 30,
		.max_queues = 1000,
		.max_schedules = 20,
		.wake = suite_wake,
		.wake_arg = t,
	};
	struct err e = ERR_INIT;
	char path[300];
	void *be = NULL;

	store_path(t, path, sizeof(path));
	c.dir = path;
	if (embedded_open(&be, &c, &e) < 0) {
		print_error("embedded: %s\n", e.text);
		return NULL;
	}
	return be;
}

static void *
open_embedded(struct suite_env *t)
{
	char path[300];

	store_path(t, path, sizeof(path));
	if (mkdir(path, 0700) < 0)
		return NULL;
	return store_open(t);
}

static void *
reopen_embedded(struct suite_env *t, void *be)
{
	embedded_ops.close(be);
	return store_open(t);
}

static void
file_copy(const char *from, const char *to, const char *name)
{
	char path[600];
	char *data;
	size_t len;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", from, name);
	assert_int_equal(str_read_file(path, (size_t)1 << 30, &data, &len), 0);
	snprintf(path, sizeof(path), "%s/%s", to, name);
	f = fopen(path, "wb");
	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
	free(data);
}

/* Files whose name ends so, or with want false all others. */
static void
files_copy(const char *from, const char *to, const char *suffix, bool want)
{
	DIR *d = opendir(from);
	struct dirent *e;

	assert_non_null(d);
	while ((e = readdir(d))) {
		size_t n = strlen(e->d_name), m = strlen(suffix);
		bool is = n > m && !strcmp(e->d_name + n - m, suffix);

		if (e->d_type == DT_REG && is == want)
			file_copy(from, to, e->d_name);
	}
	closedir(d);
}

/* What a dead process leaves are its files as they are now: the log first,
 * because a checkpoint may be moving it into the database at this moment. */
static void *
crash_embedded(struct suite_env *t, void *be)
{
	char from[300], to[300];

	store_path(t, from, sizeof(from));
	t->lives++;
	store_path(t, to, sizeof(to));
	assert_int_equal(mkdir(to, 0700), 0);
	files_copy(from, to, "-wal", true);
	files_copy(from, to, "-wal", false);
	embedded_ops.close(be);
	return store_open(t);
}

int
main(int argc, char **argv)
{
	static const struct suite_backend embedded = {
		.name = "embedded",
		.ops = &embedded_ops,
		.open = open_embedded,
		.reopen = reopen_embedded,
		.crash = crash_embedded,
		.batches = true,
	};

	return suite_main(&embedded, argc, argv);
}
