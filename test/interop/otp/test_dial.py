"""A murre node that connects to others by itself (node.seeds, murrectl nodes connect): real Erlang nodes and other murre nodes, who of two dials,
what is said where it cannot, and that it goes on trying."""
import os, socket, sys, tempfile, threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import rig
from rig import Epmd, Erl
from test_mesh import ME, THERE, Murre, refused, xmpp

until = xmpp.until


def port_of(epmd, alive):
    with rig.peer("lookup", epmd=epmd.port, name=alive) as l:
        return int(l.wait("found").split()[1])


def is_up(s, node):
    return s.nodes().get(node, {}).get("state") == "up"


def up(s, node):
    return until(f"{node} is up", lambda: is_up(s, node))


def error(s, node):
    return s.nodes()[node]["error"]


def test_by_port_mapper_and_again():
    "The port comes from the port mapper; a node that was killed and comes back, on another port, is connected again, as another life of it."
    with Epmd() as epmd, Murre(epmd, node__seeds="a@127.0.0.1") as s:
        until("nobody knows it yet", lambda: "does not know the node" in error(s, "a@127.0.0.1"))
        seen = []
        for _ in range(2):
            with Erl("a@127.0.0.1", epmd.port) as a:
                assert a.wait("nodeup") == ME
                up(s, "a@127.0.0.1")
                seen.append((s.nodes()["a@127.0.0.1"]["index"], s.nodes()["a@127.0.0.1"]["creation"]))
            until("it is gone", lambda: not is_up(s, "a@127.0.0.1"))
        assert seen[0][0] != seen[1][0] and seen[0][1] != seen[1][1], seen


def test_by_port():
    "With a port no port mapper is asked: this one has none that it knows."
    with Epmd() as epmd, Erl("z@127.0.0.1", epmd.port) as z:
        z.wait("ready")
        nowhere = rig.free_port()
        with Murre(None, node__epmd="off", node__epmd_port=str(nowhere), node__seeds=f"z@127.0.0.1:{port_of(epmd, 'z')},y@127.0.0.1") as s:
            assert z.wait("nodeup") == ME  # z is the greater name, and does not know of murre: it is dialled after a while
            up(s, "z@127.0.0.1")
            until("there is no port mapper", lambda: error(s, "y@127.0.0.1") == f"the port mapper at 127.0.0.1:{nowhere}: refused")
            assert s.event("mesh_up") == 1 and s.event("mesh_refused") == 0


def test_what_is_said_there():
    "A node that we dialled is one like any other: it asks us, and we answer."
    with Epmd() as epmd, Murre(epmd, node__seeds="a@127.0.0.1"):
        with Erl("a@127.0.0.1", epmd.port, 'net_kernel:monitor_nodes(true), [self() ! {nodeup, X} || X <- nodes()], receive {nodeup, N} -> ok end, '
                 'io:format("~p ~p ~p~n", [N, net_adm:ping(N), rpc:call(N, erlang, node, [])]), halt().') as a:
            assert a.all() == ["'murre@127.0.0.1' pong 'murre@127.0.0.1'"], a.seen


def test_two_that_want_each_other():
    "Two murre nodes that list each other are connected once; one is killed with kill -9, and they are connected once more."
    other = "other@127.0.0.1"
    with Epmd() as epmd, Murre(epmd, node__seeds=other) as s, Murre(epmd, name=other, node__seeds=ME, domains="other.example") as o:
        for life in (1, 2):
            up(s, other)
            up(o, ME)
            assert o.event("mesh_up") == 1 and s.event("mesh_up") == life, (o.nodes(), s.nodes())
            assert o.event("mesh_down") == 0 and s.event("mesh_down") == life - 1
            if life == 1:
                o.kill()
                until("it is gone", lambda: s.event("mesh_down") == 1)
                o.start()


def hold(s, node, silent):
    """s dials the node at a port where nobody says anything: that attempt is under way."""
    s.ctl("nodes", "connect", f"{node}:{silent.getsockname()[1]}")
    held, _ = silent.accept()
    held.settimeout(rig.LIMIT)
    assert held.recv(3)[2:] == b"N"  # its send_name
    return held


