# SPDX-License-Identifier: Apache-2.0
"""Which delivery is settled, and whose answer counts, as a proxy before the worker sees it."""
import inspect
from lib.proxy import is_verdict
from stage import check, wait_for

ACK, RENEWAL = is_verdict("+ACK"), is_verdict("+WPI")


def request_of(frame):
    """(number of the request, number of its delivery) of a verdict."""
    words = frame.subject.split(".")
    return int(words[5]), int(words[4])


def through(proxy):
    return {"NATS_URL": f"nats://127.0.0.1:{proxy.port}"}


def an_answer_that_comes_late_settles_no_other_message(s):
    """The next message has the place of the one before in the worker. Its own ACK is lost, and what is answered is the ACK of
    the one before: that must not be taken for its own."""
    proxy, inboxes, seen = s.nats_proxy(), [], []
    swallowed = proxy.on_answer(lambda f: ACK(f) and request_of(f)[0] == 1, count=-1)

    def note(way, frame):
        if way == "up" and ACK(frame):
            number = request_of(frame)[0]
            seen.append(number)
            if number == 1:
                inboxes.append(frame.reply)
            elif seen.count(2) == 1:
                frame.raw = f"PUB {inboxes[0]} 0\r\n\r\n".encode()  # an empty answer, to the question before
        return frame
    proxy.hooks.insert(0, note)
    s.start_worker(SLUICE_MAX_IN_FLIGHT=1, SLUICE_ACK_WAIT=20, **through(proxy))
    s.ready()
    s.send(2)
    wait_for("both are acknowledged", lambda: s.left() == 0 and s.pending() == 0)
    check(swallowed.seen > 1 and seen.count(2) == 2, f"ACKs of the requests, in turn: {seen}")
    check(s.consumer()["delivered"]["consumer_seq"] == 2, "a message was delivered twice")


def what_is_delivered_again_is_settled_on_its_newest_delivery(s):
    """Renewals are lost until the server gives the message out again; the same worker goes on with what it has."""
    proxy, seen = s.nats_proxy(), []

    def note(way, frame):
        if way == "up" and frame.subject.startswith("$JS.ACK."):
            seen.append((frame.body[:4].decode(), request_of(frame)[1]))
            if seen[-1] == ("+WPI", 1):
                return None
        return frame
    proxy.hooks.append(note)
    s.llm_http("/control", {"latency-ms": 3500})
    s.start_worker(**through(proxy))
    s.ready()
    s.send(1)
    s.expect_done(1)
    wait_for("nothing is pending", lambda: s.pending() == 0)
    check(("+WPI", 1) in seen and seen[-1] == ("+ACK", 2), f"settled: {seen}")
    check([one for one in seen if one[0] == "+ACK"] == [("+ACK", 2)], f"settled: {seen}")
    check(s.llm_http("/ledger")["calls"] == 1, "asked again, though the call was still running")


def a_long_call_keeps_its_message(s):
    """Renewals reach the server: longer than the ack wait, and delivered once."""
    proxy = s.nats_proxy()
    renewals = proxy.on_request(RENEWAL, lambda frame: frame, count=-1)
    s.llm_http("/control", {"latency-ms": 5000})
    s.start_worker(**through(proxy))
    s.ready()
    s.send(1)
    s.expect_done(1)
    check(renewals.seen >= 4, f"{renewals.seen} renewals in 5 s with an ack wait of 2 s")
    check(s.consumer()["delivered"]["consumer_seq"] == 1, "delivered again")
    check(s.llm_http("/ledger")["calls"] == 1, "asked again")


CASES = [f for f in list(globals().values())
         if inspect.isfunction(f) and f.__module__ == __name__ and list(inspect.signature(f).parameters) == ["s"]]
for one in CASES:
    one.once = "what is settled does not depend on the store"
