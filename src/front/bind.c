/* SPDX-License-Identifier: MIT */
#include "front/bind.h"

#include <stdlib.h>

#include "base/xalloc.h"

#define INHERIT_MAX 64

/* What the addresses of one call have in common. */
struct wish {
	const char *option;
	const struct tokens *tokens;
	const struct listen_config *config;
};

/* Beyond this machine there is no one whom the system vouches for. */
static int
check_reach(const struct wish *w, const struct listener *l, struct err *e)
{
	if (listen_is_local(l) || (w->tokens && tokens_count(w->tokens) > 0))
		return 0;
	return err_set(e, BH_E_ERR, "%s: other machines can reach '%s', but"
	    " there is no token: start without that address, run"
	    " 'bellhopctl token add NAME --role ROLE', and put it back",
	    w->option, listen_address(l));
}

static int
add(struct bind *b, const struct wish *w, const char *address, int fd,
    struct err *e)
{
	struct listener *one;
	struct err cause;

	if (address ? listen_open(&one, address, w->config, &cause) < 0 :
	    listen_adopt(&one, fd, w->config, &cause) < 0)
		return err_set(e, cause.code, "%s: %.200s", w->option,
		    cause.text);
	b->listeners = xrealloc(b->listeners, (b->n + 1) *
	    sizeof(struct listener *));
	b->listeners[b->n++] = one;
	return check_reach(w, one, e);
}

int
bind_all(struct bind *b, const char *option, const char *name,
    char *const *addresses, const struct tokens *tokens,
    const struct listen_config *config, struct err *e)
{
	struct wish w = {option, tokens, config};
	int fds[INHERIT_MAX];
	size_t n = listen_inherit(name, fds, INHERIT_MAX);

	b->inherited = n > 0 || !addresses[0];
	for (size_t i = 0; i < n; i++)
		if (add(b, &w, NULL, fds[i], e) < 0)
			return -1;
	for (size_t i = 0; n == 0 && addresses[i]; i++)
		if (add(b, &w, addresses[i], -1, e) < 0)
			return -1;
	return 0;
}

void
bind_done(struct bind *b)
{
	for (size_t i = 0; i < b->n; i++)
		listen_free(&b->listeners[i]);
	free(b->listeners);
	*b = (struct bind){0};
}

void
bind_start(struct bind *b)
{
	for (size_t i = 0; i < b->n; i++)
		listen_start(b->listeners[i]);
}

void
bind_stop(struct bind *b)
{
	for (size_t i = 0; i < b->n; i++)
		listen_stop(b->listeners[i]);
}

const char *
bind_address(const struct bind *b, size_t i)
{
	return i < b->n ? listen_address(b->listeners[i]) : NULL;
}