# Pings when it is told to, by a connection to the port that it says.
PINGS = THERE + """
    {ok, L} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]), {ok, Port} = inet:port(L), io:format("listening ~p~n", [Port]),
    {ok, _} = gen_tcp:accept(L), io:format("~p ~p~n", [net_adm:ping(N), nodes()]), receive x -> x end."""


def test_while_our_attempt_is_under_way():
    "A real node dials us while we dial it: it is let in if its name is greater, and ours ends; else it is told nok, and ours goes on."
    with Epmd() as epmd, socket.create_server(("127.0.0.1", 0)) as silent, Murre(epmd) as s:
        silent.settimeout(rig.LIMIT)
        with Erl("z@127.0.0.1", epmd.port, PINGS) as z:
            there = int(z.wait("listening"))
            with hold(s, "z@127.0.0.1", silent) as held, socket.create_connection(("127.0.0.1", there), rig.LIMIT):
                assert z.wait("pong") == "['murre@127.0.0.1']"
                while held.recv(4096):
                    pass  # to the end
                up(s, "z@127.0.0.1")
                assert s.event("mesh_up") == 1 and s.event("mesh_unreached") == 0
        with Erl("a@127.0.0.1", epmd.port, PINGS) as a:
            there = int(a.wait("listening"))
            with hold(s, "a@127.0.0.1", silent), socket.create_connection(("127.0.0.1", there), rig.LIMIT):
                until("it is told nok", lambda: s.event("mesh_refused") == 1)
                assert s.nodes()["a@127.0.0.1"]["state"] == "dialling"


def test_simultaneous_connects():
    "A real node and murre dial each other again and again at the same moment: each time there is one connection, on which both agree."
    rounds = 30
    code = f"""
        net_kernel:monitor_nodes(true), io:format("ready~n"),
        Up = fun Up() -> case lists:member(N, nodes()) of true -> ok; false -> net_kernel:connect_node(N), receive {{nodeup, N}} -> ok after 20 -> Up() end end end,
        Round = fun(_) -> Up(), pong = net_adm:ping(N), [N] = nodes(), erlang:disconnect_node(N), receive {{nodedown, N}} -> ok after 20 -> ok end end,
        lists:foreach(Round, lists:seq(1, {rounds})), Up(), io:format("~p ~p~n", [net_adm:ping(N), nodes()]), receive x -> x end."""
    with Epmd() as epmd, Murre(epmd) as s:
        for name in ("a@127.0.0.1", "z@127.0.0.1"):
            over = threading.Event()

            def dial():
                while not over.is_set():
                    s.ctl("nodes", "connect", name)
            with Erl(name, epmd.port, THERE + code) as e:
                t = threading.Thread(target=dial)
                t.start()
                try:
                    assert e.wait("pong") == "['murre@127.0.0.1']", e.seen
                finally:
                    over.set()
                    t.join()
                up(s, name)
            s.ctl("nodes", "disconnect", name)
            until("all are gone", lambda: s.nodes() == {})
            assert s.event("mesh_up") == s.event("mesh_down") >= rounds


def test_what_is_in_the_way():
    "Another cookie, a port where nobody listens, a node that says nothing, one that nobody knows: each is said, once, and tried again."
    with Epmd() as epmd, socket.create_server(("127.0.0.1", 0)) as silent, Erl("a@127.0.0.1", epmd.port, cookie="ANOTHERCOOKIEOFTHEIRS") as a:
        a.wait("ready")
        silent.settimeout(rig.LIMIT)
        closed, mute = rig.free_port(), silent.getsockname()[1]
        want = {"a@127.0.0.1": f"127.0.0.1:{port_of(epmd, 'a')}: it closed the connection when it saw our proof: it has another cookie",
                "b@127.0.0.1": f"127.0.0.1:{closed}: refused",
                "c@127.0.0.1": f"127.0.0.1:{mute}: the handshake took too long",
                "d@127.0.0.1": f"the port mapper at 127.0.0.1:{epmd.port}: it does not know the node"}
        with Murre(epmd, node__seeds=f"a@127.0.0.1,b@127.0.0.1:{closed},c@127.0.0.1:{mute},d@127.0.0.1") as s:
            first, _ = silent.accept()
            second, _ = silent.accept()  # after setup_time and a moment
            until("each is said", lambda: {n: r["error"] for n, r in s.nodes().items()} == want)
            until("all are tried again", lambda: all(r["attempts"] >= 2 for n, r in s.nodes().items() if n != "c@127.0.0.1"))
            assert s.event("mesh_unreached") == 4 and s.event("mesh_refused") == 0 and s.event("mesh_up") == 0
            for node, why in want.items():
                assert f"{node}: {why}" in s.stderr(), node
            first.close()
            second.close()


