/* SPDX-License-Identifier: MIT */
/*
 * The conformance suite on the Redis backend: one redis-server for all cases,
 * on a unix socket in a temporary directory, emptied for each. With
 * BELLHOP_SUITE_TLS in the environment the backend reaches it over TLS, with a
 * certificate that is made for it.
 */
#include <ev.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "front/host_store.h"
#include "redis/redis.h"
#include "suite.h"

static struct ev_loop *loop;
static struct suite_env *env;		/* of the case that runs */
static char dir[] = "/tmp/bellhop-redis-XXXXXX";
static char url[200], ca_file[100];
static redisContext *server;		/* our own connection */
static pid_t server_pid;

/* --- the server --- */

/* A port that is free now. */
static int
free_port(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool ok = bind(fd, (struct sockaddr *)&a, len) == 0 &&
	    getsockname(fd, (struct sockaddr *)&a, &len) == 0;

	close(fd);
	return ok ? ntohs(a.sin_port) : 0;
}

/* An authority and a certificate for 127.0.0.1, by openssl. */
static bool
make_certificate(void)
{
	static const char script[] = "exec >/dev/null 2>&1; cd '%s' || exit 1;"
	    " new='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes';"
	    " openssl req -x509 $new -days 2 -subj /CN=ca -keyout ca.key"
	    " -out ca.pem &&"
	    " openssl req $new -subj /CN=x -keyout key -out csr &&"
	    " echo subjectAltName=IP:127.0.0.1 > ext &&"
	    " openssl x509 -req -in csr -CA ca.pem -CAkey ca.key"
	    " -CAcreateserial -days 2 -extfile ext -out cert";
	char command[1000];

	snprintf(command, sizeof(command), script, dir);
	return system(command) == 0;
}

