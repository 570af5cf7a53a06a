/* SPDX-License-Identifier: MIT */
/*
 * RESP from strangers: requests parsed and answers decoded. The first byte
 * says in what pieces the rest comes: however it is cut, the same commands
 * must be found and the same error.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "front/resp_codec.h"

static const struct resp_limits limits = {
	.max_args = 64, .max_bulk = 1024, .max_request = 4096,
	.max_inline = 512};

/* What the parser made of the input, written down in order. */
static void
parse_all(const uint8_t *data, size_t len, size_t step, struct buf *out)
{
	struct resp_parser p;
	struct buf in = BUF_INIT;
	struct err e = ERR_INIT;
	size_t used, sent = 0;
	int rc = 0;

	resp_parser_init(&p);
	while (sent < len && rc >= 0) {
		size_t n = len - sent < step ? len - sent : step;

		buf_add(&in, data + sent, n);
		sent += n;
		while (buf_size(&in) > 0 &&
		    (rc = resp_parse(&p, buf_peek(&in), buf_size(&in),
		    &limits, &used, &e)) > 0) {
			CHECK(used > 0 && used <= buf_size(&in));
			buf_addf(out, "%zu:", p.argc);
			for (size_t i = 0; i < p.argc; i++)
				buf_add(out, p.argv[i].data, p.argv[i].len);
			buf_consume(&in, used);
		}
	}
	if (rc < 0)
		buf_adds(out, e.text);
	resp_parser_done(&p);
	buf_done(&in);
}

static void
check_requests(const uint8_t *data, size_t len, size_t step)
{
	struct buf whole = BUF_INIT, pieces = BUF_INIT;

	parse_all(data, len, len, &whole);
	parse_all(data, len, step, &pieces);
	CHECK(buf_size(&whole) == buf_size(&pieces));
	CHECK(buf_size(&whole) == 0 || memcmp(buf_peek(&whole),
	    buf_peek(&pieces), buf_size(&whole)) == 0);
	buf_done(&whole);
	buf_done(&pieces);
}

/* No more than what arrived is believed: a front that is decoded alone must
 * be a proper answer of the same length. */
static void
check_answer(const char *data, size_t len)
{
	struct resp_value v, again;
	struct err e;
	size_t used, used_again;

	if (resp_decode(data, len, &v, &used, &e) <= 0)
		return;
	CHECK(used > 0 && used <= len);
	CHECK(resp_decode(data, used, &again, &used_again, &e) == 1);
	CHECK(used_again == used && again.type == v.type && again.n == v.n);
	resp_value_done(&again);
	CHECK(resp_decode(data, used - 1, &again, &used_again, &e) == 0);
	resp_value_done(&v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (len < 2)
		return 0;
	check_requests(data + 1, len - 1, data[0] % 16 + 1u);
	check_answer((const char *)data + 1, len - 1);
	return 0;
}
