#!/usr/bin/python3
"""The bpftrace scripts of tools/bpf: each sees what it is for, when a server is made to do it. They need root, bpftrace and a kernel with BPF."""
import importlib.util, os, re, select, signal, subprocess, sys, tempfile, time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
from gdb_rig import LIMIT, ROOT, Gdb, Node, held, lock_held
import rig
from rig import until

TRACE = ROOT + "/tools/bpf/trace"
COMMITTED = 50  # messages
HOGS = 2  # processes that burn one CPU
HOLD = 0.05  # seconds, at least, for which something is held, so that others wait
HOLD_USEC = HOLD * 1e6 * 0.9  # what a script shows of that: clocks differ a little
ATTACHED = "__BPFTRACE_NOTIFY_PROBES_ATTACHED"  # bpftrace prints it when all probes are, if it is in the environment


class Trace:
    """A script on a server: its lines as they come; stop() ends it and returns all that it printed."""

    def __init__(self, name, pid):
        assert os.geteuid() == 0, "BPF wants root, so that the scripts cannot be tested here"
        env = dict(os.environ, **{ATTACHED: "1"})
        self.proc = subprocess.Popen([TRACE, name, str(pid)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, env=env)
        self.text, self.name = "", name
        if not self.read(lambda: "Ctrl-C ends" in self.text and ATTACHED in self.text, LIMIT):
            if self.proc.poll() is None:
                self.end()
            refused = re.search(r"not permitted|ermission denied|lockdown|annot change root|mount: ", self.text)
            why = "this machine does not permit BPF (CAP_SYS_ADMIN or CAP_BPF and CAP_PERFMON, tracefs, a mount namespace; no kernel lockdown), so that it cannot be tested here"
            raise AssertionError(f"{why}: {self.text}" if refused else f"{name} does not start: {self.text}")

    def read(self, enough, limit):
        end = time.monotonic() + limit
        while not enough():
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.proc.stdout], [], [], left)[0]:
                return False
            piece = os.read(self.proc.stdout.fileno(), 65536)
            if not piece:
                return enough()
            self.text += piece.decode(errors="replace")
        return True

    def sees(self, cause, pattern, least=0):
        """Causes it until a line shows it whose group `usec`, if it has one, is least or more: a busy machine shows small ones of its own."""
        def shown():
            return next((m for m in re.finditer(pattern, self.text, re.M) if not least or int(m["usec"]) >= least), None)

        end, n = time.monotonic() + LIMIT, 1
        while True:
            cause(n)
            if self.read(shown, 1):
                return shown()
            assert time.monotonic() < end and self.proc.poll() is None, f"{self.name} does not show {pattern}: {self.text}"
            n += 1

    def end(self):
        """SIGINT, and another one if nothing comes of it: bpftrace 0.17 loses one that comes while it reads an event, not while it waits."""
        end = time.monotonic() + LIMIT
        while True:
            os.killpg(self.proc.pid, signal.SIGINT)
            try:
                self.text += self.proc.communicate(timeout=10)[0].decode(errors="replace")
                return
            except subprocess.TimeoutExpired:
                if time.monotonic() > end:
                    os.killpg(self.proc.pid, signal.SIGKILL)
                    raise

    def stop(self):
        self.end()
        assert self.proc.returncode == 0, self.text
        return self.text

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.proc.poll() is None:
            self.end()


def hist(text, name):
    """The counts of a histogram: how many in all."""
    m = re.search(rf"^@{re.escape(name)}: *\n((?:[\[(].*\n?)+)", text, re.M)
    assert m, f"no @{name} in:\n{text}"
    return sum(int(x) for x in re.findall(r"^[\[(].*?\s(\d+) \|", m[1], re.M))


def hold(g):
    """gdb looks around, while what it has stopped stands still, until that has lasted HOLD."""
    end = time.monotonic() + HOLD
    while time.monotonic() < end:
        g("info threads")


def hold_handler(n, first):
    """The partition stands in its handler for HOLD, with messages behind that one."""
    with Gdb("-p", n.proc.pid, commands=None) as g:
        held(n, g, first, 10)
        hold(g)
    n.b.expect(f"<body>hello {first + 9}</body>")


