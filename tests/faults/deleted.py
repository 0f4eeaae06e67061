# SPDX-License-Identifier: Apache-2.0
"""What the worker works on is deleted, purged or made anew while messages are in its hands: the consumer, the streams of requests
and outputs, the journal's bucket."""
import collections
import json
import random
import time

from books import ACK_WAIT, READY, RECOVERED_S, PayOnce, is_of, percentile, progress, publish_many, stream_messages, tells_of
from lib.proxy import NatsProxy, is_verdict
from stage import check, in_time, wait_for

REQUESTS, OUTPUTS, JOURNAL, CONSUMER = "ENRICH_REQUESTS", "ENRICH_READY", "KV_SLUICE_JOURNAL", "context-enricher"
IN_FLIGHT = 20
SETTINGS = {"SLUICE_ACK_WAIT": ACK_WAIT, "SLUICE_MAX_IN_FLIGHT": IN_FLIGHT, "SLUICE_PUBLISH_TIMEOUT": 3,
            "SLUICE_PUBLISH_BREAKER_RESET": 0.5}
MISSING_S = 20  # a consumer that is gone is asked for again for 5 s; before that a pull may have to miss two heartbeats
ACK = is_verdict("+ACK")


class Confirmed(NatsProxy):
    """Before the worker: which outputs have their PubAck, how many nobody took, and what was acknowledged without a PubAck."""

    def __init__(self, port):
        super().__init__(port)
        self.waiting, self.outputs = {}, collections.Counter()
        self.given, self.wrong, self.unheard = {}, [], 0  # {reply subject: request}
        self.hooks.append(self.note)

    def note(self, way, frame):
        if way == "up" and frame.subject == READY:
            head = frame.head.decode()
            self.waiting[frame.reply] = head.partition("Nats-Msg-Id: ")[2].partition("\r\n")[0]
        elif way == "down" and frame.subject in self.waiting:
            name = self.waiting.pop(frame.subject)
            if not frame.body:  # no stream has the subject
                self.unheard += 1
            elif "error" not in json.loads(frame.body):
                self.outputs[name] += 1
        elif way == "down" and frame.reply.startswith("$JS.ACK."):
            self.given[frame.reply] = json.loads(frame.body)["request_id"]
        elif way == "up" and ACK(frame):
            request = self.given.get(frame.subject)
            if not any(f":{request}:" in name for name in list(self.outputs)):
                self.wrong.append(f"+ACK of {request} without a PubAck of its output")
        return frame


class Accounts:
    """`gone`: requests that were deleted with their stream, finished or not. A stream of outputs that was deleted has taken what it
    had confirmed."""

    def __init__(self, s, proxy):
        self.s, self.proxy = s, proxy
        self.total, self.gone, self.are_outputs_gone = 0, set(), False

    def publish(self, count):
        publish_many(self.s, self.total + 1, count)
        self.total += count

    def all_gone(self):
        """What the stream of requests still has, just before it is deleted: what has been acknowledged by then is not among it."""
        self.gone |= {json.loads(one.data)["request_id"] for one in self.s.nats.messages(REQUESTS)}

    def judge(self):
        s, documents = self.s, self.s.documents()
        outputs = stream_messages(s, OUTPUTS)
        ids = [one.headers.get("Nats-Msg-Id") for one in outputs]
        taken = set(self.proxy.outputs) - set(ids) if self.are_outputs_gone else set()
        keys = {one.split(":")[1] for one in ids + sorted(taken)}
        expected = {f"r-{i}" for i in range(1, self.total + 1)} - self.gone
        v = {"messages": self.total, "deleted_with_their_stream": len(self.gone), "of_these_done": len(self.gone & keys),
             "documents": len(documents), "outputs": len(ids), "outputs_deleted_with_their_stream": len(taken),
             "lost": len(expected - set(documents) - keys), "acked_without_result": len(expected - (set(documents) & keys)),
             "orphan_outputs": len(keys - set(documents)), "duplicate_outputs": len(ids) - len(set(ids)),
             "acked_before_the_pubacks": len(self.proxy.wrong), "dead_letters": s.left("ENRICH_DEAD"), "left_in_stream": s.left(),
             "pending": s.pending(), "wrong_documents": sum(not is_of(key, one) for key, one in documents.items()),
             "wrong_outputs": sum(not tells_of(name.split(":")[1], one) for name, one in zip(ids, outputs))}
        bad = [name for name in ("lost", "acked_without_result", "orphan_outputs", "duplicate_outputs", "acked_before_the_pubacks",
                                 "dead_letters", "left_in_stream", "pending", "wrong_documents", "wrong_outputs") if v[name] != 0]
        missing = sorted(expected - (set(documents) & keys))[:5]
        check(not bad, f"{', '.join(bad)}: {v} {missing} {self.proxy.wrong[:5]}")
        return v


