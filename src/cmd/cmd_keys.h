/* SPDX-License-Identifier: MIT */
/* Which words of a command are keys, also where they have no fixed place. */
#ifndef CMD_CMD_KEYS_H
#define CMD_CMD_KEYS_H

#include "cmd/cmd.h"

/* The command may have keys at all. */
bool cmd_has_keys(const struct cmd_row *row);
/* Their places, at most argc; -1: its arguments make no sense. The arity has
 * been checked. */
int cmd_keys(const struct cmd_row *row, const struct bh_bytes *argv,
    size_t argc, size_t *places);

#endif
