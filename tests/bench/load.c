/* SPDX-License-Identifier: MIT */
/*
 * The load generator of tests/bench/bench.py: one thread, one epoll loop.
 * Each mode prints one line of name=value pairs. README.md beside it says
 * what the modes measure.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "wire.h"

enum { READ_SIZE = 65536, PRELOAD_BATCH = 500 };

struct options {
	const char *addr;
	const char *queue;
	bool beanstalk;
	long jobs;
	long conns;
	long depth;
	long size;
	const char *delay;		/* preload only, NULL none */
};

struct conn {
	int fd;
	long inflight;
	char *out;			/* a block of depth requests */
	size_t out_at, out_len;
	char in[READ_SIZE];
	size_t in_len;
};

struct adder {
	const struct options *opt;
	char *request;			/* one, as often as it takes */
	size_t request_len;
	int epoll;
	long to_send, to_get;
};

static char *
xmalloc(size_t n)
{
	void *p = malloc(n ? n : 1);

	if (!p)
		fail("no memory");
	return p;
}

/* JSON of exactly size bytes, as a job of this size would carry. */
static char *
make_payload(long size)
{
	char *p = xmalloc((size_t)size + 1);

	memset(p, 'x', (size_t)size);
	p[size] = '\0';
	if (size >= 8) {
		memcpy(p, "{\"d\":\"", 6);
		memcpy(p + size - 2, "\"}", 2);
	}
	return p;
}

static void
make_request(struct adder *a)
{
	char *payload = make_payload(a->opt->size);
	const char *argv[] = {"JOB.ADD", a->opt->queue, payload};

	if (a->opt->beanstalk) {
		a->request = xmalloc((size_t)a->opt->size + 64);
		a->request_len = (size_t)sprintf(a->request,
		    "put 5 0 60 %ld\r\n%s\r\n", a->opt->size, payload);
	} else {
		a->request = xmalloc(resp_command_size(3, argv, NULL));
		a->request_len = resp_command(a->request, 3, argv, NULL);
	}
	free(payload);
}

static void
watch(struct adder *a, struct conn *c, int op)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};

	if (c->out_at < c->out_len)
		ev.events |= EPOLLOUT;
	if (epoll_ctl(a->epoll, op, c->fd, &ev) < 0)
		fail("epoll_ctl: %s", strerror(errno));
}

static void
conn_write(struct adder *a, struct conn *c)
{
	bool waited = c->out_at > 0;
	ssize_t n = write(c->fd, c->out + c->out_at, c->out_len - c->out_at);

	if (n < 0 && errno != EAGAIN)
		fail("write: %s", strerror(errno));
	if (n > 0)
		c->out_at += (size_t)n;
	if (c->out_at == c->out_len) {
		c->out_at = c->out_len = 0;
		if (waited)
			watch(a, c, EPOLL_CTL_MOD);
	} else {
		watch(a, c, EPOLL_CTL_MOD);
	}
}

/* Tops the requests in flight up to the depth, in one write. */
static void
conn_fill(struct adder *a, struct conn *c)
{
	if (c->out_len > 0)
		return;
	while (c->inflight < a->opt->depth && a->to_send > 0) {
		memcpy(c->out + c->out_len, a->request, a->request_len);
		c->out_len += a->request_len;
		c->inflight++;
		a->to_send--;
	}
	if (c->out_len > 0)
		conn_write(a, c);
}

static void
conn_read(struct adder *a, struct conn *c)
{
	ssize_t (*reply_len)(const char *, size_t) =
	    a->opt->beanstalk ? beanstalk_reply_len : resp_reply_len;
	ssize_t n, one;
	size_t at = 0;

	n = read(c->fd, c->in + c->in_len, sizeof(c->in) - c->in_len);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0)
		fail("the server closed a connection");
	c->in_len += (size_t)n;
	while ((one = reply_len(c->in + at, c->in_len - at)) > 0) {
		at += (size_t)one;
		c->inflight--;
		a->to_get--;
	}
	if (one < 0)
		fail("the server says: %.*s", (int)(c->in_len - at), c->in + at);
	memmove(c->in, c->in + at, c->in_len - at);
	c->in_len -= at;
}

