/* SPDX-License-Identifier: MIT */
#include "journal/crashpoint.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int crashpoint_armed = CRASH_NONE;

/* Only the thread that owns the armed point counts. */
static long left;

static const char *const names[CRASH_POINTS] = {
	[CRASH_BEGIN] = "begin",
	[CRASH_APPLY] = "apply",
	[CRASH_COMMIT_BEFORE] = "commit-before",
	[CRASH_COMMIT_AFTER] = "commit-after",
	[CRASH_ACK] = "ack",
};

void
crashpoint_init(void)
{
	const char *spec = getenv("BELLHOP_TEST_CRASH");
	const char *colon;
	char *end;
	int i;

	crashpoint_armed = CRASH_NONE;
	if (!spec || !*spec)
		return;
	colon = strchr(spec, ':');
	left = colon ? strtol(colon + 1, &end, 10) : 0;
	for (i = CRASH_BEGIN; colon && i < CRASH_POINTS; i++)
		if (strlen(names[i]) == (size_t)(colon - spec) &&
		    memcmp(names[i], spec, strlen(names[i])) == 0)
			crashpoint_armed = i;
	if (crashpoint_armed == CRASH_NONE || left <= 0 || *end) {
		fprintf(stderr, "bellhop: BELLHOP_TEST_CRASH=\"%s\": expected "
		    "begin, apply, commit-before, commit-after or ack, a colon "
		    "and a number from 1\n", spec);
		exit(1);
	}
}

void
crashpoint_hit(void)
{
	if (--left > 0)
		return;
	raise(SIGKILL);
	_exit(137);
}
