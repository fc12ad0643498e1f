#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Systole authors
"""Input files of every kind, with the tensors that they must become, for test_inputs.sh.

usage: make_inputs.py FOLDER DIGIT.pgm

The pictures are encoded here, the resize is done here in exact fractions, so that nothing is compared with itself.
FILE.x lies beside FILE.want, the tensor of 8x8x1 int8 with scale 1/16 and zero point 0 (the digits' input) unless its
name begins with rgb (32x32x3)."""
import random
import struct
import sys
import zlib
from fractions import Fraction
from math import ceil, floor
from pathlib import Path

folder = Path(sys.argv[1])
rng = random.Random(7)


def png(rows, colour):
    """8 bits a sample; rows are lists of samples, colour is PNG's colour type."""
    samples = {0: 1, 2: 3, 4: 2, 6: 4}[colour]

    def chunk(kind, body):
        return struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))
    header = struct.pack('>IIBBBBB', len(rows[0]) // samples, len(rows), 8, colour, 0, 0, 0)
    return (b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header)
            + chunk(b'IDAT', zlib.compress(b''.join(b'\0' + bytes(row) for row in rows))) + chunk(b'IEND', b''))


def bmp(rows):
    """24 bits a pixel, bottom row first, blue first, rows padded to words."""
    width = len(rows[0]) // 3
    body = b''
    for row in reversed(rows):
        line = b''.join(bytes(row[3 * x:3 * x + 3][::-1]) for x in range(width))
        body += line + bytes(-len(line) % 4)
    return (b'BM' + struct.pack('<IHHI', 54 + len(body), 0, 0, 54)
            + struct.pack('<IiiHHIIiiII', 40, width, len(rows), 1, 24, 0, len(body), 2835, 2835, 0, 0) + body)


def jpeg(rows):
    """Baseline, grey, each sample a flat block of 8x8: only the DC coefficients are there, so that nothing is lost."""
    def segment(marker, body):
        return bytes([255, marker]) + struct.pack('>H', len(body) + 2) + body
    # Categories 0 to 11 as codes of 4 bits; a single AC code, the end of a block, of 1 bit.
    dc = bytes([0, 0, 0, 12] + 12 * [0]) + bytes(range(12))
    ac = bytes([1] + 15 * [0]) + bytes([0])
    bits, last = '', 0
    for row in rows:
        for value in row:
            difference, last = value - 128 - last, value - 128
            size = abs(difference).bit_length()
            bits += format(size, '04b')
            if size:
                bits += format(difference if difference > 0 else difference + (1 << size) - 1, f'0{size}b')
            bits += '0'
    bits += '1' * (-len(bits) % 8)
    scan = bytes(int(bits[i:i + 8], 2) for i in range(0, len(bits), 8)).replace(b'\xff', b'\xff\0')
    return (b'\xff\xd8' + segment(0xDB, b'\0' + bytes(64 * [8]))
            + segment(0xC0, struct.pack('>BHHB', 8, 8 * len(rows), 8 * len(rows[0]), 1) + bytes([1, 0x11, 0]))
            + segment(0xC4, b'\0' + dc) + segment(0xC4, b'\x10' + ac)
            + segment(0xDA, bytes([1, 1, 0, 0, 63, 0])) + scan + b'\xff\xd9')


def resized(plane, height, width):
    """Bilinear, the triangle as wide as the reduction; exact, then to the nearest, halves up."""
    def taps(position, size, to):
        ratio = Fraction(size, to)
        centre, reach = (position + Fraction(1, 2)) * ratio - Fraction(1, 2), max(ratio, Fraction(1))
        inside = range(max(ceil(centre - reach), 0), min(floor(centre + reach), size - 1) + 1)
        weights = [(i, 1 - abs(i - centre) / reach) for i in inside]
        total = sum(w for _, w in weights)
        return [(i, w / total) for i, w in weights if w]
    across = [taps(x, len(plane[0]), width) for x in range(width)]
    result = []
    for y in range(height):
        down = taps(y, len(plane), height)
        result.append([floor(sum(v * h * plane[i][j] for i, v in down for j, h in along) + Fraction(1, 2))
                       for along in across])
    return result


def luma(rows):
    return [[(299 * r + 587 * g + 114 * b) * Fraction(1, 1000) for r, g, b in zip(row[::3], row[1::3], row[2::3])]
            for row in rows]


def sixteenths(pixel):
    """Quantised at scale 1/16 what (pixel - 0) / 255 is; no half lies between."""
    return floor(Fraction(pixel * 16, 255) + Fraction(1, 2))


def whole(pixel):
    return pixel - 128


def put(name, data, want=None):
    (folder / name).write_bytes(data)
    if want is not None:
        (folder / name).with_suffix('.want').write_bytes(bytes(v & 255 for v in want))


