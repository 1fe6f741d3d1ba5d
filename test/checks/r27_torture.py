#!/usr/bin/python3
"""R27: every call that may fail does, once, and the server goes on, answers with an error, or ends in the declared way.

Over the seam, in the simulator: `murre-sim --scenario torture` (whole nodes, every call of rt/sys.h and rt/tls.h). By preload (inject.c), below
everything, libraries included: the nth allocation, open, socket, read, write, epoll_ctl, thread ... of a real server, in scenarios: start and
stop, chat, TLS, commands, roster, backup, reload of certificates, metrics. Judged: it ends with status 0 only when asked to, else with a line
that says why, and by no signal but the abort of a panic; no check of its own fails; after a restart without faults every message that was
acknowledged arrives, and every account whose adding was answered with success is there."""
import concurrent.futures, errno, os, random, re, signal, socket, subprocess, sys

import common
from common import BUILD, LIMIT, Inject, Node, rig, soak, until

ERRORS = {
    "alloc": (errno.ENOMEM,), "open": (errno.EMFILE, errno.EIO, errno.ENOMEM, errno.EACCES), "socket": (errno.EMFILE, errno.ENOBUFS),
    "bind": (errno.EADDRINUSE, errno.EACCES), "listen": (errno.EADDRINUSE,), "accept": (errno.EMFILE, errno.ECONNABORTED, errno.ENOBUFS),
    "read": (errno.EIO, errno.EINTR), "write": (errno.EIO, errno.ENOSPC, errno.EINTR), "send": (errno.ECONNRESET, errno.ENOBUFS, errno.EINTR),
    "recv": (errno.ECONNRESET, errno.EAGAIN, errno.EINTR), "epoll_create": (errno.EMFILE,), "epoll_ctl": (errno.ENOMEM, errno.ENOSPC),
    "eventfd": (errno.EMFILE,), "mmap": (errno.ENOMEM,), "thread": (errno.EAGAIN,), "rename": (errno.EIO, errno.ENOSPC), "unlink": (errno.EIO,),
    "mkdir": (errno.ENOSPC, errno.EACCES), "stat": (errno.EIO, errno.EACCES), "truncate": (errno.EIO, errno.ENOSPC), "lock": (errno.EINTR, errno.EIO),
    "sockopt": (errno.ENOBUFS, errno.EINVAL)}
TROUBLE = (OSError, AssertionError, EOFError)  # of a client, while something fails under its server


class Torn(Exception):
    """The server broke a rule."""


class Victim:
    """A server, what its users were promised, and the judge of its ends."""

    def __init__(self, name):
        self.node = Node({"log.segment_bytes": "1M", "metrics.listen": "127.0.0.1:0", "recorder.bytes": "64k", "log.level": "info"})
        self.inject = Inject(self.node.dir + "/data")
        self.node.env = self.inject.env()
        self.name, self.n, self.acked, self.received, self.users = name, 0, set(), set(), {"alice@localhost", "box@localhost"}
        self.ends, self.restarts, self.asked, self.up = {}, 0, False, False
        self.backups = 0

    def begin(self):
        self.node.start()
        self.up, self.seen = True, len(self.node.stderr())

    def metrics(self):
        found = re.findall(r"metrics http://127.0.0.1:(\d+)/", self.node.stderr())
        return int(found[-1]) if found else None

    def judge_end(self, what):
        """The process has ended: in a declared way?"""
        try:
            status = self.node.proc.wait(LIMIT)
        except subprocess.TimeoutExpired:
            raise Torn(f"{what}: it neither serves nor ends: {self.said()}")
        self.node.proc.stdout.close()
        self.up = False
        text = self.said()
        panic = re.search(r"panic: (.*)", text)
        if status == -signal.SIGABRT:
            if not panic:
                raise Torn(f"{what}: aborted without a word: {text}")
            way = "panic: " + re.sub(r"[\d(].*", "", panic[1]).strip()
        elif status < 0:
            raise Torn(f"{what}: signal {-status}: {text}")
        elif status == 0:
            if not self.asked:
                raise Torn(f"{what}: exit status 0 and nobody asked: {text}")
            way = "stopped"
        else:
            if not re.search(r"^murre: .", text, re.M):
                raise Torn(f"{what}: exit status {status} without a word: {text}")
            way = f"exit status {status}"
        self.ends[way] = self.ends.get(way, 0) + 1

    def said(self):
        text = self.node.stderr()[self.seen:]
        if "check failed" in text:
            raise Torn("a check of its own fails: " + text[-1500:])
        return text[-1500:]

    def ended(self):
        return self.node.proc.poll() is not None

    def stop(self, what):
        """SIGTERM, while the fault may still come."""
        self.asked = True
        self.node.proc.send_signal(signal.SIGTERM)
        self.judge_end(what)
        self.asked = False

    def close(self):
        self.inject.disarm()
        if self.node.proc:
            self.node.__exit__()
        self.inject.close()


