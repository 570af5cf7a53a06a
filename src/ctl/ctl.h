/* SPDX-License-Identifier: MIT */
/*
 * bellhopctl: a table of commands, each a function that reads its arguments,
 * asks the daemon and shows the answer. Exit status 0, 1 (failed) or 2
 * (wrong usage).
 */
#ifndef CTL_CTL_H
#define CTL_CTL_H

#include <stdio.h>

#include "base/buf.h"
#include "base/err.h"
#include "conf/conf.h"
#include "ctl/client.h"
#include "ctl/render.h"

enum ctl_exit { CTL_OK, CTL_FAILED, CTL_USAGE };

struct ctl_command;

/* One run of the tool. */
struct ctl {
	const char *socket;		/* --socket, or NULL */
	const char *url;		/* --url, or NULL */
	const char *config;		/* --config, or NULL */
	bool json;
	bool help;			/* --help was among the arguments */
	bool version;			/* --version was */
	bool color;
	bool quiet;			/* ctl_fail() says nothing */
	FILE *in, *out, *err;
	int64_t now;			/* wall ms */
	const struct ctl_command *cmd;
	struct conf *conf;		/* see ctl_conf() */
	struct client *client;		/* see ctl_ask() */
};

struct ctl_command {
	const char *name;		/* "queues", "script check" */
	const char *args;		/* synopsis */
	const char *help;		/* one line */
	int (*fn)(struct ctl *ctl, int argc, char **argv);
};

/* An option of a command: a flag when arg is NULL. The parser fills the rest;
 * value is the last one given ("" for a flag), all are in list. */
struct ctl_option {
	const char *name;
	const char *arg;
	const char *value;
	const char **list;
	size_t n;
};

/* The whole tool but main(). */
int ctl_main(int argc, char **argv, FILE *in, FILE *out, FILE *err);
/* The i-th command, NULL past the end. */
const struct ctl_command *ctl_command_at(size_t i);

/* Sorts a command's words into its options and, in argv[0 … *ret_n), the
 * others, of which there must be min to max. The options that every command
 * has are taken here. 0, or -1 after saying what is wrong. */
MUSTCHECK int ctl_parse(struct ctl *ctl, int argc, char **argv,
    struct ctl_option *opts, size_t nopts, int min, int max, int *ret_n);
void ctl_options_done(struct ctl_option *opts, size_t nopts);

/* Says what is wrong with the words, and how they go. CTL_USAGE. */
PRINTF(2, 3) int ctl_usage(struct ctl *ctl, const char *fmt, ...);
/* Says why it failed. CTL_FAILED. */
PRINTF(2, 3) int ctl_fail(struct ctl *ctl, const char *fmt, ...);

/* The configuration of this machine; the defaults when there is no file. NULL
 * after saying what is wrong with it. */
const struct conf *ctl_conf(struct ctl *ctl);
/* Connects when that has not been done. 0, or -1 after saying why not. */
MUSTCHECK int ctl_connect(struct ctl *ctl);

/* A command for the daemon, word by word. */
struct ctl_words {
	struct bh_bytes *argv;
	size_t argc;
	char **owned;
	size_t nowned;
};

void ctl_word(struct ctl_words *w, const char *s);
void ctl_word_bytes(struct ctl_words *w, const char *s, size_t len);
void ctl_word_int(struct ctl_words *w, int64_t v);
void ctl_words_done(struct ctl_words *w);

/* Asks the daemon; connects first. NULL after saying what went wrong. The
 * answer lasts until the next call. */
const struct resp_value *ctl_ask_words(struct ctl *ctl,
    const struct ctl_words *w);
/* The same for plain words, NULL ends them. */
__attribute__((sentinel)) const struct resp_value *ctl_ask(struct ctl *ctl,
    const char *first, ...);

