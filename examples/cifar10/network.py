# SPDX-License-Identifier: Apache-2.0
# Copyright The Systole authors
"""The example's network: a stem and three residual blocks (He, Zhang, Ren, Sun 2015, section 4.2, with one block a stage),
batch normalisation after each convolution, global average pooling and a classifier: 12.5 million multiplications a picture."""
import torch
from torch import nn

WIDTHS = (16, 32, 64)


class Convolution(nn.Module):
    """Convolution with TensorFlow's SAME padding, then batch normalisation."""

    def __init__(self, inputs, outputs, kernel, stride):
        super().__init__()
        self.stride = stride
        # SAME pads the far sides only where a 3x3 window strides by two over an even map.
        self.padding = nn.ZeroPad2d(0 if kernel == 1 else (0, 1, 0, 1) if stride == 2 else 1)
        self.convolution = nn.Conv2d(inputs, outputs, kernel, stride, bias=False)
        self.normalisation = nn.BatchNorm2d(outputs)

    def forward(self, x):
        return self.normalisation(self.convolution(self.padding(x)))

    def folded(self):
        """Weights [output][row][column][input] and bias [output] with the normalisation folded in."""
        n = self.normalisation
        scale = n.weight / torch.sqrt(n.running_var + n.eps)
        weight = self.convolution.weight * scale[:, None, None, None]
        bias = n.bias - n.running_mean * scale
        return weight.detach().permute(0, 2, 3, 1).contiguous().numpy(), bias.detach().numpy()


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.first = Convolution(inputs, outputs, 3, stride)
        self.second = Convolution(outputs, outputs, 3, 1)
        self.shortcut = Convolution(inputs, outputs, 1, stride) if stride != 1 else None

    def forward(self, x):
        kept = self.shortcut(x) if self.shortcut else x
        return torch.relu(self.second(torch.relu(self.first(x))) + kept)


class Network(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.stem = Convolution(3, WIDTHS[0], 3, 1)
        self.blocks = nn.ModuleList(
            Block(before, width, 1 if before == width else 2) for before, width in zip((WIDTHS[0],) + WIDTHS, WIDTHS))
        self.classifier = nn.Linear(WIDTHS[-1], classes)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        for block in self.blocks:
            x = block(x)
        return self.classifier(x.mean((2, 3)))
