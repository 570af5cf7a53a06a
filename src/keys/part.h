/* SPDX-License-Identifier: MIT */
/*
 * What the files of the keyspace share; nobody else includes this.
 *
 *   keys.c     life, turn, dispatch
 *   dict.c     keys by name, expiry, eviction
 *   disk.c     what is written down, and read back
 *   grave.c    freeing in slices
 *   block.c    commands that wait for a key
 *   watch.c    WATCH    tx.c  EXEC    inner.c  commands inside of others
 *   eval*.c    EVAL, see eval.h
 *   type.c     what each type of value brings
 *   reply.c    answers under construction
 *   number.c   numbers in Redis' spelling
 *   scan.c     arguments of SCAN and its like
 *   string.c   commands of strings     key_cmd.c, expire.c   of any key
 *   list*.c    of lists, over klist.c
 *   bits.c, bitfield.c, lcs.c       object.c              more of these
 *   zset*.c    of sorted sets, over zset.c
 *   clone.c    of COPY and RENAME
 *   hash.c     of hashes               set.c, setop.c        of sets
 *   bag.c      what both are made of, and bag_type.c, pairs.c
 *
 * Main thread only.
 */
#ifndef KEYS_PART_H
#define KEYS_PART_H

#include <bsd/sys/queue.h>

#include "base/keyspace.h"
#include "ds/heap.h"
#include "ds/map.h"
#include "keys/keys.h"

/* What one slice of a walk over all keys may look at: well below 1 ms. */
enum { SLICE_KEYS = 4096 };

/* The numbers are those of the database. */
enum key_type {
	KEY_STRING, KEY_LIST, KEY_SET, KEY_ZSET, KEY_HASH, KEY_STREAM,
	KEY_TYPES
};

/* Bytes that keys and answers share. Who wants to change them must be their
 * only holder. */
struct kval {
	uint32_t refs;
	uint32_t len, cap;
	char data[];
};

struct key {
	struct heap_item ttl;		/* wall ms while pos; kind: its type;
					   tag: the second of its last use */
	TAILQ_ENTRY(key) lru;		/* volatile: most recent first */
	uint64_t hash;
	uint64_t lsn;			/* of its last record */
	int64_t id;			/* of its row; 0: it is volatile */
	int64_t bytes;			/* what it counts for in the accounts */
	uint32_t index;			/* in keys->all */
	uint32_t dirty;			/* place in keys->dirty + 1, 0 clean */
	uint32_t len;
	bool stored;			/* has a row or parts, or records of them */
	union {
		struct kval *str;	/* KEY_STRING */
		void *obj;		/* the others: their type's */
	};
	char name[];
};

TAILQ_HEAD(key_list, key);

/* Keys that were flushed, to be freed slice by slice. */
struct grave {
	struct grave *next;
	struct key **keys;
	size_t n;
};

/* A big value whose key is gone, to be freed slice by slice. */
struct corpse {
	struct corpse *next;
	const struct ktype *type;
	void *obj;
};

/* Parts of a key that is gone, to be deleted from the disk slice by slice. */
struct orphan {
	int64_t id;
	size_t parts;
};

struct kcall;

/*
 * What a type of value brings. Its object is changed by its commands alone;
 * the dictionary asks for the rest. A part is what is stored of it as one row:
 * a field, a member, an element.
 */
typedef void kpart_fn(void *arg, struct bh_bytes part, struct bh_bytes value);

