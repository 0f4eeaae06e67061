# SPDX-License-Identifier: Apache-2.0
"""The test tools, tested against real servers: a tool that cannot fail proves nothing."""
import contextlib
import importlib.util
import io
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import types

from lib import proxy as proxies
from lib import wait, wire
from lib.nats import ApiError, Nats, NatsError, NoResponders, Timeout
from lib.netns import Netns
from lib.ports import free_port
from lib.process import Process
from lib.proxy import NatsProxy, Proxy
from lib.runner import BOTH, case
from lib.servers import BUILT_SERVERS, LLM_KEY, ROOT, SECRETS, NatsCluster, NatsServer, find_program, http
from lib.world import World

HERE = os.path.dirname(os.path.abspath(__file__))


def raises(kind, function):
    try:
        function()
    except kind as error:
        return error
    raise AssertionError("expected %s" % kind.__name__)


# ---- waiting


@case()
def waiting_gives_up_and_says_what_was_awaited(w):
    error = raises(wait.Expired, lambda: wait.until("the moon", lambda: 0, deadline=0.05))
    assert "the moon" in str(error) and "seen last: 0" in str(error), error
    error = raises(wait.Expired, lambda: wait.equal("two", 2, lambda: 1, deadline=0.05))
    assert "1, wanted 2" in str(error), error
    raises(wait.Expired, lambda: wait.holds("daylight", iter([1, 1, 0]).__next__, 5))
    wait.holds("daylight", lambda: True, 0.1)


@case()
def ports_are_free_and_never_the_same(w):
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == 50
    for port in ports:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", port))


# ---- processes


@case()
def a_process_is_stopped_killed_and_frozen_by_its_pid(w):
    sleeper = w.part(Process("sleeper", ["sleep", "60"], w.folder)).start()
    assert sleeper.is_alive() and sleeper.code is None
    sleeper.freeze()
    wait.until("state T", lambda: open("/proc/%d/stat" % sleeper.pid).read().rsplit(")", 1)[1].split()[0] == "T")
    sleeper.thaw()
    assert sleeper.stop() == -signal.SIGTERM
    sleeper.start()
    sleeper.kill()
    assert sleeper.code == -signal.SIGKILL and sleeper.starts == 2
    shell = w.part(Process("shell", ["sh", "-c", "echo hello; exit 7"], w.folder)).start()
    assert shell.wait_exit() == 7 and "hello" in shell.log_text(start=1)


@case()
def a_process_dies_with_the_test_that_started_it(w):
    script = textwrap.dedent("""
        import sys, time
        sys.path.insert(0, %r)
        from lib.process import Process
        print(Process("sleeper", ["sleep", "60"], %r).start().pid, flush=True)
        time.sleep(60)
    """ % (os.path.dirname(HERE), w.folder))
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    wait.until("the child to be set up", lambda: open("/proc/%d/comm" % child).read() == "sleep\n", 5)
    parent.kill()
    parent.wait()

    def is_gone():
        try:
            return open("/proc/%d/stat" % child).read().rsplit(")", 1)[1].split()[0] == "Z"
        except FileNotFoundError:
            return True

    wait.until("the child to be gone", is_gone, 5)


# ---- NATS


@case()
def the_client_speaks_core_nats_with_headers(w):
    nats = w.start_nats().client()
    inbox = nats.subscribe("a.*")
    nats.publish("a.b", b"one")
    nats.publish("a.c", b"two", {"X": "1", "Y": ["p", "q"]}, reply="r")
    first, second = inbox.next(), inbox.next()
    assert (first.subject, first.data, first.headers, first.reply) == ("a.b", b"one", {}, None)
    assert (second.data, second.headers, second.reply) == (b"two", {"X": "1", "Y": ["p", "q"]}, "r")
    raises(Timeout, lambda: inbox.next(0.05))
    raises(NoResponders, lambda: nats.request("nobody.there"))
    nats.flush()
    big = os.urandom(700_000)
    nats.publish("a.big", big)
    assert inbox.next().data == big
    inbox.close()
    nats.publish("a.b", b"three")
    nats.flush()
    assert inbox.queue.empty()


@case()
def the_client_is_refused_with_a_wrong_password(w):
    server = w.start_nats()
    error = raises(NatsError, lambda: Nats(server.url, user="sluice", password="wrong"))
    assert "Authorization" in str(error), error


