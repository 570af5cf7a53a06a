/* SPDX-License-Identifier: MIT */
/*
 * The HTTP door: from struct web_ops to routes, from struct bh_door_ops to
 * web.h. Who may come in is decided here, before a body is read.
 */
#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/feed.h"
#include "http/gate.h"
#include "http/routes.h"

#define DOCUMENT_MAX 2097152
#define NO_BODY_MAX 65536

static struct door *
door_of(void *arg)
{
	return arg;
}

/* ------------------------------------------------------------------ client */

void
client_hold(struct client *c)
{
	c->busy++;
}

void
client_drop(struct client *c)
{
	if (--c->busy > 0 || !c->closed)
		return;
	if (c->caller)
		c->host->caller_free(c->caller);
	free(c->token);
	free(c);
}

static void
on_opened(void *arg, struct web_conn *conn)
{
	struct client *c = mem_new(sizeof(*c));

	c->host = door_of(arg)->host;
	c->conn = conn;
	c->busy = 1;			/* the connection */
	TAILQ_INSERT_TAIL(&door_of(arg)->clients, c, entry);
	*web_user(conn) = c;
}

static void
on_closed(void *arg, struct web_conn *conn)
{
	struct client *c = *web_user(conn);

	TAILQ_REMOVE(&door_of(arg)->clients, c, entry);
	c->conn = NULL;
	c->closed = true;
	client_drop(c);
}

/* "Bearer TOKEN": the token, empty when there is none of that kind. */
static struct bh_bytes
bearer(struct bh_bytes v)
{
	static const char scheme[] = "Bearer ";
	size_t n = strlen(scheme);

	if (v.len <= n || !bytes_is_nocase((struct bh_bytes){v.data, n},
	    scheme))
		return (struct bh_bytes){"", 0};
	while (v.len > n && v.data[n] == ' ')
		n++;
	return (struct bh_bytes){v.data + n, v.len - n};
}

int
client_identify(struct client *c, const struct web_conn *conn,
    struct bh_bytes authorization)
{
	struct bh_bytes token = bearer(authorization);

	if (!c->caller) {
		struct bh_peer peer = {.is_unix = web_is_unix(conn),
		    .loopback = web_is_loopback(conn),
		    .name = web_peer(conn)};

		c->caller = c->host->caller_new("http", &peer);
	}
	if (!authorization.data) {
		if (c->token)
			c->host->caller_token(c->caller, NULL);
		free(c->token);
		c->token = NULL;
		return 0;
	}
	if (c->token && bytes_is(token, c->token))
		return 0;
	free(c->token);
	c->token = mem_copy(token.data, token.len);
	if (c->host->caller_token(c->caller, c->token) == 0)
		return 0;
	c->host->caller_token(c->caller, NULL);
	free(c->token);
	c->token = NULL;
	return -1;
}

/* ------------------------------------------------------------------- entry */

static bool
is_hook(const struct ask *a)
{
	return strncmp(a->web.path, "/hooks/", 7) == 0;
}

/* A page that somebody's browser shows must not reach us by a name that we
 * do not know, nor from another site. */
static bool
check_origin(struct ask *a)
{
	const struct bh_host *host = a->door->host;
	struct bh_bytes name = a->web.headers[WEB_HOST];
	struct bh_bytes origin = a->web.headers[WEB_ORIGIN];
	struct gate_names names = {.local = web_local(a->web.conn),
	    .listen = host->option_list("listen.http"),
	    .hosts = host->option_list("http_hosts"),
	    .origins = host->option_list("http_origins")};

	if (name.data && !is_hook(a) && !gate_host_known(name, &names)) {
		ask_fail(a, BH_E_NOPERM, "Host: '%.*s' is no name of this"
		    " server; if it is, add it to http_hosts",
		    name.len > 128 ? 128 : (int)name.len, name.data);
		return false;
	}
	if (!origin.data)
		return true;
	a->origin = gate_origin_of(origin, name, &names);
	if (a->origin == GATE_FOREIGN) {
		ask_fail(a, BH_E_NOPERM, "Origin: pages of '%.*s' may not use"
		    " this server; if they may, add it to http_origins",
		    origin.len > 128 ? 128 : (int)origin.len, origin.data);
		return false;
	}
	if (a->origin == GATE_LISTED) {
		web_header(&a->web, "Access-Control-Allow-Origin",
		    web_printf(&a->web, "%.*s", (int)origin.len,
		    origin.data));
		web_header(&a->web, "Access-Control-Expose-Headers",
		    "Retry-After, RateLimit-Limit, RateLimit-Remaining,"
		    " RateLimit-Reset");
		web_header(&a->web, "Vary", "Origin");
	}
	return true;
}

/* Without a token, and from where that is no role. */
static bool
is_stranger(const struct ask *a)
{
	const struct web_conn *conn = a->web.conn;

	return !a->client->token && !web_is_unix(conn) &&
	    (!web_is_loopback(conn) || strcmp(a->door->host->option_str(
	    "loopback_role"), "none") == 0);
}

