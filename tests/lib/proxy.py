# SPDX-License-Identifier: Apache-2.0
"""A TCP proxy that misbehaves on demand: delays, cuts, swallows, lies. "up" is towards the server, "down" back.

NatsProxy also reads the protocol, so that a test can watch, drop or alter one message: the answer to a publish, the
answer to an ACK.
"""
import random
import socket
import struct
import threading
import time

from lib.ports import free_port


class Frame:
    """One line of the NATS protocol with its payload."""

    def __init__(self, raw, verb="", subject="", reply="", head=b"", body=b""):
        self.raw, self.verb, self.subject, self.reply, self.head, self.body = raw, verb, subject, reply, head, body

    def with_body(self, body):
        """The same message with another body, for a lie."""
        words = self.raw.split(b"\r\n", 1)[0].split()
        words[-1] = b"%d" % (len(self.head) + len(body))
        return Frame(b" ".join(words) + b"\r\n" + self.head + body + b"\r\n", self.verb, self.subject, self.reply,
                     self.head, body)


def read_frame(reader):
    line = reader.readline()
    if not line:
        return None
    words = line.split()
    verb = words[0].decode().upper() if words else ""
    if verb not in ("PUB", "HPUB", "MSG", "HMSG"):
        return Frame(line, verb)
    total = int(words[-1])
    head = int(words[-2]) if verb[0] == "H" else 0
    data = reader.read(total + 2)
    middle = words[2:-2] if verb[0] == "H" else words[2:-1]
    if verb.endswith("MSG"):
        middle = middle[1:]  # the subscription's number
    reply = middle[0].decode() if middle else ""
    return Frame(line + data, verb, words[1].decode(), reply, data[:head], data[head:total])


class Link:
    """One connection through the proxy: two pumps."""

    def __init__(self, proxy, client, server):
        self.proxy, self.client, self.server = proxy, client, server
        self.passed = {"up": 0, "down": 0}
        self.ends_at = {}  # drawn by the proxy, by way
        self.is_over = False
        self.pumps = 2

    def start(self):
        for name, source, sink in (("up", self.client, self.server), ("down", self.server, self.client)):
            threading.Thread(target=self._pump, args=(name, source, sink), daemon=True).start()

    def _pump(self, way, source, sink):
        try:
            with source.makefile("rb", buffering=65536) as reader:
                for data in self.proxy.pieces(self, way, reader):
                    self.proxy.wait_while_held(self, way)
                    if self.is_over:
                        break
                    limit = self.proxy.limit(self, way)
                    if limit is not None and self.passed[way] + len(data) > limit:
                        sink.sendall(data[:max(0, limit - self.passed[way])])
                        self.proxy.cuts += 1
                        break
                    sink.sendall(data)
                    self.passed[way] += len(data)
        except (OSError, ValueError):
            pass
        self.end()
        with self.proxy.changed:
            self.pumps -= 1
            if self.pumps == 0:  # nobody reads any more: only now does closing close, and a reset reset
                self.client.close()
                self.server.close()
                self.proxy.links.discard(self)

    def end(self, reset=False):
        with self.proxy.changed:
            if self.is_over:
                return
            self.is_over = True
            self.proxy.changed.notify_all()
        for sock in (self.client, self.server):
            try:
                if reset:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.shutdown(socket.SHUT_RD if reset else socket.SHUT_RDWR)
            except OSError:
                pass


