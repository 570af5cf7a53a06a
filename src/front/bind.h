/* SPDX-License-Identifier: MIT */
/*
 * The addresses of one door: those of its option, or what systemd passes in
 * their place. Main thread only.
 */
#ifndef FRONT_BIND_H
#define FRONT_BIND_H

#include "base/err.h"
#include "conf/tokens.h"
#include "rt/listen.h"

struct bind {
	struct listener **listeners;
	size_t n;
	bool inherited;			/* none of them is our own */
};

/* Binds every address of the list, or takes over what systemd passes under
 * name; refuses to be reachable from other machines while there is no token.
 * option is for errors. Nothing is accepted before bind_start(). On failure b
 * holds what bind_done() has to close. */
MUSTCHECK int bind_all(struct bind *b, const char *option, const char *name,
    char *const *addresses, const struct tokens *tokens,
    const struct listen_config *config, struct err *e);
void bind_done(struct bind *b);

void bind_start(struct bind *b);
void bind_stop(struct bind *b);

/* The i-th address as it is bound; NULL past the end. */
const char *bind_address(const struct bind *b, size_t i);

#endif
