# SPDX-License-Identifier: Apache-2.0
"""The commands as a user types them: exit codes, what they print, what is left behind."""
import json, os, re, shutil, signal, sqlite3, subprocess
from lib.servers import Skip, find_program
from stage import cases_of, check, wait_for

READY = "context.enrich.ready"


def environment(s, **more):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("NATS_", "LLM_", "SLUICE_", "MONGODB_", "SERVICE_"))}
    env.update({"NATS_URL": s.nats_server.url, "NATS_USER": s.nats_server.user, "NATS_PASSWORD": s.nats_server.password, "XDG_CONFIG_HOME": s.dir})
    env.update(more)
    return env


def sluice(s, *words, expect=0, says="", body=None, **env):
    """Run one command; its exit code and a text of its output have to be these. Returns its output."""
    done = subprocess.run([s.sluice, *words], input=body, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120,
                          env=environment(s, **env))
    out = done.stdout.decode("utf-8", "replace")
    check(done.returncode == expect and says in out,
          f"sluice {' '.join(words)}: exit {done.returncode}, expected {expect} and \"{says}\":\n{out[-2000:]}")
    return out


def commands_tell_their_usage_and_refuse_what_they_do_not_know(s):
    names = re.findall(r"^  (\S+)  +\S", sluice(s, "--help"), re.M)
    check(len(names) >= 9, f"commands: {names}")
    check(re.fullmatch(r"sluice \d+\.\d+\.\d+\S* \(worker ABI \d+\.\d+\)\n", sluice(s, "--version")), "the versions")
    sluice(s, expect=2, says="usage: sluice COMMAND")
    sluice(s, "no-such-command", expect=2, says='unknown command "no-such-command"')
    for name in names:
        for flag in "--help", "-h":
            check(sluice(s, name, flag).startswith(f"usage: sluice {name}"), f"{name} {flag}")
        for words in ("--no-such-flag",), ("--no-such-flag", "word"), ("--no-such-flag=word",), ("word", "--no-such-flag"):
            sluice(s, name, *words, expect=2, says="--no-such-flag: unknown flag; `")


