#!/bin/sh
# SPDX-License-Identifier: MIT
# Makefile.am lists every file by name: a file that it forgets would be
# missing from the program, from the tests or from a release. A test program
# stands there without its .c.
set -eu
cd "${srcdir:-$(dirname "$0")/../..}"

listed=$(awk '{ for (i = 1; i <= NF; i++) print $i }' Makefile.am)
status=0
for dir in src tests scripts etc doc plugins; do
	if [ -d $dir ]; then
		find -L $dir -type f
	fi
done | grep -E '\.(c|h|def|sql|sh|py|js|lua|scd|md|txt|conf|json|toml|ini)$' |
    grep -vE '/(node_modules|\.pytest_cache|__pycache__|\.hypothesis)/' |
    LC_ALL=C sort | {
	while read -r file; do
		case "
$listed
" in
		*"
$file
"*|*"
${file%.c}
"*)			;;
		*)	echo "$file is not in Makefile.am"
			status=1 ;;
		esac
	done
	exit $status
}
