#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Systole authors
# Every single-operator case: the CPU against the golden, and those of 8-bit tensors on the functional model and RTL at
# systole16, too. Prints the share that the device runs and found equal, by operator, with the reasons of the others.
# Takes minutes, so only under SYSTOLE_TEST_ALL.
. "$(dirname "$0")/cli_testing.sh"
if [ -z "${SYSTOLE_TEST_ALL:-}" ]; then
    skip "every single-operator case (\`make test-all\`)"
    finish cli/test_every_operator
fi
if [ ! -d "$shared/operators" ]; then
    skip "no conformance data in $shared"
    finish cli/test_every_operator
fi
table=$work/table
while IFS=$'\t' read -r name operator dtype _; do
    folder=$shared/operators/$name
    equal=() placed=0 reason=-
    expect 0 "$SYSTOLE" verify "$folder/model.tflite" --golden "$folder" --device cpu && equal+=(cpu)
    case $dtype in
    i8 | u8 | i8_i8 | i8_u8 | u8_i8 | u8_u8)
        expect 0 "$SYSTOLE" compile "$folder/model.tflite" -o "$work/program.systole" -s
        reason=$(awk '$3 == "cpu" {sub(":", "", $4); print $4; exit}' "$work/out")
        [ -n "$reason" ] || placed=1
        for device in model rtl; do
            expect 0 "$SYSTOLE" verify "$folder/model.tflite" --golden "$folder" --device $device && equal+=($device)
        done
        echo "$operator eight $placed ${reason:--} ${equal[*]}"
        ;;
    *) echo "$operator other 0 - ${equal[*]}" ;;
    esac >>"$table"
done < <(tail -n +2 "$shared/operators/index.tsv")
awk '
{
    count[$1]++
    cpu[$1] += / cpu/
    if ($2 == "eight") {
        eight[$1]++; placed[$1] += $3; model[$1] += $3 && / model/; rtl[$1] += $3 && / rtl/
        all_eight++; all_placed += $3
        if (!$3 && !seen[$1, $4]++) reasons[$1] = reasons[$1] " " $4
    }
    all++
}
END {
    printf "%-30s %5s %5s %6s %7s %6s %4s  %s\n", "operator", "cases", "=cpu", "8-bit", "placed", "=model", "=rtl", "others"
    for (operator in count) {
        printf "%-30s %5d %5d %6d %7d %6d %4d %s\n", operator, count[operator], cpu[operator], eight[operator],
            placed[operator], model[operator], rtl[operator], reasons[operator] | "sort"
    }
    close("sort")
    printf "%d cases, %d of 8-bit tensors, %d of those on the device\n", all, all_eight, all_placed
}' "$table"
finish cli/test_every_operator