struct ktype {
	const char *name;		/* TYPE's answer */
	const char *(*encoding)(const void *obj);	/* OBJECT's */
	void *(*make)(void);
	void *(*copy)(const void *obj);
	/* Frees some of it, about *budget elements (one for each, the budget
	 * is counted down); true once all of it is gone. */
	bool (*free_some)(void *obj, int *budget);
	/* Elements: 0 makes the key go, where may_be_empty is not set. */
	size_t (*length)(const void *obj);
	bool may_be_empty;
	/* Bytes of memory that it has, in no time. */
	size_t (*bytes)(const void *obj);
	/* Rows that it has on the disk, at most; each one of them; and one
	 * read back, in the order of the bytes of the parts. */
	size_t (*parts)(const void *obj);
	void (*each_part)(const void *obj, kpart_fn *fn, void *arg);
	void (*load_part)(void *obj, struct bh_bytes part,
	    struct bh_bytes value);
	/* Some of the parts, from place *at (0 at first) on, so many as the
	 * budget says, in an order that load_part takes; true once that were
	 * all. May be NULL: then a copy is made in one go. */
	bool (*some_parts)(const void *obj, size_t *at, int budget,
	    kpart_fn *fn, void *arg);
	/* All parts have been read; may be NULL. */
	void (*loaded)(void *obj);
};

/* By enum key_type; none for KEY_STRING but its name. */
extern const struct ktype *const key_types[KEY_TYPES];
extern const struct ktype list_type, zset_type, hash_type, set_type;

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
	struct corpse *corpses;
	struct orphan *orphans;
	size_t norphans, orphans_cap;
	int64_t cache_bytes, durable_bytes;
	int64_t hits, misses, expired, evicted;

	struct kcall *walk;		/* the long command under way */
	/* Records of a walk: it commits as a whole. */
	struct held *held;
	size_t nheld, held_cap;
	size_t nwritten, nrows;		/* of held, of dirty: at its end */
	uint64_t floor_lsn;		/* every answer waits for this one */
	struct parking *parking;
	struct watching *watching;
	struct keys_doors doors;
	struct eval *eval;		/* NULL until the first script */
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
	struct bh_value *items;		/* a row as plugin.h describes it */
	size_t n, cap;
	struct kval **holds;
	size_t nholds, holds_cap;
	size_t bytes;			/* on the wire, at least */
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
	size_t begin;			/* where in it this answer begins */
	struct bh_key_command *r;
	const struct kcmd *cmd;
	uint64_t lsn;			/* what the answer must wait for */
	bool dirty;			/* … and what this turn writes */
	bool inner;			/* of a script or a transaction: it
					   must not wait */
	bool parked;			/* it waits, see block.c */
	bool gone_too;			/* … and wants to know when a key of
					   it goes */
	/* A walk goes on here while step answers true. */
	bool (*step)(struct kcall *c);
	size_t at, n;
	/* What it keeps beside; drop() frees it when the call has ended, also
	 * when it was given up. */
	void *state;
	void (*drop)(void *state);
};

struct kcmd {
	const char *name;
	int arity;
	unsigned flags;			/* enum key_flag */
	int first, last, step;		/* which words are keys */
	void (*fn)(struct kcall *c);
};

/* By name in any case, or NULL. */
const struct kcmd *kcmd_find(struct bh_bytes name);

#define KCMD(fn) void fn(struct kcall *c)

/*
 * The answer: one whole value. An array's head is followed by its items; one
 * whose length is known only at its end gets it then. An error takes the
 * place of all that the command has put before.
 */
void put_null(struct kcall *c);
void put_null_array(struct kcall *c);
void put_status(struct kcall *c, const char *text);	/* lives for ever */
void put_ok(struct kcall *c);
void put_int(struct kcall *c, int64_t v);
/* Copied; answers with the copy. */
struct bh_bytes put_bytes(struct kcall *c, const void *data, size_t len);
PRINTF(2, 3) void put_text(struct kcall *c, const char *fmt, ...);
void put_val(struct kcall *c, struct kval *v);		/* held; NULL: null */
void put_array(struct kcall *c, size_t n);
size_t put_array_open(struct kcall *c);
void put_array_close(struct kcall *c, size_t open, size_t n);
/* A text, a cursor in the place of the null that was put as item `at`. */
void put_text_at(struct kcall *c, size_t at, const char *text);
void put_cursor(struct kcall *c, size_t at, uint64_t cursor);
/* A page of a key that is not there. */
void put_empty_scan(struct kcall *c);
PRINTF(2, 3) void put_error(struct kcall *c, const char *fmt, ...);
void put_syntax(struct kcall *c);
void put_not_integer(struct kcall *c);
void put_wrong_type(struct kcall *c);
/* "wrong number of arguments for 'hset' command" */
void put_bad_arity(struct kcall *c);
/* The same of 'object|freq'. */
void put_bad_sub_arity(struct kcall *c, const char *sub);
/* "invalid expire time in 'set' command" */
void put_bad_expire(struct kcall *c);
/* An error has been put. */
bool put_failed(const struct kcall *c);
/* Nobody would get the answer: it has more bytes than a client may leave
 * unread. put_too_big() says so in its place. */
