# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# What the tests share: one line for each check, and their sum as exit status.
fails=0
ok()   { echo "ok   - $*"; }
bad()  { echo "FAIL - $*"; fails=$((fails + 1)); }
# check TEXT COMMAND …
check() { local text=$1; shift; if "$@"; then ok "$text"; else bad "$text ($*)"; fi; }
# wait_for SECONDS COMMAND …
wait_for()
{
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.1
	done
}
prop() { systemctl show -P "$1" bellhop.service; }
main_pid() { prop MainPID; }
active() { [ "$(prop ActiveState)/$(prop SubState)" = active/running ]; }
restarted() { active && [ "$(main_pid)" != "$1" ]; }
state_of() { bellhopctl --json job "$1" | jq -r .state; }
completed() { [ "$(state_of "$1")" = completed ]; }
