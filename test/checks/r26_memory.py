#!/usr/bin/python3
"""R26: 256 MiB and attackers. The node sheds before the limit and serves those whom it has; then a real OOM kill, after which nothing acked is
lost and it serves again within 2 s.

The limit is a memory control group, version 1 or 2, made for the check. Where none can be made it is memory.limit, against which the check
measures the resident memory, and instead of the kernel's kill every allocation fails from a moment on (inject.c), at which the process ends
by its declared panic. The check says which way it ran."""
import asyncio, errno, os, random, re, select, signal, statistics, subprocess, sys, time

import common
from common import LIMIT, Inject, Node, Recipient, Sender, World, chat, judge, patience, rig, soak, until

MIB = 1 << 20
BUDGET = 256 * MIB
SLOW, UNFINISHED, STRANGERS = 3, 4, 300  # accounts of ten who do not read; of ten who do not finish; connections
BIG = 200_000  # bytes of a message


class Group:
    """A memory control group, or None of make()."""

    def __init__(self, path, version):
        self.path, self.v2 = path, version == 2

    @classmethod
    def make(cls):
        own = dict()
        for line in open("/proc/self/cgroup"):
            _, names, path = line.strip().split(":", 2)
            own[names] = path if path != "/" else ""
        for mount, path, version in (("/sys/fs/cgroup/memory", own.get("memory", ""), 1), ("/sys/fs/cgroup", own.get("", ""), 2), ("/sys/fs/cgroup/unified", own.get("", ""), 2)):
            for root in (mount + path, mount):
                at = f"{root}/murre-check-{os.getpid()}"
                g = cls(at, version)
                try:
                    os.mkdir(at)
                    g.limit(BUDGET)
                    return g
                except OSError:  # no right to, no such controller, read-only
                    g.remove()
        return None

    def file(self, v1, v2):
        return os.path.join(self.path, v2 if self.v2 else v1)

    def limit(self, n):
        with open(self.file("memory.limit_in_bytes", "memory.max"), "w") as f:
            f.write(str(n))

    def kills(self):
        try:
            text = open(self.file("memory.oom_control", "memory.events")).read()
        except OSError:
            return 0
        return int((re.findall(r"^oom_kill (\d+)", text, re.M) or [0])[0])

    def peak(self):
        try:
            return int(open(self.file("memory.max_usage_in_bytes", "memory.peak")).read())
        except OSError:
            return 0

    def prefix(self):
        return ["sh", "-c", f'echo $$ > {self.path}/cgroup.procs && exec "$@"', "sh"]

    def remove(self):
        end = time.monotonic() + LIMIT
        while os.path.isdir(self.path):
            try:
                os.rmdir(self.path)
            except OSError:  # its last process is still going
                if time.monotonic() > end:
                    return
                select.select([], [], [], 0.01)


class Budget:
    """How 256 MiB are enforced here."""

    def __init__(self):
        self.group = Group.make()
        self.how = f"control group v{2 if self.group.v2 else 1}" if self.group else "memory.limit, no control group can be made here"
        self.prefix = self.group.prefix() if self.group else []
        self.settings = {} if self.group else {"memory.limit": str(BUDGET)}

    def close(self):
        if self.group:
            self.group.remove()


def logins(s, user, n):
    out = []
    for i in range(n):
        c = rig.Raw(s.port)
        c.open()
        out.append(c.login(user, resource=f"r{i}"))
    return out


