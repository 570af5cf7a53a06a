/* SPDX-License-Identifier: MIT */
/* The plugin: the daemon's options become a backend. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plugin.h"
#include "redis/part.h"
#include "redis/sentinel.h"

enum { PASSWORD_MAX = 512 };

/* The first line of a file, if there is one. */
static bool
read_line(const char *dir, const char *prefix, const char *name,
    char out[PASSWORD_MAX])
{
	char path[4200];
	bool ok = false;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s%s", dir, prefix, name);
	f = fopen(path, "re");
	if (f)
		ok = fgets(out, PASSWORD_MAX, f) != NULL;
	if (f)
		fclose(f);
	out[ok ? strcspn(out, "\n") : 0] = '\0';
	return ok;
}

/* Where secret(name) of scripts looks too: systemd's credentials, then
 * secrets_dir. */
static void
read_password(const struct bh_host *host, char out[PASSWORD_MAX])
{
	const char *name = host->option_str("backend.password");
	const char *dir = getenv("CREDENTIALS_DIRECTORY");

	if (dir && (read_line(dir, "", name, out) ||
	    read_line(dir, "secrets_", name, out)))
		return;
	(void)read_line(host->option_str("secrets_dir"), "", name, out);
}

static int
open_backend(void **ret, const struct bh_host *host, char err[BH_ERROR_TEXT])
{
	char password[PASSWORD_MAX];
	int rc;
	struct redis_config c = {
	    .url = host->option_str("backend.url"),
	    .sentinels = host->option_list("backend.sentinel"),
	    .sentinel_master = host->option_str("backend.sentinel_master"),
	    .ca_file = host->option_str("backend.ca_file"),
	    .prefix = host->option_str("backend.prefix"),
	    .state_dir = host->option_str("state_dir"),
	    .max_queues = host->option_int("max_queues"),
	    .accept_loss = host->option_int("backend.accept_loss") != 0};

	read_password(host, password);
	c.password = password;
	rc = redis_open(ret, &c, host, err);
	explicit_bzero(password, sizeof(password));
	return rc;
}

static const struct bh_backend_type type = {
	.ops = &redis_ops,
	.open = open_backend,
	.ready = redis_ready,
	.migrate = rmove_migrate,
};

/* So that bellhopd --check says what is wrong. */
static int
check_addresses(const struct bh_host *host, char err[BH_ERROR_TEXT])
{
	char *const *list = host->option_list("backend.sentinel");
	struct redis_url url;
	char why[BH_ERROR_TEXT];

	if (redis_url_parse(&url, host->option_str("backend.url"), why) < 0) {
		snprintf(err, BH_ERROR_TEXT, "backend.url: %.200s", why);
		return -1;
	}
	redis_url_done(&url);
	for (; *list; list++) {
		if (rsentinel_url(&url, *list, err) < 0)
			return -1;
		redis_url_done(&url);
	}
	return 0;
}

static int
init(const struct bh_host *host, char err[BH_ERROR_TEXT])
{
	if (check_addresses(host, err) < 0)
		return -1;
	host->add_backend(&type);
	return 0;
}

const struct bh_plugin bellhop_plugin = {
	.abi = BH_ABI,
	.name = "redis",
	.version = BELLHOP_VERSION,
	.init = init,
};
