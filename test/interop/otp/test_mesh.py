"""A murre node in an Erlang cluster, seen by real Erlang nodes: ping, nodes(), monitors, rpc, ticks, take-over, refusals, and the settings node.*."""
import os, re, socket, subprocess, sys, tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import rig
from rig import COOKIE, Epmd, Erl, xmpp_rig

xmpp = xmpp_rig()
ME = "murre@127.0.0.1"
THERE = "N = list_to_atom(\"murre@127.0.0.1\"), "


class Murre(xmpp.Server):
    """A node. Two that are not ME do not get into each other's way: the domain is then the name's."""

    def __init__(self, epmd, name=ME, cookie=COOKIE, prefix=(), **settings):
        base = {"xmpp.listen": "127.0.0.1:0", "xmpp.tls_listen": "", "node.name": name, "shards": "2", "log.level": "info"}
        if name != ME:
            base["domains"] = name.split("@")[0] + ".example"
        base.update({k.replace("__", "."): v for k, v in settings.items()})
        if epmd:
            base["node.epmd_port"] = str(epmd.port)
        super().__init__(base, prefix=prefix)
        path = self.dir + "/cookie"
        with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "w") as f:
            f.write(cookie + "\n")
        self.settings.setdefault("node.cookie_file", path)

    def nodes(self):
        return {r["node"]: r for r in self.ctl("nodes", "list")}

    def event(self, name):
        return next((e["count"] for e in self.ctl("events") if e["event"] == name), 0)

    def registered(self):
        return self.event("epmd_registered") > 0

    def __enter__(self):
        super().__enter__()
        try:
            if "node.epmd_port" in self.settings and self.settings.get("node.epmd") != "off":
                xmpp.until("registered", self.registered)
        except BaseException:
            self.__exit__()
            raise
        return self


def said(epmd, code, name="a@127.0.0.1", cookie=COOKIE, more=()):
    """The lines that a real node prints when it evaluates code."""
    with Erl(name, epmd.port, THERE + code + " halt().", cookie, more) as e:
        return e.all()


def test_ping_and_nodes():
    "net_adm:ping says pong, nodes() has the node, and both sides agree on who is connected."
    with Epmd() as epmd, Murre(epmd) as s, Erl("a@127.0.0.1", epmd.port) as a:
        a.wait("ready")
        assert said(epmd, 'io:format("~p ~p~n", [net_adm:ping(N), lists:member(N, nodes())]),', "b@127.0.0.1") == ["pong true"]
        assert s.ctl("status")["sessions"] == 0, "nodes are no clients"
        xmpp.until("b is gone", lambda: s.nodes() == {})
        assert s.event("mesh_up") == 1 and s.event("mesh_down") == 1


def test_a_hidden_node_is_hidden():
    with Epmd() as epmd, Murre(epmd, node__hidden="true"):
        assert said(epmd, 'io:format("~p ~p ~p~n", [net_adm:ping(N), nodes(), nodes(hidden)]),') == ["pong [] ['murre@127.0.0.1']"]


def test_monitors_of_names_and_their_absence():
    "A monitor of a name that is not there fires at once; one of net_kernel when the node ends, with noconnection."
    with Epmd() as epmd, Murre(epmd) as s:
        got = said(epmd, 'R = monitor(process, {nobody, N}), receive {\'DOWN\', R, process, W, Why} -> io:format("~p ~p~n", [W, Why]) end, '
                         'io:format("~p~n", [catch gen_server:call({nobody, N}, x, 5000)]),')
        assert got == ["{nobody,'murre@127.0.0.1'} noproc", "{'EXIT',{noproc,{gen_server,call,[{nobody,'murre@127.0.0.1'},x,5000]}}}"], got
        code = ('R = monitor(process, {net_kernel, N}), pong = net_adm:ping(N), io:format("watching~n"), '
                'receive {\'DOWN\', R, process, W, Why} -> io:format("~p ~p~n", [W, Why]) end,')
        with Erl("b@127.0.0.1", epmd.port, THERE + code + " halt().") as b:
            b.wait("watching")
            s.proc.kill()
            assert b.wait("{net_kernel") == ",'murre@127.0.0.1'} noconnection"


