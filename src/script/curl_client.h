/* SPDX-License-Identifier: MIT */
/*
 * The HTTP and SMTP client of one thread: one libcurl multi handle on the
 * thread's loop, with a pool of connections that are kept open for the next
 * call and let go after a minute without any. See outside.h for how it is
 * called.
 */
#ifndef SCRIPT_CURL_CLIENT_H
#define SCRIPT_CURL_CLIENT_H

#include "script/outside.h"

struct curl_client;

struct curl_client *curl_client_new(struct ev_loop *loop, outside_fn *done,
    void *arg);
void curl_client_free(struct curl_client **c);

void curl_client_begin(struct curl_client *c, struct call *call);
void curl_client_cancel(struct curl_client *c, struct call *call);

#endif
