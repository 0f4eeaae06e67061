# SPDX-License-Identifier: Apache-2.0
"""The LLM and a service behind TLS, with certificates of a CA that nobody knows."""
import http.client, http.server, os, shutil, ssl, subprocess, threading
from lib.servers import Skip
from service_cases import Service, audit_stream, caller
from stage import cases_of, check, wait_for


def certificates(folder):
    """A CA, a server's certificate of it, and a CA that has nothing to do with it."""
    if shutil.which("openssl") is None:
        raise Skip("no openssl program")
    new = "openssl req -newkey rsa:2048 -nodes -days 2"
    subprocess.run(f"printf 'subjectAltName=DNS:localhost,IP:127.0.0.1' >ext && {new} -x509 -subj /CN=ca -keyout ca.key -out ca.pem && "
                   f"{new} -subj /CN=server -keyout server.key -out server.csr && {new} -x509 -subj /CN=other -keyout o.key -out other.pem && "
                   "openssl x509 -req -days 2 -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile ext -out server.pem",
                   shell=True, cwd=folder, check=True, capture_output=True)
    return os.path.join(folder, "ca.pem"), os.path.join(folder, "other.pem")


class Front:
    """Speaks TLS, and passes what it is asked on to a server that does not."""

    def __init__(self, folder, port):
        front = self
        self.passed = 0

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                front.passed += 1
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                behind = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                behind.request(self.command, self.path, body, dict(self.headers))
                answer = behind.getresponse()
                data = answer.read()
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.headers.get("Content-Type", "text/plain"))
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
                behind.close()

            do_GET = do_POST

            def log_message(self, *_):
                pass

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(os.path.join(folder, "server.pem"), os.path.join(folder, "server.key"))

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def finish_request(self, request, address):  # on the connection's own thread: a handshake may hang or fail
                with context.wrap_socket(request, server_side=True) as encrypted:
                    super().finish_request(encrypted, address)

            def handle_error(self, *_):
                pass  # clients that do not trust us

        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.base = f"https://127.0.0.1:{self.server.server_port}"


def llm_of_a_private_ca_is_asked(s):
    ca, _ = certificates(s.dir)
    front = Front(s.dir, s.llm.port)
    done = 0
    for setting in {"LLM_CA": ca}, {"SSL_CERT_FILE": ca}:
        w = s.start_worker(LLM_BASE_URL=front.base + "/v1", **setting)
        s.ready()
        s.send(2, first=done + 1)
        done += 2
        s.expect_done(done)
        check("llm.unreachable" not in s.log_text(), f"with {setting}: {s.log_text()[-500:]}")
        w.stop()
    check(front.passed >= 4, f"{front.passed} calls")


def llm_of_an_unknown_ca_is_not_asked(s):
    ca, other = certificates(s.dir)
    front = Front(s.dir, s.llm.port)
    for setting in {"SSL_CERT_FILE": None}, {"LLM_CA": other}, {"LLM_CA": other, "SSL_CERT_FILE": ca}:
        w = s.start_worker(LLM_BASE_URL=front.base + "/v1", **setting)
        wait_for("the boot tells it", lambda: any(e["event"] == "llm.unreachable" for e in w.log_lines()))
        told = next(e for e in w.log_lines() if e["event"] == "llm.unreachable")
        check("certificate" in told["text"], told)
        s.ready()
        w.stop()
    check(front.passed == 0, f"{front.passed} calls")


def service_of_a_private_ca_is_called(s):
    ca, other = certificates(s.dir)
    audit_stream(s)
    service = Service()
    front = Front(s.dir, service.server.server_port)
    service.url = front.base + "/api/"
    w = caller(s, service, f"    ca: {other}\n", SSL_CERT_FILE=ca)
    check(w.p.wait(30) == 3, f"exit {w.p.returncode}, expected 3")
    check("certificate" in w.log_text() and front.passed == 0, w.log_text()[-500:])
    done = 0
    for lines, variable in (f"    ca: {ca}\n", None), ("", ca):
        w = caller(s, service, lines, SSL_CERT_FILE=variable)
        s.ready()
        s.send(1, first=done + 1)
        done += 1
        s.expect_done(done)
        w.stop()


CASES = cases_of(globals())
for case in CASES:
    case.once = "a store plays no part"
