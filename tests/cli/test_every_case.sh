#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Systole authors
# Every published model with every case of it: the CPU, the functional model and RTL at systole16, each against the golden.
# Takes minutes, so only under SYSTOLE_TEST_ALL; test_conformance.sh has the chosen ones. Two second seeds of the two
# largest networks stay off RTL.
. "$(dirname "$0")/cli_testing.sh"
if [ -z "${SYSTOLE_TEST_ALL:-}" ]; then
    skip "every case of every model (\`make test-all\`)"
    finish cli/test_every_case
fi
if [ ! -d "$shared/models" ]; then
    skip "no conformance data in $shared"
    finish cli/test_every_case
fi
for folder in "$shared"/models/*/; do
    name=$(basename "$folder")
    for case in "$folder"*/; do
        [ -e "$case/output0.bin" ] || continue
        devices="cpu model rtl"
        case $name in
        *_float | *_dynamic) devices=cpu ;;
        deeplabv3_mnv2_dm05_uint8 | movenet_lightning_int8) [ "$(basename "$case")" != seed2 ] || devices="cpu model" ;;
        esac
        for device in $devices; do
            start=$SECONDS
            expect 0 "$SYSTOLE" verify "$folder/model.tflite" --golden "$case" --device $device
            printf '%-32s %-18s %-6s %4d s\n' "$name" "$(basename "$case")" $device $((SECONDS - start))
        done
    done
done
finish cli/test_every_case
