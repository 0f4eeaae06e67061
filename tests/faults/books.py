# SPDX-License-Identifier: Apache-2.0
"""What all campaigns share: the books, kept from the streams, the database and the LLM simulator, and words on progress."""
import array
import bisect
import json
import re
import struct
import sys
import time

from lib import wire
from lib.nats import ApiError, NatsError
from lib.ports import free_port
from lib.servers import http
from lib.wait import Expired
from stage import check, wait_for

REQUEST = "context.enrich.request"
READY = "context.enrich.ready"
ACK_WAIT = 2.0
# What is promised of a worker whose server is back: from then on it pulls within so many seconds, in 99 of 100 cases. --quick has
# too few faults for one to be left out, and the same limit: they take 1 to 4 s of it, also on two busy cores.
RECOVERED_S = 10
JOURNALED_AFTER = 1.0  # seconds; a worker that was not in a fault so long after an answer has it in the journal


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


def consumer_of(s, stream, seconds, **config):
    """A consumer of the test's own, which goes when nobody asks for so many seconds. Servers that are electing make none."""
    made = []
    wait_for(f"a consumer of {stream}", lambda: made.append(s.nats.api(f"CONSUMER.CREATE.{stream}", {
        "stream_name": stream, "config": {"ack_policy": "none", "deliver_policy": "all", "mem_storage": True,
                                          "inactive_threshold": seconds * 10**9, **config}})) or True, 60)
    return made[0]


def stream_messages(s, stream):
    """All messages of a stream."""
    total = s.left(stream)
    name = consumer_of(s, stream, 30)["name"]
    out = []
    while len(out) < total:
        some = s.nats.pull(stream, name, batch=min(1000, total - len(out)), expires=10)
        check(some, f"{stream}: {len(out)} of {total} messages read, then none came")
        out += some
    return out


def journaled_count(s):
    """How many answers the journal holds; a consumer's answer counts them on the server."""
    made = consumer_of(s, "KV_SLUICE_JOURNAL", 1, filter_subject="$KV.SLUICE_JOURNAL.*.*.*.*.a.>")
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


def answer_of(pack):
    """Which call of the simulator's it was made of, and when that was answered; a number that is its own without a stamp."""
    model = str(pack.get("model"))
    return (model, int(pack.get("created_at") or 0)) if "#" in model else object()


def is_of_one_answer(document, output):
    """The document that is there in the end, and the output: a message that was paid for twice must not have one of each."""
    try:
        return answer_of(document) == answer_of(wire.decode("ContextEnrichReady", output.data)["pack"])
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
            "wrong_outputs": sum(not tells_of(i.split(":")[1], one) for i, one in zip(ids, outputs)),
            "of_two_answers": sum(not is_of_one_answer(found[i.split(":")[1]], one) for i, one in zip(ids, outputs)
                                  if i.split(":")[1] in found)}


def assert_clean(v):
    bad = [k for k in ("lost", "orphan_documents", "orphan_outputs", "acked_without_result", "duplicate_outputs", "pending",
                       "duplicate_dead_letters", "wrongly_dead_or_alive", "wrong_documents", "wrong_outputs", "of_two_answers") if v[k] != 0]
    check(not bad and v["documents"] == v["distinct_outputs"] == v["messages"] - v["dead_letters"], f"{', '.join(bad) or 'counts'}: {v}")


def assert_one_at_a_time(llms):
    """Each simulator answers sooner than any message is delivered again: a worker that lives, and whose calls are not cut, runs a
    handler twice at a time when it asks a question while the same one is under way. (Of a killed one, or over a link that was cut,
    the simulator may still be busy with a call whose asker has gone.)"""
    most = max(llm.ledger()["most_at_once"] for llm in llms)
    check(most <= 1, f"{most} calls of one question at a time")


def judge_late(s):
    """Of a run that was late, what no waiting mends: the second run may be a lucky one. Nothing is said when a server is away."""
    try:
        v = verdict(s, 0)
    except (Expired, NatsError, OSError):
        return
    bad = [k for k in ("orphan_outputs", "duplicate_outputs", "duplicate_dead_letters", "wrong_documents", "wrong_outputs") if v[k] != 0]
    check(not bad, f"late, and wrong as well: {', '.join(bad)}: {v}")


