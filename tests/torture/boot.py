# SPDX-License-Identifier: Apache-2.0
"""Boots a worker again and again, each time with another call failing. Whatever fails, the process either ends with exit code 2 or 3
and says why, or gets to RUNNING and then ends by itself at SIGTERM; there, what fails from then on may also cost it its connection
for good (1) or the grace (4). It never dies of a signal and never hangs."""
import http.client, os, shutil, sys
from sweep import Sweep
sweep = Sweep(__doc__)
from lib.servers import Skip  # noqa: E402
from stage import Failure, wait_for  # noqa: E402
from tls_cases import certificates  # noqa: E402

stage = sweep.stage
# A pair made with the nkeys library of the Go client.
SEED, PUBLIC = "SUAKGBWJCRE2IRVEKMURVPQZ4AKSAB7XZHIGETT7FSSLZ6BO6ILS4NIAWQ", "UBRC6SG3NC2INI2IDNA5BPC6OZBI5R6ZMQLLVGNDXFQQWCL3LCU35Z4K"


def secured():
    """The server's next start is with TLS and one more user, who has an nkey. Returns the settings of a worker that is it."""
    server, seed = stage.nats_server, os.path.join(stage.dir, "seed")
    ca, _ = certificates(stage.dir)
    cert, key = os.path.join(stage.dir, "server.pem"), os.path.join(stage.dir, "server.key")
    with open(seed, "w", encoding="utf-8") as f:
        f.write(SEED)
    os.chmod(seed, 0o600)
    server.extra = f"""authorization {{ users: [ {{ user: "{server.user}", password: "{server.password}" }}, {{ nkey: {PUBLIC} }} ] }}
        tls {{ cert_file: "{cert}", key_file: "{key}" }}"""
    return {"NATS_USER": None, "NATS_PASSWORD": None, "NATS_NKEY": seed, "NATS_CA": ca, "NATS_CERT": cert, "NATS_KEY": key}


def forget_streams():
    """Its log says when the server is there: the tests' own client speaks no TLS."""
    server = stage.nats_server
    server.kill()
    shutil.rmtree(server.folder)
    server.start()
    wait_for("the server", lambda: "Server is ready" in server.log_text(server.starts))


def ended_or_running(worker):
    """By its log, because without memory the probe cannot answer; or by the probe, because without memory for a secret the log
    shows no text."""
    if '"state":"RUNNING"' in worker.log_text(worker.starts):
        return "running"
    if not worker.is_alive():
        return "ended"
    try:
        return stage.probe("/readyz")[0] == 200 and "running"
    except http.client.HTTPException:
        return False


def start(**env):
    """One worker, started again and again."""
    if not stage.workers:
        return stage.start_worker(**env)
    return stage.workers[0].set(**env).start()


def boot(nth, on):
    """(exit code, calls made, name of the call that failed)"""
    told = os.path.join(stage.dir, "failing")
    for path in (told, stage.workers[0].log if stage.workers else told):
        if os.path.exists(path):
            os.remove(path)
    if sweep.is_new:
        forget_streams()
    worker = start(SLUICE_FAILING=f"{sweep.kinds} {nth} {on} {told}", NATS_CONNECT_TIMEOUT=1, NATS_MAX_RECONNECT_ATTEMPTS=2,
                   NATS_RECONNECT_TIME_WAIT=0.1, SLUICE_SHUTDOWN_GRACE=5,
                   LSAN_OPTIONS=f"suppressions={suppressions}:print_suppressions=0", **login)
    disturbed, seen = f"failing, {'and all after it' if on else 'alone'}", None
    try:
        seen = wait_for("RUNNING or ended", lambda: ended_or_running(worker), 60)
        code = worker.stop(60)
    except AssertionError as e:
        broken.append(f"call {nth} {disturbed}: {e}\n{worker.log_text(worker.starts)[-1500:]}")
        worker.kill()
        code = WEDGED
    text = worker.log_text(worker.starts)
    name, _, calls = open(told, encoding="utf-8").read().partition("\n") if os.path.exists(told) else ("?", "", "")
    allowed = (0,) + (2, 3) * (seen == "ended") + (1, 4) * (seen == "running" and on)
    if code != WEDGED and (code not in allowed or (code != 0 and not text.strip()) or "AddressSanitizer" in text or "runtime error" in text):
        broken.append(f"call {nth} ({name}) {disturbed}: exit code {code}\n{text[-1500:]}")
    if code == WEDGED:
        broken[-1] = f"({name}) {broken[-1]}"
    return code, int(calls or 0), name


# A connection whose thread could not be started stays in its mailbox until the process ends: it is known to.
suppressions = os.path.join(stage.dir, "lsan")
with open(suppressions, "w", encoding="utf-8") as f:
    f.write("leak:sluice_nats_link_create\n")
WEDGED = -99
codes, names, broken = {}, {}, []
try:
    login = secured() if sweep.is_new else {}
    code, calls, _ = boot(0, 0)
    if code != 0 or broken:
        raise Failure(f"undisturbed: exit code {code}\n{stage.log_text()[-1500:]}\n" + "\n".join(broken))
    for on in (0, 1):
        nth = 1
        while nth <= calls:
            code, _, name = boot(nth, on)
            codes[code] = codes.get(code, 0) + 1
            if name:
                names.setdefault(name, set()).add(code)
                sweep.note(on, name)
            nth += sweep.step(on)
    if broken:
        print(*broken, sep="\n----\n")
    print(f"{calls} calls; exit codes {codes}; " + ", ".join(f"{n}: {sorted(c)}" for n, c in sorted(names.items())))
    sweep.counted = {"processes": sum(codes.values()) + 1, "boots_refused": sum(codes[c] for c in codes if c in (2, 3)),
                     "broken": len(broken)}
except Skip as missing:
    print(f"skipped: {missing}")
    sys.exit(77)
finally:
    sweep.close()
sys.exit(1 if broken else 0)
