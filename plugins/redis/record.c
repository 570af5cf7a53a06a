/* SPDX-License-Identifier: MIT */
#include "redis/record.h"

#include <hiredis/hiredis.h>

#include "redis/mem.h"
#include "redis/mpack.h"

/* --- memory --- */

struct rarena_chunk {
	struct rarena_chunk *next;
	max_align_t data[];
};

void *
rarena_new(struct rarena *a, size_t size)
{
	struct rarena_chunk *c = mem_new(sizeof(*c) + size);

	c->next = a->chunks;
	a->chunks = c;
	return c->data;
}

struct bh_bytes
rarena_copy(struct rarena *a, struct bh_bytes b)
{
	char *p;

	if (!b.data)
		return b;
	p = rarena_new(a, b.len + 1);
	memcpy(p, b.data, b.len);
	return (struct bh_bytes){p, b.len};
}

void
rarena_free(struct rarena *a)
{
	struct rarena_chunk *c;

	while ((c = a->chunks)) {
		a->chunks = c->next;
		free(c);
	}
}

/* --- numbers --- */

static uint64_t
get(const char *p, int n)
{
	uint64_t u = 0;

	while (n-- > 0)
		u = u << 8 | (unsigned char)*p++;
	return u;
}

void
rput48(char *p, int64_t v)
{
	if (v < 0)
		v = 0;
	else if (v > INT64_C(0x7fffffffffff))
		v = INT64_C(0x7fffffffffff);
	for (int i = 5; i >= 0; i--, v >>= 8)
		p[i] = (char)v;
}

int64_t
rget48(const char *p)
{
	return (int64_t)get(p, 6);
}

