/* SPDX-License-Identifier: MIT */
/*
 * What a request's head must be before anything else looks at it. The parser
 * below us is lenient where a proxy in front may read another meaning: two
 * lengths, a length and chunks, a blank before the colon. Such heads are
 * refused, and the connection ends.
 *
 * And who may be addressed: a web page that a browser on this network shows
 * can make it send requests here, by another site's script or by a name that
 * now resolves to us. Host and Origin tell.
 *
 * Pure functions.
 */
#ifndef HTTP_GATE_H
#define HTTP_GATE_H

#include <stdbool.h>
#include <stddef.h>

#include "plugin.h"

struct gate {
	const char *fault;		/* the first one, a sentence */
	unsigned lengths, encodings, hosts;
	int64_t length;			/* of the body, -1 unknown */
};

void gate_init(struct gate *g);
void gate_header(struct gate *g, const char *name, size_t nlen,
    const char *value, size_t vlen);
/* After the last header: NULL, or why the request is refused. */
const char *gate_verdict(struct gate *g, bool http11);

/* The host of "host:port", "[::1]:80", "host"; -1: malformed. */
int gate_split_host(struct bh_bytes value, struct bh_bytes *host,
    struct bh_bytes *port);

struct gate_names {
	const char *local;		/* address that the client has reached,
					   NULL: a unix socket */
	char *const *listen;		/* "127.0.0.1:7381", a name too */
	char *const *hosts;		/* http_hosts */
	char *const *origins;		/* http_origins */
};

bool gate_host_known(struct bh_bytes value, const struct gate_names *names);

enum gate_origin { GATE_SAME, GATE_LISTED, GATE_FOREIGN };

/* Whose page sends this; host is the Host header, empty when there is none. */
enum gate_origin gate_origin_of(struct bh_bytes origin, struct bh_bytes host,
    const struct gate_names *names);

#endif
