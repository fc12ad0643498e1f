#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Systole authors
# The command line's contract: exit statuses, error lines, files, the report.
. "$(dirname "$0")/cli_testing.sh"
model=examples/digits/digits_int8.tflite

expect 0 "$SYSTOLE" --version
expect 0 "$SYSTOLE" --help
for command in compile run verify inspect disassemble targets devices serve sweep zoo; do
    expect 0 "$SYSTOLE" "$command" --help
    holds "$command --help names its usage" grep -q "^usage: systole $command" "$work/out"
    expect 2 "$SYSTOLE" "$command" --no-such-option
done
expect 2 "$SYSTOLE" no-such-command
expect 2 "$SYSTOLE" compile
expect 2 "$SYSTOLE" run "$model" --device toaster
expect 2 "$SYSTOLE" debug "$model" --device cpu
holds "debug says why not on the CPU" grep -q "not a device that can be used here (cpu): take model or rtl" "$work/err"
expect 2 "$SYSTOLE" run "$model" --device cpu --faults /dev/null
expect 2 "$SYSTOLE" verify "$model" --device cpu --faults /dev/null
expect 2 "$SYSTOLE" run "$model" --repeat 0
expect 2 "$SYSTOLE" run "$model" --seed minus
expect 2 "$SYSTOLE" run "$model" --all-tensors --device model
expect 2 "$SYSTOLE" compile "$model" --target no-such-target -o "$work/none.systole"
holds "a failed compile writes nothing" test ! -e "$work/none.systole"
expect 0 "$SYSTOLE" targets
for target in systole16 systole32 systole64; do holds "$target is listed" grep -q "^$target " "$work/out"; done
expect 0 "$SYSTOLE" targets spec/targets/systole16.json
echo '{"name": "odd", "rows": 17}' >"$work/odd.json"
expect 2 "$SYSTOLE" targets "$work/odd.json"

# The zoo: files that repeat, compile and verify.
expect 0 "$SYSTOLE" zoo
for network in resnet8 ds_cnn transformer_block; do
    holds "$network is listed" grep -q "^$network " "$work/out"
done
for network in resnet8 ds_cnn transformer_block; do
    expect 0 "$SYSTOLE" zoo "$network" -o "$work/$network.tflite"
    expect 0 "$SYSTOLE" zoo "$network" -o "$work/again.tflite"
    holds "$network is written twice alike" cmp "$work/$network.tflite" "$work/again.tflite"
    expect 0 "$SYSTOLE" verify "$work/$network.tflite" --device model
    expect 0 "$SYSTOLE" zoo "$network" --float -o "$work/float.tflite"
    expect 0 "$SYSTOLE" run "$work/float.tflite" --device cpu
done
expect 2 "$SYSTOLE" zoo alexnet -o "$work/alexnet.tflite"
holds "an unknown network writes nothing" test ! -e "$work/alexnet.tflite"
expect 2 "$SYSTOLE" zoo --float
expect 2 "$SYSTOLE" zoo resnet8 -o "$work/no/such/folder.tflite"

# Compiling: deterministic; what it makes can be run, listed, looked at.
expect 0 "$SYSTOLE" compile "$model" -o "$work/a.systole" -s --report "$work/compile.json"
expect 0 "$SYSTOLE" compile "$model" -o "$work/b.systole"
holds "compiling twice gives the same bytes" cmp "$work/a.systole" "$work/b.systole"
expect 0 "$SYSTOLE" disassemble "$work/a.systole"
holds "every command is listed" awk '/ commands / {want += $NF} / opcode=|^ *[0-9]+ / {got++} END {exit !(want > 0 && got == want)}' "$work/out"
holds "commands have their names" grep -qE 'depthwise' "$work/out"
expect 2 "$SYSTOLE" disassemble "$model"
expect 0 "$SYSTOLE" inspect "$model"
expect 0 "$SYSTOLE" inspect "$work/a.systole"
expect 2 "$SYSTOLE" run "$work/a.systole" --target systole32
expect 2 "$SYSTOLE" run "$work/a.systole" --device cpu
expect 2 "$SYSTOLE" verify "$work/a.systole"

# Running: outputs equal on all devices, of model and program alike.
tail -c 64 examples/digits/pictures/7.pgm >"$work/input.bin"
for device in cpu model rtl; do
    expect 0 "$SYSTOLE" run "$model" --device $device --input "$work/input.bin" --output-dir "$work/$device" \
        --report "$work/$device.json"
    holds "$device gives the CPU's output" cmp "$work/cpu/output0.bin" "$work/$device/output0.bin"
