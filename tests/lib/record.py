#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Recorded runs, one JSON file each: what was run, of which commit, and what came of it.

usage: tests/lib/record.py --folder FOLDER --name NAME --commit COMMIT --command COMMAND [--verdict failed|skipped --reason TEXT]
                           [FIGURE=VALUE…]
       tests/lib/record.py --begin FOLDER

For a runner that is a shell script. Writes FOLDER/NAME.json; VALUE is JSON, or else a text. --begin, before the run: prints the
commit that COMMIT is to be, or refuses a folder that is none, and a tree with changes outside of it."""
import argparse
import datetime
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from lib.arguments import ROOT, folder_for_records, record_folder  # noqa: E402
from lib.process import commit  # noqa: E402

OK, FAILED, SKIPPED = "ok", "failed", "skipped"
VERDICTS = (OK, FAILED, SKIPPED)  # a record without one is of a run that went well
REASON_MAX = 1000


def make(name, commit, command, figures, verdict=OK, reason="", **more):
    """`more`: texts that only some records have."""
    said = {} if verdict == OK else {"reason": " ".join(reason.split())[:REASON_MAX] or "no reason was given"}
    return {"name": name, "date": datetime.date.today().isoformat(), "commit": commit, "command": command, "verdict": verdict,
            **said, **more, "figures": figures}


def write(folder, record):
    """The whole file or none: an old record goes when the new one is there."""
    path = os.path.join(folder, record["name"] + ".json")
    with open(path + ".new", "w", encoding="utf-8") as f:
        json.dump(record, f, indent=1)
        f.write("\n")
    os.replace(path + ".new", path)


def read(path):
    """A record, with its verdict. ValueError: which field is how, and what was expected; OSError: there is nothing to read."""
    try:
        with open(path, encoding="utf-8") as f:
            record = json.load(f)
    except RecursionError:
        raise ValueError("too many brackets, expected an object") from None
    if not isinstance(record, dict):
        raise ValueError(f"{type(record).__name__}, expected an object")
    if record.setdefault("verdict", OK) not in VERDICTS:
        raise ValueError(f"verdict: {record['verdict']!r}, expected one of {', '.join(VERDICTS)}")
    for field in ("name", "date", "commit", "command") + (("reason",) if record["verdict"] != OK else ()):
        if not isinstance(record.get(field), str) or not record[field]:
            raise ValueError(f"{field}: {record.get(field)!r}, expected a text")
    if record["name"] + ".json" != os.path.basename(path):
        raise ValueError(f"name: {record['name']!r}, expected that of the file")
    if not isinstance(record.get("figures"), dict) or not record["figures"] and record["verdict"] == OK:
        raise ValueError(f"figures: {record.get('figures')!r}, expected an object of figures")
    return record


def figure(text):
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f'"{text}": expected FIGURE=VALUE')
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def main():
    begin = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, usage=argparse.SUPPRESS)
    begin.add_argument("--begin", required=True, type=record_folder)
    if sys.argv[1:2] == ["--begin"]:
        print(commit(ROOT, begin.parse_args().begin))
        return
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--folder", required=True, type=folder_for_records)
    for option in ("name", "commit", "command"):
        p.add_argument("--" + option, required=True)
    p.add_argument("--verdict", choices=VERDICTS, default=OK)
    p.add_argument("--reason", default="")
    p.add_argument("figures", nargs="*", type=figure, metavar="FIGURE=VALUE")
    a = p.parse_args()
    write(a.folder, make(a.name, a.commit, a.command, dict(a.figures), a.verdict, a.reason))


if __name__ == "__main__":
    main()
