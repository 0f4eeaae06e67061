# SPDX-License-Identifier: Apache-2.0
"""What the sweeps over whole processes have in common: their arguments, the program that can fail, what they count."""
import argparse, json, os, shutil, sys
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "../e2e"), os.path.join(HERE, "..")]
MEMORY, CALLS, LIBBSON = 1, 2, 8  # failing.h
KINDS = {MEMORY: "memory", CALLS: "calls", LIBBSON: "libbson"}


class Sweep:
    def __init__(self, doc):
        p = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
        p.add_argument("program", help="sluice_failing")
        p.add_argument("build")
        p.add_argument("kinds", type=int, help="1 memory, 2 calls, 8 libbson's memory")
        p.add_argument("--store", default="sqlite", choices=("sqlite", "mongodb"))
        p.add_argument("--stride", type=int, default=1, help="a sample: each so manieth call once, three times as far apart from then on")
        p.add_argument("--all", action="store_true", help="each call, once and from then on")
        p.add_argument("--new", action="store_true", help="a server with TLS, a login by nkey, and no streams yet (boot)")
        p.add_argument("--figures", metavar="FILE", help="write there what was counted, as JSON")
        a = p.parse_args()
        self.kinds, self.store, self.stride, self.is_all, self.is_new, self.file = a.kinds, a.store, a.stride, a.all, a.new, a.figures
        os.environ["SLUICE_BUILD"] = a.build  # before tests/lib looks for the programs
        from lib.servers import Skip
        from stage import Stage
        self.failed, self.names, self.counted = {0: 0, 1: 0}, {}, {}
        try:
            self.stage = Stage(a.store)
        except Skip as missing:
            print(f"skipped: {missing}")
            sys.exit(77)
        self.stage.sluice = self.place(os.path.abspath(a.program))
        if not a.all:
            print(f"a sample: each {a.stride}. call; tests/torture/run --all makes each fail")

    def place(self, program):
        """Where it finds its own module of MongoDB's store, as in a build folder."""
        module = os.path.join(os.path.dirname(program), "sluice_mongo.so")
        if self.store != "mongodb":
            return program
        for name in ("cli", "adapter"):
            os.mkdir(os.path.join(self.stage.dir, name))
        shutil.copy(module, os.path.join(self.stage.dir, "adapter"))
        return shutil.copy(program, os.path.join(self.stage.dir, "cli"))

    def step(self, on):
        return 1 if self.is_all else self.stride * (3 if on else 1)

    def note(self, on, name):
        """A call failed. Says now and then how far it is."""
        self.failed[on] += 1
        self.names[name] = self.names.get(name, 0) + 1
        if sum(self.failed.values()) % 100 == 0:
            print(f"{self.store}, {KINDS[self.kinds]}: {sum(self.failed.values())} calls have failed", flush=True)

    def close(self):
        self.stage.close()
        figures = dict(self.counted, once=self.failed[0], from_then_on=self.failed[1], names=self.names)
        print(f"{self.store}, {KINDS[self.kinds]}: {figures}")
        if self.file:
            with open(self.file, "w", encoding="utf-8") as f:
                json.dump(figures, f)
