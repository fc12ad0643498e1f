#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Systole authors
"""Representative data for test_quantize.sh: for the digits (8x8x1, 0 to 1) good ones in every form, and bad ones of every kind.

usage: make_samples.py FOLDER DIGITS_FOLDER"""
import io
import math
import random
import struct
import sys
import zipfile
import zlib
from pathlib import Path

folder = Path(sys.argv[1])
rng = random.Random(3)
pictures = [path.read_bytes()[-64:] for path in sorted(Path(sys.argv[2]).glob('*.pgm'))]


def npy(descr, shape, body, order='False'):
    text = ("{'descr': '%s', 'fortran_order': %s, 'shape': %s, }" % (descr, order, shape)).encode('latin1')
    text += b' ' * (-(len(text) + 11) % 64) + b'\n'
    return b'\x93NUMPY\1\0' + struct.pack('<H', len(text)) + text + body


def floats(values, code='f'):
    return struct.pack('<%d%s' % (len(values), code), *values)


def npz(members, method=zipfile.ZIP_STORED):
    data = io.BytesIO()
    with zipfile.ZipFile(data, 'w', method) as archive:
        for name, body in members.items():
            archive.writestr(name, body)
    return data.getvalue()


values = [pixel / 16 for picture in pictures for pixel in picture]
values += [rng.random() for _ in range(64 * 6)]
good = npy('<f4', (16, 8, 8, 1), floats(values))
bytes_of = bytes(round(v * 255) for v in values)
files = {
    'good.npy': good,
    'good_one.npy': npy('<f4', (8, 8, 1), floats(values[:64])),
    'good_batch.npy': npy('<f4', (2, 8, 1, 8, 8, 1), floats(values)),
    'good_double.npy': npy('<f8', (16, 8, 8, 1), floats(values, 'd')),
    'good_half.npy': npy('<f2', (16, 8, 8, 1), floats(values, 'e')),
    'pixels.npy': npy('|u1', (16, 8, 8, 1), bytes_of),
    'good_stored.npz': npz({'image.npy': good}),
    'good_deflated.npz': npz({'image.npy': good, 'other.npy': good}, zipfile.ZIP_DEFLATED),
    'good_single.npz': npz({'arr_0.npy': good}),
    'bad_nan.npy': npy('<f4', (2, 8, 8, 1), floats([math.nan] + values[:127])),
    'bad_infinite.npy': npy('<f4', (2, 8, 8, 1), floats(values[:127] + [math.inf])),
    'bad_huge.npy': npy('<f8', (1, 8, 8, 1), floats(values[:63] + [1e300], 'd')),
    'bad_empty.npy': npy('<f4', (0, 8, 8, 1), b''),
    'bad_shape.npy': npy('<f4', (16, 64), floats(values)),
    'bad_channels.npy': npy('<f4', (2, 8, 8, 8), floats(values)),
    'bad_type.npy': npy('<i4', (1, 8, 8, 1), struct.pack('<64i', *range(64))),
    'bad_bytes.npy': npy('|u1', (16, 8, 8, 1), bytes_of),
    'bad_objects.npy': npy('|O', (1, 8, 8, 1), b'\x80\x04N.' * 16),
    'bad_order.npy': npy('<f4', (16, 8, 8, 1), floats(values), order='True'),
    'bad_cut.npy': good[:-5],
    'bad_header.npy': good[:40],
    'bad_nothing.npy': b'',
    'bad_text.npy': b'not an array\n',
    'bad_names.npz': npz({'a.npy': good, 'b.npy': good}),
    'bad_empty.npz': npz({}),
    'bad_member.npz': npz({'image.npy': b'no array'}),
    'bad_cut.npz': npz({'image.npy': good})[:-30],
    'bad_vast.npz': npz({'image.npy': npy('<f4', (2147483647, 2147483647, 8, 8, 1), b'')}),
}
damaged = bytearray(npz({'image.npy': good}, zipfile.ZIP_DEFLATED))
damaged[200] ^= 0x55
files['bad_damaged.npz'] = bytes(damaged)
for name, data in files.items():
    (folder / name).write_bytes(data)


def png(picture):
    def chunk(kind, body):
        return struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))
    rows = b''.join(b'\0' + bytes(p * 255 // 16 for p in picture[8 * y:8 * y + 8]) for y in range(8))
    return (b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', 8, 8, 8, 0, 0, 0, 0))
            + chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b''))


for name, count in (('pictures', len(pictures)), ('bad_folder', 1), ('no_pictures', 0)):
    (folder / name).mkdir()
    for number, picture in enumerate(pictures[:count]):
        (folder / name / f'{number}.png').write_bytes(png(picture))
(folder / 'bad_folder' / 'note.txt').write_text('not a picture\n')
