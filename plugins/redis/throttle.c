/* SPDX-License-Identifier: MIT */
#include "redis/part.h"

void
rthrottle_take(void *be, struct bh_throttle *r)
{
	be_fail(be, &r->req, BH_E_BACKEND, "not there yet");
}
