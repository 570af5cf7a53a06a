/* SPDX-License-Identifier: MIT */
#include "rt/journald.h"

#ifdef HAVE_LIBSYSTEMD
/* log.h first: syslog.h has macros that are called like its levels. */
#include "base/buf.h"
#include "base/log.h"

#define SD_JOURNAL_SUPPRESS_LOCATION
#include <stdint.h>
#include <stdio.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

enum { FIELDS = 10 };

struct record {
	struct buf text;		/* all fields, one behind the other */
	size_t ends[FIELDS];
	size_t n;
};

static void
add(struct record *r, const char *name, const char *value)
{
	if (!value)
		return;
	buf_addf(&r->text, "%s=", name);
	buf_adds(&r->text, value);
	r->ends[r->n++] = buf_size(&r->text);
}

static void
add_number(struct record *r, const char *name, int64_t value)
{
	char digits[24];

	snprintf(digits, sizeof(digits), "%lld", (long long)value);
	if (value)
		add(r, name, digits);
}

static bool
send_record(int priority, const struct log_about *about,
    const char *id, const char *text)
{
	struct record r = {.text = BUF_INIT};
	struct iovec iov[FIELDS];
	size_t at = 0;
	int rc;

	add(&r, "MESSAGE", text);
	add_number(&r, "PRIORITY", priority);
	add(&r, "SYSLOG_IDENTIFIER", "bellhopd");
	add(&r, "MESSAGE_ID", id);
	if (about) {
		add(&r, "BELLHOP_QUEUE", about->queue);
		add_number(&r, "BELLHOP_JOB", about->job);
		add(&r, "BELLHOP_SCRIPT", about->script);
		add_number(&r, "BELLHOP_ATTEMPT", about->attempt);
		add(&r, "BELLHOP_PLUGIN", about->plugin);
	}
	for (size_t i = 0; i < r.n; i++) {
		iov[i] = (struct iovec){r.text.data + at, r.ends[i] - at};
		at = r.ends[i];
	}
	rc = sd_journal_sendv(iov, (int)r.n);
	buf_done(&r.text);
	return rc == 0;
}

void
journald_open(void)
{
	/* Without the socket libsystemd drops records and says nothing. */
	if (log_to_journal() && access("/run/systemd/journal/socket", W_OK) == 0)
		log_set_sink(send_record);
}
#else
void
journald_open(void)
{
}
#endif