static void
adder_loop(struct adder *a)
{
	struct epoll_event evs[64];
	struct conn *c;
	int n;

	while (a->to_get > 0) {
		n = epoll_wait(a->epoll, evs, 64, 30000);
		if (n == 0)
			fail("no reply for 30 seconds");
		for (int i = 0; i < n; i++) {
			c = evs[i].data.ptr;
			if (evs[i].events & EPOLLOUT)
				conn_write(a, c);
			if (evs[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
				conn_read(a, c);
			conn_fill(a, c);
		}
	}
}

/* Adds opt->jobs jobs; the time that took, connecting left out. */
static int64_t
add_all(const struct options *opt)
{
	struct adder a = {.opt = opt, .to_send = opt->jobs,
	    .to_get = opt->jobs, .epoll = epoll_create1(EPOLL_CLOEXEC)};
	struct conn *conns = calloc((size_t)opt->conns, sizeof(*conns));
	int64_t start;

	if (!conns)
		fail("no memory");
	make_request(&a);
	for (long i = 0; i < opt->conns; i++) {
		struct conn *c = &conns[i];

		c->fd = wire_connect(opt->addr);
		fcntl(c->fd, F_SETFL, O_NONBLOCK);
		c->out = xmalloc((size_t)opt->depth * a.request_len);
		watch(&a, c, EPOLL_CTL_ADD);
	}
	start = now_us();
	for (long i = 0; i < opt->conns; i++)
		conn_fill(&a, &conns[i]);
	adder_loop(&a);
	start = now_us() - start;
	for (long i = 0; i < opt->conns; i++) {
		close(conns[i].fd);
		free(conns[i].out);
	}
	free(conns);
	free(a.request);
	close(a.epoll);
	return start;
}

static void
report(long jobs, int64_t us)
{
	printf("jobs=%ld seconds=%.4f rate=%.0f\n", jobs, (double)us / 1e6,
	    (double)jobs / ((double)us / 1e6));
}

static int64_t
processed(struct sync *s, const char *queue)
{
	const char *argv[] = {"QUEUE.STATS", queue};
	const char *reply;
	size_t len;

	reply = sync_call(s, &len, 2, argv);
	return reply_field(reply, len, "processed_total");
}

static void
wait_processed(struct sync *s, const char *queue, int64_t target)
{
	struct timespec pause = {.tv_nsec = 2000000};

	while (processed(s, queue) < target)
		nanosleep(&pause, NULL);
}

/* Modes. */

static void
run_add(const struct options *opt)
{
	report(opt->jobs, add_all(opt));
}

/* Adds while a handler works; ends when it has completed them all. */
static void
run_mixed(const struct options *opt)
{
	struct sync s;
	int64_t start, before;

	sync_open(&s, opt->addr);
	before = processed(&s, opt->queue);
	start = now_us();
	add_all(opt);
	wait_processed(&s, opt->queue, before + opt->jobs);
	report(opt->jobs, now_us() - start);
	sync_close(&s);
}

/* Adds to a queue in bulk; the rate is that of JOB.MADD. */
static void
run_preload(const struct options *opt)
{
	const char *argv[4 + PRELOAD_BATCH + 2];
	char *payload = make_payload(opt->size), number[24];
	int64_t start = now_us();
	struct sync s;
	size_t len;
	long left, n;
	int argc;

	sync_open(&s, opt->addr);
	for (left = opt->jobs; left > 0; left -= n) {
		n = left < PRELOAD_BATCH ? left : PRELOAD_BATCH;
		snprintf(number, sizeof(number), "%ld", n);
		argc = 0;
		argv[argc++] = "JOB.MADD";
		argv[argc++] = opt->queue;
		argv[argc++] = number;
		for (long i = 0; i < n; i++)
			argv[argc++] = payload;
		if (opt->delay) {
			argv[argc++] = "DELAY";
			argv[argc++] = opt->delay;
		}
		sync_call(&s, &len, argc, argv);
	}
	report(opt->jobs, now_us() - start);
	sync_close(&s);
	free(payload);
}

/* Resumes a paused, preloaded queue and waits for its last job. */
static void
run_drain(const struct options *opt)
{
	const char *argv[] = {"QUEUE.RESUME", opt->queue};
	struct sync s;
	int64_t start, before;
	size_t len;

	sync_open(&s, opt->addr);
	before = processed(&s, opt->queue);
	start = now_us();
	sync_call(&s, &len, 2, argv);
	wait_processed(&s, opt->queue, before + opt->jobs);
	report(opt->jobs, now_us() - start);
	sync_close(&s);
}

static int
compare(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static void
report_times(int64_t *us, long n)
{
	qsort(us, (size_t)n, sizeof(*us), compare);
	printf("p50_us=%lld p95_us=%lld p99_us=%lld\n", (long long)us[n / 2],
	    (long long)us[n * 95 / 100], (long long)us[n * 99 / 100]);
}

/* The bulk string that follows the name of a field in a flat RESP2 map. */
static void
field_text(const char *reply, size_t len, const char *name, char ret[32])
{
	char key[64];
	size_t n = (size_t)snprintf(key, sizeof(key), "%s\r\n$", name);
	const char *at = memmem(reply, len, key, n);

	at = at ? memchr(at + n, '\n', len - (size_t)(at + n - reply)) : NULL;
	if (!at || sscanf(at + 1, "%31[^\r]", ret) != 1)
		fail("no field %s in the reply", name);
}

/* One job, from before the add until a second connection sees that its Lua
 * handler has completed it. */
static int64_t
time_handler(struct sync *add, struct sync *seen, const char *queue)
{
	const char *put[] = {"JOB.ADD", queue, "{}"};
	const char *wait[] = {"JOB.WAIT", NULL, "10000"};
	int64_t start = now_us();
	const char *reply, *at;
	char id[32];
	size_t len;

	reply = sync_call(add, &len, 3, put);
	at = memchr(reply, '\n', len);
	if (!at || sscanf(at + 1, "%31[0-9]", id) != 1)
		fail("no id in the reply to JOB.ADD");
	wait[1] = id;
	reply = sync_call(seen, &len, 3, wait);
	if (!memmem(reply, len, "completed", 9))
		fail("job %s was not completed within 10 seconds", id);
	return now_us() - start;
}

/* One job, from before the add until a worker that waits in FETCH has it. */
static int64_t
time_fetch(struct sync *add, struct sync *worker, const char *queue)
{
	const char *call[] = {"JOB.FETCH", queue, "BLOCK", "0"};
	const char *put[] = {"JOB.ADD", queue, "{}"};
	char id[32], token[32], cmd[256];
	const char *done[] = {"JOB.DONE", id, token};
	struct timespec settle = {.tv_nsec = 1000000};
	const char *reply;
	int64_t start, us;
	size_t len;

	sync_write(worker, cmd, resp_command(cmd, 4, call, NULL));
	nanosleep(&settle, NULL);
	start = now_us();
	sync_write(add, cmd, resp_command(cmd, 3, put, NULL));
	reply = sync_read(worker, &len);
	us = now_us() - start;
	field_text(reply, len, "id", id);
	field_text(reply, len, "token", token);
	sync_read(add, &len);
	sync_call(worker, &len, 3, done);
	return us;
}

static void
run_times(const struct options *opt,
    int64_t (*one)(struct sync *, struct sync *, const char *))
{
	int64_t *us = calloc((size_t)opt->jobs, sizeof(*us));
	struct timespec pause = {.tv_nsec = 5000000};
	struct sync a, b;

	if (!us)
		fail("no memory");
	sync_open(&a, opt->addr);
	sync_open(&b, opt->addr);
	for (long i = 0; i < opt->jobs; i++) {
		us[i] = one(&a, &b, opt->queue);
		nanosleep(&pause, NULL);
	}
	report_times(us, opt->jobs);
	sync_close(&a);
	sync_close(&b);
	free(us);
}

static void
run_latency(const struct options *opt)
{
	run_times(opt, time_handler);
}

static void
run_fetch(const struct options *opt)
{
	run_times(opt, time_fetch);
}

static const struct mode {
	const char *name;
	void (*run)(const struct options *opt);
} modes[] = {
    {"add", run_add}, {"mixed", run_mixed}, {"preload", run_preload},
    {"drain", run_drain}, {"latency", run_latency}, {"fetch", run_fetch},
    {NULL, NULL}};

static const struct option long_options[] = {
    {"addr", required_argument, NULL, 'a'},
    {"queue", required_argument, NULL, 'q'},
    {"jobs", required_argument, NULL, 'n'},
    {"conns", required_argument, NULL, 'c'},
    {"depth", required_argument, NULL, 'd'},
    {"size", required_argument, NULL, 's'},
    {"delay", required_argument, NULL, 't'},
    {"beanstalk", no_argument, NULL, 'b'}, {NULL, 0, NULL, 0}};

static long
number(const char *s)
{
	char *end;
	long v = strtol(s, &end, 10);

	if (*end || v < 1)
		fail("%s: expected a number above 0", s);
	return v;
}

static void
parse(int argc, char **argv, struct options *opt)
{
	int c;

	while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		switch (c) {
		case 'a': opt->addr = optarg; break;
		case 'q': opt->queue = optarg; break;
		case 'n': opt->jobs = number(optarg); break;
		case 'c': opt->conns = number(optarg); break;
		case 'd': opt->depth = number(optarg); break;
		case 's': opt->size = number(optarg); break;
		case 't': opt->delay = optarg; break;
		case 'b': opt->beanstalk = true; break;
		default: exit(2);
		}
	}
	if (!opt->addr || optind != argc - 1)
		fail("expected --addr ADDRESS and one mode");
}

int
main(int argc, char **argv)
{
	struct options opt = {.queue = "bench", .jobs = 10000, .conns = 50,
	    .depth = 1, .size = 200};

	parse(argc, argv, &opt);
	for (const struct mode *m = modes; m->name; m++) {
		if (strcmp(m->name, argv[optind]) == 0) {
			m->run(&opt);
			return 0;
		}
	}
	fail("%s: no such mode", argv[optind]);
}
