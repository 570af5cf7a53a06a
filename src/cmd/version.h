/* SPDX-License-Identifier: MIT */
/* What INFO and HELLO say about this program. */
#ifndef CMD_VERSION_H
#define CMD_VERSION_H

/* The Redis whose protocol and replies ours are like: clients ask for it. */
#define CMD_REDIS_VERSION "7.0.15"

#ifndef BELLHOP_VERSION
#error "the build defines BELLHOP_VERSION"
#endif

#endif
