"""Names of the cluster (OTP's global) for actors of a murre node, as real Erlang nodes see them: build/mesh-peer does what the shell tells it."""
import contextlib, os, sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import rig
from rig import Epmd, Erl, xmpp_rig
from test_global import TOOLS
from test_mesh import ME as SERVER, Murre
from test_relations import ME

xmpp = xmpp_rig()
A, B = "a@127.0.0.1", "b@127.0.0.1"
HERE = "N = '%s', M = '%s'," % (ME, SERVER) + TOOLS + """
Tell = fun(Who, What) -> {Who, N} ! What end,
Ask = fun(Who, What) -> Tell(Who, What), receive {named, R} -> R; {whereis, R} -> R; {me, R} -> R end end,
"""


@contextlib.contextmanager
def peer(epmd):
    with rig.mesh_peer(epmd.port, ME) as m:
        m.wait("listening")
        xmpp.until("registered", lambda: "obey" in rig.epmd_tool(epmd.port, "-names"))
        yield m
        m.proc.stdin.close()
        assert m.proc.wait(rig.LIMIT) == 0, m.all()


def said(epmd, code, name=A):
    with Erl(name, epmd.port, HERE + code + " halt().") as e:
        return e.all()


NAMES = """Meet(B), Meet(N), Full([node(), B, N]), Where = fun(X) -> [global:whereis_name(X), rpc:call(B, global, whereis_name, [X]), Ask(b3, {whereis, X})] end,
X = {x, <<"name">>, #{k => 1.5}}, P0 = Ask(a0, self), P1 = Ask(b0, self),
P("~p ~p", [Ask(a0, {name, X}), Where(X) == [P0, P0, P0]]),
P("~p ~p ~p", [Ask(b0, {name, X}), global:register_name(X, self()), Where(X) == [P0, P0, P0]]),
global:send(X, ping), receive pong -> P("pong", []) end,
P("~p ~p", [Ask(b0, {rename, X}), Where(X) == [P1, P1, P1]]),
P("~p ~p ~p", [Ask(a0, {unname, X}), Ask(a0, {unname, X}), Where(X)]),
P("~p", [global:register_name(mine, self())]), P("~p", [Ask(b1, {whereis, mine}) == self()]),
Tell(b1, {say, mine}), receive hello -> P("hello", []) end, P("~p", [Ask(b1, {name, mine})]),
global:unregister_name(mine), P("~p ~p", [Ask(b1, {name, mine}), Ask(b2, {whereis, mine}) == Ask(b1, self)]),
Tell(b1, {stop, shutdown}), Wait(fun() -> Where(mine) == [undefined, undefined, undefined] end),
P("~p ~p", [Ask(a0, {name, left}), Ask(a1, {name, right})]), P("~p", [lists:sort(rpc:call(B, global, registered_names, []))]),
"""


def test_an_actor_has_a_name_on_every_node():
    "It gets a free one, not one that is taken, takes another's, gives it back, is sent to by it, and loses it when it ends; and finds those of Erlang processes."
    with Epmd() as epmd, peer(epmd), Erl(B, epmd.port) as b:
        b.wait("ready")
        got = said(epmd, NAMES)
        assert got == ["ok true", "exists no true", "pong", "ok true", "ok not_found [undefined,undefined,undefined]", "yes", "true", "hello", "exists",
                       "ok true", "ok ok", "[left,right]"], got


MANY = """Meet(B), Meet(N), Full([node(), B, N]), Me = self(),
[spawn(fun() -> Me ! {got, global:register_name({one, I}, self())}, receive never -> ok end end) || I <- lists:seq(1, 20)],
[spawn(fun() -> Me ! {got, rpc:call(B, global, register_name, [{one, I}, self()])}, receive never -> ok end end) || I <- lists:seq(1, 20)],
[Tell(Who, {name, {one, I}}) || {Who, I} <- lists:zip([a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, b0, b1, b2, b3, b4, b5, b6, b7, b8, b9], lists:seq(1, 20))],
Got = [receive {got, R} -> R; {named, R} -> R end || _ <- lists:seq(1, 60)],
P("~p", [length([R || R <- Got, R == yes orelse R == ok])]),
P("~p", [lists:all(fun(I) -> is_pid(global:whereis_name({one, I})) andalso global:whereis_name({one, I}) == rpc:call(B, global, whereis_name, [{one, I}])
    andalso global:whereis_name({one, I}) == Ask(a0, {whereis, {one, I}}) end, lists:seq(1, 20))]),
P("~p", [global:set_lock({global, self()}, [node(), B, N], 0)]),
"""


