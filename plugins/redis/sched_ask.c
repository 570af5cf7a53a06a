/* SPDX-License-Identifier: MIT */
/*
 * Schedules: the verbs. A request asks what the server has, decides, and writes
 * if nobody was faster; requests are dealt with one after another, in the order
 * in which they came.
 */
#include "redis/away.h"
#include "redis/mem.h"
#include "redis/sched.h"
#include "redis/words.h"

enum { PUT, LIST, REMOVE };

static void ask_next(struct rscheds *l);

static int
text_len(struct bh_bytes b)
{
	return b.len > 100 ? 100 : (int)b.len;
}

static void
end_request(struct rscheds *l)
{
	struct bh_req *req = l->asked;

	l->asked = req->priv.next;
	if (!l->asked)
		l->asked_tail = &l->asked;
	l->asking = false;
	ask_next(l);
}

static void
fail_request(struct rscheds *l, int code, const char *text)
{
	struct bh_req *req = l->asked;

	end_request(l);
	be_done_fail(req, code, "%s", text);
}

static void
request_lost(struct rscheds *l, const struct redisReply *r)
{
	char text[BH_ERROR_TEXT];
	int code = be_error(l->be, r, text);

	fail_request(l, code, text);
}

/* May who asks change it? 0, or CONFLICT with a sentence. */
static int
check_owner(const struct bh_schedule *row, struct bh_bytes name,
    struct bh_bytes owner, char text[BH_ERROR_TEXT])
{
	if (row->owner.len == owner.len && (!owner.len ||
	    memcmp(row->owner.data, owner.data, owner.len) == 0))
		return 0;
	if (row->owner.len)
		snprintf(text, BH_ERROR_TEXT, "schedule '%.*s' belongs to the "
		    "script %.*s: change it there", text_len(name), name.data,
		    text_len(row->owner), row->owner.data);
	else
		snprintf(text, BH_ERROR_TEXT, "schedule '%.*s' was set by a "
		    "client: remove it, or give the script's another name",
		    text_len(name), name.data);
	return BH_E_CONFLICT;
}

static void
put_written(void *arg, struct redisReply *r)
{
	struct rscheds *l = arg;
	struct bh_schedule_put *p = (struct bh_schedule_put *)l->asked;
	struct bh_bytes name;
	char text[BH_ERROR_TEXT];

	l->under_way--;
	l->be->host->wake();
	if (!p)
		return;		/* closing: it has been answered */
	name = p->schedule.name;
	if (!reply_has(r, 1)) {
		request_lost(l, r);
		return;
	}
	if (rsched_int(r, 0) == 2) {
		snprintf(text, sizeof(text), "schedule '%.*s' would be number "
		    "%lld, max_schedules is %lld", text_len(name), name.data,
		    (long long)rsched_int(r, 1) + 1, (long long)
		    l->be->host->option_int("max_schedules"));
		fail_request(l, BH_E_QUEUEFULL, text);
	} else if (rsched_int(r, 0) == 1) {
		rsched_installed(l, name, blob_all(&l->row), blob_all(&l->state),
		    r);
		end_request(l);
		be_done(&p->req);
	} else {
		l->asking = false;	/* somebody was faster */
		ask_next(l);
	}
}

/* The row that is to be, and where it stands. Answers when it is the same. */
static void
put_write(struct rscheds *l, struct bh_schedule_put *p, struct rsched *old,
    bool there)
{
	const struct bh_schedule_time *t = l->be->host->schedules;
	struct bh_schedule row = p->schedule;
	struct rsched_state state = {0};
	bool keeps = there && rsched_same_times(&old->row, &row) &&
	    old->state.clock.due != INT64_MAX;
	int64_t wall, steady;
	bool sent;

	rsched_clocks(l, &wall, &steady);
	if (keeps)
		state = old->state;
	else
		t->begin(&row, &state.clock, wall, steady);
	p->next_at = rsched_next_at(&row, &state, wall, steady);
	if (keeps && rsched_same_row(&old->row, &row)) {
		end_request(l);
		be_done(&p->req);
		return;
	}
	row.created_at = keeps ? old->row.created_at : wall;
	l->row.len = l->state.len = 0;
	rsched_row_write(&l->row, &row);
	rsched_state_write(&l->state, &row, &state, wall, steady);
	sent = rsched_send_set(l, row.name, there ?
	    (struct bh_bytes){old->version, SCHED_VERSION} :
	    (struct bh_bytes){"", 0}, blob_all(&l->row), blob_all(&l->state),
	    keeps ? old->generation : 0, put_written, l);
	if (!sent)
		fail_request(l, BH_E_BACKEND, l->be->away);
}

/* What the server has under the name, read into *old; its strings point into
 * the reply. False: nothing. */
static bool
read_old(struct rscheds *l, const struct redisReply *r, struct rsched *old)
{
	int64_t wall, steady;

	rsched_clocks(l, &wall, &steady);
	*old = (struct rsched){0};
	if (r->elements < 6 || !rsched_row_read(&old->row, rsched_text(r, 4)))
		return false;
	old->row.name = rsched_text(r, 3);
	if (!rsched_state_read(old, rsched_text(r, 5), wall, steady))
		old->state.clock.due = INT64_MAX;
	return true;
}

static void
put_read(struct rscheds *l, struct bh_schedule_put *p,
    const struct redisReply *r)
{
	char text[BH_ERROR_TEXT];
	struct rsched old;
	bool there = read_old(l, r, &old);
	int64_t wall, steady;
	int code = 0;

	rsched_clocks(l, &wall, &steady);
	if (there)
		code = check_owner(&old.row, p->schedule.name,
		    p->schedule.owner, text);
	if (code == 0)
		code = l->be->host->schedules->check(&p->schedule, wall,
		    text);
	if (code != 0)
		fail_request(l, code, text);
	else
		put_write(l, p, &old, there);
}