class Scene:
    """One worker, and what is done to it."""

    def __init__(self, s, rng):
        self.s, self.rng = s, rng
        self.proxy = s.nats_proxy(Confirmed)
        self.books = Accounts(s, self.proxy)
        self.settled = 0  # questions of finished messages whose answers the journal has not, or not any more
        self.paid = PayOnce(s, has_sum=False, one_at_a_time=True, journaled=lambda s: s.journaled() + self.settled)

    def start(self):
        self.worker = self.s.start_worker(**SETTINGS, **self.s.through(self.proxy))
        self.s.ready()

    def in_flight(self, is_full):
        """Messages in all stages, some of them with their answers in the journal; `is_full`: and no pull is parked."""
        s = self.s
        s.llm.set(latency_ms=self.rng.randint(150, 600))
        asked = s.llm.ledger()["calls"]
        count = 3 * IN_FLIGHT if is_full else IN_FLIGHT // 2
        self.books.publish(count)
        goal = asked + (self.rng.randint(IN_FLIGHT, 2 * IN_FLIGHT) if is_full else self.rng.randint(1, count))
        wait_for("messages in flight", lambda: s.llm.ledger()["calls"] >= goal)

    def remake(self, stream, consumer=False):
        """Delete a stream, and make it again as it was. What is done in between."""
        nats = self.s.nats
        config = nats.stream_info(stream)["config"]
        of_consumer = nats.consumer_info(stream, CONSUMER)["config"] if consumer else None
        nats.stream_delete(stream)
        nats.api("STREAM.CREATE." + stream, config)
        if consumer:
            self.make_consumer(of_consumer)

    def make_consumer(self, config):
        self.s.nats.api(f"CONSUMER.DURABLE.CREATE.{REQUESTS}.{CONSUMER}", {"stream_name": REQUESTS, "config": config})

    def ends(self):
        """It says what is missing, and ends; somebody starts it again, which makes what is missing."""
        code = self.worker.wait_exit(MISSING_S)
        check(code == 1 and "consumer.missing" in self.worker.log_text(), f"the worker ended with {code}, expected 1 and consumer.missing")
        self.start()

    def goes_on(self, what):
        """How long until all is done, and ten messages more."""
        start = time.monotonic()
        self.books.publish(10)
        wait_for(f"all done after: {what}", lambda: not self.worker.is_alive() or self.s.all_done(), 60)
        check(self.worker.is_alive(), f"{what}: the worker ended with {self.worker.code}")
        passed = time.monotonic() - start
        self.settled = self.s.llm.ledger()["keys"] - self.s.journaled()
        return passed


# ---- what happens; each ends when the worker can go on

def consumer_deleted(scene):
    """Nobody makes it again."""
    scene.in_flight(is_full=False)
    scene.paid.note(lambda: scene.s.nats.consumer_delete(REQUESTS, CONSUMER))
    scene.ends()


def consumer_made_anew(scene, is_full=True):
    """All that is in hand comes once more, with delivery 1; nothing that was journaled is paid for again."""
    s = scene.s
    config = s.consumer()["config"]

    def make():
        s.nats.consumer_delete(REQUESTS, CONSUMER)
        scene.make_consumer(config)
    scene.in_flight(is_full)
    scene.paid.note(make)


def consumer_made_anew_meanwhile(scene):
    consumer_made_anew(scene, is_full=False)


def requests_purged(scene):
    scene.in_flight(is_full=True)
    scene.books.all_gone()
    scene.paid.note(lambda: scene.s.nats.stream_purge(REQUESTS))


def requests_deleted(scene):
    """The stream comes back, its consumer does not."""
    scene.in_flight(is_full=True)
    scene.books.all_gone()
    scene.paid.note(lambda: scene.remake(REQUESTS))
    scene.ends()


