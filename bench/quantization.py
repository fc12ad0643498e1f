#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Systole authors
"""Measures what quantisation does to published models and prints the table of docs/quantization.md: sizes, signal-to-noise ratio and time on
one thread of the CPU runtime, best of interleaved runs; full-integer files are verified on RTL, too. Run by `make bench-quantization`.

usage: quantization.py SYSTOLE TEST_PUBLISHED_MODELS [--rounds N] [--no-rtl]"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

CLAIMS = {'full-integer': (4, 3), 'dynamic-range': (4, 2), 'float16': (2, None)}
REPEAT = 100


def milliseconds(systole, model, work):
    report = work / 'run.json'
    subprocess.run([systole, 'run', model, '--device', 'cpu', '--threads', '1', '--repeat', str(REPEAT), '--report', report],
                   check=True, stdout=subprocess.DEVNULL)
    return 1e3 * json.loads(report.read_text())['wall_seconds']['min']


def met(value, claim):
    return '' if claim is None else ' (met)' if value >= claim else f' (claim {claim})'


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('systole')
    parser.add_argument('test')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--no-rtl', action='store_true')
    arguments = parser.parse_args()
    shared = Path(os.environ.get('SYSTOLE_SHARED', '../shared')) / 'models'
    if not shared.is_dir():
        sys.exit(f'skipped: {shared} is not there')
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        environment = dict(os.environ, SYSTOLE_QUANTIZED_FOLDER=folder)
        output = subprocess.run([arguments.test], env=environment, capture_output=True, text=True)
        if output.returncode != 0:
            sys.exit(output.stdout)
        rows = [[cell.strip() for cell in line.strip('|').split('|')] for line in output.stdout.splitlines() if line[:1] == '|']
        files = {}
        for name, mode, *_ in rows:
            files[name, 'float32'] = shared / f'{name}_float/model.tflite'
            files[name, mode] = (shared / f'{name}_int8/model.tflite' if mode == 'published int8' else
                                 work / f'{name}_{mode}.tflite')
        best = {}
        for _ in range(arguments.rounds):
            for key, path in files.items():
                best[key] = min(best.get(key, 1e9), milliseconds(arguments.systole, path, work))
        print('| model | mode | weights smaller | file smaller | SNR, dB | ms | times as fast |')
        print('|---|---|---|---|---|---|---|')
        seen = set()
        for name, mode, weights, size, snr in rows:
            if name not in seen:
                seen.add(name)
                print(f'| {name} | float32 | | | | {best[name, "float32"]:.3f} | |')
            smaller, faster = CLAIMS.get(mode, (None, None))
            ratio = best[name, 'float32'] / best[name, mode]
            told = weights + met(float(weights), smaller) if weights else ''
            print(f'| {name} | {mode} | {told} | {size} | {snr} | {best[name, mode]:.3f} | {ratio:.2f}{met(ratio, faster)} |')
        for name in sorted(seen):
            if not arguments.no_rtl:
                found = subprocess.run([arguments.systole, 'verify', files[name, 'full-integer'], '--device', 'rtl'],
                                       check=True, capture_output=True, text=True).stdout
                print(f'{name} full-integer on RTL:', found.strip().splitlines()[-1])


if __name__ == '__main__':
    main()
