#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Systole authors
"""Trains the example's network on the handwritten digits of python3-sklearn, writes digits_float.tflite and pictures/, and
has `systole quantize` make digits_int8.tflite of it. Prints the accuracy of every mode of quantisation on held-out
pictures. Needs Debian's python3-sklearn, python3-flatbuffers and flatbuffers-compiler, and build/bin/systole. Run it in
the project's root:

    make systole && examples/digits/train.py

A picture has 8x8 pixels of 0 to 16, the network takes them as 0 to 1. The int8 model's input scale is given as 1/16 with
zero point 0, so that a pixel's byte is the tensor's byte; all other ranges are calibrated on the training pictures."""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
from float_model import NONE, RELU, FloatModel  # noqa: E402
from network import Network  # noqa: E402

SYSTOLE = ROOT / "build/bin/systole"

SEED, HELD_OUT, EPOCHS, BATCH, RATE, PICTURES = 1, 450, 40, 32, 0.01, 10


def export(network, path):
    """Writes the network as a float32 .tflite file."""
    m = FloatModel("handwritten digits, 8x8", "digits")

    def convolution(name, source):
        layer = getattr(network, name)
        return m.convolution(name, source, layer.weight.transpose(3, 0, 1, 2), layer.bias,
                             activation=RELU if layer.relu else NONE)

    def depthwise(name, source):
        layer = getattr(network, name)
        return m.depthwise(name, source, layer.weight[None], layer.bias, layer.stride, RELU if layer.relu else NONE)

    first = convolution("first", m.tensor("image", [1, 8, 8, 1]))
    x = m.add("sum", first, convolution("pointwise1", depthwise("depthwise1", first)), RELU)
    x = convolution("pointwise2", depthwise("depthwise2", x))
    c = network.classifier
    x = m.fully_connected("logits", m.flatten("flat", m.average_pool("pool", x)), c.weight.T, c.bias)
    m.write(path, ["image"], [m.softmax("scores", x)])


def accuracy(model, data, labels, report):
    """Of the model over the pictures in `data`, as `systole verify --labels` counts it, in percent."""
    subprocess.run([SYSTOLE, "verify", model, "--device", "cpu", "--labels", labels, "--input", data, "--report", report],
                   check=True, stdout=subprocess.DEVNULL)
    return json.loads(Path(report).read_text())["top1"]


def quantise(source, result, mode, data, *options):
    subprocess.run([SYSTOLE, "quantize", source, "-o", result, "--mode", mode, "--representative", data,
                    "--kernels", "reference", *options],
                   check=True, stdout=subprocess.DEVNULL)


def main():
    data = load_digits()
    images, labels = (data.images / 16)[..., None], data.target
    rng = np.random.default_rng(SEED)
    order = rng.permutation(len(images))
    held, used = order[:HELD_OUT], order[HELD_OUT:]
    network = Network(rng)
    network.train(images[used], labels[used], rng, EPOCHS, BATCH, RATE)
    decided = network.forward(images[held])["logits"].argmax(1)
    trained = (decided == labels[held]).mean()

    export(network, HERE / "digits_float.tflite")

    folder = HERE / "pictures"
    folder.mkdir(exist_ok=True)
    for digit in range(PICTURES):
        # The demo is about exactness, so it shows pictures that the float network reads rightly; accuracy is measured above.
        chosen = held[np.flatnonzero((labels[held] == digit) & (decided == digit))[0]]
        pixels = np.uint8(images[chosen, :, :, 0] * 16)
        (folder / f"{digit}.pgm").write_bytes(b"P5\n8 8\n16\n" + pixels.tobytes())

    float_path, int8_path = HERE / "digits_float.tflite", HERE / "digits_int8.tflite"
    rows = [("float32", float_path), ("full-integer", int8_path)]
    with tempfile.TemporaryDirectory() as work:
        training, held_out, held_labels = (f"{work}/{name}" for name in ("training.npy", "held_out.npy", "held_out.txt"))
        np.save(training, np.float32(images[used]))
        np.save(held_out, np.float32(images[held]))
        Path(held_labels).write_text("".join(f"{label}\n" for label in labels[held]))
        quantise(float_path, int8_path, "full-integer", training, "--io", "int8", "--strict", "--input-scale", "1/16,0")
        for mode in ("dynamic-range", "float16"):
            rows.append((mode, Path(work) / (mode + ".tflite")))
            quantise(float_path, rows[-1][1], mode, training)
        print(f"network as trained: {trained:.2%} of {HELD_OUT} held-out pictures")
        for name, path in rows:
            right = accuracy(path, held_out, held_labels, f"{work}/report.json")
            print(f"| {name} | {path.stat().st_size:,} | {right:.2f} % |")


if __name__ == "__main__":
    main()
