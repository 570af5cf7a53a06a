/* SPDX-License-Identifier: MIT */
/* What the bus tells, as JSON text; see bus.h. */
#ifndef CMD_BUS_TEXT_H
#define CMD_BUS_TEXT_H

#include "base/buf.h"
#include "plugin.h"

void bus_write_topic(struct buf *out, struct bh_bytes topic,
    struct bh_bytes message);
void bus_write_job(struct buf *out, const struct bh_job_event *ev);

#endif