class Attack:
    """What strangers and users hold at once."""

    def __init__(self, s):
        self.s, self.socks, self.strangers = s, [], []
        for i in range(SLOW):
            for c in logins(s, f"slow{i}", 10):
                c.send("<presence/>")
                self.socks.append(c)
        self.half = [c for i in range(UNFINISHED) for c in logins(s, f"half{i}", 10)]
        self.flooder = logins(s, "mallory", 1)[0]
        for c in self.half + [self.flooder]:
            c.sock.setblocking(False)
        for _ in range(STRANGERS):
            try:
                c = rig.Raw(s.port)
                c.send("<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0' to='" + "x" * 9000)
                self.strangers.append(c)
            except OSError:
                break

    def push(self, c, data):
        """As much as it takes now; False: it is closed."""
        try:
            c.sock.send(data)
        except BlockingIOError:
            pass
        except OSError:
            return False
        return True

    def go(self, enough):
        """Until enough() or everybody is shut out. Returns the bytes that were sent."""
        unfinished = b"<message type='chat' to='x@localhost'><body>" + b"u" * 60000
        half, sent, piece, todo = list(self.half), 0, 0, b""
        end = time.monotonic() + LIMIT
        while not enough():
            assert time.monotonic() < end, "the attack does not fill the memory"
            half = [c for c in half if self.push(c, unfinished if piece < len(self.half) else b"u" * 60000)]
            for _ in range(4):
                if not todo:
                    piece += 1
                    todo = f"<message type='headline' to='slow{piece % SLOW}@localhost'><body>{'h' * BIG}</body></message>".encode()
                try:
                    n = self.flooder.sock.send(todo)
                    todo, sent = todo[n:], sent + n
                except BlockingIOError:
                    select.select([], [self.flooder.sock], [], 0.01)
                except OSError:
                    return sent
        return sent

    def close(self):
        for c in self.socks + self.half + self.strangers + [self.flooder]:
            c.close()


def memory(s):
    return s.ctl("status")["memory"]


def happened(s, event):
    return next(e["count"] for e in s.ctl("events", "all") if e["event"] == event)


def ask(c, n):
    """alice to herself: "acked", or the condition with which it is refused."""
    c.send(f"<message to='{c.jid}' type='chat' id='a{n}'><body>a{n}.</body></message><r xmlns='urn:xmpp:sm:3'/>")
    m = c.expect(rf"<message[^>]*type='error'[^>]*id='a{n}'.*?</message>|<message[^>]*id='a{n}'[^>]*type='error'.*?</message>|<body>a{n}\.</body>")
    return "resource-constraint" if b"resource-constraint" in m[0] else "acked" if b"<body>" in m[0] and b"error" not in m[0] else m[0].decode()


def one_shedding(budget, n):
    s = Node({"xmpp.stanza_max": "1M", "xmpp.out_max": "16M", "log.segment_bytes": "1M", "recorder.bytes": "64k", **budget.settings},
             prefix=budget.prefix)
    try:
        s.start()
        s.users(["alice", "mallory"] + [f"slow{i}" for i in range(SLOW)] + [f"half{i}" for i in range(UNFINISHED)])
        alice = rig.Raw(s.port)
        alice.open()
        alice.login("alice", resource="r", sm=True)
        alice.send("<presence/>")
        assert ask(alice, 0) == "acked"
        a, shed = Attack(s), []
        looks = 0

        def enough():
            """It has been tight, and alice, who is in, was answered several times meanwhile."""
            nonlocal looks
            looks += 1
            if looks % 8 or s.proc.poll() is not None:
                return s.proc.poll() is not None
            assert budget.group or s.rss() < BUDGET, "past the limit"
            if memory(s)["tight"] and len(shed) < 4:
                shed.append(ask(alice, len(shed) + 1))
            return len(shed) == 4 or happened(s, "memory_tight") >= 4
        sent = a.go(enough)
        alive, peak = s.proc.poll() is None, memory(s)["used_bytes"] if s.proc.poll() is None else 0
        if not alive:
            a.close()
            return False, sent, shed, "ended: " + s.stderr()[-300:]
        assert happened(s, "memory_tight") >= 1, "it was never tight"
        assert happened(s, "memory_shed") + happened(s, "slow_client") + happened(s, "msg_refused") >= 1, "nothing was shed"
        assert set(shed) <= {"acked", "resource-constraint"}, shed
        a.close()
        until("there is memory again", lambda: not memory(s)["tight"])
        until("who comes is served", lambda: enters(s))
        assert ask(alice, 1000) == "acked"
        return True, sent, shed, f"tight {happened(s, 'memory_tight')} times, shed {happened(s, 'memory_shed')} connections, alice {shed}; used {peak // MIB} MiB, group's peak {budget.group.peak() // MIB if budget.group else '-'} MiB"
    finally:
        s.__exit__()