static bool
check_token(struct ask *a)
{
	if (client_identify(a->client, a->web.conn,
	    a->web.headers[WEB_AUTHORIZATION]) < 0) {
		ask_fail(a, BH_E_WRONGPASS, "Authorization: this is no token"
		    " of this server; 'Bearer TOKEN' is expected");
		return false;
	}
	/* Bodies can be large: those of strangers are not even read. */
	if (a->route->body != BODY_NONE && !is_hook(a) && is_stranger(a)) {
		ask_fail(a, BH_E_NOAUTH, "Authentication required.");
		return false;
	}
	return true;
}

static bool
take_query(struct ask *a)
{
	struct pairs *q = &a->query;

	q->what = "query parameter";
	q->n = web_query(&a->web, &q->items);
	for (size_t i = 0; i < q->n; i++) {
		struct bh_header *h = &q->items[i];
		char *name = web_printf(&a->web, "%s", h->name);
		char *value = web_alloc(&a->web, h->value.len + 1);
		long len;

		memcpy(value, h->value.data, h->value.len);
		value[h->value.len] = '\0';
		len = percent_decode(value, h->value.len);
		if (len < 0 || percent_decode(name, strlen(name)) < 0 ||
		    i == PAIRS_MAX) {
			ask_fail(a, BH_E_BADARG, i == PAIRS_MAX ?
			    "the query has too many parameters" :
			    "the query has a malformed %%XX");
			return false;
		}
		*h = (struct bh_header){name, {value, (size_t)len}};
	}
	return true;
}

static void
preflight(struct ask *a, unsigned allowed)
{
	const char *methods = route_methods(&a->web, allowed);

	web_header(&a->web, "Allow", methods);
	if (a->origin == GATE_LISTED && a->web.headers[WEB_PREFLIGHT].data) {
		web_header(&a->web, "Access-Control-Allow-Methods", methods);
		web_header(&a->web, "Access-Control-Allow-Headers",
		    "Authorization, Content-Type, Last-Event-ID");
		web_header(&a->web, "Access-Control-Max-Age", "600");
	}
	ask_none(a);
}

static bool
find_route(struct ask *a)
{
	unsigned allowed;

	a->route = route_find(&a->web, a->param, &allowed);
	if (a->route)
		return true;
	if (strcmp(a->web.path, "*") == 0)
		allowed = WEB_GET | WEB_HEAD | WEB_POST | WEB_PUT |
		    WEB_DELETE | WEB_OPTIONS;
	if (allowed == 0) {
		ask_fail(a, BH_E_NOTFOUND, "there is nothing at %.200s",
		    a->web.path);
	} else if (a->web.method == WEB_OPTIONS) {
		preflight(a, allowed);
	} else {
		web_header(&a->web, "Allow", route_methods(&a->web, allowed));
		ask_problem(a, 405, "ERR", web_printf(&a->web, "%.32s is not"
		    " among the methods of this path: %s", a->web.method_name,
		    route_methods(&a->web, allowed)), -1);
	}
	return false;
}

static void
limit_body(struct ask *a)
{
	static const struct {
		const char *option;
		size_t fixed;
	} limits[] = {
		[BODY_NONE] = {"this request needs none", NO_BODY_MAX},
		[BODY_PAYLOAD] = {"max_payload", 0},
		[BODY_JSON] = {"fixed", DOCUMENT_MAX},
		[BODY_BATCH] = {"max_request", 0},
	};
	enum body_kind kind = a->route->body;
	const struct door *d = a->door;

	a->web.body_option = limits[kind].option;
	a->web.body_max = kind == BODY_PAYLOAD ? d->max_payload :
	    kind == BODY_BATCH ? d->max_request : limits[kind].fixed;
	/* A result or a schedule's payload, with quotes and escapes. */
	if (kind == BODY_JSON && a->web.body_max < 2 * d->max_payload)
		a->web.body_max = 2 * d->max_payload;
}

static bool
on_head(void *arg, struct web_req *r)
{
	struct ask *a = (struct ask *)r;

	a->door = arg;
	a->client = *web_user(r->conn);
	client_hold(a->client);
	/* What a webhook's sender shows is for the script to judge. */
	if (!check_origin(a) || !find_route(a) ||
	    (!is_hook(a) && !check_token(a)) || !take_query(a))
		return false;
	limit_body(a);
	return true;
}

static void
on_complete(void *arg, struct web_req *r)
{
	struct ask *a = (struct ask *)r;

	(void)arg;
	a->route->fn(a);
}

static void
on_gone(void *arg, struct web_req *r)
{
	struct ask *a = (struct ask *)r;
	struct door *d = arg;

	if (a->running && !a->hook)
		d->host->cancel(&a->call);
	else
		web_abort(r);
}

static void
on_end(void *arg, struct web_req *r)
{
	struct ask *a = (struct ask *)r;

	(void)arg;
	if (a->taken && !r->sent)
		job_unfetch(a);
	free(a->taken);
	json_decref(a->json);
	if (a->argv != a->few)
		free(a->argv);
	if (a->client)
		client_drop(a->client);
}

