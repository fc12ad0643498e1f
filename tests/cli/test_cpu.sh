#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Systole authors
# The CPU's kernels from the command line: every instruction set that is there gives the golden, what is not is refused,
# and run --repeat tells of times in print and report.
. "$(dirname "$0")/cli_testing.sh"
digits=examples/digits/digits_int8.tflite
expect 0 "$SYSTOLE" run $digits --device cpu --kernels reference --output-dir "$work/reference"
known=
for kernels in c avx2 avx512 neon neon-dot; do
    if "$SYSTOLE" run $digits --device cpu --kernels $kernels >"$work/out" 2>"$work/err"; then
        known="$known $kernels"
    else
        expect 2 "$SYSTOLE" run $digits --device cpu --kernels $kernels
        skip "$kernels: $(cat "$work/err")"
    fi
done
holds "plain C is always there" grep -qw c <<<"$known"
for kernels in $known fastest; do
    for threads in 1 3; do
        expect 0 "$SYSTOLE" run $digits --device cpu --kernels $kernels --threads $threads --output-dir "$work/$kernels"
        holds "$kernels, $threads threads: the reference's output" \
            cmp "$work/reference/output0.bin" "$work/$kernels/output0.bin"
    done
    for model in kws_int8 resnet8_float ad01_dynamic mobilenet_v1_025_128_uint8; do
        if [ -d "$shared/models/$model" ]; then
            expect 0 "$SYSTOLE" verify "$shared/models/$model/model.tflite" --device cpu --kernels $kernels \
                --golden "$shared/models/$model/seed1"
        else
            skip "no $model in $shared"
        fi
    done
done
expect 0 "$SYSTOLE" run $digits --device cpu --repeat 5 --threads 2 --report "$work/cpu.json"
holds "times are printed" grep -q '^5 runs, 2 threads, kernels .*: median .* GMAC/s' "$work/out"
holds "the report has times" python3 - "$work/cpu.json" <<'EOF'
import json, sys
report = json.load(open(sys.argv[1]))
wall = report["wall_seconds"]
assert 0 < wall["min"] <= wall["median"] <= wall["max"], wall
assert report["threads"] == 2 and report["kernels"] != "reference", report
assert report["arena_bytes"] > 0 and report["gmacs_per_second"] > 0, report
for o in report["operators"]:
    assert 0 < o["seconds"]["min"] <= o["seconds"]["mean"] and o["kernel"] in ("fast", "reference"), o
assert any(o["kernel"] == "fast" for o in report["operators"])
EOF
expect 0 env SYSTOLE_KERNELS=c "$SYSTOLE" run $digits --device cpu --repeat 2
holds "the environment names the kernels" grep -q 'kernels c:' "$work/out"
expect 2 env SYSTOLE_KERNELS=sse9 "$SYSTOLE" run $digits --device cpu
expect 2 "$SYSTOLE" run $digits --device cpu --kernels sse9
expect 2 "$SYSTOLE" run $digits --device cpu --threads 0
expect 2 "$SYSTOLE" run $digits --device cpu --threads 65
finish cli/test_cpu
