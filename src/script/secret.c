/* SPDX-License-Identifier: MIT */
#include "script/secret.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "base/xalloc.h"

#define SECRET_MAX (64 * 1024)

bool
secret_name_ok(const char *s, size_t len)
{
	size_t i;

	if (len < 1 || len > 128 || s[0] == '.' || strlen(s) != len)
		return false;
	for (i = 0; i < len; i++)
		if (!isalnum((unsigned char)s[i]) && !strchr("_.-", s[i]))
			return false;
	return strstr(s, "..") == NULL;
}

static int
read_in(const char *dir, const char *name, char **ret, size_t *ret_len)
{
	char *path = xasprintf("%s/%s", dir, name);
	int rc = str_read_file(path, SECRET_MAX, ret, ret_len);

	free(path);
	return rc;
}

/* LoadCredential=secrets:DIRECTORY makes each file of the directory a
 * credential of its own, secrets_NAME. */
static int
read_credential(const char *dir, const char *name, char **ret,
    size_t *ret_len)
{
	char *full = xasprintf("secrets_%s", name);
	int rc = read_in(dir, full, ret, ret_len);

	free(full);
	return rc;
}

int
secret_read(const char *secrets_dir, const char *name, char **ret,
    size_t *ret_len)
{
	const char *credentials = getenv("CREDENTIALS_DIRECTORY");
	int rc = -ENOENT;

	if (credentials)
		rc = read_in(credentials, name, ret, ret_len);
	if (rc < 0 && credentials)
		rc = read_credential(credentials, name, ret, ret_len);
	if (rc < 0)
		rc = read_in(secrets_dir, name, ret, ret_len);
	if (rc == 0 && *ret_len > 0 && (*ret)[*ret_len - 1] == '\n')
		--*ret_len;
	return rc;
}
