#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Systole authors
"""Takes the ELF image out of a bzImage (Documentation/arch/x86/boot.rst): QEMU boots it by PVH, which spares the guest
the unpacking, seconds in software emulation. usage: unpack_kernel.py VMLINUZ VMLINUX; status 1: it cannot be done."""
import struct
import subprocess
import sys

UNPACKERS = {b"\xfd7zXZ\0": ["xz", "-dc"], b"\x1f\x8b": ["gzip", "-dc"], b"\x28\xb5\x2f\xfd": ["zstd", "-dc"]}


def unpack(image):
    if image[0x202:0x206] != b"HdrS":
        return None
    setup_sectors = image[0x1F1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (setup_sectors + 1) * 512 + offset
    payload = image[start : start + length]
    for magic, command in UNPACKERS.items():
        if payload.startswith(magic):
            # Four bytes with the size follow the compressed stream; what was unpacked until there is whole.
            try:
                unpacked = subprocess.run(command, input=payload[:-4], stdout=subprocess.PIPE, check=False).stdout
            except FileNotFoundError:
                return None
            return unpacked if unpacked.startswith(b"\x7fELF") else None
    return None


if __name__ == "__main__":
    with open(sys.argv[1], "rb") as file:
        elf = unpack(file.read())
    if elf is None:
        sys.exit(1)
    with open(sys.argv[2], "wb") as file:
        file.write(elf)
