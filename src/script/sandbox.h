/* SPDX-License-Identifier: MIT */
/*
 * What a script sees: the harmless part of Lua's libraries and Bellhop's own.
 * What is left out or replaced, and why:
 *
 *   coroutine, io, debug, package, os.execute and the like: not for handlers;
 *   load, loadfile, dofile, string.dump: bytecode is unsafe;
 *   collectgarbage: the state is shared by all jobs of the script;
 *   setmetatable refuses __gc: finalizers run where no hook reaches them;
 *   pcall, xpcall pass on what must end the run, and xpcall calls its handler
 *     after unwinding (inside an error no hook would stop it);
 *   globals are read-only once the file has been run: nothing leaks from one
 *     job to the next by accident.
 */
#ifndef SCRIPT_SANDBOX_H
#define SCRIPT_SANDBOX_H

#include <lua.h>

/* Opens everything in a fresh state (may raise for want of memory). */
void sandbox_open(lua_State *L);
/* Gives the loaded chunk at idx the script's environment. */
void sandbox_env(lua_State *L, int idx);

#endif