class PayOnce:
    """What was asked and journaled at each fault. A question that was asked before a fault may be asked again after it only
    if its answer was not in the journal then: those are counted at the fault, the ones asked again in the end. (calls -
    answers in the journal would be no limit: it grows with what is paid for again without need.)

    `every`: only every so many faults are looked at. `has_sum`: whatever is asked again is so after a fault that was looked
    at, and the sum of all calls has a limit, too. `llms`: the simulators, where there are several. `journaled`: counts the
    answers in the journal of a stage. `one_at_a_time`: no call of a question may begin while another is under way.

    `is_timed`: a second limit, which does not come from the journal, and so not from the worker. A question that was answered
    JOURNALED_AFTER before a fault that is looked at, without a fault from its call until that long after the answer, is not asked
    again after it, be its message finished or not. A campaign sees to it that there are some of messages that are not, and says so: they
    are counted, and none would be a limit that limits nothing."""

    def __init__(self, s, every=1, has_sum=True, llms=None, is_timed=False, journaled=journaled_count, one_at_a_time=False):
        self.journaled, self.one_at_a_time = journaled, one_at_a_time
        self.s, self.every, self.has_sum, self.llms = s, every, has_sum and every == 1, llms or [s.llm]
        self.count, self.looks = 0, []  # (fault, how many may be asked again, {question: calls} as of _calls)
        self.order = {}  # {question: its place, by when it was first seen here}
        self.is_timed, self.fault_times = is_timed, []
        self.answered = {}  # {question: (when it was asked, when answered, where)} of its last call
        self.unfinished = 0  # of long_answered those whose messages were not finished at the fault
        self.long_answered = []  # (fault, {question: calls} of those that are not to be asked again)

    def note(self, fault=None, losing_since=None, losing_llm=None):
        """Right after a fault; or `fault` makes it, where the journal cannot be asked any more then. The journal first:
        what comes between the two counts raises the limit. `losing_since`: from then on nothing was finished of what the worker
        had asked (`losing_llm`: there)."""
        self.count += 1
        is_looked_at = self.count % self.every == 0
        kept = self.journaled(self.s) if is_looked_at else 0
        self.fault_times.append(time.monotonic())
        made = fault() if fault else None
        if is_looked_at:
            calls = self._calls(self.llms)
            self.looks.append((self.count, len(calls) - kept, calls))
            if self.is_timed:
                old = list(self._long_answered())
                self.long_answered.append((self.count, {self.order[key]: calls[self.order[key]] for key in old}))
                self.unfinished += sum(losing_since is not None and self.answered[key][0] >= losing_since
                                       and (losing_llm is None or self.llms[self.answered[key][2]] is losing_llm) for key in old)
        return made

    def _long_answered(self):
        """Whose answer had its time to come into the journal before a fault. The simulator and we have one clock."""
        times = self.fault_times
        for key, (called, answered, _) in self.answered.items():
            after = bisect.bisect_left(times, called)  # an answer can also be sent to one that is dead by then
            if answered >= called and after < len(times) and times[after] >= answered + JOURNALED_AFTER:
                yield key

    def _calls(self, llms):
        """For each question how often it was asked there."""
        calls = array.array("H", bytes(2 * len(self.order)))
        for where, llm in enumerate(llms):
            ledger = llm.ledger(keys=True)
            check(not ledger["truncated"], "the simulator's ledger is full")
            for key, one in ledger["by_key"].items():
                place = self.order.setdefault(key, len(calls))
                if place == len(calls):
                    calls.append(0)
                calls[place] += one["calls"]
                if self.is_timed and llms is self.llms:
                    last = one["called_ms"] / 1000, one["answered_ms"] / 1000, where  # not answered: before it was called
                    self.answered[key] = max(self.answered.get(key, last), last)
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
        for fault, before in self.long_answered:
            again = sum(end[place] > calls for place, calls in before.items())
            check(again == 0, f"pay once: fault {fault}: {again} questions were asked again that had been answered {JOURNALED_AFTER} s "
                              "before it")
        if self.one_at_a_time:
            assert_one_at_a_time(self.llms)
        limit = messages + failed + unjournaled
        check(not self.has_sum or sum(end) <= limit, f"pay once: {sum(end)} calls, at most {limit} expected: {messages} "
                                                     f"messages, {failed} failed calls, {unjournaled} not journaled")
        timed = {"answered_long_before_these": sum(len(before) for _, before in self.long_answered),
                 "of_these_unfinished": self.unfinished} if self.is_timed else {}
        return {"faults_looked_at": len({fault for fault, _, _ in self.looks}), "unjournaled_at_these": unjournaled,
                "asked_again_after_these": again_after, "llm_calls": sum(end), "llm_calls_failed": failed,
                "llm_calls_again": sum(end) - messages, **timed}

    def assert_timed(self):
        """The limit by time covers something."""
        check(self.unfinished > 0, "pay once: no question was answered long before a fault of messages that were not finished")


