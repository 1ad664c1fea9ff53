# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Helpers for the steps of tools/test; see README.md here.
set -uo pipefail

total_passed=0 total_failed=0 total_skipped=0

count() {
	total_passed=$((total_passed + $1))
	total_failed=$((total_failed + $2))
	total_skipped=$((total_skipped + $3))
}

counts() {
	printf 'passed %d failed %d skipped %d\n' "$total_passed" "$total_failed" "$total_skipped"
}

# Run a program that ends with a line "N passed, N failed, N skipped" (and FAILED before, with reasons).
program() {
	local out rc=0
	out=$(mktemp "$TS_LOGS/program.XXXXXX")
	"$@" >"$out" 2>&1 || rc=$?
	cat "$out"
	if [[ $(tail -n 1 "$out") =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed,\ ([0-9]+)\ skipped$ ]]; then
		count "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}" "${BASH_REMATCH[3]}"
		[ "$rc" = 0 ] || [ "${BASH_REMATCH[2]}" -gt 0 ] || count 0 1 0
	else
		echo "FAIL $1 (exit $rc)"
		count 0 1 0
	fi
	rm -f "$out"
}

# Run suite $2 of build $1 (further arguments go to meson test) and count.  A suite without tests
# counts nothing.  With TS_QUICK=1 the tests that are in suite long, too, are skipped.
suite() {
	local build=$1 name=$2 base result long
	shift 2
	if [ -z "$build" ]; then
		return 0
	fi
	base=$name-$(basename "$build")
	rm -f "$build/meson-logs/$base.json"
	if [ "${TS_QUICK:-0}" = 1 ]; then
		long=$(meson test -C "$build" --no-rebuild --list --suite long 2>/dev/null | grep -Ec "^twinshore:([a-z]+\+)*$name\b")
		count 0 0 "$long"
		set -- --no-suite long "$@"
	fi
	meson test -C "$build" --no-rebuild --suite "$name" --logbase "$base" \
		--print-errorlogs "$@" </dev/null
	if [ ! -f "$build/meson-logs/$base.json" ]; then
		echo "no tests in suite $name of $(basename "$build")"
		return 0
	fi
	cp "$build/meson-logs/$base".* "$TS_LOGS/" 2>/dev/null
	result=$("$TS_ROOT/tools/test.d/count.py" "$build/meson-logs/$base.json") || result=""
	# The names of what failed, then the counts.
	sed '$d' <<<"$result"
	# shellcheck disable=SC2046
	count $(tail -n 1 <<<"${result:-0 1 0}")
}