static void
removed(void *arg, struct redisReply *r)
{
	struct rscheds *l = arg;
	struct bh_schedule_remove *m = (struct bh_schedule_remove *)l->asked;
	struct bh_bytes none = {"", 0};

	l->under_way--;
	l->be->host->wake();
	if (!l->asked)
		return;
	if (!reply_has(r, 1)) {
		request_lost(l, r);
	} else if (rsched_int(r, 0) == 1) {
		rsched_apply(l, m->name, none, none);
		end_request(l);
		be_done(&m->req);
	} else {
		l->asking = false;
		ask_next(l);
	}
}

static void
remove_read(struct rscheds *l, struct bh_schedule_remove *m,
    const struct redisReply *r)
{
	char text[BH_ERROR_TEXT];
	struct rsched old;
	int code = 0;

	if (!read_old(l, r, &old)) {
		snprintf(text, sizeof(text), "schedule '%.*s' does not exist",
		    text_len(m->name), m->name.data);
		code = BH_E_NOTFOUND;
	} else {
		code = check_owner(&old.row, m->name, m->owner, text);
	}
	if (code != 0)
		fail_request(l, code, text);
	else if (!rsched_send_del(l, m->name, (struct bh_bytes){old.version,
	    SCHED_VERSION}, removed, l))
		fail_request(l, BH_E_BACKEND, l->be->away);
}

static int
by_name(const void *a, const void *b)
{
	struct bh_bytes x = ((const struct bh_schedule *)a)->name;
	struct bh_bytes y = ((const struct bh_schedule *)b)->name;
	int order = memcmp(x.data, y.data, x.len < y.len ? x.len : y.len);

	return order ? order : (x.len > y.len) - (x.len < y.len);
}

static void
list_read(struct rscheds *l, struct bh_schedule_list *p,
    const struct redisReply *r)
{
	size_t n = (r->elements - 3) / 3;
	struct bh_schedule *rows = mem_new((n + 1) * sizeof(*rows));
	struct bh_tick (*ticks)[SCHED_TICKS] = mem_new((n + 1) *
	    sizeof(*ticks));
	struct rsched one;
	int64_t wall, steady;

	rsched_clocks(l, &wall, &steady);
	p->nschedules = 0;
	p->schedules = rows;
	for (size_t i = 0; i < n; i++) {
		struct bh_schedule *out = &rows[p->nschedules];

		one = (struct rsched){0};
		if (!rsched_row_read(&one.row, rsched_text(r, 4 + i * 3)) ||
		    !rsched_state_read(&one, rsched_text(r, 5 + i * 3), wall,
		    steady))
			continue;
		*out = one.row;
		out->name = rsched_text(r, 3 + i * 3);
		memcpy(ticks[p->nschedules], one.state.ticks,
		    sizeof(one.state.ticks));
		out->ticks = ticks[p->nschedules];
		out->nticks = one.state.kept;
		out->next_at = rsched_next_at(out, &one.state, wall, steady);
		p->nschedules++;
	}
	qsort(rows, p->nschedules, sizeof(*rows), by_name);
	end_request(l);
	be_done(&p->req);
	free(rows);
	free(ticks);
}

static void
answered(void *arg, struct redisReply *r)
{
	struct rscheds *l = arg;
	struct bh_req *req = l->asked;

	l->under_way--;
	l->be->host->wake();
	if (!l->asked)
		return;		/* closing: it has been answered */
	if (!reply_has(r, 1)) {
		request_lost(l, r);
		return;
	}
	rsched_take_time(l, r);
	if (req->priv.kind == PUT)
		put_read(l, (struct bh_schedule_put *)req, r);
	else if (req->priv.kind == REMOVE)
		remove_read(l, (struct bh_schedule_remove *)req, r);
	else
		list_read(l, (struct bh_schedule_list *)req, r);
}

static struct bh_bytes
name_of(const struct bh_req *req)
{
	if (req->priv.kind == PUT)
		return ((const struct bh_schedule_put *)req)->schedule.name;
	if (req->priv.kind == REMOVE)
		return ((const struct bh_schedule_remove *)req)->name;
	return ((const struct bh_schedule_list *)req)->name;
}

static void
ask_next(struct rscheds *l)
{
	struct bh_req *req;

	while (!l->asking && (req = l->asked)) {
		if (rsched_send(l, name_of(req), answered, l)) {
			l->asking = true;
			return;
		}
		/* Never from inside a verb: this is a reply's function, or
		 * the verb has looked whether Redis is there. */
		l->asked = req->priv.next;
		if (!l->asked)
			l->asked_tail = &l->asked;
		be_fail_away(l->be, req);
	}
}

static void
ask(struct redis_be *be, struct bh_req *req, uint32_t kind)
{
	struct rscheds *l = be->scheds;

	req->priv.next = NULL;
	req->priv.kind = kind;
	if (!raway_serves(be)) {
		be_fail_away(be, req);
		return;
	}
	*l->asked_tail = req;
	l->asked_tail = &req->priv.next;
	ask_next(l);
}

void
rsched_put(void *be, struct bh_schedule_put *r)
{
	ask(be, &r->req, PUT);
}

void
rsched_list(void *be, struct bh_schedule_list *r)
{
	r->schedules = NULL;
	r->nschedules = 0;
	ask(be, &r->req, LIST);
}

void
rsched_remove(void *be, struct bh_schedule_remove *r)
{
	ask(be, &r->req, REMOVE);
}

