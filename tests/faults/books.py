# SPDX-License-Identifier: Apache-2.0
"""What all campaigns share: the books, kept from the streams, the database and the LLM simulator, and words on progress."""
import array
import json
import re
import struct
import sys
import time

from lib import wire
from lib.ports import free_port
from lib.servers import http
from stage import check, wait_for

REQUEST = "context.enrich.request"
ACK_WAIT = 2.0


class Progress:
    def __init__(self):
        self.is_terminal, self.last = sys.stderr.isatty(), 0.0

    def __call__(self, text, is_final=False):
        now = time.monotonic()
        if is_final or now - self.last > (0.2 if self.is_terminal else 15):
            self.last = now
            sys.stderr.write(("\r\033[K" if self.is_terminal else "") + text + ("" if self.is_terminal and not is_final else "\n"))
            sys.stderr.flush()


progress = Progress()


def percentile(values, p):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * p / 100))] if values else 0.0


# ---- the ledger

def publish_many(s, first, count, rejected=()):
    """All in one burst, then the stream is asked how many it has. `rejected`: numbers of those that ask nothing."""
    before = s.nats.stream_state("ENRICH_REQUESTS")["last_seq"]
    for i in range(first, first + count):
        question = {} if i in rejected else {"query": f"What about shipment {i} to harbour{i}?"}
        s.nats.publish(REQUEST, json.dumps({"request_id": f"r-{i}", **question}), {"Content-Type": "application/json"})
    wait_for("all requests in the stream",
             lambda: s.nats.stream_state("ENRICH_REQUESTS")["last_seq"] == before + count, 120)


def stream_ids(s, stream, header):
    """A header of all messages of a stream."""
    return [one.headers.get(header) for one in stream_messages(s, stream)]


def stream_messages(s, stream):
    """All messages of a stream, by a consumer of the test's own."""
    total = s.left(stream)
    name = s.nats.api(f"CONSUMER.CREATE.{stream}", {"stream_name": stream, "config": {
        "ack_policy": "none", "deliver_policy": "all", "mem_storage": True, "inactive_threshold": 30 * 10**9}})["name"]
    out = []
    while len(out) < total:
        some = s.nats.pull(stream, name, batch=min(1000, total - len(out)), expires=10)
        check(some, f"{stream}: {len(out)} of {total} messages read, then none came")
        out += some
    return out


def journaled_count(s):
    """How many answers the journal holds; a consumer's answer counts them on the server."""
    made = s.nats.api("CONSUMER.CREATE.KV_SLUICE_JOURNAL", {"stream_name": "KV_SLUICE_JOURNAL", "config": {
        "ack_policy": "none", "deliver_policy": "all", "mem_storage": True, "inactive_threshold": 10**9,
        "filter_subject": "$KV.SLUICE_JOURNAL.*.*.*.*.a.>"}})
    s.nats.consumer_delete("KV_SLUICE_JOURNAL", made["name"])
    return made["num_pending"]


def is_of(key, document):
    """Was it made from the answer to this request's question? The simulator's answers repeat the words of the question."""
    return f"harbour{key[2:]}" in re.findall(r"\w+", str(document.get("summary")))


def tells_of(key, output):
    try:
        return wire.decode("ContextEnrichReady", output.data)["request_id"] == key
    except (ValueError, KeyError, IndexError, UnicodeDecodeError, struct.error):
        return False


def verdict(s, count, rejected=()):
    """published = documents + dead, documents = distinct outputs; nothing orphaned, nothing twice; each with what belongs to
    it. Dead are those that were `rejected`, by their numbers, and nobody else."""
    letters = [json.loads(one.data)["request_id"] for one in stream_messages(s, "ENRICH_DEAD")]
    dead = set(letters)
    found = s.documents()
    documents = set(found)
    outputs = stream_messages(s, "ENRICH_READY")
    ids = [one.headers.get("Nats-Msg-Id") for one in outputs]
    keys = {i.split(":")[1] for i in ids}
    expected = {f"r-{i}" for i in range(1, count + 1)}
    return {"messages": count, "documents": len(documents), "outputs": len(ids), "distinct_outputs": len(set(ids)),
            "dead_letters": len(letters), "duplicate_dead_letters": len(letters) - len(dead),
            "wrongly_dead_or_alive": len(dead ^ {f"r-{i}" for i in rejected}),
            "lost": len(expected - documents - keys - dead), "orphan_documents": len(documents - keys),
            "orphan_outputs": len(keys - documents), "acked_without_result": len(expected - (documents & keys) - dead),
            "duplicate_outputs": len(ids) - len(set(ids)), "left_in_stream": s.left(), "pending": s.pending(),
            "wrong_documents": sum(not is_of(key, document) for key, document in found.items()),
            "wrong_outputs": sum(not tells_of(i.split(":")[1], one) for i, one in zip(ids, outputs))}


