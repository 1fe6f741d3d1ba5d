"""murre peer: OTP's module peer starts and controls murre nodes, over each kind of line; suites of Common Test and PropEr with OTP and murre nodes mixed; and what
goes wrong when it is started or spoken to otherwise."""
import os, re, socket, struct, subprocess, sys, tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import rig
from rig import BUILD, COOKIE, HERE, LIMIT, OTP, Epmd, erlang, program
from test_mesh import xmpp

MURRE = os.path.join(BUILD, "murre")


class Home:
    """A home with a cookie where erl and murre peer look for it, an epmd, and a directory for what suites leave."""

    def __enter__(self):
        self.temp = tempfile.TemporaryDirectory(prefix="murre-test-")
        self.dir = self.temp.name
        os.mkdir(self.dir + "/tmp")
        self.murre = program(MURRE, self.dir)
        with open(os.open(self.dir + "/.erlang.cookie", os.O_CREAT | os.O_WRONLY, 0o400), "w") as f:
            f.write(COOKIE + "\n")
        self.epmd = Epmd()
        self.env = {"HOME": self.dir, "ERL_EPMD_PORT": str(self.epmd.port), "TMPDIR": self.dir + "/tmp", "MURRE": self.murre, "ERL_CRASH_DUMP_SECONDS": "0"}
        return self

    def __exit__(self, *_):
        self.epmd.__exit__()
        self.temp.cleanup()

    def said(self, code, more=()):
        """The lines of a node that evaluates code."""
        args = [*erlang("erl"), "-noinput", "-start_epmd", "false", "-name", "a@127.0.0.1", *more, "-kernel", "inet_dist_use_interface", "{127,0,0,1}",
                "-eval", code + " halt()."]
        with rig.Lines(args, self.env) as e:
            return e.all()

    def left(self):
        return os.listdir(self.dir + "/tmp")

    def suite(self, module):
        r = subprocess.run([*erlang("erlc"), "-o", self.dir, f"{HERE}/suites/{module}.erl"], capture_output=True, text=True, timeout=LIMIT)
        assert r.returncode == 0, r.stdout + r.stderr


def start(h, options):
    return f'{{ok, P, N}} = peer:start_link(#{{exec => {{"{h.murre}", ["peer"]}}, name => "m", host => "127.0.0.1", wait_boot => 60000, {options}}}), '


def test_each_kind_of_line():
    "standard_io, a TCP connection, and none: the node is there when start returns, can be called, and is gone when stop does, with what it had on the disk."
    for line, stop in (("connection => standard_io", ""), ("connection => 0", ""), ("connection => {{127,0,0,1},0}, shutdown => 60000", ""), ("shutdown => 60000", "none"),
                       ("shutdown => {halt, 60000}", "none")):
        with Home() as h:
            call = "erpc" if stop else "peer"
            at = "N" if stop else "P"
            got = h.said(start(h, line) + f"""
                Ask = fun(M, F, A) -> {call}:call({at}, M, F, A) end, monitor_node(N, true),
                io:format("got ~0p~n", [[N, Ask(erlang, node, []), catch Ask(no, such, [1]), Ask(init, get_status, []), net_adm:ping(N)]]),
                io:format("state ~p~n", [peer:get_state(P)]), io:format("stop ~p~n", [peer:stop(P)]),
                receive {{nodedown, N}} -> io:format("down~n") end,""")
            seen = [g for g in got if re.match("got|state|stop|down", g)]
            assert seen[0].startswith("got ['m@127.0.0.1','m@127.0.0.1',{'EXIT',{") and "undef,[{no,such,[1],[]}]" in seen[0], got
            assert seen[0].endswith("{started,started},pong]") and seen[1:] == ["state running", "stop ok", "down"], got
            xmpp.until(h.left, lambda: h.left() == [])


def test_it_ends_with_who_started_it():
    "The controlling node is killed: the node ends by itself, over each kind of line."
    for line in ("connection => standard_io", "connection => 0", "shutdown => close"):
        with Home() as h:
            args = [*erlang("erl"), "-noinput", "-start_epmd", "false", "-name", "a@127.0.0.1", "-eval", start(h, line) + 'io:format("ready~n"), receive never -> ok end.']
            with rig.Lines(args, h.env) as e:
                e.wait("ready")
                assert "name m at" in rig.epmd_tool(h.epmd.port, "-names")
            xmpp.until("it is gone", lambda: "name m at" not in rig.epmd_tool(h.epmd.port, "-names"))
            xmpp.until(h.left, lambda: h.left() == [])


def test_nobody_ends_a_node_that_was_not_started_so():
    "halt and stop are undef on any other node, and on a node that is controlled every member of the cluster may call them."
    with Home() as h:
        got = h.said(start(h, "connection => standard_io, peer_down => continue") + """
            monitor_node(N, true), erpc:cast(N, init, stop, []), receive {nodedown, N} -> io:format("stopped~n") end,""")
        assert "stopped" in got, got


def test_the_cookie_is_not_shown():
    "-setcookie is overwritten in the arguments that ps shows, and is the node's; a weak one is refused."
    with Home() as h:
        os.remove(h.dir + "/.erlang.cookie")
        with Line(h, "-setcookie", COOKIE) as line:
            line.get()
            with open(f"/proc/{line.proc.pid}/cmdline") as f:
                shown = f.read()
            assert COOKIE not in shown and "*" * len(COOKIE) in shown, shown
            assert h.said('io:format("~p~n", [net_adm:ping(\'m@127.0.0.1\')]),', ("-setcookie", COOKIE)) == ["pong"]
        r = subprocess.run([MURRE, "peer", "-name", "w@127.0.0.1", "-setcookie", "monster"], capture_output=True, text=True,
                           env=dict(os.environ, **h.env), stdin=subprocess.DEVNULL)
        assert r.returncode == os.EX_CONFIG and "bits; at least 90 are wanted" in r.stderr, r
        assert h.left() == []


