/* SPDX-License-Identifier: MIT */
/* Secrets: one file each, systemd's credentials first, then secrets_dir. */
#ifndef SCRIPT_SECRET_H
#define SCRIPT_SECRET_H

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"

/* Letters, digits, '_', '.' and '-'; neither hidden nor a path. */
bool secret_name_ok(const char *s, size_t len);
/* Its bytes without the file's final newline. 0, or -errno; the caller frees.
 * Reads the disk. */
MUSTCHECK int secret_read(const char *secrets_dir, const char *name,
    char **ret, size_t *ret_len);

#endif
