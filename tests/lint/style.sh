#!/bin/sh
# SPDX-License-Identifier: MIT
# The rules of CONTRIBUTING.md that a script can check: length of functions
# and files, kind of comments, blanks, licence line. plugin.h is the one header
# that a plugin sees: it is as long as that takes.
set -eu
cd "${srcdir:-$(dirname "$0")/../..}"

# The program is awk's, not the shell's.
# shellcheck disable=SC2016
find src tests -name '*.[ch]' | LC_ALL=C sort | xargs awk '
function bad(line, text) {
	printf "%s:%d: %s\n", FILENAME, line, text
	failed = 1
}
function end_file() {
	if (last && lines > 700 && last != "src/plugin.h") {
		printf "%s: %d lines in one file, at most 700: split it by " \
		    "noun\n", last, lines
		failed = 1
	}
}
FNR == 1 {
	end_file()
	FILENAME_was = FILENAME
	last = FILENAME
	start = 0
	in_comment = 0
	if ($0 != "/* SPDX-License-Identifier: MIT */")
		bad(1, "expected /* SPDX-License-Identifier: MIT */")
}
{
	lines = FNR
}
/[ \t]+$/ { bad(FNR, "blanks at the end of the line") }
/^        / { bad(FNR, "eight blanks at the start: indent with tabs") }
{
	# Strings and comments go, so that "http://" is no comment.
	code = $0
	gsub(/\\./, "", code)
	gsub(/"[^"]*"/, "\"\"", code)
	if (in_comment) {
		if (!sub(/^.*\*\//, "", code))
			code = ""
		else
			in_comment = 0
	}
	gsub(/\/\*([^*]|\*+[^*\/])*\*+\//, "", code)
	if (sub(/\/\*.*$/, "", code))
		in_comment = 1
	if (code ~ /\/\//)
		bad(FNR, "a // comment: write /* */")
}
/^[a-z_].*\(/ { name = $0 }
/^\{/ { start = FNR }
/^\}/ {
	if (start && FNR - start - 1 > 80)
		bad(start, (FNR - start - 1) " lines in one function, at " \
		    "most 80: " name)
	start = 0
}
END {
	FILENAME = FILENAME_was
	end_file()
	exit failed
}
'

# Marks of unfinished work, in everything that is ours.
if grep -rnE '\b(TODO|FIXME|XXX)\b' src tests scripts etc doc \
    --include='*.[ch]' --include='*.py' --include='*.lua' \
    --include='*.scd' --include='*.md' --include='*.conf'; then
	echo 'the lines above mark unfinished work' >&2
	exit 1
fi
