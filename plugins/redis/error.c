/* SPDX-License-Identifier: MIT */
#include "redis/error.h"

#include <stdio.h>
#include <string.h>

struct meaning {
	const char *begin;		/* of the error */
	int code;
	bool passes;
	const char *text;
};

static const struct meaning meanings[] = {
	{"OOM", BH_E_OOM, false, "Redis has no memory left for this: raise its"
	    " maxmemory, or remove something"},
	{"READONLY", BH_E_BACKEND, true, "this Redis is a replica and takes no"
	    " writes: the master is looked for"},
	{"LOADING", BH_E_BACKEND, true, "Redis is still reading its data after"
	    " a start"},
	{"MASTERDOWN", BH_E_BACKEND, true, "this Redis is a replica that has"
	    " lost its master"},
	{"NOREPLICAS", BH_E_BACKEND, true, "Redis takes no writes while it has"
	    " too few replicas (its min-replicas-to-write)"},
	{"MISCONF", BH_E_BACKEND, true, "Redis cannot save to its disk and"
	    " takes no writes: its log says why, the disk may be full"},
	{"BUSY", BH_E_BACKEND, true, "Redis is busy with somebody's script:"
	    " SCRIPT KILL, sent to that Redis, ends it"},
	{"NOAUTH", BH_E_BACKEND, false, "Redis wants a password: write it into"
	    " backend.url (redis://:PASSWORD@HOST), or name the secret that"
	    " has it in backend.password"},
	{"WRONGPASS", BH_E_BACKEND, false, "Redis does not take this user and"
	    " password: correct backend.url or the secret of"
	    " backend.password"},
	{"ERR invalid password", BH_E_BACKEND, false, "Redis does not take"
	    " this password: correct backend.url or the secret of"
	    " backend.password"},
	{"ERR AUTH <password> called without any password", BH_E_BACKEND,
	    false, "a password was sent, and this Redis has none: take it out"
	    " of backend.url, or give Redis one (requirepass)"},
	{"ERR Client sent AUTH, but no password is set", BH_E_BACKEND, false,
	    "a password was sent, and this Redis has none: take it out of"
	    " backend.url, or give Redis one (requirepass)"},
	{"ERR DB index is out of range", BH_E_BACKEND, false, "this Redis has"
	    " no database of the number that ends backend.url: it usually has"
	    " 0 to 15"},
	{"ERR SELECT is not allowed in cluster mode", BH_E_BACKEND, false,
	    "this Redis is a node of a cluster, which has database 0 alone:"
	    " correct the end of backend.url"},
	{"DENIED", BH_E_BACKEND, false, "Redis is in protected mode and takes"
	    " nobody from other machines: give it a password (requirepass)"
	    " and write that into backend.url"},
	{"NOPERM", BH_E_BACKEND, false, "the user of backend.url may not do"
	    " this: allow it at Redis, ACL SETUSER NAME ~* &* +@all"},
	{"MOVED", BH_E_BACKEND, false, "this Redis is a node of a cluster and"
	    " the keys are on another node: a cluster of several masters"
	    " cannot be the backend; name a Redis that has all keys"},
	{"ASK", BH_E_BACKEND, false, "this Redis is a node of a cluster that"
	    " is moving the keys to another node: a cluster of several"
	    " masters cannot be the backend; name a Redis that has all keys"},
	{"CLUSTERDOWN", BH_E_BACKEND, true, "this Redis is a node of a cluster"
	    " that is down, or that has slots which no node serves"},
	{"CROSSSLOT", BH_E_BACKEND, false, "this Redis is a node of a cluster:"
	    " there, all keys of one command need the same {hash tag}"},
};

/* Whole words: "BUSY" is not BUSYKEY. */
static bool
begins(const char *error, const char *begin)
{
	size_t n = strlen(begin);

	return strncmp(error, begin, n) == 0 && (error[n] == ' ' ||
	    error[n] == '\0' || strncmp(begin, "ERR ", 4) == 0);
}

static const struct meaning *
find(const char *error)
{
	for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++)
		if (begins(error, meanings[i].begin))
			return &meanings[i];
	return NULL;
}

int
rerror_text(const char *error, char text[BH_ERROR_TEXT])
{
	const struct meaning *m = find(error);

	if (m)
		snprintf(text, BH_ERROR_TEXT, "%s", m->text);
	else
		snprintf(text, BH_ERROR_TEXT, "Redis says: %.200s", error);
	return m ? m->code : BH_E_BACKEND;
}

bool
rerror_passes(const char *error)
{
	const struct meaning *m = find(error);

	return m && m->passes;
}

bool
rerror_is(const char *error, const char *word)
{
	return begins(error, word);
}
