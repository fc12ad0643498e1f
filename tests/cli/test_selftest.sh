#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Systole authors
# systole selftest: a good device passes, in process, on RTL and on the bus; one with a defect fails at the step that
# looks for it, and the step says where.
. "$(dirname "$0")/cli_testing.sh"

expect 0 "$SYSTOLE" selftest --report "$work/report.json"
holds "every step is ok" test "$(grep -c ' ok  ' "$work/out")" -eq 23
holds "the report has every step" python3 - "$work/report.json" <<'PYTHON'
import json, sys
report = json.load(open(sys.argv[1]))
assert report["failures"] == 0 and report["memory_bytes"] == 8388608, report
assert len(report["steps"]) == report["steps_run"] == 23
assert all(s["result"] == "ok" and s["detail"] and s["ms"] >= 0 for s in report["steps"])
PYTHON
expect 0 "$SYSTOLE" selftest --target systole64 --seed 7 --memory 65536
if "$SYSTOLE" selftest --device rtl --memory 8192 --seed 3 >"$work/out" 2>"$work/err"; then
    pass
    holds "every step is ok on RTL" test "$(grep -c ' ok  ' "$work/out")" -eq 23
elif grep -q 'make rtl' "$work/err"; then
    skip "the selftest on RTL: $(cat "$work/err")"
else
    fail "the selftest on RTL"
fi
if "$SYSTOLE" serve fuse -- true >"$work/out" 2>"$work/err"; then
    expect 0 "$SYSTOLE" serve fuse -- "$SYSTOLE" selftest --device usb --memory 262144
else
    skip "the selftest on a FUSE bus: $(cat "$work/err")"
fi

# fails SCRIPT STEP TEXT [N]: with those faults that step fails and says so, and N (1) steps fail in all.
fails() {
    printf '%b\n' "$1" >"$work/script"
    "$SYSTOLE" selftest --memory 131072 --faults "$work/script" >"$work/out" 2>"$work/err"
    holds "$1: status 3" test $? -eq 3
    holds "$1: $2 fails" grep -Eq "^$2 +FAILED .*$3" "$work/out"
    holds "$1: ${4:-1} steps fail" test "$(grep -c FAILED "$work/out")" -eq "${4:-1}"
}
fails 'stuck register 0x018 3 1' 'registers +capabilities' 'memory_shape\[0\] at 0x018, bit 3 \(scratchpad_bytes\)'
fails 'stuck register 0x080 17 1' 'registers +walking ones' 'scratch\[0\] at 0x080, bit 17 \(value\)'
fails 'stuck register 0x138 40 0' 'registers +walking ones' 'command_table\[7\] at 0x138, bit 40'
fails 'stuck register 0x320 49 0' 'registers +walking ones' 'breakpoint\[0\] at 0x320, bit 49 \(on_operator\)'
fails 'stuck register 0x210 2 1' 'registers +reset values' 'counters\[2\] at 0x210, bit 2' 2
fails 'stuck register 0x068 1 0' 'runs +counters' 'run_cycles at 0x068'
fails 'stuck memory 524287 127 1' 'memory +march' 'word 524287 \(bank 15\), bit 127 is 1, expected 0' 3
fails 'stuck memory 5000 9 0' 'units +array' 'word 5000 lane 1 is .* written by' 5
fails 'at 3 event duplicate' 'link +interrupt' 'another event came'
fails 'at 4 event corrupt' 'link +interrupt' 'event 3 of run 4194304'
fails 'at 4 in wrong_tag' 'link +loopback' 'device protocol'
fails 'at 30 in short' 'memory +addresses' 'device protocol'
fails 'at 65 out length' 'memory +addresses' 'error frame_length, detail 0xfffffff0'
fails 'at 65 out parity 3' 'memory +addresses' 'word 3 \(bank 3\) holds what it should, its parity bit is wrong'
# A word of target_id: it is another device. Gone: the rest is not run.
printf 'stuck register 0x008 3 0\n' >"$work/script"
expect 3 "$SYSTOLE" selftest --faults "$work/script"
printf 'at 1000 control unplug forever\n' >"$work/script"
"$SYSTOLE" selftest --faults "$work/script" --report "$work/report.json" >"$work/out" 2>"$work/err"
holds "unplugged: status 3" test $? -eq 3
holds "unplugged: the rest is not run" test "$(grep -c ' not run ' "$work/out")" -gt 15
holds "and not counted as run or failed" python3 - "$work/report.json" <<'PYTHON'
import json, sys
report = json.load(open(sys.argv[1]))
results = [s["result"] for s in report["steps"]]
assert report["steps_run"] == len(results) - results.count("not run") and report["failures"] == results.count("FAILED"), report
PYTHON
finish cli/test_selftest
