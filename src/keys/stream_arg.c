/* SPDX-License-Identifier: MIT */
/* What the commands of streams share: ids as they are written, and answers. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "keys/stream.h"

enum { ID_TEXT_MAX = 128 };

/* As Redis reads them: also blanks, a plus and zeros before the number. */
static bool
number(const char *text, uint64_t *ret)
{
	int64_t v;
	char *end;

	if (num_int((struct bh_bytes){text, strlen(text)}, &v)) {
		*ret = (uint64_t)v;
		return v >= 0;
	}
	errno = 0;
	*ret = strtoull(text, &end, 10);
	return errno == 0 && text[0] != '\0' && *end == '\0';
}

static bool
parse(struct bh_bytes word, uint64_t seq, bool strict, struct sid *ret,
    bool *ret_auto)
{
	char text[ID_TEXT_MAX], *dash;

	if (word.len >= sizeof(text) - 1 ||
	    memchr(word.data, '\0', word.len))
		return false;
	memcpy(text, word.data, word.len);
	text[word.len] = '\0';
	if (!strict && strcmp(text, "-") == 0) {
		*ret = (struct sid){0, 0};
		return true;
	}
	if (!strict && strcmp(text, "+") == 0) {
		*ret = SID_MAX;
		return true;
	}
	dash = strchr(text, '-');
	if (dash)
		*dash++ = '\0';
	if (!number(text, &ret->ms))
		return false;
	ret->seq = seq;
	if (dash && ret_auto && strcmp(dash, "*") == 0) {
		*ret_auto = true;
		ret->seq = 0;
		return true;
	}
	return !dash || number(dash, &ret->seq);
}

static bool
bad_id(struct kcall *c)
{
	if (c)
		put_error(c, "ERR Invalid stream ID specified as stream"
		    " command argument");
	return false;
}

bool
arg_sid(struct kcall *c, struct bh_bytes word, uint64_t seq, bool strict,
    struct sid *ret)
{
	return parse(word, seq, strict, ret, NULL) || bad_id(c);
}

bool
arg_sid_auto(struct kcall *c, struct bh_bytes word, struct sid *ret,
    bool *ret_auto)
{
	*ret_auto = false;
	return parse(word, 0, true, ret, ret_auto) || bad_id(c);
}

static bool
interval_end(struct kcall *c, struct bh_bytes word, uint64_t seq,
    struct sid *ret, bool *ret_exclusive)
{
	*ret_exclusive = word.len > 1 && word.data[0] == '(';
	if (*ret_exclusive)
		word = (struct bh_bytes){word.data + 1, word.len - 1};
	return arg_sid(c, word, seq, *ret_exclusive, ret);
}

bool
arg_sid_from(struct kcall *c, struct bh_bytes word, struct sid *ret)
{
	bool exclusive;

	if (!interval_end(c, word, 0, ret, &exclusive))
		return false;
	if (!exclusive || sid_next(ret))
		return true;
	put_error(c, "ERR invalid start ID for the interval");
	return false;
}

bool
arg_sid_to(struct kcall *c, struct bh_bytes word, struct sid *ret)
{
	bool exclusive;

	if (!interval_end(c, word, UINT64_MAX, ret, &exclusive))
		return false;
	if (!exclusive || sid_prev(ret))
		return true;
	put_error(c, "ERR invalid end ID for the interval");
	return false;
}

bool
args_are_sids(struct kcall *c, size_t i, size_t end)
{
	struct sid id;

	for (; i < end; i++)
		if (!arg_sid(c, c->argv[i], 0, true, &id))
			return false;
	return true;
}

/* --- answers --- */

void
put_sid(struct kcall *c, struct sid id)
{
	put_text(c, "%ju-%ju", (uintmax_t)id.ms, (uintmax_t)id.seq);
}

void
put_entry(struct kcall *c, const struct stream *s, struct splace p)
{
	struct bh_bytes data = stream_data(s, p);
	uint64_t n;

	put_array(c, 2);
	put_sid(c, stream_at(s, p)->id);
	varint_get(&data);
	n = varint_get(&data);
	put_array(c, n);
	for (; n > 0; n--) {
		size_t len = varint_get(&data);

		put_bytes(c, data.data, len);
		data.data += len;
		data.len -= len;
	}
}

void
put_no_group(struct kcall *c, struct bh_bytes key, struct bh_bytes group)
{
	put_error(c, "NOGROUP No such key '%.*s' or consumer group '%.*s'",
	    (int)key.len, key.data, (int)group.len, group.data);
}

bool
arg_group(struct kcall *c, size_t key, size_t group, struct key **ret_key,
    struct sgroup **ret_group)
{
	if (!key_find_as(c, c->argv[key], KEY_STREAM, ret_key))
		return false;
	*ret_group = *ret_key ? group_find(stream_of(*ret_key),
	    c->argv[group]) : NULL;
	if (!*ret_group)
		put_no_group(c, c->argv[key], c->argv[group]);
	return *ret_group != NULL;
}

struct sconsumer *
seen_consumer(struct kcall *c, struct key *k, struct sgroup *g,
    struct bh_bytes name)
{
	struct sconsumer *who = consumer_find(g, name);

	if (who) {
		who->seen = c->ks->wall_ms;
		return who;
	}
	who = consumer_add(stream_of(k), g, name, g->next_consumer);
	who->seen = c->ks->wall_ms;
	row_consumer(c, k, g, who);
	key_settled(c, k);
	return who;
}
