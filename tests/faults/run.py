#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Campaigns of faults on real processes; every count comes from the streams, the database and the LLM simulator.

usage: tests/faults/run.py [--quick] [--campaign NAME…] [--store sqlite|mongodb] [--messages N] [--kills N] [--seed N]
                           [--build FOLDER] [--record FOLDER] [--json]
"""
import argparse, json, os, random, sys, time
HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.path.join(HERE, "../.."))
sys.path[:0] = [HERE, os.path.join(ROOT, "tests/e2e"), os.path.join(ROOT, "tests")]
from lib.arguments import build_folder, program, record_folder, whole_number  # noqa: E402

PROGRAMS = ("src/cli/sluice", "workers/context-enricher.so")


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--quick", action="store_true", help="the small version of each campaign, for CI")
    p.add_argument("--campaign", action="append", metavar="NAME", help="only this one; repeatable")
    p.add_argument("--store", choices=("sqlite", "mongodb"), help="[sqlite; some campaigns use both, or mongodb when there is one]")
    p.add_argument("--messages", type=whole_number(1), metavar="N")
    p.add_argument("--kills", type=whole_number(1), metavar="N", help="how many faults, or rounds of them")
    p.add_argument("--seed", type=whole_number(0), default=1, metavar="N")
    p.add_argument("--build", type=build_folder(*PROGRAMS), default=os.path.join(ROOT, "build"), metavar="FOLDER")
    p.add_argument("--record", type=record_folder, metavar="FOLDER",
                   help="write each result as a JSON file there, also that a campaign was skipped or has failed")
    p.add_argument("--json", action="store_true")
    a = p.parse_args()
    try:
        program(os.environ.get("SLUICE_NATS_SERVER") or sys.executable)
    except argparse.ArgumentTypeError as error:
        p.error(f"SLUICE_NATS_SERVER: {error}")
    return p, a


if __name__ == "__main__":
    PARSER, ARGUMENTS = arguments()
    os.environ["SLUICE_BUILD"] = ARGUMENTS.build  # before tests/lib looks for the programs

from books import (ACK_WAIT, RECOVERED_S, OutputsLost, Kills, KillsOfOne, PayOnce, assert_clean, judge_late,  # noqa: E402
                   percentile, progress, publish_many, start_beside, verdict)
from cluster import ClusterStage, lose_quorum, play  # noqa: E402
from deleted import deleted  # noqa: E402
from frozen import freeze  # noqa: E402
from growth import Growth  # noqa: E402
from isolation import isolation  # noqa: E402
from labelled import labelled_kills  # noqa: E402
from lib import record  # noqa: E402
from lib.process import commit  # noqa: E402
from lib.runner import TimeUp, run_twice  # noqa: E402
from lib.servers import LlmSim  # noqa: E402
from lib.wait import Expired  # noqa: E402
from lying import lying_peers  # noqa: E402
from network import partition, slow_links  # noqa: E402
from outages import disk_full, nats_disk_full, outages  # noqa: E402
from restarts import server_restarts  # noqa: E402
from stage import Stage, check, in_time, wait_for  # noqa: E402

DEFAULT_ACK_WAIT = 30
KILLS_IN_FLIGHT = 64  # so few that the kills spread over all messages


# ---- campaigns: each takes the stage and the arguments, and returns its figures

def kills(s, a):
    """kill -9 of the worker at random instants, under load; LLM answers are counted at each kill."""
    rng = random.Random(a.seed)
    messages, wanted = a.messages or (3000 if a.quick else 100000), a.kills or (50 if a.quick else 1000)
    s.llm_http("/control", {"latency-ms": 20})
    proxy = s.nats_proxy()
    settings = {"SLUICE_ACK_WAIT": ACK_WAIT, "SLUICE_LOG_LEVEL": "warn", "SLUICE_MAX_IN_FLIGHT": KILLS_IN_FLIGHT}
    worker = plain = s.start_worker(**settings)
    s.ready()
    plain.kill()
    losing, lost = s.start_worker(**settings, **s.through(proxy)), OutputsLost(proxy)
    s.ready()
    losing.kill()
    every = max(1, wanted // 50)  # each look reads the whole ledger
    held_every = every * max(1, 10 // every)
    noted = Kills(s, every, in_flight=KILLS_IN_FLIGHT, is_timed=True)
    publish_many(s, 1, messages)
    lost.begin()
    done, held = 0, 0
    for kill in range(wanted):
        noted.started()
        is_held = (kill + 1) % held_every == 0
        worker = (losing if is_held else plain).start()
        if is_held:  # its messages are answered and journaled, and cannot be finished
            lost.wait(lost.rule.seen + 1)
            held += 1
        else:
            per_kill = max(1, (messages - 300 - done) // (wanted - kill))
            goal = min(done + rng.randint(1, max(1, 2 * per_kill - 1)), messages - 300)
            wait_for(f"progress before kill {kill + 1}, and messages in hand",
                     lambda: messages - s.left() >= goal and noted.held() > 0, 120)  # noqa: B023, called at once
        worker.kill()
        noted.note(losing_since=noted.started_at if is_held else None)
        done = messages - s.left()
        progress(f"kills: {kill + 1}/{wanted} kills, {done}/{messages} messages, "
                 f"{noted.in_hand} kills with messages in hand")
        os.unlink(worker.log)
    plain.start()
    s.workers.append(plain)
    s.ready()
    wait_for("no request is left", s.all_done, 600)
    v = verdict(s, messages)
    assert_clean(v)
    v.update(noted.figures(messages), kills_with_outputs_lost=held, outputs_lost=lost.rule.seen)
    check(noted.in_hand >= wanted * 0.9, f"many kills hit a worker that held nothing: {v}")
    if held:
        noted.assert_timed()
    return v


def open_calls(llm):
    ledger = llm.ledger()
    return ledger["calls"] - ledger["answered"] - ledger["failed"]


def killed_at_default(s, llms, through, first, noted):
    """With the ack wait that a worker has by default, the consumer being made anew for it: the first worker is killed with all of 40
    messages in its hands, and the second has waited for work meanwhile."""
    s.nats.consumer_delete("ENRICH_REQUESTS", "context-enricher")
    llms[0].set(latency_ms=20000)  # until it is killed nothing is answered
    victim = start_beside(s, **{**through[0], "SLUICE_ACK_WAIT": None})
    check(s.consumer()["config"]["ack_wait"] == DEFAULT_ACK_WAIT * 10**9, "another ack wait by default")
    before, open_before = llms[0].ledger()["calls"], open_calls(llms[0])
    publish_many(s, first, 40)
    wait_for("all calls run", lambda: llms[0].ledger()["calls"] >= before + 40)
    start_beside(s, **{**through[1], "SLUICE_ACK_WAIT": None})
    noted.started()
    check(open_calls(llms[0]) - open_before == 40, "the worker does not hold all 40 messages")
    victim.kill()
    start = time.monotonic()
    noted.note(llms[0], before, 40)
    wait_for("all outputs", lambda: s.left("ENRICH_READY") >= first + 39, 90)
    passed = time.monotonic() - start
    wait_for("nothing is pending", s.all_done, 60)
    return passed


def failover(s, a):
    """Two workers; one is killed with messages in its hands: how long until the other has finished them. Each asks a simulator
    of its own, which counts what the killed one had asked."""
    rounds = 5 if a.quick else 60
    llms = s.llm, s.part(LlmSim(s.folder, "--quiet", "--stamp", name="llm2")).start().wait_ready()
    for llm in llms:
        llm.set(latency_ms=300)
    proxies = [s.nats_proxy() for _ in llms]
    losing = [OutputsLost(proxy) for proxy in proxies]
    through = [{"LLM_BASE_URL": llm.url, **s.through(proxy)} for llm, proxy in zip(llms, proxies)]
    victim = start_beside(s, **through[0])
    first, times, noted = 1, [], KillsOfOne(s, llms=llms, is_timed=True)
    for n in range(rounds):
        other = start_beside(s, **through[(n + 1) % 2])
        before, open_before = [llm.ledger()["calls"] for llm in llms], open_calls(llms[n % 2])
        is_held = n % 3 == 1  # its messages are answered and journaled, and it cannot finish them
        if is_held:
            losing[n % 2].begin()
        publish_many(s, first, 40)
        wait_for("all calls run", lambda: sum(llm.ledger()["calls"] for llm in llms) >= sum(before) + 40)  # noqa: B023
        if is_held:
            losing[n % 2].wait(1)
        victim.kill()
        start = time.monotonic()
        noted.note(llms[n % 2], before[n % 2], losing[n % 2].rule.seen if is_held else open_calls(llms[n % 2]) - open_before,
                   losing[n % 2].since if is_held else None)
        if is_held:
            losing[n % 2].end()
        victim = other
        first += 40
        wait_for("all outputs", lambda: s.left("ENRICH_READY") >= first - 1, 60)
        times.append(time.monotonic() - start)
        progress(f"failover: {n + 1}/{rounds}, slowest {max(times):.2f} s")
    wait_for("nothing is pending", s.all_done, 60)
    victim.stop()
    default = killed_at_default(s, llms, through, first, noted)
    first += 40
    v = verdict(s, first - 1)
    v.update(noted.figures(first - 1), finished_elsewhere_at_30_s_s=round(default, 2), ack_wait_s=ACK_WAIT, finished_elsewhere_p50_s=round(percentile(times, 50), 2),
             finished_elsewhere_p99_s=round(percentile(times, 99), 2))
    assert_clean(v)
    check(noted.in_hand == rounds + 1, f"a kill hit a worker that held nothing: {v}")
    noted.assert_timed()
    in_time(v["finished_elsewhere_p99_s"], ACK_WAIT + 2, str(v))
    in_time(default, DEFAULT_ACK_WAIT + 2, str(v))
    return v


# What comes before a kill of nats-server: (seconds without a message, seconds until it is started again).
AT_ONCE, IDLE, AWAY = (0, 0), (20, 0), (0, 30)
KINDS = {AT_ONCE: "at once", IDLE: "after 20 s without a message", AWAY: "after it was away for 30 s"}


def server_kills(rounds):
    """Idle pulls become long ones, and what is away for long outlasts leases and every short backoff: of each ten one, or one of
    twenty."""
    return [IDLE if n % 10 == 5 else AWAY if n % 20 == 8 else AT_ONCE for n in range(rounds)]


def pass_time(seconds):
    end = time.monotonic() + seconds
    wait_for(f"{seconds} s", lambda: time.monotonic() >= end, seconds + 60)


def servers(s, a):
    """nats-server is killed and restarted, under load, with parked pulls and after a while without work, at once and after it was
    away: how long until a new message is done."""
    s.llm_http("/control", {"latency-ms": 10})
    worker = s.start_worker(SLUICE_ACK_WAIT=ACK_WAIT)
    s.ready()
    s.send(20)
    wait_for("the first messages are done", s.all_done)
    total, times, paid, grown, back = 20, {}, PayOnce(s, one_at_a_time=True), Growth(s, worker), 0.0

    def restart(away):
        """While it is away nothing can be journaled, and what the worker has already received is asked all the same."""
        nonlocal back
        s.nats_server.kill()
        pass_time(away)
        s.nats_server.start().wait_ready()
        back = time.monotonic()

    kills = server_kills(a.kills or (9 if a.quick else 100))
    for n, kind in enumerate(kills):
        idle, away = kind
        pass_time(idle)
        if n % 2 == 0:
            s.send(20, first=total + 1)
            total += 20
        if away:  # what counts is the journal that comes back: after so long nobody has what a killed server had not written
            restart(away)
            paid.note()
        else:
            paid.note(lambda: restart(0))
        s.send(1, first=total + 1)
        total += 1
        wait_for(f"a message after restart {n + 1}", lambda: f"r-{total}" in s.documents(), 30)
        times.setdefault(KINDS[kind], []).append(time.monotonic() - back)
        progress(f"servers: {n + 1}/{len(kills)} kills, slowest {max(map(max, times.values())):.2f} s")
    # A killed nats-server can keep messages in the stream whose ACK its consumer remembers, and can remember deliveries
    # of messages that the stream has no more: neither is delivered again. So the results count, and what nobody has had.
    wait_for("all documents and outputs", lambda: len(s.documents()) == total and s.left("ENRICH_READY") >= total, 60)
    v = verdict(s, total)
    v["pending_after_server_kills"], v["pending"] = v["pending"], s.consumer()["num_pending"]
    again = [one for some in times.values() for one in some]
    v.update(paid.figures(total), server_kills=len(kills), kills_of_each_kind={kind: len(some) for kind, some in times.items()},
             pulling_again_p50_s=round(percentile(again, 50), 2), pulling_again_p99_s=round(percentile(again, 99), 2),
             pulling_again_max_s={kind: round(max(some), 2) for kind, some in times.items()}, **grown.figures())
    assert_clean(v)
    in_time(max(again), RECOVERED_S, str(v))
    return v


def rolling(s, a):
    """Three workers, restarted one after the other by SIGTERM, under load: nothing fails, nobody is killed."""
    rounds = 2 if a.quick else 20
    s.llm_http("/control", {"latency-ms": 50})
    running = [start_beside(s) for _ in range(3)]
    total, exits = 0, []
    for n in range(rounds):
        for i in range(3):
            publish_many(s, total + 1, 100)
            total += 100
            exits.append(running[i].stop())
            running[i] = start_beside(s)
            progress(f"rolling: {len(exits)} restarts, {total} messages")
    wait_for("all done", s.all_done, 60)
    v = verdict(s, total)
    v.update(restarts=len(exits), exits_not_zero=sum(e != 0 for e in exits), llm_calls=s.llm_http("/ledger")["calls"])
    assert_clean(v)
    check(v["exits_not_zero"] == 0 and v["llm_calls"] == total, f"a restart cost something: {v}")
    return v


def cluster(s, a):
    """Three servers, three copies: leaders step down, are killed, are frozen: how long until a new message is done."""
    rounds = a.kills or (8 if a.quick else 105)
    s.llm_http("/control", {"latency-ms": 10})
    s.start_worker(SLUICE_ACK_WAIT=ACK_WAIT)
    s.ready()
    s.replicate()
    paid = PayOnce(s)
    total, times, since_fault, until_done = play(s, rounds, a.quick, paid, progress)
    without_quorum = lose_quorum(s, total, paid)
    total += 21
    wait_for("all documents and outputs", lambda: len(s.documents()) == total and s.left("ENRICH_READY") >= total, 120)
    wait_for("nothing is pending", lambda: s.pending() == 0, 60)
    v = verdict(s, total)
    again = [one for values in times.values() for one in values]
    since = [one for values in since_fault.values() for one in values]
    v.update(paid.figures(total), leader_faults=rounds, slowest_s={name: round(max(values), 2) for name, values in times.items()},
             since_the_fault_p99_s=round(percentile(since, 99), 2), slowest_since_the_fault_s=round(max(since), 2),
             pulling_again_p50_s=round(percentile(again, 50), 2), pulling_again_p99_s=round(percentile(again, 99), 2),
             slowest_until_all_done_s={name: round(max(values), 2) for name, values in until_done.items()},
             after_lost_quorum_s=round(without_quorum, 2))
    assert_clean(v)
    in_time(v["after_lost_quorum_s"], RECOVERED_S, str(v))
    in_time(v["pulling_again_p99_s"], RECOVERED_S, str(v))
    return v


kills.takes = ("messages", "kills")
servers.takes = cluster.takes = labelled_kills.takes = ("kills",)
cluster.stage = ClusterStage
labelled_kills.stores = ("sqlite", "mongodb")
slow_links.prefers = partition.prefers = lying_peers.prefers = "mongodb"  # its link is one of them
CAMPAIGNS = {f.__name__: f for f in (kills, failover, servers, freeze, rolling, outages, disk_full, nats_disk_full, cluster, server_restarts,
                                     labelled_kills, slow_links, partition, isolation, lying_peers, deleted)}
OUTCOMES = {"ok": record.OK, "FAIL": record.FAILED, "skip": record.SKIPPED}


def run(name, store, a):
    """Verdict as of run_twice, its text, and the record. A run that was late may be repeated; one that was wrong is not."""
    figures, seen, runs = {}, {}, 0
    of = commit(ROOT, a.record)  # there may be another one when it has run

    def act(s):
        nonlocal runs
        runs += 1
        start = time.monotonic()
        try:
            made = CAMPAIGNS[name](s, a)
        except (Expired, TimeUp):
            getattr(CAMPAIGNS[name], "judge_late", judge_late)(s)
            raise
        figures.update(made, seconds=round(time.monotonic() - start, 1))
        seen["nats_server"] = s.nats.info["version"]

    verdict, text = run_twice(act, store, 300 if a.quick else 7200, sys.stdout, getattr(CAMPAIGNS[name], "stage", Stage))
    again = {"repeated": "once, " + text.splitlines()[0]} if runs > 1 else {}
    return verdict, text, record.make(f"{name}-{store}", of, command(name, store, a, seen), figures, OUTCOMES[verdict],
                                      reason_in(text), **seen, **again)


def reason_in(text):
    """What a traceback ends with, which can be several lines; or else all of it."""
    lines = text.splitlines()
    frames = [n for n, line in enumerate(lines) if line.startswith("  ")]
    return "\n".join(lines[frames[-1] + 1:] if frames else lines)


def command(name, store, a, servers_seen):
    """What repeats this run alone. A server that was named is named by its version: where it is differs."""
    words = ["SLUICE_NATS_SERVER=nats-server-" + servers_seen["nats_server"]] \
        if os.environ.get("SLUICE_NATS_SERVER") and servers_seen else []
    words += ["tests/faults/run.py", "--campaign", name, "--store", store] + (["--quick"] if a.quick else [])
    for option in ("messages", "kills", "seed"):
        if getattr(a, option) is not None:
            words += ["--" + option, str(getattr(a, option))]
    return " ".join(words)


def report(name, store, a, counts):
    verdict, text, result = run(name, store, a)
    counts[verdict] += 1
    figures = result["figures"]
    if verdict == "ok":
        progress(f"{name}: done in {figures['seconds']} s", True)
        again = f"repeated {result['repeated']}; " if "repeated" in result else ""
        text = again + ", ".join(f"{k} {v}" for k, v in figures.items())
    if a.record:
        record.write(a.record, result)
    word = {"ok": "passed", "FAIL": "FAILED", "skip": "skipped"}[verdict]
    if a.json and verdict == "FAIL":
        print(text, file=sys.stderr)
    print(json.dumps(result) if a.json else f"{word:8} {store:7} {name}: {text}", flush=True)
    return verdict


def chosen(p, a):
    """The campaigns; an option that none of them has is refused."""
    for name in a.campaign or ():
        if name not in CAMPAIGNS:
            p.error(f'--campaign: "{name}": expected one of {", ".join(CAMPAIGNS)}')
    for option in ("messages", "kills"):
        having = [name for name, one in CAMPAIGNS.items() if option in getattr(one, "takes", ())]
        if getattr(a, option) and a.campaign and not set(a.campaign) & set(having):
            p.error(f"--{option}: {', '.join(a.campaign)} has no such number, expected one of {', '.join(having)}")
    return a.campaign or CAMPAIGNS


def main(p, a):
    counts = dict.fromkeys(OUTCOMES, 0)
    for name in chosen(p, a):
        prefers = None if a.store else getattr(CAMPAIGNS[name], "prefers", None)
        if prefers and report(name, prefers, a, counts) != "skip":
            continue
        for store in (a.store,) if a.store else getattr(CAMPAIGNS[name], "stores", ("sqlite",)):
            report(name, store, a, counts)
    print(f"faults: {counts['ok']} passed, {counts['FAIL']} failed, {counts['skip']} skipped")
    return 1 if counts["FAIL"] else 0


if __name__ == "__main__":
    sys.exit(main(PARSER, ARGUMENTS))
