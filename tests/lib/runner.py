#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the tests of one file: python3 tests/lib/runner.py [-k PATTERN] [--tag TAG] [--list] FILE

A file has functions marked @case(); each is named as a sentence and gets a World. One line per test, the logs of all
servers below a failed one, and a last line with the numbers.
"""
import argparse
import faulthandler
import importlib.util
import os
import re
import signal
import sys
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
if __name__ == "__main__":
    sys.modules["lib.runner"] = sys.modules["__main__"]  # the file's `from lib.runner import case` means this module

from lib import wait  # noqa: E402
from lib.process import end_by_signals  # noqa: E402
from lib.servers import Skip  # noqa: E402
from lib.world import World  # noqa: E402

BOTH = ("sqlite", "mongodb")
_cases = []


class TimeUp(BaseException):
    """Not an Exception: no `except` of a test may take it for one of its own."""


def case(*, stores=("sqlite",), tags=(), timeout=120.0):
    """Mark a test: run once for each store, ended after `timeout` seconds (stretched by SLUICE_TEST_PATIENCE)."""
    def mark(function):
        for store in stores:
            _cases.append((function, store, len(stores) > 1, tuple(tags), timeout))
        return function
    return mark


def title(function, store, is_one_of_many):
    return function.__name__.replace("_", " ") + (" [%s]" % store if is_one_of_many else "")


def run_one(function, store, timeout, out, world=World):
    """Returns (verdict, text): the notes of a test that passed, else why it did not. Verdict "late" instead of FAIL: what a
    test waited for did not come in time, which on a busy machine says nothing yet."""
    def time_is_up(*_):
        raise TimeUp()

    end_by_signals()
    signal.signal(signal.SIGALRM, time_is_up)
    signal.setitimer(signal.ITIMER_REAL, timeout * wait.PATIENCE)
    verdict, text, kind, world = "ok", "", world, None
    try:
        world = kind(store)
        function(world)
        leaks = world.leaks()
        if leaks:
            raise AssertionError("a secret has leaked: " + ", ".join(leaks))
        found = world.sanitizer_findings()
        if found:
            raise AssertionError("sanitizer: " + "; ".join(found[:3]))
        text = "\n".join(world.notes)
    except Skip as skip:
        verdict, text = "skip", str(skip)
    except wait.Expired:
        verdict, text = "late", traceback.format_exc()
    except TimeUp:
        verdict, text = "late", "took longer than %.0f s\n%s" % (timeout * wait.PATIENCE, traceback.format_exc())
    except Exception:
        verdict, text = "FAIL", traceback.format_exc()
    except BaseException:  # Ctrl-C, or a signal that ends it
        signal.setitimer(signal.ITIMER_REAL, 0)
        if world is not None:
            world.close()
        raise
    signal.setitimer(signal.ITIMER_REAL, 0)
    if world is None:
        return verdict, text
    if verdict in ("FAIL", "late"):
        world.report(out)
    world.close(keep=bool(os.environ.get("SLUICE_TEST_KEEP")))
    return verdict, text


def run_twice(function, store, timeout, out, world=World):
    """A test that was late runs once more, with three times the patience, and is told to have: the second run counts."""
    verdict, text = run_one(function, store, timeout, out, world)
    if verdict == "late":
        verdict, text = run_patiently(function, store, timeout, out, world, text)
    return verdict, text


def run_patiently(function, store, timeout, out, world, first):
    patience = wait.PATIENCE
    wait.PATIENCE = 3 * patience
    try:
        verdict, text = run_one(function, store, timeout, out, world)
    finally:
        wait.PATIENCE = patience
    said = "the first run was late: " + (first.strip().splitlines() or [""])[-1]
    return ("FAIL" if verdict == "late" else verdict), said + ("\n" + text if text else "")


def load(path):
    spec = importlib.util.spec_from_file_location(os.path.splitext(os.path.basename(path))[0], path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("-k", default="", help="only tests whose line contains this regular expression")
    parser.add_argument("--tag", action="append", default=[], help="only tests with this tag")
    parser.add_argument("--no-tag", action="append", default=[], help="no tests with this tag")
    parser.add_argument("--list", action="store_true", help="only name them")
    parser.add_argument("file")
    arguments = parser.parse_args()
    faulthandler.enable()
    load(arguments.file)
    name = os.path.splitext(os.path.basename(arguments.file))[0]
    numbers = {"ok": 0, "FAIL": 0, "skip": 0}
    for function, store, is_one_of_many, tags, timeout in _cases:
        line = "%s: %s" % (name, title(function, store, is_one_of_many))
        if not re.search(arguments.k, line) or any(tag in tags for tag in arguments.no_tag) \
                or (arguments.tag and not any(tag in tags for tag in arguments.tag)):
            continue
        if arguments.list:
            print(line)
            continue
        start = time.monotonic()
        verdict, text = run_twice(function, store, timeout, sys.stdout)
        numbers[verdict] += 1
        if verdict != "skip" and text:
            print("\n".join("    " + one for one in text.rstrip().splitlines()))
        print("%-4s %6.1f s  %s%s" % (verdict, time.monotonic() - start, line, ": " + text if verdict == "skip" else ""))
        sys.stdout.flush()
    if not arguments.list:
        print("%d passed, %d failed, %d skipped" % (numbers["ok"], numbers["FAIL"], numbers["skip"]))
    return 1 if numbers["FAIL"] else 77 if not numbers["ok"] and numbers["skip"] else 0


if __name__ == "__main__":
    sys.exit(main())
