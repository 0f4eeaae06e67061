# SPDX-License-Identifier: Apache-2.0
"""What the worker needs is away for a while: LLM, output stream, MongoDB, room on the disk."""
import os
import subprocess
import time

from books import ACK_WAIT, RECOVERED_S, PayOnce, assert_clean, progress, verdict
from growth import Growth
from lib.proxy import is_verdict
from lib.servers import Skip
from stage import Stage, check, in_time, wait_for

SETTINGS = {"SLUICE_ACK_WAIT": 5, "SLUICE_NAK_DELAY": 1, "SLUICE_NAK_DELAY_MAX": 10, "LLM_TIMEOUT": 4, "LLM_BREAKER_RESET": 5,
            "MONGODB_BREAKER_RESET": 5, "SLUICE_PUBLISH_BREAKER_RESET": 5, "SLUICE_PUBLISH_TIMEOUT": 2}
LLM_SETTINGS = {"latency-ms": 20}


def outages_of(s, link):
    """(name, begin, end) of each; `link` leads the worker to the LLM. What is refused there has never been asked."""
    def llm_gone():
        link.refuse()
        s.llm.put_down()

    def llm_back():
        s.llm.start().wait_ready()
        s.llm_http("/control", LLM_SETTINGS)
        link.heal()

    def stream_full():
        """From the next request on each output is refused. A limit below what the stream holds when it is set, which may be
        one more by then, would delete its oldest messages."""
        sent = s.nats.stream_state("ENRICH_REQUESTS")["last_seq"]
        s.nats.stream_update("ENRICH_READY", max_msgs=sent, discard="new")

    all_of_them = [
        ("llm: 503", lambda: s.llm_http("/control", {"503": 100}), lambda: s.llm_http("/control", {"503": 0})),
        ("llm: refused", llm_gone, llm_back),
        ("llm: silent", link.blackhole, link.heal),
        ("output stream", stream_full, lambda: s.nats.stream_update("ENRICH_READY", max_msgs=-1))]
    if s.store_kind == "mongodb":
        all_of_them.append(("mongodb", s.store.own_server().kill, s.store.start))
    return all_of_them


def pass_away(s, name, total, seconds):
    """Messages arrive all the while; how many there are then."""
    end, first = time.monotonic() + seconds, total

    def pass_time():
        nonlocal total
        if total < first + 200:
            s.send(5, first=total + 1)
            total += 5
        progress(f"outages: {name}, {max(0, end - time.monotonic()):.0f} s to go, {total - first} sent")
        return time.monotonic() > end and total >= first + 200
    wait_for(f"the end of the outage: {name}", pass_time, seconds + 60)
    return total


def outages(s, a):
    """LLM, store and output stream away for a while each (60 s; quick: 8 s), with messages arriving: no dead letter."""
    seconds = 8 if a.quick else 60
    s.llm_http("/control", LLM_SETTINGS)
    link = s.llm_proxy()
    worker = s.start_worker(**SETTINGS, **s.through(llm=link))
    s.ready()
    s.send(20)
    wait_for("the first messages are done", s.all_done)
    total, drained, paid, grown = 20, {}, PayOnce(s), Growth(s, worker)
    for name, begin, end in outages_of(s, link):
        s.send(20, first=total + 1)  # some are on their way when it begins
        begin()
        if name in ("llm: 503", "llm: refused"):
            paid.note()
        total = pass_away(s, name, total + 20, seconds)
        if name == "llm: silent":
            paid.note()  # now at the latest what the link still carried has reached the LLM, whose answers are held back
            link.cut()  # what was held back is lost with its connections
        end()
        start = time.monotonic()
        wait_for(f"the backlog is done: {name}", s.all_done, 180)
        drained[name] = round(time.monotonic() - start, 1)
    v = verdict(s, total)
    v.update(outage_s=seconds, drained_s=drained, **paid.figures(total), **grown.figures())
    assert_clean(v)
    return v


