#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The life of a few real jobs: demo.sh DIRECTORY-OF-THE-PROGRAMS
#
# Starts a real bellhopd in a temporary directory, gives it work, kills it,
# starts it again, and says at each step what should happen; it ends with a
# failure when that does not happen. Leaves nothing running and no files.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bin=${1:?the directory of bellhopd and bellhopctl}
dir=$(mktemp -d "${TMPDIR:-/tmp}/bellhop-demo.XXXXXX")
socket=$dir/bellhop.sock
daemon=

cleanup()
{
	if [ -n "$daemon" ]; then
		kill -9 "$daemon" 2> /dev/null || true
		wait "$daemon" 2> /dev/null || true
	fi
	rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 1' INT TERM HUP

title()
{
	printf '\n== %s\n' "$*"
}

die()
{
	printf '\ndemo: %s\n' "$*" >&2
	printf 'demo: the daemon said:\n' >&2
	tail -n 40 "$dir/log" >&2
	exit 1
}

ctl()
{
	"$bin/bellhopctl" --socket "$socket" "$@"
}

# show COMMAND …: as a person would see it.
show()
{
	printf '\n$ bellhopctl'
	printf ' %s' "$@"
	printf '\n'
	ctl "$@" || die "bellhopctl $* failed"
}

free_port()
{
	local port

	for port in $(shuf -i 20000-30000 -n 50); do
		if ! (: < "/dev/tcp/127.0.0.1/$port") 2> /dev/null; then
			echo "$port"
			return
		fi
	done
	die 'found no free TCP port'
}

start_daemon()
{
	"$bin/bellhopd" --config "$dir/bellhop.conf" --foreground \
	    >> "$dir/log" 2>&1 < /dev/null &
	daemon=$!
	for _ in $(seq 100); do
		if ctl status > /dev/null 2>&1; then
			return
		fi
		kill -0 "$daemon" 2> /dev/null || die 'the daemon ended'
		sleep 0.05
	done
	die 'the daemon does not answer'
}

# add QUEUE DATA: prints the new job's id.
add()
{
	ctl --json add "$1" "$2" | grep -oE '[0-9]+' | head -n 1
}

# expect ID STATE: waits until the job is in that state.
expect()
{
	for _ in $(seq 200); do
		if ctl --json job "$1" 2> /dev/null |
		    grep -qE "\"state\": *\"$2\""; then
			return
		fi
		sleep 0.05
	done
	ctl job "$1" >&2 || true
	die "job $1 is not $2 after 10 seconds"
}

mkdir "$dir/state" "$dir/scripts"
port=$(free_port)
cat > "$dir/bellhop.conf" <<CONF
state_dir = "$dir/state";
scripts_dir = "$dir/scripts";
listen = { resp = [ "unix:$socket", "127.0.0.1:$port" ]; };
CONF
cp "$here"/greet.lua "$here"/print.lua "$here"/invoice.lua "$dir/scripts/"

title 'Bellhop starts: one daemon, one SQLite file, three Lua scripts'
start_daemon
show status
show script list

title 'A job that completes'
id=$(add greet '{"name":"Ada"}')
expect "$id" completed
show job "$id"

title 'A job that fails twice and then completes'
id=$(add print '{"page":"menu"}')
expect "$id" completed
show job "$id"

title 'A job that fails for good: the script has a bug'
dead=$(add invoice '{"room":12,"nights":3,"rate":80}')
expect "$dead" failed
show job "$dead"
show errors invoice

title 'The script is mended and reloaded; the dead letter is retried'
sed 's/job\.data\.price/job.data.rate/' "$here/invoice.lua" \
    > "$dir/invoice.new"
mv "$dir/invoice.new" "$dir/scripts/invoice.lua"
show reload
show retry "$dead"
expect "$dead" completed
show job "$dead"

title 'A job that waits while the daemon is killed with kill -9'
show pause greet
id=$(add greet '{"name":"Grace"}')
expect "$id" waiting
show why "$id"
printf '\n$ kill -9 %s\n' "$daemon"
kill -9 "$daemon"
wait "$daemon" 2> /dev/null || true
daemon=
printf '\n(the daemon starts again on the same file)\n'
start_daemon
expect "$id" waiting
show why "$id"
show resume greet
expect "$id" completed
show job "$id"

title 'What the queues look like now'
show queues

title 'Bellhop is asked to end'
printf '\n$ kill -TERM %s\n' "$daemon"
kill -TERM "$daemon"
status=0
wait "$daemon" || status=$?
daemon=
[ $status = 0 ] || die "bellhopd ended with status $status"
printf '\nEverything happened as it should.\n'
