/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <pthread.h>
#include <regex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/str.h"

static char path[] = "/tmp/bellhop-log-XXXXXX";
static int kept = -1;

/* From here on standard error is a file. */
static void
capture(void)
{
	int fd;

	strcpy(path + sizeof(path) - 7, "XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	kept = dup(STDERR_FILENO);
	assert_int_equal(dup2(fd, STDERR_FILENO), STDERR_FILENO);
	close(fd);
}

/* What was written there since. */
static char *
captured(void)
{
	char *text;
	size_t len;

	dup2(kept, STDERR_FILENO);
	close(kept);
	assert_int_equal(str_read_file(path, 1 << 20, &text, &len), 0);
	unlink(path);
	return text;
}

static void
assert_matches(const char *text, const char *pattern)
{
	regex_t re;

	assert_int_equal(regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB), 0);
	if (regexec(&re, text, 0, NULL, 0) != 0)
		fail_msg("\"%s\" does not match %s", text, pattern);
	regfree(&re);
}

static void
a_line_has_time_and_level(void **state)
{
	char *text;

	(void)state;
	capture();
	log_warn("disk is %d %% full", 91);
	text = captured();
	assert_matches(text, "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:"
	    "[0-9]{2}\\.[0-9]{3}Z warn disk is 91 % full\n$");
	free(text);
}

static void
the_subject_is_a_suffix(void **state)
{
	const struct log_about about = {.queue = "mail", .job = 42,
	    .script = "my \"mail\".lua", .attempt = 3, .plugin = "http"};
	char *text;

	(void)state;
	capture();
	log_about(LOG_ERROR, &about, "failed");
	text = captured();
	assert_matches(text, " error failed queue=mail job=42 "
	    "script=\"my \\\\\"mail\\\\\"\\.lua\" attempt=3 plugin=http\n$");
	free(text);
}

static void
a_message_stays_on_its_line(void **state)
{
	char *text;

	(void)state;
	capture();
	log_error("one\ntwo\033[2J\r");
	text = captured();
	assert_non_null(strstr(text, "one\\ntwo\\x1b[2J\\x0d\n"));
	assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
	free(text);
}

static void
the_journal_gets_a_priority(void **state)
{
	char *text, stream[64];
	struct stat st;

	(void)state;
	capture();
	assert_int_equal(fstat(STDERR_FILENO, &st), 0);
	snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev,
	    (uintmax_t)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	log_error("e");
	log_info("i");
	setenv("JOURNAL_STREAM", "1:1", 1);
	log_info("elsewhere");
	unsetenv("JOURNAL_STREAM");
	text = captured();
	assert_int_equal(strncmp(text, "<3>e\n<6>i\n", 10), 0);
	assert_matches(text + 10, "^[0-9].* info elsewhere\n$");
	free(text);
}

static void
the_level_holds_back(void **state)
{
	enum log_level level = LOG_ERROR;
	char *text;

	(void)state;
	assert_int_equal(log_level_parse("loud", &level), -1);
	assert_int_equal(log_level_parse("warn", &level), 0);
	capture();
	log_set_level(level);
	assert_true(log_enabled(LOG_ERROR));
	assert_false(log_enabled(LOG_INFO));
	log_info("not seen");
	log_set_level(LOG_INFO);
	text = captured();
	assert_string_equal(text, "");
	free(text);
}

static void
errno_is_kept(void **state)
{
	(void)state;
	capture();
	errno = ENOSPC;
	log_error("cannot write: %m");
	assert_int_equal(errno, ENOSPC);
	free(captured());
}

static void *
chatter(void *arg)
{
	for (int i = 0; i < 200; i++)
		log_info("%s", (const char *)arg);
	return NULL;
}

static void
lines_never_mix(void **state)
{
	static char a[300], b[300];
	pthread_t ta, tb;
	char *text, *rest, *line;
	int n = 0;

	(void)state;
	memset(a, 'a', sizeof(a) - 1);
	memset(b, 'b', sizeof(b) - 1);
	capture();
	pthread_create(&ta, NULL, chatter, a);
	pthread_create(&tb, NULL, chatter, b);
	pthread_join(ta, NULL);
	pthread_join(tb, NULL);
	rest = text = captured();
	while ((line = strsep(&rest, "\n")) && *line) {
		assert_true(strstr(line, a) || strstr(line, b));
		assert_int_equal(strlen(line), strlen(a) + 30);
		n++;
	}
	assert_int_equal(n, 400);
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_line_has_time_and_level),
		cmocka_unit_test(the_subject_is_a_suffix),
		cmocka_unit_test(a_message_stays_on_its_line),
		cmocka_unit_test(the_journal_gets_a_priority),
		cmocka_unit_test(the_level_holds_back),
		cmocka_unit_test(errno_is_kept),
		cmocka_unit_test(lines_never_mix),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
