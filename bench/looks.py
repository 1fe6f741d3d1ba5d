"""looks: what each look costs while it is on: `make bench T=looks`.

    micro      murre-bench micro looks, queue: where a look costs most, and queues of none against a million
    server     the load of T=chat on one server; every 300 ms (SLICE) a look is switched, and each slice is compared with one of the same round
               in which all are off: CPU time of the whole process a message, from its CPU clock
    scrape     the same for the delivery times, with GET /metrics not at all, every second and every 100 ms

The order within a round turns, so that a machine that becomes slower or faster during it favours nobody. A figure is the median of the rounds'
ratios; +- is the half-width of its 95 % interval (1.57 times the distance of the quartiles over the root of n, McGill 1978): a figure that is
smaller than that is noise.
LOOKS_ROUNDS=n rounds of each (40; of scrapes a quarter)."""
import contextlib, json, os, socket, statistics, subprocess, threading

from servers import BENCH, Murre, free_port

ROUNDS = int(os.environ.get("LOOKS_ROUNDS", "40"))
MICRO_PAIRS = 61  # of bench/micro.h
SLICE = 300  # ms
SCRAPE_SLICE = 2000
LOADS = {"100 pairs, window 10": ["--pairs", 100, "--window", 10], "10 pairs, window 1": ["--pairs", 10, "--window", 1]}


class Load:
    """The load generator in slices: measure() has it measure one, while it goes on all the time."""

    def __init__(self, server, words, slices, msec):
        args = [BENCH, "xmpp", "--port", server.port, "--server-pid", server.proc.pid, "--json", "--mode", "chat", "--full", "--acks", *words,
                "--slices", slices, "--slice-ms", msec]
        self.proc = subprocess.Popen([str(a) for a in args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def measure(self):
        self.proc.stdin.write("\n")
        self.proc.stdin.flush()
        line = self.proc.stdout.readline()
        if not line:
            raise RuntimeError("the load ended: " + self.proc.communicate()[1])
        return json.loads(line)

    def end(self):
        _, err = self.proc.communicate(timeout=120)
        if self.proc.returncode:
            raise RuntimeError(err.strip() or f"the load ended with status {self.proc.returncode}")


@contextlib.contextmanager
def load(*args):
    run = Load(*args)
    try:
        yield run
        run.end()
    finally:
        if run.proc.poll() is None:
            run.proc.kill()
            run.proc.wait()


def compare(run, ways, rounds, switch, key):
    """Slices of all ways, rounds times; per way the values, and their ratios to the first way of the same round."""
    names, values, ratios = list(ways), {w: [] for w in ways}, {w: [] for w in ways}
    for i in range(rounds):
        at = {}
        for w in names[i % len(names):] + names[:i % len(names)]:
            switch(ways[w])
            at[w] = run.measure()[key]
        for w in names:
            values[w].append(at[w])
            ratios[w].append((at[w] / at[names[0]] - 1) * 100)
    return values, ratios


def notch(low, high, n):
    return 1.57 * (high - low) / n ** 0.5


def table(title, unit, values, ratios):
    first = next(iter(values))
    print(f"\n### {title}\n\n| | {unit} | more than {first}, % | +- |\n|---|---|---|---|")
    for w, v in values.items():
        low, mid, high = statistics.quantiles(ratios[w], n=4)
        print(f"| {w} | {statistics.median(v):,.4g} | " + ("| |" if w == first else f"{mid:+.2f} | {notch(low, high, len(v)):.2f} |"), flush=True)


def micro(name, title, off, on):
    r = subprocess.run([BENCH, "micro", name, "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=300)
    if r.returncode:
        return False
    figures, rows = json.loads(r.stdout), {}
    for k, v in figures.items():
        what, sep, which = k.rpartition(": ")
        if sep:
            rows.setdefault(what, {})[which] = v
    print(f"\n### {title}\n\n| | {off}, ns | {on}, ns | cost, % | +- |\n|---|---|---|---|---|")
    for what, f in rows.items():
        print(f"| {what} | {f['off']:.4g} | {f['on']:.4g} | {f['cost']:+.2f} | {notch(f['cost_low'], f['cost_high'], MICRO_PAIRS):.2f} |", flush=True)
    return True


def ctl(server, *words):
    r = server.ctl(*words)
    if r.returncode:
        raise RuntimeError(r.stdout + r.stderr)


# --- the whole server
def whole_server():
    looks = {"msacc": ("start", "stop"), "locks": ("on", "off"), "recorder": ("on", "off")}
    ways = {"none": (), "msacc": ("msacc",), "locks counted": ("locks",), "recorder": ("recorder",), "all three": tuple(looks)}
    with Murre() as s:
        s.register(200)
        is_on = {}

        def switch(way):
            for look, (on, off) in looks.items():
                if is_on.get(look) != (look in way):
                    ctl(s, look, on if look in way else off)
                    is_on[look] = look in way

        with load(s, LOADS["100 pairs, window 10"], ROUNDS * len(ways), SLICE) as run:
            values, ratios = compare(run, ways, ROUNDS, switch, "cpu")
    table("looks on a loaded server: 100 pairs, window 10, durable, acked", "us of server CPU a message", values, ratios)


# --- scrapes
class Scraper(threading.Thread):
    """GET /metrics over one connection, every so many seconds."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.every, self.change, self.over, self.scrapes = 0, threading.Event(), False, 0
        self.conn = socket.create_connection(("127.0.0.1", port))

    def get(self):
        self.conn.sendall(b"GET /metrics HTTP/1.1\r\nHost: bench\r\n\r\n")
        got = b""
        while b"\r\n\r\n" not in got:
            got += self.read()
        head, _, body = got.partition(b"\r\n\r\n")
        length = int(next(l.split(b":")[1] for l in head.split(b"\r\n") if l.lower().startswith(b"content-length:")))
        left = length - len(body)
        while left > 0:
            left -= len(self.read())
        self.scrapes += 1

    def read(self):
        piece = self.conn.recv(65536)
        if not piece:
            raise RuntimeError("the server closed the connection of the scraper")
        return piece

    def run(self):
        while not self.over:
            if self.every:
                self.get()
            self.change.wait(self.every or None)
            self.change.clear()

    def set(self, every):
        self.every = every
        self.change.set()

    def end(self):
        self.over = True
        self.set(0)
        self.join()
        self.conn.close()


def scrapes():
    ways = {"no scrape": 0, "one a second": 1, "ten a second": 0.1}
    rounds = max(ROUNDS // 4, 2)
    port = free_port()
    with Murre(**{"metrics.listen": f"127.0.0.1:{port}"}) as s:
        s.register(200)
        for title, words in LOADS.items():
            scraper = Scraper(port)
            scraper.start()
            try:
                with load(s, words, rounds * len(ways), SCRAPE_SLICE) as run:
                    values, ratios = compare(run, ways, rounds, scraper.set, "p99")
            finally:
                scraper.end()
            if scraper.scrapes == 0:
                raise RuntimeError("nothing was scraped")
            table(f"scrapes of /metrics: {title}, {scraper.scrapes} scrapes", "p99 of deliveries, us", values, ratios)


def run():
    ok = micro("looks", "a look where it costs most", "off", "on") and micro("queue", "a million messages queued", "none or 100 queued", "1 M queued")
    whole_server()
    scrapes()
    return ok
