# SPDX-License-Identifier: Apache-2.0
"""Bad input: each gets its clear error, is buried byte for byte, and the next message is done."""
import json
from lib import wire
from stage import cases_of, check, wait_for

JSON = {"Content-Type": "application/json"}
TYPE = {"Sluice-Proto": "context.v1.ContextEnrichRequest"}


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def text(field, value):
    return bytes([field << 3 | 2]) + varint(len(value)) + value


def good(request_id):
    return text(1, request_id) + text(4, b"What about the pump?")


# name: (headers, body, words of the reason)
BODIES = {
    "empty": ({}, b"", ["empty body", "context.v1.ContextEnrichRequest"]),
    "garbage": ({}, b"\xff\xfe not a message", ["parse"]),
    "cut": ({}, good(b"r-1")[:-5], ["query: cut: 20 bytes announced, 15 left"]),
    "groups_without_end": ({}, b"\x7b" * 5000, ["wire type 3"]),
    "json_without_header": ({}, b"{\"request_id\": \"r-8\", \"query\": \"x\"}", ["Content-Type: application/json"]),
    "invalid_utf8": ({}, text(1, b"a\xffb"), ["request_id", "UTF-8"]),
    "huge_length": ({}, b"\x0a\xff\xff\xff\xff\x0f", ["request_id: cut: 4294967295 bytes announced"]),
    "other_type": ({"Sluice-Proto": "other.v1.Thing"}, good(b"r-2"), ["other.v1.Thing", "context.v1.ContextEnrichRequest"]),
    "json_nested": (JSON, b"[" * 5000, ["deep"]),
    "json_nested_object": (JSON, b'{"a":' * 5000 + b"1" + b"}" * 5000, ["deep"]),
    "json_cut": (JSON, b'{"request_id": "r-3"', ["JSON"]),
    "json_trailing": (JSON, b'{"request_id": "r-4", "query": "x"} x', ["JSON"]),
    "json_wrong_kind": (JSON, b'{"request_id": 7, "query": "x"}', ["request_id", "string"]),
    "json_unknown_field": (JSON, b'{"request_id": "r-6", "query": "x", "nobody_knows": 1}', ['["nobody_knows"]: unknown']),
    "json_wrong_kind_inside": (JSON, b'{"request_id": "r-7", "query": "x", "inputs": "y"}', ["inputs: expected array, got string"]),
    "json_list": (JSON, b'[1]', ["object"]),
    "json_twice": (JSON, b'{"request_id": "a", "request_id": "b", "query": "x"}', ["a key that comes twice"]),
    "json_utf8": (JSON, b'{"request_id": "a\xff", "query": "x"}', ["UTF-8"]),
    "json_surrogate": (JSON, b'{"request_id": "\\ud800", "query": "x"}', ["JSON"]),
    "json_nul": (JSON, b'{"request_id": "a\\u0000b", "query": "x"}', ["NUL in a string"]),
    "json_key_break": (JSON, b'{"request_id": "id\\r\\nX-Evil: 1", "query": "x"}', ["request_id: a control character"]),
    "no_request_id": (JSON, b'{"query": "x"}', ["request_id"]),
    "no_query": (JSON, b'{"request_id": "r-5"}', ["query or inputs"]),
}


