/* SPDX-License-Identifier: MIT */
#include "script/load.h"

#include <dirent.h>
#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/die.h"
#include "base/str.h"
#include "base/xalloc.h"

#define SCRIPT_MAX (1024 * 1024)
#define MODULE_DEPTH 8
#define ALERTS_FILE "(built in)/alerts.lua"

static bool
is_script(const char *name)
{
	size_t n = strlen(name);

	return n > 4 && name[0] != '.' && strcmp(name + n - 4, ".lua") == 0;
}

int
load_file(const char *file, struct script_env *env, struct source **ret,
    char **ret_error)
{
	char *text;
	size_t len;
	int rc = str_read_file(file, SCRIPT_MAX, &text, &len);

	if (rc < 0) {
		*ret_error = xasprintf("%s: it cannot be read: %s", file,
		    rc == -EFBIG ? "larger than 1 MiB" : strerror(-rc));
		return -1;
	}
	*ret = source_new(file, text, len, env);
	return 0;
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(((const struct found *)a)->file,
	    ((const struct found *)b)->file);
}

/* Its name comes before every path: it has its queue first. */
static void
add_alerts(struct scan *s)
{
	struct found f = {.file = xstrdup(ALERTS_FILE)};

	f.src = source_new(ALERTS_FILE, xstrdup(load_alerts_lua),
	    strlen(load_alerts_lua), s->env);
	s->files = xrealloc(s->files, (s->nfiles + 1) * sizeof(*s->files));
	s->files[s->nfiles++] = f;
}

static void
scan_dir(struct scan *s, DIR *d)
{
	struct dirent *e;
	struct stat st;

	while ((e = readdir(d))) {
		struct found f = {0};

		if (!is_script(e->d_name))
			continue;
		f.file = xasprintf("%s/%s", s->dir, e->d_name);
		/* A dangling link is an error to tell; a directory is not. */
		if (stat(f.file, &st) == 0 && !S_ISREG(st.st_mode)) {
			free(f.file);
			continue;
		}
		if (load_file(f.file, s->env, &f.src, &f.error) < 0)
			f.src = NULL;
		s->files = xrealloc(s->files,
		    (s->nfiles + 1) * sizeof(*s->files));
		s->files[s->nfiles++] = f;
	}
	if (s->nfiles)
		qsort(s->files, s->nfiles, sizeof(*s->files), by_name);
}

static int
plain_compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* One line for each module below dir. The lines come in the directory's
 * order; the caller sorts them. */
static void
list_modules(const char *dir, int depth, char ***lines, size_t *n)
{
	DIR *d = depth < MODULE_DEPTH ? opendir(dir) : NULL;
	struct dirent *e;

	while (d && (e = readdir(d))) {
		char *path = xasprintf("%s/%s", dir, e->d_name);
		struct stat st;

		if (e->d_name[0] != '.' && stat(path, &st) == 0) {
			if (S_ISDIR(st.st_mode))
				list_modules(path, depth + 1, lines, n);
			if (S_ISREG(st.st_mode) && is_script(e->d_name)) {
				*lines = xrealloc(*lines,
				    (*n + 1) * sizeof(**lines));
				(*lines)[(*n)++] = xasprintf("%s %lld %lld.%ld "
				    "%llu\n", path, (long long)st.st_size,
				    (long long)st.st_mtim.tv_sec,
				    st.st_mtim.tv_nsec,
				    (unsigned long long)st.st_ino);
			}
		}
		free(path);
	}
	if (d)
		closedir(d);
}

static void
digest_modules(struct scan *s)
{
	unsigned char md[EVP_MAX_MD_SIZE];
	struct buf b = BUF_INIT;
	char **lines = NULL;
	size_t i, n = 0;
	unsigned len;

	list_modules(s->env->lua_dir, 0, &lines, &n);
	if (n)
		qsort(lines, n, sizeof(*lines), plain_compare);
	for (i = 0; i < n; i++) {
		buf_adds(&b, lines[i]);
		free(lines[i]);
	}
	free(lines);
	CHECK(EVP_Digest(buf_str(&b), buf_size(&b), md, &len, EVP_sha256(),
	    NULL) == 1);
	buf_done(&b);
	for (i = 0; i < 32; i++) {
		s->modules[2 * i] = "0123456789abcdef"[md[i] >> 4];
		s->modules[2 * i + 1] = "0123456789abcdef"[md[i] & 15];
	}
	s->modules[64] = '\0';
}

void
load_scan(struct scan *s)
{
	DIR *d = opendir(s->dir);

	if (!d) {
		s->error = xasprintf("scripts_dir: \"%s\" cannot be read: %s",
		    s->dir, strerror(errno));
		return;
	}
	if (s->env->alerts)
		add_alerts(s);
	scan_dir(s, d);
	closedir(d);
	digest_modules(s);
}
