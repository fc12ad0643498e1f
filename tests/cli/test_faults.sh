#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Systole authors
# --faults: the results stay right in process and on the bus, each fault is told, scripts that are wrong are refused.
. "$(dirname "$0")/cli_testing.sh"
model=examples/digits/digits_int8.tflite

expect 0 "$SYSTOLE" run "$model" --output-dir "$work/good"
cat >"$work/script" <<SCRIPT
at 2 event corrupt
at 3 in wrong_tag
at 6 out length
at 9 data unplug 10
at 12 in stall
at 14 out nak
SCRIPT
told() {
    for fault in corrupt wrong_tag length unplug stall nak; do
        holds "$1: $fault is told" grep -q "^systole: fault: $fault at transfer" "$work/err"
    done
}
expect 0 "$SYSTOLE" run "$model" --repeat 20 --faults "$work/script" --output-dir "$work/model"
told "in process"
holds "the output is right in process" cmp "$work/good/output0.bin" "$work/model/output0.bin"
expect 0 "$SYSTOLE" verify "$model" --faults "$work/script"
holds "verify says so" grep -q 'outputs equal' "$work/out"
if "$SYSTOLE" serve fuse -- true >"$work/out" 2>"$work/err"; then
    expect 0 "$SYSTOLE" serve fuse --faults "$work/script" -- "$SYSTOLE" run "$model" --device usb --repeat 20 \
        --output-dir "$work/bus"
    told "on the bus"
    holds "the output is right on the bus" cmp "$work/good/output0.bin" "$work/bus/output0.bin"
else
    skip "a device on a FUSE bus: $(cat "$work/err")"
fi
expect 2 "$SYSTOLE" run "$model" --faults "$work/no-such-file"
echo "at 1 out explode" >"$work/bad"
expect 2 "$SYSTOLE" run "$model" --faults "$work/bad"
expect 2 "$SYSTOLE" serve fuse --faults "$work/bad" -- true
expect 2 "$SYSTOLE" run "$model" --device usb --faults "$work/script"
# A device that never recovers: status 3, one line.
echo "every 1 event stall" >"$work/always"
"$SYSTOLE" run "$model" --faults "$work/always" >"$work/out" 2>"$work/err"
holds "a device that always fails: status 3" test $? -eq 3
holds "and it says why" grep -q '^systole: error: endpoint 0x82: device stall' "$work/err"
finish cli/test_faults
