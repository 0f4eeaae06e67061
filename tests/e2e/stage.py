# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end cases act on: the world of tests/lib with its servers started, in short words."""
import inspect, json, os, re

from lib import wait
from lib.ports import free_port
from lib.proxy import NatsProxy, Proxy
from lib.servers import BUILD, ROOT, SLUICE, Skip, http
from lib.worker import Worker
from lib.world import World


class Failure(AssertionError):
    pass


def check(condition, text):
    if not condition:
        raise Failure(text)


def in_time(seconds, limit, text):
    """A promise about time: on a machine that was busy with something else the test is run once more."""
    if seconds > limit:
        raise wait.Expired(text)


def wait_for(what, condition, seconds=30.0):
    return wait.until(what, condition, seconds)


def cases_of(names):
    """Those of a module, of which these are the globals: its functions of one stage, called s."""
    return [f for f in names.values() if inspect.isfunction(f) and f.__module__ == names["__name__"]
            and list(inspect.signature(f).parameters) == ["s"]]


# Where these cases differ from the other tests of tests/lib: they wait for redeliveries.
SETTINGS = {"SLUICE_ACK_WAIT": "2", "SLUICE_NAK_DELAY": "0.05", "SLUICE_NAK_DELAY_MAX": "0.5", "SLUICE_LOG_LEVEL": "info",
            "MONGODB_TIMEOUT": "2", "SLUICE_STALL_LIMIT": None, "SLUICE_HANDLER_TIMEOUT": None, "LLM_TIMEOUT": None,
            "SERVICE_READINESS_TIME_OUT": None, "SLUICE_KEEPALIVE_INTERVAL": None, "NATS_RECONNECT_TIME_WAIT": None,
            "NATS_CONNECT_TIMEOUT": None, "LLM_BREAKER_RESET": None, "SLUICE_SHUTDOWN_GRACE": None}


class Running(Worker):
    @property
    def p(self):
        return self.child

    def alive(self):
        return self.is_alive()


