#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Is tests/faults/FAULTS.md true to its word: is there everything that it names, does every fault of the plan have its line, and
does every campaign, fault of the simulator and fuzz target stand in it?  usage: tests/faults/map.py"""
import glob, os, re, sys
HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.path.join(HERE, "../.."))
sys.path[:0] = [HERE, os.path.join(ROOT, "tests/e2e"), os.path.join(ROOT, "tests")]
FAULTS, COLUMNS = 36, 6
MUST_STAND = ("campaign", "fault", "fuzz")


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def stems(pattern, start=""):
    return {os.path.splitext(os.path.basename(path))[0][len(start):] for path in glob.glob(os.path.join(ROOT, pattern))}


def listed(text, macro):
    """The texts of a list X(NAME, "text", …)."""
    rows = re.search(rf"#define {macro}\(X\)((?:.*\\\n)+.*)", text)[1]
    return set(re.findall(r'X\(\w+, "(\w+)"', rows))


def unit_tests():
    """Of each C file: the tests that it has and runs."""
    for path in glob.glob(os.path.join(ROOT, "tests/*/test_*.c")):
        text = read(path)
        yield os.path.basename(path)[:-2], {name for name in re.findall(r"^static void (\w+)\(void \*\*", text, re.M)
                                           if len(re.findall(rf"\b{name}\b", text)) > 1}


def torture_tests(text):
    """Those of parts of the program by their names, those of the whole by what is swept: in both stores."""
    swept = re.findall(r"\['(boot|messages)', '(\w+)', '\d+', '\d+'\]", text)
    return set(re.findall(r"test\('(\w+)'", text)) | {f"{program}_{kind}_fail" for program, kind in swept}


def all_that_exists():
    from all_cases import CASES
    from run import CAMPAIGNS
    plan = read("src/sim/plan.h")
    names = {kind: listed(plan, f"SIM_{kind.upper()}S") for kind in ("profile", "fault", "lot", "target")}
    names.update(scenario=stems("tests/sim/scenarios/*"), mutant=stems("tests/sim/mutants/*"),
                 script=stems("tests/conformance/scripts/*"), campaign=set(CAMPAIGNS),
                 case={case.__name__ for case in CASES},
                 torture=torture_tests(read("tests/torture/meson.build")),
                 fuzz=stems("tests/fuzz/fuzz_*.c", "fuzz_"))
    for file, tests in unit_tests():
        names.setdefault(file, set()).update(tests)
    return names


def wrong_with(text, exists):
    rows = [row for row in re.findall(r"^\| (F-.*) \|$", text, re.M)]
    numbers = [row[:4] for row in rows]
    if numbers != [f"F-{n:02}" for n in range(1, FAULTS + 1)]:
        yield f"lines of faults: {', '.join(numbers)}; expected F-01 to F-{FAULTS}, each once"
    for row in rows:
        if row.count("|") != COLUMNS - 1:
            yield f"{row[:4]}: {row.count('|') + 1} columns, expected {COLUMNS}"
    named = {tuple(one.partition("/")[::2]) for one in re.findall(r"`([^`]*)`", text[text.index("\n| F-01"):])}
    for kind, name in sorted(named):
        if name not in exists.get(kind, ()):
            yield f"{kind}/{name}: there is none"
    for kind in MUST_STAND:
        yield from (f"{kind}/{name}: not in the table" for name in sorted(exists[kind]) if (kind, name) not in named)


if __name__ == "__main__":
    found = list(wrong_with(read("tests/faults/FAULTS.md"), all_that_exists()))
    print(*found, sep="\n", end="\n" if found else "")
    sys.exit(1 if found else 0)
