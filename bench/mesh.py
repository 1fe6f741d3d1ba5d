"""mesh: N nodes on this machine, each connected to each: how long from the first exec until all are, what they cost then, and what the
switches of node.* change. Ours are `murre run` with one shard and no role; OTP's are plain Erlang nodes of which each connects to all that
have a lesser number, as ours do by themselves.

A figure is printed only if every node says in the end that it is connected to all others, none has ended, and no connection was lost.
The kernel's count of connections says when to begin asking our nodes, so that the question does not slow them down."""
import json, os, random, resource, socket, struct, subprocess, time

from nodes import COOKIE, Invalid, Lines, Site, cpu_nsec, rounds, table
from servers import BUILD

IDLE = 10  # seconds in which an idle mesh is looked at
LONG = 500  # seconds that a mesh may take
ASK = 32  # so many nodes are asked from the start: the kernel's count is also that of others, who may end meanwhile


def free_ports(n):
    """The first of n ports in a row that nobody listens on, below those that the kernel gives to callers."""
    least = int(open("/proc/sys/net/ipv4/ip_local_port_range").read().split()[0])
    for base in random.sample(range(10000, least - n), 100):  # others may be looking, too
        try:
            for port in range(base, base + n):
                with socket.socket() as s:
                    s.bind(("127.0.0.1", port))
            return base
        except OSError:
            continue
    raise Invalid(f"there are no {n} free ports in a row")


def memory():
    """Of the machine: what is not available to others, in bytes: of processes and of the kernel for them."""
    m = {k: int(v.split()[0]) for k, v in (l.split(":") for l in open("/proc/meminfo"))}
    return (m["MemTotal"] - m["MemAvailable"]) << 10


def connections():
    """Sockets of TCP that are in use, those of others too."""
    return int(open("/proc/net/sockstat").read().split("TCP: inuse ")[1].split()[0])


def private(pid):
    """Bytes of memory that only this process has."""
    m = {l.split(":")[0]: int(l.split()[1]) for l in open(f"/proc/{pid}/smaps_rollup") if l.endswith("kB\n")}
    return (m["Private_Clean"] + m["Private_Dirty"]) << 10


class Mesh:
    def __init__(self, n):
        self.n, self.site, self.procs = n, Site(), []
        self.names = [f"{self.alive}{i + 1:04}@127.0.0.1" for i in range(n)]

    def __enter__(self):
        self.site.__enter__()
        return self

    def __exit__(self, *_):
        for p in self.procs:
            p.kill()
        for p in self.procs:
            p.wait()
        self.site.__exit__()

    def alive_all(self):
        for i, p in enumerate(self.procs):
            if p.poll() is not None:
                raise Invalid(f"{self.names[i]} has ended: {self.last_words(i)}")

    def measure(self):
        before, begun = memory(), time.time()
        self.start()
        up = self.wait() - begun
        time.sleep(1)  # what comes after the last connection: names, groups
        self.alive_all()
        cpu = [cpu_nsec(p.pid) for p in self.procs]
        t = time.monotonic()
        time.sleep(IDLE)
        self.alive_all()
        idle = (sum(cpu_nsec(p.pid) for p in self.procs) - sum(cpu)) / (time.monotonic() - t)
        all_memory, own = memory() - before, sum(private(p.pid) for p in self.procs)
        self.check()
        links = self.n * (self.n - 1)
        return {"up": up, "start_cpu": sum(cpu) / 1e9, "per_link": sum(cpu) / (links / 2) / 1e3, "memory": all_memory / 1e6, "node": own / self.n / 1e6,
                "end": own / links / 1e3, "idle": idle / self.n / 1e6}


class OtpMesh(Mesh):
    alive = "otp"
    CODE = """Others = [list_to_atom(A) || A <- string:lexemes(os:getenv("OTHERS"), ",")], N = list_to_integer(os:getenv("ALL")),
        ok = net_kernel:monitor_nodes(true),
        Dial = fun D([]) -> ok; D(L) -> Rest = [O || O <- L, net_kernel:connect_node(O) =/= true], timer:sleep(20), D(Rest) end,
        Dial(Others),
        Wait = fun W() -> case length(nodes()) of N -> ok; _ -> timer:sleep(5), W() end end, Wait(),
        io:format("up ~b~n", [erlang:system_time(millisecond)]),
        receive {nodedown, D} -> io:format("down ~s~n", [D]) end."""

    def start(self):
        self.lines = []
        for i, name in enumerate(self.names):
            os.environ.update(OTHERS=",".join(self.names[:i]), ALL=str(self.n - 1))
            self.lines.append(self.site.erl(name, self.CODE))
            self.procs.append(self.lines[-1].proc)

    def wait(self):
        return max(int(l.until("up ", LONG)[0]) for l in self.lines) / 1e3

    def last_words(self, i):
        return self.lines[i].complaint()

    def check(self):
        for l in self.lines:
            try:
                l.until("down ", 0)
            except Invalid:
                continue  # it has said nothing
            raise Invalid(f"{l.name} has lost a connection")


