#!/bin/sh
# SPDX-License-Identifier: MIT
# Prints a file as a C string: embed.sh FILE HEADER NAME > OUT.c, where HEADER
# declares `extern const char NAME[]`.
set -eu

echo "/* Made from $(basename "$1") by embed.sh: change that instead. */"
echo "#include \"$2\""
echo
echo "const char $3[] ="
sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/	/\\t/g' \
    -e 's/^/	"/' -e 's/$/\\n"/' "$1"
echo '	;'
