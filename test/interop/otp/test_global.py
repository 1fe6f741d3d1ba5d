"""Names and locks of a cluster (OTP's global) with a murre node in it, seen by real Erlang nodes: they get what they get from a third node of
their own kind."""
import os, sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import rig
from rig import Epmd, Erl, xmpp_rig
from test_mesh import ME, THERE, Murre, said

xmpp = xmpp_rig()
A, B, Z = "a@127.0.0.1", "b@127.0.0.1", "z@127.0.0.1"

# What the code below uses. Wait: until something is so; it says what it saw if that never happens.
TOOLS = """
B = 'b@127.0.0.1',
P = fun(F, X) -> io:format(F ++ "~n", X) end,
Wait = fun(F) -> (fun W(0) -> P("never: ~p", [F()]), halt(1); W(K) -> case F() of true -> ok; _ -> timer:sleep(20), W(K - 1) end end)(2500) end,
Proc = fun() -> spawn(fun L() -> receive {global_name_conflict, C} -> group_leader() ! {conflict, C}, L(); stop -> ok; _ -> L() end end) end,
Known = fun(X) -> lists:sort(gen_server:call({global_name_server, X}, get_known)) end,
Meet = fun(X) -> pong = net_adm:ping(X) end,
Full = fun(Xs) -> Wait(fun() -> lists:all(fun(X) -> Known(X) == lists:sort(Xs -- [X]) end, Xs) end) end,
"""


def names(s):
    return {r["name"]: r["node"] for r in s.ctl("global", "list")}


def has(s, want):
    xmpp.until(f"names are {want}", lambda: names(s) == want)


def say(epmd, code, name=A, more=()):
    return said(epmd, TOOLS + code, name, more=more)


def test_the_peers_are_synced():
    "global:sync returns, and everybody knows everybody, though b was told of the node by nobody but global."
    with Epmd() as epmd, Murre(epmd), Erl(B, epmd.port) as b:
        b.wait("ready")
        got = say(epmd, 'Meet(B), Meet(N), Full([node(), B, N]), P("~p ~p ~p", [global:sync(), global:sync([N]), rpc:call(B, global, sync, [])]), '
                        'P("~p", [gen_server:call({global_name_server, N}, get_protocol_version)]), '
                        'P("~p", [gen_server:call({global_name_server, N}, {sync, [B]})]),')
        assert got == ["ok ok ok", "8", "ok"], got
        b.wait("nodeup " + ME)


REGISTER = """Meet(B), Meet(N), Full([node(), B, N]),
X = Proc(), Y = rpc:call(B, erlang, spawn, [timer, sleep, [infinity]]),
P("~p ~p", [global:register_name(x, X), rpc:call(B, global, register_name, [{y, <<"name">>, #{k => 1.5}}, Y])]),
P("~p ~p", [global:register_name(x, Proc()), global:register_name("x", Proc())]),
P("~p ~p", [rpc:call(B, global, whereis_name, [x]) == X, global:whereis_name({y, <<"name">>, #{k => 1.5}}) == Y]),
io:get_line("registered\\n"),
Z = Proc(), P("~p ~p", [global:re_register_name(x, Z), rpc:call(B, global, whereis_name, [x]) == Z]),
exit(Y, kill), global:unregister_name("x"), io:get_line("fewer\\n"),
exit(Z, kill), Wait(fun() -> rpc:call(B, global, whereis_name, [x]) == undefined end), P("~p", [global:registered_names()]), io:get_line("none\\n"),
"""


class Talk(Erl):
    """A node whose code waits at io:get_line, which shows its prompt: until tell()."""

    def __init__(self, name, epmd, code, more=()):
        super().__init__(name, epmd.port, THERE + TOOLS + code + " halt().", more=more, reads=True)

    def tell(self):
        self.proc.stdin.write(b"go\n")
        self.proc.stdin.flush()


def test_names_are_the_same_everywhere():
    "Registering, registering again, names that are taken, terms as names, unregistering and the death of a process, on all nodes at once."
    with Epmd() as epmd, Murre(epmd) as s, Erl(B, epmd.port) as b:
        b.wait("ready")
        with Talk(A, epmd, REGISTER) as a:
            for want in ("yes yes", "no yes", "true true"):
                assert a.line() == want, a.seen
            a.wait("registered")
            assert names(s) == {"x": A, '"x"': A, '{y,<<"name">>,#{k => 1.5}}': B}
            a.tell()
            assert a.wait("yes") == "true"
            a.wait("fewer")
            has(s, {"x": A})
            a.tell()
            assert a.wait("[") == "]"
            a.wait("none")
            has(s, {})
            a.tell()


