# SPDX-License-Identifier: Apache-2.0
"""A worker that calls an HTTP service, and the options of its own: the plug-in is caller.c."""
import http.server, json, os, subprocess, threading
from stage import cases_of, check, wait_for


class Service:
    """An HTTP service: remembers its requests, answers as told."""

    def __init__(self):
        self.requests, self.asked = [], []
        self.fail, self.status, self.body, self.health = 0, 503, b"", 404
        self.retry_after = None  # of a failure
        self.gate = threading.Event()  # no answer while it is not set
        self.gate.set()
        self.lock = threading.Lock()
        service = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with service.lock:
                    service.requests.append((self.path, dict(self.headers), body))
                    fails = service.fail > 0
                    service.fail -= fails
                service.gate.wait(60)
                self.answer(service.status if fails else 200, service.body if fails else b"known: " + body)

            def do_GET(self):
                with service.lock:
                    service.asked.append((self.path, dict(self.headers)))
                self.answer(service.health, b"")

            def answer(self, status, body):
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                if status == service.status and service.retry_after is not None:
                    self.send_header("Retry-After", str(service.retry_after))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass  # clients of a test that is killed

        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/api/"


def audit_stream(s, subject="audit.>"):
    s.client().api("STREAM.CREATE.AUDIT", {"name": "AUDIT", "subjects": [subject], "storage": "file"})


def caller(s, service, lines="", **env):
    """A worker on the service. `lines` are further keys of it."""
    yaml = os.path.join(s.dir, "worker.yaml")
    with open(yaml, "w") as f:
        f.write(f"services:\n  crm:\n    url: {service.url}\n    token: svc-canary-4711\n    breaker_reset: 200ms\n{lines}"
                "outputs:\n  audit: audit.enrich\noptions:\n  path: /v2/customers\n  secret: own-secret-42\n")
    settings = {"SLUICE_ACK_WAIT": 10, "SLUICE_LOG_LEVEL": "debug", **env}
    return s.start_worker(SLUICE_WORKER=os.path.join(s.build, "tests/e2e/caller.so"), arguments=["--config", yaml], **settings)


def failures(stage):
    return [e for e in stage.events() if e["event"] == "message.failed"]


def service_is_called_once_for_each_message(s):
    service = Service()
    audit_stream(s)
    caller(s, service)
    s.ready()
    service.fail = 7  # opens the breaker of this service, which closes again
    s.send(10)
    s.expect_done(10)
    count = s.client().count("AUDIT")
    check(count == 10, f"{count} messages of the second output")
    docs = s.documents()
    check(docs["r-3"]["summary"] == "known: What about shipment 3 to harbour3?", docs["r-3"])
    check(docs["r-3"]["model"] == "2 own-secret-42", "the worker's options")
    path, headers, _ = service.requests[0]
    check(path.startswith("/api/v2/customers/r-"), path)
    check(headers["Authorization"] == "Bearer svc-canary-4711" and headers["X-Correlation-ID"], headers)
    keys = {}
    for path, headers, _ in service.requests:
        keys.setdefault(path, set()).add(headers["Idempotency-Key"])
    check(len(keys) == 10 and all(len(k) == 1 for k in keys.values()), f"idempotency keys: {keys}")
    check(len({k for v in keys.values() for k in v}) == 10, "two messages share an idempotency key")
    check(len(service.requests) == 17, f"{len(service.requests)} calls, expected 10 and 7 failed ones")
    wait_for("all services healthy", lambda: all(v["status"] == "healthy" for v in s.health()["services"].values()))
    check("crm" in s.health()["services"], "the service in /health")
    wait_for("the metrics count its calls", lambda: s.figure('sluice_calls_total{dependency="crm"}') == 17)
    check("svc-canary" not in s.log_text() and "own-secret" not in s.log_text(), "a secret is in the log")


def service_down_opens_its_breaker_alone(s):
    service = Service()
    audit_stream(s)
    caller(s, service, "    breaker_failures: 4\n")
    s.ready()
    service.fail, service.status, service.body = 10**6, 500, b"body-canary-9 of a stack trace"
    s.send(8)
    answer = {}
    wait_for("the service's breaker is open",
             lambda: answer.update(s.health()) or answer["services"]["crm"]["breaker"] == "open")
    check(answer["status"] == "degraded" and answer["services"]["crm"]["status"] == "unhealthy", answer)
    check(all(answer["services"][k]["breaker"] == "closed" for k in ("llm", "store", "publish")), answer)
    check(answer["services"]["nats"]["status"] == "healthy", answer)
    check(s.probe("/readyz")[0] == 200, "not ready, though only a service is down")
    check(s.figure('sluice_breaker_state{dependency="llm"}') == 0, "the LLM's breaker in the metrics")
    wait_for("a NAK that names the step", lambda: any(e["step"] == "http" for e in failures(s)))
    check(not s.documents() and not s.outputs(), "something was stored or published")
    check(s.left() == 8, f"{s.left()} requests left, expected all 8")
    with service.lock:
        service.fail = 0
    s.expect_done(8)
    wait_for("the breaker is closed", lambda: s.health()["services"]["crm"]["breaker"] == "closed")
    check(s.client().count("ENRICH_DEAD") == 0, "a dead letter for an outage of the service")
    check("HTTP 500" in s.log_text() and "body-canary" not in s.log_text(), "status, and not the body, in the log")


