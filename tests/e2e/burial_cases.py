# SPDX-License-Identifier: Apache-2.0
"""Dead letters whose stream is away or full: the message stays, and goes only when its letter is stored."""
import json
from lib.proxy import is_verdict
from stage import cases_of, check, wait_for

BURIES = {"SLUICE_ON_REJECT": "dead-letter", "SLUICE_PUBLISH_TIMEOUT": "0.5", "SLUICE_PUBLISH_BREAKER_RESET": "0.2"}


def not_buried(stage):
    """Deliveries that were given back because their dead letter found no place."""
    return sum(e["event"] == "message.failed" and e["reason"] == "dead_letter" for e in stage.events())


def is_given_back_again(s, why):
    """It is tried again, and again in vain; the log says why."""
    before = not_buried(s)
    wait_for(f"two more burials in vain: {why}", lambda: not_buried(s) >= before + 2)
    check(any(e["event"] == "dead_letter.failed" and why in e["text"] for e in s.events()), f"the log does not say: {why}")


def a_dead_letter_waits_for_its_stream(s):
    """First there is none, then a full one; the message next to it is done all the while."""
    proxy = s.nats_proxy()
    terms = proxy.on_request(is_verdict("+TERM"), lambda frame: frame, count=-1)
    s.start_worker(**s.through(proxy), **BURIES)
    s.ready()
    s.nats.stream_delete(s.names.dead)
    rejected = b'{"request_id": "rejected", "nothing": "else"'
    s.nats.js_publish_surely(s.names.request_subject, rejected, {"Content-Type": "application/json"})
    is_given_back_again(s, "no stream listens on subject context.enrich.dead")
    s.nats.stream_create(s.names.dead, [s.names.dead_subject], max_bytes=4096)
    s.nats.js_publish(s.names.dead_subject, b"x" * 3900)
    is_given_back_again(s, "maximum bytes exceeded")
    s.send(1)
    wait_for("the message next to it is done", lambda: "r-1" in s.documents() and s.left() == 1)
    check(terms.seen == 0, f"{terms.seen} TERMs without a dead letter")
    s.nats.stream_update(s.names.dead, max_bytes=-1)
    wait_for("no request is left", s.all_done)
    letters = s.nats.messages(s.names.dead)[1:]
    check([one.data for one in letters] == [rejected], f"dead letters: {letters}")
    check(letters[0].headers["Sluice-Dead-Reason"] == "rejected", f"headers: {letters[0].headers}")


CASES = cases_of(globals())
for one in CASES:
    one.once = "a burial does not touch the store"