LOCKS = """Meet(B), Meet(N), Full([node(), B, N]),
P("~p", [global:set_lock({r, 1}, [N], 0)]),
P("~p ~p", [rpc:call(B, global, set_lock, [{r, 2}, [N], 0]), rpc:call(B, global, set_lock, [{q, 2}, [N], 0])]),
global:del_lock({r, 1}, [N]), P("~p", [rpc:call(B, global, set_lock, [{r, 2}, [N], 0])]),
M = self(), H = spawn(fun() -> global:set_lock({h, self()}), M ! locked, receive stop -> ok end end), receive locked -> ok end,
P("~p", [global:set_lock({h, me}, [N], 0)]), exit(H, kill), Wait(fun() -> global:set_lock({h, me}, [N], 0) end),
P("~p", [global:trans({t, self()}, fun() -> done end)]),
C = self(), Count = ets:new(count, [public]), ets:insert(Count, {n, 0}),
[spawn(fun() -> [global:trans({c, self()}, fun() -> [{n, V}] = ets:lookup(Count, n), timer:sleep(1), ets:insert(Count, {n, V + 1}) end) || _ <- lists:seq(1, 5)], C ! done end)
 || _ <- lists:seq(1, 4)],
[receive done -> ok end || _ <- lists:seq(1, 4)], P("~p", [ets:lookup(Count, n)]),
"""


def test_locks_and_transactions():
    with Epmd() as epmd, Murre(epmd), Erl(B, epmd.port) as b:
        b.wait("ready")
        got = say(epmd, LOCKS)
        assert got == ["true", "false true", "true", "false", "done", "[{n,20}]"], got


def test_names_that_were_there_before():
    "A node that joins has the names of the others, and those of its other side get there through it."
    with Epmd() as epmd, Murre(epmd) as s, Erl(B, epmd.port, THERE + TOOLS + 'yes = global:register_name(y, Proc()), P("ready", []), '
                                              'receive never -> ok end.') as b:
        b.wait("ready")
        with Talk(A, epmd, "yes = global:register_name(x, Proc()), Meet(N), Full([node(), N]), io:get_line(\"joined\\n\"), Meet(B), "
                           "Full([node(), B, N]), P(\"~p\", [lists:sort(global:registered_names())]), io:get_line(\"all\\n\"),") as a:
            a.wait("joined")
            has(s, {"x": A})
            a.tell()
            assert a.wait("[") == "x,y]"
            has(s, {"x": A, "y": B})
            b.kill()
            has(s, {"x": A})


# The parts {a, N} and {the other}, both with the name x; then the other meets N.
CLASH = """R = fun RR() -> receive {global_name_conflict, x} -> P("told", []), RR(); {global_name_conflict, x, _} -> P("told of both", []), RR() end end,
X = spawn(R), erlang:monitor(process, X), yes = global:register_name(x, X, fun global:%s/3), P("ready", []),
%s
receive {'DOWN', _, _, X, Why} -> P("~p ~p", [Why, node(global:whereis_name(x))]) after 0 -> ok end,
"""


def clash(other, resolver, third):
    """Two parts with the name x meet by way of N: the lines of both, and who has the name there at the end."""
    with Epmd() as epmd, third(epmd) as s:
        meet = 'Meet(N), Full([node(), N]), P("joined", []), Wait(fun() -> length(nodes()) == 2 end), Full([node(), N | nodes() -- [N]]), timer:sleep(100),'
        with Erl(A, epmd.port, THERE + TOOLS + CLASH % (resolver, meet) + 'P("over ~p", [catch node(global:whereis_name(x))]), receive never -> ok end.') as a:
            a.wait("joined")
            then = "Meet(N), Full([node(), N, 'a@127.0.0.1']), timer:sleep(100),"
            with Talk(other, epmd, CLASH % (resolver, then) + 'P("over ~p", [catch node(global:whereis_name(x))]), io:get_line("done\\n"),') as b:
                b.wait("over")
                a.wait("over")
                there = names(s) if isinstance(s, Murre) else None
            said_of_x = lambda lines: sorted({x for x in lines if x.startswith(("over", "told", "killed"))})
            return said_of_x(a.seen), said_of_x(b.seen), there


def erlang_third(epmd):
    third = Erl(ME, epmd.port)
    third.wait("ready")
    return third