def bad_arguments_are_named(s):
    for words, says in {
            "send": "nothing to send", "send --samples": "--samples: needs a value", "send --samples 0": '--samples: "0"',
            "send --count many --data x": '--count: "many", expected a whole number', "send --header x --data y": "NAME:VALUE",
            "send /no/such/file": "/no/such/file: No such file", "send --data x word": "word: No such file",
            "send --data x --no-such-flag": "--no-such-flag: unknown flag",
            "send --data x --samples 3": "expected one of FILE, --data and --samples",
            "send --data x /dev/null": "expected one of", "send --samples 3 --count 2": "--count: expected with a FILE",
            "tail --from 1 --last 2": "expected one of --last, --from and --new", "tail --new --from 1": "expected one of",
            "init --context nope": "NATS_CONTEXT: ", "check --nats-context nope": "context/nope.json",
            "run --nats-context nope": "NATS_CONTEXT: ", "send --data x --context nope": "NATS_CONTEXT: ",
            "tail --context nope": "NATS_CONTEXT: ",
            "tail --last 0": '--last: "0"', "tail --last": "--last: needs a value", "tail a b": "b: unexpected",
            "init word": "word: unexpected", "init": "which consumer?",
            "check --config": "--config: needs a value", "check --config /no/file": "/no/file: No such file",
            "check --nats-password x": "secrets are not taken from the command line",
            "run": "SLUICE_WORKER: not set", "run --llm-timeout soon": '"soon"', "run word": "word: unexpected",
            "healthcheck --port abc": '--port: "abc", expected a whole number from 1 to 65535', "healthcheck --port 0": '--port: "0"',
            "healthcheck --host": "--host: needs a value", "bench word": "word: unexpected", "bench --runs": "--runs: needs a value", "bench --count 5": "--count: unknown flag", "healthcheck word": "sluice healthcheck: word: unexpected",
            "dev word": "sluice dev: word: unexpected", "dev --messages 0": '--messages: "0"', "dev --messages": "--messages",
            "llm-sim --port 70000": '--port: "70000"', "llm-sim --fail odd=3": '--fail: "odd=3", expected KIND=PERCENT, KIND one of 429 500 503 ',
            "llm-sim --fail 500": '--fail: "500"', "llm-sim word": "sluice llm-sim: word: unexpected",
            "send --data x --subject a..b": '--subject: "a..b"', "send --lines --data x": "--lines: expected with a FILE",
            "check --example x": "x: expected nothing beside --example", "check --schema --example": "--schema: expected nothing",
            "sim --seeds 0": '--seeds: "0"', "sim --seeds x": 'sluice sim: --seeds: "x", expected a whole number from 1 to ',
            "sim --seeds": "--seeds: needs a value", "sim --seed --json": "--seed: needs a value", "sim --json=1": '--json: "1", expected no value',
            "sim --seed 1 --seed=2": "--seed: given twice", "sim --seed +1": '--seed: "+1", expected a whole number from 0 to ',
            "llm-sim --port": "--port: needs a value", "llm-sim --seed 1x": '--seed: "1x", expected a whole number from 0 to 2000000000',
            "dev --messages 1e3": '--messages: "1e3", expected a whole number from 1 to 100000',
            "send --no-such-flag /no/such/file": "sluice send: --no-such-flag: unknown flag; `sluice send --help` lists them",
            "send /no/such/file --no-such-flag": "sluice send: --no-such-flag: unknown flag", "send --data": "--data: needs a value",
            "send --subject --data x": "--subject: needs a value", "send -x": "-x: unknown flag", "send --json=1 --data x": "--json: \"1\"",
            "send --data x --nats-url": "--nats-url: needs a value", "tail --no-such-flag word": "sluice tail: --no-such-flag: unknown flag",
            "run --llm-timeout --llm-model m": "--llm-timeout: needs a value", "check --no-such-flag x": "--no-such-flag: unknown flag",
            "check --schema=1": '--schema: "1", expected no value',
            "llm-sim --fail 500=101": '"101"',
            "llm-sim --fail 500=60 --fail 503=60": "sluice llm-sim: --fail: all faults together 120 %, expected at most 100", "sim word": "sluice sim: word: unexpected"}.items():
        sluice(s, *words.split(), expect=2, says=says)


def a_port_file_that_cannot_be_written_is_a_failure(s):
    """Somebody waits for it."""
    path = os.path.join(s.dir, "absent", "port")
    sluice(s, "llm-sim", "--port", "0", "--port-file", path, expect=3, says=f"--port-file: {path}: No such file or directory")


def an_output_that_cannot_be_written_is_a_failure(s):
    s.make_streams()
    s.send(1)
    given = {"LLM_MODEL": "m"}
    for words in ("--version", "--help", "check", "check --json", "check --example", "send --data {} --json", "tail requests --json",
                  "tail requests"):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([s.sluice, *words.split()], stdin=subprocess.DEVNULL, stdout=full, stderr=subprocess.PIPE, timeout=60,
                                  env=environment(s, **given))
        check(done.returncode == 1 and done.stderr == b"sluice: standard output: No space left on device\n",
              f"sluice {words}: exit {done.returncode}, {done.stderr}")


