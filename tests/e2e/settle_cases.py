# SPDX-License-Identifier: Apache-2.0
"""Which delivery is settled, and whose answer counts, as a proxy before the worker sees it."""
import json
from lib.proxy import is_verdict
from stage import cases_of, check, wait_for

ACK, NAK, RENEWAL = is_verdict("+ACK"), is_verdict("-NAK"), is_verdict("+WPI")
PULL = lambda frame: frame.subject.startswith("$JS.API.CONSUMER.MSG.NEXT.")


def request_of(frame):
    """(number of the request, number of its delivery) of a verdict."""
    words = frame.subject.split(".")
    return int(words[5]), int(words[4])


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
    s.start_worker(SLUICE_MAX_IN_FLIGHT=1, SLUICE_ACK_WAIT=20, **s.through(proxy))
    s.ready()
    s.send(2)
    wait_for("both are acknowledged", s.all_done)
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
    s.start_worker(**s.through(proxy))
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
    s.start_worker(**s.through(proxy))
    s.ready()
    s.send(1)
    s.expect_done(1)
    check(renewals.seen >= 4, f"{renewals.seen} renewals in 5 s with an ack wait of 2 s")
    check(s.consumer()["delivered"]["consumer_seq"] == 1, "delivered again")
    check(s.llm_http("/ledger")["calls"] == 1, "asked again")


def doubled(frame):
    frame.raw += frame.raw
    return frame


def acks_and_their_answers_may_come_twice(s):
    """The second answer is there when the next message has the place of the one before."""
    proxy = s.nats_proxy()
    sent = proxy.on_request(ACK, doubled, count=-1)
    answered = proxy.on_answer(ACK, doubled, count=-1)
    proxy.hooks.reverse()  # an answer's rule has to see the request, too
    s.start_worker(SLUICE_MAX_IN_FLIGHT=1, SLUICE_ACK_WAIT=20, **s.through(proxy))
    s.ready()
    s.send(20)
    s.expect_done(20)
    wait_for("all ACKs are answered", lambda: s.figure('sluice_messages_total{outcome="acked"}') == 20)
    check(s.pending() == 0 and s.consumer()["delivered"]["consumer_seq"] == 20, f"delivered again: {s.consumer()}")
    check(sent.seen == answered.seen == 20, f"{sent.seen} ACKs, {answered.seen} answers")
    check(s.figure("sluice_settles_repeated_total") == 0, "an ACK that was answered was repeated")


def answers_to_acks_may_change_places(s):
    """The first answer comes behind the second one."""
    proxy, inboxes, held = s.nats_proxy(), [], []

    def swap(way, frame):
        if way == "up" and ACK(frame):
            inboxes.append(frame.reply)
        elif way == "down" and frame.subject in inboxes:
            held.append(frame)
            if len(held) % 2 == 1:
                return None
            frame.raw += held[-2].raw
        return frame
    proxy.hooks.append(swap)
    s.llm_http("/control", {"latency-ms": 300})  # both are given out before the first is done
    s.start_worker(SLUICE_MAX_IN_FLIGHT=2, SLUICE_ACK_WAIT=20, **s.through(proxy))
    s.ready()
    s.send(6)
    s.expect_done(6)
    wait_for("all ACKs are answered", lambda: s.figure('sluice_messages_total{outcome="acked"}') == 6)
    check(len(held) == 6 and held[0].subject == inboxes[0], f"{len(held)} answers to {len(inboxes)} ACKs")
    check(s.pending() == 0 and s.consumer()["delivered"]["consumer_seq"] == 6, f"delivered again: {s.consumer()}")
    check(s.figure("sluice_settles_repeated_total") == 0, "an ACK that was answered was repeated")


def more_messages_than_were_asked_for_are_done(s):
    """Each pull asks the server for 20 messages more than the worker wants, and has room for: these are given back, at once."""
    proxy, asked, given_back = s.nats_proxy(), [], []

    def more(frame):
        pull = json.loads(frame.body)
        asked.append(pull["batch"])
        return frame.with_body(json.dumps(dict(pull, batch=pull["batch"] + 20)).encode())

    def note(frame):
        given_back.append(frame.body)
        return frame
    proxy.on_request(PULL, more, count=-1)
    proxy.on_request(NAK, note, count=-1)
    s.llm_http("/control", {"latency-ms": 100})
    s.start_worker(SLUICE_MAX_IN_FLIGHT=2, SLUICE_ACK_WAIT=20, **s.through(proxy))
    s.ready()
    s.send(30)
    s.expect_done(30)
    wait_for("nothing is pending", lambda: s.pending() == 0)
    check(max(asked) <= 2, f"asked for {asked}")
    check(s.llm_http("/ledger")["calls"] == 30, "asked again")
    refused = s.consumer()["delivered"]["consumer_seq"] - 30
    check(refused > 0 and given_back == [b"-NAK"] * refused, f"{refused} deliveries too many, {len(given_back)} given back")
    wait_for("the worker counts them all", lambda: s.figure("sluice_refused_total") == refused)
    s.notes.append(f"{refused} given back unread, {s.consumer()['delivered']['consumer_seq']} deliveries")


def messages_that_wait_for_their_delay_hold_others_up_no_longer(s):
    """Two delayed NAKs, which say their delay, have both places that the consumer has: until then nothing comes. Pulls end
    meanwhile, and the worker stays well."""
    proxy, ended, delays = s.nats_proxy(), [], []

    def short(frame):
        return frame.with_body(json.dumps(dict(json.loads(frame.body), expires=10**9, idle_heartbeat=4 * 10**8)).encode())

    def note(way, frame):
        if way == "down" and b" 408 " in frame.head:
            ended.append(frame.head)
        elif way == "up" and NAK(frame):
            delays.append(json.loads(frame.body[4:] or b"{}").get("delay", 0) / 10**9)
        return frame
    proxy.on_request(PULL, short, count=-1)
    proxy.hooks.append(note)
    s.make_streams()
    s.nats.consumer_create(s.names.requests, "context-enricher", max_ack_pending=2, ack_wait=2 * 10**9,
                           filter_subject=s.names.request_subject)
    s.llm_http("/control", {"500": 100})
    s.start_worker(SLUICE_MAX_IN_FLIGHT=2, SLUICE_NAK_DELAY=6, SLUICE_NAK_DELAY_MAX=6, LLM_BREAKER_FAILURES=1000, **s.through(proxy))
    s.ready()
    s.send(2)
    wait_for("both are given back", lambda: s.figure('sluice_messages_total{outcome="naked"}') == 2)
    check(len(delays) == 2 and all(3 <= one <= 6 for one in delays), f"delays of {delays} s, 3 to 6 expected")
    s.llm_http("/control", {"500": 0})
    s.send(1, first=3)
    info = s.consumer()
    check((info["num_ack_pending"], info["num_pending"], info["delivered"]["consumer_seq"]) == (2, 1, 2), f"the places: {info}")
    wait_for("nothing is in the worker's hands", lambda: s.figure("sluice_in_flight_messages") == 0)
    wait_for("two pulls have ended in vain", lambda: len(ended) >= 2)
    check(s.readiness()["degraded"] is False, s.probe("/readyz")[1])
    s.expect_done(3)
    check(s.pending() == 0 and s.consumer()["delivered"]["consumer_seq"] == 5, f"deliveries: {s.consumer()['delivered']}")
    check(s.figure("sluice_pulls_stalled_total") == 0, "a pull was taken for stalled")


CASES = cases_of(globals())
for one in CASES:
    one.once = "what is settled does not depend on the store"