def service_answer_is_journaled_and_not_asked_for_again(s):
    service = Service()
    audit_stream(s)
    caller(s, service, SLUICE_ACK_WAIT=2)
    s.ready()
    c = s.client()
    c.api("STREAM.DELETE.AUDIT")  # answers come, nothing can be finished
    s.send(5)
    wait_for("five journaled answers", lambda: s.journaled() == 5)
    wait_for("a failed publish", lambda: any(e["step"] == "publish" for e in failures(s)))
    check(len(service.requests) == 5, f"{len(service.requests)} calls, expected 5")
    s.workers[-1].kill()
    audit_stream(s)
    caller(s, service, SLUICE_ACK_WAIT=2)
    s.ready()
    s.expect_done(5)
    check(len(service.requests) == 5, f"{len(service.requests)} calls, expected the 5 of before")


def service_that_refuses_is_not_asked_in_vain(s):
    service = Service()
    audit_stream(s)
    caller(s, service, SLUICE_ON_REJECT="dead-letter")
    s.ready()
    service.fail, service.status = 1, 404
    s.send(1)
    c = s.client()
    wait_for("a dead letter", lambda: c.count("ENRICH_DEAD") == 1)
    headers = c.messages("ENRICH_DEAD")[0][2]
    check(headers["Sluice-Dead-Step"] == "http" and "SLUICE_ERR_NOT_FOUND" in headers["Sluice-Dead-Error"], headers)
    check("crm: service request failed: HTTP 404" in headers["Sluice-Dead-Error"], headers)
    s.send(1, first=2)
    s.expect_done(1)
    check(len(service.requests) == 2, f"{len(service.requests)} calls, expected 2")


def service_that_is_silent_is_a_timeout_and_a_nak(s):
    service = Service()
    audit_stream(s)
    caller(s, service, "    timeout: 300ms\n")
    s.ready()
    service.gate.clear()
    s.send(1)
    wait_for("a timeout", lambda: any("SLUICE_ERR_TIMEOUT" in e["text"] for e in failures(s)))
    service.gate.set()
    s.expect_done(1)


def service_that_hangs_holds_only_its_own_connections(s):
    slow, other = Service(), Service()
    audit_stream(s)
    caller(s, slow, f"    connections: 2\n    timeout: 120\n  other:\n    url: {other.url}\n    connections: 1\n")
    s.ready()
    slow.gate.clear()
    s.send(6)
    wait_for("two calls", lambda: len(slow.requests) == 2)
    s.send(3, first=100, query="OTHER {i}")
    wait_for("three documents of the other service", lambda: len(s.documents()) == 3)
    check(len(slow.requests) == 2, f"{len(slow.requests)} calls at once, expected 2")
    slow.gate.set()
    s.expect_done(9)
    check(len(slow.requests) == 6 and not failures(s), f"{len(slow.requests)} calls, failures {failures(s)}")


def service_that_is_busy_is_asked_again_when_it_said(s):
    service = Service()
    audit_stream(s)
    caller(s, service)
    s.ready()
    service.fail, service.status, service.retry_after = 1, 429, 1
    s.send(1)
    s.expect_done(1)
    check(len(service.requests) == 2 and not failures(s), f"{len(service.requests)} calls, failures {failures(s)}")
    wait_for("the metrics count the 429", lambda: s.figure("sluice_rate_limited_total") == 1)


def service_call_carries_what_identifies_the_message(s):
    service = Service()
    audit_stream(s)
    caller(s, service)
    s.ready()
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    body = json.dumps({"request_id": "r-1", "entity_id": "e", "query": "same"}).encode()
    s.client().publish("context.enrich.request", body,
                       {"Content-Type": "application/json", "traceparent": trace, "X-Correlation-ID": "corr-7"})
    s.expect_done(1)
    headers = service.requests[0][1]
    check(headers["traceparent"] == trace and headers["X-Correlation-ID"] == "corr-7", headers)
    check(headers["Content-Type"] == "application/json" and len(headers["Idempotency-Key"]) == 32, headers)


def service_of_an_unknown_name_fails_the_message_and_names_it(s):
    audit_stream(s)
    caller(s, Service(), SLUICE_OPTION_SERVICE="nosuch")
    s.ready()
    s.send(1)
    wait_for("a failure that names the service",
             lambda: any("no such service in the configuration: nosuch" in e["text"] for e in failures(s)))
    check(s.left() == 1 and not s.documents(), "the request is gone, or something was stored")


