/* SPDX-License-Identifier: MIT */
/* bellhopctl against a daemon that has learnt its answers by heart. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/xalloc.h"
#include "ctl/ctl.h"

#define HELLO "%1\r\n+proto\r\n:3\r\n"
#define WORDS 40

/* What a command's words, joined by blanks, are answered with. */
struct line {
	const char *asked, *answer;
};

struct daemon {
	pthread_t thread;
	int fd;
	const struct line *lines;
	char asked[2000];		/* all of it, a line each */
};

static char dir[40], sock[64], none[64];
static char out_text[20000], err_text[4000];

static const char *
answer_to(struct daemon *d, const char *asked)
{
	if (strncmp(asked, "HELLO", 5) == 0)
		return HELLO;
	for (const struct line *l = d->lines; l && l->asked; l++) {
		if (strcmp(l->asked, asked) == 0)
			return l->answer;
	}
	return "-ERR not learnt\r\n";
}

static void
serve(struct daemon *d, int fd)
{
	static const struct resp_limits lim = {1000, 100000, 100000, 1000};
	struct resp_parser p;
	struct buf in = BUF_INIT;
	struct err e;
	size_t used;
	ssize_t n;

	resp_parser_init(&p);
	while ((n = recv(fd, buf_reserve(&in, 4096), 4096, 0)) > 0) {
		buf_added(&in, (size_t)n);
		while (buf_size(&in) > 0 && resp_parse(&p, buf_peek(&in),
		    buf_size(&in), &lim, &used, &e) == 1) {
			struct buf asked = BUF_INIT;
			const char *text;

			for (size_t i = 0; i < p.argc; i++)
				buf_addf(&asked, "%s%.*s", i ? " " : "",
				    (int)p.argv[i].len, p.argv[i].data);
			text = answer_to(d, buf_str(&asked));
			strncat(d->asked, buf_str(&asked),
			    sizeof(d->asked) - strlen(d->asked) - 2);
			strcat(d->asked, "\n");
			buf_done(&asked);
			buf_consume(&in, used);
			if (send(fd, text, strlen(text), MSG_NOSIGNAL) < 0)
				break;
		}
	}
	resp_parser_done(&p);
	buf_done(&in);
}

static void *
daemon_main(void *arg)
{
	struct daemon *d = arg;
	int fd = accept(d->fd, NULL, NULL);

	if (fd >= 0) {
		serve(d, fd);
		close(fd);
	}
	return NULL;
}

static void
daemon_start(struct daemon *d, const struct line *lines)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};

	*d = (struct daemon){.lines = lines};
	strcpy(a.sun_path, sock);
	unlink(sock);
	d->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(d->fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(d->fd, 5), 0);
	assert_int_equal(pthread_create(&d->thread, NULL, daemon_main, d), 0);
}

static void
daemon_stop(struct daemon *d)
{
	shutdown(d->fd, SHUT_RDWR);
	pthread_join(d->thread, NULL);
	close(d->fd);
}

/* Runs the tool; the words are cut at blanks, "_" inside stands for one. */
static int
run_in(const char *words, FILE *in)
{
	char *copy = xstrdup(words), *rest = copy, *word;
	char *argv[WORDS] = {(char []){"bellhopctl"}};
	FILE *out = fmemopen(out_text, sizeof(out_text), "w");
	FILE *err = fmemopen(err_text, sizeof(err_text), "w");
	int argc = 1, status;

	while ((word = strsep(&rest, " "))) {
		for (char *p = word; *p; p++)
			*p = *p == '_' ? ' ' : *p;
		assert_true(argc < WORDS - 1);
		argv[argc++] = word;
	}
	out_text[0] = err_text[0] = '\0';
	status = ctl_main(argc, argv, in, out, err);
	fclose(out);
	fclose(err);
	free(copy);
	return status;
}

static int
run(const char *words)
{
	return run_in(words, stdin);
}

/* The same with a daemon; what it was asked, HELLO left away. */
static const char *
ask(const struct line *lines, const char *words, int *ret_status)
{
	static struct daemon d;
	char all[1000];

	daemon_start(&d, lines);
	snprintf(all, sizeof(all), "--socket %s %s", sock, words);
	*ret_status = run(all);
	daemon_stop(&d);
	return strncmp(d.asked, "HELLO 3\n", 8) == 0 ? d.asked + 8 : d.asked;
}

