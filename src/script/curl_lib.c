/* SPDX-License-Identifier: MIT */
#include "script/curl_lib.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/attr.h"

static struct curl_lib lib;
static bool loaded;
static char failure[300];

static const struct {
	const char *name;
	void **to;
} symbols[] = {
#define SYMBOL(name) {"curl_" #name, (void **)&lib.name},
	CURL_LIB_FUNCTIONS(SYMBOL)
#undef SYMBOL
};

static void
load(void)
{
	void *so = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
	size_t i;

	if (!so) {
		snprintf(failure, sizeof(failure), "libcurl cannot be loaded "
		    "(package libcurl4): %.200s", dlerror());
		return;
	}
	for (i = 0; i < nitems(symbols); i++) {
		*symbols[i].to = dlsym(so, symbols[i].name);
		if (!*symbols[i].to) {
			snprintf(failure, sizeof(failure), "libcurl is too "
			    "old: it has no %s", symbols[i].name);
			return;
		}
	}
	if (lib.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		snprintf(failure, sizeof(failure), "libcurl cannot start");
	else
		loaded = true;
}

const struct curl_lib *
curl_lib_get(const char **why)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, load);
	*why = failure;
	return loaded ? &lib : NULL;
}
