#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Systole authors
# `systole quantize`: every mode and option gives a model that runs, on the device where it is of integers; representative data in every
# form; what is wrong is refused in one line and leaves no file.
. "$(dirname "$0")/cli_testing.sh"
float=examples/digits/digits_float.tflite
python3 "$(dirname "$0")/make_samples.py" "$work" examples/digits/pictures || exit 1
data=$work/good.npy
out=$work/out.tflite
quantize() { expect 0 "$SYSTOLE" quantize "$float" -o "$out" "$@"; }
io_is() { holds "inputs and outputs are $1" sh -c "'$SYSTOLE' inspect '$out' 2>/dev/null | awk '\$1 == \"input\" || \$1 == \"output\" {n += \$3 == \"$1\"} END {exit n != 2}'"; }

# Full-integer, in all its forms, on the device.
for type in int8 uint8 float32; do
    quantize --mode full-integer --representative "$data" --io "$type"
    io_is "$(echo "$type" | tr a-z A-Z)"
    expect 0 "$SYSTOLE" verify "$out" --device model
done
for options in "--calibration moving-average" "--calibration percentile" "--calibration mse" "--equalize" \
    "--bias-correction" "--fc-per-channel" "--strict" "--equalize --bias-correction --calibration mse --fc-per-channel" \
    "--input-scale 1/16,0"; do
    # shellcheck disable=SC2086
    quantize --mode full-integer --representative "$data" --io int8 $options
    expect 0 "$SYSTOLE" verify "$out" --device model
done
tail -c 64 examples/digits/pictures/7.pgm >"$work/seven.bin"
holds "a picture of a 7 is a 7" grep -q 'largest at 7:' <("$SYSTOLE" run "$out" --device cpu --input "$work/seven.bin")
for mode in dynamic-range float16; do
    quantize --mode "$mode" --representative "$data" --report "$work/report.json"
    io_is FLOAT32
    holds "the report says $mode" grep -q "\"mode\": \"$mode\"" "$work/report.json"
    expect 0 "$SYSTOLE" run "$out" --device cpu
    quantize --mode "$mode"
done
# A float16 model is a source like its float32 original.
expect 0 "$SYSTOLE" quantize "$out" -o "$work/again.tflite" --mode full-integer --representative "$data" --io int8 --strict
expect 0 "$SYSTOLE" verify "$work/again.tflite" --device model

# The same values in every form give the same file; other numbers of sets another.
quantize --mode full-integer --representative "$data" --io int8
cp "$out" "$work/expected.tflite"
for file in "$work"/good_batch.npy "$work"/good_*.npz; do
    quantize --mode full-integer --representative "$file" --io int8
    holds "${file##*/} gives the same file" cmp "$out" "$work/expected.tflite"
done
quantize --mode full-integer --representative "$work/good_one.npy" --representative "$data" --io int8
holds "a set twice gives the same file" cmp "$out" "$work/expected.tflite"
for file in "$work/good_double.npy" "$work/good_half.npy"; do
    quantize --mode full-integer --representative "$file" --io int8
done
quantize --mode full-integer --representative "$work/pixels.npy" --scale 1/255
quantize --mode full-integer --representative "$work/pictures" --scale 1/255 --representative "$data"
holds "a few sets are called few" grep -q 'only 26 sets' "$work/out"

# Without --mode it recommends.
recommends() { local mode=$1; shift; expect 0 "$SYSTOLE" quantize "$float" "$@" && holds "$* recommends $mode" grep -q -- "recommended: --mode $mode" "$work/out"; }
recommends full-integer
recommends full-integer --hardware microcontroller --representative "$data"
recommends dynamic-range --hardware cpu
recommends full-integer --hardware cpu --representative "$data"
recommends float16 --hardware gpu

# Refused, and nothing is left.
rm -f "$out" "$work/report.json"
refused() { expect 2 "$SYSTOLE" quantize "$@" && holds "$* leaves no file" sh -c "test -z \"\$(ls -d '$out'* '$work'/report.json* 2>/dev/null)\""; }
for file in "$work"/bad_*; do refused "$float" -o "$out" --mode full-integer --representative "$file"; done
refused "$float" -o "$out" --mode dynamic-range --representative "$work/bad_nan.npy"
refused "$float" -o "$out" --mode full-integer
refused "$float" -o "$out" --mode full-integer --representative "$work/no_pictures"
refused "$float" -o "$out" --mode full-integer --representative "$work/nowhere.npy"
refused "$float" -o "$out" --mode full-integer --representative "$data" --report "$work/no/report.json"
refused "$float" -o "$work/no/out.tflite" --mode full-integer --representative "$data"
refused "$float" --mode full-integer --representative "$data"
refused "$float" -o "$out" --representative "$data"
refused "$float" -o "$out" --mode int4 --representative "$data"
refused "$float" -o "$out" --mode full-integer --representative "$data" --calibration entropy
refused "$float" -o "$out" --mode full-integer --representative "$data" --io int16
refused "$float" -o "$out" --mode full-integer --representative "$data" --input-scale 0,0
refused "$float" -o "$out" --mode full-integer --representative "$data" --input-scale 1
refused "$float" -o "$out" --mode dynamic-range --io int8
refused "$float" -o "$out" --mode float16 --strict
refused "$float" --hardware toaster
refused examples/digits/digits_int8.tflite -o "$out" --mode float16
refused "$work" -o "$out" --mode float16
holds "a SavedModel's error tells the way" grep -q 'TFLiteConverter' "$work/err"
head -c 3000 "$float" >"$work/cut.tflite"
refused "$work/cut.tflite" -o "$out" --mode float16

lstm=$shared/models/mnist_lstm_float/model.tflite
if [ -f "$lstm" ]; then
    python3 - "$work/lstm.npy" <<'PYTHON'
import random, struct, sys
text = b"{'descr': '<f4', 'fortran_order': False, 'shape': (8, 28, 28), }\n"
values = [random.Random(5).random() for _ in range(8 * 784)]
open(sys.argv[1], 'wb').write(b'\x93NUMPY\1\0' + struct.pack('<H', len(text)) + text + struct.pack('<6272f', *values))
PYTHON
    expect 0 "$SYSTOLE" quantize "$lstm" -o "$out" --mode full-integer --representative "$work/lstm.npy"
    holds "what stays float is listed" grep -q 'UNIDIRECTIONAL_SEQUENCE_LSTM  *the operator has no int8 form' "$work/out"
    expect 0 "$SYSTOLE" verify "$out" --device model
    expect 0 "$SYSTOLE" quantize "$lstm" -o "$out" --mode dynamic-range --representative "$work/lstm.npy"
    rm "$out"
    refused "$lstm" -o "$out" --mode full-integer --strict --representative "$work/lstm.npy"
    refused "$lstm" -o "$out" --mode full-integer --representative "$data"
else
    skip "an operator without integer form: $lstm is not there"
fi
finish cli/test_quantize
