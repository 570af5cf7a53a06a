/* SPDX-License-Identifier: MIT */
/*
 * Webhooks and messages of topics on a script thread: the secrets and the
 * verification, the functions accept, challenge and those of `subscribe`.
 */
#ifndef SCRIPT_LUA_HOOK_H
#define SCRIPT_LUA_HOOK_H

#include <lua.h>

#include "script/msg.h"
#include "script/state.h"

/* Keeps what the script's table at 1 has for them; raises for want of
 * memory. */
void lua_hook_keep(lua_State *L, struct state *st,
    const struct script_opts *opts);
void lua_hook_done(struct state *st);

/* Why the hook's secrets cannot be read, or NULL. Reads the disk. */
const char *lua_hook_secrets(struct state *st, uint64_t generation);

/* Judges a RUN_HOOK before any Lua code sees it. true: it has ended, m->end
 * and m->hook say how. */
bool lua_hook_judge(struct state *st, struct run_msg *m);

/* The main functions of the coroutines; 1: light userdata, the run_msg. */
int lua_hook_main(lua_State *L);
int lua_message_main(lua_State *L);

#endif
