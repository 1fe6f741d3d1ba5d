"""selftest: is the load generator to be believed? A proxy between it and murre loses, doubles, swaps or spoils one message, or keeps the acks:
each must be counted as that and nothing else. And every server is loaded wrongly in a dozen ways, each of which must be said in a sentence
that names the cause, with a status that is not 0."""
import json, re, socket, subprocess, threading

import servers

MESSAGE = re.compile(rb"<message.*?</message>", re.S)
NTH = 10  # of the messages to the one receiver


class Proxy:
    """One way of spoiling what the server sends."""

    def __init__(self, port, spoil):
        self.port, self.spoil = port, spoil
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.seen, self.held, self.lock = 0, b"", threading.Lock()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.port))
            for a, b, fn in ((client, server, lambda data: data), (server, client, self.filter())):
                threading.Thread(target=self.pump, args=(a, b, fn), daemon=True).start()

    @staticmethod
    def pump(a, b, fn):
        try:
            while data := a.recv(65536):
                b.sendall(fn(data))
        except OSError:
            pass
        for s in (a, b):
            s.close()

    def filter(self):
        rest = b""

        def fn(data):
            nonlocal rest
            rest += data
            end = max((m.end() for m in MESSAGE.finditer(rest)), default=0)
            if end == 0 and b"<message" in rest:
                return b""  # the rest of it is to come
            if b"<message" not in rest[end:]:
                end = len(rest)
            out, rest = rest[:end], rest[end:]
            with self.lock:
                out = MESSAGE.sub(lambda m: self.one(m[0]), out)
                return re.sub(rb"<a [^>]*/>", b"", out) if self.spoil == "acks" else out
        return fn

    def one(self, m):
        self.seen += 1
        if self.spoil == "swapped" and self.seen == NTH + 1:
            return m + self.held
        if self.seen != NTH:
            return m
        if self.spoil == "swapped":
            self.held = m
        return {"lost": b"", "swapped": b"", "doubled": m + m, "error": re.sub(rb"type=['\"]chat['\"]", b"type='error'", m)}.get(self.spoil, m)

    def close(self):
        self.listener.close()


WRONG = ("lost", "doubled", "reordered", "misdelivered", "errors", "unacked")
SPOILED = {"nothing": {}, "lost": {"lost": 1}, "doubled": {"doubled": 1}, "swapped": {"reordered": 1}, "error": {"errors": 1, "lost": 1}, "acks": {"unacked": None}}
# What is asked of every server, and what it must be told by; None: it works.
ASKED = [([], None), (["--acks"], None), (["--mech", "PLAIN"], None), (["--tls", "starttls"], None), (["--mode", "offline", "--count", 400], None),
         (["--mode", "login", "--count", 10], None), (["--mode", "idle", "--sessions", 20, "--base", 5], None),
         (["--password", "wrong"], "login refused: not-authorized"), (["--user", "nobody%u"], "login refused: not-authorized"),
         (["--mech", "SCRAM-SHA-512"], "the server does not offer SCRAM-SHA-512, but .*SCRAM-SHA-256"), (["--mech", "ANONYMOUS"], "does not offer ANONYMOUS, but"),
         (["--domain", "elsewhere"], "stream error: host-unknown"), (["--tls", "direct"], "the TLS handshake failed"), (["--host", "127.0.0.9"], "Connection refused"),
         (["--host", "nowhere"], "--host wants an IPv4 address"), (["--port", 0], "--port wants a number from 1 to 65535"), (["--pairs", 0], "--pairs wants a number from 1 to 10000"),
         (["--mode", "offline", "--count", 3], "--count wants at least"), (["--mode", "x"], "no such mode"), (["--tls", "x"], "--tls is none, starttls or direct"), (["--bogus"], "unknown argument")]


def generator(port, *more):
    args = [servers.BENCH, "xmpp", "--port", str(port), "--json", "--seconds", "1", "--warm", "0", *map(str, more)]
    r = subprocess.run(args, capture_output=True, text=True, timeout=120)
    lines = r.stdout.strip().splitlines()
    return r.returncode, json.loads(lines[-1]) if lines else {}, r.stderr.strip()


def spoiled(server):
    good = True
    for spoil, want in SPOILED.items():
        p = Proxy(server.port, spoil)
        status, out, text = generator(p.listener.getsockname()[1], "--pairs", 1, "--window", 4, "--count", 100, *(["--acks"] if spoil == "acks" else []))
        p.close()
        found = {k: out.get(k, 0) for k in WRONG if out.get(k, 0)}
        ok = set(found) == set(want) and all(v in (None, found[k]) for k, v in want.items()) and (status != 0) == bool(want)
        good &= ok
        print(f"| spoiled on the way: {spoil} | {found or 'nothing counted'}, status {status} | {'as it should' if ok else f'**WRONG, {want} wanted** {text}'} |")
    return good


def asked(server):
    good = True
    for more, want in ASKED:
        status, _, text = generator(server.port, "--pairs", 4, *more)
        ok = status == 0 if want is None else status != 0 and re.search(want, text) is not None
        good &= ok
        if not ok:
            print(f"| {server.name}: {' '.join(map(str, more))} | status {status} {text} | **WRONG, {want or 'success'} wanted** |")
    print(f"| {server.name}: {len(ASKED)} ways to load it, {sum(w is not None for _, w in ASKED)} of them wrong | | {'as it should' if good else ''} |")
    return good


def run(classes):
    print("\n### the load generator itself\n\n| | | |\n|---|---|---|")
    good = True
    for cls in classes:
        with cls() as s:
            s.register(20)
            if cls is servers.Murre:
                good &= spoiled(s)
            good &= asked(s)
    return good