bool put_is_too_big(const struct kcall *c);
void put_too_big(struct kcall *c);
/* The same of one that only reads and goes on: it need not. */
bool put_gives_up(struct kcall *c);

/* --- dict.c --- */

extern const struct map_ops key_map_ops;

uint64_t keys_hash(const struct keys *ks, struct bh_bytes name);

/* data NULL: its bytes are the caller's to set. */
struct kval *kval_new(const void *data, size_t len);
struct kval *kval_ref(struct kval *v);
void kval_unref(struct kval *v);

/* The key if it lives, else NULL. The answer will wait until what it shows is
 * durable. peek leaves the order of eviction and the counts alone. */
struct key *key_find(struct kcall *c, struct bh_bytes name);
struct key *key_peek(struct kcall *c, struct bh_bytes name);
/* The same of one type, *ret NULL when there is no key; false: it has another
 * type, and that is the answer. */
MUSTCHECK bool key_find_as(struct kcall *c, struct bh_bytes name,
    enum key_type type, struct key **ret);
MUSTCHECK bool key_peek_as(struct kcall *c, struct bh_bytes name,
    enum key_type type, struct key **ret);
enum key_type key_type_of(const struct key *k);
struct bh_bytes key_name(const struct key *k);
/* Seconds since it was used. */
int64_t key_idle_s(const struct keys *ks, const struct key *k);

/* Gives the name this string (taken over), making the key when there is none;
 * its expiry stays only if keep_ttl. */
struct key *key_store(struct kcall *c, struct bh_bytes name, struct kval *v,
    bool keep_ttl);
/* A string's own bytes, changeable, len of them (new ones are zeros). Call
 * key_changed() after the change. */
char *key_edit(struct key *k, size_t len);
/* After a change of a string. */
void key_changed(struct kcall *c, struct key *k);

/*
 * The other types: a new key with an empty value (a key of that name goes); a
 * part of it that is to be written down, or deleted, as the change of the
 * object is made; and, once a command is through with a key, key_settled():
 * accounts, those who wait for the key, its end when it is empty. No use of k
 * after that.
 */
struct key *key_make(struct kcall *c, struct bh_bytes name,
    enum key_type type);
void key_part_set(struct kcall *c, struct key *k, struct bh_bytes part,
    struct bh_bytes value);
void key_part_del(struct kcall *c, struct key *k, struct bh_bytes part);
void key_settled(struct kcall *c, struct key *k);
/* A whole object (taken over) in place of what the name had: of SUNIONSTORE,
 * COPY and the like. Empty: the name is free then. */
void key_store_obj(struct kcall *c, struct bh_bytes name, enum key_type type,
    void *obj, int64_t expires_at);
/*
 * The same for what is big, in slices of a walk: a number for the name's new
 * key (0: it is volatile), each part under that number, and at last the key.
 * Parts of a number without a key are nothing to who reads them back.
 */
int64_t key_reserve(struct kcall *c, struct bh_bytes name);
void key_part_early(struct kcall *c, int64_t id, struct bh_bytes part,
    struct bh_bytes value);
void key_store_written(struct kcall *c, struct bh_bytes name,
    enum key_type type, void *obj, int64_t id);

