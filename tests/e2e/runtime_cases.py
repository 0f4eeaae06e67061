# SPDX-License-Identifier: Apache-2.0
"""The runtime's promises to a handler, and how a worker process ends."""
import ctypes, json, os, signal, socket, time
from cases import received
from lib.servers import LLM_KEY
from stage import cases_of, check, wait_for


def everything(s, **env):
    return s.start_worker(SLUICE_WORKER=os.path.join(s.build, "tests/e2e/everything.so"), **env)


def a_handler_can_do_all_that_the_header_says(s):
    everything(s)
    s.ready()
    c = s.client()
    for i, before in ((1, "r-0"), (2, "r-1")):
        body = json.dumps({"request_id": f"r-{i}", "query": f"harbour{i}", "entity_id": before}).encode()
        c.js_publish("context.enrich.request", body, {"Content-Type": "application/json"})
        wait_for(f"message {i} is done", lambda: s.left() == 0)
    docs = s.documents()
    check(sorted(docs) == ["own-r-1", "own-r-2", "r-1", "r-1/2", "r-2", "r-2/2"], f"ids {sorted(docs)}")
    check(docs["r-2"]["summary"].startswith("2ruobrah | ") and "number2" in docs["r-2"]["summary"], docs["r-2"]["summary"])
    check(docs["r-1"]["entity_id"] == "nothing before" and docs["r-2"]["entity_id"] == "r-1", "the look-up")
    check(sorted(s.outputs()) == [f"everything:r-{i}:ready:{n}" for i in (1, 2) for n in (1, 2)], f"outputs {s.outputs()}")
    check(s.llm_http("/ledger")["calls"] == 6, "three questions a message")
    lines = [e["text"] for e in s.events() if e["event"] == "everything.begins"]
    check(len(lines) == 2, f"the handler's first line was written {len(lines)} times for two messages, in all their runs")


def a_handlers_mistakes_fail_its_message_alone(s):
    s.start_worker(SLUICE_WORKER=os.path.join(s.build, "tests/e2e/everything.so"), SLUICE_MAX_DELIVER=1,
                   SLUICE_SUBJECT_REQUEST="context.>", SLUICE_SUBJECT_READY="ready.out", SLUICE_SUBJECT_DEAD="dead.out")
    s.ready()
    c = s.client()
    expected = {"suspend": "nothing pending", "differ": "not deterministic", "prompt": "missing", "output": "nowhere",
                "collection": "[A-Za-z0-9_-]", "many": "64 documents and outputs", "odd": "an odd code",
                "thread": "store: called on another thread", "null": "publish: output or message is NULL"}
    for query in expected:
        c.js_publish("context.mistake.x", json.dumps({"request_id": query, "query": query}).encode(), {"Content-Type": "application/json"})
    c.js_publish("context.other.thing", b"{}", {"Content-Type": "application/json"})
    s.send(1)
    wait_for("no request is left", lambda: s.left() == 0)
    letters = {json.loads(m.data).get("request_id", ""): m.headers["Sluice-Dead-Error"] for m in c.messages("ENRICH_DEAD")}
    wrong = [f"{q}: {letters.get(q)}" for q, words in expected.items() if words not in letters.get(q, "")]
    check(not wrong, "\n".join(wrong))
    check("no handler for type" in letters[""] and "context.other.thing" in letters[""], letters[""])
    check("r-1" in s.documents(), "the next message is not done")


def exit_in_a_handler_is_told(s):
    w = everything(s, SLUICE_SUBJECT_REQUEST="context.>", SLUICE_SUBJECT_READY="ready.out", SLUICE_SUBJECT_DEAD="dead.out")
    s.ready()
    body = json.dumps({"request_id": "exit", "query": "exit"}).encode()
    s.client().js_publish("context.mistake.x", body, {"Content-Type": "application/json"})
    check(w.p.wait(30) == 6, f"exit {w.p.returncode}, expected 6")
    said = s.log_text()
    check("exit() was called while the worker ran; worker=everything seq=1 step=decode" in said, said[-500:])


