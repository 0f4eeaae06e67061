#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Plays the scripts of this folder on the simulator's model and on a real nats-server and compares every answer.

  run.py --model PROGRAM [--server debian|pinned|none] [--show] [SCRIPT…]    SCRIPT: names without .script; all if none
  run.py --model PROGRAM [--server debian|pinned|none] --record FOLDER       all, and write conformance-SERVER.json there
"""
import argparse
import concurrent.futures
import glob
import os
import shutil
import sys
import tempfile
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

from lib import record, wait  # noqa: E402
from lib.arguments import program, record_folder  # noqa: E402
from lib.process import commit, end_by_signals  # noqa: E402
from lib.servers import NatsCluster, NatsServer, Skip  # noqa: E402
from model import GENERATIONS, Model  # noqa: E402
from player import Player  # noqa: E402
from script import Script  # noqa: E402

AT_ONCE = 16        # scripts that run beside each other: they wait most of their time
SHOWN_MAX = 10      # answers of a step
MODEL_LATE_MS = 50  # its clock is exact; the rest is for steps of its own


def ordered(step, heard):
    """Replies first: what comes on a pull may overtake them. `of` counts, `sorted` forgets the order."""
    heard = sorted(heard, key=lambda one: not one.is_reply)
    if "sorted" in step.words:
        heard = sorted(heard, key=lambda one: one.text)
    if "of" in step.options and heard:
        return [collected(step, heard)]
    if len(heard) > 1 and step.lines and all(one.text == heard[0].text for one in heard) and len(step.lines) == 1:
        return heard[:1]  # "settled", said by each of them
    return heard


def collected(step, heard):
    """How many of `of` messages came; with `counts`, whether any came as if for the first time."""
    messages = [one.text for one in heard if ": message " in one.text]
    amount = "none" if not messages else "all" if len(messages) == int(step.options["of"]) else "some"
    first = "counts" in step.words and any(text.endswith(" delivery 1") for text in messages)
    return heard[-1]._replace(text=amount + (", with delivery 1" if first else ""))


def text_at(heard, index):
    return heard[index].text if index < len(heard) else "nothing"


def complaints(step, heard, allowed, in_time):
    """Lines that say what does not fit; `allowed` gives the texts for an awaited line, `in_time` judges its time."""
    heard = ordered(step, heard)
    found = []
    for i in range(max(len(step.lines), len(heard))):
        text = text_at(heard, i)
        if i >= len(step.lines):
            found.append("unexpected: " + text)
        elif text not in allowed(step.lines[i]):
            found.append("%s, awaited: %s" % (text, " or ".join(sorted(allowed(step.lines[i])))))
        elif i < len(heard) and not in_time(step.lines[i], heard[i].ms):
            found.append("%s after %.0f ms, awaited at %d" % (text, heard[i].ms, step.lines[i].due_ms))
    return ["line %d (%s): %s" % (step.line, step.verb, one) for one in found]


def not_early(line, passed_ms):
    """A real server is never held to be quick."""
    return line.not_before_ms is None or passed_ms >= line.not_before_ms


def punctual(line, passed_ms):
    return line.due_ms is None or line.due_ms <= passed_ms <= line.due_ms + MODEL_LATE_MS


def check_server(script, answers, version):
    for step in script.steps:
        found = complaints(step, answers[step.line], lambda line: line.allowed_on(version), not_early)
        if found:
            return found
    return []


def check_model(script, courses):
    """Every course stays within what its server does, and whatever that server did some course does."""
    for number, version, answers in courses:
        for step in script.steps:
            found = complaints(step, answers[step.line], lambda line: line.allowed_of_model(version), punctual)
            if found:
                return ["course %d (as %s), %s" % (number, version, one) for one in found]
    return [one for version in GENERATIONS for step in script.steps
            for one in never_done(step, version, [c[2][step.line] for c in courses if c[1] == version])]


def never_done(step, version, courses):
    orders = [ordered(step, heard) for heard in courses]
    return ["line %d (%s): no course (as %s) has: %s" % (step.line, step.verb, version, text)
            for i, line in enumerate(step.lines) for text in line.demanded_of_model(version)
            if not any(text_at(heard, i) == text for heard in orders)]


# ---- One server and its scripts


class Servers:
    """The one that most scripts share and the cluster that others do; some get their own, since they kill it."""

    def __init__(self, folder, pinned):
        self.folder, self.pinned = folder, pinned
        self.running = {}

    def of(self, script):
        name = script.name if script.servers == "own" else script.servers
        if name not in self.running:
            kind = NatsCluster if script.servers == "cluster" else NatsServer
            self.running[name] = kind(self.folder, pinned=self.pinned) if kind is NatsCluster else \
                kind(self.folder, name, pinned=self.pinned)
            self.running[name].start()
        return self.running[name]

    def close(self):
        for one in self.running.values():
            one.close()


def play(server, script, model):
    """(version, answers, trouble)"""
    player = None
    try:
        server.wait_ready()
        player = Player(server.servers[0] if script.servers == "cluster" else server, script, model.status_class,
                        replicas=3 if script.servers == "cluster" else 1)
        version = player.version
        return version, player.play(), None
    except Exception:
        return player.version if player else "?", None, traceback.format_exc()


def play_all(servers, scripts, model):
    """Results by name. Scripts that start servers do so on the main thread, the others run beside them."""
    results = {}
    pool = concurrent.futures.ThreadPoolExecutor(AT_ONCE)
    prepared = [(script, servers.of(script)) for script in scripts]
    try:
        beside = {script.name: pool.submit(play, server, script, model)
                  for script, server in prepared if script.servers != "own"}
        for script, server in prepared:
            if script.servers == "own":
                results[script.name] = play(server, script, model)
        results.update((name, future.result()) for name, future in beside.items())
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # after Ctrl-C nothing that is queued begins
    return results


def show(script, answers):
    for step in script.steps:
        print("    %3d %s %s" % (step.line, step.verb, " ".join(step.words)))
        for one in ordered(step, answers[step.line])[:SHOWN_MAX]:
            print("            %6.0f ms  %s" % (one.ms, one.text))


def report(script, verdicts, result, arguments):
    for line in [line for _, found in verdicts for line in found]:
        print("    " + line)
    state = "; ".join("%s %s" % (who, "differs" if found else "as written") for who, found in verdicts)
    failed = any(found for _, found in verdicts)
    print("%-4s %s: %s" % ("FAIL" if failed else "ok", script.name, state))
    if arguments.show and result and result[1]:
        show(script, result[1])
    return failed


def verdicts_of(script, model, result):
    verdicts = []
    if result:
        version, answers, trouble = result
        verdicts.append(("nats-server " + version, [trouble] if trouble else check_server(script, answers, version)))
    if script.not_in_model is None:
        verdicts.append(("model", check_model(script, model.courses(script))))
    elif not result:
        return []
    return verdicts


def load(names):
    paths = [os.path.join(HERE, "scripts", name + ".script") for name in names] or \
        sorted(glob.glob(os.path.join(HERE, "scripts", "*.script")))
    scripts = []
    for path in paths:
        with open(path) as file:
            scripts.append(Script(os.path.basename(path)[:-len(".script")], file.read()))
    return scripts


def run(arguments, folder):
    scripts, model = load(arguments.scripts), Model(arguments.model)
    results = {}
    if arguments.server != "none":
        servers = Servers(folder, arguments.server == "pinned")
        try:
            results = play_all(servers, scripts, model)
        finally:
            servers.close()
    figures = dict.fromkeys(("scripts", "as_written", "differ", "compared_with_the_model"), 0)
    for script in scripts:
        verdicts = verdicts_of(script, model, results.get(script.name))
        if verdicts:
            is_bad = report(script, verdicts, results.get(script.name), arguments)
            figures["scripts"] += 1
            figures["differ" if is_bad else "as_written"] += 1
            figures["compared_with_the_model"] += script.not_in_model is None
    print("%d scripts as written, %d differ" % (figures["as_written"], figures["differ"]))
    versions = {result[0] for result in results.values()} - {"?"}
    return figures, {"nats_server": ", ".join(sorted(versions))} if versions else {}


def keep(arguments, of, verdict, reason, figures, seen):
    if arguments.record:
        name = "conformance-" + ("model" if arguments.server == "none" else arguments.server)
        command = "tests/conformance/run.py --model build/tests/conformance/model --server " + arguments.server
        record.write(arguments.record, record.make(name, of, command, figures, verdict, reason, **seen))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, type=program, help="the built tests/conformance/model")
    parser.add_argument("--server", choices=["debian", "pinned", "none"], default="none")
    parser.add_argument("--show", action="store_true", help="print all answers of the server, with times")
    parser.add_argument("--record", type=record_folder, metavar="FOLDER")
    parser.add_argument("scripts", nargs="*", metavar="SCRIPT")
    arguments = parser.parse_args()
    for name in arguments.scripts:
        if not os.path.isfile(os.path.join(HERE, "scripts", name + ".script")):
            parser.error('SCRIPT: "%s": expected one of scripts/, without .script' % name)
    if arguments.record and arguments.scripts:
        parser.error('--record: "%s" beside it, expected no script: a record is of all' % " ".join(arguments.scripts))
    of = commit(os.path.dirname(os.path.dirname(HERE)), arguments.record)  # there may be another one when it has run
    folder = tempfile.mkdtemp(prefix="sluice-conformance-")
    end_by_signals()
    start = time.monotonic()
    try:
        figures, seen = run(arguments, folder)
        is_bad = figures["differ"] or not figures["as_written"]
        keep(arguments, of, record.FAILED if is_bad else record.OK, "%d scripts differ" % figures["differ"], figures, seen)
        return 1 if is_bad else 0
    except Skip as skip:
        print("skipped: %s" % skip)
        keep(arguments, of, record.SKIPPED, str(skip), {}, {})
        return 77
    except Exception as error:
        keep(arguments, of, record.FAILED, "%s: %s" % (type(error).__name__, error), {}, {})
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        print("%.1f s" % (time.monotonic() - start))


if __name__ == "__main__":
    sys.exit(main())
