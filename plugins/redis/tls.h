/* SPDX-License-Identifier: MIT */
/* TLS below a link: OpenSSL on a non-blocking socket. The certificate of the
 * server is always verified, and must be for the host of the URL. */
#ifndef REDIS_TLS_H
#define REDIS_TLS_H

#include <stddef.h>
#include <sys/types.h>

#include "plugin.h"

struct rtls;
struct rtls_context;

/* ca_file: what to trust; empty: what the system trusts. NULL: err says why.
 */
struct rtls_context *rtls_context_new(const char *ca_file,
    char err[BH_ERROR_TEXT]);
void rtls_context_free(struct rtls_context **c);

/* host as in the URL: a name or a literal address. fd stays the caller's. */
struct rtls *rtls_new(struct rtls_context *c, int fd, const char *host);
void rtls_free(struct rtls **t);

/* Bytes, 0 at the end of the stream, or one of these. */
enum { RTLS_READ = -1, RTLS_WRITE = -2, RTLS_FAILED = -3 };

/* 1: done. RTLS_READ, RTLS_WRITE: again when the socket is readable or
 * writable. RTLS_FAILED: why has a sentence. */
int rtls_handshake(struct rtls *t, char why[BH_ERROR_TEXT]);
ssize_t rtls_read(struct rtls *t, void *buf, size_t size,
    char why[BH_ERROR_TEXT]);
ssize_t rtls_write(struct rtls *t, const void *buf, size_t size,
    char why[BH_ERROR_TEXT]);
/* It has read more from the socket than it has handed out. */
bool rtls_pending(const struct rtls *t);

#endif
