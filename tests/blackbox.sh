#!/bin/sh
# SPDX-License-Identifier: MIT
# The tests of the whole daemon: pytest runs tests/blackbox and tests/wire
# against the programs that BELLHOPD and BELLHOPCTL name. Arguments go to
# pytest.
set -eu
cd "${srcdir:-$(dirname "$0")/..}"

if ! python3 -c 'import pytest, redis' 2> /dev/null; then
	echo 'python3-pytest or python3-redis is missing'
	exit 77
fi
exec python3 -m pytest -p no:cacheprovider -ra -q "$@" tests/blackbox tests/wire
