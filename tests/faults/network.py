# SPDX-License-Identifier: Apache-2.0
"""Networks that are slow, that break and that swallow, between the worker and its servers."""
import random
import time

from books import ACK_WAIT, RECOVERED_S, PayOnce, assert_clean, percentile, progress, publish_many, start_beside, verdict
from lib.netns import Netns
from lib.proxy import Proxy
from lib.servers import LlmSim, store_of
from stage import Stage, check, in_time, wait_for

# A fault is made for a while: breakers are to try again at once. Deliveries count as they do by default: no dead letter may come of it.
SETTINGS = {"SLUICE_PUBLISH_BREAKER_RESET": 0.5, "MONGODB_BREAKER_RESET": 0.5, "LLM_BREAKER_RESET": 0.5,
            "NATS_RECONNECT_TIME_WAIT": 0.2, "NATS_CONNECT_TIMEOUT": 2, "SLUICE_PUBLISH_TIMEOUT": 2, "LLM_TIMEOUT": 5,
            "MONGODB_TIMEOUT": 10, "SLUICE_LOG_LEVEL": "warn"}  # FerretDB takes seconds on a busy machine


# ---- slow links

def slow(proxy, peer):
    proxy.delay(0.03)


def narrow(proxy, peer):
    proxy.throttle(60000)


# After how many bytes a connection is cut: less than the peer's part of the smallest campaign.
CUTS = {"nats": (3000, 15000), "llm": (200, 3000), "store": (20, 300)}


def cut(proxy, peer):
    for way in ("up", "down"):
        proxy.cut_after(CUTS[peer], way)


def link_ports(s, a):
    """A proxy before each server that this store has, and the settings that lead there."""
    proxies = {"nats": s.nats_proxy(Proxy), "llm": s.llm_proxy()}
    if s.store_kind == "mongodb":
        proxies["store"] = s.mongo_proxy()
    for proxy in proxies.values():
        proxy.random = random.Random(a.seed)
    return proxies, s.through(**proxies)


def slow_links(s, a):
    """Each link in turn slow, narrow, and cut wherever a frame happens to be, under load."""
    count, enough = (30, 6) if a.quick else (100, 20)
    rounds = 1 if a.quick else 2
    proxies, through = link_ports(s, a)
    s.llm_http("/control", {"latency-ms": 5})
    s.start_worker(SLUICE_ACK_WAIT=ACK_WAIT, **SETTINGS, **through)
    s.ready()
    total, seconds, cuts, paid = 0, {}, {}, PayOnce(s, has_sum=False)
    for peer, proxy in list(proxies.items()) * rounds:
        for fault in (slow, narrow, cut):
            calls, cut_before, name = s.llm_http("/ledger")["calls"], proxy.cuts, f"{peer} {fault.__name__}"
            fault(proxy, peer)
            paid.note()
            start = time.monotonic()
            publish_many(s, total + 1, count)
            total += count
            if fault is cut:
                wait_for(f"{enough} cuts of {peer}", lambda: proxy.cuts - cut_before >= enough or s.all_done(), 120)
                paid.note()
                proxy.heal()
            wait_for(f"all done in spite of: {name}", s.all_done, 240)
            proxy.heal()
            seconds[name] = max(seconds.get(name, 0), round(time.monotonic() - start, 2))
            cuts[peer] = cuts.get(peer, 0) + proxy.cuts - cut_before
            made = s.llm_http("/ledger")["calls"] - calls
            # An answer that was cut is asked for again; what fails behind a journaled answer is not.
            if peer != "nats":
                limit = count + (proxy.cuts - cut_before if peer == "llm" else 0)
                check(made <= limit, f"{name}: {made} calls, at most {limit} expected")
            progress(f"slow_links: {name}, {total} messages, {sum(cuts.values())} cuts")
    v = verdict(s, total)
    v.update(slowest_s=seconds, links_cut=cuts, **paid.figures(total))
    if "store" not in proxies:
        v["not_made"] = "the store's link: SQLite has none"
    assert_clean(v)
    check(all(cuts.values()), f"a link was never cut: {cuts}")
    return v


# ---- partitions

class PartitionStage(Stage):
    """Each server on an address of its own, the worker in a network namespace; skipped where that cannot be had."""

    def start_nats(self):
        self.net = self.part(Netns())
        self.peers = {"nats": self.net.address(1), "llm": self.net.address(2)}
        return super().start_nats(host=self.peers["nats"])

    def start_llm(self, *flags):
        self.llm = self.part(LlmSim(self.folder, *flags, host=self.peers["llm"])).start().wait_ready()
        return self.llm

    def make_store(self):
        self.store = self.part(store_of(self.store_kind, self.folder, self.net.address(3)))
        if self.store_kind == "mongodb":
            self.store.own_server()  # or skipped: nothing in the namespace leads to another one
            self.peers["store"] = self.net.address(3)
        return self.store


def vanishing(s, peer):
    s.net.vanish(peer)


