#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Systole authors
# `systole verify --labels`: right answers over a data set, and agreement of two models.
. "$(dirname "$0")/cli_testing.sh"
digits=examples/digits/digits_int8.tflite
python3 - "$work" <<'EOF'
import pathlib, struct, sys, zipfile
work = pathlib.Path(sys.argv[1])

def save(name, description, shape, data):
    header = f"{{'descr': '{description}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    (work / name).write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data)

pixels = b"".join(pathlib.Path(f"examples/digits/pictures/{d}.pgm").read_bytes()[-64:] for d in range(10))
reals = [p / 16 for p in pixels]
save("bytes.npy", "|i1", (10, 8, 8, 1), pixels)
save("reals.npy", "<f4", (10, 8, 8, 1), struct.pack("<640f", *reals))
save("doubles.npy", "<f8", (10, 8, 8, 1), struct.pack("<640d", *reals))
save("nan.npy", "<f4", (10, 8, 8, 1), struct.pack("<640f", *reals[:-1], float("nan")))
lines = lambda name, labels: (work / name).write_text("".join(f"{l}\n" for l in labels))
lines("right.txt", range(10))
lines("half.txt", [0, 1, 2, 3, 4, 0, 0, 0, 0, 0])
lines("few.txt", range(9))
lines("beyond.txt", [*range(9), 10])
(work / "words.txt").write_text("0 one 2\n")

# The digits with their input named a thousand times: a longer vector behind the end, to which the first subgraph points.
model = bytearray(pathlib.Path("examples/digits/digits_int8.tflite").read_bytes())
word = lambda at: struct.unpack_from("<i", model, at)[0]
field = lambda table, number: table + struct.unpack_from("<H", model, table - word(table) + 4 + 2 * number)[0]
behind = lambda at: at + word(at)
subgraphs = behind(field(behind(0), 2))
inputs = field(behind(subgraphs + 4), 1)
image = word(behind(inputs) + 4)
model += bytes(-len(model) % 4)
struct.pack_into("<i", model, inputs, len(model) - inputs)
(work / "many.tflite").write_bytes(model + struct.pack("<1001i", 1000, *[image] * 1000))
with zipfile.ZipFile(work / "image.npz", "w") as archive:
    archive.write(work / "bytes.npy", "image.npy")
EOF
# Another model of the same form, with a stretch of weights all zero: the first that still loads and is wrong somewhere.
damage() {
    local at size
    size=$(stat -c %s $digits)
    for ((at = 1024; at + 512 < size; at += 256)); do
        cp $digits "$work/damaged.tflite"
        dd if=/dev/zero of="$work/damaged.tflite" bs=1 seek=$at count=512 conv=notrunc status=none
        "$SYSTOLE" verify "$work/damaged.tflite" --device cpu --labels "$work/right.txt" --input "$work/bytes.npy" \
            --report "$work/damaged.json" >/dev/null 2>&1 && ! grep -q '"top1": 100' "$work/damaged.json" && return
    done
    return 1
}
holds "a model that is wrong somewhere" damage
for device in cpu model rtl; do
    for file in bytes reals doubles; do
        expect 0 "$SYSTOLE" verify $digits --device $device --labels "$work/right.txt" --input "$work/$file.npy"
        holds "ten of ten right" grep -q '^ 100.00 %  100.00 %' "$work/out"
    done
done
expect 0 "$SYSTOLE" verify "$work/many.tflite" --device cpu --labels "$work/right.txt" --input "$work/image.npz"
holds "a thousand inputs, ten of ten right" grep -q '^ 100.00 %  100.00 %' "$work/out"
expect 0 "$SYSTOLE" verify $digits --device cpu --labels "$work/half.txt" --input "$work/bytes.npy" --report "$work/report.json"
holds "five of ten right" grep -q '^  50.00 %' "$work/out"
holds "the report has the figures" python3 -c 'import json, sys
r = json.load(open(sys.argv[1])); assert r["samples"] == 10 and r["top1"] == 50 and r["device"] == "cpu", r' "$work/report.json"
expect 0 "$SYSTOLE" verify $digits --labels "$work/half.txt" --input "$work/bytes.npy" --samples 5
holds "the first five are right" grep -q '^ 100.00 %' "$work/out"
expect 0 "$SYSTOLE" verify $digits --labels "$work/right.txt" --input "$work/bytes.npy" --against $digits --within 0
holds "a model agrees with itself" grep -q '^ 100.00 %  *same best class (0 samples differ)' "$work/out"
expect 1 "$SYSTOLE" verify "$work/damaged.tflite" --device cpu --labels "$work/right.txt" --input "$work/bytes.npy" \
    --against $digits --within 0.5
holds "it says how much worse" grep -q 'points less often' "$work/err"
expect 0 "$SYSTOLE" verify $digits --device cpu --labels "$work/right.txt" --input "$work/bytes.npy" \
    --against "$work/damaged.tflite" --within 0

for bad in few beyond words missing; do
    expect 2 "$SYSTOLE" verify $digits --labels "$work/$bad.txt" --input "$work/bytes.npy"
done
expect 2 "$SYSTOLE" verify $digits --labels "$work/right.txt" --input "$work/nan.npy"
expect 2 "$SYSTOLE" verify $digits --labels "$work/right.txt"
holds "it says what is missing" grep -q 'needs the samples' "$work/err"
expect 2 "$SYSTOLE" verify $digits --labels "$work/right.txt" --input "$work/bytes.npy" --within 1
expect 2 "$SYSTOLE" verify $digits --labels "$work/right.txt" --input "$work/bytes.npy" --golden "$work"
expect 2 "$SYSTOLE" verify $digits --samples 3
finish cli/test_labels
