# SPDX-License-Identifier: Apache-2.0
"""Links that carry everything, but badly: byte by byte, late, or in a crowd."""
import os, queue, resource, socket, threading, time
from lib.proxy import Proxy
from lib.servers import Skip
from stage import cases_of, check, wait_for

CROWD = 1000


class ByteWise(Proxy):
    """Each byte is a packet of its own, once it is on."""
    is_on = False

    def pieces(self, link, way, reader):
        for data in super().pieces(link, way, reader):
            size = 1 if self.is_on else len(data)
            yield from (data[at:at + size] for at in range(0, len(data), size))


class Late(Proxy):
    """What comes waits for `lag` seconds and holds nothing up that comes behind it."""
    lag = 0.0

    def pieces(self, link, way, reader):
        waiting = queue.Queue()

        def read():
            try:
                for data in super(Late, self).pieces(link, way, reader):
                    waiting.put((time.monotonic() + self.lag, data))
            except (OSError, ValueError):
                pass
            waiting.put((0, b""))
        threading.Thread(target=read, daemon=True).start()
        while True:
            due, data = waiting.get()
            if not data:
                return
            time.sleep(max(0, due - time.monotonic()))
            yield data


def links_may_carry_one_byte_at_a_time(s):
    """To NATS only when connected: in a greeting, cnats 3.4.1 misses the end of a line whose CR and LF come apart."""
    nats, llm = s.nats_proxy(ByteWise), s.llm_proxy(ByteWise)
    llm.is_on = True
    through = s.through(nats, llm)
    if s.store_kind == "mongodb":
        store = s.mongo_proxy(ByteWise)
        store.is_on = True
        through |= s.through(store=store)
    s.start_worker(SLUICE_ACK_WAIT=20, **through)
    s.ready()
    nats.is_on = True
    connections = nats.accepted
    s.send(3)
    s.expect_done(3)
    wait_for("nothing is pending", lambda: s.pending() == 0)
    check(s.consumer()["delivered"]["consumer_seq"] == 3, f"delivered again: {s.consumer()['delivered']}")
    check(s.llm_http("/ledger")["calls"] == 3 and nats.accepted == connections, "asked or connected again")


def answers_that_take_six_seconds_cost_nothing_twice(s):
    """Three seconds each way, longer than the worker waits until it repeats an ACK."""
    proxy = s.nats_proxy(Late)
    s.start_worker(SLUICE_ACK_WAIT=30, **s.through(proxy))
    s.ready()
    connections = proxy.accepted
    proxy.lag = 3.0
    s.send(3)
    s.expect_done(3)
    wait_for("nothing is pending", lambda: s.pending() == 0)
    wait_for("the worker knows", lambda: 'sluice_messages_total{outcome="acked"} 3\n' in s.probe("/metrics")[1])
    check(s.consumer()["delivered"]["consumer_seq"] == 3, f"delivered again: {s.consumer()['delivered']}")
    check(s.llm_http("/ledger")["calls"] == 3 and proxy.accepted == connections, "asked or connected again")
    check(s.probe("/readyz")[0] == 200, s.probe("/readyz")[1])


def a_thousand_connections_to_the_probe_hold_nobody_up(s):
    """Each begins a request and stays."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < 2 * CROWD:
        raise Skip(f"only {hard} descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (2 * CROWD, hard))
    w = s.start_worker()
    s.ready()
    s.send(5)
    s.expect_done(5)  # its connections are made
    descriptors = lambda: len(os.listdir(f"/proc/{w.pid}/fd"))
    before = descriptors()
    crowd = []
    try:
        for _ in range(CROWD):
            client = socket.socket()
            crowd.append(client)
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", s.probe_port))
        for client in crowd:
            try:
                client.send(b"GET /livez HTTP/1.1\r\n")
            except OSError:
                pass  # not connected yet, or shut already
        s.send(5, first=6)
        s.expect_done(10)
        wait_for("the probe answers in the crowd", lambda: s.probe("/livez")[0] == s.probe("/readyz")[0] == 200)
        check(descriptors() < before + 64, f"{descriptors()} descriptors, {before} before")
    finally:
        for client in crowd:
            client.close()
    wait_for("all of them are gone", lambda: descriptors() <= before + 4)
    check(w.stop() == 0, f"exit {w.code}, expected 0")


answers_that_take_six_seconds_cost_nothing_twice.once = "the NATS server's link"
answers_that_take_six_seconds_cost_nothing_twice.long = 20
a_thousand_connections_to_the_probe_hold_nobody_up.once = "the probe asks no store"
CASES = cases_of(globals())
