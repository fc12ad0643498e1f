#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Systole authors
"""Trains the example's network on the handwritten digits of python3-sklearn, quantises it after training, and writes
digits_int8.tflite and pictures/. Needs Debian's python3-sklearn, python3-flatbuffers and flatbuffers-compiler, and for the
int8 accuracy build/bin/systole. Run it in the project's root:

    examples/digits/train.py

A picture has 8x8 pixels of 0 to 16. The model's input scale is 1/16 with zero point 0, so that a pixel's byte is the
tensor's byte. Quantisation follows TensorFlow's 8-bit specification: weights symmetric, one scale per output channel
(per tensor in the fully connected layer), activations asymmetric from the training set's extremes, bias int32."""
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

SEED, HELD_OUT, EPOCHS, BATCH, RATE, PICTURES = 1, 450, 40, 32, 0.01, 10
FLOAT32, INT32, INT8 = 0, 2, 9
ADD, AVERAGE_POOL, CONV, DEPTHWISE, FULLY_CONNECTED, RESHAPE, SOFTMAX = 0, 1, 3, 4, 9, 22, 25


def affine(low, high):
    """int8 scale and zero point of a range that holds 0."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / 255
    return scale, int(np.clip(round(-128 - low / scale), -128, 127))


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

    def tensor(self, name, shape, dtype, scale, zero_point, data=None, dimension=0):
        q = self.make("QuantizationParameters", scale=np.atleast_1d(np.float32(scale)),
                      zeroPoint=np.atleast_1d(np.int64(zero_point)), quantizedDimension=dimension)
        buffer = 0
        if data is not None:
            buffer = len(self.buffers)
            self.buffers.append(self.make("Buffer", data=np.frombuffer(data.tobytes(), np.uint8)))
        self.tensors.append(self.make("Tensor", shape=np.array(shape, np.int32), type=dtype, buffer=buffer,
                                      name=name, quantization=q))
        return len(self.tensors) - 1

    def operator(self, code, version, inputs, outputs, options_type, options):
        if (code, version) not in self.codes:
            self.codes.append((code, version))
        kind = getattr(__import__("systole.tflite.BuiltinOptions", fromlist=["x"]), "BuiltinOptions")
        self.operators.append(self.make(
            "Operator", opcodeIndex=self.codes.index((code, version)), inputs=np.array(inputs, np.int32),
            outputs=np.array(outputs, np.int32), builtinOptionsType=getattr(kind, options_type),
            builtinOptions=self.make(options_type, **options)))

    def finish(self, inputs, outputs):
        import flatbuffers
        codes = [self.make("OperatorCode", deprecatedBuiltinCode=c, builtinCode=c, version=v) for c, v in self.codes]
        graph = self.make("SubGraph", tensors=self.tensors, inputs=np.array(inputs, np.int32),
                          outputs=np.array(outputs, np.int32), operators=self.operators, name="digits")
        model = self.make("Model", version=3, operatorCodes=codes, subgraphs=[graph],
                          description="handwritten digits, 8x8", buffers=self.buffers)
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def quantised_model(network, ranges, schema):
    w = Writer(schema)

    def activation(name, shape):
        scale, zero_point = ranges[name]
        return w.tensor(name, shape, INT8, scale, zero_point)

    def weights(name, values, axis, per_channel, bias, input_scale):
        """values with output channels on `axis` -> indices of the weight and bias tensors."""
        others = tuple(a for a in range(values.ndim) if a != axis)
        largest = np.abs(values).max(others) if per_channel else np.abs(values).max(keepdims=True).reshape(1)
        scale = np.float32(np.maximum(largest, 1e-6) / 127)
        spread = scale.reshape([-1 if a == axis else 1 for a in range(values.ndim)])
        quantised = np.clip(np.round(values / spread), -127, 127).astype(np.int8)
        bias_scale = scale.astype(np.float64) * np.float32(input_scale)
        quantised_bias = np.round(bias / bias_scale).astype(np.int32)
        zeros = np.zeros(len(scale), np.int64)
        return [w.tensor(name + "/weights", values.shape, INT8, scale, zeros, quantised, axis if per_channel else 0),
                w.tensor(name + "/bias", bias.shape, INT32, bias_scale, zeros, quantised_bias)]

    image = activation("image", [1, 8, 8, 1])
    conv = dict(padding=0, strideW=1, strideH=1, dilationWFactor=1, dilationHFactor=1)

    def convolution(name, layer, source, source_name, shape):
        values = layer.weight.transpose(3, 0, 1, 2)
        output = activation(name, shape)
        w.operator(CONV, 3, [source] + weights(name, values, 0, True, layer.bias, ranges[source_name][0]), [output],
                   "Conv2DOptions", dict(conv, fusedActivationFunction=int(layer.relu)))
        return output

    def depthwise(name, layer, source, source_name, shape):
        output = activation(name, shape)
        w.operator(DEPTHWISE, 3, [source] + weights(name, layer.weight[None], 3, True, layer.bias,
                                                    ranges[source_name][0]), [output], "DepthwiseConv2DOptions",
                   dict(conv, strideW=layer.stride, strideH=layer.stride, depthMultiplier=1,
                        fusedActivationFunction=int(layer.relu)))
        return output

    first = convolution("first", network.first, image, "image", [1, 8, 8, 32])
    x = depthwise("depthwise1", network.depthwise1, first, "first", [1, 8, 8, 32])
    x = convolution("pointwise1", network.pointwise1, x, "depthwise1", [1, 8, 8, 32])
    total = activation("sum", [1, 8, 8, 32])
    w.operator(ADD, 2, [first, x], [total], "AddOptions", dict(fusedActivationFunction=1))
    x = depthwise("depthwise2", network.depthwise2, total, "sum", [1, 4, 4, 32])
    x = convolution("pointwise2", network.pointwise2, x, "depthwise2", [1, 4, 4, 64])
    ranges["pool"] = ranges["pointwise2"]  # pooling keeps its scale
    pool = activation("pool", [1, 1, 1, 64])
    w.operator(AVERAGE_POOL, 2, [x], [pool], "Pool2DOptions",
               dict(padding=1, strideW=4, strideH=4, filterWidth=4, filterHeight=4))
    flat = w.tensor("flat", [1, 64], INT8, *ranges["pool"])
    w.operator(RESHAPE, 1, [pool], [flat], "ReshapeOptions", dict(newShape=np.array([1, 64], np.int32)))
    logits = activation("logits", [1, 10])
    c = network.classifier
    w.operator(FULLY_CONNECTED, 4, [flat] + weights("logits", c.weight.T, 0, False, c.bias, ranges["pool"][0]),
               [logits], "FullyConnectedOptions", {})
    scores = w.tensor("scores", [1, 10], INT8, 1 / 256, -128)
    w.operator(SOFTMAX, 2, [logits], [scores], "SoftmaxOptions", dict(beta=1.0))
    return w.finish([image], [scores])


def int8_accuracy(model, images, labels):
    """Runs every picture through `systole run --device cpu`; None without the binary."""
    systole = ROOT / "build/bin/systole"
    if not systole.exists():
        return None
    right = 0
    with tempfile.TemporaryDirectory() as folder:
        for image, label in zip(images, labels):
            (Path(folder) / "input").write_bytes(np.uint8(image * 16).tobytes())
            subprocess.run([systole, "run", model, "--device", "cpu", "--input", f"{folder}/input", "--output-dir",
                            folder], check=True, stdout=subprocess.DEVNULL)
            scores = np.frombuffer((Path(folder) / "output0.bin").read_bytes(), np.int8)
            right += int(scores.argmax()) == label
    return right / len(images)


def main():
    data = load_digits()
    images, labels = (data.images / 16)[..., None], data.target
    rng = np.random.default_rng(SEED)
    order = rng.permutation(len(images))
    held, used = order[:HELD_OUT], order[HELD_OUT:]
    network = Network(rng)
    network.train(images[used], labels[used], rng, EPOCHS, BATCH, RATE)
    decided = network.forward(images[held])["logits"].argmax(1)
    accuracy = (decided == labels[held]).mean()

    ranges = {name: affine(a.min(), a.max()) for name, a in network.forward(images[used]).items()}
    ranges["image"] = (1 / 16, 0)
    with tempfile.TemporaryDirectory() as schema:
        subprocess.run(["flatc", "--python", "--gen-object-api", "-o", schema, ROOT / "graph/tflite.fbs"], check=True)
        sys.path.insert(0, schema)
        model = quantised_model(network, ranges, schema)
    path = HERE / "digits_int8.tflite"
    path.write_bytes(model)

    folder = HERE / "pictures"
    folder.mkdir(exist_ok=True)
    for digit in range(PICTURES):
        # The demo is about exactness, so it shows pictures that the float network reads rightly; accuracy is measured above.
        chosen = held[np.flatnonzero((labels[held] == digit) & (decided == digit))[0]]
        pixels = np.uint8(images[chosen, :, :, 0] * 16)
        (folder / f"{digit}.pgm").write_bytes(b"P5\n8 8\n16\n" + pixels.tobytes())
    exact = int8_accuracy(path, images[held], labels[held])
    print(f"{len(model)} bytes; held-out accuracy of {HELD_OUT} pictures: float {accuracy:.4f}, int8 " +
          (f"{exact:.4f}" if exact is not None else "not measured (make systole first)"))


if __name__ == "__main__":
    main()