def test_large_reads():
    """A client that sends 200 kB at once shows as reads of more than 20000 bytes by a shard's thread; small stanzas do not."""
    with Node() as n, Trace("large-reads", n.login().proc.pid) as t:
        n.chat(1)

        def cause(i):
            n.message(i, body="x" * 200_000)
            n.b.expect(rf"<body>x+ {i}</body>")

        t.sees(cause, r"^\d\d:\d\d:\d\d shard[01] +\d+ +[2-9]\d{4}  recvfrom$")
        text = t.stop()
        assert all(int(b) > 20000 for b in re.findall(r"^\d\d:\d\d:\d\d \S+ +\d+ +(\d+)  ", text, re.M)), text
        assert re.search(r"^@bytes\[shard[01], recvfrom\]:", text, re.M) and "@fd" not in text, text


def test_message_latency():
    """Messages that wait behind one that is being handled show with actor, tag and time; all of them are in the histogram."""
    with Node({"shards": "1"}) as n:
        with Gdb("-p", n.login().proc.pid) as g:
            tag = int(g("print/x (int) SVC_STANZA").split()[-1], 16)
        with Trace("message-latency", n.proc.pid) as t:
            m = t.sees(lambda i: hold_handler(n, 100 * i), rf"^\d\d:\d\d:\d\d shard0 +0\.(\d+) +{tag:x} +(?P<usec>\d+) +\d+$", HOLD_USEC)
            handled = lambda: next(e["count"] for e in n.ctl("events", "all") if e["event"] == "handle")
            before = handled()
            for i in range(100):  # alone in their mailboxes
                n.chat(9000 + i)
            after = handled()
            text = t.stop()
            assert hist(text, "waited_us[shard0]") >= after - before >= 100, (before, after, text)
            with Gdb("-p", n.proc.pid) as g:
                assert re.search(rf"^<0\.0\.{m[1]}\.1> part ", g(f"murre actor 0.{m[1]}"), re.M), (m[0], g(f"murre actor 0.{m[1]}"))


def test_run_queue_delay():
    """A server that shares its CPU with processes that burn it: its shard waits after each wake-up, and who ran instead is named; and it waits in
    the midst of its work, when it is preempted."""
    settings = {"shards": "1", "watch.stuck_limit": "0"}
    with Node(settings, prefix=["taskset", "-c", "0", "nice", "-n", "19"]) as n:
        n.login()
        hogs = [subprocess.Popen(["taskset", "-c", "0", "setpriv", "--pdeathsig", "KILL", "sh", "-c", "while :; do :; done"]) for _ in range(HOGS)]
        try:
            with Trace("run-queue-delay", n.proc.pid) as t:
                t.sees(n.chat, r"^\d\d:\d\d:\d\d shard0 +\d+ +\d{5,}  sh$")
                with Gdb("-p", n.proc.pid, commands=None) as g:
                    held(n, g, 9000, 1)
                    g("set {unsigned short}$pc = 0xfeeb")  # jmp to itself: it never sleeps again
                t.text = ""
                t.sees(lambda i: None, r"(^\d\d:\d\d:\d\d shard0 +\d+ +\d{5,}  \S+\n[^$]*){5}")
                text = t.stop()
                assert hist(text, "delay_us[shard0]") > 0 and "@mine" not in text, text
        finally:
            for h in hogs:
                h.kill()
                h.wait()


def test_lock_wait():
    """A thread that waits for a lock shows with the lock's name and the time."""
    with Node() as n, Trace("lock-wait", n.login().proc.pid) as t:
        def cause(i):
            with Gdb("-p", n.proc.pid, before=["non-stop on"], commands=None) as g:
                until("all threads stopped", lambda: "(running)" not in g("info threads"))
                waits = lock_held(n, g)
                hold(g)
                g("delete")
                g("continue -a &")
                waits.wait(LIMIT)
                g("interrupt -a")
                until("all threads stopped", lambda: "(running)" not in g("info threads"))

        t.sees(cause, r"^\d\d:\d\d:\d\d ctl +pool +0 +(?P<usec>\d+)  src/rt/pool\.c:\d+$", HOLD_USEC)
        assert hist(t.stop(), "take_us[pool, ctl]") >= 1


def test_slow_handlers():
    """A handler that takes longer than its budget shows with actor, class and time; a stuck shard with what it is at."""
    with Node({"watch.stuck_report": "200ms", "watch.stuck_limit": "0"}) as n, Trace("slow-handlers", n.login().proc.pid) as t:
        t.sees(lambda i: hold_handler(n, 100 * i), r"^\d\d:\d\d:\d\d shard[01] +[01]\.\d+ +(?P<usec>\d+)  part$", HOLD_USEC)
        with Gdb("-p", n.proc.pid, commands=None) as g:
            held(n, g, 9000, 1)
            g("set {unsigned short}$pc = 0xfeeb")  # jmp to itself
        t.sees(lambda i: None, r"^\d\d:\d\d:\d\d shard[01] +\d+  STUCK: part <0\.[01]\.\d+\.1> in svc_stanza: svc_route_on_stanza\+")
        assert hist(t.stop(), "took_us[part]") >= 1