def test_a_service_does_not_end_because_a_peer_says_so():
    "exit(P, kill), and a process that is linked to net_kernel and ends, leave it as it was; a pid that is not there answers noproc."
    with Epmd() as epmd, Murre(epmd):
        got = said(epmd, 'P = rpc:call(N, erlang, whereis, [net_kernel]), exit(P, kill), exit(P, shutdown), '
                         '{X, R} = spawn_monitor(fun() -> link(P), pong = net_adm:ping(N), exit(oops) end), receive {\'DOWN\', R, process, X, oops} -> ok end, '
                         'io:format("~p ~p~n", [rpc:call(N, erlang, whereis, [net_kernel]) =:= P, net_adm:ping(N)]), '
                         'process_flag(trap_exit, true), link(P), unlink(P), '
                         'Q = binary_to_term(iolist_to_binary(string:replace(term_to_binary(P), <<0, 0, 0, 1>>, <<0, 0, 3, 1>>))), '
                         'M = monitor(process, Q), receive {\'DOWN\', M, process, Q, Why} -> io:format("~p~n", [Why]) end,')
        assert got == ["true pong", "noproc"], got


def test_what_is_not_a_service_is_not_there():
    "Pids made up of partitions, stores and the edge: each answers noproc, and kill ends none of them."
    with Epmd() as epmd, Murre(epmd) as s:
        mine = {a["pid"] for a in s.ctl("actors") if a["class"] in ("part", "store_log", "store_keyed", "edge", "listener", "sup")}
        assert len(mine) > 10, mine
        parts = [[int(n) for n in pid.strip("<>").split(".")[1:]] for pid in mine]  # shard, index, generation
        slots = ", ".join(f"{{{shard << 24 | index}, {generation}}}" for shard, index, generation in parts)
        got = said(epmd, f"""
            P = rpc:call(N, erlang, whereis, [net_kernel]), T = term_to_binary(P), Name = binary_part(T, 2, byte_size(T) - 14),
            Creation = binary_part(T, byte_size(T), -4),
            Pid = fun({{Id, Serial}}) -> binary_to_term(<<131, 88, Name/binary, Id:32, Serial:32, Creation/binary>>) end,
            [begin X ! hello, exit(X, kill), M = monitor(process, X), receive {{'DOWN', M, process, X, Why}} -> io:format("~p~n", [Why]) end end
             || X <- lists:map(Pid, [{slots}])],
            io:format("~p~n", [net_adm:ping(N)]),""")
        assert got == ["noproc"] * len(mine) + ["pong"], got
        assert mine <= {a["pid"] for a in s.ctl("actors")}


