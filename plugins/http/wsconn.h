/* SPDX-License-Identifier: MIT */
/*
 * One WebSocket that the server speaks on: frames by wslay, bytes by a watcher
 * of its own. Nothing here waits; a call never ends the connection under its
 * caller: it marks it, and ws_dead() tells.
 */
#ifndef HTTP_WSCONN_H
#define HTTP_WSCONN_H

#include <stdbool.h>
#include <stddef.h>

#define WS_GOING_AWAY 1001
#define WS_ACCEPT_SIZE 32

struct ev_loop;
struct ws;

/* Sec-WebSocket-Accept for a Sec-WebSocket-Key; -1: that is no key. */
int ws_accept_key(const char *key, size_t len, char ret[WS_ACCEPT_SIZE]);

/* early is what has been read of fd already. limit: bytes that may wait.
 * died() is called once, from the loop or from inside a call. */
struct ws *ws_new(struct ev_loop *loop, int fd, const char *early, size_t len,
    size_t limit, void (*died)(void *arg), void *arg);
/* Closes nothing: fd is its owner's. */
void ws_free(struct ws **wp);

void ws_send(struct ws *w, const char *text, size_t len);
/* Asks whether it is still there; dead when the last one had no answer. */
void ws_ping(struct ws *w);
/* Says why and is dead once that is sent. */
void ws_close(struct ws *w, unsigned code);

/* NULL: alive; else why it is not. */
const char *ws_dead(const struct ws *w);

#endif