/* at 0: never. */
void key_set_expiry(struct kcall *c, struct key *k, int64_t at);
int64_t key_expiry(const struct key *k);	/* 0 never */
void key_delete(struct kcall *c, struct key *k);
/* The key under another name, whose own key goes; then done(). */
void key_rename(struct kcall *c, struct key *k, struct bh_bytes name,
    void (*done)(struct kcall *c));

/* clone.c: the key's value and expiry under another name, whose own key goes;
 * with move, the key itself goes. What is big is a walk. done() is called at
 * the end, to put the answer. */
void key_clone(struct kcall *c, struct key *k, struct bh_bytes name,
    bool move, void (*done)(struct kcall *c));

bool key_is_volatile(const struct keys *ks, struct bh_bytes name);
/* Up to SLICE_KEYS of those that the cache has no room for; none during a
 * walk, which knows its place by their number. */
void keys_evict(struct keys *ks);
/* The same during a walk that knows no places. */
void keys_evict_now(struct keys *ks);
/* Up to SLICE_KEYS that have expired. */
void keys_expire(struct keys *ks);
/* For disk.c: a key as it was stored. */
struct key *key_restore(struct keys *ks, const struct jkey_row *row);
void key_restored(struct keys *ks, struct key *k);

void key_free(struct keys *ks, struct key *k);

/* --- grave.c --- */

/* What does not end within a small budget goes on in later turns. */
void value_free(struct keys *ks, enum key_type type, void *obj);
/* Takes all keys away; they are freed later. */
void keys_flush(struct kcall *c);
/* Frees a slice of what is gone. */
void keys_bury(struct keys *ks);
void keys_free_all(struct keys *ks);

/* --- disk.c --- */

void disk_part(struct kcall *c, struct key *k, enum jrec_kind kind,
    struct bh_bytes part, struct bh_bytes value);
/* Of a number that is no key's yet: not held until a walk's end. */
void disk_part_early(struct keys *ks, int64_t id, struct bh_bytes part,
    struct bh_bytes value);
/* The key differs from its row. */
void disk_dirty(struct kcall *c, struct key *k);
/* The key goes; parts: what it has on the disk. */
void disk_gone(struct keys *ks, struct key *k, size_t parts);
void disk_clear(struct keys *ks);
void disk_forget_dirty(struct keys *ks);
/* A slice of what a walk has written goes to the journal, before anything
 * else does; true while some is left, which must be in the same commit. */
bool disk_walk_ended(struct keys *ks);
/* Once a turn; nothing while a walk is under way. */
void disk_write_down(struct keys *ks);
MUSTCHECK int disk_load(struct keys *ks, struct err *e);
void disk_done(struct keys *ks);

/* --- block.c --- */

struct parking *parking_new(void);
void parking_free(struct parking **pp);
/*
 * Parks a call until one of these keys may have something for it: again() is
 * called after each change of one, which it gets the name of (true: it has put
 * the answer), first come first served; at the deadline (mono ms, 0 never) the answer is a null array,
 * or what late() puts. A call that must not wait is answered so at once.
 * names are words of c->argv.
 */
void call_park(struct kcall *c, const struct bh_bytes *names, size_t n,
    int64_t deadline_ms, bool (*again)(struct kcall *c, struct bh_bytes name),
    void (*late)(struct kcall *c));
/* From key_settled(): somebody may wait for this key. */
void park_signal(struct keys *ks, const struct key *k);
/* All keys are gone. */
void park_signal_all(struct keys *ks);
/* After each command: those whose key has changed try again. */
void park_serve(struct keys *ks);
void park_expire(struct keys *ks);
/* True when the request was parked: it has been taken out. */
bool park_cancel(struct keys *ks, struct bh_req *req);
/* Any parked request, taken out; NULL when there is none. */
struct bh_req *park_take(struct keys *ks);
int64_t park_next(const struct keys *ks);
/* Seconds, 0 for ever, to a mono deadline; false: the answer is an error. */
MUSTCHECK bool arg_timeout(struct kcall *c, size_t i, int64_t *ret_deadline);

