#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Systole authors
# A device that computes wrong: verify names what is wrong, and --dump-waves writes the command that did it. The model that
# writes waves is not part of the normal build (`make rtl-trace`); without it the refusal is what is tested.
. "$(dirname "$0")/cli_testing.sh"
model=examples/digits/digits_int8.tflite
echo 'at 4 out flip 3000' >"$work/flip" # a weight, on its way to the scratchpad

# What is wrong, on the functional model: everything that the contract names.
expect 1 "$SYSTOLE" verify "$model" --faults "$work/flip"
sed -n 's/^  different: //p' "$work/out" | head -n 1 >"$work/first_model"
holds "the first difference is named whole" grep -qxE 'operator [0-9]+ \([A-Z0-9_]+\), tensor [0-9]+ \([^)]+\), element [0-9]+: expected -?[0-9]+, found -?[0-9]+; segment [0-9]+, command [0-9]+, cycle [0-9]+' "$work/first_model"
first=$(sed -E 's/^(operator [0-9]+) \(([A-Z0-9_]+)\), (tensor [0-9]+) \((.*)\), (element [0-9]+): .*/\1 \2, \3 \4/' "$work/first_model")
holds "the error names the same operator and tensor" grep -qF "($first)" "$work/err"
holds "a flip that no byte has does nothing" sh -c "echo 'at 1 out flip 99999999' >'$work/never' && '$SYSTOLE' verify '$model' --faults '$work/never'"

expect 2 "$SYSTOLE" verify "$model" --dump-waves "$work/waves.fst"
expect 2 "$SYSTOLE" verify "$model" --device rtl --waves-command 1
for bad in x 1: :1 1:2:3 -1 1:x; do
    expect 2 "$SYSTOLE" verify "$model" --device rtl --dump-waves "$work/waves.fst" --waves-command "$bad"
done
cp "$model" "$work/model.tflite"
cp "$SYSTOLE" "$work/systole"
holds "refused where the model with waves is missing" sh -c "cd '$work' && ./systole verify model.tflite --device rtl \
    --dump-waves waves.fst >out 2>err; test \$? -eq 2 && grep -q 'make rtl-trace TARGET=systole16' err"

"$SYSTOLE" verify "$model" --device rtl --dump-waves "$work/waves.fst" >"$work/out" 2>"$work/err"
if grep -q 'make rtl-trace' "$work/err"; then
    [ -z "${SYSTOLE_TEST_ALL:-}" ] || fail "no Verilated model that writes waves"
    skip "waves: \`make rtl-trace\` was not run"
    finish cli/test_waves
fi
holds "nothing differs, nothing is written" test ! -e "$work/waves.fst"

# check_waves: of the file that the last command says it wrote. An FST begins with a block of type 0 of 329 bytes, then the
# first and the last time.
check_waves() {
    local wanted
    wanted=$(sed -nE 's/.*: command ([0-9]+) of segment 0, cycles ([0-9]+) to ([0-9]+) and 16 on either side.*/\1 \2 \3/p' "$work/out")
    holds "$1: an FST of that window" python3 - "$work/waves.fst" $wanted <<'PYTHON'
import struct, sys
kind, length, first, last = struct.unpack(">BQQQ", open(sys.argv[1], "rb").read(25))
start, end = int(sys.argv[3]), int(sys.argv[4])
assert (kind, length) == (0, 329), (kind, length)
assert first == 10 * max(start - 16, 0) and last // 10 >= end, (first, last, start, end)
PYTHON
    if ! command -v fst2vcd >/dev/null; then
        skip "fst2vcd (gtkwave) is not installed"
        return
    fi
    # The command retires in its last cycle; the array's insides are not there.
    fst2vcd "$work/waves.fst" >"$work/waves.vcd" 2>/dev/null
    holds "$1: the command retires in it" python3 - "$work/waves.vcd" $wanted <<'PYTHON'
import re, sys
command, start, end = map(int, sys.argv[2:])
names, values, time, scopes, retired = {}, {}, 0, [], {}
lines = open(sys.argv[1]).read().split("\n")
for line in lines:
    word = line.split()
    if not word:
        continue
    if word[0] == "$scope":
        scopes.append(word[2])
    elif word[0] == "$upscope":
        scopes.pop()
    elif word[0] == "$var":
        assert not any("systolic_array" in s or "tap_datapath" in s for s in scopes) or word[1] == "parameter", line
        if len(scopes) == 1:
            names[word[3]] = word[4]
    elif word[0][0] == "#":
        if time // 10 == end and "retire_o" in values:
            retired.setdefault(end, dict(values))
        time = int(word[0][1:])
    elif word[0][0] == "b" and word[1] in names:
        values[names[word[1]]] = int(re.sub("[xz]", "0", word[0][1:]), 2)
now = retired[end]
units = [u for u in range(5) if now["retire_o"] >> u & 1]
assert command in [now[f"retire_index_o[{u}]"] for u in units], (units, now)
assert now["run_cycle_o"] == end, now["run_cycle_o"]
PYTHON
}
expect 1 "$SYSTOLE" verify "$model" --device rtl --faults "$work/flip" --dump-waves "$work/waves.fst"
sed -n 's/^  different: //p' "$work/out" | head -n 1 >"$work/first_rtl"
holds "model and RTL name the same element" cmp <(cut -d';' -f1 "$work/first_model") <(cut -d';' -f1 "$work/first_rtl")
holds "the command that wrote it" grep -q "command $(sed 's/.*command \([0-9]*\),.*/\1/' "$work/first_rtl") of segment 0" "$work/out"
check_waves "a fault"
rm -f "$work/waves.fst"
expect 0 "$SYSTOLE" verify "$model" --device rtl --dump-waves "$work/waves.fst" --waves-command 5
holds "command 5" grep -q "command 5 of segment 0" "$work/out"
check_waves "on request"
rm -f "$work/waves.fst"
expect 2 "$SYSTOLE" verify "$model" --device rtl --dump-waves "$work/waves.fst" --waves-command 1:5
expect 2 "$SYSTOLE" verify "$model" --device rtl --dump-waves "$work/no/waves.fst" --waves-command 5
holds "no part of a file is left" test -z "$(ls "$work" | grep waves.fst)"
finish cli/test_waves
