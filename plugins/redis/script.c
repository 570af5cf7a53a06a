/* SPDX-License-Identifier: MIT */
#include "redis/mem.h"
#include "redis/lua.h"
#include "redis/part.h"

static const char *const sources[] = {
#define SCRIPT(name, file) file,
#include "redis/script.def"
#undef SCRIPT
};

void
rscript_new(struct redis_be *be)
{
	be->scripts = NULL;
}

void
rscript_free(struct redis_be *be)
{
	be->scripts = NULL;
}

bool
rscript_call(struct redis_be *be, enum rscript s, int nkeys, int argc,
    const char **argv, const size_t *argvlen, rlink_reply_fn *fn, void *arg)
{
	const char **words = mem_new((size_t)(argc + 3) * sizeof(*words));
	size_t *lens = mem_new((size_t)(argc + 3) * sizeof(*lens));
	char count[16];
	bool ok;

	snprintf(count, sizeof(count), "%d", nkeys);
	words[0] = "EVAL";
	words[1] = sources[s];
	words[2] = count;
	for (int i = 0; i < 3; i++)
		lens[i] = strlen(words[i]);
	memcpy(words + 3, argv, (size_t)argc * sizeof(*words));
	for (int i = 0; i < argc; i++)
		lens[i + 3] = argvlen ? argvlen[i] : strlen(argv[i]);
	ok = be->ready && rlink_send(be->main, argc + 3, words, lens, fn, arg);
	free(words);
	free(lens);
	return ok;
}
