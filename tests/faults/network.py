# SPDX-License-Identifier: Apache-2.0
"""Networks that are slow, that break and that swallow, between the worker and its servers."""
import random
import time

from books import ACK_WAIT, assert_clean, progress, publish_many, verdict
from lib.proxy import Proxy
from stage import check, wait_for

# A fault is made for a while: breakers are to try again at once, and no failure is to end in a dead letter.
SETTINGS = {"SLUICE_MAX_DELIVER": 0, "SLUICE_PUBLISH_BREAKER_RESET": 0.5, "MONGODB_BREAKER_RESET": 0.5, "LLM_BREAKER_RESET": 0.5,
            "NATS_RECONNECT_TIME_WAIT": 0.2, "NATS_CONNECT_TIMEOUT": 2, "SLUICE_PUBLISH_TIMEOUT": 2, "LLM_TIMEOUT": 5,
            "SLUICE_LOG_LEVEL": "warn"}


def all_done(s):
    return s.left() == 0 and s.pending() == 0


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
    proxies = {"nats": s.nats_proxy(Proxy), "llm": s.part(Proxy(s.llm.port))}
    through = {"NATS_URL": f"nats://127.0.0.1:{proxies['nats'].port}", "LLM_BASE_URL": f"http://127.0.0.1:{proxies['llm'].port}/v1"}
    if s.store_kind == "mongodb":
        proxies["store"] = s.mongo_proxy(Proxy)
        through["MONGODB_URI"] = s.store.server.uri(proxies["store"].port)
    for proxy in proxies.values():
        proxy.random = random.Random(a.seed)
    return proxies, through


def slow_links(s, a):
    """Each link in turn slow, narrow, and cut wherever a frame happens to be, under load."""
    count, enough = (30, 6) if a.quick else (300, 60)
    rounds = 1 if a.quick else 4
    proxies, through = link_ports(s, a)
    s.llm_http("/control", {"latency-ms": 5})
    s.start_worker(SLUICE_ACK_WAIT=ACK_WAIT, **SETTINGS, **through)
    s.ready()
    total, seconds, cuts, again = 0, {}, {}, 0
    for peer, proxy in list(proxies.items()) * rounds:
        for fault in (slow, narrow, cut):
            calls, cut_before, name = s.llm_http("/ledger")["calls"], proxy.cuts, f"{peer} {fault.__name__}"
            fault(proxy, peer)
            start = time.monotonic()
            publish_many(s, total + 1, count)
            total += count
            if fault is cut:
                wait_for(f"{enough} cuts of {peer}", lambda: proxy.cuts - cut_before >= enough or all_done(s), 120)
                proxy.heal()
            wait_for(f"all done in spite of: {name}", lambda: all_done(s), 240)
            proxy.heal()
            seconds[name] = max(seconds.get(name, 0), round(time.monotonic() - start, 2))
            cuts[peer] = cuts.get(peer, 0) + proxy.cuts - cut_before
            made = s.llm_http("/ledger")["calls"] - calls
            again += made - count
            # An answer that was cut is asked for again; what fails behind a journaled answer is not.
            if peer != "nats":
                limit = count + (proxy.cuts - cut_before if peer == "llm" else 0)
                check(made <= limit, f"{name}: {made} calls, at most {limit} expected")
            progress(f"slow_links: {name}, {total} messages, {sum(cuts.values())} cuts")
    v = verdict(s, total)
    v.update(slowest_s=seconds, links_cut=cuts, llm_calls_again=again)
    if "store" not in proxies:
        v["not_made"] = "the store's link: SQLite has none"
    assert_clean(v)
    check(all(cuts.values()), f"a link was never cut: {cuts}")
    return v