def a_signal_during_boot_ends_it_at_once(s):
    with socket.socket() as hole:  # takes connections and says nothing
        hole.bind(("127.0.0.1", 0))
        hole.listen()
        for number in (signal.SIGTERM, signal.SIGINT):
            w = s.start_worker(NATS_URL=f"nats://127.0.0.1:{hole.getsockname()[1]}", NATS_CONNECT_TIMEOUT=60)
            wait_for("the connection is being made", lambda: any(e["event"] == "boot" and e["step"] == "publisher" for e in w.log_lines()))
            w.p.send_signal(number)
            check(w.p.wait(30) == 0, f"exit {w.p.returncode}, expected 0")
            check(any(e["event"] == "shutdown" and "during boot" in e["text"] for e in w.log_lines()), w.log_text()[-500:])


def a_journal_that_is_away_is_told(s):
    s.start_worker()
    s.ready()
    s.send(1)
    s.expect_done(1)
    wait_for("all is well", lambda: journal_status(s) == ("healthy", "healthy"))
    config = s.nats.api("STREAM.INFO.KV_SLUICE_JOURNAL")["config"]
    s.nats.api("STREAM.DELETE.KV_SLUICE_JOURNAL")
    s.send(6, first=2)
    s.expect_done(7)
    wait_for("/health says so", lambda: journal_status(s) == ("degraded", "unhealthy"))
    told = [e for e in s.events() if e["event"] == "journal.unavailable"]
    check(len(told) == 1 and told[0]["level"] == "warn" and told[0]["failures"] >= 1, f"told {told}")
    s.nats.api("STREAM.CREATE.KV_SLUICE_JOURNAL", config)
    s.send(1, first=8)
    s.expect_done(8)
    wait_for("/health says that it is back", lambda: journal_status(s) == ("healthy", "healthy"))
    check(any(e["event"] == "journal.available" for e in s.events()), "the log does not say that it is back")


def journal_status(stage):
    health = stage.health()
    return health["status"], health["services"]["journal"]["status"]


def streamed_answers_are_the_same(s):
    s.start_worker(LLM_STREAM=1)
    s.ready()
    s.llm_http("/control", {"cut": 30})
    s.send(20)
    wait_for("some cut streams", lambda: s.llm_http("/ledger")["failed"] >= 3)
    s.llm_http("/control", {"cut": 0})
    s.expect_done(20)
    docs = s.documents()
    check(all(f"harbour{i}" in docs[f"r-{i}"]["summary"] for i in range(1, 21)), "a summary has no word of its request")
    check(all(d["prompt_tokens"] > 0 and d["completion_tokens"] > 0 for d in docs.values()), "token usage")


def further_headers_reach_the_llm_and_never_show(s):
    for name, secret in ("key", f"Bearer {LLM_KEY}"), ("fault", "bad-json"):
        with open(os.path.join(s.dir, name), "w") as f:
            f.write(secret + "\n")
    yaml = os.path.join(s.dir, "worker.yaml")
    with open(yaml, "w") as f:
        f.write(f"llm:\n  headers:\n    Authorization_file: {s.dir}/key\n    X-Sluice-Fault: 429\n")
    w = s.start_worker(["--config", yaml], LLM_API_KEY=None, LLM_HEADER_X_SLUICE_FAULT_FILE=os.path.join(s.dir, "fault"),
                       SLUICE_LLM_THREADS=1, SLUICE_MAX_IN_FLIGHT=1100)
    s.ready()
    s.send(1)
    wait_for("the model fails as the header says", lambda: s.llm_http("/ledger")["by_fault"].get("bad-json", 0) > 0)
    check(s.llm_http("/ledger")["by_fault"].get("429", 0) == 0, "the file's header was sent")
    w.p.send_signal(signal.SIGTERM)
    check(w.p.wait(30) == 0, f"exit {w.p.returncode}")
    s.start_worker(["--config", yaml], LLM_API_KEY=None, LLM_HEADER_X_SLUICE_FAULT="")
    s.ready()
    s.expect_done(1)  # that no secret shows is looked at after each case


def a_connection_lost_for_good_ends_with_exit_1(s):
    w = s.start_worker(NATS_MAX_RECONNECT_ATTEMPTS=3, NATS_RECONNECT_TIME_WAIT="0.2")
    s.ready()
    s.nats_server.kill()
    check(w.p.wait(60) == 1, f"exit {w.p.returncode}, expected 1")
    check(any(e["event"] == "nats.lost" for e in s.events()), "the log does not say why")
    s.nats_server.start().wait_ready()
    s.start_worker()
    s.ready()
    s.send(1)
    s.expect_done(1)


