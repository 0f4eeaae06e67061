# SPDX-License-Identifier: Apache-2.0
"""A small synchronous NATS client: the tests' own eyes on the server. Shares no code with the product.

One reader thread per connection. A lost connection is made anew by the next call, subscriptions included.
"""
import base64
import collections
import json
import os
import queue
import socket
import threading
import time

Message = collections.namedtuple("Message", "subject reply headers data status")
Stored = collections.namedtuple("Stored", "seq subject headers data time")


class NatsError(Exception):
    pass


class NoResponders(NatsError):
    pass


class Timeout(NatsError):
    pass


class ApiError(NatsError):
    """The answer of the JetStream API is an error. `code` as HTTP has them, `err_code` as the server's list."""

    def __init__(self, subject, error):
        super().__init__("%s: %s" % (subject, error.get("description")))
        self.code = error.get("code")
        self.err_code = error.get("err_code")


def headers_encode(headers):
    lines = ["NATS/1.0"]
    for name, values in (headers or {}).items():
        for value in values if isinstance(values, (list, tuple)) else [values]:
            lines.append("%s: %s" % (name, value))
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def headers_decode(raw):
    """Returns (status, headers); a header that occurs several times is a list."""
    lines = raw.decode("utf-8", "replace").split("\r\n")
    status = lines[0][len("NATS/1.0"):].strip()
    headers = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon:
            continue
        value = value.strip()
        if name in headers:
            old = headers[name]
            headers[name] = (old if isinstance(old, list) else [old]) + [value]
        else:
            headers[name] = value
    return status, headers


class Subscription:
    def __init__(self, client, sid, subject):
        self.client, self.sid, self.subject = client, sid, subject
        self.queue = queue.Queue()

    def next(self, timeout=5.0):
        try:
            return self.queue.get(timeout=timeout)
        except queue.Empty:
            raise Timeout("no message on %s within %.1f s" % (self.subject, timeout)) from None

    def close(self):
        self.client._unsubscribe(self)


