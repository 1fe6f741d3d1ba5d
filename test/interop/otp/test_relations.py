"""Links and monitors from actors of a murre node to processes of a real Erlang, and back: build/mesh-peer does what the shell tells it."""
import contextlib, os, sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import rig
from rig import Epmd, Erl, xmpp_rig

ME = "obey@127.0.0.1"
# P: a process that ends as it is told. Sync: all that was told the actor is done, and so is what it said of it.
BEGIN = """
N = 'obey@127.0.0.1', pong = net_adm:ping(N),
Tell = fun(Who, What) -> {Who, N} ! What end,
Sync = fun(Who) -> {Who, N} ! ping, receive pong -> ok end end,
Pid = fun(Who) -> {Who, N} ! self, receive {me, A} -> A end end,
New = fun() -> spawn(fun F() -> receive {die, Why} -> exit(Why); {'do', G} -> G(), F() end end) end,
Do = fun(P, G) -> Me = self(), P ! {'do', fun() -> G(), Me ! {did, P} end}, receive {did, P} -> ok end end,
Links = fun(P) -> {links, L} = process_info(P, links), L end,
Watchers = fun(P) -> {monitored_by, L} = process_info(P, monitored_by), L end,
Next = fun() -> receive {down, X} -> {down, X}; {exit, X} -> {exit, X}; {'DOWN', _, process, _, X} -> {'DOWN', X} after 0 -> none end end,
Get = fun() -> receive {down, X} -> {down, X}; {exit, X} -> {exit, X}; {'DOWN', _, process, _, X} -> {'DOWN', X} end end,
"""


@contextlib.contextmanager
def world():
    with Epmd() as epmd, rig.mesh_peer(epmd.port, ME) as m:
        m.wait("listening")
        xmpp_rig().until("registered", lambda: "obey" in rig.epmd_tool(epmd.port, "-names"))
        yield epmd
        m.proc.stdin.close()
        assert m.proc.wait(rig.LIMIT) == 0, m.all()


def said(code, name="a@127.0.0.1", more=()):
    with world() as epmd, Erl(name, epmd.port, BEGIN + code + " halt().", more=more) as e:
        return e.all()


def test_monitors():
    "An actor, on the connection's shard or another, hears with which term a process ends; noproc of one that is gone; nothing when it has taken it back."
    got = said("""
        [begin
            P = New(), Tell(Who, {monitor, P}), Sync(Who), true = Watchers(P) =:= [Pid(Who)],
            P ! {die, {oops, [1, "two", 3.5]}}, io:format("~p~n", [Get()]),
            Tell(Who, {monitor, P}), io:format("~p~n", [Get()]),
            Q = New(), Tell(Who, {monitor, Q}), Tell(Who, demonitor), Sync(Who), [] = Watchers(Q),
            Q ! {die, x}, Sync(Who), io:format("~p~n", [Next()])
         end || Who <- [a0, b0]],""")
    assert got == ["{down,{oops,[1,\"two\",3.5]}}", "{down,noproc}", "none"] * 2, got


def test_monitors_of_names():
    "By a registered name: with the reason of who had it; noproc when nobody has."
    got = said("""
        P = New(), register(shell_of_mine, P), Tell(b1, {monitor, shell_of_mine}), Sync(b1), exit(P, kill), io:format("~p~n", [Get()]),
        Tell(b1, {monitor, nobody_here}), io:format("~p~n", [Get()]),
        Q = New(), register(shell_of_mine, Q), Tell(a1, {monitor, shell_of_mine}), Tell(a1, demonitor), Sync(a1), [] = Watchers(Q),
        Q ! {die, x}, Sync(a1), io:format("~p~n", [Next()]),""")
    assert got == ["{down,killed}", "{down,noproc}", "none"], got