# --- scenarios: what is done to a running server; each stands whatever comes, and says what was promised --------------------------------------


def raw(v, tls=False):
    c = rig.Raw(v.node.tls_port if tls else v.node.port, tls=tls, alpn=[b"xmpp-client".decode()] if tls else None)
    c.open()
    return c


def send_some(v, c, count=3):
    "Messages to somebody who is away, then acks: what is acked and not refused is promised."
    first, sent = v.n + 1, []
    for _ in range(count):
        v.n += 1
        sent.append(v.n)
        c.send(f"<message to='box@localhost' type='chat' id='m{v.n}'><body>{v.name} {v.n}.</body><origin-id xmlns='urn:xmpp:sid:0' id='{v.name}-{v.n}'/></message>")
    refused = set()
    for _ in range(LIMIT):
        c.send("<r xmlns='urn:xmpp:sm:3'/>")
        m = None
        while m is None or m[1] == b"message":
            m = c.expect(r"<(message)[^>]*id='m(\d+)'[^>]*>.*?</message>|<(a) xmlns='urn:xmpp:sm:3' h='(\d+)'")
            if m[1] == b"message":
                refused.add(int(m[2]))
        v.acked |= {n for n in sent[: int(m[4])] if n not in refused}
        if int(m[4]) >= count:
            return first


def chat(v):
    c = raw(v)
    c.login("alice", resource="r", sm=True)
    send_some(v, c)
    c.send("<presence/><message to='alice@localhost/r' type='headline'><body>x</body></message></stream:stream>")
    c.closed()


def tls(v):
    c = raw(v, tls=True)
    c.login("alice", resource="t", sm=True)
    send_some(v, c, 1)
    c.close()
    c = rig.Raw(v.node.port)
    c.starttls()
    c.close()


def roster(v):
    c = raw(v)
    c.login("alice", resource="q")
    c.send("<presence/><iq type='set' id='r1'><query xmlns='jabber:iq:roster'><item jid='box@localhost' name='b'><group>g</group></item></query></iq>"
           "<presence to='box@localhost' type='subscribe'/><iq type='set' id='b1'><block xmlns='urn:xmpp:blocking'><item jid='x@y.example'/></block></iq>")
    for i in ("r1", "b1"):
        c.expect(rf"<iq[^>]*id='{i}'[^>]*>")
    c.send("<iq type='set' id='b2'><unblock xmlns='urn:xmpp:blocking'/></iq><iq type='get' id='r2'><query xmlns='jabber:iq:roster'/></iq>")
    for i in ("b2", "r2"):
        c.expect(rf"<iq[^>]*id='{i}'[^>]*>")
    c.close()


def commands(v):
    v.n += 1
    name = f"{v.name}{v.n}@localhost"
    if v.node.ctl("user", "add", name, input="secret\n", check=False).returncode == 0:
        v.users.add(name)
    for words in (("status",), ("actors",), ("queues",), ("user", "list"), ("offline", "box@localhost"), ("load",), ("nonsense",)):
        v.node.ctl(*words, check=False)


