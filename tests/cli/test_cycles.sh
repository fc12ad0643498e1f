#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copyright The Systole authors
# No figure is worse than bench/cycles.tsv (small models on RTL, predictions of all; `make bench` measures all).
. "$(dirname "$0")/cli_testing.sh"
if [ -d "$shared/models" ]; then
    holds "cycles against bench/cycles.tsv" env SYSTOLE="$SYSTOLE" SYSTOLE_SHARED="$shared" bench/cycles.py --quick
else
    skip "no conformance data in $shared"
fi
finish cli/test_cycles
