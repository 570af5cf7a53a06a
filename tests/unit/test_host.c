/* SPDX-License-Identifier: MIT */
/* The host, with a door of the test's own and a backend that answers when it
 * is told to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/xalloc.h"
#include "cmd/bus.h"
#include "front/host.h"
#include "lib/cmdfake.h"

#define PATIENCE_MS 20000

struct house {
	struct cmdfake be;
	struct conf *conf;
	struct cmd_env env;
	struct loop *loop;
	struct plugin_host *host;
	const struct bh_host *api;
	struct bh_caller *root;		/* on a unix socket */
	char dir[64], address[96];
	char *addresses[2];

	/* What the door was told. */
	unsigned taken, flushed, drained, closed, reloaded;
	struct bh_caller *killed;
	bool busy;
	int refuses;
	int accepted;
	char accepted_from[80];
};

/* --- the door --- */

static int
door_start(void *arg, char err[BH_ERROR_TEXT])
{
	struct house *h = arg;

	if (h->refuses)
		snprintf(err, BH_ERROR_TEXT, "no, thank you");
	return h->refuses ? -1 : 0;
}

static void
door_take(void *arg)
{
	((struct house *)arg)->taken++;
}

static int64_t
door_flush(void *arg)
{
	((struct house *)arg)->flushed++;
	return 1234;
}

static void
door_drain(void *arg)
{
	((struct house *)arg)->drained++;
}

static bool
door_idle(void *arg)
{
	return !((struct house *)arg)->busy;
}

static void
door_close(void *arg)
{
	((struct house *)arg)->closed++;
}

static void
door_reload(void *arg)
{
	((struct house *)arg)->reloaded++;
}

static void
door_kill(void *arg, struct bh_caller *c)
{
	((struct house *)arg)->killed = c;
}

static const struct bh_door_ops door_ops = {door_start, door_take, door_flush,
    door_drain, door_idle, door_close, door_reload, door_kill};

static int
setup(void **state)
{
	static const struct bh_peer root = {true, false, "unix:pid=1,uid=0"};
	struct house *h = xcalloc(1, sizeof(*h));
	struct err e;

	strcpy(h->dir, "/tmp/bellhop-test-XXXXXX");
	assert_non_null(mkdtemp(h->dir));
	h->conf = conf_new();
	h->env = (struct cmd_env){.ops = &cmdfake_ops, .be = &h->be,
	    .conf = h->conf};
	h->env.bus = bus_new(&h->env);
	h->loop = loop_new();
	h->host = host_new(h->loop, &h->env);
	h->api = host_api(h->host);
	h->api->add_door(&door_ops, h);
	assert_int_equal(host_start(h->host, &e), 0);
	h->root = h->api->caller_new("test", &root);
	*state = h;
	return 0;
}

static int
teardown(void **state)
{
	struct house *h = *state;

	cmdfake_answer_all(&h->be);
	if (h->root)
		h->api->caller_free(h->root);
	host_close_doors(h->host);
	host_free(&h->host);
	bus_free(&h->env.bus);
	loop_free(&h->loop);
	tokens_free(&h->env.tokens);
	cmd_env_done(&h->env);
	conf_free(&h->conf);
	rmdir(h->dir);
	free(h);
	return 0;
}

/* --- calls --- */

struct ask {
	struct bh_call call;
	struct bh_bytes argv[8];
	unsigned done;
	int status;
	int64_t retry_ms;
	char text[600];
};

static void
answered(struct bh_call *call)
{
	struct ask *a = (struct ask *)call;

	a->done++;
	a->status = call->status;
	a->retry_ms = call->retry_ms;
	if (call->status == BH_OK)
		snprintf(a->text, sizeof(a->text), "%.*s",
		    (int)call->json.len, call->json.data);
	else
		snprintf(a->text, sizeof(a->text), "%s", call->text);
}

