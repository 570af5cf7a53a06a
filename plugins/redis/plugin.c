/* SPDX-License-Identifier: MIT */
/* The plugin: the daemon's options become a backend. */
#include <stdio.h>

#include "plugin.h"
#include "redis/redis.h"

static int
open_backend(void **ret, const struct bh_host *host, char err[BH_ERROR_TEXT])
{
	struct redis_config c = {
	    .url = host->option_str("backend.url"),
	    .sentinels = host->option_list("backend.sentinel"),
	    .sentinel_master = host->option_str("backend.sentinel_master"),
	    .ca_file = host->option_str("backend.ca_file"),
	    .prefix = host->option_str("backend.prefix"),
	    .state_dir = host->option_str("state_dir"),
	    .accept_loss = host->option_int("backend.accept_loss") != 0};

	return redis_open(ret, &c, host, err);
}

static const struct bh_backend_type type = {&redis_ops, open_backend};

static int
init(const struct bh_host *host, char err[BH_ERROR_TEXT])
{
	(void)err;
	host->add_backend(&type);
	return 0;
}

const struct bh_plugin bellhop_plugin = {
	.abi = BH_ABI,
	.name = "redis",
	.version = BELLHOP_VERSION,
	.init = init,
};
