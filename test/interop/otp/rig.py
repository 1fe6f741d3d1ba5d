"""rig: real Erlang nodes, a real epmd and build/dist-peer for tests of the distribution protocol. Everything listens on 127.0.0.1, on ports
that the kernel chose. Nothing sleeps: everything waits for a line with a limit."""
import contextlib, os, select, shutil, socket, ssl, subprocess, sys, tempfile, threading, time

sys.path.insert(1, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../xmpp"))
import importlib.util

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../.."))
BUILD = os.environ.get("MURRE_BUILD", os.path.join(ROOT, "build"))
LIMIT = 60  # seconds that any single event may take, on a busy machine
COOKIE = "QZLTVIWNEHJSKFDWRPMA"
OTP = int(os.environ.get("MURRE_OTP", "25"))  # the release of Erlang/OTP that is beside ours: 25 is this machine's, the others are those of `release`
HERE = os.path.dirname(os.path.abspath(__file__))
os.environ.setdefault("MURRE_OTP_DIR", os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "murre"))  # whatever HOME a test sets


def erlang(tool):
    """The command that begins with a program of that release: erl, epmd, escript."""
    return [tool] if OTP == 25 else [HERE + "/release", "run", str(OTP), tool]


def xmpp_rig():
    """The runner of tests is that of the other live tests."""
    spec = importlib.util.spec_from_file_location("xmpp_rig", os.path.join(ROOT, "test/interop/xmpp/rig.py"))
    m = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(m)
    return m


main = xmpp_rig().main


def program(path, folder):
    """What an Erlang of that release starts to run a program of this machine: the program, or a script in folder, with the libraries that it was built for."""
    if OTP == 25:
        return path
    script = os.path.join(folder, os.path.basename(path))
    with open(os.open(script, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o755), "w") as f:
        f.write(f"#!/bin/sh\nl=/host/lib/x86_64-linux-gnu\nexec $l/ld-linux-x86-64.so.2 --library-path $l '{path}' \"$@\"\n")
    return script


class Lines:
    """A process of which lines are read. `with Lines([...]) as p`; it is killed at the end."""

    def __init__(self, args, env=None):
        self.args, self.seen, self.rest = args, [], b""
        self.proc = subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                     env=dict(os.environ, **(env or {})))

    def line(self, limit=LIMIT):
        """The next line, or None at the end of output."""
        end = time.monotonic() + limit
        while b"\n" not in self.rest:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.proc.stdout], [], [], left)[0]:
                raise AssertionError(f"{self.args[:2]}: no line; seen {self.seen}")
            piece = os.read(self.proc.stdout.fileno(), 65536)
            if not piece:
                return None
            self.rest += piece
        one, self.rest = self.rest.split(b"\n", 1)
        self.seen.append(one.decode(errors="replace").rstrip("\r"))
        return self.seen[-1]

    def wait(self, begin):
        """The rest of the first line that begins so."""
        while True:
            one = self.line()
            if one is None:
                raise AssertionError(f"{self.args[:2]}: ended before '{begin}'; seen {self.seen}")
            if one.startswith(begin):
                return one[len(begin):].strip()

    def all(self):
        """Every line to the end of output."""
        while self.line() is not None:
            pass
        return self.seen

    def kill(self):
        self.proc.kill()
        self.proc.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
        self.proc.stdin.close()
        self.proc.stdout.close()


def peer(what, **keys):
    """build/dist-peer. Keys whose value is None are left out."""
    keys = dict({"cookie": COOKIE} if what in ("accept", "dial") else {}, **keys)
    return Lines([BUILD + "/dist-peer", what] + [f"{k}={v}" for k, v in keys.items() if v is not None])