class Kills(PayOnce):
    """Of a worker: whether it held anything is counted as well, by what the consumer has delivered since it was started and
    what has left the stream since. (num_ack_pending has also what those hold that were killed before it, for the ack wait.)

    `in_flight`: what one worker holds at most. Then each kill has a limit, looked at or not, and so has the sum:
    calls <= messages + failed calls + questions without an answer in the journal at a kill. Of each kill those are at most what this
    worker held, less the answers of these in the journal: what it has journaled since its start and not finished. (All that have
    none there are more: those of the kills before it, for the ack wait.)"""

    def __init__(self, s, *of, in_flight=None, **these):
        super().__init__(s, *of, **these)
        self.in_hand, self.in_flight, self.unjournaled = 0, in_flight, 0
        self.kept = 0  # answers in the journal at the last kill
        self.with_fewer = 0  # kills at which less than half of `in_flight` had no answer in the journal
        self.started()

    def started(self):
        """To be called before each start of a worker, when those before it are dead."""
        self.delivered, self.left = self._stand()
        self.started_at = time.monotonic()

    def _stand(self):
        try:
            delivered = self.s.consumer()["delivered"]["consumer_seq"]
        except ApiError:  # no worker has made it yet
            delivered = 0
        return delivered, self.s.left()

    def held(self):
        delivered, left = self._stand()
        return delivered - self.delivered - (self.left - left)

    def note(self, fault=None, **losing):
        if self.in_flight:
            self._limit(journaled_count(self.s))  # first, as in PayOnce
        self.in_hand += self.held() > 0
        return super().note(fault, **losing)

    def _limit(self, kept):
        delivered, left = self._stand()
        finished = self.left - left
        held = delivered - self.delivered - finished
        asked = sum(llm.ledger()["keys"] for llm in self.llms)
        most = max(0, min(self.in_flight, held - max(0, kept - self.kept - finished), asked - kept))
        self.kept = kept  # what the server still reads of a dead worker raises its own limit by as much as it lowers the next one
        self.unjournaled += most
        self.with_fewer += most < self.in_flight / 2

    def figures(self, messages):
        v = super().figures(messages)
        limit = messages + v["llm_calls_failed"] + self.unjournaled
        check(not self.in_flight or v["llm_calls"] <= limit, f"pay once: {v['llm_calls']} calls, at most {limit} expected: {messages} "
                                                             f"messages, {v['llm_calls_failed']} failed, {self.unjournaled} not "
                                                             "journaled at the kills")
        most = {"llm_calls_limit": limit, "kills_with_most_answers_journaled": self.with_fewer} if self.in_flight else {}
        return {"kills": self.count, "kills_with_messages_in_hand": self.in_hand, **v, **most}


class KillsOfOne(Kills):
    """Of one of several workers that ask a simulator each: what the others had asked is not asked again at all."""

    NEVER = 65535  # more often than anything was asked

    def held(self):
        return self.holding

    def note(self, llm, calls_before, holding, losing_since=None):
        """Right after the kill; `calls_before` there when the messages came that are in flight, and how many of them it held:
        calls that were open, and outputs that were lost."""
        self.holding = holding
        super().note(losing_since=losing_since, losing_llm=llm)
        fault, unjournaled, calls = self.looks.pop()
        of_it = self._calls([llm])
        most = min(unjournaled, sum(of_it) - calls_before)
        self.looks += [(fault, most, [n if own else self.NEVER for n, own in zip(calls, of_it)]),
                       (fault, 0, [self.NEVER if own else n for n, own in zip(calls, of_it)])]


class OutputsLost:
    """The outputs of the workers behind a proxy, while it is on: their answers are journaled, their messages not finished."""

    def __init__(self, proxy):
        self.proxy, self.rule, self.since = proxy, None, None

    def begin(self):
        self.rule = self.proxy.on_request(lambda frame: frame.subject == READY, lambda frame: None, count=-1)
        self.since = time.monotonic()

    def wait(self, count):
        """Until as many are lost, and the answers of these have had their time to come into the journal."""
        wait_for(f"{count} lost outputs", lambda: self.rule.seen >= count, 60)
        end = time.monotonic() + JOURNALED_AFTER + 0.2
        wait_for("the answers are old", lambda: time.monotonic() > end, 10)

    def end(self):
        self.proxy.hooks.remove(self.rule)


def start_beside(s, host="127.0.0.1", **env):
    """One more worker, with a probe of its own; returned when it is ready."""
    port = free_port()
    worker = s.start_worker(**{"SLUICE_ACK_WAIT": ACK_WAIT, "SERVICE_READINESS_HOST": host, **env, "SERVICE_READINESS_PORT": port})
    address = f"http://{host}:{port}/readyz"
    wait_for("the worker is ready, or has ended", lambda: not worker.is_alive() or http("GET", address)[0] == 200, 60)
    check(worker.is_alive(), f"the worker ended with {worker.code}")
    return worker
