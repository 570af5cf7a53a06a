/* SPDX-License-Identifier: MIT */
/*
 * One place for what the operator reads: one line on standard error for each
 * call, or one record with its fields where there is a sink for those.
 * Any thread may call it. Each error is logged once, by the outermost layer.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* What kind of event a line tells; EVENT_NONE: nothing that an operator would
 * look for by its kind. */
enum log_event {
	EVENT_NONE,
#define LOG_EVENT(name, id, subject) EVENT_##name,
#include "base/logevent.def"
	LOG_EVENTS
};

/* What a line is about; 0 and NULL mean "not about that". */
struct log_about {
	const char *queue;
	int64_t job;
	const char *script;
	int attempt;
	const char *plugin;
	enum log_event event;
};

void log_set_level(enum log_level level);
bool log_enabled(enum log_level level);
/* 0, or -1 when name is none of error, warn, info, debug. */
MUSTCHECK int log_level_parse(const char *name, enum log_level *ret);

PRINTF(3, 4) void log_about(enum log_level level,
    const struct log_about *about, const char *fmt, ...);

/* Where records go instead of standard error, NULL: nowhere else. priority is
 * syslog(3)'s, id the event's or NULL. false: the sink has not taken it. */
typedef bool log_sink_fn(int priority, const struct log_about *about,
    const char *id, const char *text);
void log_set_sink(log_sink_fn *sink);
/* True while standard error is the stream that systemd gave us. */
bool log_to_journal(void);

/* The event's 32 hexadecimal digits. */
const char *log_event_id(enum log_event event);

/* For a line that is about nothing but its kind. */
#define LOG_OF(name) (&(struct log_about){.event = EVENT_##name})

#define log_error(...) log_about(LOG_ERROR, NULL, __VA_ARGS__)
#define log_warn(...) log_about(LOG_WARN, NULL, __VA_ARGS__)
#define log_info(...) log_about(LOG_INFO, NULL, __VA_ARGS__)
#define log_debug(...) log_about(LOG_DEBUG, NULL, __VA_ARGS__)

#endif
