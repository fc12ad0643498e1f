#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Systole authors
# kill -9 of `systole serve fuse`, or of its server process, in the midst of transfers: the client ends with status 3
# and one clear line, and soon.
. "$(dirname "$0")/cli_testing.sh"
model=examples/digits/digits_int8.tflite

# ended SECONDS FILE: waits for FILE.
ended() {
    local tries=$(($1 * 10))
    while [ ! -s "$2" ] && [ "$tries" -gt 0 ]; do
        sleep 0.1
        tries=$((tries - 1))
    done
    [ -s "$2" ]
}

if "$SYSTOLE" serve fuse -- true >"$work/out" 2>"$work/err"; then
    for victim in command server; do
        rm -f "$work/status" "$work/started"
        # The loop runs until its device fails.
        cat >"$work/client.sh" <<CLIENT
echo \$\$ >"$work/started"
"$SYSTOLE" run "$model" --device usb --repeat 1000000 >"$work/out" 2>"$work/err"
echo \$? >"$work/status"
CLIENT
        "$SYSTOLE" serve fuse -- sh "$work/client.sh" >/dev/null 2>&1 &
        command=$!
        holds "the client starts ($victim)" ended 10 "$work/started"
        sleep 1
        if [ "$victim" = server ]; then
            kill -9 "$(ps -o pid= --ppid "$command" | tr -d ' ')"
        else
            kill -9 "$command"
        fi
        wait "$command" 2>/dev/null
        if holds "the client ends ($victim)" ended 40 "$work/status"; then
            holds "with status 3 ($victim)" grep -qx 3 "$work/status"
            holds "and one line that says why ($victim)" grep -q '^systole: error: ' "$work/err"
        else
            kill "$(cat "$work/started")"
        fi
    done
else
    skip "a device on a FUSE bus: $(cat "$work/err")"
fi
finish cli/test_server_killed