/* splitmix64's last steps: neighbours get tokens that are far apart. */
static uint64_t
mix(int64_t id)
{
	uint64_t z = (uint64_t)id + UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

uint64_t
rtoken(const char seed[RSEED], int64_t id)
{
	return get(seed, RSEED) ^ mix(id);
}

void
rtoken_seed(char seed[RSEED], uint64_t token, int64_t id)
{
	uint64_t u = token ^ mix(id);

	for (int i = RSEED - 1; i >= 0; i--, u >>= 8)
		seed[i] = (char)u;
}

/* --- reading --- */

static struct bh_bytes
text_of(const struct redisReply *r)
{
	if (!r || r->type != REDIS_REPLY_STRING)
		return (struct bh_bytes){0};
	return (struct bh_bytes){r->str, r->len};
}

static void
read_meta(struct bh_job *j, const char *p)
{
	int64_t till = rget48(p + 36);

	j->state = (enum bh_job_state)(unsigned char)p[0];
	j->priority = (unsigned char)p[1];
	j->attempt = (int32_t)get(p + 4, 4);
	j->error_count = (int32_t)get(p + 8, 2);
	j->stalled = (int32_t)get(p + 10, 2);
	j->run_at = rget48(p + 18);
	j->created_at = rget48(p + 24);
	j->started_at = rget48(p + 30);
	if (j->state == BH_ACTIVE)
		j->lease_until = till;
	else if (j->state >= BH_COMPLETED)
		j->finished_at = till;
}

static void
read_errors(struct bh_job *j, struct rarena *a, struct rmp_reader *r,
    size_t n)
{
	struct bh_job_error *e = rarena_new(a, (n + 1) * sizeof(*e));

	for (size_t i = 0; i < n; i++) {
		if (rmp_next(r).n < 4)
			break;
		e[i].attempt = (int32_t)rmp_next(r).i;
		e[i].at = rmp_next(r).i;
		e[i].message = rmp_next(r).s;
		e[i].version = rmp_next(r).s;
		j->nerrors = i + 1;
	}
	j->errors = e;
}

static void
read_pair(struct bh_job *j, struct bh_bytes key, struct rmp_value v)
{
	static const struct {
		char key[3];
		size_t at;
	} texts[] = {
		{"g", offsetof(struct bh_job, group)},
		{"u", offsetof(struct bh_job, unique)},
		{"pg", offsetof(struct bh_job, progress)},
		{"er", offsetof(struct bh_job, error)},
		{"or", offsetof(struct bh_job, origin)},
	};
	char name[3] = {0};

	if (key.len == 0 || key.len > 2)
		return;
	memcpy(name, key.data, key.len);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (!strcmp(name, texts[i].key) && v.type == RMP_STR)
			memcpy((char *)j + texts[i].at, &v.s, sizeof(v.s));
	if (!strcmp(name, "at"))
		j->attempts = (int32_t)v.i;
	else if (!strcmp(name, "to"))
		j->timeout_ms = v.i;
	else if (!strcmp(name, "ex"))
		j->expires_at = v.i;
	else if (!strcmp(name, "bt") && v.type == RMP_STR)
		j->batch = (uint32_t)strtoul(v.s.data, NULL, 10);
}

static void
read_map(struct bh_job *j, struct rarena *a, struct bh_bytes x)
{
	struct rmp_reader r = {(const unsigned char *)x.data,
	    (const unsigned char *)x.data + x.len};
	struct rmp_value map = rmp_next(&r);

	for (size_t i = 0; map.type == RMP_MAP && i < map.n; i++) {
		struct rmp_value key = rmp_next(&r);
		struct rmp_reader here = r;
		struct rmp_value v = rmp_next(&r);

		if (v.type == RMP_ARRAY && key.s.len == 2 &&
		    memcmp(key.s.data, "es", 2) == 0) {
			read_errors(j, a, &r, v.n);
			continue;
		}
		r = here;
		rmp_skip(&r);
		read_pair(j, key.s, v);
	}
}

/* Names and values take turns; a value begins with a byte that says whether
 * there is one. */
static void
read_steps(struct bh_job *j, struct rarena *a, const struct redisReply *r)
{
	struct bh_step *s;

	if (!r || r->type != REDIS_REPLY_ARRAY)
		return;
	s = rarena_new(a, (r->elements / 2 + 1) * sizeof(*s));
	for (size_t i = 0; i + 1 < r->elements; i += 2) {
		struct bh_bytes v = text_of(r->element[i + 1]);

		s[i / 2].name = text_of(r->element[i]);
		if (v.len > 0 && v.data[0])
			s[i / 2].value = (struct bh_bytes){v.data + 1,
			    v.len - 1};
		j->nsteps = i / 2 + 1;
	}
	j->steps = s;
}

static void
copy_texts(struct bh_job *j, struct rarena *a)
{
	struct bh_bytes *const all[] = {&j->payload, &j->group, &j->unique,
	    &j->progress, &j->result, &j->error, &j->origin};
	struct bh_job_error *e = (struct bh_job_error *)(uintptr_t)j->errors;
	struct bh_step *s = (struct bh_step *)(uintptr_t)j->steps;

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		*all[i] = rarena_copy(a, *all[i]);
	for (size_t i = 0; i < j->nerrors; i++) {
		e[i].message = rarena_copy(a, e[i].message);
		e[i].version = rarena_copy(a, e[i].version);
	}
	for (size_t i = 0; i < j->nsteps; i++) {
		s[i].name = rarena_copy(a, s[i].name);
		s[i].value = rarena_copy(a, s[i].value);
	}
}

bool
rrecord_job(struct bh_job *ret, struct rarena *a, const struct rparts *p,
    const char *queue, const struct bh_queue_opts *defaults, bool copy)
{
	struct bh_bytes meta = text_of(p->meta), x = text_of(p->x);

	if (meta.len < RMETA)
		return false;
	ret->queue = (struct bh_bytes){queue, strlen(queue)};
	ret->attempts = (int32_t)defaults->attempts;
	ret->timeout_ms = defaults->timeout_ms;
	read_meta(ret, meta.data);
	ret->payload = text_of(p->payload);
	ret->result = text_of(p->result);
	if (x.len > 0)
		read_map(ret, a, x);
	read_steps(ret, a, p->steps);
	if (copy)
		copy_texts(ret, a);
	return true;
}

const char *
rrecord_seed(const struct redisReply *meta)
{
	return meta->str + RMETA - RSEED;
}

/* --- writing --- */

static void
say(struct rmp_writer *w, const char *key, int64_t v)
{
	if (v >= 0)
		rmp_int(w, key, v < INT64_C(1) << 47 ? v : INT64_C(1) << 47);
}

static void
say_double(struct rmp_writer *w, const char *key, double v)
{
	if (v >= 0)
		rmp_double(w, key, v);
}

static void
say_text(struct rmp_writer *w, const char *key, struct bh_bytes v)
{
	if (v.len > 0)
		rmp_bytes(w, key, v);
}

char *
rrecord_opts(const struct bh_job_opts *o, struct bh_bytes origin, size_t *len)
{
	struct rmp_writer w;

	rmp_begin(&w);
	say_text(&w, "g", o->group);
	say_text(&w, "u", o->unique);
	say_text(&w, "or", origin);
	say(&w, "ut", o->unique_ttl_ms);
	say(&w, "xm", o->expires_ms);
	say(&w, "to", o->timeout_ms);
	say(&w, "ls", o->lease_ms);
	say(&w, "re", o->retain_ms);
	say(&w, "at", o->attempts);
	say(&w, "ms", o->max_stalled);
	say(&w, "kt", o->backoff_type);
	say(&w, "kd", o->backoff_ms);
	say(&w, "kx", o->backoff_max_ms);
	say_double(&w, "kf", o->backoff_factor);
	say_double(&w, "kj", o->backoff_jitter);
	if (w.pairs == 0) {
		free(w.data);
		return NULL;
	}
	rmp_end(&w);
	*len = w.len;
	return w.data;
}