static void
server_exec(const char *sock, const char *port)
{
	char cert[100], key[100];
	const char *args[] = {"redis-server", "--unixsocket", sock, "--dir",
	    dir, "--save", "", "--port", "0", "--tls-port", port,
	    "--tls-cert-file", cert, "--tls-key-file", key,
	    "--tls-ca-cert-file", ca_file, "--tls-auth-clients", "no", NULL};
	int null = open("/dev/null", O_RDWR);

	snprintf(cert, sizeof(cert), "%s/cert", dir);
	snprintf(key, sizeof(key), "%s/key", dir);
	if (!*ca_file)
		args[9] = NULL;
	/* It does not outlive a run that is killed. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)dup2(null, 0);
	(void)dup2(null, 1);
	execvp("redis-server", (char **)(uintptr_t)args);
	_exit(127);
}

static bool
server_start(void)
{
	char sock[100], port[8] = "0";

	if (!mkdtemp(dir))
		return false;
	snprintf(sock, sizeof(sock), "%s/redis.sock", dir);
	snprintf(url, sizeof(url), "unix:%s", sock);
	if (getenv("BELLHOP_SUITE_TLS")) {
		snprintf(ca_file, sizeof(ca_file), "%s/ca.pem", dir);
		snprintf(port, sizeof(port), "%d", free_port());
		snprintf(url, sizeof(url), "rediss://127.0.0.1:%s", port);
		if (!make_certificate())
			return false;
	}
	server_pid = fork();
	if (server_pid == 0)
		server_exec(sock, port);
	for (int i = 0; i < 500; i++) {
		server = redisConnectUnix(sock);
		if (server && !server->err)
			return true;
		redisFree(server);
		server = NULL;
		if (waitpid(server_pid, NULL, WNOHANG) == server_pid)
			break;
		usleep(10000);
	}
	return false;
}

static void
server_stop(void)
{
	static const char *const names[] = {"redis.sock", "ca.pem", "ca.key",
	    "ca.srl", "key", "csr", "ext", "cert"};
	char path[120];

	redisFree(server);
	if (server_pid > 0) {
		kill(server_pid, SIGKILL);
		waitpid(server_pid, NULL, 0);
	}
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		unlink(path);
	}
	rmdir(dir);
}

/* --- the daemon's side --- */

static void
host_log(enum bh_log_level level, const char *plugin, const char *text)
{
	if (level == BH_LOG_ERROR)
		print_error("%s: %s\n", plugin, text);
}

static void
host_now(int64_t *wall_ms, int64_t *mono_ms)
{
	if (wall_ms)
		*wall_ms = env->wall;
	if (mono_ms)
		*mono_ms = env->mono;
}

static void
host_wake(void)
{
	suite_wake(env);
}

static int64_t
host_option_int(const char *name)
{
	if (strcmp(name, "max_schedules") == 0)
		return 20;
	return strcmp(name, "max_queues") == 0 ? 1000 : 0;
}

static const char *
host_state_dir(void)
{
	return env->dir;
}

static struct bh_host host = {
	.version = "test",
	.log = host_log,
	.now = host_now,
	.wake = host_wake,
	.option_int = host_option_int,
};

/* --- the loop --- */

static bool timed_out;
static int events;

static void
on_timeout(struct ev_loop *l, ev_timer *w, int what)
{
	(void)l, (void)w, (void)what;
	timed_out = true;
}

/* A thread of the backend wakes the loop: woken() reads it. */
static void
on_woken(struct ev_loop *l, ev_io *w, int what)
{
	(void)l, (void)w, (void)what;
}

/* It runs before the other callbacks of an iteration. */
static void
on_check(struct ev_loop *l, ev_check *w, int what)
{
	(void)w, (void)what;
	events += (int)ev_pending_count(l);
}

static bool
woken(struct suite_env *t)
{
	uint64_t n;

	return read(t->wake_fd, &n, sizeof(n)) == (ssize_t)sizeof(n);
}

static bool
wait_redis(struct suite_env *t, int ms)
{
	ev_timer timer;
	ev_io wake;

	if (woken(t))
		ms = 0, events = 1;
	else
		events = 0;
	timed_out = false;
	ev_timer_init(&timer, on_timeout, ms / 1000.0, 0);
	ev_io_init(&wake, on_woken, t->wake_fd, EV_READ);
	if (ms > 0) {
		ev_now_update(loop);
		ev_timer_start(loop, &timer);
		ev_io_start(loop, &wake);
	}
	do
		ev_run(loop, ms > 0 ? EVRUN_ONCE : EVRUN_NOWAIT);
	while (ms > 0 && !timed_out && events == 0);
	ev_timer_stop(loop, &timer);
	ev_io_stop(loop, &wake);
	return woken(t) || events > timed_out;
}

/* --- the backend --- */

static void *
reopen(struct suite_env *t)
{
	struct redis_config c = {.url = url, .prefix = "bh:",
	    .state_dir = t->dir, .ca_file = ca_file, .accept_loss = true,
	    .turn_clock = true, .max_queues = 1000};
	char why[BH_ERROR_TEXT];
	void *be;

	env = t;
	host_store_done();
	host_store_init(&host, t->qopts, host_state_dir);
	if (redis_open(&be, &c, &host, why) < 0) {
		print_error("redis: %s\n", why);
		return NULL;
	}
	return be;
}

static void *
open_redis(struct suite_env *t)
{
	redisReply *r = redisCommand(server, "FLUSHALL");

	if (!r || r->type == REDIS_REPLY_ERROR)
		return NULL;
	freeReplyObject(r);
	return reopen(t);
}

static void *
reopen_redis(struct suite_env *t, void *be)
{
	redis_ops.close(be);
	return reopen(t);
}

/* What was sent by then arrives, and nothing else does. */
static void *
crash_redis(struct suite_env *t, void *be)
{
	redis_abandon(be);
	return reopen(t);
}

int
main(int argc, char **argv)
{
	static const struct suite_backend redis = {
		.name = "redis",
		.ops = &redis_ops,
		.open = open_redis,
		.reopen = reopen_redis,
		.crash = crash_redis,
		.wait = wait_redis,
		.batches = true,
		.own_clock = true,
	};
	ev_check check;
	int failed;

	if (system("redis-server --version >/dev/null 2>&1") != 0) {
		fputs("skipped: there is no redis-server here\n", stderr);
		return 77;
	}
	if (!server_start()) {
		fputs("redis-server does not start\n", stderr);
		server_stop();
		return 1;
	}
	signal(SIGPIPE, SIG_IGN);
	loop = ev_loop_new(EVFLAG_AUTO);
	ev_check_init(&check, on_check);
	ev_set_priority(&check, EV_MAXPRI);
	ev_check_start(loop, &check);
	host.loop = loop;
	failed = suite_main(&redis, argc, argv);
	ev_check_stop(loop, &check);
	ev_loop_destroy(loop);
	host_store_done();
	server_stop();
	return failed;
}