def test_of_all_who_want_a_name_at_once_one_gets_it():
    "Processes of two Erlang nodes and actors here: each name has one owner, the same everywhere, and the lock is free at the end."
    with Epmd() as epmd, peer(epmd), Erl(B, epmd.port) as b:
        b.wait("ready")
        got = said(epmd, MANY)
        assert got == ["20", "true", "true"], got


# The other part has the name x. It prints what becomes of its process.
OTHER = """P("ready", []), R = fun RR() -> receive C when element(1, C) == global_name_conflict -> P("told ~p", [setelement(size(C), C, x)]), RR() end end,
{X, Mon} = spawn_monitor(R), yes = global:register_name(x, X, fun global:%s/3), spawn(fun() -> io:get_line("named\n"), Meet(N) end), receive {'DOWN', Mon, _, _, Why} -> P("ended ~p", [Why]) end,
receive never -> ok end.
"""
# This one: x of an actor, in a part of its own with a, or met by the other node alone.
ACTOR = """Other = '%s', Meet(N), Full([node(), N]), ok = Ask(a0, {%s, x}), P0 = Ask(a0, self), Mon = erlang:monitor(process, P0),
%s, Full([node(), Other, N]),
Said = receive {told, C} -> {told, setelement(size(C), C, x)}; {'DOWN', Mon, _, _, Why} -> {ended, Why} after %s -> nothing end,
P("over ~p", [[Said | lists:usort([case rpc:call(X, global, whereis_name, [x]) of undefined -> none; O -> node(O) end || X <- [node(), Other]])]]),
Wait(fun() -> global:whereis_name(x) == Ask(a1, {whereis, x}) end), P("same true", []), io:get_line("done\n"),
"""


def go_on(p):
    p.proc.stdin.write(b"go\n")
    p.proc.stdin.flush()


def clash(other, resolver, how, direct):
    """What the actor heard and who has the name in the end; and what the other process heard. direct: the other node meets this one, else a."""
    hears = 0 if min(other, ME) == ME and how != "name_both" else "infinity"
    with Epmd() as epmd, peer(epmd), Erl(other, epmd.port, HERE + OTHER % resolver, reads=True) as o:
        o.wait("named")
        with Erl(A, epmd.port, HERE + ACTOR % (other, how, 'io:get_line("meet\\n")' if direct else "Meet(Other)", hears) + " halt().", reads=True) as a:
            if direct:
                a.wait("meet")
                go_on(o)
                go_on(a)
            over = a.wait("over")
            assert a.wait("same") == "true", a.seen
            if "ended" not in over and "told" not in over or "_both" in how:
                o.wait("ended" if resolver == "random_exit_name" else "told")
            go_on(a)
            a.all()
        return over, [s for s in o.seen if s.startswith(("ended", "told"))]


HOW = {"random_exit_name": "name", "random_notify_name": "name_notify", "notify_all_name": "name_both"}


def expected(other, resolver):
    keeps = min(other, ME)
    if resolver == "notify_all_name":
        return "[{told,{global_name_conflict,x,x}},none]", ["told {global_name_conflict,x,x}"]
    word = {"random_exit_name": "ended", "random_notify_name": "told"}[resolver]
    what = {"random_exit_name": "killed", "random_notify_name": "{global_name_conflict,x}"}[resolver]
    here, there = f"{{{word},{what}}}", f"{word} {what}"
    return (f"[nothing,'{keeps}']", [there]) if keeps == ME else (f"[{here},'{keeps}']", [])


def test_clashes_of_an_actor_and_a_process():
    "With each resolver, as loser and as winner; decided by an Erlang node that asks this one, by the other node, or here."
    for direct in (False, True):
        for other in ("c@127.0.0.1", "z@127.0.0.1"):
            for resolver, how in HOW.items():
                got = clash(other, resolver, how, direct)
                assert got == expected(other, resolver), (other, resolver, direct, got, expected(other, resolver))


def test_introduced_nodes_are_dialled():
    "Two murre nodes that know only the Erlang node between them connect with each other, and all three know all."
    with Epmd() as epmd, peer(epmd), Murre(epmd) as s:
        got = said(epmd, 'Meet(N), Full([node(), N]), Meet(M), Full([node(), N, M]), P("~p ~p", [Ask(a0, {name, x}), '
                         'gen_server:call({global_name_server, M}, get_known) -- [node(), N]]),')
        assert got == ["ok []"], got
        xmpp.until("they stay connected", lambda: ME in s.nodes())
        assert {r["name"]: r["node"] for r in s.ctl("global", "list")} == {"x": ME}


if __name__ == "__main__":
    rig.main(sys.modules["__main__"])
