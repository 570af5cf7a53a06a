/* SPDX-License-Identifier: MIT */
#include "front/plugin.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/xalloc.h"

#define SYMBOL "bellhop_plugin"

struct loaded {
	const struct bh_plugin *plugin;
	void *object;			/* of dlopen() */
};

struct plugins {
	struct loaded *all;
	size_t n;
	size_t ninit;			/* so many are initialised */
};

static int
judge(const struct bh_plugin *p, const char *name, const char *path,
    struct err *e)
{
	if (!p)
		return err_set(e, BH_E_ERR, "plugin '%s': %s is no plugin of"
		    " Bellhop: it does not export '" SYMBOL "'", name, path);
	if (p->abi != BH_ABI)
		return err_set(e, BH_E_ERR, "plugin '%s': %s was built for"
		    " version %u of the plugin interface, this bellhopd has"
		    " version %u: install the one that belongs to it", name,
		    path, (unsigned)p->abi, (unsigned)BH_ABI);
	if (!p->name || strcmp(p->name, name) != 0)
		return err_set(e, BH_E_ERR, "plugin '%s': %s calls itself"
		    " '%s'", name, path, p->name ? p->name : "");
	if (!p->init)
		return err_set(e, BH_E_ERR, "plugin '%s': %s has no init()",
		    name, path);
	return 0;
}

/* The linker's sentence begins with the path: that is said once. */
static const char *
without_path(const char *why, const char *path)
{
	size_t len = strlen(path);

	if (strncmp(why, path, len) == 0 && strncmp(why + len, ": ", 2) == 0)
		return why + len + 2;
	return why;
}

static int
load(struct loaded *ret, const char *name, const char *path, struct err *e)
{
	const char *why;
	int rc;

	if (access(path, F_OK) < 0)
		return err_set(e, BH_E_ERR, "plugin '%s': %s does not exist;"
		    " install it, or take it out of 'plugins'", name, path);
	ret->object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!ret->object) {
		why = dlerror();
		return err_set(e, BH_E_ERR, "plugin '%s': %s cannot be"
		    " loaded: %s", name, path, why ? without_path(why, path) :
		    "no reason given");
	}
	ret->plugin = dlsym(ret->object, SYMBOL);
	rc = judge(ret->plugin, name, path, e);
	if (rc < 0)
		dlclose(ret->object);
	return rc;
}

int
plugins_load(struct plugins **ret, const char *dir, char *const *names,
    struct err *e)
{
	struct plugins *p = xcalloc(1, sizeof(*p));
	int rc = 0;

	for (size_t i = 0; names[i] && rc == 0; i++) {
		char *path = xasprintf("%s/%s.so", dir, names[i]);

		p->all = xrealloc(p->all, (i + 1) * sizeof(*p->all));
		rc = load(&p->all[i], names[i], path, e);
		p->n += rc == 0;
		free(path);
	}
	if (rc < 0)
		plugins_free(&p);
	else
		*ret = p;
	return rc;
}

int
plugins_init(struct plugins *p, const struct bh_host *host, struct err *e)
{
	for (; p->ninit < p->n; p->ninit++) {
		const struct bh_plugin *one = p->all[p->ninit].plugin;
		char why[BH_ERROR_TEXT] = "";

		if (one->init(host, why) == 0)
			continue;
		return err_set(e, BH_E_ERR, "plugin '%s': %s", one->name,
		    *why ? why : "init() failed without a reason");
	}
	return 0;
}

void
plugins_free(struct plugins **pp)
{
	struct plugins *p = *pp;

	if (!p)
		return;
	*pp = NULL;
	while (p->ninit > 0)
		if (p->all[--p->ninit].plugin->done)
			p->all[p->ninit].plugin->done();
	while (p->n > 0)
		dlclose(p->all[--p->n].object);
	free(p->all);
	free(p);
}

const struct bh_plugin *
plugins_at(const struct plugins *p, size_t i)
{
	return p && i < p->n ? p->all[i].plugin : NULL;
}
