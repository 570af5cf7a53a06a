#!/bin/sh
# SPDX-License-Identifier: MIT
# The tests of the whole daemon once more, with each daemon on a redis-server
# of its own. Those that are about the built-in store are marked `embedded`.
set -eu

if ! command -v redis-server > /dev/null; then
	echo 'skipped: there is no redis-server here'
	exit 77
fi
if [ "${BELLHOP_SANITIZE:-no}" != no ]; then
	echo 'skipped: the plain build runs them'
	exit 77
fi
BELLHOP_TEST_BACKEND=redis
export BELLHOP_TEST_BACKEND
exec sh "${srcdir:-.}/tests/blackbox.sh" "$@"
