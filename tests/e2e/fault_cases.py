# SPDX-License-Identifier: Apache-2.0
"""Faults at each step, made outside the worker: by the LLM simulator, by proxies in front of its servers, by signals."""
import contextlib, json, os, random, signal, sqlite3, threading
from cases import unanswered
from lib.proxy import NatsProxy, Proxy, is_publish, is_verdict
from stage import cases_of, check, wait_for

READY, REQUEST, DEAD = "context.enrich.ready", "context.enrich.request", "context.enrich.dead"
IS_JOURNALED = lambda f: f.subject.startswith("$KV.SLUICE_JOURNAL.") and ".a." in f.subject
SWALLOW = lambda f: None


# ---- kill -9 at a labelled step. Each: arm(stage, proxy) returns a function that is true when a message has reached the
# step since; the number of LLM calls for one message in the end: 1 when its answer had been journaled.

def asked(s, proxy):
    before = s.llm_http("/ledger")["calls"]
    s.llm_http("/control", {"latency-ms": 60000})
    return lambda: s.llm_http("/ledger")["calls"] > before


def answered_not_journaled(s, proxy):
    rule = proxy.on_request(IS_JOURNALED, SWALLOW, count=-1)
    return lambda: rule.seen > 0


def journaled_unconfirmed(s, proxy):
    rule = proxy.on_answer(IS_JOURNALED, SWALLOW, count=-1)
    return lambda: rule.seen > 0


def stored_not_published(s, proxy):
    rule = proxy.on_request(is_publish(READY), SWALLOW, count=-1)
    return lambda: rule.seen > 0


def published_unconfirmed(s, proxy):
    rule = proxy.on_answer(is_publish(READY), SWALLOW, count=-1)
    return lambda: rule.seen > 0


def confirmed_not_acknowledged(s, proxy):
    rule = proxy.on_request(is_verdict("+ACK"), SWALLOW, count=-1)
    return lambda: rule.seen > 0


def acknowledged_unconfirmed(s, proxy):
    rule = proxy.on_answer(is_verdict("+ACK"), SWALLOW, count=-1)
    return lambda: rule.seen > 0


def store_unconfirmed(s, proxy):
    before = len(s.documents())
    return lambda: len(s.documents()) > before  # the answer of the store is held by its own proxy


KILL_POINTS = [(asked, 2), (answered_not_journaled, 2), (journaled_unconfirmed, 1), (store_unconfirmed, 1),
               (stored_not_published, 1), (published_unconfirmed, 1), (confirmed_not_acknowledged, 1),
               (acknowledged_unconfirmed, 1)]


# ---- the same around a burial: true is how many dead letters have reached the step since

def not_buried(s, proxy):
    rule = proxy.on_request(is_publish(DEAD), SWALLOW, count=-1)
    return lambda: rule.seen


def buried_unconfirmed(s, proxy):
    rule = proxy.on_answer(is_publish(DEAD), SWALLOW, count=-1)
    return lambda: rule.seen


def buried_not_terminated(s, proxy):
    rule = proxy.on_request(is_verdict("+TERM"), SWALLOW, count=-1)
    return lambda: rule.seen


def terminated_unconfirmed(s, proxy):
    rule = proxy.on_answer(is_verdict("+TERM"), SWALLOW, count=-1)
    return lambda: rule.seen


BURIAL_POINTS = [not_buried, buried_unconfirmed, buried_not_terminated, terminated_unconfirmed]


class HeldStore(Proxy):
    """Answers of the store stop as soon as a write has passed."""

    def pieces(self, link, way, reader):
        for data in super().pieces(link, way, reader):
            if way == "up" and (b"update" in data or b"insert" in data):
                self.blackhole("down")
            yield data


def killed_at(s, point, calls):
    proxy = s.nats_proxy()
    through = s.through(proxy)
    if point is store_unconfirmed:
        store = s.mongo_proxy(HeldStore)
        through |= s.through(store=store)
    is_reached = point(s, proxy)
    w = s.start_worker(**through)
    s.ready()
    s.send(1)
    wait_for(point.__name__, is_reached)
    w.kill()
    s.llm_http("/control", {"latency-ms": 0})
    s.start_worker()
    s.ready()
    s.expect_done(1)
    check(s.pending() == 0, "the consumer still waits")
    made = s.llm_http("/ledger")["calls"]
    check(made == calls, f"{made} calls, expected {calls}")
    w = s.workers[-1]
    check(w.stop() == 0, "the worker did not end cleanly")


