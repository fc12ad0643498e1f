#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Systole authors
"""Names what a picture shows: the five best classes of a classifier with their scores.

`systole run` does the work; this reads its output tensor, takes the quantisation from its report, and looks up names."""
import argparse
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

FORMATS = {'INT8': 'b', 'UINT8': 'B', 'INT16': 'h', 'FLOAT32': 'f'}


class Refused(Exception):
    pass


def default_systole():
    built = Path(__file__).resolve().parents[2] / 'build/bin/systole'
    return os.environ.get('SYSTOLE') or (str(built) if built.exists() else 'systole')


def read_labels(path):
    """{class: name} and the number of names. A line is a name, or, if all are so, an index and a name."""
    try:
        lines = Path(path).read_text(encoding='utf-8-sig').splitlines()
    except (OSError, UnicodeError) as error:
        raise Refused(f'{path}: {error}') from error
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise Refused(f'{path}: no labels')
    indexed = [re.fullmatch(r'\s*(\d+)[\s:,]+(\S.*)', line) for line in lines]
    if all(indexed):
        return {int(match[1]): match[2].strip() for match in indexed}
    return {index: line.strip() for index, line in enumerate(lines)}


def match_labels(labels, path, classes):
    if labels is None:
        return {}
    count = max(labels) + 1
    if count == classes - 1:
        # Models of ImageNet often have a class 0, "background", that lists of its 1000 names do not.
        return {0: 'background', **{index + 1: name for index, name in labels.items()}}
    if count != classes:
        raise Refused(f'{path}: {count} labels, but the model has {classes} classes')
    return labels


def run(options, folder):
    """Scores of all classes, and the report."""
    command = [options.systole, 'run', options.model, '--device', options.device, '--input', options.picture,
               '--output-dir', folder, '--report', f'{folder}/report.json']
    for name in ('mean', 'scale', 'target'):
        if getattr(options, name) is not None:
            command += [f'--{name}', getattr(options, name)]
    try:
        done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    except OSError as error:
        raise Refused(f'{options.systole}: {error.strerror}; build it with `make systole`, or name it with --systole') \
            from error
    if done.returncode != 0:
        sys.exit(done.returncode if done.returncode > 0 else 1)  # it has said why
    report = json.loads(Path(folder, 'report.json').read_text(encoding='utf-8'))
    output = report['outputs'][0]
    shape = [size for size in output['shape'] if size != 1]
    if len(report['outputs']) != 1 or len(shape) != 1 or output['dtype'] not in FORMATS:
        raise Refused(f'{options.model}: not a classifier: its output is not one vector of scores')
    data = Path(folder, 'output0.bin').read_bytes()
    scores = struct.unpack(f'<{shape[0]}{FORMATS[output["dtype"]]}', data)
    if len(output['scale']) == 1:
        scores = [output['scale'][0] * (q - output['zero_point'][0]) for q in scores]
    return scores, report


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    parser.add_argument('picture', help='PNG, JPEG or BMP; also .npy or a raw tensor')
    parser.add_argument('model', help='a classifier: .tflite, or a program made by `systole compile`')
    parser.add_argument('labels', nargs='?', help='text file: a name a line, in the order of the classes')
    parser.add_argument('--device', default='model', help='cpu, model, rtl or usb (see `systole run --help`)')
    parser.add_argument('--target', help='preset or description file')
    parser.add_argument('--mean', help='what a pixel stands for: (pixel - MEAN) * SCALE')
    parser.add_argument('--scale', help='a number or a fraction such as 1/127.5')
    parser.add_argument('--top', type=int, default=5, help='how many classes; default 5')
    parser.add_argument('--systole', default=default_systole(), help='the command; default: the one built here')
    options = parser.parse_args()
    try:
        labels = read_labels(options.labels) if options.labels else None
        with tempfile.TemporaryDirectory() as folder:
            scores, report = run(options, folder)
        labels = match_labels(labels, options.labels, len(scores))
        best = sorted(range(len(scores)), key=lambda index: (-scores[index], index))
        for index in best[:max(options.top, 1)]:
            print(f'{scores[index]:9.4f}  {index:5}  {labels.get(index, "")}'.rstrip())
        if 'cycles' in report:
            print(f'{report["cycles"]["total"]} cycles on {report["device"]} ({report["target"]})', file=sys.stderr)
    except Refused as refused:
        print(f'classify: {refused}', file=sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(main())