def backup(v):
    v.backups += 1
    where = f"{v.node.dir}/copy{v.backups}"
    if v.node.ctl("backup", where, check=False).returncode == 0:
        assert os.path.exists(where + "/accounts.db")


def reload(v):
    "Certificates are read again; the next handshake has one, the old or the new."
    cert = next(os.path.join(d, f) for d, _, fs in os.walk(v.node.dir + "/data") for f in fs if f.endswith(".crt"))
    seen = v.node.stderr().count("tls_reload")
    os.utime(cert)
    v.node.proc.send_signal(signal.SIGHUP)
    until("the certificates are looked at again", lambda: v.node.stderr().count("tls_reload") > seen or v.ended())
    raw(v, tls=True).close()


def metrics(v):
    with socket.create_connection(("127.0.0.1", v.metrics()), timeout=LIMIT) as s:
        s.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        while s.recv(65536):
            pass


SCENARIOS = {f.__name__: f for f in (chat, tls, roster, commands, backup, reload, metrics)}


def drain(v):
    "What was acked to alice has come to box; what was said to exist does."
    v.inject.disarm()
    have = {x if isinstance(x, str) else x["jid"] for x in v.node.ctl("user", "list")}
    if not v.users <= have:
        raise Torn(f"accounts are lost: {v.users - have}")
    v.n += 1
    c = raw(v)
    c.login("alice", resource="fence", sm=True)
    c.send(f"<message to='box@localhost' type='chat'><body>{v.name} {v.n}.</body></message>")
    fence, b = v.n, raw(v)
    b.login("box", resource="r", sm=True)
    b.send("<presence/>")
    got = 0
    while fence not in v.received:
        m = b.expect(rf"<body>{v.name} (\d+)\.</body>|<r xmlns")
        got += m[1] is not None
        if m[1]:
            v.received.add(int(m[1]))
        else:
            b.send(f"<a xmlns='urn:xmpp:sm:3' h='{got}'/>")
    b.close(), c.close()
    if v.acked - v.received:
        raise Torn(f"acked and lost: {sorted(v.acked - v.received)}")


def again(v, what):
    "A restart without faults."
    v.inject.disarm()
    try:
        v.begin()
    except AssertionError as e:
        raise Torn(f"{what}: it does not start again: {e}")
    v.restarts += 1


def one(v, scenario, kind, nth, error, sticky=False):
    what = f"{scenario}: {kind} {nth} -> {errno.errorcode[error]}{', and all later ones' if sticky else ''}"
    if not v.up:
        again(v, what)
    v.inject.arm(["any_" + kind], nth, error, sticky)
    try:
        SCENARIOS[scenario](v)
    except subprocess.TimeoutExpired as e:
        raise Torn(f"{what}: no answer: {e}; {v.said()}")
    except TROUBLE as e:
        if "no " in str(e)[:3] and "within" in str(e) and not v.ended():
            raise Torn(f"{what}: no answer: {e}; {v.said()}")
    fired = bool(v.inject.fired())
    if v.ended() or (kind == "alloc" and fired and dying(v)):
        v.judge_end(what)
        again(v, what)
        drain(v)
    v.inject.disarm()
    v.said()
    return fired


def dying(v):
    """An allocation that failed may have ended it a moment ago; who answers is alive."""
    try:
        v.node.ctl("node")
        return False
    except AssertionError:
        return True


def one_start(v, kind, nth, error):
    what = f"start: {kind} {nth} -> {errno.errorcode[error]}"
    if v.up:
        v.inject.disarm()
        v.stop(what)
    v.inject.arm(["any_" + kind], nth, error)
    v.seen = len(v.node.stderr())
    try:
        v.node.start()
        v.up = True
        v.stop(what)
    except AssertionError as e:
        if "the server ended" not in str(e):
            raise Torn(f"{what}: {e}")
        v.judge_end(what)
    fired = bool(v.inject.fired())
    again(v, what)
    drain(v)
    return fired