/* --- watch.c --- */

struct watching *watching_new(void);
void watching_free(struct watching **wp);
/* The key changes, comes or goes. */
void watch_touch(struct keys *ks, const struct key *k);
/* All keys go. */
void watch_touch_all(struct keys *ks);
/* Forgets what the call's client watched; true when some of it has changed. */
bool watch_end(struct kcall *c);
KCMD(k_watch); KCMD(k_unwatch);

/* --- tx.c --- */

KCMD(k_exec);

/* --- eval.c --- */

void eval_free(struct eval **evp);
/* Whether the call is answered at once although a script runs: it kills the
 * script, or the script takes too long to be waited for. */
bool eval_answer_now(struct kcall *c);
/* Some of the garbage of scripts; whether there is more. */
void eval_tidy(struct eval *ev);
bool eval_untidy(const struct eval *ev);

/* --- keys.c --- */

/*
 * For commands with any number of words: step goes over the words from c->at
 * on, up to SLICE_KEYS of them, and answers whether some are left. A few are
 * done at once, many are a walk. word_next() counts: false at the end of a
 * slice, or of the words.
 */
void call_words(struct kcall *c, size_t from, bool (*step)(struct kcall *c));
static inline bool
word_next(struct kcall *c, int *left, size_t n)
{
	return c->at + n <= c->argc && (*left)-- > 0;
}

/* Whether a command that may store more may do so now, else why not. */
MUSTCHECK bool call_may_grow(struct kcall *c, struct err *ret);
/* The answer is complete: it leaves when what it shows is durable. */
void call_finish(struct kcall *c);
/* The first slice of a walk; true: there are more, on a copy of c. */
bool call_walk(struct kcall *c);
/* Frees what the call has kept for its steps. */
void call_drop(struct kcall *c);

/* --- number.c --- */

/* As Redis reads an integer: no blanks, no plus, no leading zero. */
MUSTCHECK bool num_int(struct bh_bytes v, int64_t *ret);
MUSTCHECK bool num_real(struct bh_bytes v, long double *ret);
/* As Redis writes INCRBYFLOAT's result; room for NUM_REAL_MAX bytes. */
enum { NUM_REAL_MAX = 5 * 1024 };
size_t num_real_text(long double v, char *out);
/* The argument, or the answer is an error already. */
MUSTCHECK bool arg_number(struct kcall *c, size_t i, int64_t *ret);
/* The same within bounds; text is the answer for anything else (may be NULL).
 */
MUSTCHECK bool arg_range(struct kcall *c, size_t i, int64_t min, int64_t max,
    const char *text, int64_t *ret);
/* A range as LRANGE has it (negative: from the end), of len elements; false:
 * it is empty. */
MUSTCHECK bool range_clamp(int64_t len, int64_t *start, int64_t *stop);

/* An expiry as it was said: ms (or s) from now, or since 1970. */
struct expiry_arg {
	bool given, seconds, absolute;
	struct bh_bytes value;
};

/* Wall ms; false: the answer is an error. */
MUSTCHECK bool arg_expiry(struct kcall *c, const struct expiry_arg *a,
    int64_t *ret);

/* --- scan.c --- */

struct scan_args {
	uint64_t cursor;
	int64_t count;
	struct bh_bytes match, type;	/* data NULL: not given */
};

/* The cursor at argv[i], and the options from there on; false: the answer is
 * an error. */
MUSTCHECK bool arg_cursor(struct kcall *c, size_t i, uint64_t *ret);
MUSTCHECK bool arg_scan(struct kcall *c, size_t i, bool with_type,
    struct scan_args *s);

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

#define KEYCMD(name, arity, flags, first, last, step, fn, args, help) KCMD(fn);
#include "base/keyspace.def"
#undef KEYCMD

#endif