def init_send_tail_and_healthcheck(s):
    plugin = {"SLUICE_WORKER": os.path.join(s.build, "workers/context-enricher.so")}
    ack_wait = ["--runtime-ack-wait", "2"]  # as the worker of these tests has it
    sluice(s, "init", "--check", *ack_wait, expect=3, says="consumer context-enricher does not exist", **plugin)
    check(s.client().api("STREAM.NAMES")["total"] == 0, "init --check has made a stream")
    made = sluice(s, "init", *ack_wait, says="created  consumer context-enricher", **plugin)
    check(made.count("created") >= 4, made)
    sluice(s, "init", *ack_wait, says="all is as it should be", **plugin)
    lines = sluice(s, "init", "--check", "--json", "--runtime-ack-wait", "7", expect=3, **plugin).splitlines()
    check(any(json.loads(line)["verb"] == "differs" for line in lines if line.startswith("{")), lines)

    one = os.path.join(s.dir, "one.json")
    with open(one, "w") as f:
        json.dump({"request_id": "r-1", "query": "What about the lighthouse of Bari?"}, f)
    sluice(s, "send", one, says="1 sent to context.enrich.request")
    many = b"".join(b'{"request_id": "r-%d", "query": "What about harbour%d?"}\n' % (i, i) for i in (2, 3, 4))
    sluice(s, "send", "-", "--lines", body=many, says="3 sent")
    protobuf = b"\x0a\x03r-5\x22\x14What about the pump?"
    sluice(s, "send", "-", "--type", "context.v1.ContextEnrichRequest", body=protobuf, says="1 sent")
    sluice(s, "send", "-", "--content-type", "application/protobuf", body=protobuf.replace(b"r-5", b"r-7"), says="1 sent")
    text = '{"request_id": "r-6", "query": "What about the ferry?"}'
    for _ in range(2):  # the second time the stream has it already
        sluice(s, "send", "--data", text, "--id", "mine", says="1 sent")
    check(s.left() == 7, f"{s.left()} requests in the stream, expected 7")
    types = [m.headers["Content-Type"] for m in s.client().messages("ENRICH_REQUESTS")]
    check(types == 4 * ["application/json"] + ["application/x-protobuf", "application/protobuf", "application/json"], types)

    port = str(s.probe_port)
    sluice(s, "healthcheck", "--port", port, expect=1, says="no answer from 127.0.0.1:" + port)
    s.start_worker(SLUICE_CREATE_STREAMS="0")
    s.ready()
    sluice(s, "healthcheck", says="200 ", SERVICE_READINESS_PORT=port)
    s.expect_done(7)
    check("lighthouse" in s.documents()["r-1"]["summary"] and "pump" in s.documents()["r-5"]["summary"], "the summaries")
    letters = [json.loads(line) for line in sluice(s, "tail", "--json", "--from", "1").splitlines()]
    check(all(m.headers["Content-Type"] == "application/x-protobuf" for m in s.nats.messages(s.names.ready)), "the outputs' type")
    check(len(letters) == 7 and all(one["subject"] == READY for one in letters), letters)
    sluice(s, "tail", "NOWHERE", expect=3, says="NOWHERE")
    check(s.workers[-1].stop() == 0, "the worker did not end cleanly")
    sluice(s, "healthcheck", "--port", port, expect=1)


def check_shows_the_settings_or_all_errors(s):
    secret = {"LLM_API_KEY": "sk-canary-0123456789", "LLM_MODEL": "sim-1", "LLM_BASE_URL": "http://127.0.0.1:9/v1"}
    shown = sluice(s, "check", **secret)
    as_json = json.loads(sluice(s, "check", "--json", **secret))
    check("127.0.0.1:9" in shown and "127.0.0.1:9" in json.dumps(as_json), "a setting that was given is not shown")
    check("sk-canary" not in shown and "sk-canary" not in json.dumps(as_json), "the API key is shown")
    out = sluice(s, "check", expect=2, says="LLM_TIMEOUT", LLM_TIMEOUT="abc", SLUICE_STORE="paper")
    check("SLUICE_STORE" in out and "2 errors" in out, out)
    example = os.path.join(s.dir, "example.yaml")
    with open(example, "w") as f:
        f.write(sluice(s, "check", "--example"))
    sluice(s, "check", "--config", example, **secret)
    json.loads(sluice(s, "check", "--schema"))
    sluice(s, "check", "--reference", says="LLM_TIMEOUT")
    with open(example, "a") as f:
        f.write("\nnowhere:\n  to_be: found\n")
    sluice(s, "check", "--config", example, expect=2, says="nowhere", **secret)


