"""libmurre against a real Erlang: the examples, and programs that are built with nothing but what `make install-lib` installs."""
import os, re, signal, subprocess, sys, tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import rig
from rig import COOKIE, Epmd, Erl, Lines, BUILD, ROOT, LIMIT

SANITIZED = {"asan": ["-fsanitize=address,undefined"], "tsan": ["-fsanitize=thread"]}.get(os.path.basename(BUILD), [])


class Program:
    """A program that is a node: its arguments are the node's name, a cookie file and the port of the port mapper."""

    def __init__(self, epmd, path, name, *more):
        self.epmd, self.path, self.name, self.more = epmd, path, name, more

    def __enter__(self):
        self.dir = tempfile.TemporaryDirectory(prefix="murre-test-")
        cookie = self.dir.name + "/cookie"
        with open(os.open(cookie, os.O_CREAT | os.O_WRONLY, 0o600), "w") as f:
            f.write(COOKIE + "\n")
        self.lines = Lines([self.path, self.name, cookie, str(self.epmd.port), *self.more])
        rig.xmpp_rig().until("registered", lambda: self.name.split("@")[0] in rig.epmd_tool(self.epmd.port, "-names"))
        return self

    def stop(self):
        """Ends it in order: nothing has crashed."""
        self.lines.proc.send_signal(signal.SIGTERM)
        out = self.lines.all()
        assert self.lines.proc.wait(LIMIT) == 0, (self.lines.proc.returncode, out)
        assert not any(w in l for l in out for w in (" crash ", " error ", "anitizer")), out

    def __exit__(self, *_):
        self.lines.__exit__()
        self.dir.cleanup()


def said(epmd, name, code):
    """The lines that a real node prints when it evaluates code; S: the server of that name there."""
    alive = name.split("@")[0]
    with Erl("a@127.0.0.1", epmd.port, f"S = {{{alive}, '{name}'}}, N = '{name}', {code} halt().") as e:
        return e.all()


def example(epmd, name):
    return Program(epmd, f"{BUILD}/examples/{name}", f"{name}@127.0.0.1")


def test_echo():
    "Calls of every kind of term come back as they were; a cast and a message come back as messages; it ends in order."
    with Epmd() as epmd, example(epmd, "echo") as p:
        got = said(epmd, p.name, """
            Terms = [1, -1, 1 bsl 70, 1.5, atom, '', <<>>, <<1, 2>>, <<5:3>>, "text", [], [1 | 2], [a, b], {}, {1, {2}}, #{a => 1, "b" => #{}}, self(),
                     make_ref(), fun lists:map/2, binary:copy(<<7>>, 200000), lists:seq(1, 70000)],
            io:format("~p~n", [[T || T <- Terms, gen_server:call(S, T, 60000) =/= T]]),
            gen_server:cast(S, {a, cast}), receive {a, cast} -> io:format("cast~n") end,
            S ! [hello], receive [hello] -> io:format("message~n") end,
            io:format("~p~n", [length([1 || I <- lists:seq(1, 2000), gen_server:call(S, I, 60000) =:= I])]),""")
        assert got == ["[]", "cast", "message", "2000"], got
        p.stop()


def test_calls_of_many_at_a_time():
    with Epmd() as epmd, example(epmd, "echo") as p:
        got = said(epmd, p.name, """
            Me = self(), Go = fun(I) -> spawn_link(fun() -> [I = gen_server:call(S, I, 60000) || _ <- lists:seq(1, 20)], Me ! {ok, I} end) end,
            [Go(I) || I <- lists:seq(1, 200)], [receive {ok, I} -> ok end || I <- lists:seq(1, 200)],
            {Replies, []} = gen_server:multi_call([N], echo, hi), io:format("~p~n", [Replies]),""")
        assert got == ["[{'echo@127.0.0.1',hi}]"], got


def test_a_supervised_server():
    "State, late answers, a worker's result and its failure, nodes, badarg."
    with Epmd() as epmd, example(epmd, "counter") as p:
        got = said(epmd, p.name, """
            C = fun(R) -> gen_server:call(S, R, 60000) end,
            io:format("~p~n", [[C({add, 5}), C({add, -7}), C({work, [1, 2, 300]}), C({work, "ab"}), C({work, []}), C({work, [a]}), C({work, 1}), C(what), C({add, x})]]),
            io:format("~p~n", [C(get)]),
            Late = gen_server:send_request(S, {wait, 300}), io:format("~p~n", [C({add, 0})]),
            io:format("~p~n", [gen_server:wait_response(Late, infinity)]),""")
        assert got == ["[ok,ok,303,195,0,{error,invalid},{error,invalid},badarg,badarg]", "#{count => -2,nodes => ['a@127.0.0.1']}", "ok", "{reply,done}"], got