/* "5s" as milliseconds; -1 after saying what is wrong with --name. */
int64_t ctl_duration(struct ctl *ctl, const char *name, const char *s);
/* A table and, when it has no row, the sentence instead. */
void ctl_table(struct ctl *ctl, struct table **t, const char *empty);
/* An answer as JSON and a newline. CTL_OK. */
int ctl_json(struct ctl *ctl, const struct resp_value *v);
/* The end of a command whose answer (NULL: it failed) is OK or a count of
 * what. */
int ctl_done(struct ctl *ctl, const struct resp_value *v, const char *what);
/* The queues' names, ended by NULL, each and the list to be freed; NULL after
 * saying what went wrong. */
char **ctl_queue_names(struct ctl *ctl);
/* A whole command whose one argument goes to the daemon's command. */
int ctl_alter(struct ctl *ctl, int argc, char **argv, const char *command);

/* "@SECONDS" or "YYYY-MM-DD HH:MM[:SS]" in local time, with a T for the blank
 * or a Z at the end for UTC. Wall ms, -1 when it is none of them. */
int64_t ctl_parse_at(const char *s);
/* All of standard input; CTL_OK, or another status after saying why. */
int ctl_read_stdin(struct ctl *ctl, struct buf *ret);
/* An option of `add` as the wire's words: 0, or -1 after saying what is wrong
 * with it. TTL and MODE of unique come behind it. */
int ctl_job_option(struct ctl *ctl, struct ctl_words *w,
    const struct ctl_option *o);

/* ctl_job.c */
int ctl_add(struct ctl *ctl, int argc, char **argv);
int ctl_jobs(struct ctl *ctl, int argc, char **argv);
int ctl_job(struct ctl *ctl, int argc, char **argv);
int ctl_why(struct ctl *ctl, int argc, char **argv);
int ctl_retry(struct ctl *ctl, int argc, char **argv);
int ctl_remove(struct ctl *ctl, int argc, char **argv);
int ctl_publish(struct ctl *ctl, int argc, char **argv);
int ctl_promote(struct ctl *ctl, int argc, char **argv);
int ctl_cancel(struct ctl *ctl, int argc, char **argv);
/* ctl_queue.c */
int ctl_queues(struct ctl *ctl, int argc, char **argv);
int ctl_pause(struct ctl *ctl, int argc, char **argv);
int ctl_resume(struct ctl *ctl, int argc, char **argv);
int ctl_hold(struct ctl *ctl, int argc, char **argv);
int ctl_purge(struct ctl *ctl, int argc, char **argv);
int ctl_errors(struct ctl *ctl, int argc, char **argv);
/* ctl_schedule.c */
int ctl_schedule_list(struct ctl *ctl, int argc, char **argv);
int ctl_schedule_set(struct ctl *ctl, int argc, char **argv);
int ctl_schedule_del(struct ctl *ctl, int argc, char **argv);
int ctl_schedule_preview(struct ctl *ctl, int argc, char **argv);
/* ctl_migrate.c */
int ctl_migrate(struct ctl *ctl, int argc, char **argv);
/* ctl_admin.c */
int ctl_status(struct ctl *ctl, int argc, char **argv);
int ctl_script_list(struct ctl *ctl, int argc, char **argv);
int ctl_script_check(struct ctl *ctl, int argc, char **argv);
int ctl_script_run(struct ctl *ctl, int argc, char **argv);
int ctl_test(struct ctl *ctl, int argc, char **argv);
int ctl_token_add(struct ctl *ctl, int argc, char **argv);
int ctl_token_list(struct ctl *ctl, int argc, char **argv);
int ctl_token_remove(struct ctl *ctl, int argc, char **argv);
int ctl_reload(struct ctl *ctl, int argc, char **argv);
/* ctl_events.c */
int ctl_events(struct ctl *ctl, int argc, char **argv);
/* ctl_db.c, ctl_doctor.c */
int ctl_backup(struct ctl *ctl, int argc, char **argv);
int ctl_restore(struct ctl *ctl, int argc, char **argv);
int ctl_doctor(struct ctl *ctl, int argc, char **argv);

#endif