static int
set_up(void **state)
{
	(void)state;
	unsetenv("BELLHOP_TOKEN");
	strcpy(dir, "/tmp/bellhop-ctl-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(sock, sizeof(sock), "%s/s", dir);
	snprintf(none, sizeof(none), "%s/none", dir);
	return 0;
}

static int
tear_down(void **state)
{
	char command[80];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	return system(command);
}

static void
wrong_usage_is_2(void **state)
{
	static const char *const lines[] = {"nonsense", "add", "job",
	    "job 1 2", "queues --nonsense", "jobs q", "token nonsense",
	    "script run", "hold q", "token add x", "retry", "retry 1 --queue q",
	    "add q x --delay 5", "add q x --backoff sometimes:5s",
	    "add q x --unique-ttl 5s", "add q x --at tomorrow",
	    "add q --priority", "--nonsense"};

	(void)state;
	for (size_t i = 0; i < nitems(lines); i++) {
		assert_int_equal(run(lines[i]), 2);
		assert_int_equal(strncmp(err_text, "bellhopctl: ", 12), 0);
		assert_string_equal(out_text, "");
	}
	run("add q x --delay 5");
	assert_non_null(strstr(err_text, "--delay \"5\": expected a duration "
	    "with its unit, such as 500ms 2s 5m 1h 7d"));
	assert_non_null(strstr(err_text, "usage: bellhopctl add QUEUE"));
}

static void
help_names_every_command(void **state)
{
	const struct ctl_command *cmd;

	(void)state;
	assert_int_equal(run("--help"), 0);
	for (size_t i = 0; (cmd = ctl_command_at(i)); i++)
		assert_non_null(strstr(out_text, cmd->name));
	assert_int_equal(run("add --help"), 0);
	assert_non_null(strstr(out_text, "--unique-mode"));
	assert_int_equal(run("help script run"), 0);
	assert_non_null(strstr(out_text, "--data JSON"));
	assert_int_equal(run("help nonsense"), 2);
}

static void
no_daemon_is_1_and_names_the_socket(void **state)
{
	char words[100];

	(void)state;
	snprintf(words, sizeof(words), "--socket %s queues", none);
	assert_int_equal(run(words), 1);
	assert_non_null(strstr(err_text, none));
	assert_non_null(strstr(err_text, "is bellhopd running?"));
}

static void
add_speaks_the_wire(void **state)
{
	static const struct line lines[] = {
		{"JOB.ADD q {} ", ""},
		{"JOB.ADD q data x PRIORITY 2 DELAY 600000 ATTEMPTS 4 BACKOFF "
		    "exponential 5000 FACTOR 3 MAX 21600000 JITTER 0.1 "
		    "TIMEOUT 90000 GROUP g LEASE 1500 MAX_STALLED 1 RETAIN 0 "
		    "UNIQUE k TTL 60000 MODE follow", "$2\r\n17\r\n"},
		{"JOB.ADD q {} AT 1893456000000", "$2\r\n18\r\n"},
		{NULL, NULL},
	};
	int status;

	(void)state;
	ask(lines, "add q data_x --unique k --priority 2 --delay 10m "
	    "--attempts=4 --backoff exponential:5s:3:6h:0.1 --timeout 1.5m "
	    "--group g --lease 1500ms --max-stalled 1 --retain 0s "
	    "--unique-mode follow --unique-ttl 1m", &status);
	assert_int_equal(status, 0);
	assert_string_equal(out_text, "17\n");
	ask(lines, "add q --at @1893456000 --json", &status);
	assert_int_equal(status, 0);
	assert_string_equal(out_text, "{\"id\":\"18\",\"queue\":\"q\"}\n");
}

static void
add_reads_standard_input(void **state)
{
	static const struct line lines[] = {
		{"JOB.ADD q from\na pipe", "$1\r\n9\r\n"}, {NULL, NULL}};
	FILE *in = fmemopen((char []){"from\na pipe"}, 11, "r");
	struct daemon d;
	char words[100];

	(void)state;
	daemon_start(&d, lines);
	snprintf(words, sizeof(words), "--socket %s add q -", sock);
	assert_int_equal(run_in(words, in), 0);
	daemon_stop(&d);
	assert_string_equal(out_text, "9\n");
	fclose(in);
}

static void
times_are_read_in_both_zones(void **state)
{
	static const struct line lines[] = {
		{"JOB.ADD q {} AT 1893456060000", "$1\r\n1\r\n"},
		{NULL, NULL},
	};
	int status;

	(void)state;
	ask(lines, "add q --at 2030-01-01T00:01Z", &status);
	assert_int_equal(status, 0);
	setenv("TZ", "EST5", 1);
	ask(lines, "add q --at 2029-12-31_19:01:00", &status);
	unsetenv("TZ");
	assert_int_equal(status, 0);
}

static void
an_error_answer_is_1(void **state)
{
	static const struct line lines[] = {
		{"JOB.RETRY 5", "-CONFLICT job 5 is waiting, expected failed\r\n"},
		{NULL, NULL},
	};
	int status;

	(void)state;
	ask(lines, "retry 5", &status);
	assert_int_equal(status, 1);
	assert_string_equal(err_text, "bellhopctl: CONFLICT job 5 is "
	    "waiting, expected failed\n");
}

#define JOB "%5\r\n$2\r\nid\r\n$1\r\n7\r\n$5\r\nstate\r\n$7\r\nwaiting\r\n" \
	"$7\r\npayload\r\n$14\r\n{\"guest\": \"A\"}\r\n$8\r\npriority\r\n:3" \
	"\r\n$6\r\nerrors\r\n*1\r\n%3\r\n$7\r\nattempt\r\n:1\r\n$2\r\nat\r\n" \
	":1700000000000\r\n$7\r\nmessage\r\n$4\r\nboom\r\n"

static void
a_job_is_an_object(void **state)
{
	static const struct line lines[] = {
		{"JOB.GET 7", JOB}, {"JOB.GET 8", "_\r\n"},
		{"BELLHOP STATUS", "%1\r\n$12\r\njournal_unit\r\n"
		    "$7\r\nbellhop\r\n"}, {NULL, NULL}};
	static const struct line elsewhere[] = {
		{"JOB.GET 7", JOB}, {"BELLHOP STATUS", "%0\r\n"},
		{NULL, NULL}};
	int status;

	(void)state;
	ask(lines, "--json job 7", &status);
	assert_int_equal(status, 0);
	assert_string_equal(out_text, "{\"id\":\"7\",\"state\":\"waiting\","
	    "\"payload\":{\"guest\": \"A\"},\"payload_encoding\":\"json\","
	    "\"priority\":3,\"errors\":[{\"attempt\":1,"
	    "\"at\":1700000000000,\"message\":\"boom\"}]}\n");
	ask(lines, "job 7", &status);
	assert_non_null(strstr(out_text, "payload   {\"guest\": \"A\"}\n"));
	assert_non_null(strstr(out_text, "boom\n"));
	assert_non_null(strstr(out_text,
	    "\nIts log: journalctl -u bellhop BELLHOP_JOB=7\n"));
	ask(elsewhere, "job 7", &status);
	assert_int_equal(status, 0);
	assert_null(strstr(out_text, "journalctl"));
	ask(lines, "job 8", &status);
	assert_int_equal(status, 1);
	assert_non_null(strstr(err_text, "there is no job 8"));
}

static void
jobs_come_in_pages(void **state)
{
	static const struct line lines[] = {
		{"JOB.LIST q waiting COUNT 1 REVERSE",
		    "*2\r\n$1\r\n7\r\n*1\r\n" JOB},
		{"JOB.LIST q waiting", "*2\r\n$1\r\n0\r\n*0\r\n"},
		{NULL, NULL},
	};
	int status;

	(void)state;
	ask(lines, "jobs q waiting --count 1 --reverse", &status);
	assert_int_equal(status, 0);
	assert_non_null(strstr(out_text, "ID  PRI  TRY"));
	assert_non_null(strstr(out_text, " 7    3    0"));
	assert_non_null(strstr(out_text, "more: --cursor 7\n"));
	ask(lines, "jobs q waiting --json", &status);
	assert_string_equal(out_text, "{\"jobs\":[],\"cursor\":null}\n");
	ask(lines, "jobs q waiting", &status);
	assert_string_equal(out_text, "none\n");
}

#define STATS "%3\r\n$7\r\nwaiting\r\n:12\r\n$6\r\nfailed\r\n:2\r\n" \
	"$6\r\npaused\r\n#t\r\n"

static void
queues_are_a_table(void **state)
{
	static const struct line lines[] = {
		{"QUEUE.LIST", "*2\r\n$1\r\na\r\n$5\r\nmails\r\n"},
		{"QUEUE.STATS a", STATS},
		{"QUEUE.STATS mails", STATS},
		{NULL, NULL},
	};
	int status;

	(void)state;
	ask(lines, "queues", &status);
	assert_int_equal(status, 0);
	assert_non_null(strstr(out_text, "QUEUE  STATE   WAITING  DELAYED"));
	assert_non_null(strstr(out_text, "\na      paused       12        0"));
	assert_null(strchr(out_text, '\033'));
	ask(lines, "queues --json", &status);
	assert_string_equal(out_text, "[{\"queue\":\"a\",\"waiting\":12,"
	    "\"failed\":2,\"paused\":true},{\"queue\":\"mails\","
	    "\"waiting\":12,\"failed\":2,\"paused\":true}]\n");
}

static void
queue_commands_speak_the_wire(void **state)
{
	static const struct {
		const char *words, *asked;
	} table[] = {
		{"pause q", "QUEUE.PAUSE q\n"},
		{"resume q", "QUEUE.RESUME q\n"},
		{"hold q 10m too_many", "QUEUE.HOLD q 600000 too many\n"},
		{"purge q failed --error ab12",
		    "QUEUE.PURGE q failed ERROR ab12\n"},
		{"retry --queue q --error ab12", "QUEUE.RETRY q ERROR ab12\n"},
		{"retry 5 --fresh", "JOB.RETRY 5 FRESH\n"},
		{"remove 5", "JOB.REMOVE 5\n"},
		{"promote 5", "JOB.PROMOTE 5\n"},
		{"cancel 5 no_more", "JOB.CANCEL 5 no more\n"},
		{"why 5", "JOB.WHY 5\n"},
		{"errors q", "QUEUE.ERRORS q\n"},
		{"reload", "BELLHOP RELOAD\n"},
		{"token add pos --role worker --queue a --queue b.*",
		    "BELLHOP TOKEN ADD pos worker a b.*\n"},
		{"token list", "BELLHOP TOKEN LIST\n"},
		{"token remove pos", "BELLHOP TOKEN DEL pos\n"},
		{"script list", "BELLHOP SCRIPTS\n"},
	};
	int status;

	(void)state;
	for (size_t i = 0; i < nitems(table); i++) {
		assert_string_equal(ask(NULL, table[i].words, &status),
		    table[i].asked);
		assert_int_equal(status, 1);
	}
}

static void
status_says_what_to_do(void **state)
{
	static const struct line empty[] = {
		{"BELLHOP SCRIPTS", "*0\r\n"}, {"QUEUE.LIST", "*0\r\n"},
		{"CONFIG GET scripts_dir",
		    "%1\r\n$11\r\nscripts_dir\r\n$4\r\n/x/y\r\n"},
		{"BELLHOP STATUS", "%2\r\n$9\r\naccepting\r\n:1\r\n"
		    "$8\r\ndb_bytes\r\n:1572864\r\n"},
		{NULL, NULL},
	};
	static const struct line broken[] = {
		{"BELLHOP SCRIPTS", "*1\r\n%1\r\n$5\r\nerror\r\n$8\r\n"
		    "a.lua:3:\r\n"},
		{"QUEUE.LIST", "*1\r\n$1\r\nq\r\n"}, {"QUEUE.STATS q", STATS},
		{"BELLHOP STATUS", "%0\r\n"}, {NULL, NULL},
	};
	/* Queues are not asked about: that answer would not come. */
	static const struct line refusing[] = {
		{"BELLHOP SCRIPTS", "*0\r\n"},
		{"BELLHOP STATUS", "%2\r\n$9\r\naccepting\r\n:0\r\n"
		    "$4\r\ntext\r\n$4\r\nfull\r\n"},
		{NULL, NULL},
	};
	static const struct line keeping[] = {
		{"BELLHOP SCRIPTS", "*0\r\n"},
		{"BELLHOP STATUS", "%4\r\n$9\r\naccepting\r\n:0\r\n"
		    "$11\r\noutbox_open\r\n:1\r\n$6\r\noutbox\r\n:7\r\n"
		    "$4\r\ntext\r\n$4\r\naway\r\n"},
		{NULL, NULL},
	};
	static const struct line ill[] = {
		{"BELLHOP HEALTH", "%2\r\n$5\r\nready\r\n#f\r\n"
		    "$6\r\nchecks\r\n*3\r\n%1\r\n$2\r\nok\r\n#t\r\n"
		    "%2\r\n$2\r\nok\r\n#f\r\n$4\r\ntext\r\n$4\r\nsick"
		    "\r\n%2\r\n$2\r\nok\r\n#f\r\n$4\r\ntext\r\n$3\r\n"
		    "old\r\n"},
		{"BELLHOP SCRIPTS", "*0\r\n"}, {"QUEUE.LIST", "*0\r\n"},
		{"BELLHOP STATUS", "%0\r\n"}, {NULL, NULL},
	};
	int status;

	(void)state;
	ask(ill, "status", &status);
	assert_int_equal(status, 0);
	assert_ptr_equal(strstr(out_text, "Not ready: sick; old\n"), out_text);
	ask(refusing, "status", &status);
	assert_int_equal(status, 0);
	assert_ptr_equal(strstr(out_text, "New work is refused: full\n"),
	    out_text);
	ask(keeping, "status", &status);
	assert_int_equal(status, 0);
	assert_ptr_equal(strstr(out_text, "New jobs are kept on this machine"
	    " (jobs and results so far: 7): away\n"), out_text);
	ask(empty, "status", &status);
	assert_int_equal(status, 0);
	assert_ptr_equal(strstr(out_text, "No script is loaded: put one into "
	    "/x/y and run 'systemctl reload bellhop'.\n"), out_text);
	assert_non_null(strstr(out_text, "db_bytes   1.5 MiB\n"));
	ask(empty, "status --json", &status);
	assert_non_null(strstr(out_text, "{\"summary\":\"No script"));
	assert_non_null(strstr(out_text, "\"ready\":true"));
	assert_non_null(strstr(out_text, "\"db_bytes\":1572864}\n"));
	ask(broken, "status", &status);
	assert_non_null(strstr(out_text, "1 of 1 scripts cannot be loaded: "
	    "a.lua:3:\n"));
	ask(broken + 1, "status", &status);
	assert_int_equal(status, 1);
}

static void
a_token_goes_with_hello(void **state)
{
	int status;

	(void)state;
	setenv("BELLHOP_TOKEN", "s3cret", 1);
	assert_int_equal(strncmp(ask(NULL, "pause q", &status),
	    "HELLO 3 AUTH default s3cret\n", 28), 0);
	unsetenv("BELLHOP_TOKEN");
}

static void
targets_are_understood(void **state)
{
	static const struct {
		const char *s, *path, *host, *port, *user, *token;
	} table[] = {
		{"unix:/run/x", "/run/x", NULL, NULL, NULL, NULL},
		{"unix:///run/x", "/run/x", NULL, NULL, NULL, NULL},
		{"/run/x", "/run/x", NULL, NULL, NULL, NULL},
		{"redis://h", NULL, "h", "7380", NULL, NULL},
		{"bellhop://h:1/0", NULL, "h", "1", NULL, NULL},
		{"redis://:t@h:1", NULL, "h", "1", NULL, "t"},
		{"redis://u:t@[::1]:9", NULL, "::1", "9", "u", "t"},
		{"127.0.0.1:7", NULL, "127.0.0.1", "7", NULL, NULL},
	};
	struct client_target t;
	struct err e;

	(void)state;
#define SAME(a, b) assert_string_equal((a) ? (a) : "-", (b) ? (b) : "-")
	for (size_t i = 0; i < nitems(table); i++) {
		assert_int_equal(client_target_parse(table[i].s, &t, &e), 0);
		SAME(t.path, table[i].path);
		SAME(t.host, table[i].host);
		SAME(t.port, table[i].port);
		SAME(t.user, table[i].user);
		SAME(t.token, table[i].token);
		client_target_done(&t);
	}
	assert_int_equal(client_target_parse("ftp://x", &t, &e), -1);
	assert_non_null(strstr(e.text, "\"ftp://x\": expected redis://"));
	assert_int_equal(client_target_parse("redis://", &t, &e), -1);
	assert_int_equal(client_target_parse("redis://[::1", &t, &e), -1);
}

int
main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(wrong_usage_is_2),
		T(help_names_every_command),
		T(no_daemon_is_1_and_names_the_socket),
		T(add_speaks_the_wire),
		T(add_reads_standard_input),
		T(times_are_read_in_both_zones),
		T(an_error_answer_is_1),
		T(a_job_is_an_object),
		T(jobs_come_in_pages),
		T(queues_are_a_table),
		T(queue_commands_speak_the_wire),
		T(status_says_what_to_do),
		T(a_token_goes_with_hello),
		T(targets_are_understood),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
