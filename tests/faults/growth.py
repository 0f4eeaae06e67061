# SPDX-License-Identifier: Apache-2.0
"""What a worker takes through a campaign, sampled from outside: descriptors, threads, memory, and whether /livez answers."""
import os
import re
import threading
import time

from lib import wait
from lib.servers import Skip
from stage import check, in_time, wait_for

EVERY_S = 0.5
LIVE_WITHIN_S = 1.0  # /livez, whatever is away
MORE = {"fds": 16, "threads": 4, "rss_mib": 32}  # at most than when it had done its first messages


class Growth:
    """From when it is made, with the first messages done, until figures()."""

    def __init__(self, s, worker):
        self.s, self.worker = s, worker
        self.samples, self.not_live, self.slowest = [], [], 0.0
        self.first = self._sizes()
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def _sizes(self):
        place = f"/proc/{self.worker.pid}"
        with open(f"{place}/status", encoding="utf-8") as f:
            status = f.read()
        return {"fds": len(os.listdir(f"{place}/fd")), "threads": int(re.search(r"^Threads:\s+(\d+)", status, re.M)[1]),
                "rss_mib": int(re.search(r"^VmRSS:\s+(\d+)", status, re.M)[1]) // 1024}

    def _watch(self):
        while not self.is_over.wait(EVERY_S):
            start = time.monotonic()
            try:
                status = self.s.probe("/livez")[0]
                if status != 200:
                    self.not_live.append(status)
            except OSError as error:
                self.not_live.append(str(error))
            self.slowest = max(self.slowest, time.monotonic() - start)
            try:
                self.samples.append(self._sizes())
            except OSError:  # it has ended: the campaign has failed, or notices it
                return

    def _settled(self):
        last = self._sizes()
        check(not self._grown(last), f"{last}, at most {MORE} more than {self.first} expected")
        return last

    def _grown(self, last):
        return [name for name, more in MORE.items() if last[name] > self.first[name] + more
                and not (name == "rss_mib" and self._is_sanitized())]

    def _is_sanitized(self):
        try:
            self.s.needs_no_sanitizer()
        except Skip:
            return True
        return False

    def figures(self):
        """With everything done: what is kept for a while may go yet, idle connections to the LLM above all."""
        last = wait_for("the worker takes no more than in the beginning", self._settled, 120)
        self.is_over.set()
        self.thread.join()
        check(self.worker.is_alive(), f"the worker ended with {self.worker.code}")
        check(self.samples, "the worker was never looked at")
        check(not self.not_live, f"/livez: {self.not_live[:5]}, {len(self.not_live)} of {len(self.samples)} times")
        in_time(self.slowest, LIVE_WITHIN_S * wait.PATIENCE, f"/livez answered after {self.slowest:.2f} s")
        most = {name: max(one[name] for one in self.samples) for name in self.first}
        return {"livez_asked": len(self.samples), "livez_slowest_s": round(self.slowest, 2),
                **{f"{name}_first_most_last": [self.first[name], most[name], last[name]] for name in self.first}}
