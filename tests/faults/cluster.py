# SPDX-License-Identifier: Apache-2.0
"""A stage whose NATS is a cluster of three servers with three copies of everything, and its faults."""
import json
import time

from books import ACK_WAIT
from lib.nats import Nats, NatsError
from lib.servers import NATS_PASSWORD, NatsCluster, NatsServer
from stage import Failure, Stage, wait_for

REQUESTS, READY, JOURNAL = "ENRICH_REQUESTS", "ENRICH_READY", "KV_SLUICE_JOURNAL"
STREAMS = (REQUESTS, READY, "ENRICH_DEAD", JOURNAL)
CONSUMER = "context-enricher"


class ClusterStage(Stage):
    def start_nats(self):
        """The pinned server: Debian's 2.9 is too old to be trusted with a cluster."""
        self.nats_server = self.part(NatsCluster(self.folder, pinned=True, user="sluice", password=NATS_PASSWORD))
        self.nats_server.start().wait_ready()

    @property
    def servers(self):
        return self.nats_server.servers

    @property
    def nats(self):
        """A connection to any server that answers: one may be dead, one may be frozen."""
        if self._nats_client is None or not self._nats_client.is_jetstream_up():
            if self._nats_client is not None:
                self._nats_client.close()
            self._nats_client = self.any_client()
        return self._nats_client

    def any_client(self):
        for server in self.servers:
            try:
                client = Nats(server.url, user=server.user, password=server.password, timeout=1)
            except (OSError, NatsError):
                continue
            if client.is_jetstream_up():
                return client
            client.close()
        raise Failure("no server of the cluster answers")

    # -- faults

    def replicate(self):
        """Three copies of each stream; the consumer has as many as its stream. A server that has just come up counts as
        offline until its peers have heard of it."""
        for stream in STREAMS:
            wait_for(f"three copies of {stream}",
                     lambda: self.nats.stream_update(stream, num_replicas=3), 60)  # noqa: B023, called at once
        self.wait_whole()

    def wait_whole(self, seconds=120):
        """Until each stream and the consumer have a leader and two followers that are up to date."""
        def whole():
            nats = self.nats
            for info in [nats.stream_info(stream) for stream in STREAMS] + [nats.consumer_info(REQUESTS, CONSUMER)]:
                group = info.get("cluster") or {}
                current = [one for one in group.get("replicas") or () if one.get("current") and not one.get("offline")]
                if not group.get("leader") or len(current) != 2:
                    raise Failure(f"not whole: {group}")
            return True
        wait_for("three copies of everything", whole, seconds)

    def leader_of(self, what):
        """The server that leads this stream or consumer."""
        name = self.nats.api(what)["cluster"]["leader"]
        return next(server for server in self.servers if server.name == name)

    def send_surely(self, first, count):
        """Each request under a message id until it has its PubAck: the test's own sending survives the fault."""
        for i in range(first, first + count):
            body = json.dumps({"request_id": f"r-{i}", "query": f"What about shipment {i} to harbour{i}?"})
            wait_for(f"request {i} in the stream", lambda: self.nats.js_publish(  # noqa: B023, called at once
                "context.enrich.request", body, {"Content-Type": "application/json"}, f"send-{i}", 2)["seq"] > 0, 60)


def faults_of(s, only_steps):
    """(name, make, undo): one of each kind, taken in turn. `undo` heals what stays broken."""
    def kill(what):
        def make():
            server = s.leader_of(what)
            server.kill()
            return server
        return make

    def freeze():
        server = s.leader_of(f"CONSUMER.INFO.{REQUESTS}.{CONSUMER}")
        server.freeze()
        return server

    def nothing(_):
        pass

    def step(what):
        def make():
            s.nats.api(what)
        return make

    steps = (("request leader steps down", step(f"STREAM.LEADER.STEPDOWN.{REQUESTS}"), nothing),
             ("consumer leader steps down", step(f"CONSUMER.LEADER.STEPDOWN.{REQUESTS}.{CONSUMER}"), nothing),
             ("output leader steps down", step(f"STREAM.LEADER.STEPDOWN.{READY}"), nothing),
             ("journal leader steps down", step(f"STREAM.LEADER.STEPDOWN.{JOURNAL}"), nothing))
    return steps if only_steps else steps + (
        ("consumer leader killed", kill(f"CONSUMER.INFO.{REQUESTS}.{CONSUMER}"), NatsServer.start),
        ("output leader killed", kill(f"STREAM.INFO.{READY}"), NatsServer.start),
        ("consumer leader frozen", freeze, NatsServer.thaw))


def play(s, rounds, only_steps, paid, progress):
    """(messages sent, {fault: seconds until a request that was in the stream after it had its document}, the same from the
    fault on: that has the stream's own election in it, the same until all requests of its round were acknowledged). What
    comes later of a fault is its own and not the next one's: a round ends when nothing is left of it."""
    total, times, since_fault, until_done = 0, {}, {}, {}
    kinds = faults_of(s, only_steps)
    for n in range(rounds):
        name, make, undo = kinds[n % len(kinds)]
        s.send_surely(total + 1, 10)
        total += 10
        victim = paid.note(make)
        fault = time.monotonic()
        total += 1
        s.send_surely(total, 1)
        start = time.monotonic()
        want = f"r-{total}"
        wait_for(f"{want} after fault {n + 1}: {name}", lambda: want in s.documents(), 90)
        times.setdefault(name, []).append(time.monotonic() - start)
        since_fault.setdefault(name, []).append(time.monotonic() - fault)
        progress(f"cluster: {n + 1}/{rounds} faults, {name}: {times[name][-1]:.2f} s")
        undo(victim)
        s.wait_whole()
        wait_for(f"nothing is left of fault {n + 1}: {name}", lambda: s.pending() == 0, 120)
        until_done.setdefault(name, []).append(time.monotonic() - fault)
    return total, times, since_fault, until_done


def lose_quorum(s, total, paid):
    """The servers that do not lead the output stream are frozen while outputs are on their way: its leader has them, and may
    not store them. Seconds from when they go on until all is acknowledged. The journal has no quorum either, so this worker
    has none."""
    leader = s.leader_of(f"STREAM.INFO.{READY}")
    others = [one for one in s.servers if one is not leader]
    s.workers[-1].stop()
    s.llm.set(latency_ms=500)
    s.start_worker(SLUICE_ACK_WAIT=ACK_WAIT, SLUICE_JOURNAL="off", NATS_URL=leader.url)
    s.ready()
    calls = s.llm.ledger()["calls"]
    s.send_surely(total + 1, 20)
    wait_for("all calls run", lambda: s.llm.ledger()["calls"] >= calls + 20)
    paid.note(lambda: [one.freeze() for one in others])
    end = time.monotonic() + 4  # the worker sends an output again after 2 s
    wait_for("outputs are sent again", lambda: time.monotonic() > end, 10)
    for one in others:
        one.thaw()
    start = time.monotonic()
    s.send_surely(total + 21, 1)
    wait_for("all is acknowledged after a time without quorum", lambda: s.pending() == 0 and s.left() == 0, 90)
    return time.monotonic() - start
