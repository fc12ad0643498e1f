#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Systole authors
# Published models and single operators against goldens of an independent interpreter, on every device; through libusb on a
# virtual bus too.
. "$(dirname "$0")/cli_testing.sh"
models="split_concat_uint8 mobilenet_v1_025_128_uint8 resnet8_int8 kws_int8 vww_96_int8 ad01_int8 str_ww_int8 person_detect_int8 hello_world_int8 mobilenet_v2_224_int8"
if [ ! -d "$shared/models" ]; then
    skip "no conformance data in $shared"
    finish cli/test_conformance
fi
verify() { # MODEL CASE OPTIONS...
    local model=$1 case=$2
    shift 2
    expect 0 "$SYSTOLE" verify "$shared/models/$model/model.tflite" --golden "$shared/models/$model/$case" "$@"
}
for m in $models; do
    verify "$m" seed1 --device cpu
    verify "$m" seed1 --device model
    verify "$m" seed2 --device model
    verify "$m" seed1 --device rtl
    verify "$m" seed2 --device rtl
done
verify deeplabv3_mnv2_dm05_uint8 seed1 --device model
expect 0 "$SYSTOLE" compile "$shared/models/deeplabv3_mnv2_dm05_uint8/model.tflite" -o "$work/deeplab.systole"
holds "deeplab runs on the device but for ARG_MAX" grep -q '71 of 72 operators on the device' "$work/out"
verify movenet_lightning_int8 seed1 --device model
verify movenet_lightning_int8 seed1 --device rtl
for m in resnet8_int8 vww_96_int8; do
    verify "$m" seed1 --device rtl --target systole32
    verify "$m" seed1 --device rtl --target systole64
done

# The same bytes through libusb: a program that knows nothing of this finds the device on its bus.
if ! "$SYSTOLE" serve fuse -- true >"$work/out" 2>"$work/err"; then
    skip "a virtual USB bus cannot be mounted here: $(cat "$work/err")"
else
    expect 0 "$SYSTOLE" serve fuse -- "$SYSTOLE" devices
    holds "the bus shows the device" grep -q '1209:0001' "$work/out"
    over_bus() { # MODEL DEVICE
        expect 0 "$SYSTOLE" serve fuse --device "$2" -- "$SYSTOLE" verify "$shared/models/$1/model.tflite" \
            --golden "$shared/models/$1/seed1" --device usb
    }
    for m in $models; do
        case $m in *_int8) over_bus "$m" model ;; esac
    done
    over_bus kws_int8 rtl
    over_bus resnet8_int8 rtl
fi

# Single operators.
operators="CONV_2D DEPTHWISE_CONV_2D FULLY_CONNECTED ADD AVERAGE_POOL_2D MAX_POOL_2D MEAN QUANTIZE PAD RESHAPE SOFTMAX CHAIN
SUB MUL MAXIMUM SQUARED_DIFFERENCE PRELU LOGISTIC CONCATENATION SPLIT STRIDED_SLICE TRANSPOSE RESIZE_BILINEAR REDUCE_MIN"
for op in $operators; do
    for case in $(awk -F'\t' -v op="$op" '$2 == op && $3 ~ /^(i8|i8_i8|i8_u8|u8_i8|u8_u8)$/ {print $1}' \
        "$shared/operators/index.tsv"); do
        for device in model rtl; do
            expect 0 "$SYSTOLE" verify "$shared/operators/$case/model.tflite" --golden "$shared/operators/$case" \
                --device $device
        done
    done
    for case in $(awk -F'\t' -v op="$op" '$2 == op && $3 == "f" {print $1}' "$shared/operators/index.tsv"); do
        expect 0 "$SYSTOLE" verify "$shared/operators/$case/model.tflite" --golden "$shared/operators/$case" --device cpu
    done
done
finish cli/test_conformance