def test_rpc_and_erpc():
    "Values, undef as OTP has it, badarg, casts, what cannot be spawned; the process that answered is gone afterwards."
    with Epmd() as epmd, Murre(epmd):
        got = said(epmd, """
            io:format("~p~n", [rpc:call(N, erlang, node, [])]),
            io:format("~p~n", [rpc:call(N, erlang, nodes, []) =:= [node()]]),
            io:format("~p~n", [erpc:call(N, erlang, is_alive, [])]),
            io:format("~p~n", [rpc:call(N, no, such, [1, a])]),
            io:format("~p~n", [try erpc:call(N, no, such, [[$h]]) catch C:E -> {C, E} end]),
            io:format("~p~n", [rpc:call(N, erlang, whereis, [1])]),
            io:format("~p~n", [rpc:call(N, erlang, whereis, [nobody])]),
            io:format("~p~n", [node(rpc:call(N, erlang, whereis, [net_kernel]))]),
            io:format("~p ~p~n", [rpc:cast(N, erlang, node, []), erpc:cast(N, no, such, [])]),
            io:format("~p~n", [length([1 || _ <- lists:seq(1, 2000), rpc:call(N, erlang, node, []) =:= N])]),
            io:format("~p~n", [erpc:multicall([N, node()], erlang, node, [])]),
            {P, R} = spawn_monitor(fun() -> link(spawn(N, fun() -> ok end)), receive never -> ok end end),
            receive {'DOWN', R, process, P, Why} -> io:format("~p~n", [Why]) end,
            io:format("~p~n", [net_adm:ping(N)]),""")
        want = ["'murre@127.0.0.1'", "true", "true", "{badrpc,{'EXIT',{undef,[{no,such,[1,a],[]}]}}}", '{error,{exception,undef,[{no,such,["h"],[]}]}}',
                None, "undefined", "'murre@127.0.0.1'", "true ok", "2000", "[{ok,'murre@127.0.0.1'},{ok,'a@127.0.0.1'}]"]
        assert [g for g, w in zip(got, want) if w is not None and g != w] == [], got
        assert "badarg" in got[5] and got[-1] == "pong", got
        assert any("noproc" in g or "notsup" in g for g in got[len(want):-1]), got


def test_wrong_cookie():
    "Either side finds out; nothing is connected, and the log says why."
    with Epmd() as epmd, Murre(epmd) as s:
        assert said(epmd, 'io:format("~p~n", [net_adm:ping(N)]),', cookie="ABCDEFGHIJKLMNOPQRST")[-1] == "pang"
        xmpp.until("it was refused", lambda: s.event("mesh_refused") > 0)
        assert s.nodes() == {}


def test_take_over():
    "A node of the same name that knows the cookie takes the place of one that is not gone yet, with a number of its own."
    with Epmd() as epmd, Murre(epmd) as s:
        port = int(re.search(r"port (\d+)", rig.epmd_tool(epmd.port, "-names").split("murre")[1])[1])
        with rig.peer("dial", own="x@127.0.0.1", peer=ME, port=port) as one:
            first = xmpp.until("the first is up", lambda: s.nodes().get("x@127.0.0.1"))
            with rig.peer("dial", own="x@127.0.0.1", peer=ME, port=port, creation=77777) as two:
                second = xmpp.until("the second is up", lambda: (lambda n: n if n and n["creation"] != first["creation"] else None)(s.nodes().get("x@127.0.0.1")))
                assert second["index"] != first["index"]
                assert s.event("mesh_down") == 1 and s.event("mesh_up") == 2


def test_ticks_keep_a_silent_connection():
    "An idle connection lives on past the ticktime, because both sides tick: four times in it, and each tick is heard."
    with Epmd() as epmd, Murre(epmd, node__ticktime="3s"):
        got = said(epmd, """
            pong = net_adm:ping(N), monitor_node(N, true), {N, Socket} = lists:keyfind(N, 1, erlang:system_info(dist_ctrl)),
            Heard = fun() -> {ok, [{recv_cnt, C}]} = inet:getstat(Socket, [recv_cnt]), C end, First = Heard(),
            Wait = fun W() -> case Heard() - First of C when C > 5 -> ok; _ -> receive {nodedown, N} -> io:format("down~n") after 50 -> W() end end end,
            Wait(), io:format("~p~n", [nodes()]),""", more=("-kernel", "net_ticktime", "3"))
        assert got == ["['murre@127.0.0.1']"], got


