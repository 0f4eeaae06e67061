# SPDX-License-Identifier: Apache-2.0
"""All three servers of a cluster are restarted in turn, as in an update of theirs, and killed in turn, under load."""
import time

from books import ACK_WAIT, RECOVERED_S, PayOnce, assert_clean, percentile, progress, verdict
from cluster import ClusterStage
from stage import in_time, wait_for


def restarted(s, server, how):
    """The messages that were on their way go on meanwhile; the next server is not touched before this one has all copies."""
    if how == "stopped":
        server.stop(60)
    else:
        server.kill()


def in_turn(s, paid, total, how, times, since_end, until_done):
    """10 messages before each restart and 10 while the server is away. How long until the first of these had its document: from
    when the stream took it, which may have had to elect a leader before, and from the server's end."""
    for n in range(3):
        server = s.servers[n]
        s.send_surely(total + 1, 10)
        total += 10
        paid.note(lambda: restarted(s, server, how))  # noqa: B023, called at once
        ended = time.monotonic()
        s.send_surely(total + 1, 1)
        taken = time.monotonic()
        want = f"r-{total + 1}"
        wait_for(f"{want} after {server.name} was {how}", lambda: want in s.documents(), 90)  # noqa: B023, called at once
        times.append(time.monotonic() - taken)
        since_end.append(time.monotonic() - ended)
        s.send_surely(total + 2, 9)
        total += 10
        server.start().wait_ready()
        s.wait_whole()
        wait_for(f"nothing is left after {server.name} was {how}", lambda: s.pending() == 0, 120)
        until_done.append(time.monotonic() - ended)
    return total


def server_restarts(s, a):
    """Each of three servers ends, by SIGTERM or by kill -9, and comes back before the next one ends."""
    rounds = a.kills or (1 if a.quick else 6)
    s.llm.set(latency_ms=50)
    s.start_worker(SLUICE_ACK_WAIT=ACK_WAIT)
    s.ready()
    s.replicate()
    total, times, since_end, until_done, paid = 0, {"stopped": [], "killed": []}, [], [], PayOnce(s)
    for n in range(rounds):
        for how, some in times.items():
            total = in_turn(s, paid, total, how, some, since_end, until_done)
            progress(f"server_restarts: {n + 1}/{rounds}, all three {how}, slowest {max(some):.2f} s", True)
    wait_for("all documents and outputs", lambda: len(s.documents()) == total and s.left("ENRICH_READY") >= total, 120)
    v = verdict(s, total)
    again = [one for some in times.values() for one in some]
    v.update(paid.figures(total), servers_restarted=len(again), pulling_again_p50_s=round(percentile(again, 50), 2),
             pulling_again_p99_s=round(percentile(again, 99), 2),
             since_the_end_p50_s=round(percentile(since_end, 50), 2), slowest_since_the_end_s=round(max(since_end), 2),
             slowest_s={how: round(max(some), 2) for how, some in times.items()},
             slowest_until_all_done_s=round(max(until_done), 2))
    assert_clean(v)
    in_time(v["pulling_again_p99_s"], RECOVERED_S, str(v))
    return v


server_restarts.stage = ClusterStage
server_restarts.takes = ("kills",)