def test_wrong_arguments():
    "Each says what is wrong, and leaves nothing."
    with Home() as h:
        def refused(status, text, *args, home=h.dir):
            r = subprocess.run([MURRE, "peer", *args], capture_output=True, text=True, env=dict(os.environ, **dict(h.env, HOME=home)), stdin=subprocess.DEVNULL)
            assert r.returncode == status and text in r.stderr, (args, r)
            assert h.left() == []
        name = ("-name", "m@127.0.0.1")
        refused(os.EX_USAGE, "a node that is controlled has a name", "-user", "peer")
        refused(os.EX_CONFIG, "needs the cookie of its cluster", *name, home="/nonexistent")
        refused(os.EX_USAGE, "'x' is not a port", *name, "-origin", "127.0.0.1", "x")
        refused(os.EX_USAGE, "a process as peer:start writes it", *name, "-origin", "AAAA")
        refused(os.EX_NOPERM, "no address of it is loopback", *name, "-origin", "192.0.2.1", "9")
        refused(os.EX_UNAVAILABLE, "nobody takes a connection there", *name, "-origin", "127.0.0.1,::1", str(rig.free_port()))
        refused(os.EX_USAGE, "--set wants a value", *name, "--set")
        refused(os.EX_CONFIG, "node.ticktime", *name, "-kernel", "net_ticktime", "soon")


class Line:
    """What peer's server is, on a socket: `murre peer` connects to it."""

    def __init__(self, home, *args):
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(LIMIT)
            self.proc = subprocess.Popen([MURRE, "peer", "-name", "m@127.0.0.1", *args, "-user", "peer", "-origin", "127.0.0.1", str(server.getsockname()[1])],
                                         env=dict(os.environ, **home.env), stderr=subprocess.DEVNULL)
            self.sock, _ = server.accept()
        self.sock.settimeout(LIMIT)

    def get(self):
        data = b""
        while len(data) < 4 or len(data) < 4 + struct.unpack(">I", data[:4])[0]:
            piece = self.sock.recv(65536)
            if not piece:
                return None
            data += piece
        return data[4:]

    def put(self, data):
        self.sock.sendall(struct.pack(">I", len(data)) + data)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()
        try:
            self.proc.wait(LIMIT)
        finally:
            self.proc.kill()
            self.proc.wait()


def test_what_is_no_message_ends_it():
    "Rubbish, a tuple that is no message, a message past every limit: the node ends; half a message that does not come on does not."
    atom = lambda a: b"w" + bytes([len(a)]) + a
    call = b"\x83h\x05" + atom(b"call") + b"a\x07" + atom(b"erlang") + atom(b"node") + b"j"
    for bad in (b"\x83\x00", b"rubbish", b"\x83h\x02" + atom(b"what") + b"j", b"\x83h\x04" + atom(b"call") + b"jjj", None):
        with Home() as h, Line(h) as line:
            assert line.get() == b"\x83h\x02" + atom(b"started") + atom(b"m@127.0.0.1")
            line.sock.sendall(struct.pack(">I", len(call)) + call[:9])
            line.sock.sendall(call[9:])
            assert line.get() == b"\x83h\x04" + atom(b"reply") + b"a\x07" + atom(b"ok") + atom(b"m@127.0.0.1")
            line.sock.sendall(struct.pack(">I", 1 << 31)) if bad is None else line.put(bad)
            assert line.get() is None
            assert line.proc.wait(LIMIT) == 0


def test_a_suite_of_common_test():
    "A suite with a cluster mixed at random passes under ct_run."
    with Home() as h:
        h.suite("murre_SUITE")
        os.mkdir(h.dir + "/logs")
        r = subprocess.run([*erlang("ct_run"), "-noinput", "-name", "ct@127.0.0.1", "-dir", h.dir, "-suite", "murre_SUITE", "-no_auto_compile", "-logdir", h.dir + "/logs",
                            "-kernel", "inet_dist_use_interface", "{127,0,0,1}"], capture_output=True, text=True, errors="replace", timeout=4 * LIMIT, env=dict(os.environ, **h.env), cwd=h.dir)
        assert re.search(r"6 ok, 0 failed of 6 test cases", r.stdout), r.stdout[-6000:] + r.stderr[-2000:]


def test_properties_with_proper():
    "Groups agree on every node of either kind, whoever joins and leaves."
    with Home() as h:
        h.suite("prop_murre")
        got = h.said(f'io:format("passed ~p~n", [prop_murre:run("{h.murre}", 25)]),', ("-pa", h.dir))
        assert "passed true" in got, "\n".join(got)


if OTP != 25:  # there is neither Common Test nor PropEr in the folders of other releases
    del test_a_suite_of_common_test, test_properties_with_proper
if OTP < 25:  # nor the module peer
    del test_each_kind_of_line, test_it_ends_with_who_started_it, test_nobody_ends_a_node_that_was_not_started_so


if __name__ == "__main__":
    rig.main(sys.modules["__main__"])