class OurMesh(Mesh):
    alive = "murre"

    def __init__(self, n, ports=True, **settings):
        super().__init__(n)
        self.ports, self.settings = ports, settings

    def start(self):
        base, self.before = free_ports(self.n), connections() + self.n  # each listens
        seeds = [f"{name}:{base + i}" if self.ports else name for i, name in enumerate(self.names)]
        common = {"roles": "", "shards": 1, "recorder.bytes": 0, "node.cookie_file": self.site.cookie, "node.epmd": "off" if self.ports else "on",
                  "node.epmd_port": self.site.port, **self.settings}
        for i, name in enumerate(self.names):
            own = {"data": f"{self.site.dir}/{i}", "ctl.socket": f"{self.site.dir}/{i}.sock", "node.name": name,
                   "node.listen": f"127.0.0.1:{base + i}", "node.seeds": ",".join(seeds[:i] + seeds[i + 1:])}
            args = [w for k, v in {**common, **own}.items() for w in ("--set", f"{k}={v}")]
            with open(f"{self.site.dir}/{i}.log", "wb") as log:
                self.procs.append(subprocess.Popen([BUILD + "/murre", "run", *args], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log))

    def last_words(self, i):
        return open(f"{self.site.dir}/{i}.log", errors="replace").read().strip()[-300:]

    def ask(self, i, *words):
        """As murrectl does (src/rt/ctl.h), without a process for each question."""
        body = b"".join(struct.pack("<I", len(w)) + w.encode() for w in (*words, ""))
        try:
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(60)
                s.connect(f"{self.site.dir}/{i}.sock")
                s.sendall(struct.pack("<I", len(body)) + body)
                f = s.makefile("rb")
                return json.loads(f.read(struct.unpack("<I", f.read(4))[0]))["result"]
        except (OSError, struct.error, ValueError):
            return None  # it does not run yet

    def up(self, i):
        return sum(n["state"] == "up" for n in self.ask(i, "nodes", "list") or [])

    def wait(self):
        """When all are connected to all, as time.time(): the kernel has that many connections, or, if some were not through their handshake yet,
        when the last node says so."""
        end = time.monotonic() + LONG
        while self.n > ASK and connections() - self.before < 0.999 * self.n * (self.n - 1):
            self.alive_all()
            if time.monotonic() > end:
                raise Invalid(f"after {LONG} s there are {connections() - self.before} ends of connections, not {self.n * (self.n - 1)}")
            time.sleep(0.02)
        at = time.time()
        for i in range(self.n):
            while self.up(i) != self.n - 1:
                self.alive_all()
                if time.monotonic() > end:
                    raise Invalid(f"after {LONG} s {self.names[i]} has {self.up(i)} of {self.n - 1}: {self.last_words(i)}")
                time.sleep(0.05)
                at = time.time()
        return at

    def check(self):
        for i in range(self.n):
            lost = sum(e["count"] for e in self.ask(i, "events", "counters") or [] if e["event"] == "mesh_down")
            if lost or self.up(i) != self.n - 1:
                raise Invalid(f"{self.names[i]} has lost {lost} connections and has {self.up(i)} of {self.n - 1}")


COLUMNS = [("up", "first exec to full mesh, s", -1), ("start_cpu", "CPU for it, s", -1), ("per_link", "us of CPU a link", -1), ("memory", "machine's memory, MB", -1),
           ("node", "a node's own, MB", -1), ("end", "kB an end of a link", 0), ("idle", "idle: ms of CPU a node a second", -1)]


def measured(cases):
    def measure(case):
        cls, n, settings = cases[case]
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        if n + 200 > files:
            raise Invalid(f"{n} connections need more than {files} open files")
        with cls(n, **settings) as m:
            return m.measure()
    return measure


def mesh(n):
    """OTP and ours from 8 nodes on."""
    cases = {f"{cls.alive}, {size}": (cls, size, {}) for size in (8, 16, 32) for cls in (OtpMesh, OurMesh)}
    cases.update({f"murre, {size}": (OurMesh, size, {}) for size in (100, 300)})
    results = rounds(n, [c for c in cases if cases[c][1] <= 32], measured(cases))
    results.update(rounds(1, [c for c in cases if cases[c][1] > 32], measured(cases)))
    return table("a full mesh on one machine; times: to as many of OTP", "nodes", results, COLUMNS, lambda c: c.replace("murre", "otp"))


def mesh_1000():
    """A thousand: 499,500 connections, both ends here. node.ticktime is 10 minutes: at 60 s ticks alone are 133,000 sends and receipts a second."""
    cases = {"murre, 1,000": (OurMesh, 1000, {"node.ticktime": "10m"})}
    return table("1,000 nodes", "nodes", rounds(1, cases, measured(cases)), COLUMNS)


SWITCHES = {
    "as it is": {},
    "through the port mapper": {"ports": False},
    "dials not paced: node.dial_rate, node.dials_max 10000": {"node.dial_rate": 10000, "node.dials_max": 10000},
    "paced at 20 a second": {"node.dial_rate": 20},
    "hidden, so without global: node.hidden": {"node.hidden": "true"},
    "no process groups: pg.scopes empty": {"pg.scopes": ""},
    "ticks every 250 ms: node.ticktime 1s": {"node.ticktime": "1s"},
    "ticks every 15 min: node.ticktime 1h": {"node.ticktime": "1h"},
    "8 handshakes at a time: node.handshakes_max": {"node.handshakes_max": 8},
    "shards poll before they sleep: rt.spin 50us": {"rt.spin": "50us"},
}


def switches(n):
    """What each setting changes, with 100 nodes."""
    cases = {c: (OurMesh, 100, s) for c, s in SWITCHES.items()}
    return table("100 nodes, by setting; times: to as it is", "setting", rounds(n, cases, measured(cases)), COLUMNS, lambda _: "as it is")
