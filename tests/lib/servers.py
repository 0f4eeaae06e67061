# SPDX-License-Identifier: Apache-2.0
"""The servers that tests need, as real processes on free ports: nats-server, the LLM simulator, a MongoDB."""
import json
import os
import shutil
import subprocess
import urllib.error
import urllib.request

from lib import wait
from lib.nats import Nats, NatsError
from lib.ports import free_port
from lib.process import Process

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get("SLUICE_BUILD") or os.path.join(ROOT, "build"))
BUILT_SERVERS = os.path.abspath(os.environ.get("SLUICE_SERVERS") or os.path.join(ROOT, "build-servers"))
SLUICE = os.path.join(BUILD, "src", "cli", "sluice")

# Distinctive, so that a leak of one is found in any log, message or document.
LLM_KEY = "sk-canary-6f1d0a77e2"
MONGO_PASSWORD = "canary-mongo-93bb41c8"
NATS_PASSWORD = "canary-nats-5e02d7f4"
SECRETS = (LLM_KEY, MONGO_PASSWORD, NATS_PASSWORD)


class Skip(Exception):
    """This test cannot run here; the text says what is missing."""


def find_program(name):
    return shutil.which(name) or shutil.which(name, path="/usr/local/sbin:/usr/sbin:/sbin")


