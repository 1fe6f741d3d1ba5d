"""gdb_rig: gdb driven by a test: one command at a time, its output up to a mark; and a server that writes its log to a pipe."""
import os, re, select, subprocess, sys, time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../checks"))
sys.dont_write_bytecode = True
import common, rig
from rig import until

BUILD, ROOT, LIMIT = rig.BUILD, rig.ROOT, rig.LIMIT
COMMANDS = os.path.join(ROOT, "tools/gdb/murre.py")
NOISE = re.compile(r"^(\[New LWP|\[Thread debugging|Using host|\[Switching|\[Inferior|"
                   r"warning: (Error disabling|could not find|Section .* in core file too small))")


class Gdb:
    """`with Gdb("-p", PID) as g: g("murre node")` returns what the command prints."""

    def __init__(self, *args, before=(), commands=COMMANDS):
        argv = ["gdb", "-nx", "-q"]
        before = ("pagination off", "confirm off", "width 0", "debuginfod enabled off", "exec-file-mismatch off", *before)
        for b in before:
            argv += ["-iex", "set " + b]
        self.proc = subprocess.Popen(argv + [str(a) for a in args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.buf, self.n = "", 0
        said = self("echo")
        if re.search(r"ptrace: Operation not permitted|Could not attach to process", said):
            self.__exit__()
            raise AssertionError("this machine does not permit ptrace (CAP_SYS_PTRACE, kernel.yama.ptrace_scope, seccomp), so that gdb cannot be tested here: " + said[-500:])
        if commands:
            said = self(f"source {commands}")
            assert "rror" not in said, said

    def start(self, command):
        """Sends a command; end() takes what it prints."""
        self.n += 1
        self.proc.stdin.write(f"{command}\necho \\n--done {self.n}--\\n\n".encode())
        self.proc.stdin.flush()

    def until(self, pattern, limit=LIMIT):
        end = time.monotonic() + limit
        while True:
            m = re.search(pattern, self.buf, re.M)
            if m:
                out, self.buf = self.buf[:m.start()], self.buf[m.end():]
                return out
            left = end - time.monotonic()
            assert left > 0 and select.select([self.proc.stdout], [], [], left)[0], f"gdb does not say {pattern}: {self.buf[-2000:]}"
            piece = os.read(self.proc.stdout.fileno(), 1 << 20)
            assert piece, "gdb ended: " + self.buf[-2000:]
            self.buf += piece.decode(errors="replace")

    def end(self, limit=LIMIT):
        out = self.until(rf"^--done {self.n}--\n", limit).replace("(gdb) ", "")
        return "\n".join(l for l in out.splitlines() if l and not NOISE.match(l))

    def __call__(self, command, limit=LIMIT):
        self.start(command)
        return self.end(limit)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.proc.poll() is None:
            try:
                self.proc.stdin.write(b"quit\n")  # detaches from what it did not start
                self.proc.stdin.close()
                self.proc.wait(LIMIT)
            except (BrokenPipeError, subprocess.TimeoutExpired):
                self.proc.kill()
                self.proc.wait()
        self.proc.stdout.close()


class Node(common.Node):
    """A server whose log can be waited for, with users a and b, who are logged in after login()."""

    def __init__(self, settings=None, **more):
        self.log_from, to = os.pipe()
        super().__init__(settings, stderr=to, **more)
        self.to, self.lines = to, ""

    def start(self, wait=True):
        try:
            super().start(wait)
        except AssertionError as e:
            raise AssertionError(f"{e}{os.read(self.log_from, 65536).decode()}") from None
        finally:
            os.close(self.to)
        return self

    def logged(self, pattern):
        """Waits for it in the log."""
        end = time.monotonic() + LIMIT
        while True:
            m = re.search(pattern, self.lines)
            if m:
                return m
            left = end - time.monotonic()
            assert left > 0 and select.select([self.log_from], [], [], left)[0], f"the log does not say {pattern}: {self.lines[-2000:]}"
            self.lines += os.read(self.log_from, 65536).decode(errors="replace")

    def login(self):
        self.users(["a", "b"])
        self.a, self.b = (rig.Raw(self.port) for _ in range(2))
        for c, name in ((self.a, "a"), (self.b, "b")):
            c.open()
            c.login(name, resource="r")
            c.send("<presence/>")
            c.expect(r"<presence[^>]*from='" + re.escape(c.jid) + "'")
        return self

    def message(self, n, count=1, body="hello"):
        """Messages n, n + 1 ... from a to b, in one piece."""
        self.a.send("".join(f"<message to='b@localhost' type='chat' id='m{n + i}'><body>{body} {n + i}</body></message>" for i in range(count)))

    def chat(self, n, body="hello"):
        """One message that arrives."""
        self.message(n, body=body)
        self.b.expect(f"<body>{body} {n}</body>")

    def __exit__(self, *args):
        super().__exit__(*args)
        os.close(self.log_from)


def in_mutex(pid, name):
    """Is a thread of that name waiting for a mutex? That is futex (202) with FUTEX_WAIT, private; a condition has FUTEX_WAIT_BITSET."""
    for t in os.listdir(f"/proc/{pid}/task"):
        try:
            comm, call = (open(f"/proc/{pid}/task/{t}/{f}").read().split() for f in ("comm", "syscall"))
            if comm == [name] and call[:3:2] == ["202", "0x80"]:
                return True
        except OSError:
            pass  # it has ended meanwhile
    return False


def lock_held(node, g):
    """Stops a disk thread with its pool's lock in its hand while the others run; g is in non-stop mode. Returns a murrectl that waits for it."""
    for num in re.findall(r'^. (\d+) .*"disk"', g("info threads"), re.M):
        g(f'break lock_release thread {num} if $_streq(l->name, "pool")')
    g("continue -a &")
    node.message(2)
    g.until(r"hit Breakpoint \d+.*lock_release")
    waits = subprocess.Popen([BUILD + "/murrectl", "--socket", node.dir + "/data/ctl.sock", "pool"], stdout=subprocess.DEVNULL)
    until("ctl waits for the pool's lock", lambda: in_mutex(node.proc.pid, "ctl"))
    return waits


def held(node, g, n, count):
    """Lets the partition of a stop in the handler of the first of count messages, with the others behind it in its mailbox."""
    g("break svc_route_on_stanza")
    g.start("continue")
    g.until("Continuing")
    node.message(n, count)
    g.end()
    g("delete")
