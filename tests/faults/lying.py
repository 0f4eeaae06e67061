# SPDX-License-Identifier: Apache-2.0
"""Peers that lie: each lie is told about some messages once, about others always. The honest part of the answer is left
out: what the worker believes falsely is missing in the end."""
import collections
import http.server
import json
import re
import struct
import threading
import time

from books import ACK_WAIT, progress, publish_many, stream_ids
from lib.proxy import NatsProxy, Proxy, is_verdict
from lib.servers import http as ask
from stage import check, wait_for

MAX_DELIVER = 3
Lie = collections.namedtuple("Lie", "peer name tell")


class Plan:
    """Which message is lied about, and how often still: {number: [lie, times]}."""

    def __init__(self):
        self.lies, self.told, self.lock = {}, collections.Counter(), threading.Lock()

    def add(self, number, lie, times):
        self.lies[number] = [lie, times]

    def next(self, number, peer):
        """The lie to tell about this message now, if any."""
        with self.lock:
            lie, times = self.lies.get(number, (None, 0))
            if times == 0 or lie.peer != peer:
                return None
            self.lies[number][1] -= 1
            self.told[number] += 1
            return lie


# ---- NATS: the stream refuses the output, as it expects another stream's name; its answer is replaced by the lie

PUBACKS = {
    "duplicate of nothing": b'{"stream":"ENRICH_READY","seq":0,"duplicate":true}',
    "in process": b'{"error":{"code":409,"err_code":10158,"description":"duplicate message id is in process"}}',
    "another stream": b'{"stream":"OTHER","seq":7}',
    # Not 503, which would say that the stream is away: that is not held against the message.
    "error": b'{"error":{"code":500,"err_code":10049,"description":"cannot be stored"}}',
    "no JSON": b"\xff\x00 stored, believe me",
    "cut": b'{"stream":"ENRICH_READY","se',
    "nothing": b"",
    "neither stream nor error": b'{"seq":7}',
    "sequence below zero": b'{"stream":"ENRICH_READY","seq":-1}',
    "too long": b'{"stream":"ENRICH_READY","seq":7,"x":"' + b"x" * 70000 + b'"}',
}


# "Not yet": the output is sent again, until the publish timeout.
PUT_OFF = ("duplicate of nothing", "in process")


class LyingNats(NatsProxy):
    """Also keeps who was settled how: {verdict: {stream sequence: times}}."""

    def __init__(self, port, plan):
        super().__init__(port)
        self.plan, self.inboxes = plan, {}
        self.verdicts = {"-NAK": collections.Counter(), "+ACK": collections.Counter(), "+TERM": collections.Counter()}
        self.hooks.append(self.act)

    def act(self, way, frame):
        if way == "down":
            lie = self.inboxes.pop(frame.subject, None) if frame.verb in ("MSG", "HMSG") else None
            return frame.with_body(lie.tell) if lie else frame
        for verdict, counts in self.verdicts.items():
            if is_verdict(verdict)(frame):
                counts[int(frame.subject.split(".")[5])] += 1
        if frame.subject == "context.enrich.ready":
            lie = self.plan.next(int(re.search(rb"Nats-Msg-Id: [^:]*:r-(\d+):", frame.head).group(1)), "nats")
            if lie:
                self.inboxes[frame.reply] = lie
                frame.raw = frame.raw.replace(b"Nats-Expected-Stream: ENRICH_READY", b"Nats-Expected-Stream: ENRICH_NEVER")
        return frame


# ---- LLM: what is lied about is never asked of the simulator