def test_ends_are_heard_and_supervised():
    "A monitor and a link hear the reason, whatever term it is; kill cannot be trapped; each time there is a new one, without the state of the old."
    with Epmd() as epmd, example(epmd, "counter") as p:
        got = said(epmd, p.name, """
            ok = gen_server:call(S, {add, 1}, 60000),
            Back = fun B() -> case catch gen_server:call(S, get, 60000) of #{count := 0} -> back; {'EXIT', _} -> B(); Other -> {wrong, Other} end end,
            End = fun(How) -> R = monitor(process, S), How(), receive {'DOWN', R, process, S, Why} -> io:format("~p ~p~n", [Why, Back()]) end end,
            End(fun() -> gen_server:cast(S, {stop, {a, "term", [1]}}) end),
            End(fun() -> gen_server:cast(S, {stop, normal}) end),
            End(fun() -> exit(rpc:call(N, erlang, whereis, [counter]), kill) end),
            process_flag(trap_exit, true), P = rpc:call(N, erlang, whereis, [counter]), link(P), gen_server:cast(S, {stop, bye}),
            receive {'EXIT', P, W} -> io:format("~p ~p~n", [W, Back()]) end,
            {X, M} = spawn_monitor(fun() -> link(rpc:call(N, erlang, whereis, [counter])), gen_server:call(S, {wait, 60000}, infinity) end),
            R = monitor(process, S), timer:kill_after(300, X),
            receive {'DOWN', M, process, X, killed} -> ok end, receive {'DOWN', R, process, S, V} -> io:format("~p ~p~n", [V, Back()]) end,""")
        assert got == ['{a,"term",[1]} back', "normal back", "killed back", "bye back", "killed back"], got


def test_an_intensity_is_kept():
    "More restarts than it may have in its time: the supervisor ends, and nobody has the name any more."
    with Epmd() as epmd, example(epmd, "counter") as p:
        got = said(epmd, p.name, """
            Kill = fun K(0) -> io:format("still there~n"); K(I) -> R = monitor(process, S), gen_server:cast(S, {stop, I}),
                receive {'DOWN', R, process, S, noproc} -> io:format("gone~n"); {'DOWN', R, process, S, _} -> K(I - 1) end end,
            Kill(1000),""")
        assert got == ["gone"], got


def caller(epmd, node):
    "What examples/caller prints but for its log, and its exit status."
    with tempfile.TemporaryDirectory(prefix="murre-test-") as d:
        with open(os.open(d + "/cookie", os.O_CREAT | os.O_WRONLY, 0o600), "w") as f:
            f.write(COOKIE + "\n")
        with Lines([BUILD + "/examples/caller", "caller@127.0.0.1", d + "/cookie", str(epmd.port), node]) as p:
            return [l for l in p.all() if not re.match(r"\d{4}-", l)], p.proc.wait(LIMIT)


def test_a_caller():
    "examples/caller: it connects by itself; answers of functions and of a server, and each way in which there is none; late ones are dropped."
    with Epmd() as epmd, Erl("a@127.0.0.1", epmd.port) as a:
        a.wait("ready")
        got, status = caller(epmd, "a@127.0.0.1")
        assert status == 0, got
    assert got[:5] == ['a@127.0.0.1: no error, <<"a@127.0.0.1">>', 'reverse: no error, ["three",two,1]', "node: no error, 'a@127.0.0.1'", 'uppercase: no error, "SHOUT"',
                       "net_kernel: no error, yes"], got
    assert got[5] == "nobody: not found" and got[6].startswith("such: failed, {'EXIT',{undef,[{no,such,[1],[]}"), got
    assert got[7:] == ["sleep: timed out"], got


def test_a_caller_whom_nobody_answers():
    "The node is not there, or has another cookie, or cannot be dialled: the reason is told."
    with Epmd() as epmd, Erl("b@127.0.0.1", epmd.port, cookie="ANOTHERCOOKIEOFTWENTYFOUR") as b:
        b.wait("ready")
        assert caller(epmd, "a@127.0.0.1")[0] == [f'a@127.0.0.1: that node is not connected, <<"the port mapper at 127.0.0.1:{epmd.port}: it does not know the node">>']
        assert caller(epmd, "b@127.0.0.1")[0][0].endswith('it closed the connection when it saw our proof: it has another cookie">>')
        for node in ("c", "caller@127.0.0.1"):
            assert caller(epmd, node) == ([node + " cannot be dialled"], 1)


