/* SPDX-License-Identifier: MIT */
/* The arguments of SCAN, HSCAN, SSCAN and ZSCAN. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "keys/part.h"

bool
arg_cursor(struct kcall *c, size_t i, uint64_t *ret)
{
	struct bh_bytes v = c->argv[i];
	char text[32], *end;

	if (v.len < sizeof(text) && !memchr(v.data, 0, v.len)) {
		memcpy(text, v.data, v.len);
		text[v.len] = '\0';
		errno = 0;
		*ret = strtoul(text, &end, 10);
		if (!isspace((unsigned char)text[0]) && !*end &&
		    errno != ERANGE)
			return true;
	}
	put_error(c, "ERR invalid cursor");
	return false;
}

bool
arg_scan(struct kcall *c, size_t i, bool with_type, struct scan_args *s)
{
	s->count = 10;
	for (; i + 1 < c->argc; i += 2) {
		struct bh_bytes w = c->argv[i];

		if (str_is(w.data, w.len, "COUNT")) {
			if (!arg_number(c, i + 1, &s->count))
				return false;
			if (s->count < 1)
				break;
		} else if (str_is(w.data, w.len, "MATCH")) {
			s->match = c->argv[i + 1];
		} else if (with_type && str_is(w.data, w.len, "TYPE")) {
			s->type = c->argv[i + 1];
		} else {
			break;
		}
	}
	if (i < c->argc)
		put_syntax(c);
	return i >= c->argc;
}
