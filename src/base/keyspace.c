/* SPDX-License-Identifier: MIT */
#include "base/keyspace.h"

#include "base/attr.h"
#include "base/str.h"

static const struct key_row rows[] = {
#define KEYCMD(name, arity, flags, first, last, step, fn, args, help) \
	{name, flags, first, last, step},
#include "base/keyspace.def"
#undef KEYCMD
};

const struct key_row *
keyspace_find(const char *name, size_t len)
{
	for (size_t i = 0; i < nitems(rows); i++)
		if (str_is(name, len, rows[i].name))
			return &rows[i];
	return NULL;
}
