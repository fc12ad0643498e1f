#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Systole authors
# A sweep: every point once, also when it is killed and goes on; the cycles are those of `compile` and `run`; Slurm's script.
. "$(dirname "$0")/cli_testing.sh"
cp examples/digits/digits_int8.tflite "$work/digits.tflite"
cat >"$work/study.json" <<'JSON'
{"models": ["digits.tflite"], "rows": [8, 16, 32], "taps": [1, 3],
 "scratchpad_bytes": [16384, 65536, 262144, 524288, 1048576, 2097152, 4194304, 8388608, 16777216, 33554432]}
JSON
expect 0 "$SYSTOLE" sweep "$work/study.json" -o "$work/whole.csv"
holds "60 points and a head" test "$(wc -l <"$work/whole.csv")" -eq 61
holds "no point twice" test "$(cut -d, -f1-11 "$work/whole.csv" | sort -u | wc -l)" -eq 61
holds "the plot is XML" python3 -c 'import sys, xml.dom.minidom as d; d.parse(sys.argv[1])' "$work/whole.svg"
expect 0 "$SYSTOLE" run "$work/digits.tflite" --report "$work/run.json"
holds "cycles are those of the functional model" python3 - "$work/whole.csv" "$work/run.json" <<'PYTHON'
import csv, json, sys
total = json.load(open(sys.argv[2]))["cycles"]["total"]
rows = [r for r in csv.DictReader(open(sys.argv[1])) if (r["rows"], r["taps"], r["scratchpad_bytes"]) == ("16", "3", "8388608")]
assert [int(r["cycles"]) for r in rows] == [total], (rows, total)
PYTHON

# Killed: what was done stays, a half-written line is cut, the rest is done once.
"$SYSTOLE" sweep "$work/study.json" -o "$work/killed.csv" >/dev/null 2>&1 &
sweep=$!
for ((i = 0; i < 200; i++)); do
    [ "$(wc -l 2>/dev/null <"$work/killed.csv" || echo 0)" -gt 5 ] && break
    sleep 0.01
done
kill -KILL $sweep 2>/dev/null
wait $sweep 2>/dev/null
head -n 20 "$work/whole.csv" >"$work/cut.csv"
tail -n 1 "$work/whole.csv" | head -c 60 >>"$work/cut.csv"
for csv in killed cut; do
    expect 0 "$SYSTOLE" sweep "$work/study.json" -o "$work/$csv.csv"
    sort "$work/whole.csv" >"$work/a"
    sort "$work/$csv.csv" >"$work/b"
    holds "$csv: the same lines" cmp "$work/a" "$work/b"
done
cp "$work/cut.csv" "$work/before.csv"
expect 0 "$SYSTOLE" sweep "$work/study.json" -o "$work/cut.csv"
holds "nothing is measured again" cmp "$work/cut.csv" "$work/before.csv"

# The array's tasks, by hand.
expect 0 "$SYSTOLE" sweep "$work/study.json" -o "$work/array.csv" --slurm "$work/array.sh"
holds "60 tasks" grep -q '^#SBATCH --array=0-59$' "$work/array.sh"
for task in 3 0 59; do SLURM_ARRAY_TASK_ID=$task expect 0 bash "$work/array.sh"; done
holds "three tasks, three points" test "$(wc -l <"$work/array.csv")" -eq 4
expect 2 "$SYSTOLE" sweep "$work/study.json" -o "$work/array.csv" --point 60
# More points than an array may have tasks: each takes several.
python3 -c 'import json; json.dump({"models": ["digits.tflite"], "rows": list(range(1, 51)), "clock_hz": list(range(1, 51))}, open("'"$work"'/large.json", "w"))'
expect 0 "$SYSTOLE" sweep "$work/large.json" --slurm "$work/large.sh"
holds "1000 tasks" grep -q '^#SBATCH --array=0-999$' "$work/large.sh"
holds "2500 points" grep -q 'point < 2500; point += 1000' "$work/large.sh"

for bad in '{' '[]' '{"models": []}' '{"models": ["digits.tflite"], "rows": []}' '{"models": ["digits.tflite"], "rws": [8]}' \
    '{"models": ["digits.tflite"], "rows": [8, 8]}' '{"models": ["digits.tflite"], "device": "usb"}'; do
    echo "$bad" >"$work/bad.json"
    expect 2 "$SYSTOLE" sweep "$work/bad.json" -o "$work/bad.csv"
done
holds "a bad study writes nothing" test ! -e "$work/bad.csv"
echo '{"models": ["digits.tflite", "none.tflite"], "rows": [12, 16]}' >"$work/odd.json"
expect 0 "$SYSTOLE" sweep "$work/odd.json"
holds "what cannot be built is a result" test "$(grep -cE ',(refused|failed),0,' "$work/odd.csv")" -eq 3
holds "the closing line counts them" grep -q ': 4 points, 4 of them now: 1 ok, 2 refused, 1 failed; ' "$work/out"
echo '{"models": ["digits.tflite"], "rows": [12, 20]}' >"$work/none.json"
expect 2 "$SYSTOLE" sweep "$work/none.json"
holds "nothing could be measured" grep -q 'none of the 2 points could be measured' "$work/err"
holds "that is a result, too" test "$(grep -c ',refused,0,' "$work/none.csv")" -eq 2
expect 0 "$SYSTOLE" sweep "$work/none.json" --point 1
holds "a point of many says it" grep -q ': 1 points, 0 of them now: 1 refused$' "$work/out"
expect 2 "$SYSTOLE" sweep "$work/study.json" -o README.md
finish cli/test_sweep
