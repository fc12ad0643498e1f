#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Systole authors
# `--input`: raw tensors, .npy and pictures become the tensors they must; what is damaged is refused in one line.
. "$(dirname "$0")/cli_testing.sh"
model=examples/digits/digits_int8.tflite
python3 "$(dirname "$0")/make_inputs.py" "$work" examples/digits/pictures/7.pgm || exit 1

# becomes WANTED MODEL TENSOR FILE [OPTIONS]: the file must become that tensor.
becomes() {
    local wanted=$1 network=$2 tensor=$3 file=$4
    shift 4
    expect 0 "$SYSTOLE" run "$network" --device cpu --input "$file" --all-tensors --output-dir "$work/run" "$@" &&
        holds "${file##*/} $* becomes ${wanted##*/}" cmp "$wanted" "$work/run/tensor$tensor.bin"
}

for file in "$work"/digit*.*g; do becomes "${file%.*}.want" "$model" 0 "$file" --mean 0 --scale 1/255; done
for file in "$work"/whole*.*g "$work"/whole*.bmp "$work"/npy*.npy "$work"/npy*.bin; do
    becomes "${file%.*}.want" "$model" 0 "$file"
done
holds "a picture of a 7 is a 7" grep -q 'largest at 7:' <("$SYSTOLE" run "$model" --input "$work/digit.png" --scale 1/255)
expect 0 "$SYSTOLE" verify "$model" --input "$work/digit.png" --scale 0.00392156862745098
expect 0 "$SYSTOLE" verify "$model" --device cpu --input "$work/npy_floats.npy"

# A raw tensor may look like anything.
{ printf 'BM'; head -c 62 /dev/zero; } >"$work/looks.bin"
becomes "$work/looks.bin" "$model" 0 "$work/looks.bin"

# Colour, and floats.
"$SYSTOLE" zoo resnet8 -o "$work/rgb.tflite" && "$SYSTOLE" zoo resnet8 --float -o "$work/float.tflite" || exit 1
input_of() { "$SYSTOLE" inspect "$1" 2>/dev/null | awk '$1 == "input" {print $2; exit}'; }
for file in "$work"/rgb_*.png "$work"/rgb_*.bmp; do
    becomes "${file%.*}.want" "$work/rgb.tflite" "$(input_of "$work/rgb.tflite")" "$file"
done
for file in "$work"/rgb_*.png; do
    becomes "${file%.*}.float" "$work/float.tflite" "$(input_of "$work/float.tflite")" "$file"
    becomes "${file%.*}.float" "$work/float.tflite" "$(input_of "$work/float.tflite")" "$file" --scale 1/255
    becomes "${file%.*}.means" "$work/float.tflite" "$(input_of "$work/float.tflite")" "$file" --mean 10,127.5,0 \
        --scale 0.5,1/127.5,1/255
done

# Legacy uint8 takes pixels as they are.
uint8=$shared/models/mobilenet_v1_025_128_uint8
if [ -f "$uint8/model.tflite" ]; then
    python3 - "$uint8/cat/input0.bin" "$work/cat.bmp" <<'PYTHON'
import struct, sys
pixels = open(sys.argv[1], 'rb').read()
rows = [pixels[384 * y:384 * y + 384] for y in range(128)]
body = b''.join(bytes(v for x in range(128) for v in row[3 * x:3 * x + 3][::-1]) for row in reversed(rows))
open(sys.argv[2], 'wb').write(b'BM' + struct.pack('<IHHI', 54 + len(body), 0, 0, 54)
                              + struct.pack('<IiiHHIIiiII', 40, 128, 128, 1, 24, 0, len(body), 0, 0, 0, 0) + body)
PYTHON
    becomes "$uint8/cat/input0.bin" "$uint8/model.tflite" "$(input_of "$uint8/model.tflite")" "$work/cat.bmp"
else
    skip "pictures for a uint8 model: $uint8 is not there"
fi

# Refused, in one line each.
for file in "$work"/bad_*; do expect 2 "$SYSTOLE" run "$model" --device cpu --input "$file"; done
expect 2 "$SYSTOLE" run "$work/float.tflite" --device cpu --input "$work/npy_bytes.npy"
expect 2 "$SYSTOLE" run "$model" --mean 0
expect 2 "$SYSTOLE" run "$model" --input "$work/looks.bin" --scale 1/255
expect 2 "$SYSTOLE" run "$model" --input "$work/digit.png" --mean 1,2,3
for text in '' x 1/0 1/ nan inf 1,,2 1, , 1,2,3,4,5,6,7,8,9; do
    expect 2 "$SYSTOLE" run "$model" --input "$work/digit.png" --scale "$text"
done
expect 2 "$SYSTOLE" verify "$model" --golden "$work" --mean 1
for file in "$work"/mutant*; do
    timeout 60 "$SYSTOLE" run "$model" --device cpu --input "$file" >"$work/out" 2>"$work/err" </dev/null
    status=$?
    if [ "$status" -eq 0 ] || { [ "$status" -eq 2 ] && [ "$(wc -l <"$work/err")" -eq 1 ]; }; then
        pass
    else
        fail "exit status $status: ${file##*/}"
    fi
done
finish cli/test_inputs