class Stage(World):
    """A world whose servers run; workers come as a case starts them, one at a time on one probe port."""

    def __init__(self, store="sqlite"):
        super().__init__(store)
        self.build, self.root, self.sluice, self.dir = BUILD, ROOT, SLUICE, self.folder
        self.probe_port = free_port()
        self.workers = []
        try:
            self.start_nats()
            self.start_llm("--quiet", "--stamp")
            self.start_store()
        except BaseException:
            self.close()
            raise

    # ---- workers

    def start_worker(self, arguments=(), inside=(), **env):
        """`inside`: what goes before the command."""
        settings = dict(self.surroundings(), **SETTINGS, SERVICE_READINESS_PORT=self.probe_port)
        settings.update(env)
        w = self.part(Running(self.folder, settings, f"worker{len(self.workers)}"))
        w.argv = [*inside, self.sluice, "run", *arguments]
        self.workers.append(w)
        return w.start()

    def comes_up(self):
        """Whether the newest worker is ready; else it has ended."""
        w = self.workers[-1]
        wait_for("the worker is ready, or has ended", lambda: not w.is_alive() or self.probe("/readyz")[0] == 200, 60)
        return w.is_alive()

    def ready(self):
        check(self.comes_up(), f"the worker ended with {self.workers[-1].code}")

    # What the probe says is up to 200 ms old: wait for what is to become true.

    def probe(self, path):
        """Status and text."""
        return http("GET", f"http://127.0.0.1:{self.probe_port}{path}")

    def probe_with(self, path, part):
        """Status and JSON of the first answer that has this part."""
        def look():
            status, text = self.probe(path)
            return part in text and (status, json.loads(text))
        return wait_for(f"{path} says {part}", look)

    def health(self):
        return json.loads(self.probe("/health")[1])

    def readiness(self):
        return json.loads(self.probe("/readyz")[1])

    def figure(self, name):
        """A metric's value. `name`: with its labels."""
        found = re.search(rf"^{re.escape(name)} (\d+)$", self.probe("/metrics")[1], re.M)
        check(found, f"no metric {name}")
        return int(found[1])

    def log_text(self):
        return "".join(w.log_text() for w in self.workers)

    def events(self):
        return [one for w in self.workers for one in w.log_lines()]

    # ---- proxies between the worker and its servers

    def nats_proxy(self, kind=NatsProxy, *arguments):
        return self.part(kind(self.nats_server.port, *arguments))

    def llm_proxy(self, kind=Proxy):
        return self.part(kind(self.llm.port))

    def mongo_proxy(self, kind=Proxy):
        return self.part(kind(self.store.own_server().port))

    def through(self, nats=None, llm=None, store=None):
        """The settings of a worker whose links lead through these."""
        settings = {}
        if nats:
            settings["NATS_URL"] = f"nats://127.0.0.1:{nats.port}"
        if llm:
            settings["LLM_BASE_URL"] = f"http://127.0.0.1:{llm.port}/v1"
        if store:
            settings["MONGODB_URI"] = self.store.server.uri(store.port)
        return settings

    # ---- messages and counts

    def deny_publish(self, subject):
        """The server begins anew with one more user, who may not publish there. Returns the settings of a worker that is it."""
        server = self.nats_server
        server.extra = """authorization { users: [ { user: "%s", password: "%s" }, { user: "some", password: "some",
            permissions: { publish: { deny: ["%s"] } } } ] }
            """ % (server.user, server.password, subject)
        server.restart()
        return {"NATS_USER": "some", "NATS_PASSWORD": "some"}

    def needs_plain_threads(self):
        """Skips under ThreadSanitizer."""
        with open(self.sluice, "rb") as program:
            if b"__tsan_init" in program.read():
                raise Skip("ThreadSanitizer has a thread and a count of stack frames of its own")

    def needs_no_sanitizer(self):
        """Skips in a build with one."""
        with open(self.sluice, "rb") as program:
            if re.search(b"__[at]san_init", program.read()):
                raise Skip("a sanitizer takes more memory than a limit leaves")

    def broken_plugins(self):
        """Paths: no shared object at all, and a worker whose end is missing."""
        paths = os.path.join(self.dir, "broken.so"), os.path.join(self.dir, "cut.so")
        with open(os.path.join(self.build, "workers/context-enricher.so"), "rb") as whole:
            for path, content in zip(paths, (b"not a shared object", whole.read(9000))):
                with open(path, "wb") as f:
                    f.write(content)
        return paths

    def client(self):
        return self.part(self.nats_server.client())

    def llm_http(self, path, body=None):
        return self.llm.ask("GET" if body is None else "POST", path, body)

    def send(self, count, first=1, query="What about shipment {i} to harbour{i}?"):
        for i in range(first, first + count):
            body = json.dumps({"request_id": f"r-{i}", "entity_id": f"e-{i}", "query": query.format(i=i)}).encode()
            self.nats.js_publish_surely(self.names.request_subject, body, {"Content-Type": "application/json"})

    def documents(self):
        return self.store.documents(self.names.collection)

    def outputs(self):
        return [one.headers.get("Nats-Msg-Id") for one in self.nats.messages(self.names.ready)]

    def left(self, stream="ENRICH_REQUESTS"):
        return self.nats.count(stream)

    def journaled(self):
        """How many LLM answers the journal holds."""
        info = self.nats.api("STREAM.INFO.KV_SLUICE_JOURNAL", {"subjects_filter": "$KV.SLUICE_JOURNAL.>"})
        return sum(".a." in subject for subject in info["state"].get("subjects") or {})

    def consumer(self, name="context-enricher"):
        return self.nats.consumer_info(self.names.requests, name)

    def pending(self):
        """What the consumer has not delivered, or waits for."""
        info = self.consumer()
        return info["num_pending"] + info["num_ack_pending"]

    def all_done(self):
        return self.left() == 0 and self.pending() == 0

    def expect_done(self, count, seconds=120):
        wait_for("no request is left", lambda: self.left() == 0, seconds)
        docs, outs = self.documents(), self.outputs()
        check(len(docs) == len(outs) == len(set(outs)) == count,
              f"expected {count} documents and outputs, got {len(docs)}, {len(outs)} ({len(set(outs))} distinct)")