/* words: separated by blanks. */
static void
ask(struct house *h, struct bh_caller *c, struct ask *a, unsigned flags,
    const char *words)
{
	*a = (struct ask){.call = {.caller = c, .flags = flags,
	    .argv = a->argv, .done = answered}};
	while (*words) {
		size_t n = strcspn(words, " ");

		a->argv[a->call.argc++] = (struct bh_bytes){words, n};
		words += n + (words[n] == ' ');
	}
	h->api->run(&a->call);
}

static void
heard(void *arg, const struct bh_news *news)
{
	struct buf *b = arg;

	buf_addf(b, "%.*s ", (int)news->topic.len, news->topic.data);
}

static void
tell(struct house *h, const char *queue)
{
	struct bh_job_event ev = {.news = BH_NEWS_ADDED, .id = 1,
	    .queue = {queue, strlen(queue)}};

	bus_job(h->env.bus, &ev);
}

static void
answers_are_json(void **state)
{
	struct house *h = *state;
	struct ask a, b, c;

	h->be.last_id = 41;
	ask(h, h->root, &a, 0, "JOB.ADD q {}");
	ask(h, h->root, &b, BH_CALL_DETAIL, "JOB.ADD q {}");
	ask(h, h->root, &c, 0, "PING");
	assert_int_equal(a.done, 0);
	assert_int_equal(c.done, 1);
	assert_string_equal(c.text, "\"PONG\"");
	cmdfake_answer_all(&h->be);
	assert_string_equal(a.text, "\"42\"");
	assert_string_equal(b.text, "{\"id\":\"43\",\"queue\":\"q\","
	    "\"state\":\"waiting\",\"duplicate\":false}");
	assert_int_equal(a.done, 1);
	assert_int_equal(h->env.stats.commands, 3);
}

static void
errors_have_a_code_and_a_sentence(void **state)
{
	struct house *h = *state;
	struct ask a;

	ask(h, h->root, &a, 0, "JOB.ADD no/queue x");
	assert_int_equal(a.done, 1);
	assert_int_equal(a.status, BH_E_BADARG);
	assert_non_null(strstr(a.text, "no/queue"));
	assert_int_equal(a.retry_ms, -1);
	h->be.status = BH_E_QUEUEFULL;
	ask(h, h->root, &a, 0, "JOB.ADD q x");
	cmdfake_answer_all(&h->be);
	assert_int_equal(a.status, BH_E_QUEUEFULL);
	assert_true(a.retry_ms > 0);
}

static void
a_cancelled_call_still_ends_once(void **state)
{
	struct house *h = *state;
	struct ask a;

	ask(h, h->root, &a, 0, "JOB.FETCH q BLOCK 0");
	h->api->cancel(&a.call);
	h->api->cancel(&a.call);
	assert_int_equal(h->be.cancels, 1);
	assert_int_equal(a.done, 0);
	cmdfake_answer_all(&h->be);
	assert_int_equal(a.done, 1);
	assert_int_equal(a.status, BH_E_CANCELED);
}