class Nats:
    def __init__(self, url, user=None, password=None, token=None, name="test", timeout=5.0, login=None):
        """`login`: of what the server says of itself, further options; by JWT, say."""
        self.host, _, port = url.split("//")[-1].split("@")[-1].partition(":")
        self.port = int(port or 4222)
        self.options = {"verbose": False, "pedantic": False, "headers": True, "no_responders": True, "lang": "python",
                        "version": "1", "name": name, "protocol": 1}
        for key, value in (("user", user), ("pass", password), ("auth_token", token)):
            if value is not None:
                self.options[key] = value
        self.timeout, self.login = timeout, login or (lambda info: {})
        self.info = None
        self._lock = threading.RLock()
        self._socket = None
        self._subscriptions = {}
        self._sid = 0
        self._pongs = queue.Queue()
        self._inbox = "_INBOX.t" + os.urandom(8).hex()
        self._replies = {}
        self._requests = 0
        self._last_error = ""
        self._connect(timeout)
        self._subscribe(self._inbox + ".*", self._on_reply)

    # ---- connection

    def _connect(self, timeout):
        sock = socket.create_connection((self.host, self.port), timeout)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            reader = sock.makefile("rb")
            line = reader.readline()
            if not line.startswith(b"INFO "):
                raise NatsError("expected INFO, got %r" % line[:80])
            self.info = json.loads(line[5:])
            lines = b"CONNECT " + json.dumps(dict(self.options, **self.login(self.info))).encode() + b"\r\n"
            for subscription in self._subscriptions.values():
                lines += b"SUB %s %d\r\n" % (subscription[0].encode(), subscription[2])
            sock.sendall(lines + b"PING\r\n")
            while True:
                line = reader.readline().strip()
                if line == b"PONG":
                    break
                if line.startswith(b"-ERR") or not line:
                    raise NatsError("connect: %s" % (line.decode() or "connection closed"))
            sock.settimeout(None)
        except (NatsError, OSError, ValueError):
            sock.close()
            raise
        self._pongs = queue.Queue()
        self._socket = sock
        threading.Thread(target=self._read, args=(sock, reader, self._pongs), daemon=True).start()

    def _read(self, sock, reader, pongs):
        try:
            while True:
                line = reader.readline()
                if not line:
                    break
                verb, _, rest = line.strip().partition(b" ")
                if verb in (b"MSG", b"HMSG"):
                    self._dispatch(verb, rest.split(), reader)
                elif verb == b"PING":
                    with self._lock:  # never inside another thread's message
                        sock.sendall(b"PONG\r\n")
                elif verb == b"PONG":
                    pongs.put(True)
                elif verb == b"INFO":
                    self.info = json.loads(rest)
                elif verb == b"-ERR":
                    self._last_error = rest.decode()
        except (OSError, ValueError):
            pass
        with self._lock:
            if self._socket is sock:
                self._socket = None
        pongs.put(False)
        try:
            sock.close()
        except OSError:
            pass

    def _dispatch(self, verb, words, reader):
        subject, sid = words[0].decode(), int(words[1])
        total = int(words[-1])
        head = int(words[-2]) if verb == b"HMSG" else 0
        reply = words[2].decode() if len(words) == (4 if verb == b"MSG" else 5) else None
        body = reader.read(total + 2)
        if len(body) < total + 2:
            raise OSError("cut in a message")
        status, headers = headers_decode(body[:head]) if head else ("", {})
        with self._lock:
            subscription = self._subscriptions.get(sid)
        if subscription:
            subscription[1](Message(subject, reply, headers, body[head:total], status))

    def _send(self, data):
        with self._lock:
            if self._socket is None:
                self._connect(self.timeout)
            try:
                self._socket.sendall(data)
            except OSError:
                self._socket = None
                raise

    def close(self):
        with self._lock:
            sock, self._socket = self._socket, None
        if sock:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()

    # ---- core NATS

    def _subscribe(self, subject, callback):
        with self._lock:
            self._sid += 1
            sid = self._sid
            self._subscriptions[sid] = (subject, callback, sid)
        self._send(b"SUB %s %d\r\n" % (subject.encode(), sid))
        return sid

    def _unsubscribe(self, subscription):
        with self._lock:
            self._subscriptions.pop(subscription.sid, None)
        self._send(b"UNSUB %d\r\n" % subscription.sid)

    def subscribe(self, subject, callback=None):
        """Messages wait in the subscription's queue, or go to `callback` on the reader's thread."""
        subscription = Subscription(self, 0, subject)
        subscription.sid = self._subscribe(subject, callback or subscription.queue.put)
        return subscription

    def publish(self, subject, data=b"", headers=None, reply=None):
        data = data.encode() if isinstance(data, str) else data
        words = subject + (" " + reply if reply else "")
        if headers:
            head = headers_encode(headers)
            line = "HPUB %s %d %d\r\n" % (words, len(head), len(head) + len(data))
            self._send(line.encode() + head + data + b"\r\n")
        else:
            self._send(("PUB %s %d\r\n" % (words, len(data))).encode() + data + b"\r\n")

    def flush(self, timeout=None):
        pongs = self._pongs
        self._send(b"PING\r\n")
        try:
            if not pongs.get(timeout=timeout or self.timeout):
                raise NatsError("connection lost: " + self._last_error)
        except queue.Empty:
            raise Timeout("no PONG") from None

    def _on_reply(self, message):
        with self._lock:
            waiting = self._replies.pop(message.subject, None)
        if waiting is not None:
            waiting.put(message)

    def start_request(self, subject, data=b"", headers=None):
        """Send a request; the result's get(timeout) is its answer. Many may run at once."""
        with self._lock:
            self._requests += 1
            reply = "%s.%d" % (self._inbox, self._requests)
            waiting = self._replies[reply] = queue.Queue()
        self.publish(subject, data, headers, reply)
        return waiting

    def finish_request(self, waiting, subject, timeout=None):
        try:
            message = waiting.get(timeout=timeout or self.timeout)
        except queue.Empty:
            raise Timeout("no answer to a request on %s%s" % (subject, self._last_error and " (%s)" % self._last_error)) \
                from None
        if message.status.startswith("503"):
            raise NoResponders(subject)
        return message

    def request(self, subject, data=b"", headers=None, timeout=None):
        return self.finish_request(self.start_request(subject, data, headers), subject, timeout)

    # ---- JetStream

    def api(self, subject, body=None, timeout=None):
        """One call of the JetStream API; the answer as a dict, errors raised."""
        message = self.request("$JS.API." + subject, json.dumps(body) if body is not None else b"", timeout=timeout)
        answer = json.loads(message.data)
        if "error" in answer:
            raise ApiError(subject, answer["error"])
        return answer

    def is_jetstream_up(self):
        try:
            self.api("INFO", timeout=1)
            return True
        except (NatsError, OSError):
            return False

    def stream_create(self, name, subjects, **config):
        settings = {"name": name, "subjects": subjects, "retention": "limits", "storage": "file", "num_replicas": 1,
                    "duplicate_window": 600 * 10**9, "discard": "new" if config.get("max_bytes") else "old"}
        settings.update(config)
        return self.api("STREAM.CREATE." + name, settings)

    def stream_update(self, name, **changes):
        config = self.api("STREAM.INFO." + name)["config"]
        config.update(changes)
        return self.api("STREAM.UPDATE." + name, config)

    def stream_delete(self, name):
        return self.api("STREAM.DELETE." + name)

    def stream_purge(self, name):
        return self.api("STREAM.PURGE." + name)["purged"]

    def stream_info(self, name):
        return self.api("STREAM.INFO." + name)

    def stream_state(self, name):
        return self.stream_info(name)["state"]

    def count(self, name):
        """Messages in a stream."""
        return self.stream_state(name)["messages"]

    def stream_exists(self, name):
        try:
            self.stream_info(name)
            return True
        except ApiError as error:
            if error.code == 404:
                return False
            raise

    def consumer_create(self, stream, name, **config):
        settings = {"durable_name": name, "ack_policy": "explicit", "deliver_policy": "all", "replay_policy": "instant",
                    "ack_wait": 30 * 10**9, "max_deliver": -1, "max_ack_pending": 1000}
        settings.update(config)
        return self.api("CONSUMER.DURABLE.CREATE.%s.%s" % (stream, name), {"stream_name": stream, "config": settings})

    def consumer_update(self, stream, name, **changes):
        config = self.consumer_info(stream, name)["config"]
        config.update(changes)
        return self.api("CONSUMER.DURABLE.CREATE.%s.%s" % (stream, name), {"stream_name": stream, "config": config})

    def consumer_delete(self, stream, name):
        return self.api("CONSUMER.DELETE.%s.%s" % (stream, name))

    def consumer_info(self, stream, name):
        return self.api("CONSUMER.INFO.%s.%s" % (stream, name))

    def consumer_names(self, stream):
        return self.api("CONSUMER.NAMES." + stream).get("consumers") or []

    def js_publish(self, subject, data=b"", headers=None, msg_id=None, timeout=None):
        """Publish into a stream; returns the PubAck."""
        headers = dict(headers or {})
        if msg_id:
            headers["Nats-Msg-Id"] = msg_id
        answer = json.loads(self.request(subject, data, headers, timeout).data)
        if "error" in answer:
            raise ApiError(subject, answer["error"])
        return answer

    def js_publish_surely(self, subject, data, headers=None, msg_id=None, deadline=60.0):
        """Publish under one message id until a PubAck is there, through server restarts; never twice in the stream."""
        msg_id = msg_id or "test-" + os.urandom(8).hex()
        end = time.monotonic() + deadline
        while True:
            try:
                return self.js_publish(subject, data, headers, msg_id, timeout=2)
            except (NatsError, OSError):
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)

    def message(self, stream, seq):
        """One message of a stream, None when it is gone."""
        try:
            return self._stored(self.api("STREAM.MSG.GET." + stream, {"seq": seq}))
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    @staticmethod
    def _stored(answer):
        message = answer["message"]
        _, headers = headers_decode(base64.b64decode(message["hdrs"])) if message.get("hdrs") else ("", {})
        return Stored(message["seq"], message["subject"], headers, base64.b64decode(message.get("data") or b""),
                      message["time"])

    def messages(self, stream):
        """All messages of a stream in order."""
        state = self.stream_state(stream)
        found = []
        seqs = range(max(1, state["first_seq"]), state["last_seq"] + 1) if state["messages"] else []
        subject = "STREAM.MSG.GET." + stream
        for start in range(0, len(seqs), 200):
            waiting = [self.start_request("$JS.API." + subject, json.dumps({"seq": seq}))
                       for seq in seqs[start:start + 200]]
            for one in waiting:
                answer = json.loads(self.finish_request(one, subject).data)
                if "error" not in answer:
                    found.append(self._stored(answer))
                elif answer["error"]["code"] != 404:
                    raise ApiError(subject, answer["error"])
        return found

    def pull(self, stream, consumer, batch=1, expires=2.0):
        """Messages of one pull request, as Message with a reply subject to settle on."""
        inbox = self.subscribe("_INBOX.p" + os.urandom(8).hex())
        body = {"batch": batch, "expires": int(expires * 1e9)}
        self.publish("$JS.API.CONSUMER.MSG.NEXT.%s.%s" % (stream, consumer), json.dumps(body), reply=inbox.subject)
        found = []
        end = time.monotonic() + expires + 1
        try:
            while len(found) < batch and time.monotonic() < end:
                message = inbox.next(max(0.01, end - time.monotonic()))
                if message.status:
                    break
                found.append(message)
        except Timeout:
            pass
        finally:
            inbox.close()
        return found

    def settle(self, message, verdict="+ACK", timeout=None):
        """Send a verdict and wait until the server has seen it."""
        return self.request(message.reply, verdict, timeout=timeout)

    # ---- key-value

    def kv_create(self, bucket, **config):
        settings = {"max_msgs_per_subject": 1, "discard": "new", "allow_rollup_hdrs": True, "deny_delete": True,
                    "duplicate_window": 120 * 10**9}
        settings.update(config)
        return self.stream_create("KV_" + bucket, ["$KV.%s.>" % bucket], **settings)

    def kv_put(self, bucket, key, value):
        return self.js_publish("$KV.%s.%s" % (bucket, key), value)["seq"]

    def kv_get(self, bucket, key):
        try:
            answer = self.api("STREAM.MSG.GET.KV_" + bucket, {"last_by_subj": "$KV.%s.%s" % (bucket, key)})
        except ApiError as error:
            if error.code == 404:
                return None
            raise
        stored = self._stored(answer)
        return None if "KV-Operation" in stored.headers else stored.data

    def kv_keys(self, bucket):
        prefix = len("$KV.%s." % bucket)
        latest = {}
        for stored in self.messages("KV_" + bucket):
            latest[stored.subject[prefix:]] = "KV-Operation" not in stored.headers
        return sorted(key for key, present in latest.items() if present)
