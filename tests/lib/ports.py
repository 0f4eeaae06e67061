# SPDX-License-Identifier: Apache-2.0
"""Free ports that stay ours: below the range of outgoing connections, and locked against tests that run beside."""
import fcntl
import os
import random
import socket
import tempfile

_held = {}


def free_port():
    folder = os.path.join(tempfile.gettempdir(), "sluice-test-ports-%d" % os.getuid())
    os.makedirs(folder, exist_ok=True)
    for _ in range(1000):
        port = random.SystemRandom().randrange(15000, 31000)
        if port in _held:
            continue
        lock = os.open(os.path.join(folder, str(port)), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            os.close(lock)
            continue
        _held[port] = lock  # until this process ends
        return port
    raise OSError("no free port between 15000 and 31000")
