/* SPDX-License-Identifier: MIT */
#include "rt/sdnotify.h"

#include <stdarg.h>

#include "base/buf.h"

#ifdef HAVE_LIBSYSTEMD
#include <systemd/sd-daemon.h>
#include <time.h>

static void
tell(const char *text)
{
	/* Nothing can be done about a manager that does not listen. */
	(void)sd_notify(0, text);
}

static uint64_t
monotonic_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

void
sdnotify_reloading(void)
{
	/* The time is what Type=notify-reload of newer systemd wants. */
	(void)sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu",
	    (unsigned long long)monotonic_us());
}

int64_t
sdnotify_watchdog_ms(void)
{
	uint64_t us;

	return sd_watchdog_enabled(0, &us) > 0 ? (int64_t)(us / 1000) : 0;
}
#else
static void
tell(const char *text)
{
	(void)text;
}

void
sdnotify_reloading(void)
{
}

int64_t
sdnotify_watchdog_ms(void)
{
	return 0;
}
#endif

void
sdnotify_ready(void)
{
	tell("READY=1");
}

void
sdnotify_stopping(void)
{
	tell("STOPPING=1");
}

void
sdnotify_alive(void)
{
	tell("WATCHDOG=1");
}

void
sdnotify_extend(int64_t ms)
{
	struct buf b = BUF_INIT;

	buf_addf(&b, "EXTEND_TIMEOUT_USEC=%lld", (long long)ms * 1000);
	tell(buf_str(&b));
	buf_done(&b);
}

void
sdnotify_status(const char *fmt, ...)
{
	struct buf b = BUF_INIT;
	va_list ap;

	buf_adds(&b, "STATUS=");
	va_start(ap, fmt);
	buf_vaddf(&b, fmt, ap);
	va_end(ap);
	tell(buf_str(&b));
	buf_done(&b);
}