def what_the_server_denies_is_told(s):
    s.start_worker(**s.deny_publish("$JS.API.CONSUMER.MSG.NEXT.>"))
    wait_for("the log says so", lambda: any(e["event"] == "nats.refused" for e in s.events()))
    told = [e for e in s.events() if e["event"] == "nats.refused"]
    check(len(told) == 1 and told[0]["level"] == "warn" and told[0]["link"] == "pull", f"told {told}")
    check("$JS.API.CONSUMER.MSG.NEXT." in told[0]["text"], told[0]["text"])
    status, answer = s.probe_with("/readyz", "nats_denied")  # it may be starting still
    check(status == 503 and answer["reason"] == "nats_denied" and answer["denied"]["link"] == "pull", answer)
    check("$JS.API.CONSUMER.MSG.NEXT." in answer["denied"]["text"], answer)
    s.deny_publish("nobody.cares")
    s.ready()
    s.send(1)
    s.expect_done(1)


def an_output_subject_that_is_denied_is_told_by_the_probe(s):
    s.start_worker(**s.deny_publish("context.enrich.ready"))
    s.ready()
    s.send(1)
    status, answer = s.probe_with("/readyz", '"denied"')
    check(status == 200 and answer["degraded"] is True and answer["denied"]["link"] == "publish", answer)
    check('"context.enrich.ready"' in answer["denied"]["text"], answer)


def a_deleted_output_stream_is_told_before_the_publish_timeout(s):
    s.start_worker(SLUICE_PUBLISH_TIMEOUT=60)
    s.ready()
    c = s.client()
    c.stream_delete("ENRICH_READY")
    s.send(3)
    wait_for("the log says so", lambda: any(e["event"] == "publish.no_stream" for e in s.events()))
    told = [e for e in s.events() if e["event"] == "publish.no_stream"]
    check(len(told) == 1 and told[0]["level"] == "warn", f"told {told}")
    check((told[0]["subject"], told[0]["stream"]) == ("context.enrich.ready", "ENRICH_READY"), told[0])
    c.stream_create("ENRICH_READY", ["context.enrich.ready"])
    s.expect_done(3)
    check(not any(e["event"] == "message.failed" for e in s.events()), "a message was given back")


def calling(s, count, **env):
    """A worker with so many LLM calls that do not end."""
    s.llm_http("/control", {"latency-ms": 60000})
    w = s.start_worker(**env)
    s.ready()
    s.send(count)
    wait_for("all calls run at once", lambda: s.llm_http("/ledger")["calls"] == count, 60)
    return w


def an_exceeded_grace_ends_with_exit_4_and_gives_back(s):
    w = calling(s, 3, SLUICE_SHUTDOWN_GRACE=1)
    w.p.send_signal(signal.SIGTERM)
    check(w.p.wait(30) == 4, f"exit {w.p.returncode}, expected 4")
    s.llm_http("/control", {"latency-ms": 0})
    s.start_worker()
    s.ready()
    s.expect_done(3)
    check(s.client().count("ENRICH_DEAD") == 0, "a drain counted as a failure")


def calls_beyond_those_of_the_loop_are_carried_by_threads(s):
    many = {"SLUICE_MAX_IN_FLIGHT": 1200, "SLUICE_LLM_THREADS": 2, "SLUICE_ACK_WAIT": 30}
    w = calling(s, 1200, SLUICE_SHUTDOWN_GRACE=1, **many)
    check([e["threads"] for e in s.events() if e["event"] == "llm.threads"] == [2], "the log does not name two threads")
    w.p.send_signal(signal.SIGTERM)
    check(w.p.wait(30) == 4, f"exit {w.p.returncode}, expected 4")
    s.llm_http("/control", {"latency-ms": 500})
    w = s.start_worker(**many)
    s.ready()
    s.expect_done(1200)
    w.p.send_signal(signal.SIGTERM)
    check(w.p.wait(30) == 0, f"exit {w.p.returncode}, expected 0")
    check(s.client().count("ENRICH_DEAD") == 0, "a drain counted as a failure")


CRASHES = signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL


def threads(pid):
    """Of each thread: its id, and what /proc says of it."""
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/status") as lines:
            yield int(thread), dict(line.rstrip("\n").split(":\t", 1) for line in lines if ":\t" in line)


def is_blocked(status, number):
    return int(status["SigBlk"], 16) >> (number - 1) & 1


def deaf(status):
    return [number.name for number in CRASHES if is_blocked(status, number)]


def a_crash_on_any_thread_is_told(s):
    s.needs_plain_threads()
    for unhappy in ("sluice-store", "sluice-llm", "one of cnats"):
        w = s.start_worker(SLUICE_LLM_THREADS=1)
        s.ready()
        # A thread that is just being made blocks all of them for a moment.
        wait_for("each thread hears of its crash", lambda: not any(deaf(status) for _, status in threads(w.p.pid)))  # noqa: B023, called at once
        names = {status["Name"]: thread for thread, status in threads(w.p.pid)}
        for thread, status in threads(w.p.pid):
            check(is_blocked(status, signal.SIGHUP), f"thread {thread} ({status['Name']}) may be given SIGHUP")
        # Those of cnats have no name of their own: the one that was made last.
        thread = names.get(unhappy, max(thread for thread, _ in threads(w.p.pid)))
        check(ctypes.CDLL(None).tgkill(w.p.pid, thread, signal.SIGSEGV) == 0, f"no thread {unhappy} among {names}")
        check(w.p.wait(30) == -signal.SIGSEGV, f"exit {w.p.returncode}, expected that of a crash")
        check("sluice: crash: signal 11 outside a handler, on thread " in w.log_text(), f"no crash report: {w.log_text()[-500:]}")
        check(unhappy not in names or f"on thread {unhappy}\n" in w.log_text(), f"another thread: {w.log_text()[-500:]}")


def a_handler_without_stack_is_told(s):
    s.needs_plain_threads()
    w = s.start_worker(SLUICE_WORKER=os.path.join(s.build, "tests/e2e/poison.so"))
    s.ready()
    s.send(1, query="DEEP")
    check(w.p.wait(60) == -signal.SIGSEGV, f"exit {w.p.returncode}, expected that of a crash")
    check("crash: signal 11 in the handler; worker=poison seq=1 step=decode" in w.log_text(), f"no crash report: {w.log_text()[-500:]}")


def a_second_signal_ends_at_once(s):
    w = calling(s, 1, SLUICE_SHUTDOWN_GRACE=3600)
    w.p.send_signal(signal.SIGTERM)
    wait_for("draining", lambda: s.probe("/readyz")[0] == 503)
    w.p.send_signal(signal.SIGINT)
    check(w.p.wait(30) == 4, f"exit {w.p.returncode}, expected 4")


def a_signal_that_is_sent_twice_is_one(s):
    """As GNU timeout sends it, to the process and to its group."""
    w = calling(s, 1, SLUICE_SHUTDOWN_GRACE=3600)
    w.freeze()
    # Both are there when it goes on: one is kept for the main thread, the other one for all of them.
    check(ctypes.CDLL(None).tgkill(w.p.pid, w.p.pid, signal.SIGTERM) == 0, "no main thread")
    w.p.send_signal(signal.SIGTERM)
    w.thaw()
    wait_for("both are heard", lambda: w.p.poll() is not None or any(e["event"] == "shutdown.same" for e in s.events()))
    s.llm.kill()  # the call fails, and its message is given back
    check(w.p.wait(30) == 0, f"exit {w.p.returncode}, expected 0")
    check(s.left() == 1, "the message is gone")


def hanging(s, **env):
    """A worker in whose loop a handler hangs."""
    w = s.start_worker(SLUICE_WORKER=os.path.join(s.build, "tests/e2e/hang.so"), SLUICE_ACK_WAIT=30, **env)
    s.ready()
    s.send(1)
    wait_for("the handler hangs", lambda: any(e["event"] == "hang.begins" for e in s.events()))
    return w


def a_handler_that_hangs_does_not_outlive_the_grace(s):
    w = hanging(s, SLUICE_STALL_LIMIT=9, SLUICE_SHUTDOWN_GRACE=1)
    w.p.send_signal(signal.SIGTERM)
    check(w.p.wait(30) == 4, f"exit {w.p.returncode}, expected 4")
    said = [e for e in s.events() if e["event"] == "shutdown.unfinished"]
    check(len(said) == 1 and (said[0]["worker"], said[0]["seq"]) == ("hang", 1), f"the log does not say what hangs: {said}")
    check(s.left() == 1, "the request is gone")


