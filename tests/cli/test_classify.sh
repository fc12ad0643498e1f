#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Systole authors
# examples/classify on a picture that is made here, on every device, and on the large networks' real photograph.
. "$(dirname "$0")/cli_testing.sh"
export SYSTOLE
classify=examples/classify/classify.py
model=examples/digits/digits_int8.tflite
printf '%s\n' zero one two three four five six seven eight nine >"$work/labels.txt"
nl -v 0 -w 1 "$work/labels.txt" | tac >"$work/numbered.txt"
head -n 9 "$work/labels.txt" >"$work/without_first.txt"
head -n 7 "$work/labels.txt" >"$work/few.txt"

for digit in 0 4 7; do
    python3 "$(dirname "$0")/make_inputs.py" "$work" "examples/digits/pictures/$digit.pgm" || exit 1
    name=$(sed -n "$((digit + 1))p" "$work/labels.txt")
    for device in cpu model rtl; do
        expect 0 "$classify" "$work/digit.png" "$model" "$work/labels.txt" --scale 1/255 --device $device
        holds "$digit is $name on $device" awk -v n="$digit" -v name="$name" \
            'NR == 1 {good = $2 == n && $3 == name && $1 > 0.5} $1 > last && NR > 1 {good = 0} {last = $1} END {exit !(good && NR == 5)}' "$work/out"
        cp "$work/out" "$work/$device.txt"
    done
    holds "the RTL's scores are the CPU's" cmp "$work/cpu.txt" "$work/rtl.txt"
    holds "the model's scores are the CPU's" cmp "$work/cpu.txt" "$work/model.txt"
done
expect 0 "$SYSTOLE" compile "$model" -o "$work/digits.systole"
expect 0 "$classify" "$work/digit.png" "$work/digits.systole" "$work/numbered.txt" --scale 1/255 --top 1
holds "a program and numbered labels" grep -qE ' 7  seven$' "$work/out"
expect 0 "$classify" "$work/digit.png" "$model" "$work/without_first.txt" --scale 1/255 --top 1
holds "labels without the background" grep -qE ' 7  six$' "$work/out"
expect 0 "$classify" "$work/digit.png" "$model" --scale 1/255
if "$SYSTOLE" serve fuse -- true >"$work/out" 2>"$work/err"; then
    expect 0 "$SYSTOLE" serve fuse -- "$classify" "$work/digit.png" "$model" "$work/labels.txt" --scale 1/255 --device usb
    holds "the scores over USB are the CPU's" cmp "$work/cpu.txt" "$work/out"
else
    skip "classify over USB: $(tail -n 1 "$work/err")"
fi
# Its own complaints are not the command's.
for bad in "$work/few.txt" "$work/none.txt" "$work/digit.png"; do
    "$classify" "$work/digit.png" "$model" "$bad" >"$work/out" 2>"$work/err"
    status=$?
    holds "${bad##*/} are no labels" test "$status" -eq 2
    holds "one line says so" test "$(grep -c '^classify: ' "$work/err")" -eq "$(wc -l <"$work/err")"
done
expect 2 "$classify" "$work/labels.txt" "$model"
expect 2 "$classify" "$work/digit.png" "$work/none.tflite"

# photograph MODEL CLASS: the class must be among the five best.
photograph() {
    if [ ! -f "$shared/models/$1/model.tflite" ]; then
        skip "$1 on a photograph of a cat: $shared/models is not there"
        return
    fi
    for device in cpu model; do
        expect 0 "$classify" "$shared/models/$1/cat/input0.bin" "$shared/models/$1/model.tflite" --device $device
        holds "$1 says $2 on $device" awk -v n="$2" '$2 == n {found = 1} END {exit !(found && NR == 5)}' "$work/out"
    done
}
photograph mobilenet_v2_224_int8 286
photograph mobilenet_v1_025_128_uint8 283
finish cli/test_classify
