#!/bin/sh
# SPDX-License-Identifier: MIT
# Each kind of event has an entry in the journal's catalog, with the same
# subject, and the catalog has no other.
set -eu
cd "${srcdir:-$(dirname "$0")/../..}"

events=$(tr -d '\n' < src/base/logevent.def |
    sed 's/LOG_EVENT(/\n&/g' |
    sed -nE 's/^LOG_EVENT\([A-Z_]+, "([0-9a-f]{32})",[ \t]*"([^"]*)"\).*/\1 \2/p' |
    LC_ALL=C sort)
entries=$(awk '/^-- / { id = $2 }
    /^Subject: / { sub(/^Subject: /, ""); print id " " $0 }' \
    etc/systemd/bellhop.catalog | LC_ALL=C sort)
if [ -z "$events" ] || [ "$events" != "$entries" ]; then
	printf 'src/base/logevent.def:\n%s\n' "$events" >&2
	printf 'etc/systemd/bellhop.catalog:\n%s\n' "$entries" >&2
	exit 1
fi