def assert_clean(v):
    bad = [k for k in ("lost", "orphan_documents", "orphan_outputs", "acked_without_result", "duplicate_outputs", "pending",
                       "duplicate_dead_letters", "wrongly_dead_or_alive", "wrong_documents", "wrong_outputs") if v[k] != 0]
    check(not bad and v["documents"] == v["distinct_outputs"] == v["messages"] - v["dead_letters"], f"{', '.join(bad) or 'counts'}: {v}")


class PayOnce:
    """What was asked and journaled at each fault. A question that was asked before a fault may be asked again after it only
    if its answer was not in the journal then: those are counted at the fault, the ones asked again in the end. (calls -
    answers in the journal would be no limit: it grows with what is paid for again without need.)

    `every`: only every so many faults are looked at. `has_sum`: whatever is asked again is so after a fault that was looked
    at, and the sum of all calls has a limit, too. `llms`: the simulators, where there are several."""

    def __init__(self, s, every=1, has_sum=True, llms=None):
        self.s, self.every, self.has_sum, self.llms = s, every, has_sum and every == 1, llms or [s.llm]
        self.count, self.looks = 0, []  # (fault, how many may be asked again, {question: calls} as of _calls)
        self.order = {}  # {question: its place, by when it was first seen here}

    def note(self, fault=None):
        """Right after a fault; or `fault` makes it, where the journal cannot be asked any more then. The journal first:
        what comes between the two counts raises the limit."""
        self.count += 1
        is_looked_at = self.count % self.every == 0
        kept = journaled_count(self.s) if is_looked_at else 0
        made = fault() if fault else None
        if is_looked_at:
            calls = self._calls(self.llms)
            self.looks.append((self.count, len(calls) - kept, calls))
        return made

    def _calls(self, llms):
        """For each question how often it was asked there."""
        calls = array.array("H", bytes(2 * len(self.order)))
        for llm in llms:
            ledger = llm.ledger(keys=True)
            check(not ledger["truncated"], "the simulator's ledger is full")
            for key, one in ledger["by_key"].items():
                place = self.order.setdefault(key, len(calls))
                if place == len(calls):
                    calls.append(0)
                calls[place] += one["calls"]
        return calls

    def figures(self, messages):
        """Of a campaign in which each message asks one question. The limit of the sum:
        calls <= messages + failed calls + calls whose answer was not yet journaled at a fault."""
        end, failed = self._calls(self.llms), sum(llm.ledger()["failed"] for llm in self.llms)
        check(len(end) == messages, f"{len(end)} different questions, expected {messages}")
        check(self.looks, "no fault was looked at")
        unjournaled = again_after = 0
        for fault, most, calls in self.looks:
            again = sum(now > then for then, now in zip(calls, end))
            check(again <= most, f"pay once: fault {fault}: {most} questions had no answer in the journal, {again} of those "
                                 "before it were asked again")
            unjournaled, again_after = unjournaled + most, again_after + again
        limit = messages + failed + unjournaled
        check(not self.has_sum or sum(end) <= limit, f"pay once: {sum(end)} calls, at most {limit} expected: {messages} "
                                                     f"messages, {failed} failed calls, {unjournaled} not journaled")
        return {"faults_looked_at": len({fault for fault, _, _ in self.looks}), "unjournaled_at_these": unjournaled,
                "asked_again_after_these": again_after, "llm_calls": sum(end), "llm_calls_failed": failed,
                "llm_calls_again": sum(end) - messages}


class Kills(PayOnce):
    """Of a worker: whether it held anything is counted as well."""

    def __init__(self, s, *of, **these):
        super().__init__(s, *of, **these)
        self.in_hand = 0

    def note(self, fault=None):
        self.in_hand += self.s.consumer()["num_ack_pending"] > 0
        return super().note(fault)

    def figures(self, messages):
        return {"kills": self.count, "kills_with_messages_in_hand": self.in_hand, **super().figures(messages)}


class KillsOfOne(Kills):
    """Of one of several workers that ask a simulator each: what the others had asked is not asked again at all."""

    NEVER = 65535  # more often than anything was asked

    def note(self, llm, calls_before):
        """Right after the kill; `calls_before` there, when the messages came that are in flight."""
        super().note()
        fault, unjournaled, calls = self.looks.pop()
        of_it = self._calls([llm])
        most = min(unjournaled, sum(of_it) - calls_before)
        self.looks += [(fault, most, [n if own else self.NEVER for n, own in zip(calls, of_it)]),
                       (fault, 0, [self.NEVER if own else n for n, own in zip(calls, of_it)])]


def start_beside(s, host="127.0.0.1", **env):
    """One more worker, with a probe of its own; returned when it is ready."""
    port = free_port()
    worker = s.start_worker(**{"SLUICE_ACK_WAIT": ACK_WAIT, "SERVICE_READINESS_HOST": host, **env, "SERVICE_READINESS_PORT": port})
    address = f"http://{host}:{port}/readyz"
    wait_for("the worker is ready, or has ended", lambda: not worker.is_alive() or http("GET", address)[0] == 200, 60)
    check(worker.is_alive(), f"the worker ended with {worker.code}")
    return worker