# ---- disk

def fill(path):
    with open(path, "wb", buffering=0) as f:
        try:
            while True:
                f.write(b"x" * 4096)
        except OSError:
            pass


def disk_full(s, a):
    """SQLite on a small file system that is full for a while: NAKs, then everything is done."""
    if s.store_kind != "sqlite":
        raise Skip("only for SQLite")
    folder = os.path.join(s.dir, "small")
    os.makedirs(folder)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", folder], capture_output=True).returncode != 0:
        raise Skip("no right to mount a tmpfs")
    try:
        s.store.path = os.path.join(folder, "store.db")
        proxy = s.nats_proxy()
        s.start_worker(MONGODB_BREAKER_RESET=0.5, **s.through(proxy))
        s.ready()
        s.send(20)
        s.expect_done(20)
        naks = proxy.on_request(is_verdict("-NAK"), lambda frame: frame, count=-1)
        filler = os.path.join(folder, "filler")
        fill(filler)
        s.send(20, first=21)
        wait_for("all answers, and a NAK", lambda: s.llm_http("/ledger")["calls"] == 40 and naks.seen > 0)
        made = len(s.documents()), s.left("ENRICH_READY"), s.left()
        check(made == (20, 20, 20), f"(documents, outputs, requests left) with a full disk: {made}, expected 20 of each")
        os.unlink(filler)
        wait_for("all done", s.all_done, 60)
        v = verdict(s, 40)
        v.update(naks=naks.seen, llm_calls=s.llm_http("/ledger")["calls"])
        assert_clean(v)
        check(v["llm_calls"] == 40, f"a full disk cost calls: {v}")
        return v
    finally:
        for w in s.workers:
            w.kill()
        subprocess.run(["umount", "-l", folder], capture_output=True)


class SmallDisk:
    """A file system of its own for a folder; gone with its stage, after the server that was on it."""

    def __init__(self, folder, size):
        self.folder = folder
        os.makedirs(folder)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True).returncode != 0:
            raise Skip("no right to mount a tmpfs")

    def close(self):
        subprocess.run(["umount", "-l", self.folder], capture_output=True)


class SmallDiskStage(Stage):
    """nats-server keeps its streams where there is little room."""

    def start_nats(self):
        self.disk = self.part(SmallDisk(os.path.join(self.folder, "nats"), "16m"))
        return super().start_nats(pinned=True)


def nats_disk_full(s, a):
    """nats-server has no room for answers, outputs and dead letters while 40 messages are on their way; then it has."""
    s.llm.set(latency_ms=500)
    worker = s.start_worker(SLUICE_PUBLISH_BREAKER_RESET=0.5, SLUICE_ACK_WAIT=ACK_WAIT)
    s.ready()
    s.send(40)
    s.expect_done(40)
    paid, grown = PayOnce(s, has_sum=False, journaled=lambda s: s.journaled()), Growth(s, worker)
    s.send(40, first=41)
    wait_for("all calls run", lambda: s.llm.ledger()["calls"] >= 80)
    filler = os.path.join(s.disk.folder, "filler")
    fill(filler)
    paid.note()
    end = time.monotonic() + 10
    wait_for("the worker says that outputs are refused", lambda: "no space left on device" in worker.log_text())
    wait_for("10 s", lambda: time.monotonic() > end, 20)
    check(worker.is_alive(), f"the worker ended with {worker.code}")
    outputs = s.left("ENRICH_READY")
    check(outputs < 80, "all outputs were stored although there was no room")
    paid.note()
    os.unlink(filler)
    start = time.monotonic()
    wait_for("all done", s.all_done, 60)
    v = verdict(s, 80)
    v.update(outputs_without_room=outputs - 40, done_s=round(time.monotonic() - start, 2), **paid.figures(80), **grown.figures())
    assert_clean(v)
    in_time(v["done_s"], RECOVERED_S, str(v))
    return v


nats_disk_full.stage = SmallDiskStage
