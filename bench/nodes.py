"""nodes: Erlang's distribution, OTP and ours in the same run: what a message, an answer and a call of another node cost, and how long a node
takes to be connected. Both ends are real processes that talk over loopback TCP; ours is a program of libmurre (dist/node.c), Erlang's is
dist/dist_node.erl, which does the same. mesh.py has many nodes.

A figure is printed only if it was earned: receivers check the number and the size of every message, an end of a process or of a connection
and anything that a node complains of make the run fail. Erlang's port mapper, nodes and files are the bench's own and end with it."""
import os, select, shutil, socket, statistics, subprocess, sys, tempfile, time

from servers import BUILD, LIMIT, ROOT, free_port

COOKIE = "QZLTVIWNEHJSKFDWRPMA"  # of nodes that live for a minute, on loopback
LEAST = 0.7  # seconds that a measured run takes at least: it is repeated with more messages until it does
IN_FLIGHT = 16 << 20  # bytes under way, and at most 20,000 messages: both kinds of sender wait for their receivers


class Invalid(Exception):
    """No figure: why."""


def cpu_nsec(pid):
    """Processor time that a process has used, all its threads (clock_getcpuclockid(3))."""
    return time.clock_gettime_ns(~pid << 3 | 2)


class Lines:
    """A process of which lines are read, and which is told lines."""

    def __init__(self, name, args, env=None):
        self.name, self.rest, self.begun = name, b"", time.monotonic()
        self.errors = tempfile.TemporaryFile()
        self.proc = subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, env=dict(os.environ, **(env or {})))

    def complaint(self):
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace").strip()[-300:]

    def line(self, limit=LIMIT):
        end = time.monotonic() + limit
        while b"\n" not in self.rest:
            if not select.select([self.proc.stdout], [], [], max(0, end - time.monotonic()))[0]:
                raise Invalid(f"{self.name} says nothing for {limit} s")
            piece = os.read(self.proc.stdout.fileno(), 65536)
            if not piece:
                raise Invalid(f"{self.name} has ended: {self.complaint()}")
            self.rest += piece
        one, self.rest = self.rest.split(b"\n", 1)
        return one.decode(errors="replace").strip()

    def until(self, begin, limit=LIMIT):
        """The words behind the first line that begins so. A lost node or a complaint is the end of the run."""
        while True:
            one = self.line(limit)
            if one.startswith(begin):
                return one[len(begin):].split()
            if one.startswith(("failed", "down ")):
                raise Invalid(f"{self.name}: {one}")

    def tell(self, line):
        self.proc.stdin.write(line.encode() + b"\n")
        self.proc.stdin.flush()

    def ask(self, line, answer):
        self.tell(line)
        return [int(w) for w in self.until(answer)]

    def end(self):
        if self.proc.poll() is None:
            self.proc.kill()
        self.proc.wait()
        for f in (self.proc.stdin, self.proc.stdout, self.errors):
            f.close()


class Site:
    """A directory with a cookie, and a port mapper of its own. `with`: both end."""

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix="murre-bench-")
        self.cookie, self.port = self.dir + "/cookie", free_port()
        with open(os.open(self.cookie, os.O_CREAT | os.O_WRONLY, 0o600), "w") as f:
            f.write(COOKIE + "\n")
        subprocess.run(["erlc", "-o", self.dir, ROOT + "/bench/dist/dist_node.erl"], check=True)
        self.epmd = subprocess.Popen(["epmd", "-port", str(self.port), "-address", "127.0.0.1"], stderr=subprocess.DEVNULL)
        end = time.monotonic() + LIMIT
        while True:
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            if self.epmd.poll() is not None or time.monotonic() > end:
                raise Invalid("the port mapper does not start")
            time.sleep(0.01)

    def __exit__(self, *_):
        self.epmd.kill()
        self.epmd.wait()
        shutil.rmtree(self.dir)

    def erl(self, name, code, flags=()):
        return Lines(name, ["erl", "-noshell", *flags, "-start_epmd", "false", "-name", name, "-setcookie", COOKIE, "-pa", self.dir,
                            "-kernel", "inet_dist_use_interface", "{127,0,0,1}", "-eval", code],
                     {"ERL_EPMD_PORT": str(self.port), "ERL_CRASH_DUMP": "/dev/null"})


class Otp:
    kind = "OTP"

    def __init__(self, site, alive, flags=()):
        self.site, self.name = site, f"{alive}@127.0.0.1"
        self.lines = site.erl(self.name, "dist_node:start().", flags)
        self.lines.until("ready")

    def connect(self, other):
        self.lines.tell(f"connect {other.name}")


