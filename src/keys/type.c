/* SPDX-License-Identifier: MIT */
/* The types of values: each one's operations are in a file of its own. */
#include "keys/part.h"
#include "keys/stream.h"

static const struct ktype string_type = {.name = "string"};

const struct ktype *const key_types[KEY_TYPES] = {
	[KEY_STRING] = &string_type,
	[KEY_LIST] = &list_type,
	[KEY_ZSET] = &zset_type,
	[KEY_HASH] = &hash_type,
	[KEY_SET] = &set_type,
	[KEY_STREAM] = &stream_type,
};
