/* SPDX-License-Identifier: MIT */
#include "script/child.h"

#include <bsd/sys/queue.h>
#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/die.h"
#include "base/str.h"
#include "base/xalloc.h"

#define READ_SIZE 16384

struct child {
	TAILQ_ENTRY(child) entry;
	struct children *owner;
	struct exec_call *call;		/* NULL: only to be reaped */
	pid_t pid;
	int pidfd;
	ev_io ended;			/* the pidfd */
	ev_io in, out, err;		/* fd -1: closed */
	ev_timer timeout;
	size_t sent;
};

struct children {
	struct ev_loop *loop;
	outside_fn *done;
	void *arg;
	TAILQ_HEAD(, child) all;
};

static void
stop_io(struct child *ch, ev_io *io)
{
	if (io->fd < 0)
		return;
	ev_io_stop(ch->owner->loop, io);
	close(io->fd);
	ev_io_init(io, NULL, -1, 0);
}

static void
close_pipes(struct child *ch)
{
	stop_io(ch, &ch->in);
	stop_io(ch, &ch->out);
	stop_io(ch, &ch->err);
	ev_timer_stop(ch->owner->loop, &ch->timeout);
}

/* While the leader is not reaped its number belongs to this group alone. */
static void
kill_group(const struct child *ch)
{
	kill(-ch->pid, SIGKILL);
}

static void
child_free(struct child *ch)
{
	struct children *c = ch->owner;

	close_pipes(ch);
	ev_io_stop(c->loop, &ch->ended);
	close(ch->pidfd);
	TAILQ_REMOVE(&c->all, ch, entry);
	free(ch);
}

/* The script need not wait for the end of what it has given up. */
static void
give_up(struct child *ch)
{
	struct children *c = ch->owner;
	struct call *call = &ch->call->call;

	ch->call = NULL;
	kill_group(ch);
	close_pipes(ch);
	c->done(c->arg, call);
}

/* Takes what has come. false: it is too much. */
static bool
read_stream(struct child *ch, ev_io *io, struct buf *to)
{
	int64_t max = ch->call->max_output;
	ssize_t n;

	for (;;) {
		char *at = buf_reserve(to, READ_SIZE);

		n = read(io->fd, at, READ_SIZE);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return true;
		if (n <= 0) {
			stop_io(ch, io);
			return true;
		}
		buf_added(to, (size_t)n);
		if ((int64_t)buf_size(to) > max)
			return false;
	}
}

static void
read_or_give_up(struct child *ch, ev_io *io, struct buf *to,
    const char *stream)
{
	if (read_stream(ch, io, to))
		return;
	call_fail(&ch->call->call, "more than %lld bytes on its standard %s "
	    "(max_output)", (long long)ch->call->max_output, stream);
	give_up(ch);
}

static void
on_out(struct ev_loop *loop, ev_io *io, int events)
{
	struct child *ch = io->data;

	(void)loop;
	(void)events;
	read_or_give_up(ch, &ch->out, &ch->call->out, "output");
}

static void
on_err(struct ev_loop *loop, ev_io *io, int events)
{
	struct child *ch = io->data;

	(void)loop;
	(void)events;
	read_or_give_up(ch, &ch->err, &ch->call->err, "error");
}

/* SIGPIPE is ignored: a program need not read what it is given. */
static void
on_in(struct ev_loop *loop, ev_io *io, int events)
{
	struct child *ch = io->data;
	struct exec_call *x = ch->call;
	ssize_t n;

	(void)loop;
	(void)events;
	n = write(io->fd, x->input + ch->sent, x->input_len - ch->sent);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0)
		ch->sent += (size_t)n;
	if (n < 0 || ch->sent == x->input_len)
		stop_io(ch, &ch->in);
}

static void
on_timeout(struct ev_loop *loop, ev_timer *t, int events)
{
	struct child *ch = t->data;
	char span[40];

	(void)loop;
	(void)events;
	str_span(ch->call->timeout_ms, span, sizeof(span));
	call_fail(&ch->call->call, "timeout after %s", span);
	give_up(ch);
}

/* What it wrote before it ended is in the pipes; what it left behind in its
 * group goes, and holds up nobody. */
static void
on_ended(struct ev_loop *loop, ev_io *io, int events)
{
	struct child *ch = io->data;
	struct children *c = ch->owner;
	struct exec_call *x = ch->call;
	siginfo_t si = {0};

	(void)loop;
	(void)events;
	kill_group(ch);
	if (waitid(P_PID, (id_t)ch->pid, &si, WEXITED | WNOHANG) < 0 ||
	    si.si_pid == 0)
		return;
	if (x) {
		if (ch->out.fd >= 0 && !read_stream(ch, &ch->out, &x->out))
			call_fail(&x->call, "more than %lld bytes on its "
			    "standard output (max_output)",
			    (long long)x->max_output);
		if (ch->err.fd >= 0 && !read_stream(ch, &ch->err, &x->err))
			call_fail(&x->call, "more than %lld bytes on its "
			    "standard error (max_output)",
			    (long long)x->max_output);
		x->status = si.si_code == CLD_EXITED ? si.si_status : -1;
		x->signal = si.si_code == CLD_EXITED ? 0 : si.si_status;
	}
	child_free(ch);
	if (x)
		c->done(c->arg, &x->call);
}

