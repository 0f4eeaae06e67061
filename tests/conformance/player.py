# SPDX-License-Identifier: Apache-2.0
"""Plays a script on a real server. Each answer is kept with the time that has passed since its step began."""
import json
import queue
import threading
import time
from collections import namedtuple

from lib import wait
from lib.nats import ApiError, NoResponders, Timeout
from script import SETUP_VERBS, milliseconds, settle_targets

Heard = namedtuple("Heard", "ms text is_reply")

ANSWER_S = 10.0    # an answer that is awaited comes within this
NO_ANSWER_S = 1.0  # how long "no answer" is waited for
VERDICTS = {"ack": "+ACK", "nak": "-NAK", "term": "+TERM", "progress": "+WPI"}
SETTINGS = {"ack_wait": "ns", "max_ack_pending": int, "max_waiting": int, "max_deliver": int, "duplicate_window": "ns",
            "max_msgs": int, "max_age": "ns", "retention": str, "discard": str, "storage": str}


def settings(options):
    values = {}
    for key, text in options.items():
        kind = SETTINGS[key]
        values[key] = milliseconds(text) * 10**6 if kind == "ns" else kind(text)
    return values


class Player:
    """One script on one server, with streams and a connection of its own."""

    def __init__(self, server, script, status_class, replicas=1):
        self.server, self.script, self.replicas = server, script, replicas
        self.status_class = status_class  # (code, text) -> what the product takes a status for
        self.stream = "C_" + script.name
        self.client = server.client()
        self.heard = queue.Queue()
        self.pulls = {}
        self.reads = threading.Event()  # what the client's thread waits for before it reads on
        self.reads.set()
        self.frozen = None
        self.deliveries = {}  # (sequence, count): reply subject of the newest
        self.began = 0.0
        self.consumer = {}
        self.is_made = False

    @property
    def version(self):
        return self.client.info["version"]

    def play(self):
        """All answers, by line of the step."""
        answers = {}
        try:
            for step in self.script.steps:
                if not self.is_made and step.verb not in SETUP_VERBS:
                    self._make({})
                answers[step.line] = self._perform(step)
            self._settle_down(answers)
        finally:
            self.client.close()
            if self.frozen:
                self._thaw(None)
                self.frozen.close()
        return answers

    def _settle_down(self, answers):
        """Nothing more may have come after the last step."""
        self.client.api("INFO")
        late = []
        while not self.heard.empty():
            late.append(self._next(0))
        answers[self.script.steps[-1].line] += late

    # ---- waiting

    def _now_ms(self):
        return (time.monotonic() - self.began) * 1000

    def _next(self, timeout):
        at, text = self.heard.get(timeout=timeout)
        return Heard((at - self.began) * 1000, text, False)

    def _perform(self, step):
        self.began = time.monotonic()
        replies = getattr(self, "_" + step.verb)(step) or []
        found = [Heard(self._now_ms(), text, True) for text in replies]
        wanted = len(step.lines) - len(found)
        for_ms = milliseconds(step.words[0]) if step.verb == "silence" else None
        end = self.began + (for_ms / 1000 if for_ms else ANSWER_S * wait.PATIENCE)
        pull = step.words[0] if "of" in step.options else None
        while wanted > 0 or for_ms is not None or pull:
            try:
                one = self._next(max(0.0, end - time.monotonic()))
            except queue.Empty:
                break
            found.append(one)
            wanted -= 1
            if pull and one.text.startswith(pull + ": ended"):
                break
        return found

    # ---- setting up

    def _make(self, options):
        config = dict({"retention": "workqueue"}, **settings(options))
        wait.until("place for the stream on every server", lambda: self.client.stream_create(
            self.stream, [self.stream + ".in"], num_replicas=self.replicas, **config))
        self.is_made = True

    def _requests(self, step):
        self._make(step.options)

    def _consumer(self, step):
        if not self.is_made:
            self._make({})
        self.consumer = settings(step.options)
        self.client.consumer_create(self.stream, "c", **self.consumer)

    def _outputs(self, step):
        self.client.stream_create(self.stream + "_out", [self.stream + ".out"], **settings(step.options))

    def _bucket(self, step):
        self.client.kv_create(self.stream, **settings(step.options))

    # ---- publishing

    def _publish(self, step):
        body = b"x" * int(step.options.get("size", 1))
        return ["stored %d" % self.client.js_publish(self.stream + ".in", body)["seq"]
                for _ in range(int(step.options.get("times", 1)))]

    def _output(self, step):
        """With `until`: again and again, until the answer begins so."""
        end = time.monotonic() + ANSWER_S * wait.PATIENCE
        while True:
            text = self._output_once(step.options["id"], step.options.get("expect"))
            if text.startswith(step.options.get("until", "")) or time.monotonic() > end:
                return [text]
            time.sleep(wait.POLL_S)

    def _output_once(self, msg_id, expect):
        headers = {"Nats-Expected-Last-Subject-Sequence": expect} if expect else {}
        try:
            ack = self.client.js_publish(self.stream + ".out", b"x", headers, msg_id=msg_id)
        except ApiError as error:
            return "refused | %d" % error.err_code
        return "%s | %d" % ("duplicate" if ack.get("duplicate") else "stored", ack["seq"])

    # ---- pulling and settling

    def _pull(self, step):
        name = step.words[0]
        for n in range(int(step.options.get("times", 1))):
            self._pull_once(name if "times" not in step.options else name + str(n + 1), step)

    def _pull_once(self, name, step):
        body = {"batch": int(step.options.get("batch", 1))}
        if "no_wait" not in step.words or "expires" in step.options:
            body["expires"] = milliseconds(step.options.get("expires", "30s")) * 10**6
        if "heartbeat" in step.options:
            body["idle_heartbeat"] = milliseconds(step.options["heartbeat"]) * 10**6
        if "max_bytes" in step.options:
            body["max_bytes"] = self._bytes(step.options["max_bytes"])
        if "no_wait" in step.words:
            body["no_wait"] = True
        if name not in self.pulls:
            reads = self.reads
            self.pulls[name] = self.client.subscribe(self.client._inbox + ".pull." + name,
                                                     lambda message: reads.wait() and self._on_message(name, message))
        subject = "$JS.API.CONSUMER.MSG.NEXT.%s.%s" % (self.stream, step.options.get("consumer", "c"))
        self.client.publish(subject, json.dumps(body), reply=self.pulls[name].subject)

    def _bytes(self, text):
        """"500", or "exactly:500": as the server counts a first message with 500 bytes, subjects included."""
        exactly, _, size = text.rpartition(":")
        words = (self.stream + ".in", "$JS.ACK.%s.c.1.1.1.%d.0" % (self.stream, time.time_ns()))
        return int(size) + (sum(map(len, words)) if exactly else 0)

    def _on_message(self, name, message):
        at = time.monotonic()
        if message.status:
            code, _, text = message.status.partition(" ")
            text = "%s | %s" % (self.status_class(int(code), text), message.status)
        else:
            words = message.reply.split(".")
            count, sequence = int(words[4]), int(words[5])
            self.deliveries[sequence, count] = message.reply
            text = "message %d delivery %d" % (sequence, count)
        self.heard.put((at, "%s: %s" % (name, text)))

    def _settle(self, step):
        verdict = VERDICTS[step.verb]
        if "delay" in step.options:
            verdict += ' {"delay": %d}' % (milliseconds(step.options["delay"]) * 10**6)
        targets = [one for word in step.words for one in settle_targets(word)]
        waiting = [self.client.start_request(self.deliveries[one], verdict) for one in targets]
        is_silent = any("no answer" in line.allowed_on(self.version) for line in step.lines)
        return [self._settled(one, NO_ANSWER_S if is_silent else ANSWER_S * wait.PATIENCE) for one in waiting]

    def _settled(self, waiting, timeout):
        try:
            self.client.finish_request(waiting, "ack", timeout)
            return "settled"
        except NoResponders:
            return "nobody there"
        except Timeout:
            return "no answer"

    _ack = _nak = _term = _progress = _settle

    # ---- looking

    def _silence(self, step):
        pass

    _hear = _silence

    def _look(self, step):
        """The server works its state out behind its answers: until it is as awaited, or the deadline has passed."""
        wanted = step.lines[0].allowed_on(self.version) if step.lines else []
        end = time.monotonic() + ANSWER_S * wait.PATIENCE
        while True:
            text = self._state()
            if text in wanted or time.monotonic() > end:
                return [text]
            time.sleep(wait.POLL_S)

    def _state(self):
        stored = self.client.stream_state(self.stream)["messages"]
        try:
            info = self.client.consumer_info(self.stream, "c")
        except ApiError as error:
            if error.code == 503:
                return "no leader"
            if error.code != 404:
                raise
            return "no consumer, stored %d" % stored
        return "new %d, held %d, stored %d" % (info["num_pending"], info["num_ack_pending"], stored)

    # ---- the journal's bucket

    def _key(self, step):
        return "$KV.%s.%s" % (self.stream, step.words[0])

    def _keep(self, step):
        try:
            self.client.js_publish(self._key(step), step.words[1], {"Nats-Expected-Last-Subject-Sequence": "0"})
        except ApiError as error:
            return ["not kept, %s is there | %d" % (self._value(step), error.err_code)]
        return ["kept"]

    def _record(self, step):
        self.client.js_publish(self._key(step), step.words[1])
        return ["recorded"]

    def _value(self, step):
        value = self.client.kv_get(self.stream, step.words[0])
        return "nothing" if value is None else value.decode()

    def _read(self, step):
        return [self._value(step)]

    def _age(self, step):
        """Wait until the age limit has taken a key away."""
        wait.until("%s to be too old" % step.words[0], lambda: self._value(step) == "nothing", ANSWER_S)

    # ---- faults

    def _delete(self, step):
        self.client.consumer_delete(self.stream, "c")
        return ["deleted"]

    def _create(self, step):
        self.client.consumer_create(self.stream, "c", **self.consumer)
        return ["created"]

    def _disconnect(self, step):
        """Inboxes of before are not listened to any more."""
        self.client.close()
        self.client = self.server.client()
        self.pulls = {}

    def _freeze(self, step):
        """The client reads nothing more, as a stopped process; a second one goes on."""
        self.frozen, self.thaws = self.client, self.reads
        self.thaws.clear()
        self.reads = threading.Event()
        self.reads.set()
        self.client = self.server.client()
        self.pulls = {}

    def _thaw(self, step):
        self.thaws.set()

    def _kill(self, step):
        self.server.kill()

    def _start(self, step):
        self.server.start().wait_ready()
        self.client.close()
        self.client = self.server.client()
        self.pulls = {}
        wait.until("the stream to be back", lambda: self.client.stream_info(self.stream))

    def _purge(self, step):
        return ["purged %d" % self.client.api("STREAM.PURGE." + self.stream)["purged"]]

    def _stepdown(self, step):
        self.client.api("CONSUMER.LEADER.STEPDOWN.%s.c" % self.stream)
        return ["moved"]