def test_links():
    "They end both ways with any term; kill is an order; unlink, from either side, ends the link and nothing else."
    got = said("""
        Tell(a0, {trap, true}), Tell(b0, {trap, true}),
        [begin
            P = New(), A = Pid(Who), Tell(Who, {link, P}), Sync(Who), [A] = Links(P), P ! {die, {why, "x"}}, io:format("~p~n", [Get()]),
            Tell(Who, {link, P}), io:format("~p~n", [Get()]),
            Q = New(), Do(Q, fun() -> link(A) end), Tell(Who, {unlink, Q}), Sync(Who), [] = Links(Q), Q ! {die, x}, Sync(Who), io:format("~p~n", [Next()]),
            R = New(), Tell(Who, {link, R}), Sync(Who), Do(R, fun() -> unlink(A) end), Sync(Who), R ! {die, x}, Sync(Who), io:format("~p~n", [Next()]),
            S = New(), monitor(process, S), Tell(Who, {exit, S}), io:format("~p~n", [Get()])
         end || Who <- [a0, b0]],
        [begin
            A = Pid(Who), monitor(process, A), P = New(), Tell(Who, {link, P}), Sync(Who), P ! {die, {deep, [P]}}, {'DOWN', {deep, [P]}} = Get(),
            B = Pid(Other), Q = New(), monitor(process, Q), Tell(Other, {link, Q}), Sync(Other), Tell(Other, {stop, shutdown}), io:format("~p~n", [Get()])
         end || {Who, Other} <- [{a2, a3}, {b2, b3}]],""")
    assert got == ["{exit,{why,\"x\"}}", "{exit,noproc}", "none", "none", "{'DOWN',killed}"] * 2 + ["{'DOWN',shutdown}"] * 2, got


def test_links_that_cross():
    "Both sides link and unlink as they like, hundreds of times; when all is quiet, both agree on whether they are linked."
    got = said("""
        Tell(a0, {trap, true}), Tell(b0, {trap, true}),
        Round = fun(Who, I) ->
            P = New(), A = Pid(Who), Me = self(),
            P ! {'do', fun() -> [case rand:uniform(2) of 1 -> link(A); 2 -> unlink(A) end || _ <- lists:seq(1, 300)] end},
            [Tell(Who, {case rand:uniform(2) of 1 -> link; 2 -> unlink end, P}) || _ <- lists:seq(1, 300)], Sync(Who),
            Do(P, fun() -> {Who, N} ! ping, receive pong -> ok end end), Sync(Who),
            Linked = lists:member(A, Links(P)), P ! {die, {bye, I}},
            case Linked of true -> {exit, {bye, I}} = Get(); false -> Sync(Who), none = Next() end, Me ! {linked, Linked}
        end,
        [Round(Who, I) || I <- lists:seq(1, 40), Who <- [a0, b0]],
        io:format("~p~n", [net_adm:ping(N)]),""")
    assert got == ["pong"], got


def test_the_connection_is_lost():
    "Every link and monitor ends with noconnection, however many; who comes back at once finds nothing left of the old connection."
    got = said("""
        P = New(), Actors = [a0, a1, b0, b1], [Tell(Who, {trap, true}) || Who <- Actors],
        [begin [Tell(Who, {monitor, P}) || _ <- lists:seq(1, 5000)], [Tell(Who, {link, New()}) || _ <- lists:seq(1, 500)], Tell(Who, {monitor, user}) end
         || Who <- Actors], [Sync(Who) || Who <- Actors],
        A = Pid(a5), Tell(a5, {link, New()}), Sync(a5), monitor(process, A),
        true = erlang:disconnect_node(N), io:format("~p~n", [Get()]), pong = net_adm:ping(N),
        [begin Tell(Who, lost), receive {lost, Count} -> io:format("~p~n", [Count]) end end || Who <- Actors],
        monitor(process, A), io:format("~p~n", [Get()]),
        [begin Tell(Who, {monitor, P}), Sync(Who) end || Who <- Actors], io:format("~p~n", [length(Watchers(P))]),
        P ! {die, now}, [{down, now} = Get() || _ <- Actors], [Sync(Who) || Who <- Actors], io:format("~p~n", [Next()]),""")
    assert got == ["{'DOWN',noconnection}"] + ["5501"] * 4 + ["{'DOWN',noproc}", "4", "none"], got


def test_a_node_dies():
    "Of a node that is killed each actor hears noconnection; its next life is another node."
    with world() as epmd:
        code = BEGIN + 'P = New(), register(target, P), [begin Tell(Who, {monitor, P}), Tell(Who, {monitor, target}), Sync(Who) end || Who <- [a0, b0]], io:format("set~n"), receive never -> ok end.'
        with Erl("t@127.0.0.1", epmd.port, code) as t:
            t.wait("set")
            t.kill()
        again = BEGIN + '[begin Tell(Who, lost), receive {lost, C} -> io:format("~p~n", [C]) end, register(target, New()), Tell(Who, {monitor, target}), Sync(Who), exit(whereis(target), kill), io:format("~p~n", [Get()]) end || Who <- [a0, b0]], halt().'
        with Erl("t@127.0.0.1", epmd.port, again) as t:
            assert t.all() == ["2", "{down,killed}"] * 2, t.seen


if __name__ == "__main__":
    rig.main(sys.modules["__main__"])
