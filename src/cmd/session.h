/* SPDX-License-Identifier: MIT */
/* What is known of a caller: its life and its rights. Main thread only. */
#ifndef CMD_SESSION_H
#define CMD_SESSION_H

#include "cmd/cmd.h"
#include "conf/conf.h"
#include "conf/tokens.h"

/* door: "resp", "script" or a plugin's, it must last; addr is copied. */
void session_init(struct session *s, uint64_t id, const char *door,
    const char *addr, enum cmd_role role);
void session_done(struct session *s);

/* What somebody may do before showing a token: whom the system vouches for,
 * on a unix socket, anything; on TCP from this machine what loopback_role
 * says; others nothing. */
enum cmd_role session_role_of(const struct conf *conf, bool is_unix,
    bool loopback);

/* The rights of a token instead of the door's. */
void session_grant(struct session *s, const struct token *t);
/* As it was when it came. */
void session_reset(struct session *s);
/* Replaces one of the session's strings; an empty value: NULL. */
void session_set(char **field, const char *value, size_t len);

/* Its number among the backend's clients; 0 for who is no connection: what
 * WATCH keeps belongs to one. */
uint64_t session_client(const struct session *s);

/* Whether its patterns leave this queue to it. */
bool session_may(const struct session *s, struct bh_bytes queue);

#endif