def test_refusals():
    "What a program gets wrong at the start is said in a sentence."
    with Epmd() as epmd, tempfile.TemporaryDirectory(prefix="murre-test-") as d:
        def refused(name, content, mode, text):
            path = f"{d}/cookie{mode}{len(content)}"
            with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "w") as f:
                f.write(content)
            os.chmod(path, mode)
            r = subprocess.run([BUILD + "/examples/echo", name, path, str(epmd.port)], capture_output=True, text=True, timeout=LIMIT)
            assert r.returncode == 1 and text in r.stderr, (r.returncode, r.stderr)

        refused("echo", COOKIE, 0o600, "name: 'echo' is not a name such as echo@host.example")
        refused("echo@127.0.0.1", COOKIE, 0o644, "can be read by others: chmod 600 it")
        refused("echo@127.0.0.1", "monster", 0o600, "the cookie is worth")
        refused("echo@127.0.0.1", "two\nlines\n", 0o600, "is not one line of printable ASCII")
        r = subprocess.run([BUILD + "/examples/echo", "echo@127.0.0.1", d + "/none"], capture_output=True, text=True, timeout=LIMIT)
        assert r.returncode == 1 and "/none cannot be read: not found" in r.stderr, r.stderr


def test_the_manual_has_every_function():
    "Each function of the headers has a synopsis in one page, and no page one that there is not; mandoc and groff would find each page."
    headers = re.sub(r"/\*.*?\*/", "", "".join(open(f"{ROOT}/include/{h}.h").read() for h in ("murre", "murre_term")), flags=re.S)
    there = set(re.findall(r"^(?!static)[\w ]+[ *](murre_\w+)\(", headers, re.M))
    told = [f for p in sorted(os.listdir(ROOT + "/man")) if p.endswith(".3") for f in re.findall(r"^\.Fo (\w+)$", open(f"{ROOT}/man/{p}").read(), re.M)]
    assert len(there) > 60 and sorted(told) == sorted(there), sorted(there.symmetric_difference(told)) or told


def test_out_of_the_tree():
    "With what is installed and pkg-config alone: C11 against the shared library, the same against the archive, and the headers in C++11."
    with Epmd() as epmd, tempfile.TemporaryDirectory(prefix="murre-test-") as d:
        subprocess.run(["make", "-s", "-C", ROOT, "install-lib", f"B={os.path.abspath(BUILD)}", f"PREFIX={d}/usr"], check=True, timeout=LIMIT, capture_output=True)
        env = dict(os.environ, PKG_CONFIG_PATH=d + "/usr/lib/pkgconfig")

        def flags(*words):
            return subprocess.run(["pkg-config", *words, "murre"], check=True, env=env, capture_output=True, text=True).stdout.split()

        def build(compiler, out, *words):
            r = subprocess.run([*compiler, "-Wall", "-Wextra", "-Wpedantic", "-Werror", *SANITIZED, "-o", d + "/" + out, *words], capture_output=True, text=True, cwd=d)
            assert r.returncode == 0, r.stderr

        assert flags("--modversion") == ["0.1.0"]
        cc = "clang" if "tsan" in BUILD else "gcc"
        source = ROOT + "/examples/echo.c"
        build([cc, "-std=c11", "-D_POSIX_C_SOURCE=200809L"], "shared", source, *flags("--cflags", "--libs"))
        build([cc, "-std=c11", "-D_POSIX_C_SOURCE=200809L"], "static", source, *flags("--cflags"), f"{d}/usr/lib/libmurre.a", *[f for f in flags("--static", "--libs") if f != "-lmurre"])
        with open(d + "/plus.cc", "w") as f:
            f.write("#include <murre.h>\n#include <murre_term.h>\nint main() { return murre_version() == MURRE_VERSION && murre_err_text(MURRE_OK) ? 0 : 1; }\n")
        build([cc + ("++" if cc == "clang" else ""), "-std=c++11"] if cc == "clang" else ["g++", "-std=c++11"], "plus", d + "/plus.cc", *flags("--cflags", "--libs"))
        os.environ["LD_LIBRARY_PATH"] = d + "/usr/lib"
        try:
            assert subprocess.run([d + "/plus"], timeout=LIMIT).returncode == 0
            for program in ("shared", "static"):
                with Program(epmd, d + "/" + program, "echo@127.0.0.1") as p:
                    assert said(epmd, p.name, 'io:format("~p~n", [gen_server:call(S, {hello, [1, 2]}, 60000)]),') == ["{hello,[1,2]}"]
                    p.stop()
        finally:
            del os.environ["LD_LIBRARY_PATH"]
        foreign = [l for l in subprocess.run(["nm", "-D", "--defined-only", d + "/usr/lib/libmurre.so"], capture_output=True, text=True).stdout.split() if "_" in l and not l.startswith(("murre_", "MURRE_"))]
        assert foreign == [], foreign
        manual = set(os.listdir(d + "/usr/share/man/man3"))
        assert "murre.3" in manual, manual


if __name__ == "__main__":
    rig.main(sys.modules["__main__"])
