#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Systole authors
"""Files that were cut and files with a flipped bit: bad_models.py SYSTOLE STRIDE FLIPS FILE...

Each FILE is cut at every STRIDE-th byte, and each of FLIPS times one random bit of it is flipped (the seed is fixed). A
.tflite is compiled and run on the CPU, a .systole is run on the functional model. Every command must end by itself with
status 0, or with 2 and one line of error, and then without any output file.
"""
import concurrent.futures
import os
import pathlib
import random
import subprocess
import sys
import tempfile

SECONDS = 120


def complaint(arguments, output):
    """What is wrong with how this command ended, or None."""
    try:
        done = subprocess.run(arguments, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return f"ran for {SECONDS} s"
    text = done.stderr.decode(errors="replace")
    if done.returncode not in (0, 2):
        return f"status {done.returncode}: {text[-2000:]}"
    if "Sanitizer" in text or "runtime error:" in text:
        return text[-2000:]
    left = sorted(p.name for p in output.parent.iterdir() if p.name.startswith(output.name))
    if done.returncode == 2:
        if not (text.startswith("systole: error: ") and text.count("\n") == 1):
            return f"not one clear error line: {text[-2000:]!r}"
        if left:
            return f"failed, but left {left}"
    elif left != [output.name]:
        return f"succeeded and left {left}"
    return None


def attempt(systole, name, what, data, folder):
    """Runs the commands on one bad file; returns complaints."""
    place = pathlib.Path(tempfile.mkdtemp(dir=folder))
    bad = place / ("bad" + pathlib.Path(name).suffix)
    bad.write_bytes(data)
    found = []
    commands = [["run", str(bad), "--report", str(place / "report")]]
    if bad.suffix == ".tflite":
        commands[0] += ["--device", "cpu"]
        commands.append(["compile", str(bad), "-o", str(place / "program")])
    for command in commands:
        wrong = complaint([systole] + command, place / command[-1 if command[0] == "compile" else 3].rsplit("/", 1)[1])
        if wrong:
            found.append(f"{name}, {what}: {command[0]}: {wrong}")
    if found:
        keep = os.environ.get("SYSTOLE_KEEP_BAD")
        if keep:
            pathlib.Path(keep, what.replace(" ", "_") + bad.suffix).write_bytes(data)
    subprocess.run(["rm", "-rf", str(place)], check=True)
    return found


def bad_files(path, stride, flips):
    data = pathlib.Path(path).read_bytes()
    for size in range(0, len(data), stride):
        yield f"cut at byte {size}", data[:size]
    dice = random.Random(1)
    for _ in range(flips):
        bit = dice.randrange(8 * len(data))
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        yield f"bit {bit} flipped", bytes(flipped)


def main():
    systole, stride, flips, paths = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
    found, count = [], 0
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        pending = []
        for path in paths:
            for what, data in bad_files(path, stride, flips):
                pending.append(pool.submit(attempt, systole, path, what, data, folder))
        for done in pending:
            count += 1
            found += done.result()
    for line in found[:20]:
        print(line)
    print(f"{count} bad files, {len(found)} complaints")
    sys.exit(bool(found))


main()
