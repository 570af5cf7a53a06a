#!/bin/sh
# SPDX-License-Identifier: MIT
# The tests of the whole daemon: pytest runs tests/blackbox and tests/wire
# against the programs that BELLHOPD and BELLHOPCTL name. Arguments go to
# pytest.
set -eu
cd "${srcdir:-$(dirname "$0")/..}"

# The first python3 may be somebody's own, without Debian's modules.
for python in python3 /usr/bin/python3 none; do
	if "$python" -c 'import pytest, redis' 2> /dev/null; then
		break
	fi
done
if [ "$python" = none ]; then
	echo 'python3-pytest or python3-redis is missing'
	exit 77
fi
# Most of a test's time is waiting for a lease or a back-off.
if "$python" -c 'import xdist' 2> /dev/null; then
	set -- -n "${BELLHOP_TEST_WORKERS:-4}" --dist loadfile "$@"
fi
exec "$python" -m pytest -p no:cacheprovider -ra -q "$@" tests/blackbox \
    tests/wire