def service_away_at_boot_ends_it_unless_optional(s):
    audit_stream(s)
    gone, broken = Service(), Service()
    gone.server.shutdown()
    gone.server.server_close()
    broken.health = 503
    for service in (gone, broken):
        w = caller(s, service)
        check(w.p.wait(30) == 3, f"exit {w.p.returncode}, expected 3")
        check("service crm does not answer at /health" in open(w.log).read(), "the log does not name the service")
    path, headers = broken.asked[0]
    check(path == "/api/health" and headers["Authorization"] == "Bearer svc-canary-4711", (path, headers))
    w = caller(s, broken, "    required: 0\n")
    s.ready()
    check("service.unreachable" in open(w.log).read(), "no word of the optional service")
    s.send(1)
    s.expect_done(1)
    check("svc-canary" not in s.log_text(), "the token is in the log")


def worker_is_told_what_its_configuration_lacks(s):
    audit_stream(s)
    w = s.start_worker(SLUICE_WORKER=os.path.join(s.build, "tests/e2e/caller.so"), SLUICE_OPTION_COPIES="10",
                       SLUICE_OPTION_COLOUR="red", SLUICE_OUTPUTS="missing=a.b", LLM_TIMEOUT="abc")
    check(w.p.wait(20) == 2, f"exit {w.p.returncode}, expected 2")
    for word in ("LLM_TIMEOUT", 'SLUICE_OPTION_COPIES: "10", expected a whole number from 1 to 9', "caller has no option colour",
                 "has no output missing", "options.path: not set", "services.crm.url: not set"):
        check(any(e["event"] == "config.invalid" and word in e["text"] for e in s.events()), f"the log lacks: {word}")
    w = caller(s, Service(), SLUICE_OUTPUTS="audit=nowhere.to.be.found")
    check(w.p.wait(20) == 3, f"exit {w.p.returncode}, expected 3")
    check("nowhere.to.be.found: no stream takes it" in s.log_text(), "an output that no stream takes")


def worker_whose_create_fails_ends_the_boot(s):
    audit_stream(s)
    w = caller(s, Service(), SLUICE_OPTION_SECRET="refused")
    check(w.p.wait(20) == 3, f"exit {w.p.returncode}, expected 3")
    check("worker caller" in s.log_text() and "create failed: SLUICE_ERR_AUTH" in s.log_text(), "the log does not name the plug-in")


def check_shows_services_and_the_workers_options(s):
    yaml = os.path.join(s.dir, "worker.yaml")
    with open(yaml, "w") as f:
        f.write("services:\n  crm:\n    url: http://me:url-canary@crm/\n    token: svc-canary-4711\n    auth_header: X-Token\n"
                "options:\n  path: /v2\n  secret: own-secret-42\n")
    env = {**os.environ, "SLUICE_WORKER": os.path.join(s.build, "tests/e2e/caller.so"), "SLUICE_OPTION_COPIES": "3"}
    for form in ([], ["--json"]):
        ran = subprocess.run([s.sluice, "check", "--config", yaml, *form], env=env, capture_output=True, text=True)
        check(ran.returncode == 0, ran.stderr)
        check("canary" not in ran.stdout + ran.stderr, "a secret shows")
        if form:
            shown = {k: (v["value"], v["origin"]) for k, v in json.loads(ran.stdout).items() if k != "warnings"}
            for key, want in {"services.crm.url": ("http://me:***@crm/", "file"), "services.crm.token": ("***", "file"),
                              "services.crm.timeout": ("30", "default"), "options.copies": ("3", "environment"),
                              "options.path": ("/v2", "file"), "options.service": ("crm", "default")}.items():
                check(shown.get(key) == want, f"{key}: {shown.get(key)}, expected {want}")
    schema = json.loads(subprocess.run([s.sluice, "check", "--schema"], capture_output=True, text=True).stdout)
    service = schema["properties"]["services"]["additionalProperties"]["properties"]
    reference = subprocess.run([s.sluice, "check", "--reference"], capture_output=True, text=True).stdout
    flags = subprocess.run([s.sluice, "check", "--help"], capture_output=True, text=True).stdout
    for key in service:
        check(key.endswith("_file") or f"| `services.NAME.{key}` | `SLUICE_SERVICE_NAME_{key.upper()}` |" in reference, f"no {key} in the reference")
    check({"url", "token", "token_file", "required"} <= set(service), sorted(service))
    check({"outputs", "options"} <= set(schema["properties"]) and "--services-NAME-KEY" in flags, "the sections of names")


CASES = cases_of(globals())
for case in (service_call_carries_what_identifies_the_message, service_of_an_unknown_name_fails_the_message_and_names_it,
             service_away_at_boot_ends_it_unless_optional, worker_is_told_what_its_configuration_lacks,
             worker_whose_create_fails_ends_the_boot, check_shows_services_and_the_workers_options):
    case.once = "a store plays no part"
