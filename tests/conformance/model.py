# SPDX-License-Identifier: Apache-2.0
"""Plays a script on the simulator's model (model.c), in many courses: the model draws where servers are free."""
import functools
import re
import subprocess

from lib import wait
from player import NO_ANSWER_S, Heard
from script import SETUP_VERBS, milliseconds, settle_targets

COURSES = 100
GENERATIONS = ("2.9", "2.12")  # the servers that the odd and the even courses have
PULL_OVER = 1000000  # as in model.c


def _in_numbers(word):
    """Times in milliseconds, ranges written out."""
    key, equals, value = word.rpartition("=")
    if re.fullmatch(r"\d+(ms|s|min)", value):
        return key + equals + str(milliseconds(value))
    if re.fullmatch(r"[\d.]+@\d+", word):
        return " ".join("%d@%d" % one for one in settle_targets(word))
    return word


def _line(step):
    words = step.words + ["%s=%s" % pair for pair in step.options.items()]
    if step.verb == "silence":
        words = ["for=" + words[0]]
    elif any("no answer" in line.everything() for line in step.lines):
        words.append("for=%dms" % (NO_ANSWER_S * 1000))
    awaited = PULL_OVER if "of" in step.options else len(step.lines)
    return "%d %d %s %s" % (step.line, awaited, step.verb, " ".join(_in_numbers(word) for word in words))


class Model:
    def __init__(self, program):
        self.program = program

    @functools.lru_cache(maxsize=None)
    def status_class(self, code, text):
        return self._run(["--status", str(code), text], "").strip()

    def courses(self, script):
        """(number, server, answers by line of the step) of each course."""
        setup = [step for step in script.steps if step.verb in SETUP_VERBS]
        lines = ["0 0 setup " + " ".join(_line(step).split(" ", 3)[3] for step in setup)]
        lines += [_line(step) for step in script.steps if step not in setup]
        found = []
        for line in self._run([str(COURSES)], "\n".join(lines) + "\n").splitlines():
            number, _, rest = line.partition(" ")
            if number == "course":
                answers = {step.line: [] for step in script.steps}
                found.append((int(rest), GENERATIONS[1 - int(rest) % 2], answers))
                continue
            passed, kind, text = rest.split(" ", 2)
            answers[int(number)].append(Heard(int(passed), text, kind == "reply"))
        return found

    def _run(self, arguments, text):
        done = subprocess.run([self.program] + arguments, input=text, capture_output=True, text=True,
                              timeout=60 * wait.PATIENCE)
        if done.returncode != 0:
            raise OSError("%s ended with %d: %s" % (self.program, done.returncode, done.stderr))
        return done.stdout