def settings_that_can_never_work_end_each_command_with_exit_2(s):
    plugin = {"SLUICE_WORKER": os.path.join(s.build, "workers/context-enricher.so"), "LLM_MODEL": "m"}
    for command in "check", "init", "run":
        bad = {"NATS_URL": "http://127.0.0.1:4222", "NATS_CREDS": "/no/creds", "LLM_API_KEY": "a\nb",
               "SLUICE_STREAM_READY": "ENRICH_DEAD", "NATS_USER": "", "NATS_PASSWORD": ""}
        out = sluice(s, command, expect=2, says="4 errors", **dict(plugin, **bad))
        for name in "NATS_URL", "NATS_CREDS", "LLM_API_KEY", "SLUICE_STREAM_DEAD":
            check(name + ": " in out, out)


def a_plugin_that_cannot_be_loaded_is_named(s):
    """A failed initialisation where one is begun, an error of the configuration where one is looked at."""
    broken, cut = s.broken_plugins()
    lacking = os.path.join(s.dir, "lacking.so")
    with open(os.path.join(s.build, "tests/e2e/poison.so"), "rb") as good, open(lacking, "wb") as f:
        f.write(good.read().replace(b"\0protobuf_c_message_free_unpacked\0", b"\0protobuf_c_message_free_xxxxxxxx\0"))
    for path, word in (("/nowhere/x.so", "worker /nowhere/x.so: No such file"),
                       (lacking, f"worker {lacking}: cannot be loaded: undefined symbol: protobuf_c_message_free_xxxxxxxx"), ("no-such-worker", "no-such-worker.so: No such file"),
                       (broken, "cannot be loaded: not an ELF file"), (cut, "cannot be loaded: the file is cut")):
        given = {"SLUICE_WORKER": path, "LLM_MODEL": "m"}
        for command, code in ("check", 2), ("init", 3):
            sluice(s, command, expect=code, says=f"worker {path}: ", **given)
            sluice(s, command, expect=code, says=word, **given)
        w = s.start_worker(**given)
        check(w.wait_exit(60) == 3, f"{path}: exit {w.code}, expected 3")
        failed = w.log_of(event="init.failed")
        check(len(failed) == 1 and failed[0]["step"] == "worker" and path in failed[0]["text"] and word in failed[0]["text"], failed)
        out = sluice(s, "run", expect=2, says="2 errors", LLM_TIMEOUT="soon", **given)
        check("LLM_TIMEOUT: " in out and word in out, out)


def a_plugin_that_leaves_while_it_is_loaded_is_told(s):
    given = {"SLUICE_WORKER": os.path.join(s.build, "tests/e2e/leaver.so"), "LLM_MODEL": "m"}
    for command in "check", "run", "init":
        sluice(s, command, expect=6, says="sluice: exit() was called", **given)


def bad_settings_are_records_of_a_json_log_and_lines_else(s):
    config = os.path.join(s.dir, "worker.yaml")
    with open(config, "w") as f:
        f.write("llm:\n  timeout: soon\nlog:\n  format: json\n")
    given = {"NATS_CONNECT_TIMEOUT": "abc", "SLUICE_WORKER": os.path.join(s.build, "workers/context-enricher.so"), "LLM_MODEL": "m"}
    for command in "run", "check", "init":
        out = sluice(s, command, "--config", config, expect=2, **given)
        records = [json.loads(line) for line in out.splitlines()]
        check([(e["event"], e["level"], e["option"], e.get("file"), e.get("line"), e.get("column")) for e in records] ==
              [("config.invalid", "error", "llm.timeout", config, 2, 3),
               ("config.invalid", "error", "NATS_CONNECT_TIMEOUT", None, None, None)], out)
        check('"soon", expected seconds' in records[0]["text"], out)
        lines = sluice(s, command, "--config", config, expect=2, SLUICE_LOG_FORMAT="text", **given).splitlines()
        check(lines[0] == f"sluice {command}: configuration: 2 errors" and lines[1].startswith(f"{config}:2:3: llm.timeout: "), lines)
    here, there = os.openpty()  # a person reads
    ran = subprocess.run([s.sluice, "run", "--config", config], stdin=subprocess.DEVNULL, stderr=there, env=environment(s, **given))
    os.close(there)
    check(ran.returncode == 2 and os.read(here, 65536).startswith(b"sluice run: configuration: 2 errors"), "on a terminal")
    os.close(here)