static void
the_role_comes_from_the_address_or_a_token(void **state)
{
	static const struct bh_peer here = {false, true, "127.0.0.1:5"};
	static const struct bh_peer far = {false, false, "10.0.0.1:5"};
	static char *only[] = {"mail.*"};
	struct house *h = *state;
	struct bh_caller *near = h->api->caller_new("test", &here);
	struct bh_caller *stranger = h->api->caller_new("test", &far);
	char path[100], *secret;
	struct ask a;
	struct err e;

	snprintf(path, sizeof(path), "%s/tokens", h->dir);
	assert_int_equal(tokens_open(&h->env.tokens, path, &e), 0);
	assert_int_equal(tokens_add(h->env.tokens, "shop", "producer", only, 1,
	    &secret, &e), 0);
	ask(h, near, &a, 0, "CONFIG GET x");
	assert_int_equal(a.status, BH_E_NOPERM);
	ask(h, stranger, &a, 0, "PING");
	assert_int_equal(a.status, BH_E_NOAUTH);
	assert_int_equal(h->api->caller_token(stranger, "guess"), -1);
	ask(h, stranger, &a, 0, "PING");
	assert_int_equal(a.status, BH_E_NOAUTH);
	assert_int_equal(h->api->caller_token(stranger, secret), 0);
	ask(h, stranger, &a, 0, "PING");
	assert_int_equal(a.status, BH_OK);
	ask(h, stranger, &a, 0, "JOB.ADD other x");
	assert_int_equal(a.status, BH_E_NOPERM);
	ask(h, stranger, &a, 0, "JOB.ADD mail.out x");
	cmdfake_answer_all(&h->be);
	assert_int_equal(a.status, BH_OK);
	/* The next ones of that connection show a bad one, or none. */
	assert_int_equal(h->api->caller_token(stranger, "guess"), -1);
	ask(h, stranger, &a, 0, "PING");
	assert_int_equal(a.status, BH_E_NOAUTH);
	assert_int_equal(h->api->caller_token(stranger, secret), 0);
	assert_int_equal(h->api->caller_token(stranger, NULL), 0);
	ask(h, stranger, &a, 0, "PING");
	assert_int_equal(a.status, BH_E_NOAUTH);
	h->api->caller_free(near);
	h->api->caller_free(stranger);
	free(secret);
	unlink(path);
}

static void
callers_are_seen(void **state)
{
	static const struct bh_peer here = {false, true, "127.0.0.1:5"};
	struct house *h = *state;
	struct bh_caller *c = h->api->caller_new("test", &here);
	const struct session *s;

	assert_int_equal(h->env.callers, 2);
	assert_true(h->env.caller_at(h->env.host, 1, &s));
	assert_string_equal(s->addr, "127.0.0.1:5");
	assert_string_equal(s->door, "test");
	assert_false(h->env.caller_at(h->env.host, 2, &s));
	h->api->caller_free(h->root);
	h->root = NULL;
	assert_true(h->env.caller_at(h->env.host, 0, &s));
	assert_string_equal(s->addr, "127.0.0.1:5");
	h->api->caller_free(c);
	assert_int_equal(h->env.callers, 0);
}

static void
a_killed_caller_has_no_rights(void **state)
{
	struct house *h = *state;
	struct bh_subscription *sub;
	struct buf got = BUF_INIT;
	char err[BH_ERROR_TEXT];
	const struct session *s;
	struct ask a;
	int code;

	sub = h->api->subscribe(h->root, BH_FEED_JOBS, "*", 0, heard, &got,
	    &code, err);
	assert_true(h->env.caller_at(h->env.host, 0, &s));
	assert_false(h->env.caller_kill(h->env.host, s->id + 1));
	assert_true(h->env.caller_kill(h->env.host, s->id));
	assert_ptr_equal(h->killed, h->root);
	ask(h, h->root, &a, 0, "PING");
	assert_int_equal(a.status, BH_E_NOAUTH);
	assert_int_equal(h->api->caller_token(h->root, NULL), 0);
	ask(h, h->root, &a, 0, "PING");
	assert_int_equal(a.status, BH_E_NOAUTH);
	tell(h, "q");
	assert_int_equal(buf_size(&got), 0);
	h->api->unsubscribe(sub);
	buf_done(&got);
}