def kill_case(point, calls):
    def case(s):
        killed_at(s, point, calls)
    if point is store_unconfirmed:
        case.only, case.why = "mongodb", "SQLite has no connection whose answer could be held"
    case.__name__ = "a6_killed_when_" + point.__name__
    return case


def killed_at_burial(s, point):
    """One message is rejected, one is out of attempts; both are at the step when the worker dies. It has two others in its
    hands, too, whose ACKs do not arrive."""
    buries = {"SLUICE_ON_REJECT": "dead-letter", "SLUICE_MAX_DELIVER": 2}
    proxy = s.nats_proxy()
    terms = proxy.on_request(is_verdict("+TERM"), lambda frame: frame, count=-1)
    acks = proxy.on_request(is_verdict("+ACK"), SWALLOW, count=-1)
    reached = point(s, proxy)
    w = s.start_worker(**s.through(proxy), **buries)
    s.ready()
    s.send(1)
    s.nats.js_publish_surely(REQUEST, json.dumps({"request_id": "rejected"}).encode(), {"Content-Type": "application/json"})
    s.send(1, first=2, query="[[fault:bad-json]] harbour{i}")
    s.send(1, first=3)
    wait_for(f"both messages {point.__name__}, and their neighbours done", lambda: reached() >= 2 and acks.seen >= 2)
    w.kill()
    wait_for("all that it sent has passed", lambda: not proxy.links)
    if point in (not_buried, buried_unconfirmed):
        check(terms.seen == 0, f"{terms.seen} TERMs before their dead letters were confirmed")
    s.start_worker(**buries)
    s.ready()
    wait_for("no request is left", s.all_done)
    letters = sorted((json.loads(one.data)["request_id"], one.headers["Sluice-Dead-Reason"]) for one in s.nats.messages("ENRICH_DEAD"))
    check(letters == [("r-2", "step"), ("rejected", "rejected")], f"dead letters: {letters}")
    check(sorted(s.documents()) == ["r-1", "r-3"], f"documents: {sorted(s.documents())}")
    check(sorted(one.split(":")[1] for one in s.outputs()) == ["r-1", "r-3"], f"outputs: {s.outputs()}")
    check(s.workers[-1].stop() == 0, "the worker did not end cleanly")


def burial_case(point):
    def case(s):
        killed_at_burial(s, point)
    case.__name__ = "killed_when_" + point.__name__
    case.once = "a burial does not touch the store"
    return case


# ---- SIGTERM at a labelled step

def terminated_at(s, point, number):
    """What was swallowed passes from the signal on; a worker that drains has to notice by itself that it is missing."""
    nats, llm = s.nats_proxy(), s.llm_proxy()
    through = s.through(nats, llm)
    if point is store_unconfirmed:
        store = s.mongo_proxy(HeldStore)
        through |= s.through(store=store)
    if point is asked:
        before = s.llm_http("/ledger")["calls"]
        llm.blackhole("down")
        is_reached = lambda: s.llm_http("/ledger")["calls"] > before
    else:
        is_reached = point(s, nats)
    buries = point in BURIAL_POINTS
    w = s.start_worker(SLUICE_ON_REJECT="dead-letter", SLUICE_PUBLISH_TIMEOUT="0.5", **through)
    s.ready()
    if buries:
        s.nats.js_publish_surely(REQUEST, b"{}", {"Content-Type": "application/json"})
    else:
        s.send(1, first=number)
    wait_for(point.__name__, is_reached)
    w.terminate()
    wait_for("the signal is heard", lambda: any(e["event"] == "shutdown" for e in w.log_lines()))
    nats.hooks.clear()
    llm.heal()
    if point is store_unconfirmed:
        store.heal()
    check(w.wait_exit(30) == 0, f"{point.__name__}: exit {w.code}, expected 0")


def all_is_done_by_the_next(s, documents, letters):
    s.start_worker(SLUICE_ON_REJECT="dead-letter")
    s.ready()
    s.expect_done(documents)
    check(s.nats.count(s.names.dead) == letters, f"{s.nats.count(s.names.dead)} dead letters")
    check(s.pending() == 0, "the consumer still waits")
    check(s.llm_http("/ledger")["calls"] == documents, "an answer was paid for again")


def sigterm_at_any_step_loses_nothing_and_repeats_nothing(s):
    points = [point for point, _ in KILL_POINTS if (point is store_unconfirmed) == (s.store_kind == "mongodb")]
    for number, point in enumerate(points, 1):
        terminated_at(s, point, number)
    all_is_done_by_the_next(s, len(points), 0)