def answer(body, kind="application/json", length=None, status="200 OK"):
    """A whole answer, whatever its length says."""
    def tell(sock):
        size = len(body) if length is None else length
        sock.sendall(f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {size}\r\n\r\n".encode() + body)
    return tell


def endless(head, piece):
    """Until the worker has had enough; not so fast that it is the machine that has had enough."""
    def tell(sock):
        sock.sendall(head)
        while True:
            sock.sendall(piece * 16)
            time.sleep(0.005)
    return tell


def completion(content):
    return json.dumps({"id": "x", "object": "chat.completion", "model": "sim-1", "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}]}).encode()


HTML = b"<!DOCTYPE html><html><body><h1>Welcome to the login page</h1></body></html>"
ANSWERS = {
    "an HTML page": answer(HTML, "text/html"),
    "an HTML page that claims to be JSON": answer(HTML),
    "cut JSON": answer(completion("{}")[:-30]),
    "cut before its length": answer(completion("{}")[:-30], length=5000),
    "another API": answer(b'{"object":"list","data":[{"id":"sim-1"}]}'),
    "content of another schema": answer(completion('{"temperature": 21}')),
    "content that is no JSON": answer(completion("Sure! Here is your context.")),
    "no content": answer(b"", status="204 No Content"),
    "no HTTP": answer(b"", status="\xff\xfe"),
    "endless headers": endless(b"HTTP/1.1 200 OK\r\n", b"X-Header: " + b"x" * 1000 + b"\r\n"),
    "an endless header": endless(b"HTTP/1.1 200 OK\r\nX-Header: ", b"x" * 1000),
    "an endless body": endless(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
                               b"400\r\n" + b" " * 1024 + b"\r\n"),
}


class LyingLlm:
    """Before the simulator: a question about a message that is lied about is answered here, any other over there."""

    def __init__(self, llm, plan):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                number = re.search(rb"harbour(\d+)\?", body)
                lie = plan.next(int(number.group(1)), "llm") if number else None
                if lie:
                    self.close_connection = True
                    lie.tell(self.connection)
                else:
                    self.pass_on(body)

            def do_GET(self):
                self.pass_on(None)

            def pass_on(self, body):
                wanted = {name: self.headers[name] for name in ("Content-Type", "Authorization") if name in self.headers}
                status, text = ask(self.command, f"http://{llm.host}:{llm.port}{self.path}", body, wanted, 30)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads, request_queue_size = True, 256

            def handle_error(self, *_):
                pass  # the worker has had enough of an endless answer

        self.listener = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.listener.server_port}/v1"
        threading.Thread(target=self.listener.serve_forever, daemon=True).start()

    def close(self):
        self.listener.shutdown()
        self.listener.server_close()


# ---- MongoDB: the write never reaches the server

def reply(document):
    """As an OP_MSG, for the request with this number."""
    def tell(request_id):
        import bson
        body = bytes(5) + bson.encode(document)
        return struct.pack("<iiii", 16 + len(body), 1, request_id, 2013) + body
    return tell


def raw(data):
    return lambda request_id: data


# Not told: an OP_MSG whose sections are no BSON. libmongoc 1.23 reads behind it and crashes.
STORED = {"ok": 1.0, "n": 1, "nModified": 0, "upserted": [{"index": 0, "_id": "x"}]}
REPLIES = {
    "ok: 0": reply({"ok": 0.0, "errmsg": "not today", "code": 8000, "codeName": "AtlasError"}),
    "a write error": reply({"ok": 1.0, "n": 0, "nModified": 0, "writeErrors": [
        {"index": 0, "code": 121, "errmsg": "Document failed validation"}]}),
    "a write error of a document that was not sent": reply({"ok": 1.0, "n": 0, "nModified": 0, "writeErrors": [
        {"index": 7000, "code": 121, "errmsg": "Document failed validation"}]}),
    "a write concern error": reply(dict(STORED, writeConcernError={"code": 64, "errmsg": "waiting for replication timed out"})),
    "no effect": reply({"ok": 1.0, "n": 0, "nModified": 0}),
    "no count": reply({"ok": 1.0}),
    "garbage": raw(b"\xff" * 64),
    "a frame of another kind": raw(struct.pack("<iiiiI", 48, 1, 1, 4711, 0) + b"\xff" * 28),
}


class LyingMongo(Proxy):
    def __init__(self, port, plan):
        self.plan = plan
        super().__init__(port)

    def pieces(self, link, way, reader):
        while True:
            head = reader.read(16)
            if len(head) < 16:
                return
            size, request_id = struct.unpack("<ii", head[:8])
            data = head + reader.read(size - 16)
            lie = self.lie_about(data) if way == "up" else None
            if lie:
                link.client.sendall(lie.tell(request_id))  # nobody else writes: it waits for this answer
            else:
                yield data

    def lie_about(self, data):
        """Writes come in groups; here a group is one message."""
        number = re.search(rb"\x02_id\x00....r-(\d+)\x00", data, re.S) if b"\x02update\x00" in data[:64] else None
        return self.plan.next(int(number.group(1)), "store") if number else None


# ---- the campaign

LIES = [Lie(peer, *one) for peer, lies in (("nats", PUBACKS), ("llm", ANSWERS), ("store", REPLIES)) for one in lies.items()]
STEPS = {"nats": "publish", "llm": "llm", "store": "store"}


def lies_told(s, plan, lies, total, rounds, **settings):
    """Three messages for each lie: told once, told always, honest. How many messages there are then."""
    worker = s.start_worker(SLUICE_ACK_WAIT=ACK_WAIT, SLUICE_MAX_DELIVER=MAX_DELIVER, LLM_TIMEOUT=5, MONGODB_TIMEOUT=5,
                            LLM_BREAKER_FAILURES=10**6, MONGODB_BREAKER_FAILURES=10**6, SLUICE_PUBLISH_BREAKER_FAILURES=10**6,
                            SLUICE_NAK_DELAY_MAX=0.2, SLUICE_PUBLISH_TIMEOUT=1, **settings)
    s.ready()
    for n in range(rounds):
        for i, lie in enumerate(lies):
            plan.add(total + 3 * i + 1, lie, 1)
            plan.add(total + 3 * i + 2, lie, -1)
        publish_many(s, total + 1, 3 * len(lies))
        total += 3 * len(lies)
        wait_for("no request is left", lambda: not worker.is_alive() or s.all_done(), 120)
        check(worker.is_alive(), f"the worker ended with {worker.code}")
        progress(f"lying_peers: round {n + 1}/{rounds}, {total} messages")
    check(worker.stop() == 0, "the worker did not end cleanly")
    return total


def lying_peers(s, a):
    """Each peer lies once about one message, always about another, and is honest about a third one next to them."""
    rounds = 1 if a.quick else 20
    plan = Plan()
    nats, llm = s.part(LyingNats(s.nats_server.port, plan)), s.part(LyingLlm(s.llm, plan))
    through = {**s.through(nats), "LLM_BASE_URL": llm.url}
    total = lies_told(s, plan, [lie for lie in LIES if lie.peer != "store"], 0, rounds, **through)
    if s.store_kind == "mongodb":
        through |= s.through(store=s.mongo_proxy(lambda port: LyingMongo(port, plan)))
        total = lies_told(s, plan, [lie for lie in LIES if lie.peer == "store"], total, rounds, SLUICE_MAX_IN_FLIGHT=1, **through)
    return accounts(s, plan, nats, total)


def accounts(s, plan, nats, total):
    always = {n: lie for n, (lie, times) in plan.lies.items() if times < 0}
    letters = {json.loads(one.data)["request_id"]: one.headers["Sluice-Dead-Step"] for one in s.nats.messages("ENRICH_DEAD")}
    documents, outputs = set(s.documents()), stream_ids(s, "ENRICH_READY", "Nats-Msg-Id")
    keys = {one.split(":")[1] for one in outputs}
    done = {f"r-{n}" for n in range(1, total + 1) if n not in always}
    wrong = [f"{one} was to be done and is not" for one in sorted(done - (documents & keys))]
    wrong += [f"{one} has an output though its stream never said so" for one in sorted(keys - done)]
    # A document whose output was refused to the end stays; one that was never stored must not be there.
    stored = done | {f"r-{n}" for n, lie in always.items() if lie.peer == "nats"}
    wrong += [f"{one}: document {one in documents}, expected {one in stored}" for one in sorted(documents ^ stored)]
    for n, (lie, _) in sorted(plan.lies.items()):
        what = f"r-{n}, {lie.peer} tells: {lie.name}"
        step, naks, told = letters.pop(f"r-{n}", None), nats.verdicts["-NAK"][n], plan.told[n]
        if told == 0:
            wrong.append(f"{what}: never told")
        if n in always:
            expected = (STEPS[lie.peer], MAX_DELIVER - 1)
            if (step, naks) != expected:
                wrong.append(f"{what}: dead letter at {step} after {naks} NAKs, expected {expected}")
        elif step:
            wrong.append(f"{what}: a dead letter at {step}")
        elif naks == 0 and lie.peer != "store" and lie.name not in PUT_OFF:  # a write is tried again alone, within the attempt
            wrong.append(f"{what}: no NAK")
        elif naks > 0 and lie.name in PUT_OFF:
            wrong.append(f"{what}: {naks} NAKs")
    wrong += [f"{one} is a dead letter, and nobody lied about it" for one in letters]
    wrong += [f"{len(outputs)} outputs, {len(set(outputs))} distinct"] if len(outputs) != len(set(outputs)) else []
    calls, wanted = s.llm_http("/ledger")["calls"], total - sum(lie.peer == "llm" for lie in always.values())
    wrong += [f"{calls} calls, expected {wanted}"] if calls != wanted else []
    check(not wrong, "\n".join(wrong))
    v = {"messages": total, "lies": len({(lie.peer, lie.name) for lie, _ in plan.lies.values()}), "lies_told": sum(plan.told.values()),
         "documents": len(documents), "outputs": len(outputs), "dead_letters": len(always), "naks": sum(nats.verdicts["-NAK"].values()),
         "llm_calls": calls, "pending": s.pending()}
    if s.store_kind != "mongodb":
        v["not_made"] = "lies of a database server: SQLite has none"
    return v
