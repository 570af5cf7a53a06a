#!/bin/sh
# SPDX-License-Identifier: MIT
# doc/COMMANDS.md is what the tables of commands say. With -p the page is
# printed: tests/lint/commands.sh -p > doc/COMMANDS.md
set -eu
cd "${srcdir:-$(dirname "$0")/../..}"

# name|arguments|help of each row; strings that stand side by side are one.
rows() {
	{
		cat <<'END'
#define CMD(name, arity, role, flags, fn, args, help) @ name $ args $ help
#define KEYCMD(name, arity, flags, first, last, step, fn, args, help) \
	@ name $ args $ help
END
		cat src/cmd/cmd.def src/base/keyspace.def
	} | ${CC:-cc} -E -P -x c - | tr '\n' ' ' | tr '@' '\n' |
	    sed -E 's/" +"//g; s/^ *"//; s/" *\$ *"/|/g; s/" *$//' |
	    grep '|' | LC_ALL=C sort -t'|' -k1,1
}

groups() {
	sed -nE 's/^GROUP\("([^"]*)", "([^"]*)"\)$/\1 \2/p' src/cmd/group.def
}

# Puts each row's group in front of it: the first pattern that matches.
grouped() {
	rows | while IFS= read -r row; do
		groups | {
			while read -r pattern group; do
				# A pattern is one here, too.
				# shellcheck disable=SC2254
				case ${row%%|*} in
				$pattern)
					printf '%s|%s\n' "$group" "$row"
					break ;;
				esac
			done
			cat >/dev/null
		}
	done
}

page() {
	cat <<'END'
# Commands

All commands of the RESP door, made from the tables in `src/` by
`tests/lint/commands.sh -p`. [PROTOCOL.md](PROTOCOL.md) says what they do;
those of keys are Redis' own, with its arguments and replies. `COMMAND DOCS`
shows the same at run time.
END
	all=$(grouped)
	for group in module connection server generic string bitmap hash \
	    list set sorted-set stream pubsub transactions scripting; do
		mine=$(printf '%s\n' "$all" | grep "^$group|") || continue
		case $group in
		module) title='Jobs, queues, schedules, limits' ;;
		connection) title='The connection' ;;
		server) title='The daemon' ;;
		generic) title='Keys of any type' ;;
		string) title='Strings' ;;
		bitmap) title='Bits of strings' ;;
		hash) title='Hashes' ;;
		list) title='Lists' ;;
		set) title='Sets' ;;
		sorted-set) title='Sorted sets' ;;
		stream) title='Streams' ;;
		pubsub) title='Topics' ;;
		transactions) title='Transactions' ;;
		scripting) title='Scripts in the store' ;;
		esac
		printf '\n## %s\n\n| command | |\n|---|---|\n' "$title"
		printf '%s\n' "$mine" | while IFS= read -r row; do
			row=${row#*|}
			name=${row%%|*}
			row=${row#*|}
			help=${row##*|}
			args=${row%|*}
			args=$(printf '%s' "$args" | sed 's/|/\\|/g')
			# Backticks are markdown's.
			# shellcheck disable=SC2016
			printf '| `%s` | %s |\n' "$name${args:+ $args}" \
			    "$help"
		done
	done
}

if [ "${1:-}" = -p ]; then
	page
	exit
fi
if ! page | diff - doc/COMMANDS.md; then
	echo 'doc/COMMANDS.md differs from the tables of commands; run'
	echo 'tests/lint/commands.sh -p > doc/COMMANDS.md'
	exit 1
fi