def a_mistyped_variable_is_told(s):
    """By `run` in its log, by `check` beside the settings, by `dev` among those that it ignores; never an error."""
    given = {"LLM_MODEL": "m", "SLUICE_MAX_DELIVERY": "canary"}
    line = "environment: SLUICE_MAX_DELIVERY: unknown variable, ignored; did you mean SLUICE_MAX_DELIVER?"
    sluice(s, "check", says=f"sluice check: warning: {line}\n", **given)
    sluice(s, "init", "--check", expect=3, says=f"sluice init: warning: {line}\n", SLUICE_DURABLE="worker", **given)
    as_json = json.loads(sluice(s, "check", "--json", **given))
    check(as_json["warnings"] == [{"option": "SLUICE_MAX_DELIVERY", "text": line}], as_json["warnings"])
    check(json.loads(sluice(s, "check", "--json", LLM_MODEL="m"))["warnings"] == [], "a warning without a cause")
    sluice(s, "check", expect=2, says=line, LLM_TIMEOUT="soon", **given)
    out = sluice(s, "check", expect=2, LLM_TIMEOUT="soon", SLUICE_LOG_FORMAT="json", **given)
    events = [(e["event"], e["level"], e["option"]) for e in map(json.loads, out.splitlines())]
    check(events == [("config.invalid", "error", "LLM_TIMEOUT"), ("config.unknown_variable", "warn", "SLUICE_MAX_DELIVERY")], out)
    sluice(s, "dev", "--once", "--messages", "1", says="SLUICE_MAX_DELIVERY\n", SLUICE_MAX_DELIVERY="1", NATS_USER="", NATS_PASSWORD="",
           SLUICE_PORT="tcp://10.0.0.1:80")
    s.start_worker(**given)
    s.ready()
    told = [(e["level"], e["option"], e["text"]) for e in s.events() if e["event"] == "config.unknown_variable"]
    check(told == [("warn", "SLUICE_MAX_DELIVERY", line)], told)
    check("canary" not in s.log_text(), "the value shows")


def the_secret_of_a_url_never_shows(s):
    given = {"LLM_MODEL": "m", "LLM_BASE_URL": "http://me:canary@127.0.0.1:1/v1?api_key=canary"}
    plugin = {"SLUICE_WORKER": os.path.join(s.build, "workers/context-enricher.so")}
    for words, code in (["check"], 2), (["run"], 2), (["dev", "--once"], 1):
        out = sluice(s, *words, expect=code, says="http://me:***@127.0.0.1:1/v1?***", **given, **plugin)
        check("canary" not in out, out)


def a_missing_prompt_ends_the_boot_with_exit_2(s):
    plugin = {"SLUICE_WORKER": os.path.join(s.build, "workers/context-enricher.so"), "LLM_MODEL": "m"}
    empty = os.path.join(s.dir, "empty")
    os.mkdir(empty)
    sluice(s, "check", says="context-enricher.so", **plugin)  # the build has put the prompts beside it
    for command in "check", "run":
        out = sluice(s, command, expect=2, says="1 error", SLUICE_PROMPT_DIR=empty, **plugin)
        check(f'worker context-enricher: prompt "context": no file context.prompt in {empty}, expected' in out, out)


def too_few_descriptors_are_refused_at_boot(s):
    """And not found out by a connection here and there."""
    done = subprocess.run(["sh", "-c", 'ulimit -n 64; exec "$0" run', s.sluice], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120,
                          env=environment(s, LLM_MODEL="m", SLUICE_WORKER=os.path.join(s.build, "workers/context-enricher.so")))
    out = done.stdout.decode("utf-8", "replace")
    need = re.search(r"the limit of open files \(ulimit -Hn\) is 64, expected at least (\d+) for SLUICE_MAX_IN_FLIGHT 256 ", out)
    check(done.returncode == 2 and need is not None and 256 < int(need.group(1)) < 512, out)


