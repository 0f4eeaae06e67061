# SPDX-License-Identifier: Apache-2.0
"""What becomes of a worker when a right is missing, or its login is taken no longer."""
import os, signal
from lib.jwt import Operator, credentials
from stage import cases_of, check, wait_for


def an_ack_that_is_denied_is_told_and_nothing_is_done_twice(s):
    s.start_worker(**s.deny_publish("$JS.ACK.>"))
    s.ready()
    s.send(1)
    _, answer = s.probe_with("/readyz", "nats_denied")
    check(answer["denied"]["link"] == "pull" and "$JS.ACK." in answer["denied"]["text"], answer)
    wait_for("it is delivered again", lambda: s.consumer()["delivered"]["consumer_seq"] >= 2)
    told = [e for e in s.events() if e["event"] == "nats.refused"]
    check(told and all(e["level"] == "warn" and e["link"] == "pull" and "$JS.ACK." in e["text"] for e in told), f"told {told}")
    check(s.left() == 1, "the request is gone")
    s.deny_publish("nobody.cares")
    s.ready()
    s.expect_done(1)
    check(s.llm_http("/ledger")["calls"] == 1, "an answer was paid for again")


def a_login_that_is_taken_no_longer_is_told(s):
    """The server learns another password while it runs, and ends the connections made with the old one."""
    server, password = s.nats_server, s.nats_server.password

    def change(to):
        server.password = to
        with open(server.config, "w") as config:
            config.write(server.config_text())
        server.signal(signal.SIGHUP)
    w = s.start_worker(SERVICE_READINESS_TIME_OUT=3, NATS_RECONNECT_TIME_WAIT="0.2", NATS_MAX_RECONNECT_ATTEMPTS=1000)
    s.ready()
    s.send(1)
    s.expect_done(1)
    change("another")
    told = lambda: [e for e in w.log_lines() if e["event"] == "nats.refused"]
    wait_for("the log says so of both connections", lambda: {e["link"] for e in told()} == {"pull", "publish"})
    check(all(e["level"] == "warn" and "uthorization" in e["text"] for e in told()), f"told {told()}")
    wait_for("not ready", lambda: s.probe("/readyz")[0] == 503)
    _, answer = s.probe_with("/readyz", '"denied"')
    check("uthorization" in answer["denied"]["text"], answer)
    check(s.probe("/livez")[0] == 200, "not alive")
    change(password)
    s.ready()
    s.send(1, first=2)
    s.expect_done(2)
    wait_for("nothing is denied any more", lambda: "denied" not in s.readiness())  # of either link
    check(w.is_alive(), f"exit {w.code}")
    check(len(told()) == 2, f"told more than once a minute: {told()}")


def credentials_that_expire_are_read_anew(s):
    """The server ends the connections of a user whose JWT is over; who wrote the file of the credentials first, may write it again."""
    server, operator = s.nats_server, Operator(s.dir)
    tester, user = operator.user("tester"), operator.user("worker")
    server.user = server.password = None
    server.extra = operator.server_config()
    own = operator.admit(tester)
    server.login = lambda info: {"jwt": own, "sig": tester.sign(info["nonce"].encode())}
    server.restart()
    path = os.path.join(s.dir, "worker.creds")

    def write(lifetime):
        with open(path + ".new", "w") as f:
            f.write(credentials(user, operator.admit(user, lifetime)))
        os.chmod(path + ".new", 0o600)
        os.rename(path + ".new", path)
    write(4)
    w = s.start_worker(NATS_CREDS=path, NATS_USER=None, NATS_PASSWORD=None, NATS_RECONNECT_TIME_WAIT="0.2", NATS_MAX_RECONNECT_ATTEMPTS=1000)
    s.ready()
    s.send(1)
    s.expect_done(1)
    told = lambda: [e for e in w.log_lines() if e["event"] == "nats.refused"]
    wait_for("the log says so of both connections", lambda: {e["link"] for e in told()} == {"pull", "publish"})
    wait_for("not ready", lambda: s.probe("/readyz")[0] == 503)
    s.send(1, first=2)
    write(None)
    s.ready()
    s.expect_done(2)
    check(user.seed not in w.log_text() and "eyJ" not in w.log_text(), "a secret is in the log")
    check(w.is_alive() and w.stop() == 0, f"exit {w.code}, expected 0")


CASES = cases_of(globals())
for one in CASES:
    one.once = "what the NATS server allows does not depend on the store"
