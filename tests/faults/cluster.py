# SPDX-License-Identifier: Apache-2.0
"""A stage whose NATS is a cluster of three servers with three copies of everything, and its faults."""
import json, os, signal, time
from stage import Failure, Nats, Process, Stage, free_port, wait_for

REQUESTS, READY, JOURNAL = "ENRICH_REQUESTS", "ENRICH_READY", "KV_SLUICE_JOURNAL"
STREAMS = (REQUESTS, READY, "ENRICH_DEAD", JOURNAL)
CONSUMER = "context-enricher"


def cluster_program(root):
    """nats-server of tests/servers: Debian's 2.9 is too old to be trusted with a cluster. None when it is missing."""
    path = os.path.join(os.environ.get("SLUICE_SERVERS", os.path.join(root, "build-servers")), "nats-server")
    return path if os.access(path, os.X_OK) else None


class ClusterStage(Stage):
    def start_nats(self):
        root = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
        self.program = cluster_program(root)
        self.ports = [free_port() for _ in range(3)]
        self.routes = [free_port() for _ in range(3)]
        self.restarted_again = 0
        self.servers = [self.start_server(i) for i in range(3)]
        self.nats = self.servers[0]
        wait_for("the cluster answers", self.nats_answers, 60)

    def start_server(self, i):
        argv = [self.program, "-js", "-a", "127.0.0.1", "-p", str(self.ports[i]), "-sd", os.path.join(self.dir, f"js{i}"),
                "-n", f"n{i}", "--cluster_name", "three", "--cluster", f"nats://127.0.0.1:{self.routes[i]}", "--no_advertise",
                "--routes", ",".join(f"nats://127.0.0.1:{port}" for port in self.routes)]
        server = Process(argv, log=os.path.join(self.dir, f"nats{i}.log"))
        self.processes.append(server)
        return server

    @property
    def urls(self):
        return ",".join(f"nats://127.0.0.1:{port}" for port in self.ports)

    def client(self):
        """To any server that answers: one may be dead, one may be frozen."""
        for port in self.ports:
            try:
                return Nats(port, 1)
            except OSError:
                continue
        raise Failure("no server of the cluster answers")

    def nats_answers(self):
        c = self.client()
        try:
            return c.api("INFO") is not None
        finally:
            c.close()

    # -- faults

    def replicate(self):
        """Three copies of each stream; the consumer has as many as its stream."""
        c = self.client()
        for stream in STREAMS:
            config = c.api(f"STREAM.INFO.{stream}")["config"]
            config["num_replicas"] = 3
            c.api(f"STREAM.UPDATE.{stream}", config)
        c.close()
        self.wait_whole()

    def wait_whole(self, seconds=120):
        """Until each stream and the consumer have a leader and two followers that are up to date."""
        def whole():
            c = self.client()
            try:
                infos = [c.api(f"STREAM.INFO.{stream}") for stream in STREAMS] + [c.api(f"CONSUMER.INFO.{REQUESTS}.{CONSUMER}")]
            finally:
                c.close()
            for info in infos:
                group = info.get("cluster") or {}
                current = [one for one in group.get("replicas") or () if one.get("current") and not one.get("offline")]
                if not group.get("leader") or len(current) != 2:
                    raise Failure(f"not whole: {group}")
            return True
        wait_for("three copies of everything", whole, seconds)

    def heal(self, victim):
        """Whole again, as an operator would make it: a killed server of 2.12.1 was seen to come back and never to find
        the meta leader. It is restarted then, and that is counted."""
        for _ in range(3):
            try:
                return self.wait_whole(40)
            except Failure:
                if victim is None:
                    raise
                self.restarted_again += 1
                self.servers[victim].kill()
                self.servers[victim] = self.start_server(victim)
        return self.wait_whole(120)

    def leader_of(self, what):
        c = self.client()
        try:
            return int(c.api(what)["cluster"]["leader"][1:])
        finally:
            c.close()

    def step_down(self, what):
        c = self.client()
        try:
            c.api(what)
        finally:
            c.close()

    def send_surely(self, first, count):
        """Each request under a message id until it has its PubAck: the test's own sending survives the fault."""
        for i in range(first, first + count):
            body = json.dumps({"request_id": f"r-{i}", "query": f"What about shipment {i} to harbour{i}?"}).encode()

            def stored(i=i, body=body):
                c = self.client()
                try:
                    head = {"Content-Type": "application/json", "Nats-Msg-Id": f"send-{i}"}
                    answer = json.loads(c.request("context.enrich.request", body, head, timeout=2))
                    return "error" not in answer and answer.get("seq", 0) > 0
                finally:
                    c.close()
            wait_for(f"request {i} in the stream", stored, 60)


def faults_of(s, only_steps):
    """(name, make, undo): one of each kind, taken in turn. `undo` heals what stays broken."""
    def kill(what):
        def make():
            i = s.leader_of(what)
            s.servers[i].kill()
            return i
        return make

    def start_again(i):
        s.servers[i] = s.start_server(i)

    def freeze():
        i = s.leader_of(f"CONSUMER.INFO.{REQUESTS}.{CONSUMER}")
        s.servers[i].p.send_signal(signal.SIGSTOP)
        return i

    def thaw(i):
        s.servers[i].p.send_signal(signal.SIGCONT)

    def nothing(_):
        pass

    def step(what):
        return lambda: s.step_down(what)

    steps = (("request leader steps down", step(f"STREAM.LEADER.STEPDOWN.{REQUESTS}"), nothing),
             ("consumer leader steps down", step(f"CONSUMER.LEADER.STEPDOWN.{REQUESTS}.{CONSUMER}"), nothing),
             ("output leader steps down", step(f"STREAM.LEADER.STEPDOWN.{READY}"), nothing),
             ("journal leader steps down", step(f"STREAM.LEADER.STEPDOWN.{JOURNAL}"), nothing))
    return steps if only_steps else steps + (
        ("consumer leader killed", kill(f"CONSUMER.INFO.{REQUESTS}.{CONSUMER}"), start_again),
        ("output leader killed", kill(f"STREAM.INFO.{READY}"), start_again),
        ("consumer leader frozen", freeze, thaw))


def play(s, rounds, only_steps, progress):
    """(messages sent, {fault: seconds until a message sent after it was done})."""
    total, times = 0, {}
    kinds = faults_of(s, only_steps)
    for n in range(rounds):
        name, make, undo = kinds[n % len(kinds)]
        s.send_surely(total + 1, 10)
        total += 10
        victim = make()
        start = time.monotonic()
        total += 1
        s.send_surely(total, 1)
        want = f"r-{total}"
        wait_for(f"{want} after fault {n + 1}: {name}", lambda: want in s.documents(), 90)
        times.setdefault(name, []).append(time.monotonic() - start)
        progress(f"cluster: {n + 1}/{rounds} faults, {name}: {times[name][-1]:.2f} s")
        undo(victim)
        s.heal(victim)
    return total, times
