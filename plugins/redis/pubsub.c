/* SPDX-License-Identifier: MIT */
#include "redis/part.h"

void
rpubsub_new(struct redis_be *be)
{
	be->pubsub = NULL;
}

void
rpubsub_up(struct redis_be *be)
{
	(void)be;
}

void
rpubsub_free(struct redis_be *be)
{
	(void)be;
}

void
rpubsub_publish(void *be, struct bh_publish *r)
{
	be_fail(be, &r->req, BH_E_BACKEND, "not there yet");
}

void
rpubsub_subscribe(void *be, struct bh_bytes pattern, bool on)
{
	(void)be, (void)pattern, (void)on;
}

void
rpubsub_listen(struct redis_be *be, const char *channel,
    void (*fn)(void *arg, struct bh_bytes message), void *arg)
{
	(void)be, (void)channel, (void)fn, (void)arg;
}
