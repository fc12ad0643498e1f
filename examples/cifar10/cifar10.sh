#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Systole authors
# Quantises the example's float model in each mode, holds each against the float model on the held-out pictures, and the
# integers on the RTL against the CPU.
# usage: cifar10.sh SYSTOLE PACKAGE_FOLDER WORK_FOLDER
set -euo pipefail
systole=$1 package=$2 work=$3
here=$(dirname "$0")
float=$here/cifar10_float.tflite
[ -f "$work/held_out.txt" ] || "$here/prepare.py" "$package" "$work"
for mode in full-integer dynamic-range float16; do
    io=
    [ $mode = full-integer ] && io="--io int8"
    # shellcheck disable=SC2086 # two words or none
    "$systole" quantize "$float" -o "$work/$mode.tflite" --mode $mode --representative "$work/representative.npy" $io |
        sed -n '1,2p'
    "$systole" verify "$work/$mode.tflite" --device cpu --labels "$work/held_out.txt" --input "$work/held_out.npy" \
        --against "$float" --within 0.5
    echo
done
"$systole" run "$work/full-integer.tflite" --device rtl
"$systole" verify "$work/full-integer.tflite" --device rtl --labels "$work/held_out.txt" --input "$work/held_out.npy" \
    --samples 20 --against "$work/full-integer.tflite" --within 0
