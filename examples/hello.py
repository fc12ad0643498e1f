#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Systole authors
"""Which digit is in a picture? libsystole from Python, through ctypes and the standard library alone.

usage: hello.py MODEL.tflite PICTURE.pgm [cpu|model|rtl|usb ...]

The shared library is found as the system finds libraries; SYSTOLE_LIBRARY names another file.
"""
import ctypes
import os
import sys

PIXELS, CLASSES = 64, 10


class Diagnostic(ctypes.Structure):
    _fields_ = [("what", ctypes.c_char * 256), ("where", ctypes.c_char * 256), ("hint", ctypes.c_char * 256)]


class Systole:
    """The calls of systole.h that this example needs; a status other than 0 becomes an exception."""

    def __init__(self):
        self.library = ctypes.CDLL(os.environ.get("SYSTOLE_LIBRARY", "libsystole.so.0.1"))
        self.diagnostic = Diagnostic(b"the model has another input or output", b"MODEL")
        self.library.systole_device_name.restype = ctypes.c_char_p
        self.library.systole_inference_cycles.restype = ctypes.c_uint64
        self.library.systole_status_name.restype = ctypes.c_char_p

    def check(self, status):
        if status != 0:
            told = self.diagnostic
            name = self.library.systole_status_name(status).decode()
            raise RuntimeError(f"{name}: {told.what.decode()} ({told.where.decode()})")

    def make(self, call, *arguments):
        """Calls what gives an object through the pointer before the diagnostic."""
        made = ctypes.c_void_p()
        self.check(getattr(self.library, call)(*arguments, ctypes.byref(made), ctypes.byref(self.diagnostic)))
        return made


def main(model_path, picture_path, device_name="model"):
    with open(picture_path, "rb") as file:
        pixels = ctypes.create_string_buffer(file.read()[-PIXELS:], PIXELS)
    scores = (ctypes.c_int8 * CLASSES)()
    systole = Systole()
    library = systole.library
    device = model = inference = None
    try:
        device = systole.make("systole_device_open", device_name.encode(), None)
        model = systole.make("systole_model_load_file", device, os.fsencode(model_path))
        inference = systole.make("systole_inference_create", model)
        systole.check(library.systole_inference_set_input(inference, 0, pixels, ctypes.c_size_t(PIXELS)))
        systole.check(library.systole_inference_set_output(inference, 0, scores, ctypes.c_size_t(CLASSES)))
        systole.check(library.systole_inference_invoke(inference, ctypes.byref(systole.diagnostic)))
        digit = max(range(CLASSES), key=scores.__getitem__)
        cycles = library.systole_inference_cycles(inference)
        print(f"{library.systole_device_name(device).decode()}: a {digit}, in {cycles} cycles")
    finally:
        library.systole_inference_free(inference)
        library.systole_model_free(model)
        library.systole_device_close(device)


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except (RuntimeError, OSError) as error:
        sys.exit(f"hello.py: {error}")
