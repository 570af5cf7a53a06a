/* SPDX-License-Identifier: MIT */
/*
 * The wire as the load generator needs it: addresses, blocking calls, and
 * where a reply ends. Errors end the program with a sentence.
 */
#ifndef BENCH_WIRE_H
#define BENCH_WIRE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

__attribute__((format(printf, 1, 2), noreturn)) void fail(
    const char *fmt, ...);

int64_t now_us(void);			/* monotonic */

/* unix:PATH or HOST:PORT (HOST a number); a blocking socket. */
int wire_connect(const char *addr);

/* Length of the first whole reply of p[0..n), 0 when more is needed, -1 when
 * it is an error or malformed. */
ssize_t resp_reply_len(const char *p, size_t n);
ssize_t beanstalk_reply_len(const char *p, size_t n);

/* Appends one command in RESP to *out, which has room for it; returns the
 * number of bytes. Lengths of -1 mean strlen. */
size_t resp_command_size(int argc, const char *const *argv,
    const ssize_t *lens);
size_t resp_command(char *out, int argc, const char *const *argv,
    const ssize_t *lens);

/* Sends one command and waits; the raw reply lasts until the next call. */
struct sync {
	int fd;
	char *buf;
	size_t len, cap, used;
};

void sync_open(struct sync *s, const char *addr);
void sync_close(struct sync *s);
void sync_write(struct sync *s, const void *data, size_t len);
const char *sync_read(struct sync *s, size_t *ret_len);
const char *sync_call(struct sync *s, size_t *ret_len, int argc,
    const char *const *argv);

/* The integer that follows the name of a field in a flat RESP2 map. */
int64_t reply_field(const char *reply, size_t len, const char *name);

#endif
