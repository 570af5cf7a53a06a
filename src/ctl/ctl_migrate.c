/* SPDX-License-Identifier: MIT */
/* `migrate`: what would move between the local store and Redis, and the way
 * back. */
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "base/xalloc.h"
#include "ctl/ctl.h"

enum { PATIENCE_S = 24 * 3600 };

static const char *const states[] = {"waiting", "delayed", "active",
    "completed", "failed"};

/* What is to be said about keys on the way back. */
struct keys {
	const char **globs;
	size_t nglobs;
	bool none;			/* --no-keys */
	int64_t chosen, others;		/* counted */
	int64_t streams;		/* matched, but they stay */
	char *prefix;			/* of the backend's own; NULL: none */
	char **cached;			/* prefixes of what is not kept */
	size_t ncached;
};

/* --- counting --- */

static bool
begins(struct bh_bytes key, const char *prefix)
{
	size_t len = strlen(prefix);

	return len > 0 && key.len >= len &&
	    memcmp(key.data, prefix, len) == 0;
}

static void
count_key(struct keys *k, struct bh_bytes key)
{
	if (k->prefix && begins(key, k->prefix))
		return;
	for (size_t i = 0; i < k->ncached; i++)
		if (begins(key, k->cached[i]))
			return;
	for (size_t i = 0; i < k->nglobs; i++)
		if (str_glob(k->globs[i], strlen(k->globs[i]), key.data,
		    key.len)) {
			k->chosen++;
			return;
		}
	k->others++;
}

/* type NULL: of all types. */
static int
scan_keys(struct ctl *ctl, struct keys *k, const char *type)
{
	char *cursor = xstrdup("0");
	int rc = 0;

	do {
		const struct resp_value *v = ctl_ask(ctl, "SCAN", cursor,
		    "COUNT", "1000", type ? "TYPE" : NULL, type, NULL);

		if (!v || v->n != 2) {
			rc = -1;
			break;
		}
		for (size_t i = 0; i < v->items[1].n; i++)
			count_key(k, v->items[1].items[i].s);
		free(cursor);
		cursor = xstrndup(v->items[0].s.data, v->items[0].s.len);
	} while (strcmp(cursor, "0") != 0);
	free(cursor);
	return rc;
}

static int
count_keys(struct ctl *ctl, struct keys *k)
{
	struct keys s = *k;

	if (scan_keys(ctl, k, NULL) < 0)
		return -1;
	if (k->nglobs == 0)
		return 0;
	if (scan_keys(ctl, &s, "stream") < 0)
		return -1;
	k->streams = s.chosen;
	k->chosen -= s.chosen;
	return 0;
}

static struct table *
count_jobs(struct ctl *ctl, char **names, int64_t *ret_total)
{
	struct table *t = table_new("QUEUE|>WAITING|>DELAYED|>ACTIVE|"
	    ">COMPLETED|>FAILED");

	*ret_total = 0;
	for (size_t i = 0; names[i]; i++) {
		const struct resp_value *v = ctl_ask(ctl, "QUEUE.STATS",
		    names[i], NULL);

		if (!v) {
			table_free(&t);
			return NULL;
		}
		table_add_text(t, (struct bh_bytes){names[i],
		    strlen(names[i])}, 0);
		for (size_t s = 0; s < nitems(states); s++) {
			int64_t n = value_int(v, states[s], 0);

			table_add_int(t, n);
			*ret_total += n;
		}
	}
	return t;
}

/* An option of the daemon's configuration, to be freed. */
static char *
daemon_option(struct ctl *ctl, const char *name)
{
	const struct resp_value *v = ctl_ask(ctl, "CONFIG", "GET", name,
	    NULL);
	struct bh_bytes s = v ? value_bytes(v, name) :
	    (struct bh_bytes){NULL, 0};

	return s.data ? xstrndup(s.data, s.len) : NULL;
}

/* CONFIG GET shows a list with blanks between. */
static void
read_cached(struct ctl *ctl, struct keys *k)
{
	char *list = daemon_option(ctl, "keys.volatile"), *rest = list;
	char *word;

	while (rest && (word = strsep(&rest, " "))) {
		k->cached = xrealloc(k->cached, (k->ncached + 1) *
		    sizeof(*k->cached));
		k->cached[k->ncached++] = xstrdup(word);
	}
	free(list);
}

static void
keys_done(struct keys *k)
{
	for (size_t i = 0; i < k->ncached; i++)
		free(k->cached[i]);
	free(k->cached);
	free(k->prefix);
}

static void
show_counts(struct ctl *ctl, struct table **t, const struct keys *k,
    int64_t jobs, int64_t schedules, bool down)
{
	struct json j;
	struct buf out = BUF_INIT;

	if (ctl->json) {
		table_free(t);
		json_init(&j, &out);
		json_object(&j);
		json_key(&j, "jobs");
		json_int(&j, jobs);
		json_key(&j, "schedules");
		json_int(&j, schedules);
		json_key(&j, "keys");
		json_int(&j, down ? k->chosen : k->others);
		json_key(&j, "other_keys");
		json_int(&j, down ? k->others : 0);
		json_key(&j, "streams");
		json_int(&j, k->streams);
		json_object_end(&j);
		fprintf(ctl->out, "%s\n", buf_str(&out));
		buf_done(&out);
		return;
	}
	ctl_table(ctl, t, "no queue");
	fprintf(ctl->out, "\n%jd jobs, %jd schedules and %jd keys would move"
	    " to %s", (intmax_t)jobs, (intmax_t)schedules,
	    (intmax_t)(down ? k->chosen : k->others), down ?
	    "the local store" : "Redis");
	if (down && k->others > 0)
		fprintf(ctl->out, "; %jd keys would stay in Redis (--keys"
		    " GLOB takes those along that it matches)",
		    (intmax_t)k->others);
	if (k->streams > 0)
		fprintf(ctl->out, "; %jd streams cannot move and stay in"
		    " Redis", (intmax_t)k->streams);
	fprintf(ctl->out, ".\n");
}

