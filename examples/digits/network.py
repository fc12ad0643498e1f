# SPDX-License-Identifier: Apache-2.0
# Copyright The Systole authors
"""A small convolutional network in numpy: the layers with their gradients, and Adam.

Feature maps are N x H x W x C. A layer keeps what its gradient needs from the last forward pass."""
import numpy as np


def windows(x, stride):
    """3x3 windows with SAME padding (TensorFlow's rule): N x OH x OW x 3 x 3 x C, and the padding before."""
    n, h, w, c = x.shape
    oh, ow = -(-h // stride), -(-w // stride)
    before = [max((o - 1) * stride + 3 - s, 0) // 2 for o, s in ((oh, h), (ow, w))]
    padded = np.zeros((n, (oh - 1) * stride + 3, (ow - 1) * stride + 3, c), x.dtype)
    padded[:, before[0]:before[0] + h, before[1]:before[1] + w] = x[:, :padded.shape[1] - before[0],
                                                                  :padded.shape[2] - before[1]]
    view = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))[:, ::stride, ::stride]
    return view.transpose(0, 1, 2, 4, 5, 3), before


def scatter(grad, shape, stride, before):
    """The transpose of windows()."""
    n, h, w, c = shape
    oh, ow = grad.shape[1:3]
    padded = np.zeros((n, max((oh - 1) * stride + 3, h + before[0]), max((ow - 1) * stride + 3, w + before[1]), c))
    for ky in range(3):
        for kx in range(3):
            padded[:, ky:ky + oh * stride:stride, kx:kx + ow * stride:stride] += grad[:, :, :, ky, kx]
    return padded[:, before[0]:before[0] + h, before[1]:before[1] + w]


class Layer:
    relu = False

    def activate(self, y):
        self.mask = y > 0 if self.relu else None
        return y * self.mask if self.relu else y

    def deactivate(self, grad):
        return grad * self.mask if self.relu else grad


class Convolution(Layer):
    """Weights kh x kw x in x out; kernels of 3x3 with SAME padding, or 1x1."""

    def __init__(self, rng, kernel, inputs, outputs, relu=True):
        self.kernel, self.relu = kernel, relu
        self.weight = rng.normal(0, np.sqrt(2 / (kernel * kernel * inputs)), (kernel, kernel, inputs, outputs))
        self.bias = np.zeros(outputs)

    def forward(self, x):
        self.x = x
        self.view, self.before = windows(x, 1) if self.kernel == 3 else (x[:, :, :, None, None], None)
        return self.activate(np.tensordot(self.view, self.weight, 3) + self.bias)

    def backward(self, grad):
        grad = self.deactivate(grad)
        self.weight_grad = np.tensordot(self.view, grad, ([0, 1, 2], [0, 1, 2]))
        self.bias_grad = grad.sum((0, 1, 2))
        spread = np.tensordot(grad, self.weight, ([3], [3]))
        return scatter(spread, self.x.shape, 1, self.before) if self.kernel == 3 else spread[:, :, :, 0, 0]


class Depthwise(Layer):
    """3x3, SAME padding; weights 3 x 3 x channels."""

    def __init__(self, rng, channels, stride, relu=True):
        self.stride, self.relu = stride, relu
        self.weight = rng.normal(0, np.sqrt(2 / 9), (3, 3, channels))
        self.bias = np.zeros(channels)

    def forward(self, x):
        self.x = x
        self.view, self.before = windows(x, self.stride)
        return self.activate(np.einsum("nyxijc,ijc->nyxc", self.view, self.weight) + self.bias)

    def backward(self, grad):
        grad = self.deactivate(grad)
        self.weight_grad = np.einsum("nyxijc,nyxc->ijc", self.view, grad)
        self.bias_grad = grad.sum((0, 1, 2))
        return scatter(grad[:, :, :, None, None] * self.weight, self.x.shape, self.stride, self.before)


class Dense(Layer):
    """Weights in x out."""

    def __init__(self, rng, inputs, outputs):
        self.weight = rng.normal(0, np.sqrt(1 / inputs), (inputs, outputs))
        self.bias = np.zeros(outputs)

    def forward(self, x):
        self.x = x
        return x @ self.weight + self.bias

    def backward(self, grad):
        self.weight_grad = self.x.T @ grad
        self.bias_grad = grad.sum(0)
        return grad @ self.weight.T


class Network:
    """Convolution, a depthwise separable residual block, a strided one, average pooling, classifier."""

    def __init__(self, rng):
        self.first = Convolution(rng, 3, 1, 32)
        self.depthwise1 = Depthwise(rng, 32, 1)
        self.pointwise1 = Convolution(rng, 1, 32, 32, relu=False)
        self.depthwise2 = Depthwise(rng, 32, 2)
        self.pointwise2 = Convolution(rng, 1, 32, 64)
        self.classifier = Dense(rng, 64, 10)
        self.layers = [self.first, self.depthwise1, self.pointwise1, self.depthwise2, self.pointwise2, self.classifier]

    def forward(self, x):
        """Activations by name, in execution order; the last holds the logits."""
        a = {"first": self.first.forward(x)}
        a["depthwise1"] = self.depthwise1.forward(a["first"])
        a["pointwise1"] = self.pointwise1.forward(a["depthwise1"])
        self.sum_mask = a["first"] + a["pointwise1"] > 0
        a["sum"] = (a["first"] + a["pointwise1"]) * self.sum_mask
        a["depthwise2"] = self.depthwise2.forward(a["sum"])
        a["pointwise2"] = self.pointwise2.forward(a["depthwise2"])
        a["pool"] = a["pointwise2"].mean((1, 2))
        a["logits"] = self.classifier.forward(a["pool"])
        return a

    def backward(self, activations, grad):
        n, h, w, c = activations["pointwise2"].shape
        grad = self.classifier.backward(grad)
        grad = np.broadcast_to(grad[:, None, None] / (h * w), (n, h, w, c))
        grad = self.depthwise2.backward(self.pointwise2.backward(grad)) * self.sum_mask
        self.first.backward(grad + self.depthwise1.backward(self.pointwise1.backward(grad)))

    def train(self, images, labels, rng, epochs, batch, rate):
        moments = [[np.zeros_like(p), np.zeros_like(p)] for layer in self.layers for p in (layer.weight, layer.bias)]
        step, steps = 0, epochs * (len(images) // batch)
        for epoch in range(epochs):
            order = rng.permutation(len(images))
            for start in range(0, len(order) - batch + 1, batch):
                chosen = order[start:start + batch]
                shifted = images[chosen] + rng.normal(0, 0.1, images[chosen].shape)
                activations = self.forward(shifted)
                scores = softmax(activations["logits"])
                scores[np.arange(batch), labels[chosen]] -= 1
                self.backward(activations, scores / batch)
                step += 1
                speed = rate * 0.5 * (1 + np.cos(np.pi * step / steps))
                parameters = [(layer, name) for layer in self.layers for name in ("weight", "bias")]
                for (layer, name), m in zip(parameters, moments):
                    grad = getattr(layer, name + "_grad")
                    m[0] = 0.9 * m[0] + 0.1 * grad
                    m[1] = 0.999 * m[1] + 0.001 * grad * grad
                    update = m[0] / (1 - 0.9**step) / (np.sqrt(m[1] / (1 - 0.999**step)) + 1e-8)
                    setattr(layer, name, getattr(layer, name) - speed * update)


def softmax(logits):
    e = np.exp(logits - logits.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)
