/* SPDX-License-Identifier: MIT */
/*
 * Commands: the one thing that front doors and scripts make of their input.
 * cmd_run() looks the row up, checks arity, role and queue pattern, and calls
 * the row's function, which parses its arguments and asks the backend.
 *
 * Life cycle: the door fills a struct cmd_call and hands it over; done() is
 * called exactly once, when the whole reply has been written to call->reply,
 * maybe before cmd_run() returns. argv must live until then. Until done() the
 * door may call cmd_cancel() (the client is gone); done() is still called.
 *
 * Main thread only.
 */
#ifndef CMD_CMD_H
#define CMD_CMD_H

#include <stdbool.h>

#include "base/err.h"
#include "cmd/reply.h"
#include "plugin.h"

enum cmd_role {
	ROLE_NONE,		/* not authenticated */
	ROLE_READER,
	ROLE_PRODUCER,
	ROLE_WORKER,
	ROLE_OPERATOR,
	ROLE_ADMIN
};

/* What a row demands. PRODUCER and WORKER stand side by side: each includes
 * READER, and OPERATOR includes both. */
bool role_allows(enum cmd_role have, enum cmd_role need);
const char *role_name(enum cmd_role role);
MUSTCHECK int role_parse(const char *name, size_t len, enum cmd_role *ret);

enum reply_mode { REPLY_ON, REPLY_OFF, REPLY_SKIP };

struct multi;
struct subs;

/* Who is asking: one for each connection, one for each script. */
struct session {
	uint64_t id;
	enum cmd_role role;
	enum cmd_role door_role;	/* without a token; RESET goes there */
	char *user;			/* token name or "default" */
	char *name;			/* CLIENT SETNAME, or NULL */
	char *lib_name, *lib_ver;	/* CLIENT SETINFO, or NULL */
	char *addr;			/* for people: "127.0.0.1:5012" */
	char **patterns;		/* queue globs, NULL: all queues */
	size_t npatterns;
	int proto;			/* 2 or 3 */
	enum reply_mode replies;	/* CLIENT REPLY, for the next calls */
	bool monitor;
	bool close;			/* QUIT: close after the reply */
	struct multi *multi;		/* queued since MULTI, or NULL */
	struct subs *subs;		/* SUBSCRIBE's, or NULL */
	bool watching;			/* WATCH has been sent */
	const char *door;		/* "resp", "script", "http" */
	int64_t since_ms;		/* wall */
	int64_t last_us;		/* of clock_mono_us() */
	const char *last_cmd;
};

/* What a command that waits is answered when another client ends it. */
enum unblock { UNBLOCK_NONE, UNBLOCK_TIMEOUT, UNBLOCK_ERROR };

struct cmd_row;
struct cmd_env;				/* what all commands share */

struct cmd_call {
	/* The door's: */
	struct cmd_env *env;
	struct session *who;
	struct reply *reply;
	const struct bh_bytes *argv;
	size_t argc;
	void (*done)(struct cmd_call *call);
	void *user;
	bool late;			/* it came after the shutdown began */
	bool detail;			/* JOB.ADD, MADD: see BH_CALL_DETAIL */
	bool mute;			/* no reply is wanted; CLIENT REPLY
					   changes it for itself */
	/* The command's: */
	const struct cmd_row *row;
	int64_t started_us;
	bool waits;			/* it may take a client's time to end */
	bool canceled;
	enum unblock unblock;		/* CLIENT UNBLOCK has ended it */
	void *state;			/* the request under way, or NULL */
	void (*cancel)(struct cmd_call *call);
};

typedef void cmd_fn(struct cmd_call *call);

enum cmd_flag {
	CMD_NOAUTH = 1,			/* before AUTH too */
	CMD_QUEUE = 2,			/* argv[1], if any, is a queue */
	CMD_BLOCKS = 4,			/* may wait for a client's time */
	CMD_WRITE = 8,			/* changes something */
	CMD_FAST = 16,
	CMD_ADMIN = 32,
	CMD_KEY = 64,			/* argv[1] is a key */
	CMD_MOVABLE = 128,		/* its keys are not at fixed places */
	CMD_AT_ONCE = 256		/* answers by itself, within its call:
					   it may stand between MULTI, EXEC */
};

struct cmd_row {
	const char *name;		/* "JOB.ADD", "CONFIG" */
	int arity;			/* with the name; -n: at least n */
	enum cmd_role role;
	unsigned flags;			/* enum cmd_flag */
	cmd_fn *fn;
	const char *args;		/* synopsis */
	const char *help;		/* one line */
	/* Which words are keys: the first and the last one (-1: the last of
	 * all), and the step between them; zeros when there is none. */
	int8_t first_key, last_key, key_step;
};

void cmd_run(struct cmd_call *call);
void cmd_cancel(struct cmd_call *call);
/* Ends one that waits for a key; false: it does not. */
bool cmd_unblock(struct cmd_call *call, enum unblock how);

/* For command functions: the end of a call. */
void cmd_done(struct cmd_call *call);
PRINTF(3, 4) void cmd_error(struct cmd_call *call, int code,
    const char *fmt, ...);

/* True when argument i of this call is a secret that no log may show. */
bool cmd_is_secret(const struct cmd_call *call, size_t i);

const struct cmd_row *cmd_find(const char *name, size_t len);
const struct cmd_row *cmd_table(size_t *ret_n);

#endif
