# SPDX-License-Identifier: Apache-2.0
"""One of three nats-servers is cut off from the two others: each server, and the worker, in a network namespace of its own."""
import json
import time

from books import ACK_WAIT, RECOVERED_S, PayOnce, assert_clean, percentile, progress, publish_many, start_beside, verdict
from cluster import CONSUMER, READY, REQUESTS, STREAMS, ClusterStage
from lib.nats import Nats, NatsError
from lib.netns import Netns
from lib.servers import NATS_PASSWORD, NatsCluster
from network import LONG, SETTINGS, SHORT, PartitionStage
from stage import check, in_time, wait_for

CONSUMER_OF = f"{REQUESTS}.{CONSUMER}"
LASTING = 10
# Seconds; nobody heals it before the worker has found another server. A consumer's leader that is cut off goes on beating for the
# pulls for 20 of them: nats-server 2.12 looks every 10 s whether it has been without a majority for 10 s.
UNTIL_IT_LEAVES = 30


class IsolationStage(ClusterStage, PartitionStage):
    """Three servers on islands; LLM and store outside, as in PartitionStage. The test itself asks those that are not cut off."""

    def start_nats(self):
        self.net = self.part(Netns(islands=3))
        self.peers = {"llm": self.net.address(2)}
        self.isolated = self.client_outside = None
        places = [(self.net.island_address(n), self.net.inside(n)) for n in range(3)]
        self.nats_server = self.part(NatsCluster(self.folder, pinned=True, user="sluice", password=NATS_PASSWORD, places=places))
        self.nats_server.start().wait_ready()

    @property
    def servers(self):
        return [one for one in self.nats_server.servers if one is not self.isolated]

    @property
    def nats(self):
        """Not looked for while one is cut off: whether JetStream is up tells the leader of all, which it may be."""
        return self.client_outside or ClusterStage.nats.fget(self)

    def others(self, server):
        return [one for one in self.nats_server.servers if one is not server]

    # -- the worker

    def start_worker_at(self, server):
        """It may go to each of the three; all its connections are to this one, as the others could not be reached."""
        for worker in self.workers:
            worker.stop()
        self.workers.clear()
        for one in self.others(server):
            self.net.cut(self.net.worker_address, one.host, "unreachable")
        start_beside(self, self.net.worker_address, inside=self.net.inside(), **SETTINGS, SLUICE_MAX_IN_FLIGHT=20)
        self.let_worker_reach(self.others(server))

    def let_worker_reach(self, servers):
        for one in servers:
            self.net.join(self.net.worker_address, one.host)

    # -- who leads

    def lead(self, server, leads_streams, leads_consumer):
        """The streams that are named are led by this server, all others by the next one; so is the consumer, or not."""
        other = self.others(server)[0]
        for stream in STREAMS:
            self.move(f"STREAM.%s.{stream}", server if stream in leads_streams else other)
        self.move(f"CONSUMER.%s.{CONSUMER_OF}", server if leads_consumer else other)
        self.wait_whole()

    def move(self, what, server):
        def is_there():
            if self.nats.api(what % "INFO")["cluster"].get("leader") == server.name:  # none while they elect one
                return True
            self.nats.api(what % "LEADER.STEPDOWN", {"placement": {"preferred": server.name}})
            return False
        wait_for(f"{server.name} leads {what}", is_there, 60)

    # -- the fault

    def isolate(self, server, keeps_worker):
        """`keeps_worker`: the worker reaches it alone."""
        self.isolated = server
        self.client_outside = Nats(self.others(server)[0].url, user=server.user, password=server.password, timeout=1)
        for one in self.others(server):
            self.net.cut(server.host, one.host)
            if keeps_worker:
                self.net.cut(self.net.worker_address, one.host)

    def heal(self):
        self.net.heal()
        self.client_outside.close()
        self.isolated = self.client_outside = None

    def sends(self, number):
        """One try to have a request in the stream, under a message id. Is it there?"""
        body = json.dumps({"request_id": f"r-{number}", "query": f"What about shipment {number} to harbour{number}?"})
        try:
            self.nats.js_publish("context.enrich.request", body, {"Content-Type": "application/json"}, f"send-{number}", 0.5)
            return True
        except (NatsError, OSError):
            return False


def journaled(s):
    """Counted without a consumer, which the servers might put on the one that is cut off."""
    counts = []
    wait_for("the journal answers", lambda: counts.append(s.journaled()) or True, 60)
    return counts[-1]


