#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Systole authors
# Makes every artefact of one tiny model afresh and compares it with what is committed; with --update takes it over.
# usage: walk.sh SYSTOLE RECORD_WALK [--update]
set -euo pipefail
systole=$1
recorder=$2
here=$(dirname "$0")
model=examples/digits/digits_int8.tflite
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
tail -c 64 examples/digits/pictures/3.pgm >"$fresh/input.bin"
"$systole" compile "$model" -o "$fresh/program.systole" --dump-passes "$fresh/passes.txt" >/dev/null
"$systole" inspect "$fresh/program.systole" >"$fresh/graph.txt"
"$systole" disassemble "$fresh/program.systole" >"$fresh/program.txt"
"$recorder" "$model" "$fresh/input.bin" "$fresh"
"$systole" run "$model" --device rtl --input "$fresh/input.bin" >"$fresh/output.txt"
status=0
for file in graph.txt passes.txt program.txt bus.txt retired.txt output.txt; do
    if [ "${3:-}" = --update ]; then
        cp "$fresh/$file" "$here/$file"
    elif ! diff -u "$here/$file" "$fresh/$file" >"$fresh/difference"; then
        head -n 20 "$fresh/difference"
        echo "walk: tests/walk/$file is stale: look at the difference, then make walk UPDATE=1"
        status=1
    fi
done
[ "$status" -eq 0 ] && echo "walk: 6 artefacts as committed"
exit "$status"
