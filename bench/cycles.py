#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Systole authors
"""Remakes bench/cycles.tsv, or holds the present tree against it.

Each conformance model that has a multiplication on the device, and each network of `systole zoo`, at every preset: cycles on RTL, cycles predicted, and beside
them what Arm's Vela 3.10 estimates for Ethos-U55-256 (a facts table that comes with the models). A figure that is worse
than the table's is an error. As many models are measured at once as there are processors."""
import argparse, concurrent.futures, json, os, pathlib, subprocess, sys, tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
SYSTOLE = os.environ.get("SYSTOLE", str(ROOT / "build/bin/systole"))
SHARED = pathlib.Path(os.environ.get("SYSTOLE_SHARED", str(ROOT.parent / "shared")))
TABLE = ROOT / "bench/cycles.tsv"
PRESETS = ("systole16", "systole32", "systole64")
HEAD = ["model", "target", "rtl", "predicted", "ethos_u55_256", "resident", "cpu_operators"]


def report(command, *arguments):
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/report.json"
        output = ["-o", f"{folder}/program"] if command == "compile" else []
        done = subprocess.run([SYSTOLE, command, *arguments, "--report", path, *output], capture_output=True, text=True)
        return json.load(open(path)) if done.returncode == 0 else None


def peers():
    path = SHARED / "anchors/vela.tsv"
    rows = [l.split("\t") for l in path.read_text().splitlines() if l and l[0] != "#"] if path.exists() else []
    return {r[0]: r[5] for r in rows if r[1] == "ethos-u55-256"}


def models(quick, only, folder):
    """Names and files; the zoo's networks are written into the folder."""
    for path in sorted(SHARED.glob("models/*/model.tflite")):
        if only in path.parent.name:
            yield path.parent.name, path
    listed = subprocess.run([SYSTOLE, "zoo"], capture_output=True, text=True, check=True).stdout.split("\n")
    names = [line.split()[0] for line in listed if line[:1].isalpha() and len(line.split()) > 2]
    for name in (n for n in names if only in "zoo/" + n and (not quick or n in ("ds_cnn", "resnet8"))):
        path = pathlib.Path(folder) / f"{name}.tflite"
        done = subprocess.run([SYSTOLE, "zoo", name, "-o", str(path)], capture_output=True)
        if done.returncode == 0:
            yield "zoo/" + name, path


def measure_model(quick, name, path):
    rows, vela, small = {}, peers(), True
    for preset in PRESETS:
        if quick and not small:
            break
        arguments = [str(path), "--target", preset]
        r = report("compile", *arguments)
        if r is None or not any(o["placement"] == "device" and o["macs"] for o in r["operators"]):
            continue
        predicted, rtl = r["cycles"]["predicted"], ""
        small = predicted < 100000
        if not quick or (preset == "systole16" and small):
            m = report("run", *arguments, "--device", "rtl")
            rtl = m["cycles"]["total"] if m else "failed"
        cpu = sum(o["placement"] == "cpu" for o in r["operators"])
        rows[name, preset] = [rtl, predicted, vela.get(name, ""), str(r["resident"]).lower(), cpu]
    return rows


def measure(quick, only, folder):
    rows = {}
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        pending = [pool.submit(measure_model, quick, *model) for model in models(quick, only, folder)]
        for done in pending:
            rows.update(done.result())
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    extent = parser.add_mutually_exclusive_group()
    extent.add_argument("--update", action="store_true", help="remake the table")
    extent.add_argument("--quick", action="store_true", help="measure RTL only where it takes a second (systole16, small models), predict the larger models on systole16 only")
    parser.add_argument("--predictions", action="store_true", help="a prediction that is off by more than 3 %% and 64 cycles is an error, too")
    parser.add_argument("--only", metavar="TEXT", default="", help="the models whose names contain TEXT; what the table has of others stays")
    arguments = parser.parse_args()
    quick, update, only = arguments.quick, arguments.update, arguments.only
    if not (SHARED / "models").is_dir():
        print(f"skipped: no conformance models in {SHARED}")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        rows, bad, checked = measure(quick, only, folder), 0, 0
    old = {}
    if TABLE.exists():
        lines = [l.split("\t") for l in TABLE.read_text().splitlines() if l[0] != "#"]
        old = {(l[0], l[1]): dict(zip(HEAD, l)) for l in lines[1:]}
    for (model, preset), (rtl, predicted, *_) in rows.items():
        was = old.get((model, preset), {})
        for name, value in (("rtl", rtl), ("predicted", predicted)):
            checked += value != ""
            if value == "failed" or (value != "" and not update and was.get(name, "").isdigit() and value > int(was[name])):
                bad += 1
                print(f"{model} on {preset}: {name} {value}, the table has {was.get(name)}")
        if isinstance(rtl, int) and arguments.predictions and abs(rtl - predicted) > max(64, 0.03 * rtl):
            bad += 1
            print(f"{model} on {preset}: predicted {predicted}, measured {rtl} ({100 * (predicted / rtl - 1):+.1f} %)")
    for key in old.keys() - rows.keys() if not quick else []:
        if only not in key[0]:
            rows[key] = [old[key][name] for name in HEAD[2:]]
            continue
        bad += 1
        print(f"{key[0]} on {key[1]}: in the table, but cannot be measured")
    if update:
        text = "# Made by `make bench UPDATE=1`. Cycles; ethos_u55_256: Vela 3.10's estimate, all in SRAM.\n" + "\t".join(HEAD) + "\n"
        TABLE.write_text(text + "".join("\t".join(map(str, [*k, *v])) + "\n" for k, v in sorted(rows.items())))
    print(f"{checked} figures, {bad} errors")
    return 1 if bad else 0


sys.exit(main())
