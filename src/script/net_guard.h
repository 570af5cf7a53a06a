/* SPDX-License-Identifier: MIT */
/*
 * Where scripts may send requests to. Hosts by name: option allow_hosts, empty
 * for all. Addresses, as they are connected to: not link-local ones, not the
 * metadata services of clouds, no multicast, however they are written down and
 * whatever name led to them. Loopback and private networks are allowed: there
 * are the services of a self-hosted server.
 */
#ifndef SCRIPT_NET_GUARD_H
#define SCRIPT_NET_GUARD_H

#include <stdbool.h>
#include <sys/socket.h>

/* Whether one of the globs matches the host (lower-case, no brackets). */
bool net_host_allowed(char *const *globs, const char *host);
/* Whether the list names this very address, without wildcards. */
bool net_host_listed(char *const *globs, const char *host);

/* NULL: it may be connected to; otherwise what kind of address it is. */
const char *net_addr_refused(const struct sockaddr *sa);
/* The same for a host that may be a literal address. */
const char *net_literal_refused(const char *host);

#endif