def mesh_peer(epmd_port, name, **more):
    """build/mesh-peer, which is registered with the port mapper when it listens."""
    return Lines([BUILD + "/mesh-peer", "name=" + name, "cookie=" + COOKIE, f"epmd={epmd_port}"] + [f"{k}={v}" for k, v in more.items()])


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Epmd(Lines):
    """A real epmd. self.port."""

    def __init__(self):
        self.port = free_port()
        super().__init__([*erlang("epmd"), "-port", str(self.port), "-address", "127.0.0.1"])
        end = time.monotonic() + LIMIT
        while True:  # it says nothing when it is ready: to be connected to is the event
            try:
                socket.create_connection(("127.0.0.1", self.port), LIMIT).close()
                return
            except ConnectionRefusedError:
                if time.monotonic() > end or self.proc.poll() is not None:
                    raise
                select.select([self.proc.stdout], [], [], 0.01)


@contextlib.contextmanager
def hosts(text):
    """A file of hosts, which may be rewritten in its place, and words that a command is begun with so that it, and nobody else, has these."""
    with tempfile.NamedTemporaryFile("w") as f:
        f.write(text)
        f.flush()
        own = [] if os.geteuid() == 0 else ["-r"]
        yield f.name, ["unshare", "-m", *own, "sh", "-c", f'mount --bind {f.name} /etc/hosts && exec "$@"', "sh"]


def epmd_tool(port, *words):
    r = subprocess.run([*erlang("epmd"), "-port", str(port), *words], capture_output=True, text=True, timeout=LIMIT)
    return r.stdout + r.stderr


# Tells of nodes that come and go.
SERVE = """
ok = net_kernel:monitor_nodes(true, [{node_type, all}]),
[self() ! {nodeup, X, []} || X <- nodes(connected)],
io:format("ready ~s~n", [node()]),
F = fun F() -> receive
    {nodeup, N, _} -> io:format("nodeup ~s~n", [N]), F();
    {nodedown, N, _} -> io:format("nodedown ~s~n", [N]), F()
end end,
F().
"""


class Erl(Lines):
    """A real node that uses the port mapper at epmd_port and evaluates code. With code None it serves: 'ready', then 'nodeup NAME' and
    'nodedown NAME'. reads: it has standard input."""

    def __init__(self, name, epmd_port, code=None, cookie=COOKIE, more=(), reads=False):
        args = [*erlang("erl"), "-noshell" if reads else "-noinput", "-start_epmd", "false", "-name", name, "-setcookie", cookie, *more,
                "-kernel", "inet_dist_use_interface", "{127,0,0,1}", "-eval", code or SERVE]
        super().__init__(args, {"ERL_EPMD_PORT": str(epmd_port), "HOME": os.environ.get("HOME", "/root"), "ERL_CRASH_DUMP_SECONDS": "0"})


class Certificate:
    """A key and a certificate of its own in a temporary directory: .cert, .key."""

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix="murre-test-")
        self.cert, self.key = self.dir + "/cert.pem", self.dir + "/key.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
                        "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", self.key, "-out", self.cert],
                       check=True, capture_output=True, timeout=LIMIT)
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.dir)


class TlsRelay:
    """Puts TLS around one connection after the other: what comes in on self.port goes to port. to_tls: TLS towards port, else from whom it
    comes."""

    def __init__(self, cert, to_tls, port):
        self.to, self.to_tls = port, to_tls
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT if to_tls else ssl.PROTOCOL_TLS_SERVER)
        if to_tls:
            self.context.check_hostname = False
            self.context.load_verify_locations(cert.cert)
        else:
            self.context.load_cert_chain(cert.cert, cert.key)
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        try:
            while True:
                came, _ = self.server.accept()
                there = socket.create_connection(("127.0.0.1", self.to), LIMIT)
                if self.to_tls:
                    there = self.context.wrap_socket(there)
                else:
                    came = self.context.wrap_socket(came, server_side=True)
                self.pump(came, there)
        except OSError:
            pass  # the test is over

    def pump(self, a, b):
        with a, b:
            while True:
                waiting = [s for s in (a, b) if isinstance(s, ssl.SSLSocket) and s.pending()] or select.select([a, b], [], [], LIMIT)[0]
                for s in waiting:
                    data = s.recv(65536)
                    if not data:
                        return
                    (b if s is a else a).sendall(data)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.close()
