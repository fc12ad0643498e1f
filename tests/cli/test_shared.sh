#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Systole authors
# --shared: programs take turns on one device and every result is right, whoever is killed between; who has it alone keeps it.
. "$(dirname "$0")/cli_testing.sh"
model=$PWD/examples/digits/digits_int8.tflite
systole=$(realpath "$SYSTOLE")
if ! "$SYSTOLE" serve fuse -- true >"$work/out" 2>"$work/err"; then
    skip "a device on a FUSE bus: $(cat "$work/err")"
    finish cli/test_shared
fi
for seed in 1 2 3; do
    expect 0 "$SYSTOLE" run "$model" --seed $seed --output-dir "$work/right$seed"
done
cat >"$work/turns" <<TURNS
run() { "$systole" run "$model" --device usb "\$@"; }
for seed in 1 2 3; do
    (run --shared --repeat 15 --seed \$seed --output-dir "$work/turn\$seed" >"$work/log\$seed" 2>&1; echo \$? >"$work/status\$seed") &
done
"$systole" run "$model" --device usb --shared --repeat 100000 >"$work/killed" 2>&1 &
sleep 0.3
kill -9 \$!
wait
# Alone: the others wait until it is done.
(run --repeat 30 >"$work/alone" 2>&1; echo \$? >"$work/status_alone") &
sleep 0.1
run --shared --output-dir "$work/after" >"$work/log_after" 2>&1
echo \$? >"$work/status_after"
wait
TURNS
expect 0 "$SYSTOLE" serve fuse -- bash "$work/turns"
for seed in 1 2 3; do
    holds "program $seed ends well: $(tail -n 1 "$work/log$seed")" test "$(cat "$work/status$seed")" = 0
    holds "and is right" cmp "$work/right$seed/output0.bin" "$work/turn$seed/output0.bin"
done
holds "who is alone is not disturbed" test "$(cat "$work/status_alone")" = 0
holds "who came later is right: $(tail -n 1 "$work/log_after")" cmp "$work/right1/output0.bin" "$work/after/output0.bin"
expect 0 "$SYSTOLE" run "$model" --shared --output-dir "$work/process" # in process nobody else can have it
finish cli/test_shared
