/* SPDX-License-Identifier: MIT */
/* BELLHOP TOKEN: who may come in from outside. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/str.h"
#include "base/xalloc.h"
#include "cmd/args.h"
#include "cmd/env.h"
#include "cmd/rows.h"

static bool
is(struct bh_bytes v, const char *word)
{
	return str_is(v.data, v.len, word);
}

/* argv[from..) as C strings; the caller frees them. */
static char **
copy_args(const struct cmd_call *call, size_t from, size_t *ret_n)
{
	size_t n = call->argc > from ? call->argc - from : 0;
	char **copy = xcalloc(n, sizeof(*copy));

	for (size_t i = 0; i < n; i++)
		copy[i] = xstrndup(call->argv[from + i].data,
		    call->argv[from + i].len);
	*ret_n = n;
	return copy;
}

static void
free_args(char **copy, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(copy[i]);
	free(copy);
}

/* Patterns share the queues' letters, so none holds a blank or a newline. */
static int
check_patterns(char **patterns, size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		const char *p = patterns[i];

		while (*p > ' ' && *p < 0x7f)
			p++;
		if (*p || p == patterns[i] ||
		    strlen(patterns[i]) > ARG_QUEUE_MAX)
			return err_set(e, BH_E_BADARG, "pattern: '%s' is not a"
			    " queue pattern: 1 to %d printable characters"
			    " without blanks are expected", patterns[i],
			    ARG_QUEUE_MAX);
	}
	return 0;
}

static void
token_add(struct cmd_call *call)
{
	enum cmd_role role;
	char *secret = NULL;
	char **args;
	size_t n;
	struct err e;
	int rc;

	if (call->argc < 5) {
		cmd_error(call, BH_E_ERR, "wrong number of arguments for"
		    " 'bellhop|token' command: ADD name role [pattern ...]");
		return;
	}
	args = copy_args(call, 3, &n);
	if (role_parse(args[1], strlen(args[1]), &role) < 0 ||
	    role == ROLE_NONE)
		rc = err_set(&e, BH_E_BADARG, "role: '%.48s' is none of"
		    " reader, producer, worker, operator, admin", args[1]);
	else
		rc = check_patterns(args + 2, n - 2, &e);
	if (rc == 0)
		rc = tokens_add(call->env->tokens, args[0], role_name(role),
		    args + 2, n - 2, &secret, &e);
	if (rc == 0)
		log_about(LOG_INFO, LOG_OF(TOKEN_CHANGED),
		    "token '%s' with the role %s added by %s (%s)",
		    args[0], role_name(role), call->who->user,
		    call->who->addr);
	free_args(args, n);
	if (rc < 0) {
		cmd_fail(call, &e);
		return;
	}
	reply_str(call->reply, secret);
	explicit_bzero(secret, strlen(secret));
	free(secret);
	cmd_done(call);
}

static void
token_list(struct cmd_call *call)
{
	struct reply *r = call->reply;
	size_t n = tokens_count(call->env->tokens);

	r->ops->array(r, n);
	for (size_t i = 0; i < n; i++) {
		const struct token *t = tokens_at(call->env->tokens, i);

		r->ops->map(r, 3);
		reply_pair_str(r, "name", t->name);
		reply_pair_str(r, "role", t->role);
		reply_str(r, "patterns");
		r->ops->array(r, t->npatterns);
		for (size_t k = 0; k < t->npatterns; k++)
			reply_str(r, t->patterns[k]);
	}
	cmd_done(call);
}

/* Whoever came in with this token has to go. */
static void
close_sessions(struct cmd_call *call, const char *name)
{
	struct cmd_env *env = call->env;
	const struct session *s;
	size_t n = 0;

	while (env->client_at && env->client_at(env->front, n, &s))
		n++;
	while (n-- > 0) {
		if (!env->client_at(env->front, n, &s) ||
		    strcmp(s->user, name) != 0)
			continue;
		if (s == call->who)
			call->who->close = true;
		else
			(void)env->client_kill(env->front, s->id);
	}
}

static void
token_del(struct cmd_call *call)
{
	struct err e;
	char *name;
	int rc;

	if (call->argc != 4) {
		cmd_error(call, BH_E_ERR, "wrong number of arguments for"
		    " 'bellhop|token' command: DEL name");
		return;
	}
	name = xstrndup(call->argv[3].data, call->argv[3].len);
	rc = tokens_remove(call->env->tokens, name, &e);
	if (rc == 0) {
		log_about(LOG_INFO, LOG_OF(TOKEN_CHANGED),
		    "token '%s' removed by %s (%s)", name,
		    call->who->user, call->who->addr);
		close_sessions(call, name);
	}
	free(name);
	if (rc < 0)
		cmd_fail(call, &e);
	else
		cmd_ok(call);
}

void
bellhop_token(struct cmd_call *call)
{
	if (!call->env->tokens)
		cmd_error(call, BH_E_ERR, "there is no file of tokens");
	else if (is(call->argv[2], "ADD"))
		token_add(call);
	else if (is(call->argv[2], "LIST") && call->argc == 3)
		token_list(call);
	else if (is(call->argv[2], "DEL"))
		token_del(call);
	else
		cmd_error(call, BH_E_ERR, "syntax error: BELLHOP TOKEN ADD"
		    " name role [pattern ...], LIST or DEL name is expected");
}