class Proxy:
    def __init__(self, target_port, host="127.0.0.1", port=None):
        self.target = (host, target_port)
        self.port = port or free_port()
        self.changed = threading.Condition(threading.RLock())
        self.links = set()
        self.accepted = self.cuts = 0
        self._held = set()
        self._limits = {}
        self._delay, self._rate = 0.0, None
        self.random = random.Random(1)
        self._mode = "pass"
        self._listener = None
        self._listen()

    def _listen(self):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(128)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _accept(self, listener):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self._open, args=(client,), daemon=True).start()

    def _open(self, client):
        if self._mode == "accept_and_close":
            client.close()
            return
        try:
            server = socket.create_connection(self.target, 5)
            server.settimeout(None)
            for sock in (client, server):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            client.close()
            return
        link = Link(self, client, server)
        with self.changed:
            self.links.add(link)
        link.start()

    # ---- what the pumps ask

    def pieces(self, link, way, reader):
        while True:
            data = reader.read1(256 if self._rate else 65536)
            if not data:
                return
            if self._rate:
                time.sleep(len(data) / self._rate)
            yield data

    def wait_while_held(self, link, way):
        if self._delay:
            time.sleep(self._delay)
        with self.changed:
            while way in self._held and not link.is_over:
                self.changed.wait()

    def limit(self, link, way):
        size = self._limits.get(way)
        if isinstance(size, tuple):
            if way not in link.ends_at:
                link.ends_at[way] = link.passed[way] + self.random.randint(*size)
            return link.ends_at[way]
        return size

    # ---- what tests say

    def delay(self, seconds):
        """Each piece waits this long, in each direction."""
        self._delay = seconds

    def throttle(self, rate):
        """Each direction of each connection passes so many bytes a second, in small pieces."""
        self._rate = rate

    def blackhole(self, *ways):
        """Nothing passes ("up", "down"; both when none is named) and nobody is told."""
        with self.changed:
            self._held = set(ways or ("up", "down"))
            self.changed.notify_all()

    def heal(self):
        """Everything passes again; what was held back arrives now."""
        with self.changed:
            self._held, self._limits, self._delay, self._rate, self._mode = set(), {}, 0.0, None, "pass"
            for link in self.links:
                link.ends_at = {}
            self.changed.notify_all()
        if self._listener is None:
            self._listen()

    def cut_after(self, size, way="down"):
        """Each connection ends after this many bytes of that direction; a pair: drawn between these for each connection,
        and counted from now on. Where that is in the middle of a frame, so be it."""
        self._limits[way] = size

    def accept_and_close(self):
        self._mode = "accept_and_close"
        self.cut()

    def cut(self, reset=False):
        """End all connections; new ones are accepted."""
        with self.changed:
            links = list(self.links)
        for link in links:
            link.end(reset)

    def refuse(self):
        """As if nobody listened: connections end, new ones are refused."""
        listener, self._listener = self._listener, None
        if listener:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.cut(reset=True)

    def close(self):
        self.refuse()


class NatsProxy(Proxy):
    """`hooks`: functions (way, frame) that return the frame, another frame, or None to drop it."""

    def __init__(self, target_port, **options):
        self.hooks = []
        super().__init__(target_port, **options)

    def pieces(self, link, way, reader):
        while True:
            frame = read_frame(reader)
            if frame is None:
                return
            for hook in list(self.hooks):
                frame = hook(way, frame)
                if frame is None:
                    break
            if frame is not None:
                yield frame.raw

    def on_request(self, matches, act, count=1):
        """For the first `count` messages towards the server that match: act(frame) says what passes (None: nothing)."""
        return self._add(Rule(self, matches, act, None, count))

    def on_answer(self, matches, act=None, count=1):
        """For the answers to the first `count` matching requests: act(frame) says what passes; without it they are
        swallowed."""
        return self._add(Rule(self, matches, None, act or (lambda frame: None), count))

    def _add(self, rule):
        self.hooks.append(rule)
        return rule


class Rule:
    """Applies to a number of requests, or to their answers. `seen` counts what it was applied to."""

    def __init__(self, proxy, matches, on_request, on_answer, count):
        self.proxy, self.matches, self.request, self.answer = proxy, matches, on_request, on_answer
        self.left, self.seen = count, 0
        self._inboxes = set()
        self._lock = threading.Lock()

    def __call__(self, way, frame):
        if way == "up" and frame.verb in ("PUB", "HPUB"):
            with self._lock:
                if self.left == 0 or not self.matches(frame):
                    return frame
                self.left -= 1
                if self.answer:
                    self._inboxes.add(frame.reply)
                    return frame
                self.seen += 1
            return self.request(frame)
        if way == "down" and self.answer and frame.verb in ("MSG", "HMSG"):
            with self._lock:
                if frame.subject not in self._inboxes:
                    return frame
                self._inboxes.discard(frame.subject)
                self.seen += 1
            return self.answer(frame)
        return frame

    def remove(self):
        if self in self.proxy.hooks:
            self.proxy.hooks.remove(self)


def is_verdict(verdict):
    """Matches the settling of a message: "+ACK", "-NAK", "+TERM", "+WPI"."""
    return lambda frame: frame.subject.startswith("$JS.ACK.") and frame.body.startswith(verdict.encode())


def is_publish(subject):
    return lambda frame: frame.subject == subject