def counts(v, scenario):
    """How many calls of each kind the scenario makes when nothing fails."""
    if scenario == "start":
        v.stop("count")
        v.inject.watch()
        v.begin()
        v.stop("count")
    else:
        v.inject.watch()
        SCENARIOS[scenario](v)
    v.inject.disarm()
    return v.inject.counts()


def plan(scenario, found, rng):
    """(kind, nth, error, sticky): all in the soak, else some of each kind, spread evenly."""
    for kind, n in found.items():
        want = min(n, soak(PAIRS.get((scenario, kind), PAIRS.get(kind, 2)), n))
        for i in range(want):
            nth = 1 + (i * n + rng.randrange(n)) // want if want < n else 1 + i
            yield kind, nth, rng.choice(ERRORS[kind]), kind == "alloc" and rng.random() < 0.25


PAIRS = {"alloc": 4, ("start", "alloc"): 8, ("chat", "alloc"): 8}
BASE = {}


def run(scenario):
    rng = random.Random(f"{common.SEED}/{scenario}")
    v = Victim(scenario)
    pairs = fired = 0
    try:
        v.begin()
        for u in sorted(v.users):
            v.node.user(u)
        found = counts(v, scenario)
        for kind, nth, error, sticky in plan(scenario, found, rng):
            fired += one_start(v, kind, nth, error) if scenario == "start" else one(v, scenario, kind, nth, error, sticky)
            pairs += 1
        if not v.up:
            again(v, "the end")
        v.stop("the end")
        again(v, "the end")
        drain(v)
        return scenario, pairs, fired, sum(found.values()), v.ends, len(v.acked)
    finally:
        v.close()


def check_preload():
    "Each kind of call fails at points spread over each scenario; every end is a declared one, every ack is kept."
    with concurrent.futures.ThreadPoolExecutor(2) as two:
        results = list(two.map(run, ["start", *SCENARIOS]))
    ends = {}
    for name, pairs, fired, calls, e, acked in results:
        print(f"      {name}: {pairs} of {calls} calls failed, {fired} came to it, {acked} messages acked", flush=True)
        for k, n in e.items():
            ends[k] = ends.get(k, 0) + n
    print("      ends: " + ", ".join(f"{k} {n}" for k, n in sorted(ends.items())))
    assert sum(r[2] for r in results) >= sum(r[1] for r in results) / 2, "most never came to their call"
    assert any("memory" in k for k in ends), "no allocation ended it: the injection does not work"


def check_seam():
    "The simulator: each call of the seams fails once in whole nodes; the history checker judges, and nothing stays open."
    seeds, at_once = soak(36, 2600), 2
    each = -(-seeds // at_once)
    cmd = lambda i: [BUILD + "/murre-sim", "--scenario", "torture", "--seed", str(common.SEED + i * each), "--seeds", str(each)]
    with concurrent.futures.ThreadPoolExecutor(at_once) as two:
        done = list(two.map(lambda i: subprocess.run(cmd(i), capture_output=True, text=True), range(at_once)))
    out = "".join(r.stdout for r in done)
    bad = [l for r in done for l in (r.stdout + r.stderr).splitlines() if ": ok, " not in l]
    assert all(r.returncode == 0 for r in done) and not bad, "\n".join(bad[:20])
    found = re.findall(r"\| (\d+) of (\d+) calls failed, (\d+) nodes ended", out)
    pairs, calls, ended = (sum(int(f[i]) for f in found) for i in range(3))
    print(f"      {pairs} of {calls} calls failed, {ended} nodes ended for it, {len(found)} seeds")
    assert len(found) >= seeds and pairs >= 60 * seeds


if __name__ == "__main__":
    common.main(sys.modules["__main__"])
