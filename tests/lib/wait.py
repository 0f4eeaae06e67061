# SPDX-License-Identifier: Apache-2.0
"""Waiting for a condition with a deadline. Nothing here sleeps for a fixed time and hopes."""
import os
import time

# Sanitizer builds and busy machines are slower; every deadline is stretched by this factor.
PATIENCE = float(os.environ.get("SLUICE_TEST_PATIENCE", "1"))
POLL_S = 0.02


class Expired(AssertionError):
    """A condition did not come true in time; the text says which, and what was seen last."""


def until(what, condition, deadline=15.0, every=POLL_S):
    """Wait until condition() is true and return its value.

    A condition may fail with an assertion, a socket error or a NATS error while the world is in motion: that counts
    as "not yet" and is shown when time runs out.
    """
    from lib.nats import NatsError
    start = time.monotonic()
    limit = deadline * PATIENCE
    while True:
        try:
            seen = condition()
            if seen:
                return seen
        except (AssertionError, OSError, NatsError) as error:
            seen = "%s: %s" % (type(error).__name__, error)
        if time.monotonic() - start > limit:
            raise Expired("waited %.1f s for: %s; seen last: %.600s" % (limit, what, seen))
        time.sleep(every)


def holds(what, condition, seconds, every=0.05):
    """Check that a condition stays true for a while. For claims about time itself ("an idle worker stays ready")."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        seen = condition()
        if not seen:
            raise Expired("%s: no longer true %.1f s before the end; seen: %r" % (what, end - time.monotonic(), seen))
        time.sleep(every)


def equal(what, wanted, get, deadline=15.0):
    """Wait until get() == wanted; the difference is in the text when it does not happen."""
    last = []

    def look():
        last[:] = [get()]
        assert last[0] == wanted, "%r, wanted %r" % (last[0], wanted)
        return True

    until(what, look, deadline)
    return last[0]