def answer(s, *words):
    r = s.ctl(*words, check=False)
    return r.returncode, r.stderr.strip()


def test_nodes_connect_and_disconnect():
    "An operator adds a node, sees it up, takes it out: it is not dialled any more, and may come by itself. What he mistypes is said."
    with Epmd() as epmd, Murre(epmd) as s, Erl("z@127.0.0.1", epmd.port, "net_kernel:monitor_nodes(true), "
                                               'F = fun F() -> receive {W, N} -> io:format("~p ~s~n", [W, N]), W =:= nodedown andalso net_adm:ping(N), F() end end, io:format("ready~n"), F().') as z:
        z.wait("ready")
        assert s.ctl("nodes", "connect", "z@127.0.0.1") == "z@127.0.0.1"
        assert z.wait("nodeup") == ME
        up(s, "z@127.0.0.1")
        assert s.nodes()["z@127.0.0.1"]["wanted"]
        assert s.ctl("nodes", "connect", "z@127.0.0.1") == "z@127.0.0.1"  # it is
        assert s.ctl("nodes", "disconnect", "z@127.0.0.1") == "z@127.0.0.1"
        assert z.wait("nodedown") == ME
        assert "z@127.0.0.1: this node ended it" in s.stderr()
        assert z.wait("nodeup") == ME  # by its own ping
        until("it is there, and not wanted", lambda: is_up(s, "z@127.0.0.1") and not s.nodes()["z@127.0.0.1"]["wanted"])
        for words, text in ((("connect", "z"), "'z' is not a node such as b@127.0.0.1"), (("connect", ME), "is this node itself"),
                            (("connect", "z@10.0.0.1"), "is not on a loopback address"), (("connect", "z@example.org"), "is not known to be on this machine"),
                            (("connect", "z@localhost"), "has a dot in its host"), (("disconnect", "y@127.0.0.1"), "is neither connected nor to be connected")):
            status, why = answer(s, "nodes", *words)
            assert status != 0 and text in why, (words, status, why)


def test_a_list_in_a_file():
    "node.seeds_file is taken as a whole when it has changed: who is in it is connected, who is not any more is only not dialled any more; what it cannot be is said."
    def write(text):
        with open(path + ".new", "w") as f:
            f.write(text)
        os.rename(path + ".new", path)

    def rewritten(text, event="mesh_seeds"):
        had = s.event(event)
        write(text)
        until(f"{text!r} is read", lambda: s.event(event) > had)

    with tempfile.TemporaryDirectory(prefix="murre-test-") as d, Epmd() as epmd:
        path = d + "/seeds"
        write("# of this cluster\n\na@127.0.0.1   # the first\r\n")
        with Murre(epmd, node__seeds_file=path) as s, Erl("a@127.0.0.1", epmd.port) as a, Erl("b@127.0.0.1", epmd.port) as b:
            assert a.wait("nodeup") == ME
            until("it is up", lambda: is_up(s, "a@127.0.0.1"))
            rewritten("a@127.0.0.1\nb@127.0.0.1")
            assert b.wait("nodeup") == ME
            until("it is up", lambda: is_up(s, "b@127.0.0.1"))
            both = {n: s.nodes()[n]["index"] for n in ("a@127.0.0.1", "b@127.0.0.1")}
            rewritten("b@127.0.0.1\n# nobody else\n")
            assert not s.nodes()["a@127.0.0.1"]["wanted"] and s.nodes()["b@127.0.0.1"]["wanted"]
            for text, why in (("b@127.0.0.1\n\nb\n", "node.seeds_file: line 3: 'b' is not a node such as"), ("b@10.0.0.1\n", "line 1: 'b@10.0.0.1' is not on a loopback address")):
                rewritten(text, "mesh_seeds_fail")
                until(s.stderr, lambda: why in s.stderr())
            had = s.event("mesh_seeds_fail")
            os.unlink(path)
            until("it is gone", lambda: s.event("mesh_seeds_fail") > had)
            until(s.stderr, lambda: "No such file or directory" in s.stderr())
            assert s.nodes()["b@127.0.0.1"]["wanted"]
            rewritten("a@127.0.0.1\nb@127.0.0.1\n")
            assert {n: s.nodes()[n]["index"] for n in both} == both and s.event("mesh_down") == 0