class Ours:
    kind = "murre"

    def __init__(self, site, alive, spin=0):
        self.site, self.name, self.socket = site, f"{alive}@127.0.0.1", f"{site.dir}/{alive}.sock"
        self.lines = Lines(self.name, [BUILD + "/dist-node", self.name, site.cookie, str(site.port), self.socket, str(spin)])
        self.lines.until("ready")

    def connect(self, other):
        r = subprocess.run([BUILD + "/murrectl", "--socket", self.socket, "nodes", "connect", other.name], capture_output=True, text=True, timeout=LIMIT)
        if r.returncode:
            raise Invalid(f"{self.name}: {r.stderr.strip()}")


class Pair:
    """Two nodes that are connected: `a` sends. `with`: they end. A killed one has not failed."""

    def __init__(self, site, first, second, *settings):
        self.both, self.what = [], (site, first, second, settings)

    def __enter__(self):
        site, first, second, settings = self.what
        try:
            for cls, alive in ((first, "zed"), (second, "abe")):  # the greater name dials
                self.both.append(cls(site, alive, *settings))
            a, b = self.both
            a.connect(b)
            a.lines.until("up " + b.name)
            b.lines.until("up " + a.name)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for n in self.both:
            n.lines.end()

    def cpu(self):
        for n in self.both:
            if n.lines.proc.poll() is not None:
                raise Invalid(f"{n.name} has ended: {n.lines.complaint()}")
        return [cpu_nsec(n.lines.proc.pid) for n in self.both]

    def timed(self, command, answer):
        """What the sender answers, and the processor time of each in nanoseconds."""
        before = self.cpu()
        got = self.both[0].lines.ask(command, answer)
        return got, [b - a for a, b in zip(before, self.cpu())]

    def flood(self, size, senders, count):
        """{rate, cpu, cpu_send, cpu_receive}: messages a second, microseconds for a message."""
        window = max(64, min(20000, IN_FLIGHT // (size + 64) // senders))
        while True:
            got, cpu = self.timed(f"flood {self.both[1].name} {senders} {count} {size} {window}", "flooded")
            took, all_ = got[0] / 1e9, senders * count
            if took >= LEAST:
                break
            count = int(count * min(8, 1.3 * LEAST / took))
        each = [c / all_ / 1e3 for c in cpu]
        return {"rate": all_ / took, "cpu": sum(each), "cpu_send": each[0], "cpu_receive": each[1]}


# --- tables ------------------------------------------------------------------------------------------------------------------------------
def short(v):
    return f"{v:,.3g}" if v < 1e3 else f"{v:,.0f}"


def spread(rows, key):
    """Of several rounds: the median, and least and greatest where there are any."""
    v = [r[key] for r in rows]
    mid = statistics.median(v)
    return mid, short(mid) + (f" ({short(min(v))} to {short(max(v))})" if len(v) > 1 else "")


def rounds(n, cases, measure):
    """measure(case) n times for each case, in turn: {case: [dictionary]}; a case that failed is {case: Invalid}."""
    results = {c: [] for c in cases}
    for _ in range(n):
        for c in cases:
            if isinstance(results[c], Invalid):
                continue
            try:
                results[c].append(measure(c))
            except Invalid as e:
                results[c] = e
    return results


def table(title, head, results, columns, base=None):
    """columns: (key, name, how to have the ratio to case base: 1 more is better, -1 less is, 0 none). False: a case has no figures."""
    print(f"\n### {title}\n\n| {head} | " + " | ".join(name for _, name, _ in columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    good = True
    for case, rows in results.items():
        if isinstance(rows, Invalid):
            print(f"| {case} | **no figure: {rows}** |" + " |" * (len(columns) - 1))
            good = False
            continue
        cells, of = [], results.get(base(case)) if base else None
        for key, _, better in columns:
            if key not in rows[0]:
                cells.append("-")
                continue
            mid, text = spread(rows, key)
            if better and of and not isinstance(of, Invalid) and of is not rows and key in of[0] and mid:
                there = statistics.median(r[key] for r in of)
                text += f"; {mid / there if better > 0 else there / mid:.2g}x"
            cells.append(text)
        print(f"| {case} | " + " | ".join(cells) + " |")
    return good


# --- the benches -------------------------------------------------------------------------------------------------------------------------
KINDS = {"OTP to OTP": (Otp, Otp), "murre to murre": (Ours, Ours), "murre to OTP": (Ours, Otp), "OTP to murre": (Otp, Ours)}
FLOODS = [(100, 1), (100, 8), (1024, 1), (1024, 8), (65536, 1), (65536, 8)]  # bytes, senders


def flood(n):
    """One-way messages, of 1 and 8 senders, each to a receiver of its own."""
    cases = {f"{size:,} B, {s} sender{'s' * (s > 1)}": (size, s) for size, s in FLOODS}
    results = {c: {k: [] for k in KINDS} for c in cases}
    with Site() as site:
        for _ in range(n):
            for k, (a, b) in KINDS.items():
                try:
                    with Pair(site, a, b) as p:
                        for c, (size, s) in cases.items():
                            if not isinstance(results[c][k], Invalid):
                                results[c][k].append(p.flood(size, s, (50000 if size <= 1024 else 2000) // s))
                except Invalid as e:
                    for c in cases:
                        results[c][k] = e
    good = True
    for c, r in results.items():
        good = table(f"one-way, {c}; times: to OTP to OTP", "", r,
                     [("rate", "messages/s", 1), ("cpu", "us of CPU a message, both ends", -1), ("cpu_send", "sender", -1), ("cpu_receive", "receiver", -1)],
                     lambda _: "OTP to OTP") and good
    return good


BUSY = ["very_long"] * 3
SPINS = {"OTP to OTP": (Otp, Otp, []), "OTP to OTP, +sbwt none": (Otp, Otp, ["none"] * 3), "OTP to OTP, +sbwt very_long": (Otp, Otp, BUSY),
         "murre to murre": (Ours, Ours, 0), "murre to murre, spin 50": (Ours, Ours, 50), "murre to OTP": (Ours, Otp, None), "OTP to murre": (Otp, Ours, None)}


def waits(how):
    return [w for flag, v in zip(("+sbwt", "+sbwtdcpu", "+sbwtdio"), how) for w in (flag, v)]


def ping(n):
    """A message there and one back, 5,000 times, one after the other."""
    def measure(case):
        a, b, how = SPINS[case]
        settings = () if how is None else (waits(how),) if isinstance(how, list) else (how,)
        with Pair(site, a, b, *settings) as p:
            p.timed(f"ping {p.both[1].name} 1000", "pinged")
            got, cpu = p.timed(f"ping {p.both[1].name} 5000", "pinged")
            return {"p50": got[0] / 1e3, "p99": got[1] / 1e3, "max": got[2] / 1e3, "cpu": sum(cpu) / 5e6}
    with Site() as site:
        return table("round trip; times: to OTP with its default", "", rounds(n, SPINS, measure),
                     [("p50", "p50, us", -1), ("p99", "p99, us", -1), ("max", "slowest, us", 0), ("cpu", "us of CPU, both ends", -1)], lambda _: "OTP to OTP")


def calls(n):
    """gen_server:call, rpc:call and erpc:call of erlang:node/0, from Erlang."""
    cases = {f"{how}, {c} caller{'s' * (c > 1)}, OTP to {k.kind}": (how, c, k) for how in ("rpc", "erpc") for c in (1, 8) for k in (Otp, Ours)}
    cases.update({f"gen_server:call, OTP to {k.kind}": ("call", 1, k) for k in (Otp, Ours)})

    def measure(case):
        how, callers, k = cases[case]
        with Pair(site, Otp, k) as p:
            to = p.both[1].name
            if how == "call":
                p.timed(f"call {to} 1000", "called")
                begun = time.monotonic()
                got, cpu = p.timed(f"call {to} 5000", "called")
                got = [(time.monotonic() - begun) * 1e9, *got]
            else:
                p.timed(f"{how} {to} {callers} 500", f"{how}ed")
                got, cpu = p.timed(f"{how} {to} {callers} {5000 // callers}", f"{how}ed")
            return {"rate": 5e12 / got[0], "p50": got[1] / 1e3, "p99": got[2] / 1e3, "cpu": sum(cpu) / 5e6}
    with Site() as site:
        return table("calls from Erlang; times: to OTP to OTP", "", rounds(n, cases, measure),
                     [("rate", "calls/s", 1), ("p50", "p50, us", -1), ("p99", "p99, us", -1), ("cpu", "us of CPU, both ends", -1)],
                     lambda c: c.replace("OTP to murre", "OTP to OTP"))


def start(n):
    """From exec of a node until a node that runs already says that it is connected."""
    def begin(kind, to):
        if kind == "OTP":
            return site.erl("zed@127.0.0.1", f"true = net_kernel:connect_node('{to.name}'), receive nothing -> ok end.")
        settings = {"roles": "", "shards": 1, "data": site.dir + "/data", "ctl.socket": site.dir + "/start.sock", "node.name": "zed@127.0.0.1",
                    "node.cookie_file": site.cookie, "node.epmd_port": site.port, "node.seeds": to.name}
        return Lines("zed", [BUILD + "/murre", "run", *(w for k, v in settings.items() for w in ("--set", f"{k}={v}"))])

    def measure(case):
        kind, to = case.split(" to ")
        there, z = (Otp if to == "OTP" else Ours)(site, "abe"), None
        try:
            t = time.monotonic()
            z = begin(kind, there)
            there.lines.until("up zed@127.0.0.1")
            took = time.monotonic() - t
            cpu = cpu_nsec(z.proc.pid)
        finally:
            for l in (there.lines, *([z] if z else [])):
                l.end()
        return {"ms": took * 1e3, "cpu": cpu / 1e6}
    with Site() as site:
        return table("exec to connected; times: to OTP to OTP", "", rounds(3 * n, KINDS, measure),
                     [("ms", "ms", -1), ("cpu", "ms of CPU of the node that starts", -1)], lambda _: "OTP to OTP")