def the_watchdog_looks_during_a_shutdown(s):
    w = hanging(s, SLUICE_STALL_LIMIT=4, SLUICE_SHUTDOWN_GRACE=60)
    w.p.send_signal(signal.SIGTERM)
    check(w.p.wait(30) == 5, f"exit {w.p.returncode}, expected 5")
    check("watchdog" in s.log_text() and s.left() == 1, s.log_text()[-500:])


def a_second_signal_ends_a_handler_that_hangs(s):
    w = hanging(s, SLUICE_STALL_LIMIT=9, SLUICE_SHUTDOWN_GRACE=3600)
    w.p.send_signal(signal.SIGTERM)
    wait_for("the end", lambda: w.p.poll() is not None or w.p.send_signal(signal.SIGTERM))  # late enough, it is a second one
    check(w.p.returncode == 4, f"exit {w.p.returncode}, expected 4")


def a_handler_that_returns_after_the_grace_gives_back(s):
    w = hanging(s, SLUICE_STALL_LIMIT=9, SLUICE_SHUTDOWN_GRACE=0, HANG_MS=2000)
    s.send(1, first=2)
    w.p.send_signal(signal.SIGTERM)
    check(w.p.wait(30) == 4, f"exit {w.p.returncode}, expected 4")
    check(any(e["event"] == "connections.closed" for e in s.events()), f"the end of the log: {s.log_text()[-500:]}")


def wandering(s, **env):
    """A worker whose function outlives its message, and has."""
    w = s.start_worker(SLUICE_WORKER=os.path.join(s.build, "tests/e2e/wanderer.so"), SLUICE_ACK_WAIT=30, SLUICE_HANDLER_TIMEOUT=1,
                       MALLOC_CONF="junk:true", **env)
    s.ready()
    s.send(1, query="wander")
    wait_for("its message has failed", lambda: any(e["event"] == "message.failed" for e in s.events()))
    return w


def an_offloaded_function_may_outlive_its_message(s):
    w = wandering(s, OFFLOAD_MS=1500, SLUICE_NAK_DELAY=3600, SLUICE_NAK_DELAY_MAX=3600)
    s.send(1, first=2)
    wait_for("the other one is done", lambda: s.left() == 1)
    w.p.send_signal(signal.SIGTERM)
    check(w.p.wait(30) == 0, f"exit {w.p.returncode}, expected 0")


def an_offloaded_function_that_never_returns_does_not_keep_the_process(s):
    w = wandering(s, SLUICE_NAK_DELAY=3600, SLUICE_NAK_DELAY_MAX=3600, SLUICE_SHUTDOWN_GRACE=3600)
    w.p.send_signal(signal.SIGTERM)
    check(w.p.wait(30) == 0, f"exit {w.p.returncode}, expected 0")
    said = [e for e in s.events() if e["event"] == "shutdown.unfinished"]
    check(len(said) == 1 and said[0]["functions"] == 1, f"the log does not say what is left: {said}")
    check(s.left() == 1, "the request is gone")


def functions_that_hold_all_threads_end_the_process(s):
    """Or each neighbour that needs a thread would be buried for its deadline."""
    w = wandering(s, UV_THREADPOOL_SIZE=2)  # its second delivery takes the other thread
    check(w.wait_exit(60) == 5, f"exit {w.code}, expected 5")
    check(any(e["event"] == "offload.stuck" and e["threads"] == 2 for e in s.events()), s.log_text()[-500:])
    check(s.left() == 1, "the request is gone")


def a_worker_whose_end_hangs_is_ended(s):
    w = s.start_worker(SLUICE_WORKER=os.path.join(s.build, "tests/e2e/hang.so"), SLUICE_SHUTDOWN_GRACE=1, HANG_IN_DESTROY=1)
    s.ready()
    w.p.send_signal(signal.SIGTERM)
    check(w.p.wait(30) == 4, f"exit {w.p.returncode}, expected 4")
    check(any(e["event"] == "shutdown.unfinished" for e in s.events()), s.log_text()[-500:])


