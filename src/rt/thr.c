/* SPDX-License-Identifier: MIT */
#include "rt/thr.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/die.h"

void
thr_start(pthread_t *ret, const char *name, void *(*fn)(void *), void *arg)
{
	sigset_t all, before;
	int rc;

	CHECK(strlen(name) <= 15);
	/* A new thread inherits the mask, so it never sees a signal, not even
	 * between its start and its first statement. */
	sigfillset(&all);
	CHECK(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
	rc = pthread_create(ret, NULL, fn, arg);
	CHECK(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
	if (rc != 0) {
		fprintf(stderr, "bellhop: the system refuses the thread"
		    " \"%s\": %s\n", name, strerror(rc));
		abort();
	}
	/* Refused when the thread has ended already; the name is a comfort. */
	(void)pthread_setname_np(*ret, name);
}

void
thr_join(pthread_t t)
{
	CHECK(pthread_join(t, NULL) == 0);
}
