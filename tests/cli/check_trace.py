# SPDX-License-Identifier: Apache-2.0
# Copyright The Systole authors
"""Holds a report and a trace of one run against what docs/report.md says of them: check_trace.py REPORT TRACE"""
import json, sys

KINDS = ("busy", "wait_dependency", "wait_memory", "wait_link", "idle")
UNITS = ("load", "store", "array", "depthwise", "elementwise")


def check_report(r):
    total = r["cycles"]["total"]
    assert sum(o["cycles"] for o in r["operators"]) == total
    assert set(UNITS) <= set(r["counters"])
    for unit, kinds in r["counters"].items():
        assert tuple(kinds) == KINDS, kinds
        assert sum(kinds.values()) == total, (unit, kinds, total)
        for kind in KINDS:
            parts = [o["units"][unit][kind] for o in r["operators"]]
            assert min(parts) >= 0 and sum(parts) == kinds[kind], (unit, kind, parts, kinds[kind])
    for o in r["operators"]:
        if o["placement"] == "cpu":
            assert o["cycles"] == 0 and not any(sum(u.values()) for u in o["units"].values()), o


def check_trace(t, r):
    events = t["traceEvents"]
    total = r["cycles"]["total"]
    assert t["otherData"]["cycles"] == total
    tracks = {e["tid"]: e["args"]["name"] for e in events if e["ph"] == "M" and e["name"] == "thread_name"}
    assert set(tracks.values()) == {"operators", *r["counters"]}
    slices = {}
    commands = set()
    for e in events:
        assert e["ph"] in ("M", "X", "C") and isinstance(e["name"], str) and e["pid"] == 1, e
        if e["ph"] == "M":
            assert e["name"] in ("process_name", "thread_name", "thread_sort_index"), e
            continue
        assert isinstance(e["ts"], int) and 0 <= e["ts"] <= total, e
        if e["ph"] == "C":
            assert set(e["args"]) == set(KINDS) and abs(sum(e["args"].values()) - 100) < 1e-6, e
            continue
        assert e["dur"] >= 0 and e["ts"] + e["dur"] <= total, e
        slices.setdefault(tracks[e["tid"]], []).append((e["ts"], e["ts"] + e["dur"]))
        operator = e["args"]["operator"]
        assert e["name"] == f"{operator} {r['operators'][operator]['name']}", e
        if e["cat"] == "command":
            a = e["args"]
            assert e["ts"] + e["dur"] <= a["retired"] <= total, e
            assert set(a["box"]) == {"x", "y", "c"} and all(b[0] <= b[1] for b in a["box"].values()), e
            assert a["opcode"] and a["tensor_name"] and tuple(a["counters"]) == KINDS, e
            key = (a["segment"], a["command"])
            assert key not in commands, e
            commands.add(key)
    for segment in {s for s, _ in commands}:
        mine = sorted(c for s, c in commands if s == segment)
        assert mine == list(range(len(mine)))
    for name, list_ in slices.items():
        for a, b in zip(list_, list_[1:]):
            assert a[1] <= b[0], (name, a, b)
    assert sum(b - a for a, b in slices["operators"]) == total
    return len(commands)


report, trace = (json.load(open(p)) for p in sys.argv[1:3])
check_report(report)
print(check_trace(trace, report), "commands")
