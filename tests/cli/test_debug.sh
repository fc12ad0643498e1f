#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Systole authors
# systole debug: a script holds a small model at operators and commands, looks at the tensors written so far and compares
# them with the CPU's, goes on to the end, and the result is right; in process, on RTL and over USB.
. "$(dirname "$0")/cli_testing.sh"
model=examples/digits/digits_int8.tflite
cat >"$work/script" <<SCRIPT
registers identity
break operator sum          # the ADD
break command 0:20
breakpoints
run
where
units
tensors
list
compare first
compare pointwise1
registers debug_state
set scratch 0x1234
registers scratch
memory input:0 2
step
box
step
next
delete 0
continue
registers breakpoint
compare sum
dump first $work/first.bin
delete
continue
output
units
SCRIPT
# Written in the same order everywhere: what was seen must not depend on the device.
session() {
    expect 0 "$@" "$work/script" || return
    holds "$*: held at the operator, then at the command" python3 - "$work/out" <<'PYTHON'
import re, sys
text = open(sys.argv[1]).read()
stops = re.findall(r"stopped in segment 0 before command (\d+) of 36, operator (\d+) (\w+), \d+ cycles(.*)", text)
assert stops[0][1:] == ("3", "ADD", ", breakpoint 0") and stops[1] == stops[0], stops
assert int(stops[3][0]) == int(stops[0][0]) + 2 and stops[4][1] != stops[3][1], stops
assert stops[5][0] == "20" and "breakpoint 1" in stops[5][3], stops
assert re.search(r"command %s wrote sum \[0:1, 0:8, 0:32\], 256 elements" % stops[0][0], text)
assert text.count("equal to the CPU's") == 5 and "outputs equal" in text, text
assert re.search(r"identity = 0x0000000153595354 +magic=1398362964 +interface=1", text)
assert re.search(r"debug_state = .* held=1 +still=1 .* matched=1 +command=%s" % stops[0][0], text)
assert re.search(r"scratch = 0x0000000000001234", text)
assert re.search(r"^array +15 +15 +0 +0 ", text, re.M), "the array's 15 commands have retired"
assert re.search(r"the inference has ended after \d+ cycles", text)
first = re.search(r"first 1x8x8x32: (\d+) of 2048 elements written", text)
assert first and 0 < int(first[1]) <= 2048
PYTHON
    holds "$*: the tensor was dumped" test "$(wc -c <"$work/first.bin")" -eq 2048
    grep -v '^ *[0-9]*:\|cycles$' "$work/out" | sed 's/, [0-9]* cycles//' >"$work/seen_$seen"
    seen=$((seen + 1))
}
seen=0
session "$SYSTOLE" debug "$model"
if "$SYSTOLE" run "$model" --device rtl >"$work/out" 2>"$work/err"; then
    session "$SYSTOLE" debug "$model" --device rtl
    holds "RTL and model say the same" cmp "$work/seen_0" "$work/seen_1"
else
    skip "a session on RTL: $(cat "$work/err")"
fi
if "$SYSTOLE" serve fuse -- true >"$work/out" 2>"$work/err"; then
    session "$SYSTOLE" serve fuse -- "$SYSTOLE" debug "$model" --device usb
    holds "USB and model say the same" cmp "$work/seen_0" "$work/seen_$((seen - 1))"
else
    skip "a session over USB: $(cat "$work/err")"
fi
# Every command, one by one; the result is the same.
expect 0 "$SYSTOLE" debug "$model" -c step -c 'step 34' -c step -c where -c tensors -c 'compare pool' -c continue -c output
holds "35 steps to the last command" grep -q 'before command 35 of 36' "$work/out"
holds "over and over" grep -q 'outputs equal' "$work/out"
expect 0 "$SYSTOLE" debug "$model" -c next -c next -c next -c quit
holds "next goes by operators" test "$(grep -c '^stopped' "$work/out")" -eq 3
# Another target: what one command wrote.
expect 0 "$SYSTOLE" debug "$model" --target tests/targets/systole16_256k.json -c 'b 12' -c run -c box -c continue -c output
# From standard input; quitting lets the run end.
printf 'break 5\nrun\nquit\n' | "$SYSTOLE" debug "$model" >"$work/out" 2>"$work/err"
holds "commands from standard input" test $? -eq 0
# After a failure memory and registers can still be seen.
echo "at 100 control parity 3" >"$work/faults"
"$SYSTOLE" debug "$model" --faults "$work/faults" -c run -c registers -c registers -c run -c 'registers error' -c 'memory 3' -c units -c continue \
    -c run -c output >"$work/out" 2>"$work/err"
holds "a failure: status 1" test $? -eq 1
holds "a failure is told" grep -q 'the device has failed: .*parity' "$work/out"
holds "a failure: the error register" grep -q 'error=10 (parity)' "$work/out"
holds "a failure: the word" grep -q 'wrong parity$' "$work/out"
holds "the next run is right" grep -q 'outputs equal' "$work/out"
# What is wrong is said, and the status shows it.
for wrong in 'break 36' 'break operator nothing' 'registers nothing' 'set identity 1' 'memory nowhere:0' 'memory 99999999' \
    continue 'print nothing' 'compare 1' explode 'break operator 9'; do
    expect 1 "$SYSTOLE" debug "$model" -c "$wrong"
    holds "$wrong: an error" grep -q '^error: ' "$work/out"
done
expect 2 "$SYSTOLE" debug
expect 2 "$SYSTOLE" debug "$model" --device nothing
finish cli/test_debug
