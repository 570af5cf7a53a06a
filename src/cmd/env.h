/* SPDX-License-Identifier: MIT */
/*
 * What all commands share, filled once by boot: the backend, the
 * configuration, and calls upward to parts that lie above this layer.
 * Main thread only.
 */
#ifndef CMD_ENV_H
#define CMD_ENV_H

#include "base/err.h"
#include "cmd/cmd.h"
#include "conf/conf.h"
#include "conf/tokens.h"
#include "plugin.h"

/* One loaded (or broken) script, for BELLHOP SCRIPTS. */
struct script_info {
	const char *file;
	const char *queue;		/* "" when it never loaded */
	const char *version;		/* hash, "" when it never loaded */
	const char *error;		/* "FILE:LINE: cause", or NULL */
	int64_t loaded_at;		/* wall ms */
	int64_t running;		/* handlers at work */
};

/* The script threads, for metrics and health. */
struct script_figures {
	int64_t threads;
	int64_t running;		/* handlers at work */
	int64_t slots;			/* handlers that may be */
	int64_t busy_ms;		/* the slowest thread, at one thing */
};

struct alerts;
struct bus;
struct slowlog;

/* A library that a plugin brings to the scripts. */
struct lua_lib {
	const char *name;
	int (*open)(struct lua_State *L);	/* on script threads */
};

/* Since the start; the front counts connections. */
struct cmd_stats {
	int64_t commands, errors;
	int64_t connections, rejected;
};

struct cmd_env {
	const struct bh_backend_ops *ops;
	void *be;
	const struct conf *conf;	/* the one in force */
	const struct qopts *qopts;	/* boot's; NULL in small tests */
	struct tokens *tokens;
	struct alerts *alerts;		/* boot's; NULL in small tests */
	struct bus *bus;		/* boot's; NULL in small tests */
	bool draining;			/* new work is answered BUSY */
	int64_t started_at;		/* wall ms */
	const char *journal_unit;	/* journalctl -u; NULL: log elsewhere */

	/* Set by boot, NULL in small tests. */
	void *arg;
	/* Reads configuration and scripts again; done(ok, report) once, later.
	 * report: one line for each thing that was loaded or refused. */
	void (*reload)(void *arg, void (*done)(void *user, bool ok,
	    const char *report), void *user);
	/* Only notes it: the shutdown begins in the next turn. */
	void (*shutdown)(void *arg);
	/* The gates above the backend: no_handler, broken, concurrency. */
	bool (*handler_gate)(void *arg, struct bh_bytes queue,
	    struct bh_why *ret);
	/* The i-th script; false past the end. */
	bool (*script_at)(void *arg, size_t i, struct script_info *ret);
	void (*script_figures)(void *arg, struct script_figures *ret);
	/* A webhook for the script that declares its name; NULL: no script
	 * declares any. */
	void (*hook)(void *arg, struct bh_hook *hook);
	/* Figures of the process for INFO and BELLHOP STATUS: one map of
	 * names to plain values. */
	void (*figures)(void *arg, struct reply *r);

	/* A request to the store of this machine, which another backend is in
	 * the place of; and what it has given. */
	void (*local)(void *arg, struct bh_local *r);
	void (*local_free)(struct bh_local *r);
	/* As in struct bh_host. */
	bool (*spare_key)(void *arg, struct bh_key_command *r);
	void (*spare_throttle)(void *arg, struct bh_throttle *r);
	void (*spare_end)(void *arg);
	/* Moves everything to another backend; NULL: this one cannot. */
	void (*migrate)(void *arg, struct bh_migrate *r);

	/* The connections' side, set by the front; client_at and client_kill
	 * go on with the callers of other doors. */
	void *front;
	bool (*client_at)(void *front, size_t i, const struct session **ret);
	bool (*client_kill)(void *front, uint64_t id);
	/* Ends what this client waits for; false: it does not. */
	bool (*client_unblock)(void *front, uint64_t id, enum unblock how);
	/* Shows a call to the sessions that watch; called while monitors. */
	void (*monitor)(void *front, const struct cmd_call *call);
	size_t monitors;
	/* The caller's connection shows news of jobs from now on; NULL: no
	 * more of them. */
	int (*watch)(void *front, struct session *who,
	    const struct bh_bytes *pattern, struct err *e);
	/* One message more for a connection, which fill() writes behind the
	 * answers under way. Who leaves too much of them unread is closed. */
	void (*push)(void *front, struct session *who,
	    void (*fill)(struct reply *r, const void *arg), const void *arg);
	uint64_t last_session;		/* id of the newest session */

	/* The plugins' side, set by the host. */
	void *host;
	bool (*caller_at)(void *host, size_t i, const struct session **ret);
	bool (*caller_kill)(void *host, uint64_t id);
	size_t callers;			/* connections of plugins' doors */
	void (*plugin_metrics)(void *host, const struct bh_metrics *m);
	/* The i-th check: 1 well, 0 ill with a sentence, -1 past the end. */
	int (*plugin_health)(void *host, size_t i, char text[BH_ERROR_TEXT]);
	const struct lua_lib *lua_libs;	/* all there before scripts load */
	size_t nlua_libs;

	struct cmd_stats stats;
	struct slowlog *slowlog;	/* made by the first slow command */
};

/* Frees what commands have kept in it; the rest is boot's. */
void cmd_env_done(struct cmd_env *env);

#endif
