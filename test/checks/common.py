"""common: what the checks share: a server that ends with its check, failure injection, a chat under faults, arguments, the last line.

A check is a Python file whose functions check_* are its cases; main() runs them: `r1_kill.py [--seed N] [--soak [PART]] [CASE ...]`; SOAK=1
does as --soak does. --soak N is the Nth part of the soak, but never less than the CI size. Each prints a line with its figures and the file ends
with "N passed, N failed"."""
import argparse, asyncio, ctypes, mmap, os, struct, subprocess, sys, tempfile, time, traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../interop/xmpp"))
sys.dont_write_bytecode = True
import rig
from clients import Recipient, Sender, World
from history import judge

BUILD, ROOT, LIMIT, until = rig.BUILD, rig.ROOT, rig.LIMIT, rig.until
SEED, SOAK = 1, 0  # SOAK: 0 CI size, N the Nth part of the soak
libc = ctypes.CDLL(None, use_errno=True)


def soak(ci, long):
    """A number of things to do, or a sequence of them."""
    if SOAK < 2:
        return long if SOAK else ci
    return max(ci, long // SOAK) if isinstance(long, int) else long[: max(len(ci), len(long) // SOAK)]


def patience(ci, long):
    """Seconds: a part of the soak is given the time of the whole."""
    return long if SOAK else ci


class Node(rig.Server):
    """A server without TLS (speed), that is ended when this process is, whose standard error is beside its data, not in it."""

    def __init__(self, settings=None, inject=None, prefix=(), data=None, stderr=None):
        base = {"tls.required": "false", "shards": "2", "recorder.bytes": "64k", "xmpp.accept_rate_ip": "0"}  # all clients have one address
        base.update(settings or {})
        env = inject.env() if inject else None
        super().__init__(base, data=data, env=env, prefix=["setpriv", "--pdeathsig", "KILL", *prefix])
        self.stderr_to = stderr

    def start(self, wait=True):
        if self.stderr_to is None:
            return super().start(wait)
        args = self.prefix + [BUILD + "/murre", "run", "--set", "data=" + self.dir + "/data"]
        for k, v in self.settings.items():
            args += ["--set", f"{k}={v}"]
        self.log = open(self.dir + "/stderr", "ab")  # stays empty
        self.proc = subprocess.Popen(args, stdout=subprocess.PIPE, stderr=self.stderr_to, env=dict(os.environ, **(self.env or {})))
        if wait:
            self.wait_ready()
        return self

    def users(self, names):
        path = os.path.join(self.dir, "users")
        with open(path, "w") as f:
            f.writelines(f"{n}@localhost secret\n" for n in names)
        self.ctl("user", "import", path)

    def cpu(self):
        """Seconds of CPU that the server has used."""
        f = open(f"/proc/{self.proc.pid}/stat").read().rsplit(")", 1)[1].split()
        return (int(f[11]) + int(f[12])) / os.sysconf("SC_CLK_TCK")

    def rss(self):
        return int(open(f"/proc/{self.proc.pid}/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Inject:
    """The control block of inject.so (struct control in inject.c), shared with the server."""

    OPS = {"fsync": 1, "fdatasync": 2, "write": 4, "pwrite": 8, "fallocate": 16}  # on files of the directory
    ANY = ("alloc", "open", "socket", "bind", "listen", "accept", "read", "write", "send", "epoll_create", "epoll_ctl", "eventfd", "mmap",
           "thread", "rename", "unlink", "mkdir", "stat", "truncate", "lock", "sockopt", "recv")  # "any_..." : in the whole process
    OPS.update({"any_" + kind: 256 << i for i, kind in enumerate(ANY)})
    LAYOUT = "=IIiiQQQq"  # armed, ops, errno (0: short), sticky, nth, count, fired_nsec, wall_offset_nsec

    def __init__(self, directory):
        self.dir = directory
        f, self.path = tempfile.mkstemp(prefix="murre-inject-")
        os.ftruncate(f, 4096)
        self.map = mmap.mmap(f, 4096)
        os.close(f)

    def env(self):
        assert os.path.exists(BUILD + "/inject.so"), f"{BUILD}/inject.so is missing: make checks builds it"
        return {"LD_PRELOAD": BUILD + "/inject.so", "MURRE_INJECT": self.path, "MURRE_INJECT_DIR": self.dir}

    def _get(self):
        return list(struct.unpack_from(self.LAYOUT, self.map))

    def arm(self, ops, nth, error, sticky=False):
        """The nth operation of these kinds from now fails (all later ones too if sticky). error: an errno; 0: half is written."""
        wall = self._get()[7]
        struct.pack_into(self.LAYOUT, self.map, 0, 0, sum(self.OPS[o] for o in ops), error, sticky, nth, 0, 0, wall)
        struct.pack_into("=I", self.map, 0, 1)

    def disarm(self):
        struct.pack_into("=I", self.map, 0, 0)

    def watch(self):
        """Counts every kind of ANY from now; none fails."""
        at = struct.calcsize(self.LAYOUT)
        self.map[at : at + 8 * len(self.ANY)] = bytes(8 * len(self.ANY))
        self.arm((), 0, 0)

    def counts(self):
        """Calls of each kind of ANY since watch()."""
        return dict(zip(self.ANY, struct.unpack_from(f"={len(self.ANY)}Q", self.map, struct.calcsize(self.LAYOUT))))

    def fired(self):
        """When it happened (CLOCK_MONOTONIC, seconds), or 0."""
        return self._get()[6] / 1e9

    def wall(self, seconds):
        struct.pack_into("=q", self.map, struct.calcsize("=IIiiQQQ"), int(seconds * 1e9))

    def slow(self, seconds):
        """Each sync takes so much longer from now on."""
        struct.pack_into("=Q", self.map, struct.calcsize(self.LAYOUT) + 8 * len(self.ANY), int(seconds * 1e9))

    HOLDS = ("", "call", "loop", "lock")  # inject_holds_call() and so on are in the stack of a thread that is held

    def hold(self, how, path=""):
        """From now on writes and syncs of files with path in their name do not come back, each in that way; how "": those who wait go on."""
        at = struct.calcsize(self.LAYOUT) + 8 * len(self.ANY) + 8
        if how:
            struct.pack_into("=256s", self.map, at + 8, path.encode())
        struct.pack_into("=I", self.map, at, self.HOLDS.index(how))

    def held(self):
        """Calls that have been held, ever."""
        return struct.unpack_from("=I", self.map, struct.calcsize(self.LAYOUT) + 8 * len(self.ANY) + 12)[0]

    def wedge(self, on):
        """From now on a shard that accepts a connection spins there, until it is off."""
        struct.pack_into("=I", self.map, self._wedge_at(), on)

    def wedged(self):
        """How many shards spin."""
        return struct.unpack_from("=I", self.map, self._wedge_at() + 4)[0]

    def _wedge_at(self):
        return struct.calcsize(self.LAYOUT) + 8 * len(self.ANY) + 8 + 8 + 256

    def close(self):
        self.map.close()
        os.unlink(self.path)


async def gathered(*jobs, limit):
    """Runs them all to the end; an error in one, or more than limit seconds, ends it."""
    tasks = [asyncio.ensure_future(j) for j in jobs]
    try:
        done, waiting = await asyncio.wait(tasks, timeout=limit, return_when=asyncio.FIRST_EXCEPTION)
        for t in done:
            t.result()
        assert not waiting, f"not finished after {limit} s: {[t.get_coro().__qualname__ for t in waiting]}"
    finally:
        for t in tasks:
            t.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def chat(world, senders, recipients, disturb=None, limit=LIMIT):
    """Senders send all that they have while disturb() is going on; then everything must arrive."""
    async def sending():
        await gathered(*(s.run() for s in senders), limit=limit)
        world.finish.set()
        world.progress()

    jobs = [sending()] + [r.run() for r in recipients] + ([disturb()] if disturb else [])
    try:
        await gathered(*jobs, limit=limit)
    except AssertionError as e:
        missing = {r.user: sorted(set(r.senders) - r.fences) for r in recipients if not r.complete()}
        left = {s.user: (len(s.unacked), s.why) for s in senders if not s.done}
        found, stat = judge(world.lines)
        raise AssertionError(f"{e}; senders not done {left}; fences missing {missing}, {[r.why for r in recipients]}; {found[:5]} {stat}")


def verdict(world, expect_kills=0, **more):
    """Judges the history; prints the figures."""
    found, stat = judge(world.lines)
    print("      " + ", ".join(f"{k} {v}" for k, v in {**stat, **more}.items()), flush=True)
    assert not found, "\n".join(found[:20])
    assert stat["acked"] > 0 and stat["faults"] >= expect_kills, stat
    return stat


def main(module):
    global SEED, SOAK
    p = argparse.ArgumentParser(description=module.__doc__)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--soak", type=int, nargs="?", const=1, default=int(os.environ.get("SOAK") or 0), metavar="PART")
    p.add_argument("case", nargs="*")
    a = p.parse_args()
    SEED, SOAK = a.seed, a.soak
    cases = [f for n, f in vars(module).items() if n.startswith("check_") and (not a.case or n in a.case)]
    passed = failed = 0
    print(f"seed {SEED}, {f'soak / {SOAK}' if SOAK else 'CI'} size", flush=True)
    for case in cases:
        start = time.monotonic()
        try:
            if asyncio.iscoroutinefunction(case):
                asyncio.run(case())
            else:
                case()
            passed += 1
            print(f"ok     {case.__name__} ({time.monotonic() - start:.1f} s)", flush=True)
        except BaseException as e:
            failed += 1
            print(f"FAILED {case.__name__}: {case.__doc__}", flush=True)
            traceback.print_exc(file=sys.stdout)
            if isinstance(e, KeyboardInterrupt):
                break
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed or not passed else 0)
