# SPDX-License-Identifier: Apache-2.0
"""Everything one test needs, in a scratch folder: servers, worker, ledger. Gone when the test ends; kept logs are shown
when it failed."""
import os
import random
import re
import shutil
import sys
import tempfile

from lib import wait, wire
from lib.ledger import NAMES, Ledger
from lib.nats import NatsError
from lib.servers import NATS_PASSWORD, SECRETS, LlmSim, NatsServer, store_of
from lib.worker import Worker

WORDS = ("amber basil cedar delta ember fjord grove haven indigo juniper kelp lotus maple nectar onyx pearl quartz raven "
         "saffron tundra umber violet willow yarrow zephyr").split()


class World:
    def __init__(self, store="sqlite"):
        self.folder = tempfile.mkdtemp(prefix="sluice-test-")
        self.store_kind = store
        self.names = NAMES
        self.parts = []
        self.sent = {}
        self.notes = []  # figures for people, printed below the test's line
        self._nats_client = None
        self.nats_server = self.llm = self.store = None
        self.random = random.Random(int(os.environ.get("SLUICE_TEST_SEED") or random.SystemRandom().randrange(10**6)))

    # ---- building it

    def part(self, thing):
        """Take part in the world: closed with it."""
        self.parts.append(thing)
        return thing

    def start_nats(self, **options):
        if self.nats_server is None:
            options = dict({"user": "sluice", "password": NATS_PASSWORD}, **options)
            self.nats_server = self.part(NatsServer(self.folder, **options)).start().wait_ready()
        return self.nats_server

    def start_llm(self, *flags):
        if self.llm is None:
            self.llm = self.part(LlmSim(self.folder, *flags)).start().wait_ready()
        return self.llm

    def make_store(self):
        if self.store is None:
            self.store = self.part(store_of(self.store_kind, self.folder))
        return self.store

    def start_store(self):
        return self.make_store().start().wait_ready()

    def start_servers(self, *llm_flags, **nats_options):
        """NATS with its streams, the LLM simulator, the store."""
        self.make_worker_check()
        self.start_nats(**nats_options)
        self.start_llm(*llm_flags)
        self.start_store()
        self.make_streams()
        return self

    def make_worker_check(self):
        """Skip at once, before any server is started, when there is no `sluice run`."""
        Worker(self.folder, {}, name="check")

    def make_streams(self, **requests):
        """As `sluice init` would, so that requests can be sent before a worker runs."""
        self.nats.stream_create(self.names.requests, [self.names.request_subject], **dict({"retention": "workqueue"}, **requests))
        self.nats.stream_create(self.names.ready, [self.names.ready_subject, self.names.ready_subject + ".>"])
        self.nats.stream_create(self.names.dead, [self.names.dead_subject])

    def worker(self, name="worker", nats_port=None, llm_port=None, **settings):
        """A worker that is set up for these servers, not started. Ports of proxies can take the servers' place."""
        return self.part(Worker(self.folder, dict(self.surroundings(nats_port, llm_port), **settings), name))

    def surroundings(self, nats_port=None, llm_port=None):
        """The environment variables that lead a worker to these servers."""
        environment = {
            "NATS_URL": "nats://127.0.0.1:%d" % nats_port if nats_port else self.nats_server.url,
            "NATS_USER": self.nats_server.user, "NATS_PASSWORD": self.nats_server.password,
            "LLM_BASE_URL": "http://127.0.0.1:%d/v1" % llm_port if llm_port else self.llm.url,
        }
        environment.update(self.store.environment())
        return environment

    @property
    def nats(self):
        if self._nats_client is None:
            self._nats_client = self.nats_server.client()
        return self._nats_client

    @property
    def ledger(self):
        return Ledger(self.nats, self.store, self.names)

    # ---- acting

    def words(self, count=3):
        return " ".join(self.random.sample(WORDS, count))

    def request(self, request_id, **fields):
        """A valid request as bytes; its query has a word of its own."""
        values = {"request_id": request_id, "entity_id": "entity-" + request_id,
                  "query": "What is known about %s %s?" % (self.words(), request_id.replace("-", ""))}
        values.update(fields)
        self.sent[request_id] = values
        return wire.encode("ContextEnrichRequest", values)

    def send(self, request_id, headers=None, **fields):
        """Publish one valid request and see it stored, through server trouble if need be."""
        return self.nats.js_publish_surely(self.names.request_subject, self.request(request_id, **fields), headers,
                                           msg_id="send-" + request_id)

    def send_many(self, count, prefix="r", **fields):
        for number in range(count):
            self.send("%s-%04d" % (prefix, number), **fields)
        return self

    def send_raw(self, body, headers=None):
        return self.nats.js_publish_surely(self.names.request_subject, body, headers)

    # ---- seeing

    def wait_settled(self, published, dead=0, deadline=60.0):
        """Until the books agree: every request has its document and its output, or is a dead letter; none is pending."""
        def settled():
            problems = self.ledger.problems(published, dead)
            assert not problems, "; ".join(problems)
            return True

        wait.until("the books to agree on %d requests, %d of them dead" % (published, dead), settled, deadline, every=0.1)
        wrong = self.ledger.disagreements()
        assert not wrong, "; ".join(wrong[:10])

    def wait_count(self, what, number, deadline=20.0):
        wait.equal("%d %s" % (number, what), number, lambda: self.ledger.counts()[what], deadline)

    def deliveries(self):
        """How often the consumer has handed out anything."""
        return self.ledger.consumer()["delivered"]["consumer_seq"]

    # ---- the end

    def leaks(self):
        """Where a secret can be read that must not be: logs of workers, streams."""
        found = []
        for part in self.parts:
            if isinstance(part, Worker):
                found += ["%s in the log of %s" % (secret[:12], part.name) for secret in SECRETS if secret in part.log_text()]
        if self.nats_server is not None and self.nats_server.is_alive():
            try:
                for stream in (self.names.ready, self.names.dead, self.names.requests):
                    if self.nats.stream_exists(stream):
                        for one in self.nats.messages(stream):
                            text = repr(one)
                            found += ["%s in stream %s" % (secret[:12], stream) for secret in SECRETS if secret in text]
            except (OSError, NatsError):
                pass
        return sorted(set(found))

    def sanitizer_findings(self):
        """Lines of the sanitizers in any log; a build with them must show none."""
        found = []
        for name in sorted(os.listdir(self.folder)):
            if name.endswith(".log"):
                with open(os.path.join(self.folder, name), errors="replace") as log:
                    found += ["%s: %s" % (name, line.strip()) for line in log
                              if re.search("AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:", line)]
        return found

    def report(self, out=sys.stdout, lines=60):
        """The ends of all logs, for a test that failed."""
        for part in self.parts:
            text = part.log_text() if hasattr(part, "log_text") else ""
            if not text and hasattr(part, "server") and part.server is not None:
                text = part.server.log_text()
            if text:
                out.write("    ---- log of %s (%s)\n" % (getattr(part, "name", part), getattr(part, "log", "")))
                for line in text.splitlines()[-lines:]:
                    out.write("    | %s\n" % line[:400])

    def close(self, keep=False):
        if self._nats_client is not None:
            self._nats_client.close()
        for part in reversed(self.parts):
            part.close()
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)
