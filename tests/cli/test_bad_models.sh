#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Systole authors
# Models and programs that were cut or have a flipped bit: status 0 or 2, no signal, nothing written by what failed. A few
# of them; all (cut at every 64th byte, 500 flips each) under SYSTOLE_TEST_ALL.
. "$(dirname "$0")/cli_testing.sh"
digits=examples/digits/digits_int8.tflite
kws=$shared/models/kws_int8/model.tflite
expect 0 "$SYSTOLE" compile "$digits" -o "$work/digits.systole"
stride=1024 flips=40
[ -z "${SYSTOLE_TEST_ALL:-}" ] || stride=64 flips=500
bad() { holds "bad ${1##*/}" timeout 500 tests/cli/bad_models.py "$SYSTOLE" $stride $flips "$1"; }
bad "$digits"
bad "$work/digits.systole"
if [ ! -f "$kws" ]; then
    skip "no conformance data in $shared"
elif [ -n "${SYSTOLE_TEST_ALL:-}" ]; then
    bad "$kws"
fi
finish cli/test_bad_models
