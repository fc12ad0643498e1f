#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Systole authors
"""Writes what `systole quantize` and `systole verify --labels` read: representative.npy, some training pictures, and
held_out.npy with held_out.txt, all pictures never trained with, as bytes / 255.

    examples/cifar10/prepare.py PACKAGE_FOLDER OUTPUT_FOLDER"""
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
from pictures import load  # noqa: E402

REPRESENTATIVE = 200


def main():
    package, output = Path(sys.argv[1]), Path(sys.argv[2])
    (used, _), (held, labels) = load(package)
    output.mkdir(parents=True, exist_ok=True)
    np.save(output / "representative.npy", used[:REPRESENTATIVE].astype(np.float32) / 255)
    np.save(output / "held_out.npy", held.astype(np.float32) / 255)
    (output / "held_out.txt").write_text("".join(f"{label}\n" for label in labels))


if __name__ == "__main__":
    main()
