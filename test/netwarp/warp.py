"""warp: drives a netwarp process from a test, event by event; and the two ends of a relayed connection.

    with Echo() as up, Warp(up.addr, "--seed", "7") as w:
        w.do("set c2s delay 50ms"); c = w.connect(); ...; w.do("cut s2c"); w.until(lambda s: s["c2s"]["held"] > 0); w.do("heal")

Nothing sleeps: what has to be waited for is either heard through `watch`, or a state of `stats` (until)."""
import json, os, select, shutil, socket, struct, subprocess, sys, tempfile, threading, time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../interop/xmpp"))
import rig

PROGRAM = os.environ.get("NETWARP", rig.BUILD + "/netwarp")
LIMIT = rig.LIMIT


class Warp:
    def __init__(self, to, *args, listen="127.0.0.1:0", control=True, trace=True, started=True):
        self.dir = tempfile.mkdtemp(prefix="netwarp-test-")
        self.ctl_path, self.trace_path = self.dir + "/ctl", self.dir + "/trace"
        to = to if isinstance(to, str) else f"{to[0]}:{to[1]}"
        self.args = [PROGRAM, "--listen", listen, "--to", to, *(["--trace", self.trace_path] if trace else []), *args]
        if control:
            self.args += ["--control", self.ctl_path]
        self.control, self.sock, self.watching = control, None, None
        if started:
            try:
                self.start()
            except BaseException:
                shutil.rmtree(self.dir, ignore_errors=True)
                raise

    def start(self):
        self.proc = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *self.args], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out = b""
        while b"\nready\n" not in out:
            assert select.select([self.proc.stdout], [], [], LIMIT)[0], "netwarp does not become ready"
            piece = os.read(self.proc.stdout.fileno(), 4096)
            assert piece, "netwarp ended: " + self.proc.stderr.read().decode()
            out += piece
        host, _, port = out.decode().split("\n")[0].split(" ")[2].rpartition(":")
        self.addr = (host.strip("[]"), int(port))
        if self.control:
            self.sock = self.open()
        return self

    def open(self):
        """Another connection to the control socket, as a file of lines."""
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(LIMIT)
        s.connect(self.ctl_path)
        f = s.makefile("rw")
        s.close()  # the file keeps it open
        return f

    def ask(self, text, f=None):
        f = f or self.sock
        f.write(text + "\n")
        f.flush()
        return f.readline().rstrip("\n")

    def do(self, text):
        r = self.ask(text)
        assert r == "ok", (text, r)

    def error(self, text):
        r = self.ask(text)
        assert r.startswith("error: "), (text, r)
        return r[7:]

    def stats(self):
        return json.loads(self.ask("stats"))

    def conns(self):
        return json.loads(self.ask("conns"))

    def until(self, condition):
        """Asks for stats until condition(stats) holds; returns them."""
        def look():
            self.last = self.stats()
            return condition(self.last) and self.last
        return rig.until(lambda: f"what is waited for in {self.last}", look)

    def watch(self):
        self.watching = self.open()
        assert self.ask("watch", self.watching) == "ok"

    def event(self, what, **fields):
        """Waits for a decision."""
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            e = json.loads(self.watching.readline())
            if e["what"] == what and all(e.get(k) == v for k, v in fields.items()):
                return e
        raise AssertionError(f"no {what} {fields}")

    def connect(self, timeout=LIMIT):
        s = socket.create_connection(self.addr, timeout=timeout)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return s

    def trace(self):
        """All decisions; ends the process."""
        self.stop()
        return [json.loads(line) for line in open(self.trace_path)]

    def stop(self):
        if self.proc.poll() is None:
            self.proc.terminate()
        status = self.proc.wait(LIMIT)
        err = self.proc.stderr.read().decode()
        assert status == 0 and not err, (status, err)
        assert not os.path.exists(self.ctl_path), "the control socket is left behind"

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            if not self.proc.stderr.closed:
                if kind is None:
                    self.stop()
                else:
                    self.proc.kill()
                    self.proc.wait()
                    print(self.proc.stderr.read().decode())
        finally:
            for f in (self.proc.stdout, self.proc.stderr, self.sock, self.watching):
                if f:
                    f.close()
            shutil.rmtree(self.dir, ignore_errors=True)


class Up:
    """A server that hands its connections to the test: accept(). rcvbuf: so little that its kernel makes senders wait soon."""

    def __init__(self, host="127.0.0.1", rcvbuf=0):
        self.sock = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=4096)
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.sock.settimeout(LIMIT)
        a = self.sock.getsockname()
        self.addr = f"[{a[0]}]:{a[1]}" if ":" in host else f"{a[0]}:{a[1]}"

    def accept(self):
        c = self.sock.accept()[0]
        c.settimeout(LIMIT)
        c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return c

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()


class Echo(Up):
    """A server that sends back what it gets, for any number of connections, in one thread."""

    def __init__(self, host="127.0.0.1"):
        super().__init__(host)
        self.wake, self.end = socket.socketpair()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        self.sock.setblocking(False)
        ep, conns = select.epoll(), {}
        ep.register(self.sock, select.EPOLLIN)
        ep.register(self.end, select.EPOLLIN)
        while True:
            for fd, _ in ep.poll():
                if fd == self.end.fileno():
                    return
                if fd == self.sock.fileno():
                    try:
                        c = self.sock.accept()[0]
                    except BlockingIOError:
                        continue
                    c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    conns[c.fileno()] = c
                    ep.register(c, select.EPOLLIN)
                    continue
                c = conns[fd]
                try:
                    piece = c.recv(1 << 16)
                    if piece:
                        c.sendall(piece)
                        continue
                except OSError:
                    pass
                ep.unregister(fd)
                conns.pop(fd).close()

    def __exit__(self, *_):
        self.wake.send(b"x")
        self.thread.join()
        super().__exit__()


def pair(w, up):
    """One relayed connection: the client's end and the server's."""
    c = w.connect()
    return c, up.accept()


def read(s, n):
    """Exactly n bytes."""
    out = bytearray()
    while len(out) < n:
        piece = s.recv(min(n - len(out), 1 << 20))
        assert piece, f"ended after {len(out)} of {n} bytes"
        out += piece
    return bytes(out)


def read_end(s):
    """All bytes to the end, and how it ended: "fin" or "rst"."""
    out = bytearray()
    try:
        while True:
            piece = s.recv(1 << 16)
            if not piece:
                return bytes(out), "fin"
            out += piece
    except ConnectionResetError:
        return bytes(out), "rst"


def silent(s, after):
    """Nothing has come to s by the time that after(), which waits for a later event, returns."""
    after()
    return not select.select([s], [], [], 0)[0]


def pattern(n, seed=1):
    """Bytes that do not repeat soon."""
    out, x = bytearray(), seed
    while len(out) < n:
        x = (x * 6364136223846793005 + 1442695040888963407) & (1 << 64) - 1
        out += struct.pack("<Q", x)
    return bytes(out[:n])