def a_prompt_field_that_the_input_lacks_is_told(s):
    """By `check` and in the log of `run`: a warning, for a handler may fill a prompt with another message."""
    folder = os.path.join(s.dir, "prompts")
    os.mkdir(folder)
    with open(os.path.join(folder, "context.prompt"), "w") as f:
        f.write("{{quary}}\n")
    line = f'{folder}/context.prompt:1:1: unknown field "quary", in a prompt filled from context.v1.ContextEnrichRequest'
    plugin = {"SLUICE_WORKER": os.path.join(s.build, "workers/context-enricher.so"), "LLM_MODEL": "m"}
    sluice(s, "check", says=f"sluice check: warning: {line}\n", SLUICE_PROMPT_DIR=folder, **plugin)
    s.start_worker(SLUICE_PROMPT_DIR=folder)
    s.ready()
    told = [(e["level"], e["text"]) for e in s.events() if e["event"] == "config.prompt_field"]
    check(told == [("warn", line)], told)


def the_prompts_beside_the_plugin_are_found(s):
    s.start_worker(SLUICE_PROMPT_DIR=None)
    s.ready()
    s.send(1)
    s.expect_done(1)


def started_from(folder):
    """Processes that have this folder among their arguments or their environment."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for name in ("cmdline", "environ"):
            try:
                with open(f"/proc/{pid}/{name}", "rb") as f:
                    if os.fsencode(folder) + b"/" in f.read() and pid not in found:
                        found.append(pid)
            except OSError:
                pass
    return found


def samples(root):
    with open(os.path.join(root, "workers/context_enricher/samples.jsonl")) as f:
        return {one["request_id"]: one for one in map(json.loads, f)}


def dev_once_does_all_samples(s):
    # What the user has set for another system must not reach into this one.
    foreign = {"SLUICE_SUBJECT_REQUEST": "elsewhere", "NATS_PASSWORD": "x", "NATS_USER": "y", "SLUICE_DURABLE": "other",
               "MONGODB_URI": "nonsense", "SERVICE_READINESS_PORT": "1", "OPENAI_BASE_URL": "nonsense"}
    sluice(s, "dev", "--once", expect=1, says='worker: config.invalid: environment: LLM_TIMEOUT: "soon"', LLM_TIMEOUT="soon")  # this does
    out = sluice(s, "dev", "--once", "--keep", **foreign)
    named = re.search(r"^ignored variables +(.*)$", out, re.M).group(1).split(", ")
    check(not set(foreign) - set(named) and not any(one.startswith("LLM_") for one in named), f"ignored: {named}")
    check("20 requests in, 20 documents, 20 ContextEnrichReady out, 0 dead letters, 0 pending" in out, out[-1000:])
    check(all(one in out for one in samples(s.root)), "a message's way is not shown")
    folder = re.search(r"^kept: (\S+)$", out, re.M).group(1)
    try:
        check(not started_from(folder), "a child is left")
        with sqlite3.connect(f"file:{folder}/store.db?mode=ro", uri=True) as db:
            stored = {k: json.loads(v) for k, v in db.execute("SELECT _id, doc FROM context_packs")}
    finally:
        shutil.rmtree(folder)
    check(sorted(stored) == sorted(samples(s.root)), f"documents {sorted(stored)}")
    words = {k: set(re.findall(r"\w{4,}", one["query"].lower())) for k, one in samples(s.root).items()}
    for k, document in stored.items():
        own = words[k] - set().union(*(w for other, w in words.items() if other != k))
        summary = document["summary"].lower()
        check(any(word in summary for word in own), f"{k}: none of its own words {own} in: {summary}")


def dev_finds_the_server_that_is_not_on_a_users_path(s):
    """Debian installs nats-server into /usr/sbin, which only root has on the PATH."""
    if find_program("nats-server") != "/usr/sbin/nats-server":
        raise Skip("no nats-server in /usr/sbin")
    for path in "/usr/local/bin:/usr/bin:/bin", "/nonexistent":
        sluice(s, "dev", "--once", "--messages", "1", says="1 requests in, 1 documents", PATH=path)


def start_dev(stage, log, messages):
    with open(log, "wb") as out:
        return subprocess.Popen([stage.sluice, "dev", "--messages", str(messages)], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                env=environment(stage, SLUICE_TEST="1", TMPDIR=stage.dir))


def children_when_up(dev, log):
    """Process ids of what `sluice dev` has started, when the samples are done."""
    wait_for("the samples are done", lambda: "Stays up until Ctrl-C" in open(log).read() or dev.poll() is not None, 60)
    return open(f"/proc/{dev.pid}/task/{dev.pid}/children").read().split()


def dev_ends_with_its_children(s):
    for number, code in ((signal.SIGINT, 0), (signal.SIGTERM, 0), (signal.SIGHUP, 0), (signal.SIGKILL, -9)):
        log = os.path.join(s.dir, f"dev-{number}.out")
        dev = start_dev(s, log, 3)
        try:
            children = children_when_up(dev, log)
            check(len(children) == 3, f"{len(children)} children, expected nats-server, llm-sim and the worker:\n{open(log).read()}")
            folder = next(word.split(b"=", 1)[1].decode().rsplit("/", 1)[0] for pid in children
                          for word in open(f"/proc/{pid}/environ", "rb").read().split(b"\0")
                          if word.startswith(b"SLUICE_SQLITE_PATH="))
            check(started_from(folder), "this case does not see the children")
            dev.send_signal(number)
            check(dev.wait(30) == code, f"exit {dev.returncode} after signal {number}, expected {code}")
            wait_for("the children have ended", lambda: not started_from(folder))
            check(number == signal.SIGKILL or not os.path.exists(folder), f"{folder} is left")
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            dev.kill()
            dev.wait()


def dev_interrupted_before_its_end(s):
    """Who waits for `--once` must not take an interruption for success; who pressed Ctrl-C is told of no failure."""
    once, refusal = ["--once", "--messages", "100000"], "sluice dev: samples: interrupted before all were done\n"
    for words, shown, code, says in (once, "acknowledged", 1, refusal), (once, "LLM", 1, refusal), ([], "LLM", 0, ""):
        log = os.path.join(s.dir, "dev-interrupted.out")
        with open(log, "wb") as out, open(log + ".err", "w+") as err:
            dev = subprocess.Popen([s.sluice, "dev", *words], stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                   env=environment(s, SLUICE_TEST="1", TMPDIR=s.dir))
            try:
                wait_for(f"{shown} is shown", lambda: shown in open(log).read())
                dev.terminate()
                check(dev.wait(30) == code, f"exit {dev.returncode} of {words}, expected {code}")
                err.seek(0)
                said = err.read()
                check(said == says, f"{words}: {said}")
            finally:
                dev.kill()
                dev.wait()


def dev_says_which_child_ended(s):
    for name, program in (("worker", "run"), ("nats-server", "nats-server"), ("llm-sim", "llm-sim")):
        log = os.path.join(s.dir, f"dev-{name}.out")
        dev = start_dev(s, log, 1)
        try:
            children = children_when_up(dev, log)
            doomed = [pid for pid in children if program.encode() in open(f"/proc/{pid}/cmdline", "rb").read().split(b"\0")]
            check(len(doomed) == 1, f"{len(doomed)} children run {program}")
            os.kill(int(doomed[0]), signal.SIGKILL)
            check(dev.wait(30) == 1, f"exit {dev.returncode} after the end of {name}, expected 1")
            check(f"sluice dev: {name}: ended unexpectedly: signal 9" in open(log).read(), open(log).read()[-500:])
        finally:
            dev.kill()
            dev.wait()


CASES = cases_of(globals())
for case in CASES:
    case.once = "a store plays no part"