def sigterm_around_a_burial_leaves_one_letter(s):
    for point in BURIAL_POINTS:
        terminated_at(s, point, 0)
    all_is_done_by_the_next(s, 0, len(BURIAL_POINTS))


def a_hangup_ends_nothing(s):
    """SIGHUP is of no meaning to a worker, whatever closed the terminal."""
    w, llm = unanswered(s, 1)
    w.signal(signal.SIGHUP)
    llm.heal()
    s.expect_done(1)
    check(w.is_alive() and s.llm_http("/ledger")["calls"] == 1, "ended, or asked again")
    check(w.stop() == 0, f"exit {w.code}, expected 0")


# ---- a worker that takes and gives nothing back

def a_worker_that_leaks_costs_no_message(s):
    """When nothing is left its messages fail, until somebody starts it again."""
    s.needs_no_sanitizer()
    s.make_streams()
    s.send(60)
    stuck = lambda w: sum(e["event"] == "message.failed" for e in w.log_lines()) >= 5
    while s.left() > 0:
        check(len(s.workers) < 10, f"{s.left()} requests left after ten starts")
        w = s.start_worker(inside=["prlimit", f"--data={220 << 20}", "--"], SLUICE_MAX_IN_FLIGHT=16, SLUICE_MAX_DELIVER=0,
                           SLUICE_WORKER=os.path.join(s.build, "tests/e2e/leaky.so"))
        s.ready()
        wait_for("it is done, has ended, or is stuck", lambda: not w.is_alive() or s.left() == 0 or stuck(w))
        w.kill()
    check(len(s.workers) > 1, "it never ran out")
    s.expect_done(60)
    check(s.nats.count(s.names.dead) == 0, "a dead letter")


# ---- the same output from two deliveries: the stream drops it inside its duplicate window, and keeps it outside

def window_passes(stage):
    """Ids are forgotten in the order in which they came: when a later one is taken as new, the output's is forgotten."""
    subject = READY + ".probe"
    is_dropped = lambda: stage.nats.js_publish(subject, b"", msg_id="probe").get("duplicate", False)
    check(not is_dropped(), "the probe was there before")
    wait_for("the duplicate window has passed", lambda: not is_dropped())
    stage.nats.api("STREAM.PURGE." + stage.names.ready, {"filter": subject})


def published_twice(s, window_s, until):
    """The worker dies between PubAck and ACK, and the next one gets the request when until(s) is done."""
    s.make_streams()
    s.nats.stream_update(s.names.ready, duplicate_window=window_s * 10**9)
    proxy = s.nats_proxy()
    acks = proxy.on_request(is_verdict("+ACK"), SWALLOW, count=-1)
    w = s.start_worker(**s.through(proxy))
    s.ready()
    s.send(1)
    wait_for("an output that is confirmed, its request not", lambda: acks.seen > 0)
    w.kill()
    first = s.documents()
    until(s)
    s.start_worker()
    s.ready()
    wait_for("no request is left", lambda: s.left() == 0)
    check(s.documents() == first and len(first) == 1, f"the document is another: {first}, {s.documents()}")
    made = s.llm_http("/ledger")["calls"]
    check(made == 1, f"{made} calls for one answer")
    wait_for("the metrics know of the ACK", lambda: s.figure('sluice_messages_total{outcome="acked"}') == 1)
    dropped = s.figure("sluice_outputs_duplicate_total")
    outputs = s.nats.messages(s.names.ready)
    check(len({one.headers["Nats-Msg-Id"] for one in outputs}) == 1, f"ids {[one.headers for one in outputs]}")
    check(len({one.data for one in outputs}) == 1, "two bodies under one id")
    check(not s.ledger.disagreements(), "document and output differ")
    return len(outputs), dropped


def output_is_dropped_by_the_stream_inside_its_duplicate_window(s):
    stored, dropped = published_twice(s, 600, lambda s: None)
    check((stored, dropped) == (1, 1), f"{stored} outputs stored, {dropped} dropped")


def output_is_the_same_again_outside_the_duplicate_window(s):
    stored, dropped = published_twice(s, 1, window_passes)
    check((stored, dropped) == (2, 0), f"{stored} outputs stored, {dropped} dropped")


# ---- thirty percent of everything