def requests_made_anew(scene, is_full=True):
    """The new messages have the sequences of those in hand: what is acknowledged of those must not be these."""
    scene.in_flight(is_full=False)
    wait_for("all done", scene.s.all_done)
    scene.remake(REQUESTS, consumer=True)  # counts from 1, as it will the second time
    scene.in_flight(is_full)
    scene.books.all_gone()
    scene.paid.note(lambda: scene.remake(REQUESTS, consumer=True))
    scene.books.publish(3 * IN_FLIGHT)


def requests_made_anew_meanwhile(scene):
    requests_made_anew(scene, is_full=False)


def outputs_deleted(scene):
    """Nothing is confirmed meanwhile, and what has no output stays."""
    s, books = scene.s, scene.books
    scene.in_flight(is_full=True)
    config = s.nats.stream_info(OUTPUTS)["config"]
    unheard, books.are_outputs_gone = scene.proxy.unheard, True
    scene.paid.note(lambda: s.nats.stream_delete(OUTPUTS))
    # With a full house of those there is none on its way any more that the stream has confirmed.
    wait_for("nobody takes the outputs", lambda: scene.proxy.unheard >= unheard + IN_FLIGHT)
    wait_for("the log says so", lambda: "publish.no_stream" in scene.worker.log_text())  # once a minute
    before = s.left()
    end = time.monotonic() + scene.rng.uniform(0.5, 4)
    wait_for("some time", lambda: time.monotonic() > end)
    check(s.left() == before, f"{before - s.left()} requests were acknowledged without a stream for their outputs")
    s.nats.api("STREAM.CREATE." + OUTPUTS, config)


def outputs_made_anew(scene):
    scene.in_flight(is_full=True)
    config = scene.s.nats.stream_info(OUTPUTS)["config"]
    scene.books.are_outputs_gone = True
    scene.s.nats.stream_delete(OUTPUTS)
    scene.s.nats.api("STREAM.CREATE." + OUTPUTS, config)


def asked_again(s):
    ledger = s.llm.ledger()
    return ledger["calls"] - ledger["keys"]


def journal_deleted(scene):
    """It costs nobody his answer: without a fault of the worker nothing is asked twice."""
    s = scene.s
    scene.in_flight(is_full=True)
    config = s.nats.stream_info(JOURNAL)["config"]
    again = asked_again(s)
    s.nats.stream_delete(JOURNAL)
    wait_for("/health says so", lambda: s.health()["services"]["journal"]["status"] == "unhealthy")
    wait_for("all done without a journal", s.all_done)
    s.nats.api("STREAM.CREATE." + JOURNAL, config)
    scene.books.publish(IN_FLIGHT)
    wait_for("/health says that it is back", lambda: s.health()["services"]["journal"]["status"] == "healthy")
    wait_for("all done", s.all_done)
    check(asked_again(s) == again, f"{again} calls were for the second time before the journal was deleted, {asked_again(s)} after it")


QUICK = (consumer_deleted, consumer_made_anew, requests_purged, requests_made_anew, outputs_deleted, journal_deleted)
ALL = QUICK + (consumer_made_anew_meanwhile, requests_deleted, requests_made_anew_meanwhile, outputs_made_anew)


def deleted(s, a):
    """Consumer, streams and journal are deleted, purged and made anew under a worker that is at work."""
    scene, times = Scene(s, random.Random(a.seed)), {}
    scene.start()
    for n in range(a.kills or (1 if a.quick else 10)):
        for what in QUICK if a.quick else ALL:
            what(scene)
            passed = scene.goes_on(what.__name__)
            times.setdefault(what.__name__, []).append(passed)
            progress(f"deleted: round {n + 1}, {what.__name__}: all done after {passed:.2f} s, {scene.books.total} messages", True)
    v = scene.books.judge()
    again = [one for some in times.values() for one in some]
    v.update(scene.paid.figures(s.llm.ledger()["keys"]), faults=len(again), all_done_p50_s=round(percentile(again, 50), 2),
             all_done_max_s={name: round(max(some), 2) for name, some in times.items()})
    in_time(percentile(again, 99), RECOVERED_S, str(v))
    return v


deleted.takes = ("kills",)
