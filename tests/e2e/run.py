#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the end-to-end cases, two at a time; the last line counts them. A missing server skips, and says so.

A case may have these attributes: `only`, a store, and `why`; `once`, why it is run with SQLite alone; `long`, seconds."""
import argparse, concurrent.futures, io, os, sys, time
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]

parser = argparse.ArgumentParser()
parser.add_argument("--build", default="build")
parser.add_argument("--jobs", type=int, default=2, help="cases at a time [2]")
parser.add_argument("--repeat", type=int, default=1, help="run each so many times [1]")
parser.add_argument("pattern", nargs="?", default="", help="a part of STORE CASE")
args = parser.parse_args()
os.environ["SLUICE_BUILD"] = os.path.abspath(args.build)

from lib.runner import run_one, run_patiently  # noqa: E402
from stage import Stage  # noqa: E402
from all_cases import CASES  # noqa: E402

LIMIT = 400.0  # seconds for one case
counts = {"ok": 0, "FAIL": 0, "skip": 0}
plan = []
for case in CASES:
    for store in ("sqlite",) if hasattr(case, "once") else ("sqlite", "mongodb"):
        if args.pattern in f"{store} {case.__name__}":
            plan += [(case, store)] * args.repeat
plan.sort(key=lambda one: -getattr(one[0], "long", 0))  # the longest first, so that no core waits for it in the end


def run(number):
    """In a process of its own kind: a case's servers die with it, and its time limit is a signal."""
    case, store = plan[number]
    if getattr(case, "only", store) != store:
        return number, "skip", case.why, "", 0
    start = time.monotonic()
    logs = io.StringIO()
    verdict, text = run_one(case, store, LIMIT, logs, world=Stage)
    return number, verdict, text, logs.getvalue(), time.monotonic() - start


def tell(number, verdict, text, logs, seconds):
    case, store = plan[number]
    counts[verdict] += 1
    word = {"ok": "passed", "FAIL": "FAILED", "skip": "skipped"}[verdict]
    print(f"{word:8} {store:7} {case.__name__}" + (": " + text if verdict == "skip" else f" ({seconds:.1f} s)"))
    if verdict != "skip" and text:
        print(*(f"    {line}" for line in text.splitlines()), sep="\n")
    sys.stdout.write(logs)
    sys.stdout.flush()


late = []
with concurrent.futures.ProcessPoolExecutor(args.jobs) as pool:
    for done in concurrent.futures.as_completed([pool.submit(run, number) for number in range(len(plan))]):
        if done.result()[1] == "late":
            late.append(done.result())
        else:
            tell(*done.result())
for number, _, first, logs, _ in late:  # once more, alone
    start = time.monotonic()
    sys.stdout.write(logs)
    verdict, text = run_patiently(*plan[number], LIMIT, sys.stdout, Stage, first)
    tell(number, verdict, text, "", time.monotonic() - start)
print(f"e2e: {counts['ok']} passed, {counts['FAIL']} failed, {counts['skip']} skipped", flush=True)
sys.exit(1 if counts["FAIL"] else 0)