class FlakyNats(NatsProxy):
    """Of the outputs: some are dropped, of some the PubAck is swallowed, of some it is a refusal."""

    def __init__(self, port, rng):
        super().__init__(port)
        self.rng, self.faults = rng, 0
        self.inboxes = {}
        self.hooks.append(self.act)

    def act(self, way, frame):
        if way == "up" and frame.subject == READY:
            draw = self.rng.random()
            if draw < 0.30:
                self.faults += 1
            if draw < 0.10:
                return None
            if draw < 0.30:
                self.inboxes[frame.reply] = "swallow" if draw < 0.20 else "refuse"
        if way == "down" and frame.subject in self.inboxes:
            if self.inboxes.pop(frame.subject) == "swallow":
                return None
            return frame.with_body(b'{"error":{"code":503,"err_code":10077,"description":"maximum messages exceeded"}}')
        return frame


class FlakyStore(Proxy):
    """Of the writes: some connections are cut before the write passes, some before its answer."""

    def __init__(self, port):
        super().__init__(port)
        self.rng, self.faults = random.Random(11), 0

    def pieces(self, link, way, reader):
        for data in super().pieces(link, way, reader):
            if way == "up" and b"update" in data:
                draw = self.rng.random()
                if draw < 0.30:
                    self.faults += 1
                if draw < 0.15:
                    link.end(reset=True)
                    return
                yield data
                if draw < 0.30:
                    link.end()
                    return
            else:
                yield data


class LockedStore(threading.Thread):
    """Another process's long transactions: most of the time the file is locked, each time for longer than the store waits."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.path, self.faults, self.is_over = path, 0, threading.Event()

    def run(self):
        while not self.is_over.wait(1.0):
            try:
                with contextlib.closing(sqlite3.connect(self.path, timeout=5, isolation_level=None)) as db:
                    db.execute("BEGIN EXCLUSIVE")
                    self.faults += 1
                    self.is_over.wait(5.5)
                    db.execute("ROLLBACK")
            except sqlite3.Error:
                pass  # busy: the worker's own turn

    def close(self):
        self.is_over.set()
        self.join()


def start_as_a_supervisor_does(s, **settings):
    """A store that is locked while it boots ends a worker: then it is started again."""
    while True:
        w = s.start_worker(**settings)
        if s.comes_up():
            return
        check(w.code == 3, f"the worker ended with {w.code}")


def a7_thirty_percent_faults_in_each_step_and_kills(s):
    rng = random.Random(30)
    s.llm_http("/control", {"latency-ms": 20, "500": 10, "bad-json": 5, "refuse": 5, "reset": 5, "cut": 5})
    nats = s.nats_proxy(FlakyNats, random.Random(13))
    through = {**s.through(nats), "SLUICE_PUBLISH_TIMEOUT": 1, "SLUICE_PUBLISH_BREAKER_RESET": 0.5,
               "MONGODB_BREAKER_RESET": 0.5, "LLM_BREAKER_RESET": 0.5, "SLUICE_MAX_DELIVER": 0}
    if s.store_kind == "mongodb":
        store = s.mongo_proxy(FlakyStore)
        through |= s.through(store=store)
    start_as_a_supervisor_does(s, **through)
    if s.store_kind == "sqlite":
        store = s.part(LockedStore(s.store.path))
        store.start()
    s.send(100)
    lost = 0
    for _ in range(5):
        goal = min(100 - s.left() + rng.randint(3, 12), 100)
        wait_for("some progress", lambda: 100 - s.left() >= goal, 120)
        s.workers[-1].kill()
        ledger = s.llm_http("/ledger")
        lost = ledger["calls"] - ledger["failed"] - s.journaled()  # answered or running, and not journaled: paid in vain
        start_as_a_supervisor_does(s, **through)
    wait_for("no request is left", lambda: s.left() == 0, 180)
    if s.store_kind == "sqlite":
        store.close()
    s.expect_done(100)
    check(s.pending() == 0, "the consumer still waits")
    ledger = s.llm_http("/ledger")
    s.notes.append(f"{ledger['calls']} calls: 100 requests, {ledger['failed']} failed, {lost} not journaled at a kill; "
          f"{store.faults} faults of the store, {nats.faults} of publishing")
    check(store.faults > 0 and nats.faults > 20, "too few faults for the name of this case")
    check(ledger["calls"] <= 100 + ledger["failed"] + lost, f"calls {ledger}, not journaled at kills {lost}")
    c = s.client()
    check(c.count("ENRICH_DEAD") == 0, "a dead letter")


a_worker_that_leaks_costs_no_message.once = a_hangup_ends_nothing.once = "a store plays no part"
sigterm_around_a_burial_leaves_one_letter.once = "a burial does not touch the store"
a7_thirty_percent_faults_in_each_step_and_kills.long = 60
CASES = [kill_case(*point) for point in KILL_POINTS] + [burial_case(point) for point in BURIAL_POINTS]
CASES += cases_of(globals())
