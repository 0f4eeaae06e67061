# SPDX-License-Identifier: Apache-2.0
"""One worker on real servers gets message after message, each time with another of its calls failing, once or from then on until
its memory is back. It never ends, every message is done once, and it stops with exit code 0.

libbson ends the process itself when it gets no memory (kind 8). That counts as a kill: the worker is started again, and the message
comes again and is done. All after the first failing says nothing new then."""
import ctypes, os, signal, struct
from sweep import LIBBSON, Sweep
sweep = Sweep(__doc__)
from lib.wait import Expired  # noqa: E402
from stage import check, wait_for  # noqa: E402

stage, libc = sweep.stage, ctypes.CDLL(None, use_errno=True)
TOLD = "qq64s"  # boot_hook.c


class Starving:
    """A worker whose Nth call from now on fails."""

    def __init__(self, on):
        self.told = os.path.join(stage.dir, f"starving{on}")
        self.worker = stage.start_worker(SLUICE_STARVING=f"{sweep.kinds} {on} {self.told}")
        stage.ready()

    def fail(self, nth):
        """From now on; 0: none. Returns how many calls there were since the last time, and which failed first."""
        os.truncate(self.told, 0)
        sent = libc.sigqueue(self.worker.child.pid, signal.SIGUSR2, ctypes.c_void_p(nth))
        check(sent == 0, "the worker is gone")
        wait_for("the signal's handler", lambda: os.path.getsize(self.told) == struct.calcsize(TOLD) or not self.worker.is_alive())
        if self.has_aborted():
            return nth, "libbson"
        with open(self.told, "rb") as f:
            _, calls, name = struct.unpack(TOLD, f.read())
        return calls, name.rstrip(b"\0").decode()

    def has_aborted(self):
        """Of itself, or ended by libbson; anything else is wrong."""
        check(self.worker.is_alive() or (sweep.kinds == LIBBSON and self.worker.code == -signal.SIGABRT),
              f"the worker ended with {self.worker.code}\n{self.worker.log_text()[-1500:]}")
        return not self.worker.is_alive()

    def start_again(self):
        self.worker.start()
        stage.ready()

    def done(self, sent, what, seconds=60):
        wait_for(f"message {sent} is done, {what}", lambda: stage.left() == 0 or not self.worker.is_alive(), seconds)
        return not self.has_aborted()

    def has_spoken(self, since):
        """The message has got a verdict, or the delivery was lost for want of memory and the ack wait passes."""
        try:
            wait_for("a verdict", lambda: any(word in self.worker.log_text()[since:] for word in
                                              ("message.refused", "message.failed", "message.acknowledged", "message.unsettled")), 0.5)
        except Expired:
            pass


def starve(on):
    global sent
    starving = Starving(on)
    counted = sweep.counted = dict({"messages": 0, "complete": 0, "ended_by_libbson": 0}, **sweep.counted)
    nth, quiet = 1, 0
    while quiet < 3:  # the number of calls varies: some come of timers
        since = len(starving.worker.log_text())
        starving.fail(nth)
        sent += 1
        counted["messages"] = sent
        stage.send(1, first=sent)
        what = f"call {nth} failing{' and all after it' if on else ''}"
        if on:
            starving.has_spoken(since)
        else:
            starving.done(sent, what)
        if starving.worker.is_alive():
            calls, name = starving.fail(0)
        if not starving.worker.is_alive():
            calls, name = nth, "libbson"
            starving.start_again()
            counted["ended_by_libbson"] += 1
        check(starving.done(sent, what), f"{what}: the worker ended, with nothing failing any more")
        if name:
            sweep.note(on, name)
        quiet = quiet + 1 if calls < nth else 0
        nth += sweep.step(on)
    check(starving.worker.stop(60) == 0, f"exit code {starving.worker.code}")
    text = starving.worker.log_text()
    check("AddressSanitizer" not in text and "runtime error" not in text, text[-3000:])
    for word in ("message.refused", "no_memory", "message.failed", "message.acknowledged"):
        print(f"{'from then on' if on else 'once'}: {text.count(word)} {word}")


sent = 0
try:
    for on in (0,) if sweep.kinds == LIBBSON else (0, 1):
        starve(on)
    stage.expect_done(sent)
    sweep.counted["complete"] = sent
finally:
    sweep.close()
