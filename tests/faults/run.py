#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Campaigns of faults on real processes; every count comes from the streams, the database and the LLM simulator.

usage: tests/faults/run.py [--quick] [--campaign NAME…] [--store sqlite|mongodb] [--messages N] [--kills N] [--seed N]
                           [--build FOLDER] [--record FOLDER] [--json]
"""
import argparse, datetime, inspect, json, os, random, re, signal, socket, subprocess, sys, time
HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.path.join(HERE, "../.."))
sys.path[:0] = [HERE, os.path.join(ROOT, "tests/e2e"), os.path.join(ROOT, "tests")]
from cluster import ClusterStage, cluster_program, play
from stage import Failure, Nats, Process, Stage, free_port, mongo_program, parse_headers, wait_for

REQUEST, READY = "context.enrich.request", "context.enrich.ready"
ACK_WAIT = 2.0


class Skip(Exception):
    pass


def check(condition, text):
    if not condition:
        raise Failure(text)


class Progress:
    def __init__(self):
        self.is_terminal, self.last = sys.stderr.isatty(), 0.0

    def __call__(self, text, is_final=False):
        now = time.monotonic()
        if is_final or now - self.last > (0.2 if self.is_terminal else 15):
            self.last = now
            sys.stderr.write(("\r\033[K" if self.is_terminal else "") + text + ("" if self.is_terminal and not is_final else "\n"))
            sys.stderr.flush()


progress = Progress()


def percentile(values, p):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * p / 100))] if values else 0.0


# ---- the ledger

def publish_many(s, first, count):
    """All in one burst, then the stream is asked how many it has."""
    c = s.client()
    before = c.api("STREAM.INFO.ENRICH_REQUESTS")["state"]["last_seq"]
    for start in range(first, first + count, 500):
        out = b""
        for i in range(start, min(start + 500, first + count)):
            head = b"NATS/1.0\r\nContent-Type: application/json\r\n\r\n"
            body = json.dumps({"request_id": f"r-{i}", "query": f"What about shipment {i} to harbour{i}?"}).encode()
            out += f"HPUB {REQUEST} {len(head)} {len(head) + len(body)}\r\n".encode() + head + body + b"\r\n"
        c.s.settimeout(60)
        c.s.sendall(out)
    wait_for("all requests in the stream",
             lambda: c.api("STREAM.INFO.ENRICH_REQUESTS")["state"]["last_seq"] == before + count, 120)
    c.close()


def stream_ids(s, stream, header):
    """A header of all messages of a stream, with the time of storing, by a consumer of the test's own."""
    c = s.client()
    total = c.count(stream)
    name = c.api(f"CONSUMER.CREATE.{stream}", {"stream_name": stream, "config": {
        "ack_policy": "none", "deliver_policy": "all", "mem_storage": True, "inactive_threshold": 30 * 10**9}})["name"]
    out = []
    c.s.sendall(b"SUB ids.%d 9\r\n" % os.getpid())
    while len(out) < total:
        batch = min(1000, total - len(out))
        ask = json.dumps({"batch": batch, "expires": 10 * 10**9}).encode()
        c.s.sendall(f"PUB $JS.API.CONSUMER.MSG.NEXT.{stream}.{name} ids.{os.getpid()} {len(ask)}\r\n".encode() + ask + b"\r\n")
        for _ in range(batch):
            c.s.settimeout(15)
            subject, headers, _ = c._read()
            if headers.get("status", "").strip():
                break
            out.append(headers.get(header))
    c.close()
    return out


def journaled_sequences(s):
    """Sequences of the requests whose answer the journal holds."""
    c = s.client()
    info = c.api("STREAM.INFO.KV_SLUICE_JOURNAL", {"subjects_filter": "$KV.SLUICE_JOURNAL.*.*.*.*.a.>"})
    c.close()
    return {subject.split(".")[4] for subject in info["state"].get("subjects") or {}}


def journaled_count(client):
    """How many answers the journal holds; a consumer's answer counts them on the server."""
    made = client.api("CONSUMER.CREATE.KV_SLUICE_JOURNAL", {"stream_name": "KV_SLUICE_JOURNAL", "config": {
        "ack_policy": "none", "deliver_policy": "all", "mem_storage": True, "inactive_threshold": 10**9,
        "filter_subject": "$KV.SLUICE_JOURNAL.*.*.*.*.a.>"}})
    client.api(f"CONSUMER.DELETE.KV_SLUICE_JOURNAL.{made['name']}")
    return made["num_pending"]


