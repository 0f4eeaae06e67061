# SPDX-License-Identifier: Apache-2.0
"""The scripts as text: what is done, and what is answered. README.md describes the language."""
import re
from collections import namedtuple

Step = namedtuple("Step", "line verb words options lines")

SETUP_VERBS = ("requests", "outputs", "consumer", "bucket")
VERBS = SETUP_VERBS + ("publish", "output", "pull", "hear", "silence", "ack", "nak", "term", "progress", "look", "keep",
                       "record", "read", "age", "delete", "create", "disconnect", "freeze", "thaw", "kill", "start",
                       "stepdown", "purge")
UNITS = {"ms": 1, "s": 1000, "min": 60000}


class BadScript(Exception):
    pass


def milliseconds(text):
    found = re.fullmatch(r"(\d+)(ms|s|min)", text)
    if not found:
        raise BadScript("not a time: %r" % text)
    return int(found.group(1)) * UNITS[found.group(2)]


class Answer:
    """One line that is awaited: what may come, on which servers, and what of it the model must be able to do."""

    def __init__(self, text):
        self.not_before_ms = self.due_ms = None
        bound = re.search(r", (not before|due at) (\w+)", text)
        if bound:
            text = text.replace(bound.group(), "", 1)
            self.due_ms = milliseconds(bound.group(2))
            self.not_before_ms = self.due_ms if bound.group(1) == "not before" else None
        self.usual = self._alternatives(text)
        self.on = {}           # version: alternatives
        self.not_in_model = set()
        self.model_also = []

    @staticmethod
    def _alternatives(text):
        return [one.strip() for one in text.split(" or ")]

    def add_variant(self, whom, text):
        alternatives = self._alternatives(text)
        if whom == "model also":
            self.model_also += alternatives
            return
        is_only = whom.startswith("only on ")
        for version in whom.split()[2 if is_only else 1:]:
            self.on[version] = alternatives
        if is_only:
            self.not_in_model.update(without_raw(one) for one in alternatives)

    def allowed_on(self, version):
        for known, alternatives in self.on.items():
            if version == known or version.startswith(known + "."):
                return alternatives
        return self.usual

    def everything(self):
        return sum(self.on.values(), self.usual + self.model_also)

    def demanded_of_model(self, version):
        """What some course of the model must show: everything that this server was seen to do."""
        return {without_raw(one) for one in self.allowed_on(version)} - self.not_in_model

    def allowed_of_model(self, version):
        return self.demanded_of_model(version) | {without_raw(one) for one in self.model_also}


def without_raw(text):
    return text.partition(" | ")[0].strip()


class Script:
    def __init__(self, name, text):
        self.name = name
        self.about = text.split("\n", 1)[0].lstrip("# ").strip()
        self.steps = []
        self.not_in_model = None  # why
        self.servers = "shared"   # shared, own or cluster
        for number, line in enumerate(text.split("\n"), 1):
            try:
                self._read(number, line)
            except (BadScript, IndexError, ValueError) as error:
                raise BadScript("%s:%d: %s" % (name, number, error)) from None

    def _read(self, number, line):
        line = line.partition("#")[0].rstrip() if not line.startswith("#") else ""
        if not line:
            return
        if line.startswith("not in the model:"):
            self.not_in_model = line.partition(":")[2].strip()
        elif line[0] == " ":
            self._read_answer(line.strip())
        else:
            self._read_step(number, line.split())

    def _read_answer(self, text):
        lines = self.steps[-1].lines
        variant = re.match(r"((?:only )?on [\d. ]+|model also): (.*)", text)
        many = re.fullmatch(r"(.* )(\d+)\.\.(\d+)(.*)", text)
        if variant:
            lines[-1].add_variant(*variant.groups())
        elif many:
            lines += [Answer(many.group(1) + str(n) + many.group(4))
                      for n in range(int(many.group(2)), int(many.group(3)) + 1)]
        else:
            lines.append(Answer(text))

    def _read_step(self, number, words):
        verb, words = words[0], words[1:]
        options = dict(word.split("=", 1) for word in words if "=" in word)
        self.steps.append(Step(number, verb, [word for word in words if "=" not in word], options, []))
        if verb not in VERBS:
            raise BadScript("unknown: %s" % verb)
        if verb == "kill":
            self.servers = "own"
        elif verb == "stepdown":
            self.servers = "cluster"


def settle_targets(word):
    """"3@1": delivery 1 of message 3; "1..20@1": of each of them."""
    found = re.fullmatch(r"(\d+)(?:\.\.(\d+))?@(\d+)", word)
    if not found:
        raise BadScript("not a delivery: %r" % word)
    first, last = int(found.group(1)), int(found.group(2) or found.group(1))
    return [(sequence, int(found.group(3))) for sequence in range(first, last + 1)]
