#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Systole authors
# Published models on systole16 with 1 MiB and 256 KiB of scratchpad: stripes, loads and stores, on the functional model,
# and with 256 KiB on RTL, which is made for that target first; under SYSTOLE_TEST_ALL everything on RTL.
. "$(dirname "$0")/cli_testing.sh"
targets=$(dirname "$0")/../targets
models="mobilenet_v2_224_int8:cat mobilenet_v1_025_128_uint8:cat deeplabv3_mnv2_dm05_uint8:bird_segmentation"
if [ ! -d "$shared/models" ]; then
    skip "no conformance data in $shared"
    finish cli/test_small_scratchpads
fi
verify() { # MODEL:CASE TARGET DEVICE
    local folder=$shared/models/${1%:*}
    expect 0 "$SYSTOLE" verify "$folder/model.tflite" --golden "$folder/${1#*:}" --target "$targets/$2.json" --device "$3"
}
for model in $models; do
    verify "$model" systole16_1024k model
    verify "$model" systole16_256k model
done
holds "RTL of systole16_256k is made" make -s rtl TARGET="$targets/systole16_256k.json"
for model in mobilenet_v2_224_int8:cat mobilenet_v1_025_128_uint8:cat; do
    verify "$model" systole16_256k rtl
done
if [ -n "${SYSTOLE_TEST_ALL:-}" ]; then # all three on RTL of both
    holds "RTL of systole16_1024k is made" make -s rtl TARGET="$targets/systole16_1024k.json"
    for model in $models; do
        verify "$model" systole16_1024k rtl
    done
    verify deeplabv3_mnv2_dm05_uint8:bird_segmentation systole16_256k rtl
fi
finish cli/test_small_scratchpads