def bad_bodies_are_buried_and_the_next_is_done(s):
    s.start_worker(SLUICE_ON_REJECT="dead-letter")
    s.ready()
    c = s.client()
    sequences = {c.js_publish("context.enrich.request", body, headers)["seq"]: name for name, (headers, body, _) in BODIES.items()}
    largest = c.api("STREAM.INFO.ENRICH_REQUESTS")["config"]["max_msg_size"]
    refused = json.loads(c.request("context.enrich.request", b"x" * (largest + 1)).data)
    check("error" in refused, "the stream took a message that no dead letter could hold")
    name = c.js_publish("context.enrich.request", b'{"request_id": "' + b"x" * (largest - 2000) + b'"}', JSON)["seq"]
    sequences[name] = "oversize_key"
    s.send(3)
    wait_for("no request is left", lambda: s.left() == 0, 60)
    letters = {int(m.headers["Sluice-Origin"].split(":")[1]): (m.headers, m.data) for m in c.messages("ENRICH_DEAD")}
    problems = []
    for seq, name in sequences.items():
        if seq not in letters:
            problems.append(f"{name}: not buried")
            continue
        headers, body = letters[seq]
        expected = BODIES[name][1] if name in BODIES else body
        words = BODIES[name][2] if name in BODIES else ["query or inputs"]
        error = headers["Sluice-Dead-Error"]
        step = "handler" if name in ("no_request_id", "no_query", "oversize_key") else "parse"
        if body != expected or headers["Sluice-Dead-Step"] != step or headers["Sluice-Dead-Reason"] != "rejected":
            problems.append(f"{name}: step {headers['Sluice-Dead-Step']}, reason {headers['Sluice-Dead-Reason']}, error {error}")
        if step == "parse" and not (f"message {seq} ({len(expected)} bytes)" in error):
            problems.append(f"{name}: the error lacks sequence and size: {error}")
        problems += [f"{name}: no \"{word}\" in: {error}" for word in words if word not in error and word != "parse"]
    logged = {e["seq"]: e for e in s.events() if e["event"] == "message.dead_lettered"}
    for seq, name in sequences.items():
        if seq not in logged or logged[seq]["text"] != letters[seq][0]["Sluice-Dead-Error"] or logged[seq]["reason"] != "rejected":
            problems.append(f"{name}: the log says {logged.get(seq)}")
    check(not problems, "\n".join(problems))
    check(sorted(s.documents()) == ["r-1", "r-2", "r-3"], f"documents {sorted(s.documents())}")
    check(len(s.outputs()) == 3 and s.pending() == 0, "outputs, pending")


def headers_that_nats_refuses_do_not_keep_a_message_from_its_grave(s):
    s.start_worker(SLUICE_ON_REJECT="dead-letter")
    s.ready()
    c = s.client()
    for name, value in ("Bad Name", "x"), ("Tab\tName", "x"), ("X-Return", "a\rb"):
        c.js_publish("context.enrich.request", b"garbage " + name.encode(), {name: value, "Kept": "yes"})
    wait_for("no request is left", lambda: s.left() == 0)
    letters = c.messages("ENRICH_DEAD")
    check(len(letters) == 3, f"{len(letters)} dead letters")
    for one in letters:
        check(one.headers["Sluice-Dead-Headers-Dropped"] == "1" and one.headers["Kept"] == "yes", one)
        check(one.headers["Sluice-Dead-Reason"] == "rejected" and one.data.startswith(b"garbage "), one)


def a_bad_trace_is_ignored_and_a_bad_key_rejected_before_anything_is_paid(s):
    s.start_worker(SLUICE_ON_REJECT="dead-letter")
    s.ready()
    body = b'{"request_id": "%s", "query": "What about the pump?"}'
    for name, value in {"X-Correlation-ID": "a\tb", "traceparent": "x" * 300}.items():
        s.client().js_publish("context.enrich.request", body % name.encode(), dict(JSON, **{name: value}))
    s.client().js_publish("context.enrich.request", body % b"r-3", {"Content-Type": "Application/JSON; charset=utf-8"})
    s.expect_done(3)
    asked = s.llm_http("/ledger")
    for value in "a\tb", "k" * 257:
        s.client().js_publish("context.enrich.request", body % b"r-4", dict(JSON, **{"Sluice-Key": value}))
    wait_for("no request is left", lambda: s.left() == 0)
    letters = s.nats.messages("ENRICH_DEAD")
    check(len(letters) == 2, f"{len(letters)} dead letters")
    check(all(one.headers["Sluice-Dead-Reason"] == "rejected" and "Sluice-Key" in one.headers["Sluice-Dead-Error"] for one in letters), letters)
    check(s.llm_http("/ledger") == asked, "the LLM was asked")


# What the simulator does to a question with [[fault:KIND]]: words of the reason.
ANSWERS = {"429": ["RATE_LIMITED"], "500": ["500"], "503": ["503"], "stall": ["TIMEOUT"], "cut": ["cut before its end"], "refuse": ["refus"],
           "bad-json": ["JSON"], "length": ["length"], "reset": ["SLUICE_ERR_"], "empty": ["no body"], "blank": ["no summary"]}


