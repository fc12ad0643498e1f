#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Systole authors
# Reads ten handwritten digits on the RTL, through the driver, and holds every tensor against the CPU runtime.
# usage: demo.sh SYSTOLE
set -euo pipefail
systole=$1
here=$(dirname "$0")
model=$here/digits_int8.tflite
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The last 64 bytes of a picture are its pixels, 0 to 16, and those are the input tensor's bytes.
draw() {
    od -An -v -t u1 -w8 "$1" | awk '{ line = "    "; for (i = 1; i <= 8; i++) { c = substr(" .:-=+*#%@", int($i * 9 / 16) + 1, 1); line = line c c } print line }'
}

wrong=0
for picture in "$here"/pictures/*.pgm; do
    label=$(basename "$picture" .pgm)
    tail -c 64 "$picture" >"$work/input.bin"
    "$systole" verify "$model" --device rtl --input "$work/input.bin" >"$work/verify.txt"
    "$systole" run "$model" --device rtl --input "$work/input.bin" --report "$work/report.json" >"$work/run.txt"
    digit=$(sed -n 's/.*largest at \([0-9]*\):.*/\1/p' "$work/run.txt")
    if [ "$label" = 3 ]; then
        draw "$work/input.bin"
        cp "$work/run.txt" "$work/chart.txt"
    fi
    verdict=right
    if [ "$digit" != "$label" ]; then
        verdict=WRONG
        wrong=$((wrong + 1))
    fi
    printf 'picture of a %s: the RTL says %s (%s); %s\n' "$label" "$digit" "$verdict" \
        "$(sed -n 's/^rtl: \(.*tensors equal to the CPU.s\).*/\1/p' "$work/verify.txt")"
done
echo
echo "Cycles of each operator of one inference, from the RTL's retirement trace:"
cat "$work/chart.txt"
[ "$wrong" -eq 0 ]
