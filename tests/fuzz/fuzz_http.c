/* SPDX-License-Identifier: MIT */
/*
 * What the HTTP door reads of strangers by itself: headers, Host and Origin,
 * durations, percent signs, base64. Lines of the input are headers; however a
 * value is judged, nothing is read beyond it, and a sound head has one length
 * at most.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "http/gate.h"
#include "http/text.h"

static char *none[] = {NULL};

static void
check_value(const char *data, size_t len)
{
	struct gate_names names = {.local = "127.0.0.1", .listen = none,
	    .hosts = none, .origins = none};
	struct bh_bytes v = {data, len}, host, port;
	/* Of its own, so that a byte too many is seen. */
	char *copy = malloc(len + 1);
	struct text t = {0};
	int64_t n;
	long plain;

	CHECK(copy != NULL);
	memcpy(copy, data, len);
	if (gate_split_host(v, &host, &port) == 0)
		CHECK(host.len > 0 && host.len + port.len <= len);
	(void)gate_host_known(v, &names);
	CHECK(gate_origin_of(v, v, &names) != GATE_LISTED);
	if (span_parse(data, len, &n) == 0)
		CHECK(n >= 0);
	if (number_parse(data, len, &n) == 0)
		CHECK(n >= 0 && len <= 18);
	plain = percent_decode(copy, len);
	CHECK(plain <= (long)len);
	CHECK(plain < 0 || copy[plain] == '\0');
	if (base64_decode(&t, data, len) == 0)
		CHECK(t.len <= len / 4 * 3);
	t.len = 0;
	text_json(&t, data, len);
	CHECK(utf8_valid(t.data, t.len));
	text_free(&t);
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const char *p = (const char *)data, *end = p + len;
	struct gate g;

	gate_init(&g);
	while (p < end) {
		const char *stop = memchr(p, '\n', (size_t)(end - p));
		const char *colon;

		stop = stop ? stop : end;
		colon = memchr(p, ':', (size_t)(stop - p));
		if (colon) {
			gate_header(&g, p, (size_t)(colon - p), colon + 1,
			    (size_t)(stop - colon - 1));
			check_value(colon + 1, (size_t)(stop - colon - 1));
		}
		p = stop + 1;
	}
	if (!gate_verdict(&g, true))
		CHECK(g.lengths + g.encodings <= 1 && g.hosts == 1 &&
		    (g.lengths == 0 || g.length >= 0));
	return 0;
}
