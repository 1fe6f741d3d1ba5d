"""rig: a real murre process for live tests, a raw XMPP stream for what no library would send, and a test runner.

A test is a function named test_*; its docstring is the rule that it proves. Nothing sleeps: everything waits for an event with a limit."""
import base64, hashlib, hmac, json, os, re, select, shutil, signal, socket, ssl, subprocess, sys, tempfile, time, traceback

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../.."))
BUILD = os.environ.get("MURRE_BUILD", os.path.join(ROOT, "build"))
LIMIT = 60  # seconds that any single event may take, on a busy machine


def until(what, ask, limit=LIMIT):
    """Asks again until the answer is true; returns that. what: what never was, or a function that says it at the end. To be used where nothing
    tells but asking; what comes by itself is read."""
    end = time.monotonic() + limit
    while True:
        answer = ask()
        if answer:
            return answer
        assert time.monotonic() < end, f"not within {limit} s: {what() if callable(what) else what}"
        select.select([], [], [], 0.005)  # between two looks, others may run


class Server:
    """murre run in a directory of its own, on free ports. `with Server(...) as s`. Settings as {"tls.required": "false"}."""

    def __init__(self, settings=None, data=None, env=None, prefix=()):
        self.dir = data or tempfile.mkdtemp(prefix="murre-test-")
        self.own = data is None
        self.settings = {"domains": "localhost", "xmpp.listen": "127.0.0.1:0", "xmpp.tls_listen": "127.0.0.1:0", "sasl.iterations": "4096"}
        self.settings.update(settings or {})
        self.env, self.prefix, self.proc = env, list(prefix), None

    def start(self, wait=True):
        args = self.prefix + [BUILD + "/murre", "run", "--set", "data=" + self.dir + "/data"]
        for k, v in self.settings.items():
            args += ["--set", f"{k}={v}"]
        self.log = open(self.dir + "/stderr", "ab")
        self.proc = subprocess.Popen(args, stdout=subprocess.PIPE, stderr=self.log, env=dict(os.environ, **(self.env or {})))
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self):
        self.banner = b""
        end = time.monotonic() + LIMIT
        while b"\nready\n" not in self.banner:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.proc.stdout], [], [], left)[0]:
                raise AssertionError("the server does not become ready: " + self.banner.decode() + self.stderr())
            piece = os.read(self.proc.stdout.fileno(), 65536)
            if not piece:
                raise AssertionError("the server ended: " + self.stderr())
            self.banner += piece
        text = self.banner.decode()
        find = lambda kind: (re.findall(r"listening  " + kind + r"\s+\S+:(\d+)$", text, re.M) or [None])[0]
        self.port, self.tls_port = find("STARTTLS"), find("direct TLS")
        self.port = self.port and int(self.port)
        self.tls_port = self.tls_port and int(self.tls_port)

    def stderr(self):
        return open(self.dir + "/stderr", errors="replace").read()

    def ctl(self, *words, input=None, check=True, raw=False):
        r = subprocess.run([BUILD + "/murrectl", "--socket", self.dir + "/data/ctl.sock", "--json", *words], input=input, capture_output=True,
                           text=True, timeout=120)
        if check and r.returncode:
            raise AssertionError(f"murrectl {words}: {r.returncode} {r.stdout} {r.stderr}")
        return r if raw or not check else json.loads(r.stdout)["result"]

    def user(self, jid, password="secret"):
        self.ctl("user", "add", jid, input=password + "\n")

    def kill(self):
        self.proc.kill()
        self.proc.wait()
        self.proc.stdout.close()

    def stop(self):
        """SIGTERM; returns the exit status."""
        self.proc.send_signal(signal.SIGTERM)
        status = self.proc.wait(LIMIT)
        self.proc.stdout.close()
        return status

    def restart(self):
        self.kill()
        return self.start()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        if self.proc and self.proc.poll() is None:
            self.kill()
        self.log.close()
        report = re.search(r"^.*(AddressSanitizer|ThreadSanitizer|LeakSanitizer|runtime error:).*(\n.*){0,40}", self.stderr(), re.M)
        if self.own:
            shutil.rmtree(self.dir, ignore_errors=True)
        if report:
            raise AssertionError("a sanitizer reports: " + report.group())