@case()
def the_client_finds_its_way_back_after_kill_9(w):
    server = w.start_nats()
    nats = server.client()
    nats.stream_create("S", ["s"])
    inbox = nats.subscribe("back")
    nats.js_publish("s", b"1", msg_id="1")
    server.kill()
    wait.until("a call to fail", lambda: not nats.is_jetstream_up(), 5)
    server.start()
    nats.js_publish_surely("s", b"2", msg_id="2")
    nats.js_publish_surely("s", b"2", msg_id="2")
    assert [one.data for one in nats.messages("S")] == [b"1", b"2"]
    nats.publish("back", b"again")
    assert inbox.next().data == b"again"


@case()
def jetstream_is_reached_by_its_api(w):
    nats = w.start_nats().client()
    nats.stream_create("S", ["s.>"], retention="workqueue")
    nats.consumer_create("S", "c", ack_wait=10**9)
    assert nats.consumer_update("S", "c", ack_wait=2 * 10**9)["config"]["ack_wait"] == 2 * 10**9
    assert nats.consumer_names("S") == ["c"]
    assert nats.js_publish("s.a", b"x", {"K": "v"}, msg_id="one")["seq"] == 1
    assert nats.js_publish("s.a", b"x", msg_id="one")["duplicate"] is True
    nats.js_publish("s.b", b"y")
    stored = nats.message("S", 1)
    assert (stored.subject, stored.data, stored.headers["K"], stored.headers["Nats-Msg-Id"]) == ("s.a", b"x", "v", "one")
    assert nats.message("S", 99) is None
    first, second = nats.pull("S", "c", batch=5, expires=0.3)
    nats.settle(first)
    assert [one.seq for one in nats.messages("S")] == [2]
    nats.settle(second, "-NAK")
    again, = nats.pull("S", "c", batch=1)
    assert again.data == b"y" and again.reply.split(".")[4] == "2"
    nats.settle(again, "+TERM")
    assert nats.stream_state("S")["messages"] == 0
    for number in range(450):
        nats.publish("s.many", b"%d" % number)
    nats.flush()  # the server has read them; newer ones store a little later
    wait.equal("messages stored", 450, lambda: nats.stream_state("S")["messages"])
    nats.api("STREAM.MSG.DELETE.S", {"seq": 5})
    assert len(nats.messages("S")) == 449
    assert nats.stream_purge("S") == 449
    nats.consumer_delete("S", "c")
    assert raises(ApiError, lambda: nats.consumer_info("S", "c")).code == 404
    nats.stream_delete("S")
    assert not nats.stream_exists("S")


@case()
def key_values_are_read_and_written(w):
    nats = w.start_nats().client()
    nats.kv_create("B")
    nats.kv_put("B", "k.1", b"one")
    nats.kv_put("B", "k.2", b"two")
    nats.kv_put("B", "k.1", b"uno")
    nats.js_publish("$KV.B.k.2", b"", {"KV-Operation": "DEL"})
    assert nats.kv_get("B", "k.1") == b"uno" and nats.kv_get("B", "k.2") is None and nats.kv_get("B", "none") is None
    assert nats.kv_keys("B") == ["k.1"]


@case()
def the_pinned_server_is_the_one_that_was_asked_for(w):
    nats = w.start_nats(pinned=True).client()
    assert nats.info["version"] == "2.12.15", nats.info["version"]


@case(timeout=180)
def a_cluster_of_three_goes_on_when_its_leader_is_killed(w):
    cluster = w.part(NatsCluster(w.folder)).start().wait_ready()
    nats = cluster.client()
    wait.until("a replicated stream", lambda: nats.stream_create("S", ["s"], num_replicas=3), 20)
    nats.js_publish_surely("s", b"1", msg_id="1")
    leader = nats.stream_info("S")["cluster"]["leader"]
    victim = next(one for one in cluster.servers if one.name == leader)
    victim.kill()
    survivor = next(one for one in cluster.servers if one.is_alive()).client()
    survivor.js_publish_surely("s", b"2", msg_id="2", deadline=60)
    wait.equal("both messages", [b"1", b"2"], lambda: [one.data for one in survivor.messages("S")], 30)
    assert survivor.stream_info("S")["cluster"]["leader"] != leader
    victim.start().wait_ready(40)


# ---- the proxy


