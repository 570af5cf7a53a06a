/* SPDX-License-Identifier: MIT */
/* OBJECT: how a key is kept. */
#include <string.h>

#include "base/str.h"
#include "keys/part.h"

/* Redis keeps a string that is not longer beside its head. */
enum { EMBEDDED_MAX = 44 };

static const char *
encoding(const struct key *k)
{
	int64_t v;

	if (key_type_of(k) != KEY_STRING)
		return key_types[key_type_of(k)]->encoding(k->obj);
	if (num_int(val_bytes(k->str), &v))
		return "int";
	/* Room to grow: it has been written to. */
	return k->str->len <= EMBEDDED_MAX && k->str->cap == k->str->len ?
	    "embstr" : "raw";
}

static void
object_encoding(struct kcall *c, const struct key *k)
{
	put_text(c, "%s", encoding(k));
}

static void
object_freq(struct kcall *c, const struct key *k)
{
	(void)k;
	put_error(c, "ERR An LFU maxmemory policy is not selected, access"
	    " frequency not tracked. Please note that when switching between"
	    " policies at runtime LRU and LFU data will take some time to"
	    " adjust.");
}

static void
object_idletime(struct kcall *c, const struct key *k)
{
	put_int(c, key_idle_s(c->ks, k));
}

static void
object_refcount(struct kcall *c, const struct key *k)
{
	(void)k;
	put_int(c, 1);
}

static const struct {
	const char *name, *help;
	void (*fn)(struct kcall *c, const struct key *k);
} subs[] = {
	{"ENCODING", "    Names the representation of its value.",
	    object_encoding},
	{"FREQ", "    Is an error: how often keys are used is not counted.",
	    object_freq},
	{"IDLETIME", "    Tells for how many seconds it has not been used.",
	    object_idletime},
	{"REFCOUNT", "    Is 1.", object_refcount},
};

static void
help(struct kcall *c)
{
	put_array(c, nitems(subs) * 2 + 3);
	put_status(c, "OBJECT <subcommand> [key]. Subcommands are:");
	for (size_t i = 0; i < nitems(subs); i++) {
		put_status(c, subs[i].name);
		put_status(c, subs[i].help);
	}
	put_status(c, "HELP");
	put_status(c, "    Prints this help.");
}

void
k_object(struct kcall *c)
{
	struct bh_bytes sub = c->argv[1];
	struct key *k;

	if (str_is(sub.data, sub.len, "HELP") && c->argc == 2) {
		help(c);
		return;
	}
	for (size_t i = 0; i < nitems(subs); i++) {
		if (!str_is(sub.data, sub.len, subs[i].name))
			continue;
		if (c->argc != 3)
			put_bad_sub_arity(c, subs[i].name);
		else if ((k = key_peek(c, c->argv[2])))
			subs[i].fn(c, k);
		else
			put_null(c);
		return;
	}
	put_error(c, "ERR unknown subcommand '%.*s'. Try OBJECT HELP.",
	    (int)(sub.len > 128 ? 128 : sub.len), sub.data);
}