class Raw:
    """A hand-driven client stream."""

    def __init__(self, port, tls=False, alpn=None):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=LIMIT)
        self.buf = b""
        if tls:
            self.wrap(alpn)

    def wrap(self, alpn=None, name="localhost"):
        c = ssl.create_default_context()
        c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
        if alpn:
            c.set_alpn_protocols(alpn)
        self.sock = c.wrap_socket(self.sock, server_hostname=name)

    def send(self, text):
        self.sock.sendall(text.encode() if isinstance(text, str) else text)

    def expect(self, pattern):
        """Reads until the pattern (a regular expression) is there; returns the match and drops everything up to its end."""
        end = time.monotonic() + LIMIT
        while True:
            m = re.search(pattern.encode(), self.buf, re.S)
            if m:
                self.buf = self.buf[m.end():]
                return m
            self.sock.settimeout(max(0.01, end - time.monotonic()))
            try:
                piece = self.sock.recv(65536)
            except (TimeoutError, socket.timeout):
                raise AssertionError(f"no {pattern} within {LIMIT} s; got {self.buf!r}")
            except ConnectionResetError:
                piece = b""
            if not piece:
                raise AssertionError(f"closed before {pattern}; got {self.buf!r}")
            self.buf += piece

    def closed(self):
        """Reads to the end of the stream; returns what came."""
        self.sock.settimeout(LIMIT)
        try:
            while True:
                piece = self.sock.recv(65536)
                if not piece:
                    break
                self.buf += piece
        except (ConnectionResetError, ssl.SSLError):
            pass
        return self.buf.decode(errors="replace")

    def open(self, to="localhost"):
        self.send(f"<?xml version='1.0'?><stream:stream to='{to}' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>")
        return self.expect(r"<stream:features.*?(</stream:features>|<stream:features/>)").group().decode()

    def starttls(self):
        self.open()
        self.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        self.expect(r"<proceed[^>]*>")
        self.wrap()

    def plain(self, user, password="secret"):
        """SCRAM-SHA-256 by hand."""
        nonce = base64.b64encode(os.urandom(18)).decode()
        bare = f"n={user},r={nonce}"
        self.send(f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-256'>{base64.b64encode(('n,,' + bare).encode()).decode()}</auth>")
        m = self.expect(r"<(challenge|failure)[^>]*>(.*?)</\1>")
        if m[1] == b"failure":
            return False
        first = base64.b64decode(m[2]).decode()
        f = dict(p.split("=", 1) for p in first.split(","))
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(f["s"]), int(f["i"]))
        key = hmac.digest(salted, b"Client Key", "sha256")
        final = f"c=biws,r={f['r']}"
        sig = hmac.digest(hashlib.sha256(key).digest(), f"{bare},{first},{final}".encode(), "sha256")
        proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, sig))).decode()
        self.send(f"<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{base64.b64encode((final + ',p=' + proof).encode()).decode()}</response>")
        return self.expect(r"<(success|failure)").group(1) == b"success"

    def login(self, user, password="secret", resource=None, sm=False):
        assert self.plain(user, password), "login refused"
        self.open()
        r = f"<resource>{resource}</resource>" if resource else ""
        self.send(f"<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>{r}</bind></iq>")
        self.jid = self.expect(r"<jid>(.*?)</jid>").group(1).decode()
        self.expect("</iq>")
        if sm:
            self.send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
            self.smid = self.expect(r"<enabled[^>]*?id='([^']*)'[^>]*>").group(1).decode()
        return self

    def close(self):
        self.sock.close()


def login(server, user, password="secret", resource=None, sm=False, presence=True):
    c = Raw(server.tls_port, tls=True, alpn=["xmpp-client"])
    c.open()
    c.login(user, password, resource, sm)
    if presence:
        c.send("<presence/>")
        c.expect(r"<presence[^>]*from='" + re.escape(c.jid) + r"'[^>]*?/?>")
    return c


def main(module):
    """Runs the test_* functions of a module (or those named on the command line)."""
    tests = [f for n, f in list(vars(module).items()) if n.startswith("test_")]
    if sys.argv[1:]:
        tests = [f for f in tests if f.__name__ in sys.argv[1:]]
    passed = failed = 0
    for t in tests:
        start = time.monotonic()
        try:
            t()
            passed += 1
            print(f"ok     {t.__name__} ({time.monotonic() - start:.1f} s)", flush=True)
        except BaseException:
            failed += 1
            print(f"FAILED {t.__name__}: {t.__doc__}", flush=True)
            traceback.print_exc(file=sys.stdout)
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed or not passed else 0)