def echo_server(w):
    """A line comes back as it went; returns the port."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(16)

    def serve(connection):
        try:
            with connection, connection.makefile("rb") as lines:
                for line in lines:
                    connection.sendall(line)
        except OSError:
            pass

    def accept():
        while True:
            threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


def say(port, line=b"hello\n", timeout=2.0):
    with socket.create_connection(("127.0.0.1", port), timeout) as sock:
        sock.settimeout(timeout)
        sock.sendall(line)
        got = b""
        while len(got) < len(line):
            more = sock.recv(100)
            if not more:
                break
            got += more
        return got


@case()
def the_proxy_passes_delays_cuts_and_refuses(w):
    proxy = w.part(Proxy(echo_server(w)))
    assert say(proxy.port) == b"hello\n"
    proxy.delay(0.1)
    start = time.monotonic()
    assert say(proxy.port) == b"hello\n" and time.monotonic() - start >= 0.2
    proxy.heal()
    proxy.cut_after(3, "down")
    assert say(proxy.port) == b"hel"
    proxy.heal()
    proxy.accept_and_close()
    try:
        assert say(proxy.port) == b""
    except ConnectionError:
        pass
    proxy.refuse()
    raises(ConnectionRefusedError, lambda: say(proxy.port))
    proxy.heal()
    assert say(proxy.port) == b"hello\n" and proxy.accepted == 5, proxy.accepted


@case()
def the_proxy_throttles_and_cuts_where_chance_says(w):
    proxy = w.part(Proxy(echo_server(w)))
    proxy.throttle(2000)
    start = time.monotonic()
    assert say(proxy.port, b"x" * 399 + b"\n", 20) and time.monotonic() - start >= 0.39
    proxy.heal()
    proxy.cut_after((2, 4), "down")
    got = say(proxy.port)
    assert 2 <= len(got) <= 4 and b"hello".startswith(got) and proxy.cuts == 1, got
    proxy.heal()
    assert say(proxy.port) == b"hello\n"


@case()
def a_namespace_swallows_packets_and_heals(w):
    net = w.part(Netns())
    server = w.start_nats(host=net.address(1))
    program = "import socket, sys; print(socket.create_connection((sys.argv[1], int(sys.argv[2])), 1).recv(4))"

    def seen():
        ran = subprocess.run([*net.inside(), sys.executable, "-c", program, server.host, str(server.port)], capture_output=True,
                             text=True, timeout=60)
        return ran.stdout.strip() or ran.stderr.strip().splitlines()[-1]

    wait.until("the server is seen from inside", lambda: seen() == "b'INFO'")
    net.vanish(server.host)
    assert "timed out" in seen() or "timeout" in seen(), seen()
    net.heal()
    net.unreachable(server.host)
    assert "nreachable" in seen() or "No route" in seen(), seen()
    net.heal()
    wait.until("the server is seen again", lambda: seen() == "b'INFO'")


@case()
def the_proxy_holds_back_one_way_and_delivers_later(w):
    proxy = w.part(Proxy(echo_server(w)))
    with socket.create_connection(("127.0.0.1", proxy.port), 5) as sock:
        sock.sendall(b"a\n")
        assert sock.recv(10) == b"a\n"
        proxy.blackhole("down")
        sock.sendall(b"b\n")
        sock.settimeout(0.2)
        raises(socket.timeout, lambda: sock.recv(10))
        proxy.heal()
        sock.settimeout(5)
        assert sock.recv(10) == b"b\n"
        proxy.cut(reset=True)
        raises(ConnectionResetError, lambda: sock.recv(10) or sock.sendall(b"c\n") or sock.recv(10))


@case()
def the_proxy_swallows_a_puback_though_the_message_is_stored(w):
    server = w.start_nats()
    direct = server.client()
    direct.stream_create("S", ["s"])
    proxy = w.part(NatsProxy(server.port))
    through = Nats("nats://127.0.0.1:%d" % proxy.port, server.user, server.password)
    rule = proxy.on_answer(proxies.is_publish("s"))
    raises(Timeout, lambda: through.js_publish("s", b"1", msg_id="1", timeout=0.3))
    assert rule.seen == 1 and direct.stream_state("S")["messages"] == 1
    assert through.js_publish("s", b"1", msg_id="1")["duplicate"]
    proxy.on_answer(proxies.is_publish("s"), lambda frame: frame.with_body(b'{"stream":"S","seq":0,"duplicate":true}'))
    assert through.js_publish("s", b"2")["seq"] == 0
    lost = proxy.on_request(proxies.is_publish("s"), lambda frame: None)
    raises(Timeout, lambda: through.js_publish("s", b"3", timeout=0.3))
    assert lost.seen == 1 and direct.stream_state("S")["messages"] == 2


@case()
def the_proxy_swallows_the_answer_to_an_ack(w):
    server = w.start_nats()
    direct = server.client()
    direct.stream_create("S", ["s"], retention="workqueue")
    direct.consumer_create("S", "c")
    proxy = w.part(NatsProxy(server.port))
    through = Nats("nats://127.0.0.1:%d" % proxy.port, server.user, server.password)
    direct.js_publish("s", b"1")
    message, = through.pull("S", "c")
    proxy.on_answer(proxies.is_verdict("+ACK"))
    raises(Timeout, lambda: through.settle(message, timeout=0.3))
    assert direct.stream_state("S")["messages"] == 0
    seen = []
    proxy.on_request(proxies.is_verdict("-NAK"), lambda frame: seen.append(frame.body) or frame)
    direct.js_publish("s", b"2")
    message, = through.pull("S", "c")
    through.settle(message, '-NAK {"delay": 5}')
    assert seen == [b'-NAK {"delay": 5}']


# ---- protobuf


@case()
def messages_are_encoded_as_protoc_does(w):
    request = {"request_id": "r-1", "entity_id": "e", "query": "what?", "inputs": ["a", "b\u00e9"], "created_at": -5,
               "attributes": {"k": "v"}}
    packed = wire.encode("ContextEnrichRequest", request)
    assert {k: v for k, v in wire.decode("ContextEnrichRequest", packed).items() if v} == request
    pack = {"pack_id": "p", "summary": "s", "items": [{"content": "c", "score": 0.25}], "prompt_tokens": 300}
    event = wire.decode("ContextEnrichReady", wire.encode("ContextEnrichReady", {"request_id": "r", "pack": pack}))
    assert event["pack"]["items"][0]["score"] == 0.25 and event["pack"]["prompt_tokens"] == 300
    raises((ValueError, IndexError), lambda: wire.decode("ContextEnrichRequest", b"\x0a\xff\x01"))
    protoc = find_program("protoc")
    if protoc:
        text = 'request_id:"r-1" entity_id:"e" query:"what?" inputs:"a" inputs:"b\u00e9" attributes{key:"k" value:"v"} created_at:-5'
        theirs = subprocess.run([protoc, "-I", ROOT + "/proto/context/v1", "--encode=context.v1.ContextEnrichRequest",
                                 "context.proto"], input=text.encode(), stdout=subprocess.PIPE, check=True).stdout
        assert theirs == packed, (theirs, packed)


# ---- stores and LLM


@case(stores=BOTH)
def documents_are_read_and_survive_a_kill(w):
    store = w.start_store()
    if store.kind == "sqlite":
        import sqlite3
        db = sqlite3.connect(store.path)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute('CREATE TABLE "packs" (_id TEXT PRIMARY KEY, doc TEXT NOT NULL, updated_at INTEGER)')
        db.execute("""INSERT INTO "packs" VALUES ('a', '{"summary":"x"}', 1)""")
        db.commit()
    else:
        import pymongo
        client = pymongo.MongoClient(store.environment()["MONGODB_URI"])
        client[store.database].packs.insert_one({"_id": "a", "summary": "x"})
        client.close()
        if store.server:
            store.server.kill()
            raises(OSError, lambda: store.documents("packs"))
            store.server.start()
            store.wait_ready()
    assert store.documents("packs")["a"]["summary"] == "x" and store.documents("none") == {}


@case()
def the_llm_simulator_counts_calls_and_faults(w):
    from lib.servers import LLM_KEY, http
    llm = w.start_llm()
    ask = {"model": "m", "messages": [{"role": "user", "content": "Tell me about juniper."}]}
    headers = {"Content-Type": "application/json", "Authorization": "Bearer " + LLM_KEY}
    assert http("POST", llm.url + "/chat/completions", ask, headers)[0] == 200
    llm.set(f500=100)
    assert http("POST", llm.url + "/chat/completions", ask, headers)[0] == 500
    wait.equal("the ledger", (2, 1, 1), lambda: tuple(llm.ledger()[key] for key in ("calls", "answered", "failed")), 5)
    llm.set(f500=0)
    llm.reset_ledger()
    assert llm.ledger()["calls"] == 0
    assert http("POST", llm.url + "/chat/completions", ask, {"Content-Type": "application/json"})[0] == 401


# ---- the ledger


@case()
def the_llm_simulator_keeps_its_books_while_it_is_put_down(w):
    llm = w.start_llm("--quiet")

    def ask(question):
        body = {"model": "sim-1", "messages": [{"role": "user", "content": question}]}
        return http("POST", llm.url + "/chat/completions", body, {"Authorization": "Bearer " + LLM_KEY,
                                                                  "Content-Type": "application/json"})[0]
    assert ask("one") == ask("two") == 200
    llm.set(f500=100)
    assert ask("two") == 500
    llm.put_down()
    raises(OSError, lambda: ask("three"))
    assert llm.ledger()["calls"] == 3, llm.ledger()
    llm.start().wait_ready()
    assert ask("two") == ask("three") == 200, "settings stay with the life that they were made in"
    ledger = llm.ledger(keys=True)
    assert [one["calls"] for one in ledger["by_key"].values()] == [1, 3, 1], ledger
    assert (ledger["calls"], ledger["failed"], ledger["answered"], ledger["keys"]) == (5, 1, 4, 3), ledger
    assert ledger["by_fault"]["500"] == 1 and llm.ledger()["calls"] == 5, ledger


def toy_run(w, mistake=""):
    w.start_nats()
    w.make_streams()
    w.make_store()
    w.send_many(20)
    argv = [sys.executable, os.path.join(HERE, "toy_worker.py"), w.nats_server.url, w.nats_server.user,
            w.nats_server.password, w.store.path, mistake]
    toy = w.part(Process("toy", argv, w.folder)).start()
    assert toy.wait_exit(20) == 0, toy.log_text()
    return w.ledger


@case()
def the_ledger_agrees_when_all_was_done(w):
    ledger = toy_run(w)
    w.wait_settled(20, deadline=5)
    assert ledger.counts() == {"published": 20, "documents": 20, "outputs": 20, "distinct outputs": 20, "acked": 20,
                               "dead": 0, "pending": 0}, ledger.counts()
    assert set(w.sent) == set(ledger.documents())


@case()
def the_ledger_notices_a_missing_document(w):
    assert toy_run(w, "no-document").problems(20) == ["documents: 19, wanted 20"]


@case()
def the_ledger_notices_a_missing_output(w):
    assert toy_run(w, "no-output").problems(20) == ["distinct outputs: 19, wanted 20"]


@case()
def the_ledger_notices_an_output_under_a_second_id(w):
    assert toy_run(w, "ready-twice").problems(20) == ["distinct outputs: 21, wanted 20"]


@case()
def the_ledger_notices_that_document_and_output_differ(w):
    ledger = toy_run(w, "differs")
    assert not ledger.problems(20) and len(ledger.disagreements()) == 1


@case()
def the_ledger_notices_a_message_that_nobody_acknowledged(w):
    assert toy_run(w, "no-ack").problems(20) == ["acked: 19, wanted 20", "pending: 1, wanted 0"]


@case()
def a_leaked_secret_is_found(w):
    w.start_nats()
    w.make_streams()
    assert w.leaks() == []
    w.nats.js_publish(w.names.dead_subject, b"...", {"Authorization": "Bearer " + SECRETS[0]})
    assert w.leaks() == ["%s in stream %s" % (SECRETS[0][:12], w.names.dead)]
    w.nats.stream_purge(w.names.dead)


# ---- the runner


@case()
def the_runner_tells_passed_failed_skipped_and_too_slow(w):
    path = os.path.join(w.folder, "example.py")
    with open(path, "w") as file:
        file.write(textwrap.dedent("""
            import time
            from lib.process import Process
            from lib.runner import case
            from lib.servers import Skip

            @case(tags=("quick",))
            def a_good_one(w):
                pass

            @case(stores=("sqlite", "mongodb"))
            def a_bad_one(w):
                shell = w.part(Process("talker", ["echo", "last words"], w.folder)).start()
                shell.wait_exit()
                assert 1 == 2, "one is not two"

            @case()
            def one_that_cannot_run(w):
                raise Skip("no unicorn")

            @case(timeout=0.2)
            def one_that_hangs(w):
                time.sleep(30)
        """))

    def run(*flags):
        done = subprocess.run([sys.executable, os.path.join(HERE, "runner.py"), *flags, path], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout + done.stderr

    code, text = run()
    assert code == 1 and text.rstrip().endswith("1 passed, 3 failed, 1 skipped"), text
    for wanted in ("example: a good one", "example: a bad one [mongodb]", "one is not two", "| last words",
                   "one that cannot run: no unicorn", "took longer than"):
        assert wanted in text, (wanted, text)
    code, text = run("-k", "good")
    assert code == 0 and text.rstrip().endswith("1 passed, 0 failed, 0 skipped"), text
    assert run("--tag", "quick")[1].rstrip().endswith("1 passed, 0 failed, 0 skipped")
    assert run("-k", "cannot")[0] == 77


def faults_driver():
    """tests/faults/run.py as a module."""
    path = os.path.join(ROOT, "tests/faults/run.py")
    spec = importlib.util.spec_from_file_location("faults_driver", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@case()
def a_campaign_that_was_late_says_so_in_its_record_and_names_its_server(w):
    faults, runs = faults_driver(), []

    class Empty(World):
        def __init__(self, store):
            super().__init__(store)
            self._nats_client = types.SimpleNamespace(info={"version": "9.8.7"}, close=lambda: None)

    def toy(s, arguments):
        runs.append(s)
        if len(runs) == 1:
            raise wait.Expired("waited 1.0 s for: a | b")
        return {"messages": 1}

    toy.stage, toy.judge_late = Empty, lambda s: None
    faults.CAMPAIGNS["toy"] = toy
    arguments = types.SimpleNamespace(quick=True, messages=None, kills=3, seed=1, json=False, record=w.folder)
    named = os.environ.pop("SLUICE_NATS_SERVER", None)
    try:
        assert faults.run("toy", "sqlite", arguments)[0] == "ok" and len(runs) == 2
        runs.clear()
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()):
            faults.report("toy", "sqlite", arguments, {"ok": 0})
        os.environ["SLUICE_NATS_SERVER"] = "/somewhere/nats-server"
        third = faults.run("toy", "sqlite", arguments)[2]
    finally:
        os.environ.pop("SLUICE_NATS_SERVER", None)
        if named:
            os.environ["SLUICE_NATS_SERVER"] = named
    with open(os.path.join(w.folder, "toy-sqlite.json")) as file:
        record = json.load(file)
    late = "once, the first run was late: lib.wait.Expired: waited 1.0 s for: a | b"
    assert record["repeated"] == late and "repeated " + late in out.getvalue(), (record, out.getvalue())
    assert record["nats_server"] == "9.8.7", record
    assert record["command"] == "tests/faults/run.py --campaign toy --store sqlite --quick --kills 3 --seed 1", record
    assert "repeated" not in third, third
    assert third["command"] == "SLUICE_NATS_SERVER=nats-server-9.8.7 " + record["command"], third
    table = subprocess.run([sys.executable, os.path.join(ROOT, "tests/faults/report"), w.folder], capture_output=True,
                           text=True, timeout=30).stdout
    assert "| 9.8.7 | **repeated once, the first run was late:" in table and "a / b**; messages **1**" in table, table


@case()
def a_campaign_that_was_late_and_wrong_is_not_repeated(w):
    """The second run might be a lucky one."""
    faults, runs = faults_driver(), []

    class Empty(World):
        def __init__(self, store):
            super().__init__(store)
            self._nats_client = types.SimpleNamespace(info={"version": "9.8.7"}, close=lambda: None)

    def toy(s, arguments):
        runs.append(s)
        if len(runs) == 1:
            raise wait.Expired("waited 1.0 s for: a")
        return {"messages": 1}

    def judge(s):
        raise AssertionError("two of one")
    toy.stage, toy.judge_late = Empty, judge
    faults.CAMPAIGNS["toy"] = toy
    arguments = types.SimpleNamespace(quick=True, messages=None, kills=None, seed=1, json=False, record=None)
    with contextlib.redirect_stdout(io.StringIO()):
        verdict, text = faults.run("toy", "sqlite", arguments)[:2]
    assert verdict == "FAIL" and "two of one" in text and len(runs) == 1, (verdict, text, len(runs))


@case()
def servers_that_were_built_can_be_found(w):
    assert NatsServer(w.folder, "probe").argv[0], "nats-server"
    for name in ("nats-server", "ferretdb"):
        path = os.path.join(BUILT_SERVERS, name)
        assert not os.path.exists(path) or os.access(path, os.X_OK), path