def enters(s):
    try:
        logins(s, "mallory", 1)[0].close()
        return True
    except (AssertionError, OSError):
        return False


def check_shedding():
    "Before the limit: no new connections, no long stanzas, no messages to keep (the sender is told to wait); who is in is served; then all again."
    budget = Budget()
    good, runs, notes = 0, soak(3, 60), []
    try:
        for n in range(runs):
            ok, sent, shed, note = one_shedding(budget, n)
            good += ok
            notes.append(f"{sent // MIB} MiB sent, {note}")
        kills = budget.group.kills() if budget.group else 0
        print(f"      {budget.how}: {good} of {runs} shed and lived, {kills} killed; {notes[-1]}")
        assert good >= 0.95 * runs, notes
    finally:
        budget.close()


HOG = """
import os, sys, time
open('/proc/self/oom_score_adj', 'w').write('-1000')
sys.stdin.readline()
held = []
while True: held.append(bytearray(b'x') * (1 << 20))
"""


async def check_oom_kill():
    "The kernel's OOM killer in mid-chat (or, without a control group, an allocation that fails): nothing acked is lost, restart within 2 s."
    budget, rng, took, ways = Budget(), random.Random(common.SEED), [], []
    s = Node({"log.segment_bytes": "1M", "recorder.bytes": "64k"}, prefix=budget.prefix + (["choom", "-n", "1000", "--"] if budget.group else []))
    inject = None if budget.group else Inject(s.dir + "/data")
    s.env = inject and inject.env()
    try:
        s.start()
        w = World(s, common.SEED)
        recipients = [Recipient(w, f"r{i}", ["s0", "s1"], flap=0.01) for i in range(2)]
        senders = [Sender(w, f"s{i}", [r.account for r in recipients], 10**9) for i in range(2)]
        s.users([x.user for x in senders + recipients])
        loop = asyncio.get_running_loop()

        async def disturb():
            for _ in range(soak(2, 60)):
                good = w.good + rng.randint(20, 120)
                await w.until(lambda: w.good >= good)
                status = await loop.run_in_executor(None, lambda: out_of_memory(s, budget, inject))
                ways.append(status)
                await w.down(lambda: took.append(start_again(s)))
            for x in senders:
                x.count = x.n
        await chat(w, senders, recipients, disturb, limit=patience(120, 3600))
        found, stat = judge(w.lines)
        print(f"      {budget.how}: {', '.join(ways)}; restart median {statistics.median(took):.2f} s; {stat}")
        assert not found, found[:20]
        assert stat["acked"] > 0 and statistics.median(took) <= 2.0, took
    finally:
        s.__exit__()
        if inject:
            inject.close()
        budget.close()


def out_of_memory(s, budget, inject):
    """Ends the server by lack of memory; returns how it ended."""
    if not budget.group:
        inject.arm(["any_alloc"], 1, errno.ENOMEM, sticky=True)
        status = s.proc.wait(LIMIT)
        assert status == -signal.SIGABRT and "panic: " in s.stderr(), (status, s.stderr()[-500:])
        inject.disarm()
        return "panic"
    hog = subprocess.Popen(budget.group.prefix() + [sys.executable, "-c", HOG], stdin=subprocess.PIPE)
    try:
        hog.stdin.write(b"\n")
        hog.stdin.flush()
        status = s.proc.wait(LIMIT)
    finally:
        hog.kill()
        hog.wait()
        hog.stdin.close()
    assert status == -signal.SIGKILL, (status, s.stderr()[-500:])
    return "killed"


def start_again(s):
    s.proc.stdout.close()
    began = time.monotonic()
    s.start()
    return time.monotonic() - began


if __name__ == "__main__":
    common.main(sys.modules["__main__"])