def a_closed_standard_stream_harms_nobody(s):
    for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        w = s.start_worker(inside=["sh", "-c", f'exec "$@" {closed}', "sh"])
        s.ready()
        w.p.send_signal(signal.SIGTERM)
        check(w.p.wait(30) == 0, f"{closed}: exit {w.p.returncode}, expected 0")


def a_frozen_process_is_not_taken_for_a_stalled_loop(s):
    w = s.start_worker(SLUICE_STALL_LIMIT=0.5)
    s.ready()
    for n in range(8):
        w.freeze()
        end = time.monotonic() + 1.2  # longer than the limit and than a gap between two looks
        wait_for("the limit to be over", lambda: time.monotonic() > end)
        w.thaw()
        s.send(1, first=n + 1)
        wait_for("the message is done", lambda: not w.is_alive() or s.left() == 0)
        check(w.is_alive(), f"ended with {w.code} after freeze {n + 1}")


def a_lone_message_waits_for_an_llm_that_is_away(s):
    s.start_worker(LLM_BREAKER_RESET=3)  # it is seen open, and its calls are counted, before it tries again
    s.ready()
    s.llm.set(f503=100)
    s.send(1)
    wait_for("the breaker is open", lambda: s.health()["services"]["llm"]["breaker"] == "open")
    asked = s.llm.ledger()["calls"]
    check(asked == 10, f"{asked} calls, expected 10 until it opens")
    s.llm.set(f503=0)
    s.expect_done(1)
    check(s.nats.count("ENRICH_DEAD") == 0, "a dead letter for an outage of the LLM")


def outage_outlasts_all_attempts(s, first, end):
    """Five messages, more trials of each than it has attempts."""
    numbers = range(first, first + 5)
    s.send(5, first)
    wait_for("four deliveries of each message", lambda: all(len(received(s, i)) >= 4 for i in numbers), 60)
    check(s.left() == 5, f"{s.left()} requests left, expected all 5")
    end()
    s.expect_done(first + 4)
    check(s.nats.count("ENRICH_DEAD") == 0, "a dead letter for an outage of the LLM")


def an_outage_is_not_held_against_few_messages_with_two_attempts(s):
    s.start_worker(SLUICE_MAX_DELIVER=2, LLM_BREAKER_RESET=0.2)
    s.ready()
    s.llm.set(f503=100)
    outage_outlasts_all_attempts(s, 1, lambda: s.llm.set(f503=0))
    s.llm.kill()
    outage_outlasts_all_attempts(s, 6, lambda: s.llm.start().wait_ready())
    failed = [e for e in s.events() if e["event"] == "message.failed"]
    check(failed and all((e["reason"], e["failures"]) == ("dependency_down", 0) for e in failed), f"{failed[:3]}")


for case in (a_lone_message_waits_for_an_llm_that_is_away, an_outage_is_not_held_against_few_messages_with_two_attempts, exit_in_a_handler_is_told, a_signal_during_boot_ends_it_at_once, a_journal_that_is_away_is_told,
             a_connection_lost_for_good_ends_with_exit_1,
             a_deleted_output_stream_is_told_before_the_publish_timeout, what_the_server_denies_is_told,
             an_output_subject_that_is_denied_is_told_by_the_probe, an_exceeded_grace_ends_with_exit_4_and_gives_back, a_second_signal_ends_at_once,
             calls_beyond_those_of_the_loop_are_carried_by_threads, a_crash_on_any_thread_is_told, a_handler_without_stack_is_told,
             further_headers_reach_the_llm_and_never_show,
             a_handler_that_hangs_does_not_outlive_the_grace, the_watchdog_looks_during_a_shutdown,
             a_second_signal_ends_a_handler_that_hangs, a_handler_that_returns_after_the_grace_gives_back,
             a_worker_whose_end_hangs_is_ended, an_offloaded_function_may_outlive_its_message,
             an_offloaded_function_that_never_returns_does_not_keep_the_process, functions_that_hold_all_threads_end_the_process,
             a_closed_standard_stream_harms_nobody, a_frozen_process_is_not_taken_for_a_stalled_loop):
    case.once = "no store takes part"
del case  # it would be a case of its own
CASES = cases_of(globals())
