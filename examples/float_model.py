# SPDX-License-Identifier: Apache-2.0
# Copyright The Systole authors
"""Writes a float32 .tflite file from a network's layers, through the classes that flatc makes of graph/tflite.fbs. Tensors are
named; each method appends one operator and returns its output's name. Layouts are TensorFlow Lite's: activations
[batch][row][column][channel], convolution weights [output][row][column][input], depthwise weights [1][row][column][channel],
fully connected weights [output][input]."""
import math
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path

import flatbuffers
import numpy as np

SCHEMA = Path(__file__).resolve().parent.parent / "graph/tflite.fbs"
FLOAT32, INT32 = 0, 2
SAME, VALID = 0, 1
NONE, RELU = 0, 1
# Numbers of TensorFlow Lite's BuiltinOperator.
CODES = {"ADD": 0, "AVERAGE_POOL_2D": 1, "CONV_2D": 3, "DEPTHWISE_CONV_2D": 4, "FULLY_CONNECTED": 9, "RESHAPE": 22,
         "SOFTMAX": 25}


class FloatModel:
    def __init__(self, description, name="main"):
        self.folder = tempfile.TemporaryDirectory()
        subprocess.run(["flatc", "--python", "--gen-object-api", "-o", self.folder.name, SCHEMA], check=True)
        sys.path.insert(0, self.folder.name)
        self.description, self.name = description, name
        self.buffers, self.tensors, self.operators, self.codes = [self._make("Buffer")], [], [], []
        self.index, self.shape = {}, {}

    @staticmethod
    def _class(name):
        return import_module(f"systole.tflite.{name}")

    def _make(self, kind, /, **fields):
        value = getattr(self._class(kind), kind + "T")()
        for key, field in fields.items():
            setattr(value, key, field)
        return value

    def tensor(self, name, shape, data=None, dtype=FLOAT32):
        """A tensor of `shape`, constant when `data` is given."""
        if name in self.index:
            raise ValueError(f"two tensors are named {name}")
        buffer = 0
        if data is not None:
            buffer = len(self.buffers)
            self.buffers.append(self._make("Buffer", data=np.frombuffer(data.tobytes(), np.uint8)))
        self.index[name], self.shape[name] = len(self.tensors), list(shape)
        self.tensors.append(self._make("Tensor", shape=np.array(shape, np.int32), type=dtype, buffer=buffer, name=name))
        return name

    def constant(self, name, values):
        return self.tensor(name, values.shape, values.astype(np.float32))

    def _operator(self, code, inputs, name, shape, options, constants=(), **fields):
        """`constants` are inputs, too, behind the others: pairs of what each is called below `name`, and its values."""
        builtin = CODES[code]
        if builtin not in self.codes:
            self.codes.append(builtin)
        self.tensor(name, shape)
        inputs = [*inputs, *(self.constant(f"{name}/{kind}", values) for kind, values in constants)]
        operator = self._make("Operator", opcodeIndex=self.codes.index(builtin),
                              inputs=np.array([self.index[i] for i in inputs], np.int32),
                              outputs=np.array([self.index[name]], np.int32),
                              builtinOptionsType=getattr(self._class("BuiltinOptions").BuiltinOptions, options),
                              builtinOptions=self._make(options, **fields))
        self.operators.append(operator)
        return name

    def convolution(self, name, source, weights, bias, stride=1, activation=NONE):
        batch, rows, columns, _ = self.shape[source]
        shape = [batch, math.ceil(rows / stride), math.ceil(columns / stride), weights.shape[0]]
        return self._operator("CONV_2D", [source], name, shape, "Conv2DOptions", [("weights", weights), ("bias", bias)],
                              padding=SAME, strideW=stride, strideH=stride, dilationWFactor=1, dilationHFactor=1,
                              fusedActivationFunction=activation)

    def depthwise(self, name, source, weights, bias, stride=1, activation=NONE):
        batch, rows, columns, channels = self.shape[source]
        shape = [batch, math.ceil(rows / stride), math.ceil(columns / stride), channels]
        return self._operator("DEPTHWISE_CONV_2D", [source], name, shape, "DepthwiseConv2DOptions",
                              [("weights", weights), ("bias", bias)], padding=SAME, strideW=stride, strideH=stride,
                              depthMultiplier=1, dilationWFactor=1, dilationHFactor=1, fusedActivationFunction=activation)

    def add(self, name, a, b, activation=NONE):
        return self._operator("ADD", [a, b], name, self.shape[a], "AddOptions", fusedActivationFunction=activation)

    def average_pool(self, name, source):
        """Over the whole map."""
        batch, rows, columns, channels = self.shape[source]
        return self._operator("AVERAGE_POOL_2D", [source], name, [batch, 1, 1, channels], "Pool2DOptions", padding=VALID,
                              strideW=columns, strideH=rows, filterWidth=columns, filterHeight=rows)

    def flatten(self, name, source):
        shape = [self.shape[source][0], int(np.prod(self.shape[source][1:]))]
        return self._operator("RESHAPE", [source], name, shape, "ReshapeOptions", newShape=np.array(shape, np.int32))

    def fully_connected(self, name, source, weights, bias, activation=NONE):
        return self._operator("FULLY_CONNECTED", [source], name, [self.shape[source][0], weights.shape[0]],
                              "FullyConnectedOptions", [("weights", weights), ("bias", bias)],
                              fusedActivationFunction=activation)

    def softmax(self, name, source):
        return self._operator("SOFTMAX", [source], name, self.shape[source], "SoftmaxOptions", beta=1.0)

    def write(self, path, inputs, outputs):
        """Writes the file; `inputs` and `outputs` are names."""
        codes = [self._make("OperatorCode", deprecatedBuiltinCode=c, builtinCode=c, version=1) for c in self.codes]
        graph = self._make("SubGraph", tensors=self.tensors, operators=self.operators, name=self.name,
                           inputs=np.array([self.index[i] for i in inputs], np.int32),
                           outputs=np.array([self.index[o] for o in outputs], np.int32))
        model = self._make("Model", version=3, operatorCodes=codes, subgraphs=[graph], description=self.description,
                           buffers=self.buffers)
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(model.Pack(builder), b"TFL3")
        Path(path).write_bytes(bytes(builder.Output()))