def test_handshakes_that_do_not_end():
    "Past node.handshakes_max a connection is closed at once, and told as such; when one has ended there is room again."
    with Epmd() as epmd, Murre(epmd, node__handshakes_max="1") as s:
        port = int(re.search(r"port (\d+)", rig.epmd_tool(epmd.port, "-names").split("murre")[1])[1])
        with socket.create_connection(("127.0.0.1", port), rig.LIMIT):
            xmpp.until("it was accepted", lambda: s.event("mesh_accept") == 1)
            with socket.create_connection(("127.0.0.1", port), rig.LIMIT) as second:
                assert second.recv(1) == b""
            assert s.event("mesh_crowded") == 1
        xmpp.until("the first has ended", lambda: s.event("mesh_refused") == 1)
        assert said(epmd, 'io:format("~p~n", [net_adm:ping(N)]),') == ["pong"]


def test_epmd_goes():
    "Without its port mapper the node runs on and says so once; those who are connected stay so."
    with Epmd() as epmd, Murre(epmd) as s, Erl("a@127.0.0.1", epmd.port, THERE + 'pong = net_adm:ping(N), io:format("up~n"), receive never -> ok end.') as a:
        a.wait("up")
        epmd.kill()
        xmpp.until("it says that there is none", lambda: s.event("epmd_lost") == 1)
        assert list(s.nodes()) == ["a@127.0.0.1"]


def refused(status, text, files=(), commands=("check", "run"), **settings):
    """That murre check and murre run say text and end with that status of sysexits(3)."""
    with tempfile.TemporaryDirectory(prefix="murre-test-") as d:
        for name, content, mode in files:
            with open(os.open(d + "/" + name, os.O_CREAT | os.O_WRONLY, mode), "w") as f:
                f.write(content)
            os.chmod(d + "/" + name, mode)
        args = ["--set", f"data={d}/data", "--set", "xmpp.listen=127.0.0.1:0", "--set", "xmpp.tls_listen="]
        for k, v in settings.items():
            args += ["--set", k.replace("__", ".") + "=" + v.replace("DIR", d)]
        for command in commands:
            r = subprocess.run([xmpp.BUILD + "/murre", command] + args, capture_output=True, text=True, timeout=xmpp.LIMIT)
            assert r.returncode == status and text in r.stderr, (command, r.returncode, r.stderr)


def test_bad_settings():
    "Each says what is wrong, as murre check does, and the node does not start."
    good = ("cookie", COOKIE + "\n", 0o600)
    both = {"node__cookie_file": "DIR/cookie", "node__epmd": "off"}
    refused(os.EX_CONFIG, "'murre' is not a name", files=[good], node__name="murre", **both)
    refused(os.EX_CONFIG, "'a b@c' is not a name", files=[good], node__name="a b@c", **both)
    refused(os.EX_CONFIG, "needs the cookie of its cluster", node__name=ME)
    refused(os.EX_NOINPUT, "cannot be read", node__name=ME, node__cookie_file="DIR/none")
    refused(os.EX_NOPERM, "can be read by others: chmod 600", files=[("cookie", COOKIE, 0o644)], node__name=ME, **both)
    refused(os.EX_CONFIG, "bits; at least 90 are wanted", files=[("cookie", "monster", 0o600)], node__name=ME, **both)
    refused(os.EX_CONFIG, "is not one line of printable ASCII", files=[("cookie", "two\nlines\n", 0o600)], node__name=ME, **both)
    refused(os.EX_CONFIG, "is not loopback, so nodes speak TLS there: set node.tls.cert", files=[good], node__name=ME, node__listen="0.0.0.0:0", **both)
    refused(os.EX_CONFIG, "is not an address", files=[good], node__name=ME, node__listen="here", **both)
    refused(os.EX_CONFIG, "listens somewhere", files=[good], node__name=ME, node__listen="", **both)
    refused(os.EX_CONFIG, "on, off or embedded, not 'perhaps'", files=[good], node__name=ME, node__cookie_file="DIR/cookie", node__epmd="perhaps")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        refused(os.EX_UNAVAILABLE, "cannot listen on", files=[good], commands=["run"], node__name=ME,
                node__listen=f"127.0.0.1:{taken.getsockname()[1]}", **both)


if __name__ == "__main__":
    rig.main(sys.modules["__main__"])
