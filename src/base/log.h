/* SPDX-License-Identifier: MIT */
/*
 * One place for what the operator reads. One line on standard error for each
 * call now; the fields are kept apart so that journald gets them natively.
 * Any thread may call it. Each error is logged once, by the outermost layer.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* What a line is about; 0 and NULL mean "not about that". */
struct log_about {
	const char *queue;
	int64_t job;
	const char *script;
	int attempt;
	const char *plugin;
};

void log_set_level(enum log_level level);
bool log_enabled(enum log_level level);
/* 0, or -1 when name is none of error, warn, info, debug. */
MUSTCHECK int log_level_parse(const char *name, enum log_level *ret);

PRINTF(3, 4) void log_about(enum log_level level,
    const struct log_about *about, const char *fmt, ...);

#define log_error(...) log_about(LOG_ERROR, NULL, __VA_ARGS__)
#define log_warn(...) log_about(LOG_WARN, NULL, __VA_ARGS__)
#define log_info(...) log_about(LOG_INFO, NULL, __VA_ARGS__)
#define log_debug(...) log_about(LOG_DEBUG, NULL, __VA_ARGS__)

#endif
