/* SPDX-License-Identifier: MIT */
#include "redis/info.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
read_word(const char *text, const char *name, char *out, size_t size)
{
	size_t n = strlen(name);
	const char *p = text;

	*out = '\0';
	while (p && !(strncmp(p, name, n) == 0 && p[n] == ':')) {
		p = strchr(p, '\n');
		if (p)
			p++;
	}
	if (p)
		snprintf(out, size, "%.*s", (int)strcspn(p + n + 1, "\r\n"),
		    p + n + 1);
}

void
rinfo_read(struct rinfo *i, const char *text)
{
	char word[32];

	read_word(text, "redis_version", i->version, sizeof(i->version));
	read_word(text, "valkey_version", i->valkey, sizeof(i->valkey));
	read_word(text, "maxmemory_policy", i->policy, sizeof(i->policy));
	read_word(text, "redis_mode", word, sizeof(word));
	i->cluster = strcmp(word, "cluster") == 0;
	i->sentinel = strcmp(word, "sentinel") == 0;
	read_word(text, "role", word, sizeof(word));
	i->replica = strcmp(word, "slave") == 0;
	read_word(text, "aof_enabled", word, sizeof(word));
	i->aof = strcmp(word, "1") == 0;
}

static bool
older(const char *version, int major, int minor)
{
	char *end;
	long a = strtol(version, &end, 10), b = 0;

	if (*end == '.')
		b = strtol(end + 1, NULL, 10);
	return a < major || (a == major && b < minor);
}

static int
refuse(char err[BH_ERROR_TEXT], const char *text)
{
	snprintf(err, BH_ERROR_TEXT, "%s", text);
	return -1;
}

int
rinfo_judge(const struct rinfo *i, bool save_known, bool accept_loss,
    char err[BH_ERROR_TEXT])
{
	if (i->sentinel)
		return refuse(err, "backend.url names a sentinel: name the"
		    " Redis itself there, and the sentinels in"
		    " backend.sentinel");
	if (*i->valkey ? older(i->valkey, 7, 2) : older(i->version, 6, 2)) {
		snprintf(err, BH_ERROR_TEXT, "this is %s %s: Redis 6.2 or"
		    " Valkey 7.2 is the oldest that will do; upgrade it",
		    *i->valkey ? "Valkey" : "Redis",
		    *i->valkey ? i->valkey : *i->version ? i->version :
		    "of an unknown version");
		return -1;
	}
	if (accept_loss)
		return 0;
	if (*i->policy && strcmp(i->policy, "noeviction") != 0) {
		snprintf(err, BH_ERROR_TEXT, "this Redis drops keys when its"
		    " memory is full (maxmemory-policy %s), jobs too: set it"
		    " to noeviction, or accept that with backend.accept_loss"
		    " = true", i->policy);
		return -1;
	}
	if (!i->aof && save_known && !i->saves)
		return refuse(err, "this Redis keeps nothing on disk: set its"
		    " appendonly to yes (or save), or accept that a restart"
		    " of it loses all with backend.accept_loss = true");
	return 0;
}
