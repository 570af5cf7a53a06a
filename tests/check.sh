# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2154
#
# `./setup check`: sourced by setup, whose functions and variables it uses.
# Every test runs in the plain build, whose summaries are printed; then again
# under the sanitizers, then the fuzzers, with a line of verdict each.

fuzz_seconds=20
passed=0
failed=0
broken=()		# what went wrong, a line each

# fail SENTENCE [LOG]
fail()
{
	broken+=("$1")
	printf 'FAILED: %s\n' "$1"
	if [ -n "${2:-}" ] && [ -e "$2" ]; then
		printf -- '---- the end of %s\n' "$2"
		tail -n 120 "$2"
		printf -- '----\n'
	fi
}

# The names that `make list-…` knows: see Makefile.am.
list()
{
	make -s -C "$build/plain" "list-$1"
}

# trs_failed DIR TEST: whether automake's harness saw this test fail. No
# result at all is a failure too.
trs_failed()
{
	! grep -q '^:global-test-result: PASS' "$1/${2%.sh}.trs" 2> /dev/null
}

# The number that ends a cmocka line such as "[  PASSED  ] 7 test(s).".
cmocka_count()
{
	sed -nE "s/^\[  $1  \] ([0-9]+) test.*/\1/p" "$2" | tail -n 1
}

show_cmocka()
{
	local dir=$1 test=$2 log=$1/$2.log good bad

	printf '%s\n' "$test"
	grep -E '^\[(==========|  PASSED  |  FAILED  |  SKIPPED )\]' "$log" |
	    grep -v 'Running' || true
	good=$(cmocka_count PASSED "$log")
	bad=$(cmocka_count FAILED "$log")
	passed=$((passed + ${good:-0}))
	failed=$((failed + ${bad:-0}))
	if trs_failed "$dir" "$test"; then
		# A program that died has no line of its own for it.
		[ "${bad:-0}" != 0 ] || failed=$((failed + 1))
		fail "$test" "$log"
	fi
}

# The last "3 passed, 1 failed in 2.50s" of pytest.
pytest_count()
{
	grep -E '^=* ?.*[0-9]+ (passed|failed|error).* in [0-9.]+s' "$2" |
	    tail -n 1 | grep -oE "[0-9]+ $1" | cut -d' ' -f1 || true
}

show_pytest()
{
	local dir=$1 test=$2 log good bad errors
	log=$dir/${test%.sh}.log

	printf '%s\n' "$test"
	grep -E '^(=* ?.*[0-9]+ (passed|failed|error).* in [0-9.]+s|SKIPPED|FAILED|ERROR)' \
	    "$log" || true
	good=$(pytest_count passed "$log")
	bad=$(pytest_count failed "$log")
	errors=$(pytest_count error "$log")
	passed=$((passed + ${good:-0}))
	failed=$((failed + ${bad:-0} + ${errors:-0}))
	if trs_failed "$dir" "$test"; then
		[ "$((${bad:-0} + ${errors:-0}))" != 0 ] ||
			failed=$((failed + 1))
		fail "$test" "$log"
	fi
}

check_plain()
{
	local dir=$build/plain test

	say "tests, plain build"
	make -C "$dir" -k -j"$jobs" check > "$dir/check.out" 2>&1 \
	    < /dev/null || true
	for test in $(list cmocka); do
		if [ ! -e "$dir/$test.log" ]; then
			failed=$((failed + 1))
			fail "$test did not run" "$dir/check.out"
		else
			show_cmocka "$dir" "$test"
		fi
	done
	for test in $(list lint); do
		if trs_failed "$dir" "$test"; then
			fail "$test" "$dir/${test%.sh}.log"
		else
			printf '%s: ok\n' "$test"
		fi
	done
	for test in $(list blackbox); do
		show_pytest "$dir" "$test"
	done
}

check_shell()
{
	local log=$build/shellcheck.out

	if shellcheck -x setup tests/check.sh tests/*/*.sh .ci/run \
	    > "$log" 2>&1; then
		echo 'shellcheck: ok'
	else
		fail shellcheck "$log"
	fi
}

# check_sanitized NAME WHAT TESTS CONFIGURE-ARGUMENT …
check_sanitized()
{
	local name=$1 what=$2 tests=$3 test bad=()
	shift 3

	build_in "$name" --enable-werror "$@"
	# Address space randomization beyond 28 bits confuses older TSan.
	local plain_addresses=()
	if setarch -R true 2> /dev/null; then
		plain_addresses=(setarch -R)
	fi
	"${plain_addresses[@]}" make -C "$build/$name" -k -j"$jobs" check \
	    TESTS="$tests" > "$build/$name/check.out" 2>&1 < /dev/null || true
	for test in $tests; do
		if trs_failed "$build/$name" "$test"; then
			bad+=("$test")
			fail "$test under $what" "$build/$name/${test%.sh}.log"
		fi
	done
	# shellcheck disable=SC2086
	set -- $tests
	if [ ${#bad[@]} = 0 ]; then
		printf '%s: clean (%d programs)\n' "$what" $#
	else
		printf '%s: %d of %d programs failed\n' "$what" ${#bad[@]} $#
	fi
}

fuzz_one()
{
	local program=$1 name dir
	name=$(basename "$program")
	dir=$build/fuzz/corpus/$name

	mkdir -p "$dir"
	set -- "$dir"
	[ ! -d "$top/tests/fuzz/corpus/$name" ] ||
		set -- "$@" "$top/tests/fuzz/corpus/$name"
	"$build/fuzz/$program" -max_total_time=$fuzz_seconds -rss_limit_mb=1024 \
	    -timeout=5 -artifact_prefix="$build/fuzz/$name-" \
	    -print_final_stats=1 "$@"
}

check_fuzzers()
{
	local program name log running=() programs

	programs=$(list fuzz)
	build_in fuzz CC=clang --enable-werror --enable-fuzzers \
	    CFLAGS='-O1 -g'
	for program in $programs; do
		fuzz_one "$program" > "$build/fuzz/$(basename "$program").out" \
		    2>&1 < /dev/null &
		running+=($!)
	done
	for program in $programs; do
		name=$(basename "$program")
		log=$build/fuzz/$name.out
		if wait "${running[0]}"; then
			printf '%s: nothing found in %s runs (%d s)\n' \
			    "$name" "$(sed -n \
			    's/^stat::number_of_executed_units: *//p' \
			    "$log")" $fuzz_seconds
		else
			fail "$name" "$log"
		fi
		running=("${running[@]:1}")
	done
}

check_all()
{
	local line

	check_plain
	check_shell
	say "tests again, under sanitizers"
	# The second pass over the daemon, on Redis, is the plain build's.
	check_sanitized asan 'ASan + UBSan' \
	    "$(list cmocka) tests/blackbox.sh" \
	    --enable-sanitize=address,undefined CFLAGS='-O1 -g'
	check_sanitized tsan TSan "$(list cmocka)" \
	    --enable-sanitize=thread CFLAGS='-O1 -g'
	say "fuzzers"
	check_fuzzers

	say "all tests of the plain build"
	for line in "${broken[@]}"; do
		printf 'FAILED: %s\n' "$line"
	done
	printf '%d passed, %d failed\n' "$passed" "$failed"
	[ ${#broken[@]} = 0 ]
}
