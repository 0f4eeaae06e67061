# SPDX-License-Identifier: Apache-2.0
"""A child process with its log kept: started, killed, frozen and waited for by its own pid, dead at the latest with us."""
import os
import shutil
import signal
import subprocess
import sys
import threading

from lib import wait


def end_by_signals():
    """SIGTERM, and SIGHUP of a closed terminal, end this program as Ctrl-C does: what it made is cleaned up on the way out."""
    def end(number, _):
        sys.exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:  # nohup ignores one
            signal.signal(number, end)


class Process:
    def __init__(self, name, argv, folder, env=None, cwd=None):
        self.name, self.argv, self.env, self.cwd = name, argv, env, cwd or folder
        self.log = os.path.join(folder, name + ".log")
        self.child = None
        self.starts = 0

    def start(self):
        # The kernel ends a child when the *thread* that made it ends: only the main thread lives long enough.
        assert threading.current_thread() is threading.main_thread(), "start processes from the main thread"
        assert not self.is_alive(), "%s is running already" % self.name
        prefix = []
        if shutil.which("setpriv"):
            prefix = ["setpriv", "--pdeathsig", "KILL", "--"]
        with open(self.log, "ab") as log:
            log.write(b"---- start %d: %s\n" % (self.starts + 1, " ".join(self.argv).encode()))
            log.flush()
            self.child = subprocess.Popen(prefix + self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                          env=self.env, cwd=self.cwd, start_new_session=True)
        self.starts += 1
        return self

    @property
    def pid(self):
        return self.child.pid

    def is_alive(self):
        return self.child is not None and self.child.poll() is None

    @property
    def code(self):
        """Exit code, minus the signal's number for a killed process, None while it runs."""
        return self.child.poll()

    def signal(self, number):
        if self.is_alive():
            os.kill(self.child.pid, number)

    def kill(self):
        """kill -9, and wait until it is gone."""
        if self.child is not None:
            self.signal(signal.SIGKILL)
            self.child.wait(30)

    def terminate(self):
        self.signal(signal.SIGTERM)

    def stop(self, deadline=30.0):
        """SIGTERM and wait; returns the exit code."""
        self.terminate()
        return self.wait_exit(deadline)

    def freeze(self):
        self.signal(signal.SIGSTOP)
        if self.is_alive():
            os.waitid(os.P_PID, self.child.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)  # until then its threads go on

    def thaw(self):
        self.signal(signal.SIGCONT)

    def wait_exit(self, deadline=15.0):
        wait.until("%s to end" % self.name, lambda: not self.is_alive(), deadline)
        return self.child.returncode

    def log_text(self, start=None):
        """Everything written so far, or since the n-th start (1 for the first)."""
        try:
            with open(self.log, "rb") as log:
                text = log.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return ""
        if start is not None:
            _, _, text = text.partition("---- start %d:" % start)
            text = text.partition("\n")[2].partition("---- start %d:" % (start + 1))[0]
        return text

    def close(self):
        if self.is_alive():
            self.signal(signal.SIGCONT)
        self.kill()


def git(root, *arguments):
    """What it says, None without git or outside of a repository, as in a copy."""
    try:
        out = subprocess.run(["git", "-C", root, *arguments], capture_output=True, text=True)
    except FileNotFoundError:
        return None
    return out.stdout if out.returncode == 0 else None


def changes(root, but=None):
    """What differs from the commit, files that git does not know among it, by path. `but`: a folder that does not count."""
    outside = os.path.relpath(os.path.realpath(but), os.path.realpath(root)) if but else ".."
    spared = [] if outside.split(os.sep)[0] == ".." else [":(exclude)" + outside]
    return [line[3:] for line in (git(root, "status", "--porcelain", "--", ".", *spared) or "").splitlines()]


def commit(root, but=None):
    """Which commit the tests are of, with "-dirty" when the tree is not it; "unknown" without git."""
    name = (git(root, "rev-parse", "--short", "HEAD") or "").strip()
    return name + "-dirty" * bool(changes(root, but)) if name else "unknown"