def requests_vanishing(s, peer):
    s.net.vanish(peer, back=False)


def answers_vanishing(s, peer):
    s.net.vanish(peer, to=False)


def unreachable(s, peer):
    s.net.unreachable(peer)


SHORT, LONG, VERY_LONG = ACK_WAIT / 2, ACK_WAIT + 0.5, 15
# (peer, fault, seconds), in turn.
QUICK_PARTITIONS = (("nats", vanishing, SHORT), ("llm", vanishing, SHORT), ("store", vanishing, SHORT))
PARTITIONS = tuple((peer, vanishing, seconds) for peer in ("nats", "llm", "store", "all") for seconds in (SHORT, LONG, VERY_LONG)) + (
    ("nats", requests_vanishing, LONG), ("nats", answers_vanishing, SHORT), ("nats", answers_vanishing, LONG),
    ("llm", answers_vanishing, LONG), ("store", answers_vanishing, LONG)) + tuple(
    (peer, unreachable, LONG) for peer in ("nats", "llm", "store", "all"))


def pass_time(seconds):
    end = time.monotonic() + seconds
    wait_for(f"{seconds} s", lambda: time.monotonic() > end, seconds + 60)


def wait_in_flight(s, total):
    """Half of the messages have asked the LLM: the others are on their way, wherever they are."""
    calls = s.llm_http("/ledger")["calls"]
    publish_many(s, total + 1, 30)
    wait_for("messages in flight", lambda: s.llm_http("/ledger")["calls"] >= calls + 15)


def partitioned(s, paid, total, peer, fault, seconds):
    """30 messages before, 10 within; how long from the healing until all of them are done."""
    addresses = list(s.peers.values()) if peer == "all" else [s.peers[peer]]
    wait_in_flight(s, total)
    for address in addresses:
        fault(s, address)
    paid.note()
    publish_many(s, total + 31, 10)
    pass_time(seconds)
    paid.note()
    s.net.heal()
    start = time.monotonic()
    wait_for(f"all done after {peer} {fault.__name__} for {seconds} s", s.all_done, 90)
    return time.monotonic() - start


def taken_over(s, paid, total):
    """A second worker, outside, finishes what the cut off one holds; the first comes back and does the next ones."""
    wait_in_flight(s, total)
    for address in s.peers.values():
        s.net.vanish(address)
    paid.note()
    other = start_beside(s)
    wait_for("the other worker has finished everything", s.all_done, 60)
    other.kill()
    paid.note()
    s.net.heal()
    publish_many(s, total + 31, 10)
    start = time.monotonic()
    wait_for("the first worker pulls again", s.all_done, 90)
    return time.monotonic() - start


def lossy(s, paid, total):
    """A tenth of the packets to and from NATS is lost, in the middle of the work."""
    if not s.net.lose(s.peers["nats"], 10):
        return None
    paid.note()
    start = time.monotonic()
    publish_many(s, total + 1, 40)
    wait_for("all done in spite of lost packets", s.all_done, 120)
    s.net.heal()
    return time.monotonic() - start


def partition(s, a):
    """Packets between the worker and one server, or all, vanish for less and for more than the lease; then they pass."""
    rounds = 1 if a.quick else 2
    s.llm_http("/control", {"latency-ms": 100})
    inside = dict(SETTINGS, SLUICE_MAX_IN_FLIGHT=20, LLM_TIMEOUT=2)
    start_beside(s, s.net.worker_address, inside=s.net.inside(), **inside)
    total, times, not_made, paid = 0, {}, [], PayOnce(s, has_sum=False)
    for _ in range(rounds):
        for peer, fault, seconds in QUICK_PARTITIONS if a.quick else PARTITIONS:
            name = f"{peer} {fault.__name__} {seconds:g} s"
            if peer != "all" and peer not in s.peers:
                not_made = ["the store's network: SQLite has none"]
                continue
            times.setdefault(name, []).append(partitioned(s, paid, total, peer, fault, seconds))
            total += 40
            progress(f"partition: {name}, {total} messages, done {times[name][-1]:.2f} s after it")
        times.setdefault("taken over", []).append(taken_over(s, paid, total))
        total += 40
        if not a.quick:
            passed = lossy(s, paid, total)
            if passed is None:
                not_made.append("lost packets: neither nft nor the right to use it")
            else:
                times.setdefault("lossy, from first to last", []).append(passed)
                total += 40
    v = verdict(s, total)
    healed = [one for name, some in times.items() if not name.startswith("lossy") for one in some]
    v.update(partitions=sum(map(len, times.values())), recovered_p50_s=round(percentile(healed, 50), 2),
             recovered_max_s=round(max(healed), 2), recovered_s={name: round(max(some), 2) for name, some in times.items()},
             **paid.figures(total))
    if not_made:
        v["not_made"] = not_made
    assert_clean(v)
    in_time(v["recovered_max_s"], RECOVERED_S, str(v))
    return v


partition.stage = PartitionStage
