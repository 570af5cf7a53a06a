/* SPDX-License-Identifier: MIT */
/* What lies in the script directories. Any thread; it waits for the disk. */
#ifndef SCRIPT_LOAD_H
#define SCRIPT_LOAD_H

#include "script/msg.h"

/* Fills s->files with the *.lua files of s->dir by name, and s->modules with
 * a digest of what lua_dir looks like (names, sizes, times). */
void load_scan(struct scan *s);
/* One file. 0, or -1 and a sentence in *ret_error (the caller's). */
MUSTCHECK int load_file(const char *file, struct script_env *env,
    struct source **ret, char **ret_error);

/* The built-in script that sends alerts: alerts.lua. */
extern const char load_alerts_lua[];

#endif