def flat(rows):
    return [v for row in rows for v in row]


def npy(descr, shape, body, version=(1, 0), order='False', text=None):
    text = text or "{'descr': '%s', 'fortran_order': %s, 'shape': %s, }" % (descr, order, shape)
    text = text.encode('latin1') + b'\n'
    length = struct.pack('<H' if version[0] == 1 else '<I', len(text))
    return b'\x93NUMPY' + bytes(version) + length + text + body


def noise(height, width):
    return [[rng.randrange(256) for _ in range(width)] for _ in range(height)]


# A digit as it is written: 0 to 16 as 0 to 255, to be run with --scale 1/255.
pixels = Path(sys.argv[2]).read_bytes()[-64:]
digit = [[p * 255 // 16 for p in pixels[8 * y:8 * y + 8]] for y in range(8)]
put('digit.png', png(digit, 0), pixels)
put('digit_scaled_up.jpg', jpeg(digit),
    [sixteenths(v) for v in flat(resized([[digit[y // 8][x // 8] for x in range(64)] for y in range(64)], 8, 8))])

# Noise through every coding and both directions of the resize; the whole range of pixels onto int8.
for height, width in ((8, 8), (13, 11), (5, 3), (1, 1), (8, 40), (101, 2)):
    rows = noise(height, width)
    put(f'whole_grey_{height}x{width}.png', png(rows, 0), [whole(v) for v in flat(resized(rows, 8, 8))])
    rows = noise(height, 3 * width)
    want = [whole(v) for v in flat(resized(luma(rows), 8, 8))]
    put(f'whole_colour_{height}x{width}.png', png(rows, 2), want)
    put(f'whole_bitmap_{height}x{width}.bmp', bmp(rows), want)
rows = noise(3, 5)
put('whole_flat_blocks.jpeg', jpeg(rows),
    [whole(v) for v in flat(resized([[rows[y // 8][x // 8] for x in range(40)] for y in range(24)], 8, 8))])
rows = noise(8, 16)
put('whole_grey_alpha.png', png(rows, 4), [whole(v) for row in rows for v in row[::2]])
rows = noise(8, 32)
put('whole_colour_alpha.png', png(rows, 6),
    [whole(v) for v in flat(resized(luma([[v for i, v in enumerate(row) if i % 4 != 3] for row in rows]), 8, 8))])
rows = noise(8, 8)
put('whole_misnamed.bmp', png(rows, 0), [whole(v) for v in flat(rows)])

# Colour stays colour.
for height, width in ((32, 32), (37, 50)):
    rows = noise(height, 3 * width)
    planes = [resized([row[c::3] for row in rows], 32, 32) for c in range(3)]
    put(f'rgb_{height}x{width}.png', png(rows, 2), [whole(planes[c][y][x]) for y in range(32) for x in range(32)
                                                    for c in range(3)])
    put(f'rgb_{height}x{width}.bmp', bmp(rows), (folder / f'rgb_{height}x{width}.want').read_bytes())
    floats = b''.join(struct.pack('<f', planes[c][y][x] / 255) for y in range(32) for x in range(32) for c in range(3))
    (folder / f'rgb_{height}x{width}.float').write_bytes(floats)
    floats = b''.join(struct.pack('<f', (planes[c][y][x] - m) / d) for y in range(32) for x in range(32)
                      for c, (m, d) in enumerate(((10, 2), (127.5, 127.5), (0, 255))))
    (folder / f'rgb_{height}x{width}.means').write_bytes(floats)

# .npy: as they are, quantised, bytes.
values = [rng.randrange(-128, 128) for _ in range(64)]
raw = bytes(v & 255 for v in values)
for version in (1, 2, 3):
    put(f'npy_version{version}.npy', npy('|i1', '(1, 8, 8, 1)', raw, (version, 0)), values)
put('npy_short_shape.npy', npy('|i1', '(8, 8, 1)', raw), values)
put('npy_long_shape.npy', npy('|i1', '(1, 1, 1, 8, 8, 1)', raw), values)
put('npy_python2.npy', npy('', '', raw, text='{"shape": (1L, 8L, 8L, 1L), "fortran_order": False, "descr": "<i1"}'),
    values)
put('npy_named_bin.bin', npy('|i1', '(1, 8, 8, 1)', raw), values)
put('npy_bytes.npy', npy('|u1', '(8, 8, 1)', bytes(v + 128 for v in values)), values)
reals = [0.0, 1 / 32, -1 / 32, 3 / 32, 0.03124, 7.9375, 8.0, 1e30, -1e30, float('inf'), -float('inf'), -8.0, 5e-324]
reals += [rng.uniform(-9, 9) for _ in range(64 - len(reals))]
singles = struct.pack('<64f', *reals)
wants = []
for value in struct.unpack('<64f', singles):
    scaled = max(min(value * 16, 127.0), -128.0)  # exact: 16 is a power of two
    wants.append(max(min(floor(abs(scaled) + 0.5) * (1 if scaled >= 0 else -1), 127), -128))
put('npy_floats.npy', npy('<f4', '(1, 8, 8, 1)', singles), wants)

# What must be refused.
good = npy('|i1', '(1, 8, 8, 1)', raw)
bad = {
    'nan': npy('<f4', '(1, 8, 8, 1)', singles[:-4] + struct.pack('<f', float('nan'))),
    'big_endian': npy('>f4', '(1, 8, 8, 1)', singles),
    'double': npy('<f8', '(1, 8, 8, 1)', struct.pack('<64d', *reals)),
    'object': npy('|O', '(1, 8, 8, 1)', raw),
    'structured': npy('', '', raw, text="{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (64,)}"),
    'fortran': npy('|i1', '(1, 8, 8, 1)', raw, order='True'),
    'shape': npy('|i1', '(1, 4, 16, 1)', raw),
    'flat': npy('|i1', '(64,)', raw),
    'trailing_one': npy('|i1', '(8, 8)', raw),
    'zero': npy('|i1', '(0,)', b''),
    'scalar': npy('|i1', '()', b'a'),
    'huge': npy('|i1', '(99999999999999999999999, 8, 8, 1)', raw),
    'overflow': npy('|i1', '(2147483647, 2147483647, 2147483647, 2147483647)', raw),
    'negative': npy('|i1', '(-1, 8, 8, 1)', raw),
    'rank': npy('|i1', '(' + '2, ' * 40 + ')', raw),
    'unclosed': npy('', '', raw, text="{'descr': '|i1', 'fortran_order': False, 'shape': (1, 8"),
    'no_quote': npy('', '', raw, text="{'descr': '|i1"),
    'long_string': npy('', '', raw, text="{'descr': '" + 'a' * 3000 + "', 'fortran_order': False, 'shape': (64,)}"),
    'twice': npy('', '', raw, text="{'descr': '|i1', 'descr': '|i1', 'fortran_order': False, 'shape': (1, 8, 8, 1)}"),
    'missing': npy('', '', raw, text="{'descr': '|i1', 'shape': (1, 8, 8, 1)}"),
    'other_key': npy('', '', raw, text="{'descr': '|i1', 'fortran_order': False, 'shape': (1, 8, 8, 1), 'x': 1}"),
    'behind': npy('', '', raw, text="{'descr': '|i1', 'fortran_order': False, 'shape': (1, 8, 8, 1)} x"),
    'empty_header': npy('', '', raw, text=' '),
    'header_beyond': b'\x93NUMPY\1\0\xff\xff' + good[10:],
    'header_beyond2': b'\x93NUMPY\2\0\xff\xff\xff\xff' + good[10:],
    'version': b'\x93NUMPY\4\0' + good[8:],
    'trailing': good + b'x',
    'only_magic': b'\x93NUMPY',
    'eleven_bytes': b'\x93NUMPY\2\0\0\0\0',
}
for name, data in bad.items():
    put(f'bad_{name}.npy', data)
for cut in range(0, len(good), 7):
    put(f'bad_cut{cut}.npy', good[:cut])

picture, photograph, bitmap = png(noise(20, 20), 0), jpeg(noise(6, 6)), bmp(noise(9, 27))
for cut in (4, 8, 20, 33, 60, len(picture) - 40):
    put(f'bad_cut{cut}.png', picture[:cut])
for cut in (3, 20, 90, len(photograph) // 2):
    put(f'bad_cut{cut}.jpg', photograph[:cut])
for cut in (2, 14, 40, 54, 100):
    put(f'bad_cut{cut}.bmp', bitmap[:cut])
for name, (height, width) in {'wide': (1, 2**31 - 1), 'large': (60000, 60000), 'no': (0, 0)}.items():
    header = b'IHDR' + struct.pack('>IIBBBBB', width, height, 8, 0, 0, 0, 0)
    put(f'bad_{name}.png', picture[:12] + header + struct.pack('>I', zlib.crc32(header)) + picture[33:])
    put(f'bad_{name}.bmp', bitmap[:18] + struct.pack('<ii', width, height) + bitmap[26:])
put('bad_large.jpg', photograph.replace(struct.pack('>HH', 48, 48), struct.pack('>HH', 65000, 65000)))
# Any byte of a file may be any other: these may be read or refused, never more.
for kind, data in (('png', picture), ('jpg', photograph), ('bmp', bitmap), ('npy', good)):
    for i in range(12):
        mutant = bytearray(data)
        for _ in range(rng.randrange(1, 4)):
            mutant[rng.randrange(8 if kind != 'bmp' else 2, len(data))] = rng.randrange(256)
        put(f'mutant{i}.{kind}', bytes(mutant))
