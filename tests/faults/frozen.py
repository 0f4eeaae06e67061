# SPDX-License-Identifier: Apache-2.0
"""A worker that is frozen past its lease, and what it says about its old deliveries when it goes on."""
import collections
import json
import random
import re
import threading
import time

from books import ACK_WAIT, JOURNALED_AFTER, READY, PayOnce, assert_clean, progress, publish_many, start_beside, verdict
from lib.proxy import NatsProxy, Proxy
from stage import check, wait_for

VERDICTS = ("+ACK", "-NAK", "+TERM", "+WPI")


class Settled:
    """What the server handed out to whom, and who settled it how, as it passes before the workers. A delivery is noted
    after the server has sent it, a verdict before the server sees it: "old" is never said of one that is not."""

    def __init__(self):
        self.lock = threading.Lock()
        self.handed_out = {}  # {(request, delivery): proxy}
        self.newest = collections.Counter()  # {request: delivery}
        self.published = set()  # requests whose output has its PubAck
        self.counts, self.wrong = collections.Counter(), []

    def deliver(self, proxy, reply):
        with self.lock:
            delivery, request = (int(word) for word in reply.split(".")[4:6])
            self.handed_out[request, delivery] = proxy
            self.newest[request] = max(self.newest[request], delivery)

    def publish(self, request):
        with self.lock:
            self.published.add(request)

    def settle(self, proxy, subject, verdict):
        with self.lock:
            delivery, request = (int(word) for word in subject.split(".")[4:6])
            is_old = self.newest[request] > delivery
            what = f"{verdict} of r-{request}, delivery {delivery} of {self.newest[request]}"
            self.counts[verdict, is_old] += 1
            if self.handed_out.get((request, delivery)) is not proxy:
                self.wrong.append(f"{what}: was handed out to somebody else")
            if is_old and verdict != "+ACK":
                self.wrong.append(f"{what}: settles what somebody else holds")
            if verdict == "+ACK" and request not in self.published:
                self.wrong.append(f"{what}: its output has no PubAck")

    def handed_out_again(self, proxy, requests):
        """How many of these requests were handed out again after the worker behind `proxy` had got them."""
        with self.lock:
            return sum(any(self.handed_out.get((request, delivery)) is proxy for delivery in range(1, self.newest[request]))
                       for request in requests)

    def judge(self):
        check(not self.wrong, "\n".join(self.wrong[:20]))

    def figures(self):
        self.judge()
        return {"redeliveries": sum(self.newest.values()) - len(self.newest),
                **{f"late_{name}": self.counts[verdict, True] for name, verdict in zip(("acks", "naks", "terms", "renewals"), VERDICTS)}}


class Watched(NatsProxy):
    """Before one worker."""

    def __init__(self, port, settled):
        super().__init__(port)
        self.settled, self.outputs = settled, {}
        self.is_output_lost, self.lost = False, 0
        self.echoes = self.pulls = 0
        self.hooks.append(self.note)

    def note(self, way, frame):
        if way == "up" and ".a.e." in frame.subject:
            self.echoes += 1
        elif way == "up" and frame.subject.startswith("$JS.API.CONSUMER.MSG.NEXT."):
            self.pulls += 1
        elif way == "down" and frame.reply.startswith("$JS.ACK."):
            self.settled.deliver(self, frame.reply)
        elif way == "down" and frame.subject in self.outputs:
            request = self.outputs.pop(frame.subject)
            if "error" not in json.loads(frame.body):
                self.settled.publish(request)
        elif way == "up" and frame.subject == READY:
            if self.is_output_lost:
                self.lost += 1
                return None
            self.outputs[frame.reply] = int(re.search(rb"Nats-Msg-Id: [^:]*:r-(\d+):", frame.head).group(1))
        elif way == "up" and frame.subject.startswith("$JS.ACK."):
            self.settled.settle(self, frame.subject, next(one for one in VERDICTS if frame.body.startswith(one.encode())))
        return frame


class Calls(Proxy):
    """Before the LLM, for one worker: whose calls fail while it is frozen. The answers wait for it in its sockets."""

    def __init__(self, port):
        super().__init__(port)
        self.worker_is_frozen, self.failed = False, set()
        self.asked = {}  # {link: the request of its last question}

    def pieces(self, link, way, reader):
        for data in super().pieces(link, way, reader):
            question = re.search(rb"harbour(\d+)", data) if way == "up" else None
            if question:
                self.asked[link] = int(question.group(1))
            if way == "down" and self.worker_is_frozen and data.startswith(b"HTTP/1.1 50"):
                self.failed.add(self.asked[link])
            yield data


