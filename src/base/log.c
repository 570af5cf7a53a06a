/* SPDX-License-Identifier: MIT */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"

static const struct {
	const char *name;
	int priority;			/* syslog(3)'s */
} levels[] = {
	[LOG_ERROR] = {"error", 3},
	[LOG_WARN] = {"warn", 4},
	[LOG_INFO] = {"info", 6},
	[LOG_DEBUG] = {"debug", 7},
};

static const char *const event_ids[] = {
	[EVENT_NONE] = NULL,
#define LOG_EVENT(name, id, subject) [EVENT_##name] = id,
#include "base/logevent.def"
};

static atomic_int level_now = LOG_INFO;
static log_sink_fn *_Atomic sink_now;

void
log_set_sink(log_sink_fn *sink)
{
	atomic_store(&sink_now, sink);
}

const char *
log_event_id(enum log_event event)
{
	return event_ids[event];
}

void
log_set_level(enum log_level level)
{
	atomic_store_explicit(&level_now, (int)level, memory_order_relaxed);
}

bool
log_enabled(enum log_level level)
{
	return (int)level <=
	    atomic_load_explicit(&level_now, memory_order_relaxed);
}

int
log_level_parse(const char *name, enum log_level *ret)
{
	for (size_t i = 0; i < nitems(levels); i++) {
		if (strcmp(name, levels[i].name) == 0) {
			*ret = (enum log_level)i;
			return 0;
		}
	}
	return -1;
}

/* Not something it was redirected to later; the journal has the time then. */
bool
log_to_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	return stream && sscanf(stream, "%llu:%llu", &dev, &ino) == 2 &&
	    fstat(STDERR_FILENO, &st) == 0 && st.st_dev == (dev_t)dev &&
	    st.st_ino == (ino_t)ino;
}

static void
add_time(struct buf *b, enum log_level level)
{
	int64_t ms = clock_now().wall_ms;
	time_t seconds = (time_t)(ms / 1000);
	char text[40];
	struct tm tm;

	gmtime_r(&seconds, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	buf_addf(b, "%s.%03dZ %s ", text, (int)(ms % 1000),
	    levels[level].name);
}

/* Control bytes could forge a line or move a terminal's cursor. */
static void
add_escaped(struct buf *b, const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c == '\n')
			buf_adds(b, "\\n");
		else if (c == '\t')
			buf_adds(b, "\\t");
		else if (c < 0x20 || c == 0x7f)
			buf_addf(b, "\\x%02x", c);
		else
			buf_addc(b, (char)c);
	}
}

static void
add_field(struct buf *b, const char *key, const char *value)
{
	bool quote;

	if (!value)
		return;
	quote = value[0] == '\0' || strpbrk(value, " \"=\t\r\n");
	buf_addf(b, " %s=%s", key, quote ? "\"" : "");
	for (const char *p = value; *p; p++) {
		if (*p == '"')
			buf_addc(b, '\\');
		add_escaped(b, p, 1);
	}
	if (quote)
		buf_addc(b, '"');
}

static void
add_about(struct buf *b, const struct log_about *about)
{
	add_field(b, "queue", about->queue);
	if (about->job)
		buf_addf(b, " job=%jd", (intmax_t)about->job);
	add_field(b, "script", about->script);
	if (about->attempt)
		buf_addf(b, " attempt=%d", about->attempt);
	add_field(b, "plugin", about->plugin);
}

static void
write_line(enum log_level level, const struct log_about *about,
    const struct buf *text)
{
	struct buf line = BUF_INIT;
	ssize_t written UNUSED;

	if (log_to_journal())
		buf_addf(&line, "<%d>", levels[level].priority);
	else
		add_time(&line, level);
	add_escaped(&line, buf_peek(text), buf_size(text));
	if (about)
		add_about(&line, about);
	buf_addc(&line, '\n');
	/* One write, so that lines of several threads never mix; a log that
	 * cannot be written has nowhere to complain. */
	written = write(STDERR_FILENO, buf_peek(&line), buf_size(&line));
	buf_done(&line);
}

void
log_about(enum log_level level, const struct log_about *about,
    const char *fmt, ...)
{
	log_sink_fn *sink = atomic_load(&sink_now);
	struct buf text = BUF_INIT;
	int saved = errno;
	va_list ap;

	if (!log_enabled(level))
		return;
	va_start(ap, fmt);
	buf_vaddf(&text, fmt, ap);
	va_end(ap);
	if (!sink || !sink(levels[level].priority, about,
	    about ? event_ids[about->event] : NULL, buf_str(&text)))
		write_line(level, about, &text);
	buf_done(&text);
	errno = saved;
}
