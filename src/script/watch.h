/* SPDX-License-Identifier: MIT */
/*
 * Watches two directories for changed Lua files and calls back once they have
 * been quiet for 200 ms (an editor writes, renames and deletes at once).
 * Directories, not files, because editors rename. Belongs to the loop's
 * thread.
 */
#ifndef SCRIPT_WATCH_H
#define SCRIPT_WATCH_H

struct ev_loop;
struct watch;

struct watch *watch_new(struct ev_loop *loop, void (*changed)(void *arg),
    void *arg);
void watch_free(struct watch **w);
/* Watches these from now on; one that is missing is tried again the next
 * time. */
void watch_dirs(struct watch *w, const char *scripts, const char *modules);

#endif
