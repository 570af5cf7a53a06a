/* SPDX-License-Identifier: MIT */
/*
 * What the files of the keyspace share; nobody else includes this.
 *
 *   keys.c     life, turn, dispatch, answers
 *   dict.c     keys by name, expiry, eviction, what is written down
 *   reply.c    values under construction
 *   number.c   numbers in Redis' spelling
 *   string.c   commands of strings     key_cmd.c, expire.c   of any key
 *
 * Main thread only.
 */
#ifndef KEYS_PART_H
#define KEYS_PART_H

#include <bsd/sys/queue.h>

#include "ds/heap.h"
#include "ds/map.h"
#include "keys/keys.h"

/* What one slice of a walk over all keys may look at: well below 1 ms. */
enum { SLICE_KEYS = 4096 };

enum key_type { KEY_STRING, KEY_TYPES };

/* Bytes that keys and answers share. Who wants to change them must be their
 * only holder. */
struct kval {
	uint32_t refs;
	uint32_t len, cap;
	char data[];
};

struct key {
	struct heap_item ttl;		/* wall ms while pos; kind: its type */
	TAILQ_ENTRY(key) lru;		/* volatile: most recent first */
	uint64_t hash;
	uint64_t lsn;			/* of its last record */
	int64_t id;			/* of its row; 0: it is volatile */
	uint32_t index;			/* in keys->all */
	uint32_t dirty;			/* place in keys->dirty + 1, 0 clean */
	bool stored;			/* has a row, or a record of one */
	uint32_t len;
	struct kval *str;		/* KEY_STRING */
	char name[];
};

TAILQ_HEAD(key_list, key);

/* Keys that were flushed, to be freed slice by slice. */
struct grave {
	struct grave *next;
	struct key **keys;
	size_t n;
};

struct kcall;

struct keys {
	struct journal *journal;
	struct keys_limits limits;
	struct err refuse;
	int64_t wall_ms, mono_ms;
	unsigned char hash_key[16];

	struct map by_name;
	/* Every key, in no order: a new one goes to the end, the last one
	 * takes the place of one that goes. Who walks it from the end to the
	 * front meets every key that is there all the time. */
	struct key **all;
	size_t n, cap;
	struct heap ttl;
	struct key_list lru;
	struct key **dirty;		/* NULL: gone again */
	size_t ndirty, dirty_cap;
	size_t ndurable;
	int64_t next_id;
	uint64_t gone_lsn;		/* of the last deletion's record */
	int64_t swept_ms;		/* mono: when expiry last ran */
	struct grave *graves;
	int64_t cache_bytes, durable_bytes;
	int64_t hits, misses, expired, evicted;

	struct kcall *walk;		/* the long command under way */
	/* Chained by bh_req.priv.next: commands that wait for it, answers of
	 * this turn, answers that wait for the disk. */
	struct req_list {
		struct bh_req *head, **tail;
	} pending, fresh, waiting;
	struct kreply *spare;
	size_t nspare;
};

/* --- reply.c --- */

struct chunk;

/* An answer and what keeps its strings alive; req.priv.state. */
struct kreply {
	struct bh_value root;
	struct bh_value pair[2];	/* of SCAN */
	struct bh_value *items;
	size_t n, cap;
	struct kval **holds;
	size_t nholds, holds_cap;
	struct chunk *chunks;
	struct kreply *next;		/* spare ones */
};

struct kreply *reply_new(struct keys *ks);
void reply_free(struct keys *ks, struct kreply *re);
void reply_free_spare(struct keys *ks);

/* --- a command under way --- */

struct kcall {
	struct keys *ks;
	const struct bh_bytes *argv;
	size_t argc;
	struct kreply *re;
	struct bh_key_command *r;
	const struct kcmd *cmd;
	uint64_t lsn;			/* what the answer must wait for */
	bool dirty;			/* … and what this turn writes */
	/* A walk goes on here while step answers true. */
	bool (*step)(struct kcall *c);
	size_t at;
};

enum kcmd_flag {
	KC_GROW = 1			/* may store more */
};

struct kcmd {
	const char *name;
	void (*fn)(struct kcall *c);
	unsigned flags;
	/* Of KC_GROW: the keys that it may store. */
	int first, last, step;
};

#define KCMD(fn) void fn(struct kcall *c)

