/* SPDX-License-Identifier: MIT */
/* Files of older versions become what a fresh file is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/str.h"
#include "journal/schema.h"
#include "lib/journalfix.h"

/* Every column of every table and view; indexes by their name. */
static const char shape[] =
    "SELECT group_concat(line, '\n') FROM (SELECT s.type || ' ' || s.name ||"
    " ' ' || ifnull(p.name, '') || ' ' || ifnull(p.type, '') || ' ' ||"
    " ifnull(p.\"notnull\", '') AS line FROM sqlite_schema AS s LEFT JOIN"
    " pragma_table_info(s.name) AS p ON s.type <> 'index'"
    " WHERE s.name NOT LIKE 'sqlite_%' ORDER BY 1)";

static void
remove_files(struct journalfix *f)
{
	static const char *const names[] = {"", "-wal", "-shm"};
	char path[300];

	for (size_t i = 0; i < nitems(names); i++) {
		snprintf(path, sizeof(path), "%s/bellhop.db%s", f->dir,
		    names[i]);
		unlink(path);
	}
}

static void
a_file_of_version_1_becomes_a_fresh_one(void **state)
{
	struct journalfix *f = *state;
	char *sql, *fresh;
	size_t len;

	journalfix_open(f);
	journalfix_close(f);
	fresh = strdup(journalfix_text(f, shape));
	assert_non_null(strstr(fresh, "key expires_at"));
	remove_files(f);
	assert_int_equal(str_read_file(SCHEMA_1, 1 << 20, &sql, &len), 0);
	assert_int_equal(journalfix_exec(f, sql), 0);
	assert_int_equal(journalfix_exec(f, "PRAGMA application_id ="
	    " 1113943148; PRAGMA user_version = 1;"
	    "INSERT INTO queue (id, name) VALUES (1, 'default');"
	    "INSERT INTO job (id, queue, run_at, created_at, payload)"
	    " VALUES (7, 1, 1, 1, x'6b657074')"), 0);
	free(sql);
	journalfix_open(f);
	journalfix_close(f);
	assert_int_equal(journalfix_int(f, "PRAGMA user_version"),
	    SCHEMA_VERSION);
	assert_string_equal(journalfix_text(f, shape), fresh);
	assert_string_equal(journalfix_text(f, "SELECT payload FROM jobs_view"
	    " WHERE id = 7"), "kept");
	free(fresh);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    a_file_of_version_1_becomes_a_fresh_one,
		    journalfix_setup_closed, journalfix_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