done
expect 0 "$SYSTOLE" run "$work/a.systole" --input "$work/input.bin" --output-dir "$work/program"
holds "the program gives the CPU's output" cmp "$work/cpu/output0.bin" "$work/program/output0.bin"
expect 0 "$SYSTOLE" run "$model" --device cpu --output-dir "$work/tensors" --all-tensors
holds "--all-tensors writes them" test -s "$work/tensors/tensor0.bin"
expect 0 "$SYSTOLE" verify "$model" --device rtl --seed 5
expect 0 "$SYSTOLE" verify "$model" --device rtl --target systole32
head -c 63 "$work/input.bin" >"$work/short.bin"
expect 2 "$SYSTOLE" run "$model" --input "$work/short.bin"
expect 2 "$SYSTOLE" run "$model" --input "$work/input.bin" --input "$work/input.bin"
expect 2 "$SYSTOLE" run "$model" --input "$work/missing.bin"

# A golden that differs is exit 1.
mkdir "$work/case"
cp "$work/input.bin" "$work/case/input0.bin"
cp "$work/cpu/output0.bin" "$work/case/output0.bin"
expect 0 "$SYSTOLE" verify "$model" --device model --golden "$work/case"
printf '\x55' | dd of="$work/case/output0.bin" bs=1 seek=3 conv=notrunc 2>/dev/null
expect 1 "$SYSTOLE" verify "$model" --device model --golden "$work/case"

# The report: its keys, and that units' counters and operators' cycles sum to the total.
cat >"$work/check.py" <<'PYTHON'
import json, sys
r = json.load(open(sys.argv[1]))
for key in ("target", "device", "model", "inputs", "outputs", "macs", "resident", "cycles", "wall_seconds", "operators",
            "counters", "multipliers", "other_multipliers", "utilization"):
    assert key in r, key
for t in r["inputs"] + r["outputs"]:
    assert set(t) >= {"name", "shape", "dtype", "scale", "zero_point"}, t
total = r["cycles"]["total"]
assert total > 0 and r["cycles"]["predicted"] > 0 and r["cycles"]["cold"] > total, r["cycles"]
for unit, kinds in r["counters"].items():
    assert set(kinds) == {"busy", "wait_dependency", "wait_memory", "wait_link", "idle"}, unit
    assert sum(kinds.values()) == total, (unit, kinds, total)
assert sum(o["cycles"] for o in r["operators"]) == total
assert sum(o["predicted_cycles"] for o in r["operators"]) == r["cycles"]["predicted"]
assert abs(r["utilization"] - r["macs"] / (r["multipliers"] * total)) < 1e-9
PYTHON
for device in model rtl; do holds "the report of $device adds up" python3 "$work/check.py" "$work/$device.json"; done

# Bad files: cut, flipped and foreign ones are refused in one line or work; never a signal, never a partial output.
size=$(stat -c %s "$model")
for at in 0 7 64 $((size / 3)) $((size / 2)) $((size - 1)); do
    head -c "$at" "$model" >"$work/cut.tflite"
    expect 2 "$SYSTOLE" compile "$work/cut.tflite" -o "$work/cut.out"
    holds "nothing is half written" test ! -e "$work/cut.out"
done
size=$(stat -c %s "$work/a.systole")
for at in 0 7 64 $((size / 3)) $((size / 2)) $((size - 1)); do
    head -c "$at" "$work/a.systole" >"$work/cut.systole"
    expect 2 "$SYSTOLE" run "$work/cut.systole"
done
expect 2 "$SYSTOLE" compile README.md -o "$work/foreign.out"
expect 2 "$SYSTOLE" compile "$work" -o "$work/foreign.out"
cat >"$work/flip.py" <<'PYTHON'
import random, subprocess, sys
systole, path, out = sys.argv[1:4]
data = open(path, "rb").read()
rng = random.Random(1)
for i in range(60):
    b = bytearray(data)
    at = rng.randrange(len(b))
    b[at] ^= 1 << rng.randrange(8)
    open(out, "wb").write(b)
    r = subprocess.run([systole, "run", out], capture_output=True, timeout=60)
    assert r.returncode in (0, 2), (i, at, r.returncode, r.stderr)
PYTHON
for file in "$model" "$work/a.systole"; do
    holds "flipped bits of $file end with 0 or 2" python3 "$work/flip.py" "$SYSTOLE" "$file" "$work/flipped"
done
finish cli/test_commands
