# SPDX-License-Identifier: Apache-2.0
"""Kills at the labelled steps of the end-to-end cases, again and again, with any number of messages in flight."""
import random

from books import ACK_WAIT, Kills, assert_clean, progress, publish_many, verdict
from fault_cases import BURIAL_POINTS, KILL_POINTS, HeldStore, store_unconfirmed
from stage import check, wait_for


# FerretDB takes seconds for a large group, and longer the more documents there are; that is not what is tried here.
SETTINGS = {"SLUICE_ACK_WAIT": ACK_WAIT, "SLUICE_LOG_LEVEL": "warn", "MONGODB_TIMEOUT": 10,
            "MONGODB_BREAKER_RESET": 0.5, "SLUICE_MAX_IN_FLIGHT": 64, "SLUICE_ON_REJECT": "dead-letter"}


def points_of(s):
    points = [point for point, _ in KILL_POINTS] + BURIAL_POINTS
    return [point for point in points if point is not store_unconfirmed or s.store_kind == "mongodb"]


def wait_all_done(s, total, seconds=300):
    wait_for("no request is left", s.all_done, seconds)


def killed_once(s, noted, point, proxy, store, first, count, rejected, **through):
    """Kill a worker as soon as a message has reached the step, the rest being wherever they are."""
    if point is store_unconfirmed:
        through |= s.through(store=store)
    is_reached = point(s, proxy)
    publish_many(s, first, count, rejected)
    noted.started()
    worker = s.start_worker(**SETTINGS, **through)
    wait_for(f"{point.__name__}, {first - 1} messages so far", is_reached, 60)
    worker.kill()
    noted.note()
    proxy.hooks.clear()
    if store:
        store.heal()
    s.llm_http("/control", {"latency-ms": 5})


def labelled_kills(s, a):
    """kill -9 at each labelled step in turn; what the killed ones held is redelivered among the next ones' messages."""
    loops = a.kills or (1 if a.quick else 25 if s.store_kind == "sqlite" else 4)
    rng = random.Random(a.seed)
    points = points_of(s)
    proxy = s.nats_proxy()
    store = s.mongo_proxy(HeldStore) if store_unconfirmed in points else None
    through = s.through(proxy)
    s.make_streams()
    total, rejected, noted, kills = 0, set(), Kills(s), dict.fromkeys((point.__name__ for point in points), 0)
    for n in range(loops):
        rng.shuffle(points)
        for point in points:
            if point is store_unconfirmed:  # needs a new document first of all
                s.start_worker(**SETTINGS)
                wait_all_done(s, total)
                s.workers[-1].kill()
            count = rng.randint(2, 40)
            rejected.update(rng.sample(range(total + 1, total + count + 1), rng.randint(1, (count + 3) // 4)))
            killed_once(s, noted, point, proxy, store, total + 1, count, rejected, **through)
            total += count
            kills[point.__name__] += 1
            progress(f"labelled_kills: round {n + 1}/{loops}, {point.__name__}, {total} messages")
    s.start_worker(**SETTINGS)
    s.ready()
    wait_all_done(s, total)
    check(s.workers[-1].stop() == 0, "a worker that nobody killed did not end cleanly")
    v = verdict(s, total, rejected)
    assert_clean(v)
    v.update(noted.figures(total - len(rejected)), kills_at=kills)
    return v