def freeze(s, a):
    """SIGSTOP past the lease, with a second worker; then SIGCONT: the frozen one must not harm what the other did. Two rounds
    each in turn: calls are under way when it freezes; half of them fail meanwhile, so that it would have something to NAK when
    it goes on; its answers are journaled and its outputs lost, so that the other has nothing to pay for; its messages lie unread
    in its socket, behind an answer that came too late to say anything of them, and it reads them while the other's calls run."""
    rounds = 8 if a.quick else 32
    rng = random.Random(a.seed)
    settled = Settled()
    s.llm_http("/control", {"latency-ms": 100})
    proxies = [s.nats_proxy(Watched, settled) for _ in range(2)]
    lines = [s.llm_proxy(Calls) for _ in range(2)]
    two = [start_beside(s, LLM_BREAKER_RESET=0.5, **s.through(proxy, line)) for proxy, line in zip(proxies, lines)]
    first, paid, late_failures, unread = 1, PayOnce(s, is_timed=True), 0, 0
    for n in range(rounds):
        kind = ("calls run", "calls fail", "outputs are lost", "nothing is read")[n // 2 % 4]
        frozen, proxy, line, calls = two[n % 2], proxies[n % 2], lines[n % 2], s.llm.ledger()["calls"]
        s.llm_http("/control", dict.fromkeys(("500", "503"), 25 if kind == "calls fail" else 0))
        s.llm_http("/control", {"latency-ms": 3000 if kind == "nothing is read" else 100})
        proxy.is_output_lost = kind == "outputs are lost"
        if kind == "nothing is read":
            pulls, end = proxy.pulls, time.monotonic() + 1.2  # one that ends while its end is held leaves nothing to read
            wait_for("a new pull, or none that is short", lambda: proxy.pulls > pulls or time.monotonic() > end)  # noqa: B023
            proxy.blackhole("down")
            echoes = proxy.echoes
            wait_for("an echo is on its way back", lambda: proxy.echoes > echoes)  # noqa: B023, called at once
        publish_many(s, first, 60)
        if proxy.is_output_lost:
            goal = proxy.lost + rng.randint(1, 20)
            wait_for("some outputs are lost", lambda: proxy.lost >= goal)  # noqa: B023, called at once
            old = time.monotonic() + JOURNALED_AFTER + 0.2
            wait_for("their answers are old", lambda: time.monotonic() > old, 10)  # noqa: B023, called at once
        elif kind != "nothing is read":
            goal = calls + rng.randint(1, 50)
            wait_for("some calls run", lambda: s.llm.ledger()["calls"] >= goal)  # noqa: B023, called at once
        frozen.freeze()
        proxy.heal()  # what it held lies in the worker's socket now
        line.worker_is_frozen, proxy.is_output_lost = True, False
        paid.note()
        s.llm_http("/control", {"500": 0, "503": 0})
        new = range(first, first + 60)
        first += 60
        end = time.monotonic() + ACK_WAIT + 1.5
        wait_for("the lease is over", lambda: time.monotonic() > end, 10)  # noqa: B023, called at once
        line.worker_is_frozen = False
        if kind == "nothing is read":
            unread += settled.handed_out_again(proxy, new)
        late_failures += settled.handed_out_again(proxy, line.failed)
        line.failed.clear()
        frozen.thaw()
        is_over = lambda: settled.wrong or not all(w.is_alive() for w in two) or s.all_done()
        wait_for("all done", is_over, 60)
        settled.judge()
        check(all(w.is_alive() for w in two), f"workers ended with {[w.code for w in two]}")
        asked = s.llm.ledger()["calls"] - calls
        check(kind != "nothing is read" or asked == 60, f"{asked} calls for 60 messages, none of which was asked before the freeze")
        progress(f"freeze: {n + 1}/{rounds}")
    v = verdict(s, first - 1)
    v.update(freezes=rounds, late_failures=late_failures, read_late=unread, **settled.figures(), **paid.figures(first - 1))
    assert_clean(v)
    v["outputs_lost"] = sum(proxy.lost for proxy in proxies)
    check(min(v[name] for name in ("redeliveries", "late_failures", "read_late", "outputs_lost")) > 0,
          f"the frozen workers had nothing in their hands: {v}")
    return v