def test_names_that_stand_for_nodes():
    "node.dns: every address of a name is a node's host; one that is added is connected, one that is gone is not dialled any more."
    with rig.hosts("127.0.0.1 cluster.example\n127.0.0.1 other.example\n") as (path, prefix), Epmd() as epmd:
        with Murre(epmd, prefix=prefix, node__dns="a@cluster.example,b@none.example", node__dns_every="1s") as s, Erl("a@127.0.0.1", epmd.port) as a:
            assert a.wait("nodeup") == ME
            until("it is wanted", lambda: s.nodes()["a@127.0.0.1"]["wanted"] and set(s.nodes()) == {"a@127.0.0.1"})
            until(s.stderr, lambda: "b@none.example: there is no such host, or it has no address" in s.stderr())
            with open(path, "w") as f:
                f.write("127.0.0.2 cluster.example\n127.0.0.3 cluster.example\n")
            until(s.nodes, lambda: {n for n, r in s.nodes().items() if r["wanted"]} == {"a@127.0.0.2", "a@127.0.0.3"})
            assert is_up(s, "a@127.0.0.1")


def test_bad_seeds():
    "murre check and murre run refuse what cannot be dialled."
    good = ("cookie", rig.COOKIE + "\n", 0o600)
    for seeds, text in (("b@10.0.0.1", "node.seeds: 'b@10.0.0.1' is not on a loopback address"), ("b", "node.seeds: 'b' is not a node such as"),
                        (f"a@127.0.0.1,{ME}:9", "is this node itself"), ("b@other", "is not known to be on this machine")):
        refused(os.EX_CONFIG, text, files=[good], node__name=ME, node__cookie_file="DIR/cookie", node__epmd="off", node__seeds=seeds)
    for content, text in (("b@127.0.0.1\nb\n", "node.seeds_file: line 2: 'b' is not a node such as"), ("\n".join(f"n{i}@127.0.0.1" for i in range(4097)), "node.seeds_file: more than 4096 nodes"),
                          ("#" * (4 << 20) + "\n", "larger than 4194304 bytes")):
        refused(os.EX_CONFIG, text, files=[good, ("seeds", content, 0o644)], node__name=ME, node__cookie_file="DIR/cookie", node__epmd="off",
                node__seeds_file="DIR/seeds")
    refused(os.EX_CONFIG, "node.dns: 'b@127.0.0.1' is not a name to be looked up", files=[good], node__name=ME, node__cookie_file="DIR/cookie", node__epmd="off",
            node__dns="b@127.0.0.1")
    refused(os.EX_CONFIG, "node.dns: at most 30 names", files=[good], node__name=ME, node__cookie_file="DIR/cookie", node__epmd="off",
            node__dns=",".join(f"b@n{i}.example" for i in range(31)))
    refused(os.EX_NOINPUT, "No such file or directory", files=[good], node__name=ME, node__cookie_file="DIR/cookie", node__epmd="off", node__seeds_file="DIR/seeds")


if __name__ == "__main__":
    rig.main(sys.modules["__main__"])