/* The answer: one of these for each call. */
void put_null(struct kcall *c);
void put_status(struct kcall *c, const char *text);	/* lives for ever */
void put_ok(struct kcall *c);
void put_int(struct kcall *c, int64_t v);
void put_bytes(struct kcall *c, const void *data, size_t len);	/* copied */
void put_val(struct kcall *c, struct kval *v);		/* held; NULL: null */
PRINTF(2, 3) void put_error(struct kcall *c, const char *fmt, ...);
void put_syntax(struct kcall *c);
void put_not_integer(struct kcall *c);
/* "invalid expire time in 'set' command" */
void put_bad_expire(struct kcall *c);
/* … or an array: items first, then its end. */
void item_bytes(struct kcall *c, const void *data, size_t len);
void item_val(struct kcall *c, struct kval *v);
void put_array(struct kcall *c);
/* [cursor, [items]] */
void put_scan(struct kcall *c, uint64_t cursor);

/* --- dict.c --- */

extern const struct map_ops key_map_ops;

struct kval *kval_new(const void *data, size_t len);
struct kval *kval_ref(struct kval *v);
void kval_unref(struct kval *v);

/* The key if it lives, else NULL. The answer will wait until what it shows is
 * durable. peek leaves the order of eviction and the counts alone. */
struct key *key_find(struct kcall *c, struct bh_bytes name);
struct key *key_peek(struct kcall *c, struct bh_bytes name);
/* Gives the name this value (taken over), making the key when there is none;
 * its expiry stays only if keep_ttl. */
struct key *key_store(struct kcall *c, struct bh_bytes name, struct kval *v,
    bool keep_ttl);
/* The key's own value, changeable, of len bytes (new ones are zeros). Call
 * key_changed() after the change. */
char *key_edit(struct kcall *c, struct key *k, size_t len);
void key_changed(struct kcall *c, struct key *k);
/* at 0: never. */
void key_set_expiry(struct kcall *c, struct key *k, int64_t at);
int64_t key_expiry(const struct key *k);	/* 0 never */
void key_delete(struct kcall *c, struct key *k);
/* Takes all away; they are freed later. */
void keys_flush(struct kcall *c);

bool key_is_volatile(const struct keys *ks, struct bh_bytes name);
/* Up to SLICE_KEYS of those that the cache has no room for; none during a
 * walk, which knows its place by their number. */
void keys_evict(struct keys *ks);
/* Up to SLICE_KEYS that have expired. */
void keys_expire(struct keys *ks);
void keys_write_down(struct keys *ks);
void keys_bury(struct keys *ks);
void keys_free_all(struct keys *ks);
void keys_restore(struct keys *ks, const struct jkey_row *row);

/* --- number.c --- */

/* As Redis reads an integer: no blanks, no plus, no leading zero. */
MUSTCHECK bool num_int(struct bh_bytes v, int64_t *ret);
MUSTCHECK bool num_real(struct bh_bytes v, long double *ret);
/* As Redis writes INCRBYFLOAT's result; room for NUM_REAL_MAX bytes. */
enum { NUM_REAL_MAX = 5 * 1024 };
size_t num_real_text(long double v, char *out);
/* The argument, or the answer is an error already. */
MUSTCHECK bool arg_number(struct kcall *c, size_t i, int64_t *ret);

/* An expiry as it was said: ms (or s) from now, or since 1970. */
struct expiry_arg {
	bool given, seconds, absolute;
	struct bh_bytes value;
};

/* Wall ms; false: the answer is an error. */
MUSTCHECK bool arg_expiry(struct kcall *c, const struct expiry_arg *a,
    int64_t *ret);

static inline bool
bytes_equal(struct bh_bytes a, struct bh_bytes b)
{
	return a.len == b.len && (a.len == 0 ||
	    __builtin_memcmp(a.data, b.data, a.len) == 0);
}

static inline struct bh_bytes
val_bytes(const struct kval *v)
{
	return (struct bh_bytes){v->data, v->len};
}

/* --- the commands --- */

KCMD(k_append); KCMD(k_copy); KCMD(k_dbsize); KCMD(k_decr); KCMD(k_decrby);
KCMD(k_del); KCMD(k_delex); KCMD(k_exists); KCMD(k_expire);
KCMD(k_expireat); KCMD(k_expiretime); KCMD(k_flush); KCMD(k_get);
KCMD(k_getdel); KCMD(k_getex); KCMD(k_getrange); KCMD(k_getset);
KCMD(k_incr); KCMD(k_incrby); KCMD(k_incrbyfloat); KCMD(k_keys);
KCMD(k_mget); KCMD(k_mset); KCMD(k_msetnx); KCMD(k_persist);
KCMD(k_pexpire); KCMD(k_pexpireat); KCMD(k_pexpiretime); KCMD(k_psetex);
KCMD(k_pttl); KCMD(k_randomkey); KCMD(k_rename); KCMD(k_renamenx);
KCMD(k_scan); KCMD(k_set); KCMD(k_setex); KCMD(k_setnx); KCMD(k_setrange);
KCMD(k_strlen); KCMD(k_ttl); KCMD(k_type);

#endif