static void
a_drain_ends_what_waits(void **state)
{
	struct house *h = *state;
	struct ask a, b, c, d;

	ask(h, h->root, &a, 0, "JOB.FETCH q BLOCK 0");
	ask(h, h->root, &b, 0, "JOB.ADD q x");
	h->env.draining = true;
	host_drain(h->host);
	assert_int_equal(h->drained, 1);
	assert_int_equal(h->be.cancels, 1);
	/* Received before, parsed now; and what came later. */
	ask(h, h->root, &c, 0, "JOB.ADD q x");
	ask(h, h->root, &d, BH_CALL_LATE, "JOB.ADD q x");
	assert_int_equal(d.status, BH_E_BUSY);
	cmdfake_answer_all(&h->be);
	assert_int_equal(a.status, BH_E_BUSY);
	assert_int_equal(b.status, BH_OK);
	assert_int_equal(c.status, BH_OK);
	h->busy = true;
	assert_false(host_idle(h->host));
	h->busy = false;
	assert_true(host_idle(h->host));
}

static void
a_door_has_its_place_in_the_turn(void **state)
{
	struct house *h = *state;

	host_take(h->host);
	assert_int_equal(host_flush(h->host), 1234);
	host_reload(h->host);
	assert_int_equal(h->taken, 1);
	assert_int_equal(h->flushed, 1);
	assert_int_equal(h->reloaded, 1);
	host_close_doors(h->host);
	host_close_doors(h->host);
	assert_int_equal(h->closed, 1);
}

static void
a_door_may_refuse_to_start(void **state)
{
	struct house *h = *state;
	struct err e;

	h->api->add_door(&door_ops, h);
	h->refuses = 1;
	assert_int_equal(host_start(h->host, &e), -1);
	assert_string_equal(e.text, "no, thank you");
	host_close_doors(h->host);
	assert_int_equal(h->closed, 1);	/* the one that had started */
}

/* --- addresses --- */

static void
accept_one(void *arg, int fd, const struct bh_peer *peer)
{
	struct house *h = arg;

	h->accepted++;
	snprintf(h->accepted_from, sizeof(h->accepted_from), "%s",
	    peer->name);
	assert_true(peer->is_unix);
	close(fd);
}

static int
dial(const struct house *h)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	strcpy(to.sun_path, h->address + 5);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	return fd;
}

static void
connections_come_to_the_door(void **state)
{
	struct house *h = *state;
	char **saved = h->conf->listen_resp;
	int64_t until = clock_now().mono_ms + PATIENCE_MS;
	char err[BH_ERROR_TEXT], byte;
	int fd;

	snprintf(h->address, sizeof(h->address), "unix:%s/s", h->dir);
	h->addresses[0] = h->address;
	h->conf->listen_resp = h->addresses;
	assert_int_equal(h->api->listen("listen.resp", "test", accept_one, h,
	    err), 0);
	h->conf->listen_resp = saved;
	assert_string_equal(host_address(h->host, 0), h->address);
	assert_null(host_address(h->host, 1));
	fd = dial(h);
	while (!h->accepted && clock_now().mono_ms < until)
		loop_once(h->loop, 20);
	assert_int_equal(h->accepted, 1);
	assert_non_null(strstr(h->accepted_from, "unix:"));
	assert_int_equal(h->env.stats.connections, 1);
	close(fd);
	/* With the limit reached it is closed at once. */
	h->conf->max_connections = 0;
	fd = dial(h);
	while (h->env.stats.rejected == 0 && clock_now().mono_ms < until)
		loop_once(h->loop, 20);
	while (recv(fd, &byte, 1, 0) < 0 && clock_now().mono_ms < until)
		loop_once(h->loop, 20);
	assert_int_equal(h->env.stats.rejected, 1);
	assert_int_equal(h->accepted, 1);
	close(fd);
}

static void
other_machines_need_a_token(void **state)
{
	static char all[] = "0.0.0.0:0";
	struct house *h = *state;
	char **saved = h->conf->listen_resp;
	char err[BH_ERROR_TEXT];

	h->addresses[0] = all;
	h->conf->listen_resp = h->addresses;
	assert_int_equal(h->api->listen("listen.resp", "test", accept_one, h,
	    err), -1);
	h->conf->listen_resp = saved;
	assert_non_null(strstr(err, "listen.resp: other machines can reach"));
}