def sluice_has(command):
    """Whether the built program knows this command."""
    if not os.path.exists(SLUICE):
        return False
    text = subprocess.run([SLUICE, "--help"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30).stdout
    return any(line.split()[:1] == [command] for line in text.splitlines())


def http(method, url, body=None, headers=None, timeout=5.0):
    """One request to a local server; (status, text). A refused connection is an OSError."""
    data = json.dumps(body).encode() if isinstance(body, (dict, list)) else body
    request = urllib.request.Request(url, data, headers or {}, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=timeout) as answer:
            return answer.status, answer.read().decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode("utf-8", "replace")


# ---- NATS


def nats_server_binary(pinned=False):
    """nats-server of the system (or SLUICE_NATS_SERVER); the pinned, newer one is built by tests/servers/build."""
    if pinned:
        path = os.path.join(BUILT_SERVERS, "nats-server")
        if not os.path.exists(path):
            raise Skip("no pinned nats-server (tests/servers/build makes it; it needs Go)")
        return path
    path = os.environ.get("SLUICE_NATS_SERVER") or find_program("nats-server")
    if not path:
        raise Skip("no nats-server on the PATH")
    return path


class NatsServer(Process):
    """JetStream, on loopback unless told otherwise; the store folder stays over kills and restarts. `inside`: what goes
    before the command."""

    def __init__(self, folder, name="nats", pinned=False, extra="", user=None, password=None, port=None, host="127.0.0.1",
                 inside=()):
        self.host, self.port = host, port or free_port()
        self.user, self.password = user, password
        self.folder = os.path.join(folder, name)
        self.pinned, self.extra = pinned, extra
        self.login = None  # of the tests' own clients, when it is not by name and password
        os.makedirs(self.folder, exist_ok=True)
        self.config = os.path.join(folder, name + ".conf")
        super().__init__(name, [*inside, nats_server_binary(pinned), "-c", self.config], folder)

    def config_text(self):
        lines = ["server_name: %s" % self.name, "host: %s" % self.host, "port: %d" % self.port,
                 'jetstream { store_dir: "%s", max_mem: 256MB, max_file: 4GB }' % self.folder]
        if self.user:
            lines.append('authorization { user: "%s", password: "%s" }' % (self.user, self.password))
        return "\n".join(lines + [self.extra]) + "\n"

    @property
    def url(self):
        return "nats://%s:%d" % (self.host, self.port)

    def start(self):
        with open(self.config, "w") as config:
            config.write(self.config_text())
        super().start()
        return self

    def client(self):
        return Nats(self.url, user=self.user, password=self.password, login=self.login)

    def answers(self):
        client = self.client()
        try:
            return client.is_jetstream_up()
        finally:
            client.close()

    def wait_ready(self, deadline=20.0):
        def ready():
            assert self.is_alive(), "%s ended with %s:\n%s" % (self.name, self.code, self.log_text()[-2000:])
            return self.answers()

        wait.until("%s to answer on port %d" % (self.name, self.port), ready, deadline)
        return self

    def restart(self):
        self.kill()
        return self.start().wait_ready()


class NatsCluster:
    """Three servers; clients are not told of the others, so that a proxy stays in the way. `places`: of each its host and
    what goes before its command, where they are not all on loopback."""

    def __init__(self, folder, pinned=False, size=3, user=None, password=None, places=None):
        self.user, self.password = user, password
        places = places or [("127.0.0.1", ())] * size
        ports = [free_port() for _ in places]
        routes = ", ".join("nats-route://%s:%d" % (host, port) for (host, _), port in zip(places, ports))
        self.servers = []
        for i, (host, inside) in enumerate(places):
            extra = "cluster { name: test, host: %s, port: %d, no_advertise: true, routes: [%s] }" % (host, ports[i], routes)
            self.servers.append(NatsServer(folder, "nats%d" % (i + 1), pinned, extra, user, password, host=host, inside=inside))

    @property
    def url(self):
        return ",".join(server.url for server in self.servers)

    def start(self):
        for server in self.servers:
            server.start()
        return self

    def is_alive(self):
        return any(server.is_alive() for server in self.servers)

    def wait_ready(self, deadline=40.0):
        for server in self.servers:
            server.wait_ready(deadline)
        return self

    def client(self):
        """To any server that is up."""
        for server in self.servers:
            try:
                return server.client()
            except (OSError, NatsError):
                continue
        raise NatsError("no server of the cluster answers")

    def close(self):
        for server in self.servers:
            server.close()


# ---- LLM


class LlmSim(Process):
    """`sluice llm-sim`: faults are set while it runs, its ledger counts every call."""

    def __init__(self, folder, *flags, name="llm", host="127.0.0.1"):
        if not sluice_has("llm-sim"):
            raise Skip("sluice llm-sim is not built")
        self.host, self.port = host, free_port()
        argv = [SLUICE, "llm-sim", "--host", host, "--port", str(self.port), "--api-key", LLM_KEY]
        super().__init__(name, argv + list(flags), folder)
        self.past = None

    @property
    def url(self):
        return "http://%s:%d/v1" % (self.host, self.port)

    def ask(self, method, path, body=None):
        status, text = http(method, "http://%s:%d%s" % (self.host, self.port, path), body)
        assert status == 200, "llm-sim: %s %s: %d %s" % (method, path, status, text)
        return json.loads(text)

    def wait_ready(self, deadline=10.0):
        wait.until("llm-sim to answer", lambda: self.ledger(), deadline)
        return self

    def set(self, **settings):
        """Chances in percent by kind of fault (f500=30, stall=5, bad_json=5 …), latency_ms, retry_after."""
        body = {key[1:] if key[1:].isdigit() else key.replace("_", "-"): value for key, value in settings.items()}
        return self.ask("POST", "/control", body)

    def ledger(self, keys=False):
        """Summed over its lives when it was put down, and known meanwhile; keys in the order of their first calls."""
        if self.past and not self.is_alive():
            return self.past
        now = self.ask("GET", "/ledger" + ("?keys=1" if keys or self.past else ""))
        return added(self.past, now) if self.past else now

    def put_down(self):
        """End it for a while, keeping its books; start() brings it back on the same port, without the settings made."""
        self.past = self.ledger(keys=True)
        self.kill()

    def reset_ledger(self):
        self.past = None
        self.ask("POST", "/ledger/reset", {})


def added(past, now):
    """Two ledgers with their keys as one."""
    by_key = {key: dict(one) for key, one in past["by_key"].items()}
    for key, one in now["by_key"].items():
        known = by_key.setdefault(key, {"calls": 0, "answered": 0, "called_ms": 0, "answered_ms": 0})
        by_key[key] = dict({name: known[name] + one[name] for name in ("calls", "answered")},
                           **{name: max(known[name], one[name]) for name in ("called_ms", "answered_ms")})
    out = {name: past[name] + now[name] for name in ("calls", "answered", "failed")}
    by_fault = {name: past["by_fault"][name] + now["by_fault"][name] for name in now["by_fault"]}
    return dict(out, keys=len(by_key), most_at_once=max(past["most_at_once"], now["most_at_once"]), truncated=past["truncated"] or now["truncated"], by_fault=by_fault, by_key=by_key)


# ---- stores


class Sqlite:
    """The embedded store: no server, just its file."""
    kind = "sqlite"

    def __init__(self, folder):
        self.path = os.path.join(folder, "store.db")

    def environment(self):
        return {"SLUICE_STORE": "sqlite", "SLUICE_SQLITE_PATH": self.path}

    def documents(self, collection):
        """{id: document} as another process reads them from the file."""
        import sqlite3
        if not os.path.exists(self.path):
            return {}
        db = sqlite3.connect("file:%s?mode=ro" % self.path, uri=True, timeout=5)
        try:
            known = db.execute("SELECT count(*) FROM sqlite_master WHERE type='table' AND name=?", (collection,))
            if not known.fetchone()[0]:
                return {}
            rows = db.execute('SELECT _id, doc FROM "%s"' % collection.replace('"', '""'))
            return {key: json.loads(doc) for key, doc in rows}
        except sqlite3.OperationalError as error:
            raise OSError("store.db: %s" % error) from None
        finally:
            db.close()

    def start(self):
        return self

    def wait_ready(self):
        return self

    def close(self):
        pass


def _mongod_argv(folder, host, port):
    """Which MongoDB-protocol server there is: mongod of the PATH, else FerretDB of tests/servers."""
    mongod = find_program("mongod")
    if mongod:
        return [mongod, "--dbpath", folder, "--port", str(port), "--bind_ip", host, "--nounixsocket"]
    ferretdb = os.path.join(BUILT_SERVERS, "ferretdb")
    if os.path.exists(ferretdb):
        return [ferretdb, "-listen", "%s:%d" % (host, port), "-dir", folder]
    raise Skip("no MongoDB: neither MONGODB_URI, nor mongod on the PATH, nor FerretDB (tests/servers/build makes it; it "
               "needs Go)")


class MongoServer(Process):
    """A server of our own that can be killed and frozen."""

    def __init__(self, folder, name="mongodb", host="127.0.0.1"):
        self.host, self.port = host, free_port()
        data = os.path.join(folder, name)
        os.makedirs(data, exist_ok=True)
        argv = _mongod_argv(data, host, self.port)
        # FerretDB without an authenticating backend takes any name and password by PLAIN; mongod takes none at all.
        self.has_password = argv[0].endswith("ferretdb")
        super().__init__(name, argv, folder, env=dict(os.environ, HOME=folder))

    def uri(self, port=None):
        """Of this server, or of a proxy before it, which is on loopback."""
        place = "127.0.0.1:%d" % port if port else "%s:%d" % (self.host, self.port)
        if self.has_password:
            return "mongodb://tester:%s@%s/?authMechanism=PLAIN&directConnection=true" % (MONGO_PASSWORD, place)
        return "mongodb://%s/?directConnection=true" % place


class Mongodb:
    """A database of its own on MONGODB_URI or on a server that is started here."""
    kind = "mongodb"

    def __init__(self, folder, host="127.0.0.1"):
        self.database = "sluice_test_%d_%s" % (os.getpid(), os.urandom(3).hex())
        self.external = os.environ.get("MONGODB_URI")
        self.server = None if self.external else MongoServer(folder, host=host)
        self.proxied_port = None

    @property
    def uri(self):
        return self.external or self.server.uri()

    def environment(self):
        uri = self.uri if self.external else self.server.uri(self.proxied_port)
        return {"SLUICE_STORE": "mongodb", "MONGODB_URI": uri, "MONGODB_DATABASE": self.database, "MONGODB_TIMEOUT": "3"}

    def _client(self, timeout_ms=3000):
        import pymongo
        return pymongo.MongoClient(self.uri, serverSelectionTimeoutMS=timeout_ms, socketTimeoutMS=10000)

    def documents(self, collection):
        import pymongo.errors
        client = self._client()
        try:
            return {one["_id"]: one for one in client[self.database][collection].find({})}
        except pymongo.errors.PyMongoError as error:
            raise OSError("MongoDB: %s" % error) from None
        finally:
            client.close()

    def start(self):
        if self.server:
            self.server.start()
        return self

    def wait_ready(self, deadline=30.0):
        def ready():
            assert self.server is None or self.server.is_alive(), "MongoDB server ended:\n" + self.server.log_text()[-2000:]
            return self.documents("none") == {}

        wait.until("MongoDB to answer", ready, deadline)
        return self

    def own_server(self):
        if self.server is None:
            raise Skip("MONGODB_URI names a server that is not ours to stop")
        return self.server

    def close(self):
        if self.external:
            client = self._client()
            client.drop_database(self.database)
            client.close()
        else:
            self.server.close()


def store_of(kind, folder, host="127.0.0.1"):
    if kind == "mongodb":
        try:
            import pymongo  # noqa: F401
        except ImportError:
            raise Skip("no python3-pymongo") from None
        return Mongodb(folder, host)
    return Sqlite(folder)
