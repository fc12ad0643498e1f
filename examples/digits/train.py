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
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE))
from network import Network  # noqa: E402

SYSTOLE = ROOT / "build/bin/systole"

SEED, HELD_OUT, EPOCHS, BATCH, RATE, PICTURES = 1, 450, 40, 32, 0.01, 10
FLOAT32 = 0
ADD, AVERAGE_POOL, CONV, DEPTHWISE, FULLY_CONNECTED, RESHAPE, SOFTMAX = 0, 1, 3, 4, 9, 22, 25


class Writer:
    """Collects tensors, buffers and operators of a model in the schema's object form."""

    def __init__(self, schema):
        self.schema = schema
        self.tensors, self.buffers, self.operators, self.codes = [], [self.make("Buffer")], [], []

    def make(self, kind, /, **fields):
        value = getattr(__import__(f"systole.tflite.{kind}", fromlist=["x"]), kind + "T")()
        for key, field in fields.items():
            setattr(value, key, field)
        return value

    def tensor(self, name, shape, data=None):
        buffer = 0
        if data is not None:
            buffer = len(self.buffers)
            self.buffers.append(self.make("Buffer", data=np.frombuffer(np.float32(data).tobytes(), np.uint8)))
        self.tensors.append(self.make("Tensor", shape=np.array(shape, np.int32), type=FLOAT32, buffer=buffer, name=name))
        return len(self.tensors) - 1

    def operator(self, code, inputs, outputs, options_type, options):
        if code not in self.codes:
            self.codes.append(code)
        kind = getattr(__import__("systole.tflite.BuiltinOptions", fromlist=["x"]), "BuiltinOptions")
        self.operators.append(self.make(
            "Operator", opcodeIndex=self.codes.index(code), inputs=np.array(inputs, np.int32),
            outputs=np.array(outputs, np.int32), builtinOptionsType=getattr(kind, options_type),
            builtinOptions=self.make(options_type, **options)))

    def finish(self, inputs, outputs):
        import flatbuffers
        codes = [self.make("OperatorCode", deprecatedBuiltinCode=c, builtinCode=c, version=1) for c in self.codes]
        graph = self.make("SubGraph", tensors=self.tensors, inputs=np.array(inputs, np.int32),
                          outputs=np.array(outputs, np.int32), operators=self.operators, name="digits")
        model = self.make("Model", version=3, operatorCodes=codes, subgraphs=[graph],
                          description="handwritten digits, 8x8", buffers=self.buffers)
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def float_model(network, schema):
    w = Writer(schema)
    conv = dict(padding=0, strideW=1, strideH=1, dilationWFactor=1, dilationHFactor=1)

    def parameters(name, values, bias):
        return [w.tensor(name + "/weights", values.shape, values), w.tensor(name + "/bias", bias.shape, bias)]

    def convolution(name, layer, source, shape):
        output = w.tensor(name, shape)
        w.operator(CONV, [source] + parameters(name, layer.weight.transpose(3, 0, 1, 2), layer.bias), [output],
                   "Conv2DOptions", dict(conv, fusedActivationFunction=int(layer.relu)))
        return output

    def depthwise(name, layer, source, shape):
        output = w.tensor(name, shape)
        w.operator(DEPTHWISE, [source] + parameters(name, layer.weight[None], layer.bias), [output],
                   "DepthwiseConv2DOptions", dict(conv, strideW=layer.stride, strideH=layer.stride, depthMultiplier=1,
                                                  fusedActivationFunction=int(layer.relu)))
        return output

    image = w.tensor("image", [1, 8, 8, 1])
    first = convolution("first", network.first, image, [1, 8, 8, 32])
    x = depthwise("depthwise1", network.depthwise1, first, [1, 8, 8, 32])
    x = convolution("pointwise1", network.pointwise1, x, [1, 8, 8, 32])
    total = w.tensor("sum", [1, 8, 8, 32])
    w.operator(ADD, [first, x], [total], "AddOptions", dict(fusedActivationFunction=1))
    x = depthwise("depthwise2", network.depthwise2, total, [1, 4, 4, 32])
    x = convolution("pointwise2", network.pointwise2, x, [1, 4, 4, 64])
    pool = w.tensor("pool", [1, 1, 1, 64])
    w.operator(AVERAGE_POOL, [x], [pool], "Pool2DOptions",
               dict(padding=1, strideW=4, strideH=4, filterWidth=4, filterHeight=4))
    flat = w.tensor("flat", [1, 64])
    w.operator(RESHAPE, [pool], [flat], "ReshapeOptions", dict(newShape=np.array([1, 64], np.int32)))
    logits = w.tensor("logits", [1, 10])
    c = network.classifier
    w.operator(FULLY_CONNECTED, [flat] + parameters("logits", c.weight.T, c.bias), [logits], "FullyConnectedOptions", {})
    scores = w.tensor("scores", [1, 10])
    w.operator(SOFTMAX, [logits], [scores], "SoftmaxOptions", dict(beta=1.0))
    return w.finish([image], [scores])


def accuracy(model, images, labels, dtype):
    """Runs every picture through `systole run --device cpu`; images hold the tensor's values."""
    right = 0
    with tempfile.TemporaryDirectory() as folder:
        for image, label in zip(images, labels):
            (Path(folder) / "input").write_bytes(dtype(image).tobytes())
            subprocess.run([SYSTOLE, "run", model, "--device", "cpu", "--input", f"{folder}/input", "--output-dir",
                            folder], check=True, stdout=subprocess.DEVNULL)
            scores = np.frombuffer((Path(folder) / "output0.bin").read_bytes(), np.int8 if dtype == np.int8 else np.float32)
            right += int(scores.argmax()) == label
    return right / len(images)


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

    with tempfile.TemporaryDirectory() as schema:
        subprocess.run(["flatc", "--python", "--gen-object-api", "-o", schema, ROOT / "graph/tflite.fbs"], check=True)
        sys.path.insert(0, schema)
        (HERE / "digits_float.tflite").write_bytes(float_model(network, schema))

    folder = HERE / "pictures"
    folder.mkdir(exist_ok=True)
    for digit in range(PICTURES):
        # The demo is about exactness, so it shows pictures that the float network reads rightly; accuracy is measured above.
        chosen = held[np.flatnonzero((labels[held] == digit) & (decided == digit))[0]]
        pixels = np.uint8(images[chosen, :, :, 0] * 16)
        (folder / f"{digit}.pgm").write_bytes(b"P5\n8 8\n16\n" + pixels.tobytes())

    rows = [("float32", HERE / "digits_float.tflite", np.float32, 1)]
    with tempfile.TemporaryDirectory() as work:
        data = f"{work}/training.npy"
        np.save(data, np.float32(images[used]))
        quantise(rows[0][1], HERE / "digits_int8.tflite", "full-integer", data, "--io", "int8", "--strict",
                 "--input-scale", "1/16,0")
        rows.append(("full-integer", HERE / "digits_int8.tflite", np.int8, 16))
        for mode in ("dynamic-range", "float16"):
            path = Path(work) / (mode + ".tflite")
            quantise(rows[0][1], path, mode, data)
            rows.append((mode, path, np.float32, 1))
        print(f"network as trained: {trained:.2%} of {HELD_OUT} held-out pictures")
        for name, path, dtype, factor in rows:
            found = accuracy(path, images[held] * factor, labels[held], dtype)
            print(f"| {name} | {path.stat().st_size:,} | {found:.2%} |")


if __name__ == "__main__":
    main()
