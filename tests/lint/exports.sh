#!/bin/sh
# SPDX-License-Identifier: MIT
# The daemon exports nothing: only plugin.h's calls may ever be seen from
# outside, so no symbol of ours may be in its dynamic symbol table, and every
# function is either static or declared in a header.
set -eu
cd "${srcdir:-$(dirname "$0")/../..}"
: "${BELLHOPD:?names the bellhopd to look at}"

status=0
seen=$(nm -D --defined-only "$BELLHOPD" 2>/dev/null |
    awk '$2 ~ /[TDBRVW]/ { print $3 }' |
    grep -vE '^(_IO_stdin_used|_init|_fini|_end|_edata|__.*)$' || true)
# A sanitizer's runtime exports its interceptors.
if [ -n "$seen" ] && [ "${BELLHOP_SANITIZE:-no}" = no ]; then
	echo "$BELLHOPD exports these symbols:"
	printf '%s\n' "$seen"
	status=1
fi

# -Wmissing-prototypes finds a function without a prototype; a prototype in a
# .c file would silence it.
if find src -name '*.c' -exec grep -nE '^extern ' {} +; then
	echo 'extern declarations belong into a header'
	status=1
fi
exit $status