# name: (streams that the isolated server leads, does it lead the consumer, is the worker with it, does it reach it alone at first)
MINORITY = ((), False, True, False)
ALONE = ((), False, True, True)
CONSUMER_LEADER = ((), True, True, False)
STREAM_LEADER = ((REQUESTS, READY), False, False, False)
LEADER = "consumer leader, worker with it"
SITUATIONS = {"worker with the minority": MINORITY, "worker with the minority alone": ALONE, LEADER: CONSUMER_LEADER,
              "stream leader, worker with the others": STREAM_LEADER}
QUICK = (("worker with the minority", LONG), (LEADER, SHORT), ("stream leader, worker with the others", SHORT))
ISOLATIONS = tuple((name, seconds) for name in SITUATIONS for seconds in (SHORT, LONG, LASTING)) + (
    ("worker with the minority", UNTIL_IT_LEAVES), ("worker with the minority alone", UNTIL_IT_LEAVES), (LEADER, UNTIL_IT_LEAVES))


class Awaited:
    """A request that is sent until it is in the stream, when that was, and when it had its document."""

    def __init__(self, s, number, name):
        self.s, self.number, self.name = s, number, name
        self.taken = self.done = None

    def look(self):
        if self.taken is None and self.s.sends(self.number):
            self.taken = time.monotonic()
        if self.done is None and self.taken and f"r-{self.number}" in self.s.documents():
            self.done = time.monotonic()
        return self.done is not None

    def watch(self, until):
        wait_for(self.name, lambda: self.look() or time.monotonic() >= until, until - time.monotonic() + 60)
        wait_for(self.name, lambda: time.monotonic() >= until, until - time.monotonic() + 60)


def isolated(s, paid, total, victim, situation, seconds):
    """30 messages before, 11 within or after. (seconds until a message had its document that was sent after the fault: since the
    stream took it and the worker could reach the others, since the latter or the fault alone, which counts the election of a
    leader that takes it; from the healing on until all were done.)"""
    streams, leads_consumer, is_with_it, is_alone = SITUATIONS[situation]
    s.lead(victim, streams, leads_consumer)
    s.start_worker_at(victim if is_with_it else s.others(victim)[0])
    calls = s.llm.ledger()["calls"]
    publish_many(s, total + 1, 30)
    wait_for("messages in flight", lambda: s.llm.ledger()["calls"] >= calls + 15)
    paid.note(lambda: s.isolate(victim, is_alone))
    fault = reached = time.monotonic()
    awaited = Awaited(s, total + 31, f"a message after: {situation}, {seconds:g} s")
    if is_alone:
        awaited.watch(fault + seconds / 2)
        s.let_worker_reach(s.others(victim))
        reached = time.monotonic()
    awaited.watch(fault + seconds)
    paid.note()
    s.heal()
    healed = time.monotonic()
    wait_for(awaited.name, awaited.look, 90)
    for number in range(total + 32, total + 42):
        wait_for(f"request {number} in the stream", lambda: s.sends(number), 60)  # noqa: B023, called at once
    wait_for(f"all done after it: {awaited.name}", lambda: s.pending() == 0 and s.left() == 0, 90)
    return max(0.0, awaited.done - max(reached, awaited.taken)), max(0.0, awaited.done - reached), time.monotonic() - healed


def isolation(s, a):
    """One of three servers cannot reach the others, and the worker can reach it; then all can again."""
    s.llm.set(latency_ms=100)
    s.start_worker_at(s.servers[0])
    s.replicate()
    total, pulling, since_fault, done, paid = 0, {}, [], {}, PayOnce(s, has_sum=False, journaled=journaled)
    for n, (situation, seconds) in enumerate(QUICK if a.quick else ISOLATIONS):
        name = f"{situation}, {seconds:g} s"
        pulled, fault, healed = isolated(s, paid, total, s.nats_server.servers[n % 3], situation, seconds)
        total += 41
        pulling.setdefault(name, []).append(pulled)
        since_fault.append(fault)
        done.setdefault(name, []).append(healed)
        progress(f"isolation: {name}: pulling again after {pulled:.2f} s ({fault:.2f} s from the fault), done {healed:.2f} s after the healing", True)
        s.wait_whole()
    v = verdict(s, total)
    again = [one for some in pulling.values() for one in some]
    v.update(isolations=len(again), pulling_again_p50_s=round(percentile(again, 50), 2), pulling_again_p99_s=round(percentile(again, 99), 2),
             slowest_since_the_fault_s=round(max(since_fault), 2),
             pulling_again_s={name: round(max(some), 2) for name, some in pulling.items()},
             done_after_healing_s={name: round(max(some), 2) for name, some in done.items()}, **paid.figures(total))
    assert_clean(v)
    check(v["left_in_stream"] == 0, f"messages are left: {v}")
    in_time(v["pulling_again_p99_s"], RECOVERED_S, str(v))
    return v


isolation.stage = IsolationStage