def verdict(s, count):
    """published = documents = distinct outputs = acked + dead; nothing orphaned, nothing twice."""
    c = s.client()
    dead = c.count("ENRICH_DEAD")
    c.close()
    documents = set(s.documents())
    ids = stream_ids(s, "ENRICH_READY", "Nats-Msg-Id")
    keys = {i.split(":")[1] for i in ids}
    expected = {f"r-{i}" for i in range(1, count + 1)}
    return {"messages": count, "documents": len(documents), "outputs": len(ids), "distinct_outputs": len(set(ids)),
            "dead_letters": dead, "lost": len(expected - documents - keys), "orphan_documents": len(documents - keys),
            "orphan_outputs": len(keys - documents), "acked_without_result": len(expected - (documents & keys)) - dead,
            "duplicate_outputs": len(ids) - len(set(ids)), "left_in_stream": s.left(), "pending": s.pending()}


def assert_clean(v):
    bad = [k for k in ("lost", "orphan_documents", "orphan_outputs", "acked_without_result", "duplicate_outputs", "pending",
                       "dead_letters") if v[k] != 0]
    check(not bad and v["documents"] == v["messages"] == v["distinct_outputs"], f"{', '.join(bad) or 'counts'}: {v}")


def undelivered(s):
    c = s.client()
    info = c.api("CONSUMER.INFO.ENRICH_REQUESTS.context-enricher")
    c.close()
    return info["num_pending"]


# ---- campaigns: each takes the stage and the arguments, and returns its figures