def test_clashes_are_resolved_as_among_erlang_nodes():
    "Whether the node with the lesser name is the one that comes or this one, which then asks the node whose process it is."
    for other in (B, Z):
        for resolver in ("random_exit_name", "random_notify_name", "notify_all_name"):
            with_us, without = clash(other, resolver, Murre), clash(other, resolver, erlang_third)
            assert with_us[:2] == without[:2], (other, resolver, with_us, without)
            assert with_us[2] in ({"x": A}, {}), with_us
            assert (with_us[2] == {}) == (resolver == "notify_all_name"), with_us


PART = """Meet(B), Meet(N), Full([node(), B, N]), yes = global:register_name(x, Proc()),
yes = rpc:call(B, global, register_name, [y, rpc:call(B, erlang, whereis, [kernel_sup])]),
erlang:disconnect_node(B),
Wait(fun() -> nodes() == [] orelse (nodes() == [N] andalso (catch Known(N)) == [node()]) end), P("~p", [global:registered_names()]), io:get_line("parted\\n"),
Meet(N), Meet(B), Full([node(), B, N]), P("~p", [lists:sort(global:registered_names())]), io:get_line("met\\n"),
"""


def test_partitions_do_not_overlap():
    "A connection is lost between two others: nobody stays connected to both, and when they have met again all is as before."
    with Epmd() as epmd, Murre(epmd) as s, Erl(B, epmd.port) as b:
        b.wait("ready")
        with Talk(A, epmd, PART) as a:
            a.wait("parted")
            b.wait("nodedown " + A)
            xmpp.until("it is connected to one at most", lambda: len(s.nodes()) < 2)
            assert s.event("global_parted") > 0
            assert "[x]" in a.seen
            xmpp.until("it has the names of that one", lambda: names(s) == {n: of for n, of in {"x": A, "y": B}.items() if of in s.nodes()})
            a.tell()
            a.wait("met")
            assert "[x,y]" in a.seen
            has(s, {"x": A, "y": B})
            a.tell()


def test_a_node_that_ends():
    "Of a node that is killed, the names and locks go, and nobody else is parted."
    with Epmd() as epmd, Murre(epmd) as s:
        with Erl(B, epmd.port) as b:
            b.wait("ready")
            with Talk(A, epmd, 'Meet(B), Meet(N), Full([node(), B, N]), yes = global:register_name(x, Proc()), '
                               'yes = rpc:call(B, global, register_name, [y, rpc:call(B, erlang, whereis, [kernel_sup])]), '
                               'io:get_line("set\\n"), Full([node(), N]), P("~p ~p", [global:registered_names(), nodes()]), '
                               'P("~p", [global:register_name(z, Proc())]), io:get_line("gone\\n"),') as a:
                a.wait("set")
                has(s, {"x": A, "y": B})
                b.kill()
                has(s, {"x": A})
                a.tell()
                assert a.wait("[x]") == f"['{ME}']"
                assert a.line() == "yes"
                a.wait("gone")
                has(s, {"x": A, "z": A})
                a.tell()
        has(s, {})


def test_this_node_ends_and_comes_back():
    "Nobody waits for a node that is gone, not in the middle of registering either; when it is back it has the names."
    with Epmd() as epmd, Erl(B, epmd.port) as b:
        b.wait("ready")
        with Murre(epmd) as s:
            a = Talk(A, epmd, 'Meet(B), Meet(N), Full([node(), B, N]), '
                              'spawn(fun F() -> global:register_name(w, self()), global:unregister_name(w), F() end), io:get_line("busy\\n"), '
                              'Full([node(), B]), yes = global:register_name(x, Proc()), io:get_line("alone\\n"), '
                              'Meet(N), Full([node(), B, N]), io:get_line("back\\n"),')
            a.wait("busy")
            s.proc.kill()
            a.tell()
            a.wait("alone")
        with Murre(epmd) as s, a:
            a.tell()
            a.wait("back")
            xmpp.until("it has x", lambda: names(s).get("x") == A)
            a.tell()


def test_a_hidden_node_takes_no_part():
    with Epmd() as epmd, Murre(epmd, node__hidden="true") as s:
        got = say(epmd, 'Meet(N), P("~p ~p ~p", [global:sync(), global:register_name(x, Proc()), Known(node())]),')
        assert got == ["ok yes []"], got
        assert names(s) == {}


if __name__ == "__main__":
    rig.main(sys.modules["__main__"])
