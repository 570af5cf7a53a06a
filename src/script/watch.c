/* SPDX-License-Identifier: MIT */
#include "script/watch.h"

#include <errno.h>
#include <ev.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/log.h"
#include "base/xalloc.h"

#define QUIET_S 0.2
#define EVENTS (IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE)

struct watch {
	struct ev_loop *loop;
	ev_io io;
	ev_timer quiet;
	int fd;
	int wd[2];			/* scripts, modules; -1 none */
	void (*changed)(void *arg);
	void *arg;
};

static void
on_quiet(struct ev_loop *loop, ev_timer *t, int events)
{
	struct watch *w = t->data;

	(void)events;
	ev_timer_stop(loop, t);
	w->changed(w->arg);
}

static int
is_news(const struct inotify_event *e)
{
	size_t n = e->len ? strlen(e->name) : 0;

	if (e->mask & IN_Q_OVERFLOW)
		return 1;		/* something was missed: look again */
	return n > 4 && strcmp(e->name + n - 4, ".lua") == 0;
}

static void
on_events(struct ev_loop *loop, ev_io *io, int events)
{
	struct watch *w = io->data;
	union {
		struct inotify_event align;
		char bytes[8192];
	} buf;
	ssize_t n;
	int news = 0;

	(void)events;
	while ((n = read(w->fd, &buf, sizeof(buf))) > 0) {
		const char *p = buf.bytes;

		while (p < buf.bytes + n) {
			const struct inotify_event *e = (const void *)p;

			news |= is_news(e);
			p += sizeof(*e) + e->len;
		}
	}
	if (!news)
		return;
	ev_now_update(loop);
	ev_timer_again(loop, &w->quiet);
}

struct watch *
watch_new(struct ev_loop *loop, void (*changed)(void *arg), void *arg)
{
	struct watch *w = xcalloc(1, sizeof(*w));

	w->loop = loop;
	w->changed = changed;
	w->arg = arg;
	w->wd[0] = w->wd[1] = -1;
	ev_init(&w->quiet, on_quiet);
	w->quiet.repeat = QUIET_S;
	w->quiet.data = w;
	w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (w->fd < 0) {
		log_warn("scripts are not watched for changes: inotify: %s; "
		    "`bellhopctl reload` takes them", strerror(errno));
		return w;
	}
	ev_io_init(&w->io, on_events, w->fd, EV_READ);
	w->io.data = w;
	ev_io_start(loop, &w->io);
	return w;
}

void
watch_free(struct watch **wp)
{
	struct watch *w = *wp;

	*wp = NULL;
	if (!w)
		return;
	ev_timer_stop(w->loop, &w->quiet);
	if (w->fd >= 0) {
		ev_io_stop(w->loop, &w->io);
		close(w->fd);
	}
	free(w);
}

/* Adding a directory that is watched already answers with the same number. */
void
watch_dirs(struct watch *w, const char *scripts, const char *modules)
{
	const char *const dirs[2] = {scripts, modules};
	int i, wd[2];

	if (!w || w->fd < 0)
		return;
	for (i = 0; i < 2; i++)
		wd[i] = inotify_add_watch(w->fd, dirs[i], EVENTS | IN_ONLYDIR);
	for (i = 0; i < 2; i++)
		if (w->wd[i] >= 0 && w->wd[i] != wd[0] && w->wd[i] != wd[1])
			inotify_rm_watch(w->fd, w->wd[i]);
	memcpy(w->wd, wd, sizeof(wd));
}