static void
options_by_their_names(void **state)
{
	struct house *h = *state;

	assert_string_equal(h->api->option_str("loopback_role"), "operator");
	assert_string_equal(h->api->option_str("backend.type"), "embedded");
	assert_int_equal(h->api->option_int("max_payload"), 1048576);
	assert_int_equal(h->api->option_int("shutdown_grace"), 25000);
	assert_null(h->api->option_list("plugins")[0]);
}

/* --- hooks and news --- */

static void
hooked(struct bh_hook *hook)
{
	*(int *)hook->user += hook->http;
}

static void
a_hook_that_nobody_declares_is_404(void **state)
{
	struct house *h = *state;
	int seen = 0;
	struct bh_hook one = {.done = hooked, .user = &seen}, two = one;

	h->api->hook(&one);
	h->api->hook(&two);
	assert_int_equal(seen, 0);
	(void)host_flush(h->host);
	assert_int_equal(seen, 808);
	assert_int_equal(one.status, BH_E_NOTFOUND);
}

static void
news_keep_to_the_queues_of_a_token(void **state)
{
	static const struct bh_peer far = {false, false, "10.0.0.1:5"};
	static char *only[] = {"mail.*"};
	struct house *h = *state;
	struct bh_caller *c = h->api->caller_new("test", &far);
	struct bh_subscription *all, *some;
	struct buf got_all = BUF_INIT, got_some = BUF_INIT;
	char path[100], *secret, err[BH_ERROR_TEXT];
	struct err e;
	int code = 0;

	assert_null(h->api->subscribe(c, BH_FEED_JOBS, "*", 0, heard,
	    &got_some, &code, err));
	assert_int_equal(code, BH_E_NOAUTH);
	snprintf(path, sizeof(path), "%s/tokens", h->dir);
	assert_int_equal(tokens_open(&h->env.tokens, path, &e), 0);
	assert_int_equal(tokens_add(h->env.tokens, "eye", "reader", only, 1,
	    &secret, &e), 0);
	assert_int_equal(h->api->caller_token(c, secret), 0);
	some = h->api->subscribe(c, BH_FEED_JOBS, "*", 1, heard, &got_some,
	    &code, err);
	all = h->api->subscribe(h->root, BH_FEED_JOBS, "*", 0, heard,
	    &got_all, &code, err);
	assert_non_null(some);
	assert_non_null(all);
	tell(h, "mail.out");
	tell(h, "secret");
	assert_string_equal(buf_str(&got_all), "mail.out secret ");
	/* The gap that it was told first is about the whole pattern. */
	assert_string_equal(buf_str(&got_some), "* mail.out ");
	h->api->unsubscribe(some);
	h->api->unsubscribe(all);
	tell(h, "mail.out");
	assert_string_equal(buf_str(&got_all), "mail.out secret ");
	h->api->caller_free(c);
	buf_done(&got_all);
	buf_done(&got_some);
	free(secret);
	unlink(path);
}

#define IN_A_HOUSE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		IN_A_HOUSE(answers_are_json),
		IN_A_HOUSE(errors_have_a_code_and_a_sentence),
		IN_A_HOUSE(a_cancelled_call_still_ends_once),
		IN_A_HOUSE(the_role_comes_from_the_address_or_a_token),
		IN_A_HOUSE(callers_are_seen),
		IN_A_HOUSE(a_killed_caller_has_no_rights),
		IN_A_HOUSE(a_drain_ends_what_waits),
		IN_A_HOUSE(a_door_has_its_place_in_the_turn),
		IN_A_HOUSE(a_door_may_refuse_to_start),
		IN_A_HOUSE(connections_come_to_the_door),
		IN_A_HOUSE(other_machines_need_a_token),
		IN_A_HOUSE(options_by_their_names),
		IN_A_HOUSE(a_hook_that_nobody_declares_is_404),
		IN_A_HOUSE(news_keep_to_the_queues_of_a_token),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