static void
on_refused(void *arg, struct web_req *r, int status, const char *text)
{
	struct ask *a = (struct ask *)r;

	if (!a->door) {
		a->door = arg;
		a->client = *web_user(r->conn);
		client_hold(a->client);
	}
	ask_problem(a, status, status == 413 ? code_word(BH_E_TOOBIG) :
	    code_word(BH_E_BADARG), text, -1);
}

static void
on_log(void *arg, const char *text)
{
	door_of(arg)->host->log(BH_LOG_INFO, "http", text);
}

static void
on_debug(void *arg, const char *text)
{
	door_of(arg)->host->log(BH_LOG_DEBUG, "http", text);
}

/* -------------------------------------------------------------------- door */

static struct web_limits
read_options(struct door *d)
{
	const struct bh_host *h = d->host;

	d->max_payload = (size_t)h->option_int("max_payload");
	d->max_request = (size_t)h->option_int("max_request");
	d->stream_buffer = (size_t)h->option_int("http_stream_buffer");
	return (struct web_limits){
	    .header_bytes = (size_t)h->option_int("http_header_limit"),
	    .connections = (size_t)h->option_int("max_connections"),
	    .request_s = (double)h->option_int("http_timeout") / 1000,
	    .rest_s = (double)h->option_int("http_idle_timeout") / 1000};
}

static void
on_accept(void *arg, int fd, const struct bh_peer *peer)
{
	web_add(door_of(arg)->web, fd, peer);
}

static int
start(void *arg, char err[BH_ERROR_TEXT])
{
	static const struct web_ops ops = {.size = sizeof(struct ask),
	    .head = on_head, .complete = on_complete, .gone = on_gone,
	    .end = on_end, .refused = on_refused, .opened = on_opened,
	    .closed = on_closed, .log = on_log, .debug = on_debug};
	struct door *d = arg;
	struct web_limits limits = read_options(d);

	if (web_new(&d->web, d->host->loop, &ops, d, &limits, err) < 0)
		return -1;
	return d->host->listen("listen.http", "http", on_accept, d, err);
}

static void
take(void *arg)
{
	(void)web_flush(door_of(arg)->web);
}

static int64_t
flush(void *arg)
{
	struct door *d = arg;

	feed_reap(d);
	return web_flush(d->web) ? 0 : INT64_MAX;
}

static void
drain(void *arg)
{
	struct door *d = arg;

	d->draining = true;
	web_drain(d->web);
	feed_drain(d);
}

static bool
idle(void *arg)
{
	struct door *d = arg;

	return web_count(d->web) == 0;
}

static void
close_all(void *arg)
{
	struct door *d = arg;

	if (!d->web)
		return;
	feed_close(d);
	web_close(d->web);
	web_free(&d->web);
}

static void
reload(void *arg)
{
	struct door *d = arg;
	struct web_limits limits = read_options(d);

	web_set_limits(d->web, &limits);
}

static void
kill_caller(void *arg, struct bh_caller *caller)
{
	struct client *c;

	TAILQ_FOREACH(c, &door_of(arg)->clients, entry)
		if (c->caller == caller)
			web_end(c->conn);
}

static void
figures(void *arg, const struct bh_metrics *m)
{
	struct door *d = arg;
	char labels[32];

	m->family(m, "bellhop_http_connections", "gauge",
	    "Connections of the HTTP door.");
	m->sample(m, "", "", d->web ? (double)web_count(d->web) : 0);
	m->family(m, "bellhop_http_streams", "gauge",
	    "Event streams and WebSockets that are open.");
	m->sample(m, "", "", (double)d->nfeeds);
	m->family(m, "bellhop_http_responses_total", "counter",
	    "Answers of the HTTP door, by class of status.");
	for (int i = 2; i < 6; i++) {
		snprintf(labels, sizeof(labels), "status=\"%dxx\"", i);
		m->sample(m, "", labels, (double)d->answers[i]);
	}
}

/* The one door of this process; init() makes it. */
static struct door *the_door;

static int
init(const struct bh_host *host, char err[BH_ERROR_TEXT])
{
	static const struct bh_door_ops ops = {.start = start, .take = take,
	    .flush = flush, .drain = drain, .idle = idle, .close = close_all,
	    .reload = reload, .kill = kill_caller};
	struct door *d = mem_new(sizeof(*d));

	(void)err;
	d->host = host;
	TAILQ_INIT(&d->clients);
	feed_init(d);
	the_door = d;
	host->add_door(&ops, d);
	host->add_metrics(figures, d);
	return 0;
}

static void
done(void)
{
	free(the_door->beat);
	free(the_door);
	the_door = NULL;
}

const struct bh_plugin bellhop_plugin = {.abi = BH_ABI, .name = "http",
    .version = BELLHOP_VERSION, .init = init, .done = done};