def test_fsync_latency():
    """What the message log brings to stable storage shows by thread and call, and as commits."""
    with Node() as n, Trace("fsync-latency", n.login().proc.pid) as t:
        for i in range(COMMITTED):
            n.chat(i)
        text = t.stop()
        calls, commits = hist(text, "took_us[disk, fdatasync]"), hist(text, "commit_us")
        assert 0 < commits <= calls <= 2 * COMMITTED and hist(text, "commit_records") == commits, text


def test_busy_nodes():
    """A node for which too much waits shows with its name, and for how long it did."""
    spec = importlib.util.spec_from_file_location("test_long", os.path.join(ROOT, "test/interop/otp/test_long.py"))
    otp = importlib.util.module_from_spec(spec)
    del sys.modules["rig"]  # theirs is another one
    try:
        spec.loader.exec_module(otp)
    finally:
        sys.modules["rig"] = rig
    with otp.Epmd() as epmd, otp.Murre(epmd, node__link_bytes="64k") as n, Trace("busy-nodes", n.proc.pid) as t:
        t.sees(lambda i: otp.said(epmd, otp.ECHO), r"^\d\d:\d\d:\d\d shard[01] +busy +\d{5,} +a@127\.0\.0\.1$")
        t.sees(lambda i: None, r"^\d\d:\d\d:\d\d shard[01] +free +\d+ +[1-9]\d*  a@127\.0\.0\.1$")
        assert hist(t.stop(), "busy_us[a@127.0.0.1]") >= 1


def test_names():
    """Threads are named by role: what scripts print as comm."""
    with Node() as n:
        names = sorted(open(f"/proc/{n.proc.pid}/task/{t}/comm").read().strip() for t in os.listdir(f"/proc/{n.proc.pid}/task"))
        for name in ("crypto", "ctl", "disk", "log", "murre", "shard0", "shard1", "sql", "watchdog"):
            assert name in names, (name, names)


def test_wrong_arguments():
    """What an operator mistypes gets one line, and no script is left running."""
    def says(text, *args, env=None):
        r = subprocess.run([TRACE, *map(str, args)], capture_output=True, text=True, timeout=LIMIT, env=env)
        assert r.returncode == 1 and r.stdout == "" and re.fullmatch(rf"trace: {text}.*\n", r.stderr), (args, r)

    says("usage: trace NAME .*: busy-nodes fsync-latency large-reads lock-wait message-latency run-queue-delay slow-handlers ")
    says("there is no script puffin, but these: busy-nodes fsync-latency ", "puffin", 1)
    says("PID: x1 is not a number", "large-reads", "x1")
    says("PID: 1 2 is not a number", "large-reads", "1 2")
    ended = subprocess.Popen(["true"])
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)  # a process that has a number still, and no program
    says(f"process {ended.pid} is no murre, or has ended: its program cannot be read", "large-reads", ended.pid)
    ended.wait()
    with tempfile.TemporaryDirectory() as d:
        open(d + "/pgrep", "w").write("#!/bin/sh\necho 11; echo 12\n")
        os.chmod(d + "/pgrep", 0o755)
        says("more than one murre runs here; say which: 11 12", "large-reads", env={"PATH": d + ":" + os.environ["PATH"]})
    says("there is no process 4194304", "large-reads", 4194304)
    says("SECONDS: 0 is not a number from 1", "large-reads", os.getpid(), 0)
    says(f"process {os.getpid()} is no murre", "large-reads", os.getpid())
    with tempfile.TemporaryDirectory() as d:
        for tool in ("dirname", "ls", "sed", "tr"):
            os.symlink(f"/usr/bin/{tool}" if os.path.exists(f"/usr/bin/{tool}") else f"/bin/{tool}", f"{d}/{tool}")
        says("bpftrace is not installed", "large-reads", os.getpid(), env={"PATH": d})


def test_seconds():
    """A run of so many seconds ends by itself and prints what it has."""
    with Node() as n:
        r = subprocess.run([TRACE, "run-queue-delay.bt", str(n.proc.pid), "1"], capture_output=True, text=True, timeout=LIMIT)
        assert r.returncode == 0 and "threads of murre that wait" in r.stdout, r


if __name__ == "__main__":
    rig.main(sys.modules[__name__])
