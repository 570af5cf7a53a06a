/* SPDX-License-Identifier: MIT */
/*
 * The shared objects that `plugins` names: found in plugin_dir, judged (a
 * plugin, of this ABI, of that name), initialised in their order and ended in
 * the reverse. An error names the plugin, its file and the reason.
 *
 * Main thread only.
 */
#ifndef FRONT_PLUGIN_H
#define FRONT_PLUGIN_H

#include "base/err.h"

struct plugins;

/* Loads the objects; none of their functions is called yet. */
MUSTCHECK int plugins_load(struct plugins **ret, const char *dir,
    char *const *names, struct err *e);
/* Calls each init(). */
MUSTCHECK int plugins_init(struct plugins *p, const struct bh_host *host,
    struct err *e);
/* Calls done() of those that were initialised and unloads all. Nothing of
 * theirs may be in use any more. */
void plugins_free(struct plugins **p);

/* The i-th one, NULL past the end. */
const struct bh_plugin *plugins_at(const struct plugins *p, size_t i);

#endif