def bad_answers_fail_their_message_alone(s):
    s.start_worker(SLUICE_MAX_DELIVER=2, LLM_TIMEOUT=1, LLM_BREAKER_FAILURES=1000, SLUICE_NAK_DELAY_MAX="0.2",
                   SLUICE_HANDLER_TIMEOUT=2)  # a 429 waits inside the lease until then
    s.ready()
    for i, kind in enumerate(ANSWERS):
        s.send(1, first=100 + i, query=f"[[fault:{kind}]] harbour{{i}}")
    s.send(5)
    good = 5

    def is_over():  # a 503 counts after a call that was answered: alone, its message would wait for ever
        nonlocal good
        left = s.left()
        if left == 1:
            good += 1
            s.send(1, first=good)
        return left == 0

    wait_for("no request is left", is_over, 60)
    letters = {json.loads(m.data)["request_id"]: m.headers for m in s.client().messages("ENRICH_DEAD")}
    problems = []
    for i, (kind, words) in enumerate(ANSWERS.items()):
        h = letters.get(f"r-{100 + i}")
        if h is None:
            problems.append(f"{kind}: not buried")
        elif kind == "429" and h["Sluice-Dead-Reason"] == "timeout" and h["Sluice-Dead-Step"] == "llm":
            check("SLUICE_HANDLER_TIMEOUT" in h["Sluice-Dead-Error"], h)  # asked again within its lease until its time was over
        elif h["Sluice-Dead-Step"] != ("handler" if kind == "blank" else "llm") or not all(w in h["Sluice-Dead-Error"] for w in words):
            problems.append(f"{kind}: step {h['Sluice-Dead-Step']}, error {h['Sluice-Dead-Error']}")
    check(not problems, "\n".join(problems))
    check(len(s.documents()) == good and len(s.outputs()) == good, f"{len(s.documents())} documents, {len(s.outputs())} outputs")


def an_answer_that_never_comes_is_named_when_the_time_is_over(s):
    s.llm_http("/control", {"latency-ms": 60000})
    s.start_worker(SLUICE_MAX_DELIVER=2, LLM_TIMEOUT=50, SLUICE_HANDLER_TIMEOUT=1)
    s.ready()
    s.send(1)
    wait_for("the dead letter", lambda: s.nats.count("ENRICH_DEAD") == 1, 60)
    wait_for("no request is left", lambda: s.left() == 0)
    ended = wait_for("both ends in the log", lambda: (lambda all: len(all) > 1 and all)(
        [e for e in s.events() if e["event"] in ("message.failed", "message.dead_lettered")]))
    check(len(ended) == 2 and all(e["reason"] == "timeout" and e["step"] == "llm" for e in ended), ended)
    check(all("SLUICE_HANDLER_TIMEOUT" in e["text"] for e in ended), ended)
    check("SLUICE_HANDLER_TIMEOUT" in s.nats.messages("ENRICH_DEAD")[0].headers["Sluice-Dead-Error"], "the dead letter")


def an_output_is_not_older_than_what_it_tells_of(s):
    s.llm_http("/control", {"latency-ms": 50})
    s.start_worker()
    s.ready()
    s.send(1)
    s.expect_done(1)
    ready = wire.decode("ContextEnrichReady", s.nats.messages(s.names.ready)[0].data)
    check(ready["published_at"] >= ready["pack"]["created_at"] > 0, f"published {ready['published_at']}, created {ready['pack']['created_at']}")


def a_long_retry_after_is_told_and_cut(s):
    s.llm_http("/control", {"429": 100, "retry-after": 86400})
    w = s.start_worker(SLUICE_RETRY_AFTER_MAX=5)
    s.ready()
    s.send(1)
    for path in ("/health", "/readyz"):
        why = s.probe_with(path, '"pull_paused"')[1]["pull_paused"]
        check((why["dependency"], why["reason"]) == ("llm", "rate_limited") and 0 <= why["for_s"] <= 5, f"{path}: {why}")
    s.llm_http("/control", {"429": 0})
    s.expect_done(1)
    wait_for("the end of the pause", lambda: any(e["event"] == "pull.resumed" for e in w.log_lines()))
    told = [e for e in w.log_lines() if e["event"] == "pull.paused"]
    check(len(told) == 1 and (told[0]["dependency"], told[0]["reason"]) == ("llm", "rate_limited") and 0 < told[0]["for_ms"] <= 5000, f"told: {told}")
    wait_for("/health no longer says so", lambda: "pull_paused" not in s.health())


CASES = cases_of(globals())
