# SPDX-License-Identifier: Apache-2.0
"""One worker on real servers gets message after message, each time with another of its calls failing, once or from then on until
its memory is back. It never ends, every message is done once, and it stops with exit code 0.

usage: messages.py PROGRAM BUILD KINDS [STRIDE]    KINDS: 1 memory, 2 calls; STRIDE: only each so manieth call"""
import ctypes, os, signal, struct, sys
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "../e2e"), os.path.join(HERE, "..")]
program, build, kinds = sys.argv[1], sys.argv[2], int(sys.argv[3])
stride = int(sys.argv[4]) if len(sys.argv) > 4 else 1
os.environ["SLUICE_BUILD"] = build  # before tests/lib looks for the programs

from lib.servers import Skip  # noqa: E402
from lib.wait import Expired  # noqa: E402
from stage import Stage, check, wait_for  # noqa: E402

libc = ctypes.CDLL(None, use_errno=True)


class Starving:
    """A worker whose Nth call from now on fails."""

    def __init__(self, on):
        self.told = os.path.join(stage.dir, f"starving{on}")
        self.worker = stage.start_worker(SLUICE_STARVING=f"{kinds} {on} {self.told}")
        stage.ready()

    def fail(self, nth):
        """From now on; 0: none. Returns how many calls there were since the last time."""
        os.truncate(self.told, 0)
        sent = libc.sigqueue(self.worker.child.pid, signal.SIGUSR2, ctypes.c_void_p(nth))
        check(sent == 0, "the worker is gone")
        wait_for("the signal's handler", lambda: os.path.getsize(self.told) == 16 or not self.worker.is_alive())
        check(self.worker.is_alive(), f"the worker ended with {self.worker.code}\n{self.worker.log_text()[-1500:]}")
        with open(self.told, "rb") as f:
            return struct.unpack("qq", f.read())[1]

    def done(self, sent, what, seconds=60):
        wait_for(f"message {sent} is done, {what}", lambda: stage.left() == 0 or not self.worker.is_alive(), seconds)
        check(self.worker.is_alive(), f"{what}: the worker ended with {self.worker.code}\n{self.worker.log_text()[-1500:]}")

    def has_spoken(self, since):
        """The message has got a verdict, or the delivery was lost for want of memory and the ack wait passes."""
        try:
            wait_for("a verdict", lambda: any(word in self.worker.log_text()[since:] for word in
                                              ("message.refused", "message.failed", "message.acknowledged", "message.unsettled")), 0.5)
        except Expired:
            pass


def sweep(on):
    """How many messages were sent."""
    global sent
    worker = Starving(on)
    nth, calls, quiet = 1, 0, 0
    while quiet < 3:  # the number of calls varies: some come of timers
        since = len(worker.worker.log_text())
        worker.fail(nth)
        sent += 1
        stage.send(1, first=sent)
        what = f"call {nth} failing{' and all after it' if on else ''}"
        if on:
            worker.has_spoken(since)
        else:
            worker.done(sent, what)
        calls = worker.fail(0)
        worker.done(sent, what)
        quiet = quiet + 1 if calls < nth else 0
        nth += stride
    check(worker.worker.stop(60) == 0, f"exit code {worker.worker.code}")
    text = worker.worker.log_text()
    check("AddressSanitizer" not in text and "runtime error" not in text, text[-3000:])
    for word in ("message.refused", "no_memory", "message.failed", "message.acknowledged"):
        print(f"{'from then on' if on else 'once'}: {text.count(word)} {word}")
    print(f"{nth // stride} messages, the last {calls} calls")


try:
    stage = Stage()
except Skip as missing:
    print(f"skipped: {missing}")
    sys.exit(77)
stage.sluice = os.path.abspath(program)
sent = 0
try:
    for on in (0, 1):
        sweep(on)
    stage.expect_done(sent)
finally:
    stage.close()
