#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Systole authors
"""Trains the example's network on CIFAR-10 and writes cifar10_float.tflite. Needs Debian's python3-torch, python3-pil,
python3-flatbuffers and flatbuffers-compiler, and the folder in which `make cifar10-data` unpacks the pictures:

    examples/cifar10/train.py build/cifar10/package

A pixel enters as byte / 255. Training turns pictures left to right and shifts them by up to four pixels; the rate rises and
falls in one cycle (Smith 2018). About ten minutes on one core."""
import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
from float_model import NONE, RELU, FloatModel  # noqa: E402
from network import Network  # noqa: E402
from pictures import CLASSES, load  # noqa: E402

SEED, BATCH, RATE, DECAY, SHIFT = 1, 128, 0.4, 5e-4, 4


def augmented(pictures, generator):
    """Each picture turned left to right or not, and cut out of its zero-padded self at a random place."""
    padded = nn.functional.pad(pictures, (SHIFT,) * 4)
    count, side = len(pictures), pictures.shape[-1]
    rows, columns = torch.randint(0, 2 * SHIFT + 1, (2, count), generator=generator)
    out = torch.stack([padded[i, :, r:r + side, c:c + side] for i, (r, c) in enumerate(zip(rows.tolist(), columns.tolist()))])
    turned = torch.rand(count, generator=generator) < 0.5
    out[turned] = out[turned].flip(3)
    return out


def accuracy(network, pictures, labels):
    network.eval()
    with torch.no_grad():
        right = sum((network(pictures[i:i + 500]).argmax(1) == labels[i:i + 500]).sum().item()
                    for i in range(0, len(pictures), 500))
    return right / len(pictures)


def train(network, pictures, labels, epochs, report):
    generator = torch.Generator().manual_seed(SEED)
    optimiser = torch.optim.SGD(network.parameters(), RATE, momentum=0.9, weight_decay=DECAY, nesterov=True)
    steps = epochs * (len(pictures) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps, pct_start=0.25)
    for epoch in range(epochs):
        network.train()
        order = torch.randperm(len(pictures), generator=generator)
        begin, total = time.monotonic(), 0.0
        for i in range(0, len(order) - BATCH + 1, BATCH):
            chosen = order[i:i + BATCH]
            loss = nn.functional.cross_entropy(network(augmented(pictures[chosen], generator)), labels[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item()
        report(epoch, total / (len(order) // BATCH), time.monotonic() - begin)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="where the pictures lie")
    parser.add_argument("--epochs", type=int, default=12)
    arguments = parser.parse_args()
    torch.manual_seed(SEED)
    (used, used_labels), (held, held_labels) = load(arguments.folder)

    def prepared(pictures):
        return torch.from_numpy(pictures.transpose(0, 3, 1, 2).astype(np.float32) / 255)

    network = Network(len(CLASSES)).to(memory_format=torch.channels_last)
    held, held_labels = prepared(held), torch.from_numpy(held_labels)

    def report(epoch, loss, seconds):
        print(f"epoch {epoch + 1:2}: loss {loss:.3f}, held-out accuracy {accuracy(network, held, held_labels):.4f}, "
              f"{seconds:.0f} s", flush=True)

    train(network, prepared(used), torch.from_numpy(used_labels), arguments.epochs, report)
    network.eval()
    export(network, HERE / "cifar10_float.tflite")


def export(network, path):
    """Writes the network, its normalisations folded, as a float32 .tflite file."""
    m = FloatModel("CIFAR-10 pictures, a residual network")

    def convolution(name, layer, source, activation):
        return m.convolution(name, source, *layer.folded(), stride=layer.stride, activation=activation)

    x = convolution("stem", network.stem, m.tensor("picture", [1, 32, 32, 3]), RELU)
    for i, block in enumerate(network.blocks, 1):
        kept = convolution(f"block{i}/shortcut", block.shortcut, x, NONE) if block.shortcut else x
        inner = convolution(f"block{i}/first", block.first, x, RELU)
        x = m.add(f"block{i}", convolution(f"block{i}/second", block.second, inner, NONE), kept, RELU)
    x = m.flatten("flat", m.average_pool("pool", x))
    c = network.classifier
    x = m.fully_connected("logits", x, c.weight.detach().numpy(), c.bias.detach().numpy())
    m.write(path, ["picture"], [m.softmax("scores", x)])


if __name__ == "__main__":
    main()
