#!/bin/sh
# SPDX-License-Identifier: MIT
# Prints schema.sql as a C string: embed.sh SCHEMA.SQL > schema_sql.c
set -eu

echo '/* Made from schema.sql by embed.sh: change that instead. */'
echo '#include "journal/schema.h"'
echo
echo 'const char journal_schema_sql[] ='
sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/	/\\t/g' \
    -e 's/^/	"/' -e 's/$/\\n"/' "$1"
echo '	;'
