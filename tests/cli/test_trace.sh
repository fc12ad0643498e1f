#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Systole authors
# Where the cycles went: operators and units sum to the total, the trace is well-formed, on the functional model and on RTL.
. "$(dirname "$0")/cli_testing.sh"
digits=examples/digits/digits_int8.tflite
models="digits $digits"
for m in vww_96_int8 str_ww_int8; do
    if [ -d "$shared/models/$m" ]; then models="$models $m $shared/models/$m/model.tflite"; else skip "no $m in $shared"; fi
done
set -- $models
while [ $# -gt 0 ]; do
    for device in model rtl; do
        expect 0 "$SYSTOLE" run "$2" --device $device --report "$work/$1.json" --trace "$work/$1.trace" \
            --html "$work/$1.html"
        holds "$1 on $device: the page" python3 tests/cli/check_page.py "$work/$1.html" "$work/$1.json"
        holds "$1 on $device: report and trace agree" python3 tests/cli/check_trace.py "$work/$1.json" "$work/$1.trace"
    done
    shift 2
done
expect 2 "$SYSTOLE" run $digits --device cpu --trace "$work/cpu.trace"
holds "a refused trace is not written" test ! -e "$work/cpu.trace"
expect 2 "$SYSTOLE" run $digits --device cpu --html "$work/cpu.html"
expect 2 "$SYSTOLE" run $digits --trace "$work/no-such-folder/a.trace"

# Names that are not UTF-8, of a tensor and of the model: the report still has every tensor.
strange=$work/strange.tflite
LC_ALL=C sed "s/image/im\xe9ge/; s/digits/dig\xe9ts/g" $digits >"$strange"
expect 0 "$SYSTOLE" run "$strange" --report "$work/strange.json" --trace "$work/strange.trace"
holds "a name that is not UTF-8" python3 - "$work/strange.json" "$work/strange.trace" <<'EOF'
import json, sys
report, trace = (json.load(open(path, encoding="utf-8")) for path in sys.argv[1:])
assert report["inputs"][0]["name"] == "im\ufffdge", report["inputs"]
assert report["model"] == trace["otherData"]["model"] == "dig\ufffdts", report["model"]
EOF
finish cli/test_trace