def kills(s, a):
    """kill -9 of the worker at random instants, under load; LLM answers are counted at each kill."""
    rng = random.Random(a.seed)
    messages, wanted = a.messages or (3000 if a.quick else 100000), a.kills or (50 if a.quick else 1000)
    s.llm_http("/control", {"latency-ms": 5})
    s.start_worker(SLUICE_ACK_WAIT=ACK_WAIT, SLUICE_LOG_LEVEL="warn")
    s.ready()
    publish_many(s, 1, messages)
    c = s.client()
    done, unjournaled, largest = 0, 0, 0
    per_kill = max(1, messages // (wanted + 1))
    for kill in range(wanted):
        goal = min(done + rng.randint(1, 2 * per_kill - 1) if per_kill > 1 else done + 1, messages - 1)
        wait_for(f"progress before kill {kill + 1}", lambda: messages - c.count("ENRICH_REQUESTS") >= goal
                 or messages - c.count("ENRICH_REQUESTS") >= messages - 300, 120)
        s.workers[-1].kill()
        ledger = s.llm_http("/ledger")
        # What the journal has not is the sum over all kills so far: only the last one needs to be exact, and that is slow.
        is_last = kill == wanted - 1
        kept = journaled_count(c) if is_last else c.count("KV_SLUICE_JOURNAL")
        open_now = ledger["calls"] - ledger["failed"] - kept
        largest = max(largest, open_now - unjournaled)
        unjournaled = max(unjournaled, open_now)
        done = messages - c.count("ENRICH_REQUESTS")
        progress(f"kills: {kill + 1}/{wanted} kills, {done}/{messages} messages, {ledger['calls']} calls, {unjournaled} of them "
                 f"not journaled at a kill")
        s.workers[-1].file.close()
        os.unlink(s.workers[-1].log)
        s.workers.clear()
        s.start_worker(SLUICE_ACK_WAIT=ACK_WAIT, SLUICE_LOG_LEVEL="warn")
    s.ready()
    wait_for("no request is left", lambda: s.left() == 0 and s.pending() == 0, 600)
    v = verdict(s, messages)
    ledger = s.llm_http("/ledger")
    v.update(kills=wanted, llm_calls=ledger["calls"], llm_failed=ledger["failed"], unjournaled_at_kills=unjournaled,
             most_unjournaled_at_one_kill=largest)
    assert_clean(v)
    check(ledger["calls"] <= messages + ledger["failed"] + unjournaled, f"pay once: {v}")
    check(largest <= 256, f"more calls not journaled at one kill than messages in flight: {v}")
    return v


def failover(s, a):
    """Two workers; one is killed with messages in its hands: how long until the other has finished them."""
    rounds = 5 if a.quick else 60
    s.llm_http("/control", {"latency-ms": 300})
    first, times = 1, []
    s.start_worker(SLUICE_ACK_WAIT=ACK_WAIT)
    s.ready()
    for n in range(rounds):
        other = s.start_worker(SLUICE_ACK_WAIT=ACK_WAIT, SERVICE_READINESS_PORT=0)
        wait_for("the other worker pulls", lambda: '"state":"RUNNING"' in open(other.log).read())
        calls = s.llm_http("/ledger")["calls"]
        publish_many(s, first, 40)
        wait_for("all calls run", lambda: s.llm_http("/ledger")["calls"] >= calls + 40)
        (other if n % 2 else s.workers[-2]).kill()
        start = time.monotonic()
        if n % 2 == 0:
            s.workers.remove(s.workers[-2])
        else:
            s.workers.pop()
        first += 40
        wait_for("all outputs", lambda: s.left("ENRICH_READY") >= first - 1, 60)
        times.append(time.monotonic() - start)
        progress(f"failover: {n + 1}/{rounds}, slowest {max(times):.2f} s")
    wait_for("nothing is pending", lambda: s.left() == 0 and s.pending() == 0, 60)
    v = verdict(s, first - 1)
    v.update(kills=rounds, ack_wait_s=ACK_WAIT, finished_elsewhere_p50_s=round(percentile(times, 50), 2),
             finished_elsewhere_p99_s=round(percentile(times, 99), 2))
    assert_clean(v)
    check(v["finished_elsewhere_p99_s"] <= ACK_WAIT + 2, str(v))
    return v


def servers(s, a):
    """nats-server is killed and restarted, under load and with parked pulls: how long until a new message is done."""
    rounds = a.kills or (6 if a.quick else 100)
    s.llm_http("/control", {"latency-ms": 10})
    s.start_worker(SLUICE_ACK_WAIT=ACK_WAIT)
    s.ready()
    total, times = 0, []
    for n in range(rounds):
        if n % 2 == 0:
            s.send(20, first=total + 1)
            total += 20
        s.nats.kill()
        s.start_nats()
        s.send(1, first=total + 1)
        total += 1
        start = time.monotonic()
        wait_for(f"a message after restart {n + 1}", lambda: f"r-{total}" in s.documents(), 30)
        times.append(time.monotonic() - start)
        progress(f"servers: {n + 1}/{rounds} kills, slowest {max(times):.2f} s")
    # A killed nats-server can keep messages in the stream whose ACK its consumer remembers, and can remember deliveries
    # of messages that the stream has no more: neither is delivered again. So the results count, and what nobody has had.
    wait_for("all documents and outputs", lambda: len(s.documents()) == total and s.left("ENRICH_READY") >= total, 60)
    v = verdict(s, total)
    v["pending_after_server_kills"], v["pending"] = v["pending"], undelivered(s)
    v.update(server_kills=rounds, pulling_again_p50_s=round(percentile(times, 50), 2),
             pulling_again_p99_s=round(percentile(times, 99), 2), pulling_again_max_s=round(max(times), 2))
    assert_clean(v)
    check(v["pulling_again_p99_s"] <= 10, str(v))
    return v


def freeze(s, a):
    """SIGSTOP past the lease, with a second worker; then SIGCONT: the frozen one must not harm what the other did."""
    rounds = 3 if a.quick else 30
    rng = random.Random(a.seed)
    s.llm_http("/control", {"latency-ms": 100})
    s.start_worker(SLUICE_ACK_WAIT=ACK_WAIT)
    s.ready()
    s.start_worker(SLUICE_ACK_WAIT=ACK_WAIT, SERVICE_READINESS_PORT=0)
    wait_for("the other worker pulls", lambda: '"state":"RUNNING"' in open(s.workers[-1].log).read())
    first = 1
    for n in range(rounds):
        publish_many(s, first, 60)
        wait_for("some calls run", lambda: s.llm_http("/ledger")["calls"] >= first + rng.randint(1, 50))
        frozen = s.workers[n % 2].p
        frozen.send_signal(signal.SIGSTOP)
        first += 60
        end = time.monotonic() + ACK_WAIT + 1.5
        wait_for("the lease is over", lambda: time.monotonic() > end, 10)
        frozen.send_signal(signal.SIGCONT)
        wait_for("all done", lambda: s.left() == 0 and s.pending() == 0, 60)
        progress(f"freeze: {n + 1}/{rounds}")
    v = verdict(s, first - 1)
    v["freezes"] = rounds
    assert_clean(v)
    return v


def rolling(s, a):
    """Three workers, restarted one after the other by SIGTERM, under load: nothing fails, nobody is killed."""
    rounds = 2 if a.quick else 20
    s.llm_http("/control", {"latency-ms": 50})
    running = []
    for i in range(3):
        running.append(s.start_worker(SLUICE_ACK_WAIT=ACK_WAIT, **({} if i == 0 else {"SERVICE_READINESS_PORT": 0})))
        wait_for("worker is up", lambda: '"state":"RUNNING"' in open(running[-1].log).read())
    total, exits = 0, []
    for n in range(rounds):
        for i in range(3):
            publish_many(s, total + 1, 100)
            total += 100
            exits.append(running[i].stop())
            running[i] = s.start_worker(SLUICE_ACK_WAIT=ACK_WAIT, **({} if i == 0 else {"SERVICE_READINESS_PORT": 0}))
            wait_for("worker is up", lambda: '"state":"RUNNING"' in open(running[i].log).read())
            progress(f"rolling: {len(exits)} restarts, {total} messages")
    wait_for("all done", lambda: s.left() == 0 and s.pending() == 0, 60)
    v = verdict(s, total)
    v.update(restarts=len(exits), exits_not_zero=sum(e != 0 for e in exits), llm_calls=s.llm_http("/ledger")["calls"])
    assert_clean(v)
    check(v["exits_not_zero"] == 0 and v["llm_calls"] == total, f"a restart cost something: {v}")
    return v


def outages(s, a):
    """LLM, store and output stream away for a while each (60 s; quick: 8 s), with messages arriving: no dead letter."""
    seconds = 8 if a.quick else 60
    s.llm_http("/control", {"latency-ms": 20})
    w = dict(SLUICE_ACK_WAIT=5, SLUICE_NAK_DELAY=1, SLUICE_NAK_DELAY_MAX=10, LLM_BREAKER_RESET=5, MONGODB_BREAKER_RESET=5,
             SLUICE_PUBLISH_BREAKER_RESET=5, SLUICE_PUBLISH_TIMEOUT=2)
    s.start_worker(**w)
    s.ready()
    total, drained = 0, {}

    def during(name, back):
        nonlocal total
        end = time.monotonic() + seconds
        sent = [0]

        def pass_time():
            if sent[0] < 200:
                s.send(5, first=total + sent[0] + 1)
                sent[0] += 5
            progress(f"outages: {name}, {max(0, end - time.monotonic()):.0f} s to go, {sent[0]} sent")
            return time.monotonic() > end and sent[0] >= 200
        wait_for(f"the end of the outage of {name}", pass_time, seconds + 60)
        total += sent[0]
        back()
        start = time.monotonic()
        wait_for(f"the backlog of {name} is done", lambda: s.left() == 0 and s.pending() == 0, 180)
        drained[name] = round(time.monotonic() - start, 1)

    s.llm_http("/control", {"503": 100})
    during("llm", lambda: s.llm_http("/control", {"503": 0}))
    c = s.client()
    config = c.api("STREAM.INFO.ENRICH_READY")["config"]
    kept = stream_ids(s, "ENRICH_READY", "Nats-Msg-Id")
    config["max_msgs"], config["discard"] = len(kept), "new"  # full: each publish is refused
    c.api("STREAM.UPDATE.ENRICH_READY", config)

    def widen():
        config["max_msgs"] = -1
        c.api("STREAM.UPDATE.ENRICH_READY", config)
    during("output stream", widen)
    if s.store == "mongodb":
        s.mongo.kill()
        during("mongodb", s.start_mongo)
    v = verdict(s, total)
    v.update(outage_s=seconds, drained_s=drained)
    assert_clean(v)
    return v


def disk_full(s, a):
    """SQLite on a small file system that is full for a while: NAKs, then everything is done."""
    if s.store != "sqlite":
        raise Skip("only for SQLite")
    folder = os.path.join(s.dir, "small")
    os.makedirs(folder)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", folder], capture_output=True).returncode != 0:
        raise Skip("no right to mount a tmpfs")
    try:
        s.db = os.path.join(folder, "store.db")
        s.start_worker(SLUICE_SQLITE_PATH=s.db, MONGODB_BREAKER_RESET=0.5)
        s.ready()
        s.send(20)
        s.expect_done(20)
        filler = os.path.join(folder, "filler")
        with open(filler, "wb", buffering=0) as f:
            try:
                while True:
                    f.write(b"x" * 4096)
            except OSError:
                pass
        s.send(20, first=21)
        wait_for("a failed store", lambda: any(e["event"] == "message.failed" and e["step"] == "store" for e in s.events()))
        os.unlink(filler)
        wait_for("all done", lambda: s.left() == 0 and s.pending() == 0, 60)
        v = verdict(s, 40)
        assert_clean(v)
        return v
    finally:
        for w in s.workers:
            w.kill()
        subprocess.run(["umount", "-l", folder], capture_output=True)


def cluster(s, a):
    """Three servers, three copies: leaders step down, are killed, are frozen: how long until a new message is done."""
    rounds = a.kills or (8 if a.quick else 105)
    s.llm_http("/control", {"latency-ms": 10})
    s.start_worker(SLUICE_ACK_WAIT=ACK_WAIT, NATS_URL=s.urls)
    s.ready()
    s.replicate()
    total, times = play(s, rounds, a.quick, progress)
    wait_for("all documents and outputs", lambda: len(s.documents()) == total and s.left("ENRICH_READY") >= total, 120)
    wait_for("nothing is pending", lambda: s.pending() == 0, 60)
    v = verdict(s, total)
    frozen = times.pop("consumer leader frozen", [])
    others = [one for values in times.values() for one in values]
    v.update(leader_faults=rounds, servers_restarted_twice=s.restarted_again, slowest_s={name: round(max(values), 2) for name, values in times.items()},
             pulling_again_p50_s=round(percentile(others, 50), 2), pulling_again_p99_s=round(percentile(others, 99), 2),
             frozen_server_max_s=round(max(frozen), 2) if frozen else None)
    assert_clean(v)
    if not a.quick:
        check(v["pulling_again_p99_s"] <= 10, str(v))
    return v


cluster.stage = ClusterStage
cluster.lacks = lambda: None if cluster_program(ROOT) else "no nats-server of tests/servers/build"
CAMPAIGNS = {f.__name__: f for f in (kills, failover, servers, freeze, rolling, outages, disk_full, cluster)}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--quick", action="store_true", help="the small version of each campaign, for CI")
    p.add_argument("--campaign", action="append", choices=sorted(CAMPAIGNS), help="only this one; repeatable")
    p.add_argument("--store", choices=("sqlite", "mongodb"), default="sqlite")
    p.add_argument("--messages", type=int)
    p.add_argument("--kills", type=int)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--build", default=os.path.join(ROOT, "build"))
    p.add_argument("--record", metavar="FOLDER", help="write each result as a JSON file there")
    p.add_argument("--json", action="store_true")
    a = p.parse_args()
    passed = failed = skipped = 0
    for name in a.campaign or CAMPAIGNS:
        if a.store == "mongodb" and not mongo_program(ROOT):
            print(f"skipped  {a.store:7} {name}: no MongoDB server (tests/servers/build)", flush=True)
            skipped += 1
            continue
        lacks = getattr(CAMPAIGNS[name], "lacks", lambda: None)()
        if lacks:
            print(f"skipped  {a.store:7} {name}: {lacks}", flush=True)
            skipped += 1
            continue
        s = getattr(CAMPAIGNS[name], "stage", Stage)(a.build, a.store)
        start = time.monotonic()
        try:
            figures = CAMPAIGNS[name](s, a)
            figures["seconds"] = round(time.monotonic() - start, 1)
            passed += 1
            progress(f"{name}: done in {figures['seconds']} s", True)
            result = {"name": f"{name}-{a.store}", "date": datetime.date.today().isoformat(), "commit": commit(),
                      "command": "tests/faults/run.py " + " ".join(x for x in sys.argv[1:] if not x.startswith("--rec")),
                      "figures": figures}
            print(json.dumps(result) if a.json else
                  f"passed   {a.store:7} {name}: " + ", ".join(f"{k} {v}" for k, v in figures.items()), flush=True)
            if a.record:
                with open(os.path.join(a.record, result["name"] + ".json"), "w") as f:
                    json.dump(result, f, indent=1)
                    f.write("\n")
        except Skip as reason:
            skipped += 1
            print(f"skipped  {a.store:7} {name}: {reason}", flush=True)
        except Failure as error:
            failed += 1
            print(f"FAILED   {a.store:7} {name}: {error}", flush=True)
            for w in s.workers[-2:]:
                print(f"---- {w.log}", *open(w.log, errors="replace").read().splitlines()[-12:], sep="\n")
        finally:
            s.close()
    print(f"faults: {passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


def commit():
    out = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return out.stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(main())
