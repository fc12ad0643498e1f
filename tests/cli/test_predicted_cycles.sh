#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Systole authors
# What the compiler predicts against what the RTL measures: these models are resident and one segment, so the total is exact
# and each operator to one cycle; and the limits that their cycles must keep. Figures and what bounds them: docs/cycles.md.
. "$(dirname "$0")/cli_testing.sh"
if [ ! -d "$shared/models" ]; then
    skip "no conformance data in $shared"
    finish cli/test_predicted_cycles
fi
small="resnet8_int8 kws_int8 vww_96_int8 ad01_int8 str_ww_int8 person_detect_int8 hello_world_int8 mobilenet_v1_025_128_uint8"
compare() { # MODEL TARGET LIMIT
    expect 0 "$SYSTOLE" run "$shared/models/$1/model.tflite" --target "$2" --device rtl --report "$work/report" || return
    holds "$1 on $2: predicted is not near measured" python3 - "$work/report" "$3" <<'PYTHON'
import json
import sys
report, limit = json.load(open(sys.argv[1])), int(sys.argv[2])
rows = [("total", report["cycles"]["predicted"], report["cycles"]["total"])]
rows += [(f"{o['index']} {o['name']}", o["predicted_cycles"], o["cycles"]) for o in report["operators"]
         if o["placement"] == "device"]
for name, predicted, measured in rows:
    if abs(predicted - measured) > (name != "total"):
        sys.exit(f"{name}: predicted {predicted}, measured {measured}")
if len(rows) < 3 or sum(row[2] for row in rows[1:]) != rows[0][2]:
    sys.exit("the operators' cycles do not sum to the total")
for unit, kinds in report["counters"].items():
    if sum(kinds.values()) != rows[0][2]:
        sys.exit(f"{unit}: the counters do not sum to the total")
if limit and rows[0][2] > limit:
    sys.exit(f"{rows[0][2]} cycles, the limit is {limit}")
PYTHON
}
limit() { # MODEL TARGET
    case "$1 $2" in
    "mobilenet_v2_224_int8 systole16") echo 1450000 ;;
    "vww_96_int8 systole16") echo 40000 ;;
    "kws_int8 systole16") echo 12500 ;;
    "resnet8_int8 systole16") echo 58000 ;;
    "person_detect_int8 systole16") echo 39000 ;;
    "ad01_int8 systole16") echo 9000 ;;
    "str_ww_int8 systole16") echo 5000 ;;
    "mobilenet_v1_025_128_uint8 systole16") echo 82000 ;;
    "mobilenet_v2_224_int8 systole32") echo 450000 ;;
    "mobilenet_v1_025_128_uint8 systole32") echo 40000 ;;
    *) echo 0 ;;
    esac
}
for target in systole16 systole32 systole64; do
    for m in $small; do
        compare "$m" $target "$(limit "$m" $target)"
    done
    compare mobilenet_v2_224_int8 $target "$(limit mobilenet_v2_224_int8 $target)"
done
compare mobilenet_v2_224_uint8 systole16 0
finish cli/test_predicted_cycles