static int
dry_run(struct ctl *ctl, struct keys *k, bool down)
{
	const struct resp_value *v = ctl_ask(ctl, "SCHEDULE.LIST", NULL);
	int64_t schedules = v ? (int64_t)v->n : 0, jobs = 0;
	char **names = v ? ctl_queue_names(ctl) : NULL;
	struct table *t = NULL;
	int status = CTL_FAILED;

	if (names)
		t = count_jobs(ctl, names, &jobs);
	for (size_t i = 0; names && names[i]; i++)
		free(names[i]);
	free(names);
	if (t && count_keys(ctl, k) == 0) {
		show_counts(ctl, &t, k, jobs, schedules, down);
		status = CTL_OK;
	}
	table_free(&t);
	return status;
}

/* --- the way back --- */

static int
go_down(struct ctl *ctl, const struct keys *k)
{
	struct ctl_words w = {0};
	const struct resp_value *v;

	ctl_word(&w, "BELLHOP");
	ctl_word(&w, "MIGRATE");
	ctl_word(&w, "EMBEDDED");
	for (size_t i = 0; i < k->nglobs; i++)
		ctl_word(&w, k->globs[i]);
	client_patience(ctl->client, PATIENCE_S);
	v = ctl_ask_words(ctl, &w);
	ctl_words_done(&w);
	if (!v)
		return CTL_FAILED;
	if (ctl->json)
		return ctl_json(ctl, v);
	fprintf(ctl->out, "%jd jobs, %jd schedules and %jd keys are in the"
	    " local store now.\nNothing is served until you set backend.type"
	    " = \"embedded\" in the configuration and run\n"
	    "    systemctl restart bellhop\n", (intmax_t)value_int(v, "jobs",
	    0), (intmax_t)value_int(v, "schedules", 0),
	    (intmax_t)value_int(v, "keys", 0));
	return CTL_OK;
}

/* Keys in a Redis may be somebody else's: who takes them says so. */
static int
check_keys(struct ctl *ctl, struct keys *k)
{
	if (k->none || k->nglobs > 0)
		return CTL_OK;
	if (count_keys(ctl, k) < 0)
		return CTL_FAILED;
	if (k->others == 0)
		return CTL_OK;
	return ctl_fail(ctl, "there are %jd keys in Redis that are not"
	    " Bellhop's own: say --keys '*' to take all of them along, --keys"
	    " 'GLOB' for some, or --no-keys to leave them there",
	    (intmax_t)k->others);
}

static int
to_embedded(struct ctl *ctl, struct keys *k, bool dry)
{
	int status;

	if (dry)
		return dry_run(ctl, k, true);
	status = check_keys(ctl, k);
	return status == CTL_OK ? go_down(ctl, k) : status;
}

static int
to_redis(struct ctl *ctl, struct keys *k, bool dry)
{
	if (dry)
		return dry_run(ctl, k, false);
	return ctl_fail(ctl, "a start moves everything to Redis: set backend ="
	    " { type = \"redis\"; url = \"…\"; } in the configuration and run"
	    " 'systemctl restart bellhop'; --dry-run counts what would move");
}

static int
migrate(struct ctl *ctl, struct keys *k, bool down, bool dry)
{
	char *type = daemon_option(ctl, "backend.type");
	bool redis = type && strcmp(type, "redis") == 0;
	int status;

	if (!type)
		return CTL_FAILED;
	if (redis)
		k->prefix = daemon_option(ctl, "backend.prefix");
	read_cached(ctl, k);
	if (redis != down)
		status = ctl_fail(ctl, "the store is %s already",
		    redis ? "Redis" : "the local one");
	else if (down)
		status = to_embedded(ctl, k, dry);
	else
		status = to_redis(ctl, k, dry);
	free(type);
	return status;
}

int
ctl_migrate(struct ctl *ctl, int argc, char **argv)
{
	struct ctl_option opts[] = {{.name = "to", .arg = "STORE"},
	    {.name = "dry-run"}, {.name = "keys", .arg = "GLOB"},
	    {.name = "no-keys"}};
	struct keys k = {0};
	bool down;
	int n, status = CTL_USAGE;

	if (ctl_parse(ctl, argc, argv, opts, nitems(opts), 0, 0, &n) != 0)
		goto out;
	if (!opts[0].value || (strcmp(opts[0].value, "embedded") != 0 &&
	    strcmp(opts[0].value, "redis") != 0)) {
		ctl_usage(ctl, "--to must be 'embedded' or 'redis'");
		goto out;
	}
	down = strcmp(opts[0].value, "embedded") == 0;
	k.globs = opts[2].list;
	k.nglobs = opts[2].n;
	k.none = opts[3].value != NULL;
	if ((k.none && k.nglobs > 0) || (!down && (k.none || k.nglobs))) {
		ctl_usage(ctl, "--keys and --no-keys are for --to embedded,"
		    " one of them");
		goto out;
	}
	status = CTL_FAILED;
	if (ctl_connect(ctl) == 0)
		status = migrate(ctl, &k, down, opts[1].value != NULL);
out:
	keys_done(&k);
	ctl_options_done(opts, nitems(opts));
	return status;
}