/* Nobody would learn of its end. */
static int
forget(pid_t pid, int e)
{
	siginfo_t si;

	kill(-pid, SIGKILL);
	while (waitid(P_PID, (id_t)pid, &si, WEXITED) < 0 && errno == EINTR)
		;
	return e;
}

/* An empty mask and default actions: the daemon ignores SIGPIPE and blocks
 * what its main thread handles. 0 or errno. */
static int
spawn(const struct exec_call *x, const int fds[3], pid_t *pid, int *pidfd)
{
	const char *dir = x->call.env->state_dir;
	posix_spawn_file_actions_t acts;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int i, rc;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawn_file_actions_init(&acts);
	posix_spawnattr_init(&attr);
	for (i = 0; i < 3; i++)
		posix_spawn_file_actions_adddup2(&acts, fds[i], i);
	posix_spawn_file_actions_addclosefrom_np(&acts, 3);
	posix_spawn_file_actions_addchdir_np(&acts,
	    access(dir, X_OK) == 0 ? dir : "/");
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP |
	    POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setpgroup(&attr, 0);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	rc = posix_spawn(pid, x->argv[0], &acts, &attr, x->argv, x->envp);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&acts);
	if (rc != 0)
		return rc;
	*pidfd = (int)syscall(SYS_pidfd_open, *pid, 0);
	return *pidfd < 0 ? forget(*pid, errno) : 0;
}

static void
close_all(int *fds, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

/* The same pipe with a number of 3 or more, or -1. */
static int
above_2(int fd)
{
	int high;

	if (fd > 2)
		return fd;
	high = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	close(fd);
	return high;
}

/* mine and its: standard input, output and error. 0 or errno; none of them
 * is below 3, so that dup2 in the child overwrites none. */
static int
make_pipes(int mine[3], int its[3])
{
	int i, pair[2], e;

	for (i = 0; i < 3; i++)
		mine[i] = its[i] = -1;
	for (i = 0; i < 3; i++) {
		if (pipe2(pair, O_CLOEXEC) < 0)
			goto out;
		mine[i] = above_2(pair[i == 0]);
		its[i] = above_2(pair[i != 0]);
		if (mine[i] < 0 || its[i] < 0 ||
		    fcntl(mine[i], F_SETFL, O_NONBLOCK) < 0)
			goto out;
	}
	return 0;
out:
	e = errno;
	close_all(mine, 3);
	close_all(its, 3);
	return e;
}

static void
watch(struct child *ch, ev_io *io, void (*fn)(struct ev_loop *, ev_io *, int),
    int fd, int events)
{
	ev_io_init(io, fn, fd, events);
	io->data = ch;
	ev_io_start(ch->owner->loop, io);
}

static void
child_start(struct child *ch, const int mine[3])
{
	struct exec_call *x = ch->call;
	struct ev_loop *loop = ch->owner->loop;

	watch(ch, &ch->in, on_in, mine[0], EV_WRITE);
	watch(ch, &ch->out, on_out, mine[1], EV_READ);
	watch(ch, &ch->err, on_err, mine[2], EV_READ);
	watch(ch, &ch->ended, on_ended, ch->pidfd, EV_READ);
	if (x->input_len == 0)
		stop_io(ch, &ch->in);
	ev_now_update(loop);
	ev_timer_init(&ch->timeout, on_timeout, (double)x->timeout_ms / 1000,
	    0);
	ch->timeout.data = ch;
	ev_timer_start(loop, &ch->timeout);
}

void
children_begin(struct children *c, struct call *call)
{
	struct exec_call *x = (struct exec_call *)call;
	int mine[3], its[3], pidfd, rc;
	struct child *ch;
	pid_t pid;

	rc = make_pipes(mine, its);
	if (rc == 0) {
		rc = spawn(x, its, &pid, &pidfd);
		close_all(its, 3);
		if (rc != 0)
			close_all(mine, 3);
	}
	if (rc != 0) {
		call_fail(call, "it cannot be started: %s", strerror(rc));
		c->done(c->arg, call);
		return;
	}
	ch = xcalloc(1, sizeof(*ch));
	ch->owner = c;
	ch->call = x;
	ch->pid = pid;
	ch->pidfd = pidfd;
	TAILQ_INSERT_TAIL(&c->all, ch, entry);
	child_start(ch, mine);
}

void
children_cancel(struct children *c, struct call *call)
{
	struct child *ch;

	TAILQ_FOREACH(ch, &c->all, entry)
		if (ch->call && &ch->call->call == call)
			break;
	CHECK(ch);
	ch->call = NULL;
	kill_group(ch);
	close_pipes(ch);
	call_free(&call);
}

struct children *
children_new(struct ev_loop *loop, outside_fn *done, void *arg)
{
	struct children *c = xcalloc(1, sizeof(*c));

	c->loop = loop;
	c->done = done;
	c->arg = arg;
	TAILQ_INIT(&c->all);
	return c;
}

void
children_free(struct children **cp)
{
	struct children *c = *cp;
	struct child *ch;
	siginfo_t si;

	*cp = NULL;
	if (!c)
		return;
	while ((ch = TAILQ_FIRST(&c->all))) {
		kill_group(ch);
		while (waitid(P_PID, (id_t)ch->pid, &si, WEXITED) < 0 &&
		    errno == EINTR)
			;
		child_free(ch);
	}
	free(c);
}
