# SPDX-License-Identifier: Apache-2.0
"""The worker under test: `sluice run`, set up by environment variables alone, watched from the outside."""
import json
import os

from lib import wait
from lib.ports import free_port
from lib.process import Process
from lib.servers import BUILD, LLM_KEY, ROOT, SLUICE, Skip, http, sluice_has

CONTEXT_ENRICHER = os.path.join(BUILD, "workers", "context-enricher.so")
PROMPTS = os.path.join(ROOT, "workers", "context_enricher", "prompts")

# Quick enough for a test, slow enough for a sanitizer build on a busy machine.
DEFAULTS = {
    "SLUICE_WORKER": CONTEXT_ENRICHER, "SLUICE_PROMPT_DIR": PROMPTS, "SLUICE_CREATE_STREAMS": "1",
    "SLUICE_LOG_FORMAT": "json", "SLUICE_LOG_LEVEL": "debug", "LLM_MODEL": "sim-1", "LLM_API_KEY": LLM_KEY,
    "LLM_TIMEOUT": "10", "SERVICE_READINESS_HOST": "127.0.0.1", "SERVICE_READINESS_TIME_OUT": "10",
    "SLUICE_KEEPALIVE_INTERVAL": "0.5", "SLUICE_ACK_WAIT": "4", "SLUICE_STALL_LIMIT": "1.2", "SLUICE_HANDLER_TIMEOUT": "30",
    "SLUICE_NAK_DELAY": "0.1", "SLUICE_NAK_DELAY_MAX": "1", "NATS_RECONNECT_TIME_WAIT": "0.5", "NATS_CONNECT_TIMEOUT": "2",
    "LLM_BREAKER_RESET": "1", "MONGODB_BREAKER_RESET": "1", "SLUICE_SHUTDOWN_GRACE": "10",
}
# What a program needs of the surroundings; everything else could reach into a test.
PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS",
             "LSAN_OPTIONS", "SSL_CERT_FILE")


class Worker(Process):
    def __init__(self, folder, environment, name="worker"):
        if not sluice_has("run"):
            raise Skip("sluice run is not built")
        self.port = free_port()
        self.settings = dict(DEFAULTS, SERVICE_READINESS_PORT=str(self.port))
        self.settings.update(environment)
        super().__init__(name, [SLUICE, "run"], folder)

    def set(self, **settings):
        """Environment variables for the next start; None takes one away."""
        self.settings.update(settings)
        return self

    def start(self):
        self.env = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        self.env.update({name: str(value) for name, value in self.settings.items() if value is not None})
        return super().start()

    # ---- the probe

    def probe(self, path="/readyz", method="GET", timeout=5.0):
        """(status, JSON or text)."""
        status, text = http(method, "http://127.0.0.1:%d%s" % (self.port, path), timeout=timeout)
        try:
            return status, json.loads(text)
        except ValueError:
            return status, text

    def readiness(self):
        """Status of /readyz, 0 when the probe does not answer."""
        try:
            return self.probe()[0]
        except OSError:
            return 0

    def wait_ready(self, deadline=20.0):
        def ready():
            assert self.is_alive(), "the worker ended with %s:\n%s" % (self.code, self.log_text(self.starts)[-3000:])
            status, body = self.probe()
            assert status == 200, "%d %s" % (status, body)
            return True

        wait.until("/readyz of %s to answer 200" % self.name, ready, deadline)
        return self

    # ---- the log

    def log_lines(self, start=None):
        """Records of the log; each line has to be one JSON object."""
        records = []
        for line in self.log_text(start).splitlines():
            if line.startswith("{"):
                records.append(json.loads(line))
        return records

    def log_of(self, **wanted):
        """Records whose members have these values."""
        return [one for one in self.log_lines() if all(one.get(key) == value for key, value in wanted.items())]
