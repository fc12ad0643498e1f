# SPDX-License-Identifier: Apache-2.0
# Copyright The Systole authors
# What the tests of the command share; sourced by them. $SYSTOLE is the binary.
set -u
SYSTOLE=${SYSTOLE:-build/bin/systole}
shared=${SYSTOLE_SHARED:-../shared}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0 skipped=0
pass() { passed=$((passed + 1)); }
fail() {
    failed=$((failed + 1))
    echo "FAILED: $*"
    sed 's/^/    /' "$work/out" "$work/err" 2>/dev/null | head -n 12
}
skip() {
    skipped=$((skipped + 1))
    echo "skipped: $*"
}
# expect STATUS COMMAND...: the exit status must be that; output is in $work/out and $work/err. A failure (2 or 3) must
# say so in one line of the contract's form and nothing else.
expect() {
    local wanted=$1 got
    shift
    timeout 300 "$@" >"$work/out" 2>"$work/err" </dev/null
    got=$?
    if [ "$got" -ne "$wanted" ]; then
        fail "exit status $got, not $wanted: $*"
        return 1
    fi
    if [ "$wanted" -ge 2 ] && ! { [ "$(wc -l <"$work/err")" -eq 1 ] && grep -q '^systole: error: ' "$work/err"; }; then
        fail "not one clear error line: $*"
        return 1
    fi
    pass
}
# holds TEXT COMMAND...: the command must succeed.
holds() {
    local text=$1
    shift
    if "$@" >"$work/held" 2>&1; then pass; else fail "$text"; sed "s/^/    /" "$work/held" | head -n 12; fi
}
finish() {
    echo "$1: $passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ]
    exit
}
