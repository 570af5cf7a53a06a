/* SPDX-License-Identifier: MIT */
#include "cmd/session.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/die.h"
#include "base/str.h"
#include "base/xalloc.h"

void
session_init(struct session *s, uint64_t id, const char *door,
    const char *addr, enum cmd_role role)
{
	*s = (struct session){
	    .id = id, .role = role, .door_role = role, .door = door,
	    .proto = 2, .user = xstrdup("default"), .addr = xstrdup(addr),
	    .since_ms = clock_now().wall_ms, .last_us = clock_mono_us()};
}

enum cmd_role
session_role_of(const struct conf *conf, bool is_unix, bool loopback)
{
	const char *role = conf->loopback_role;
	enum cmd_role ret = ROLE_NONE;

	if (is_unix)
		return ROLE_ADMIN;
	if (loopback)
		CHECK(role_parse(role, strlen(role), &ret) == 0);
	return ret;
}

static void
drop_patterns(struct session *s)
{
	for (size_t i = 0; i < s->npatterns; i++)
		free(s->patterns[i]);
	free(s->patterns);
	s->patterns = NULL;
	s->npatterns = 0;
}

void
session_done(struct session *s)
{
	drop_patterns(s);
	free(s->user);
	free(s->name);
	free(s->lib_name);
	free(s->lib_ver);
	free(s->addr);
	*s = (struct session){0};
}

void
session_grant(struct session *s, const struct token *t)
{
	drop_patterns(s);
	session_set(&s->user, t->name, strlen(t->name));
	/* Roles were checked when the token was made or read. */
	CHECK(role_parse(t->role, strlen(t->role), &s->role) == 0);
	if (t->npatterns == 0)
		return;
	s->patterns = xcalloc(t->npatterns, sizeof(*s->patterns));
	for (size_t i = 0; i < t->npatterns; i++)
		s->patterns[i] = xstrdup(t->patterns[i]);
	s->npatterns = t->npatterns;
}

void
session_reset(struct session *s)
{
	drop_patterns(s);
	session_set(&s->user, "default", 7);
	session_set(&s->name, "", 0);
	s->role = s->door_role;
	s->proto = 2;
	s->replies = REPLY_ON;
}

void
session_set(char **field, const char *value, size_t len)
{
	free(*field);
	*field = len ? xstrndup(value, len) : NULL;
}

uint64_t
session_client(const struct session *s)
{
	return strcmp(s->door, "resp") == 0 ? s->id : 0;
}

bool
session_may(const struct session *s, struct bh_bytes queue)
{
	if (s->npatterns == 0)
		return true;
	for (size_t i = 0; i < s->npatterns; i++)
		if (str_glob(s->patterns[i], strlen(s->patterns[i]),
		    queue.data, queue.len))
			return true;
	return false;
}
