#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write a source file with one deliberate mistake in it.

usage: mutate.py MUTANT SOURCE OUTPUT     write the changed source
       mutate.py --check SOURCES MUTANT…  say which mutants no longer fit their source
       mutate.py --found TEST             0 when this test, built with the mistake, sees it

A mutant is a text file: a sentence, "file NAME", "rule NAME" (the simulator's rule that must find it, or "any")
or "test NAME" (the test program that must), then a patch: lines with "-" are replaced by those with "+", lines with " " are there to make the place unique. Spaces
at the ends of lines do not matter, so a reformatted source still fits.
"""
import os
import subprocess
import sys


def parse(path):
    with open(path, encoding="utf-8") as f:
        lines = f.read().splitlines()
    head = dict(line.split(" ", 1) for line in lines[1:3])
    patch = [line for line in lines[3:] if line]
    old = [line[1:] for line in patch if line[0] in "- "]
    new = [line[1:] for line in patch if line[0] in "+ "]
    return head["file"], old, new


def find(source, old):
    wanted = [line.strip() for line in old]
    have = [line.strip() for line in source]
    return [i for i in range(len(have)) if have[i:i + len(wanted)] == wanted]


def apply(mutant, text):
    """The changed text, or None when the mutant does not fit exactly once."""
    _, old, new = parse(mutant)
    source = text.splitlines()
    places = find(source, old)
    if len(places) != 1:
        return None
    at = places[0]
    return "\n".join(source[:at] + new + source[at + len(old):]) + "\n"


def check(sources, mutants):
    stale = []
    for mutant in mutants:
        with open(os.path.join(sources, parse(mutant)[0]), encoding="utf-8") as f:
            if apply(mutant, f.read()) is None:
                stale.append(mutant)
    for mutant in stale:
        print(f"{mutant}: its lines are not in {parse(mutant)[0]} exactly once: write it anew")
    return 1 if stale else 0


def found(test):
    """Seen by one of its cases, or by a crash; a program that could not run has seen nothing."""
    ran = subprocess.run([test], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace", check=False)
    blamed = [line for line in ran.stdout.splitlines() if line.startswith(("[  FAILED  ]", "[  ERROR   ]"))]
    has_ended = "test(s) run." in ran.stdout
    if ran.returncode < 0 or (ran.returncode > 0 and has_ended):
        print(f"exit code {ran.returncode}", *blamed, sep="\n")
        return 0
    print(f"{ran.stdout}\nno case of {os.path.basename(test)} sees the mistake (exit code {ran.returncode})")
    return 1


def main():
    if sys.argv[1] == "--found":
        return found(sys.argv[2])
    if sys.argv[1] == "--check":
        return check(sys.argv[2], sys.argv[3:])
    mutant, source, output = sys.argv[1:]
    with open(source, encoding="utf-8") as f:
        text = f.read()
    changed = apply(mutant, text)
    if changed is None:  # the test "mutants_fit" reports it; the build goes on
        print(f"warning: {mutant} does not fit {source}", file=sys.stderr)
        changed = text
    with open(output, "w", encoding="utf-8") as f:
        f.write(f'#line 1 "{os.path.basename(source)} ({os.path.basename(mutant)})"\n' + changed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
