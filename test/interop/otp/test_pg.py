"""Process groups: the scopes of a murre node and those of real Erlang nodes (kernel's pg) see each other's members, whoever comes and goes."""
import os, sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import rig
from rig import Epmd, Erl
from test_mesh import Murre, refused, xmpp, COOKIE, ME

# A node with scopes that does what it is told, a line of Erlang at a time, and says what came of it. N is the murre node, Kid() a new process,
# Wait(F) waits until F() is true. The bindings are in order, as erl_eval wants them.
PEER = """
N = list_to_atom("murre@127.0.0.1"),
%s
io:format("ready~n"),
Line = fun L(B) -> case io:get_line("") of eof -> halt(); S ->
    {ok, T, _} = erl_scan:string(S), {ok, E} = erl_parse:parse_exprs(T),
    {value, V, B1} = (try erl_eval:exprs(E, B) catch C:R -> {value, {C, R}, B} end), io:format("= ~0p~n", [V]), L(B1) end end,
Line([{'Kid', fun() -> spawn(fun() -> receive stop -> ok end end) end},
      {'N', N},
      {'Wait', fun(F) -> (fun W(K) -> case F() of true -> true; _ when K > 0 -> receive after 20 -> W(K - 1) end; X -> X end end)(1500) end}]).
"""


class Peer(Erl):
    """With `scopes` started (before it connects) and connected to the murre node, unless told otherwise."""

    def __init__(self, epmd, name="a@127.0.0.1", scopes=("pg",), ping=True, more=()):
        code = "".join(f"{{ok, _}} = pg:start({s})," for s in scopes) + ("pong = net_adm:ping(N)," if ping else "")
        super().__init__(name, epmd.port, PEER % code, COOKIE, more, reads=True)
        self.wait("ready")

    def does(self, code):
        self.proc.stdin.write((code + ".\n").encode())
        self.proc.stdin.flush()
        return self.wait("=")

    def sees(self, what):
        "Waits, on that node, until it holds."
        got = self.does(f"Wait(fun() -> {what} end)")
        assert got == "true", (what, got)


def members(s, group, scope="pg"):
    """Node -> how often its processes are in the group."""
    got = {}
    for r in s.ctl("pg", "list", scope, group):
        got[r["node"]] = got.get(r["node"], 0) + r["times"]
    return got


def shares(s):
    return {(r["scope"], r["node"]): r["members"] for r in s.ctl("pg", "list")}


def until_is(what, want, fn):
    xmpp.until(f"{what} is {want}", lambda: fn() == want)


def test_both_see_each_other():
    "pg:get_members(murre) has our net_kernel, and a monitor tells of it; what joins there is seen here, as often as it joins, until it has left as often."
    with Epmd() as epmd, Murre(epmd) as s, Peer(epmd, ping=False) as a:
        a.does("{R, []} = pg:monitor(murre)")
        assert a.does("net_adm:ping(N)") == "pong"
        assert a.does("receive {R, join, murre, [P]} -> node(P) end") == f"'{ME}'"
        assert a.does("[P] =:= pg:get_members(murre) andalso P =:= rpc:call(N, erlang, whereis, [net_kernel])") == "true"
        assert a.does("pg:get_local_members(murre)") == "[]"
        a.does("K = Kid(), pg:join(g, K), pg:join(g, [K, Kid()])")
        until_is("g", {"a@127.0.0.1": 3}, lambda: members(s, "g"))
        assert sorted(r["times"] for r in s.ctl("pg", "list", "pg", "g")) == [1, 2]
        assert shares(s) == {("pg", ME): 1, ("pg", "a@127.0.0.1"): 3}
        assert {r["group"]: (r["here"], r["elsewhere"]) for r in s.ctl("pg", "list", "pg")} == {"murre": (1, 0), "g": (0, 3)}
        a.does("pg:leave(g, K)")
        until_is("g", {"a@127.0.0.1": 2}, lambda: members(s, "g"))
        a.does("pg:leave(g, [K, hd(pg:get_members(g) -- [K])])")
        until_is("g", {}, lambda: members(s, "g"))
        assert [r["group"] for r in s.ctl("pg", "list", "pg")] == ["murre"]


def test_what_was_there_before():
    "Members that joined before the nodes met are seen after; groups of every kind of term."
    with Epmd() as epmd, Murre(epmd) as s, Peer(epmd, ping=False) as a:
        groups = ["a", "{room, 42}", '"text"', '<<"bytes">>', "#{k => [1, 2], j => 1}", "[]", "1.5", "-100000000000000000000", "{[], {}, #{}}", "'with space'"]
        a.does(f"L = [begin pg:join(G, Kid()), G end || G <- [{', '.join(groups)}]], ok")
        assert a.does("net_adm:ping(N)") == "pong"
        a.sees("length(pg:get_members(murre)) =:= 1")
        until_is("all", len(groups), lambda: shares(s).get(("pg", "a@127.0.0.1")))
        for g in groups:
            assert members(s, g) == {"a@127.0.0.1": 1}, g
        a.does("[pg:leave(G, P) || G <- L, P <- pg:get_local_members(G)], ok")
        until_is("all", 0, lambda: shares(s)[("pg", "a@127.0.0.1")])


def test_many_at_once():
    "A thousand processes join and leave a group, in lists and alone, many groups each, and nothing is left over."
    with Epmd() as epmd, Murre(epmd) as s, Peer(epmd) as a:
        a.does("Ks = [Kid() || _ <- lists:seq(1, 1000)], pg:join(g, Ks), [pg:join({g, I rem 50}, K) || {I, K} <- lists:zip(lists:seq(1, 1000), Ks)], ok")
        until_is("g", {"a@127.0.0.1": 1000}, lambda: members(s, "g"))
        until_is("{g,7}", {"a@127.0.0.1": 20}, lambda: members(s, "{g, 7}"))
        a.does("{H, T} = lists:split(500, Ks), pg:leave(g, H), [K ! stop || K <- T], ok")
        until_is("what is left", 500, lambda: shares(s)[("pg", "a@127.0.0.1")])
        assert members(s, "g") == {}
        a.does("[K ! stop || K <- H], ok")
        until_is("what is left", 0, lambda: shares(s)[("pg", "a@127.0.0.1")])
        assert [r["group"] for r in s.ctl("pg", "list", "pg")] == ["murre"]


def test_members_that_end():
    "One that is killed leaves all its groups, as often as it was in them; there and here."
    with Epmd() as epmd, Murre(epmd) as s, Peer(epmd) as a:
        a.does("K = Kid(), pg:join(g, [K, K, self()]), pg:join(h, K)")
        until_is("g", {"a@127.0.0.1": 3}, lambda: members(s, "g"))
        a.does("exit(K, kill)")
        until_is("g", {"a@127.0.0.1": 1}, lambda: members(s, "g"))
        until_is("h", {}, lambda: members(s, "h"))
        a.does("{R, [P]} = pg:monitor(murre)")
        pid = s.ctl("pg", "list", "pg", "murre")[0]["pid"]
        s.ctl("actor", "kill", pid, "net_kernel")
        assert a.does("receive {R, leave, murre, [P]} -> true end") == "true"
        assert a.does("receive {R, join, murre, [Q]} -> P =/= Q andalso [Q] =:= pg:get_members(murre) end") == "true"


def test_a_node_that_goes_and_comes_back():
    "Its members are gone with the connection, ours on its side too; all are there again after it; a node that is killed has left."
    with Epmd() as epmd, Murre(epmd) as s:
        with Peer(epmd) as a:
            a.does("pg:join(g, self())")
            for _ in range(3):
                until_is("g", {"a@127.0.0.1": 1}, lambda: members(s, "g"))
                assert a.does("erlang:disconnect_node(N)") == "true"
                a.sees("pg:get_members(murre) =:= []")
                until_is("g", {}, lambda: members(s, "g"))
                a.does("net_adm:ping(N)")
                a.sees("length(pg:get_members(murre)) =:= 1")
            until_is("g", {"a@127.0.0.1": 1}, lambda: members(s, "g"))
        until_is("g", {}, lambda: members(s, "g"))
        assert shares(s) == {("pg", ME): 1}


def test_a_scope_that_ends():
    "Of theirs: its members are gone, those of its successor come. Of ours: everything is there again."
    with Epmd() as epmd, Murre(epmd) as s, Peer(epmd) as a:
        a.does("K = Kid(), pg:join(g, K), pg:join(h, K)")
        until_is("g", {"a@127.0.0.1": 1}, lambda: members(s, "g"))
        a.does("O = whereis(pg), M = monitor(process, O), exit(O, kill), receive {'DOWN', M, _, _, _} -> ok end")
        until_is("what it had", {("pg", ME): 1}, lambda: shares(s))
        a.does("{ok, _} = pg:start(pg), pg:join(h, K)")
        until_is("h", {"a@127.0.0.1": 1}, lambda: members(s, "h"))
        assert members(s, "g") == {}
        a.sees("length(pg:get_members(murre)) =:= 1")
        s.ctl("actor", "kill", next(r["pid"] for r in s.ctl("actors") if r["class"] == "pg"), "pg")
        until_is("h", {"a@127.0.0.1": 1}, lambda: members(s, "h"))
        a.sees("length(pg:get_members(murre)) =:= 1")


def test_scopes_of_other_names():
    "Each knows what is in it and nothing of the others; one that a node does not have is not looked for in vain."
    with Epmd() as epmd, Murre(epmd, pg__scopes="pg,chat") as s, Peer(epmd, scopes=("chat", "elsewhere")) as a:
        a.does("pg:join(chat, g, self()), pg:join(elsewhere, g, self())")
        until_is("g", {"a@127.0.0.1": 1}, lambda: members(s, "g", "chat"))
        assert members(s, "g") == {} and shares(s) == {("pg", ME): 1, ("chat", ME): 0, ("chat", "a@127.0.0.1"): 1}
        assert a.does("pg:get_members(chat, murre)") == "[]"
        assert a.does("[is_pid(rpc:call(N, erlang, whereis, [X])) || X <- [pg, chat, elsewhere]]") == "[true,true,false]"
        assert a.does("erlang:send({chat, N}, {hello, self()}), exit(rpc:call(N, erlang, whereis, [chat]), kill), pg:join(chat, h, self())") == "ok"
        until_is("h", {"a@127.0.0.1": 1}, lambda: members(s, "h", "chat"))
        assert members(s, "g", "chat") == {"a@127.0.0.1": 1} # nobody ends it from there
    with Epmd() as epmd, Murre(epmd, pg__scopes="") as s, Peer(epmd) as a:
        assert a.does("rpc:call(N, erlang, whereis, [pg])") == "undefined" and s.ctl("pg", "list") == []


def test_three_nodes():
    "Two Erlang nodes and this one: each has the members of all, also when one is lost."
    with Epmd() as epmd, Murre(epmd) as s, Peer(epmd) as a:
        with Peer(epmd, "b@127.0.0.1") as b:
            a.does("net_adm:ping('b@127.0.0.1'), pg:join(g, self())")
            b.does("pg:join(g, [self(), self()])")
            until_is("g", {"a@127.0.0.1": 1, "b@127.0.0.1": 2}, lambda: members(s, "g"))
            for x in a, b:
                x.sees("length(pg:get_members(g)) =:= 3 andalso length(pg:get_members(murre)) =:= 1")
        until_is("g", {"a@127.0.0.1": 1}, lambda: members(s, "g"))
        a.sees("length(pg:get_members(g)) =:= 1 andalso length(pg:get_members(murre)) =:= 1")


def test_hidden_nodes():
    "As between Erlang nodes: nobody looks for the scope of a hidden one, or it for theirs."
    with Epmd() as epmd, Murre(epmd) as s, Peer(epmd, "h@127.0.0.1", more=("-hidden",)) as h, Peer(epmd) as a:
        h.does("pg:join(g, self()), pong = net_adm:ping(N)")
        a.does("pg:join(g, self())")
        until_is("g", {"a@127.0.0.1": 1}, lambda: members(s, "g"))
        assert "h@127.0.0.1" in s.nodes() and h.does("pg:get_members(murre)") == "[]" and shares(s) == {("pg", ME): 1, ("pg", "a@127.0.0.1"): 1}
    with Epmd() as epmd, Murre(epmd, node__hidden="true") as s, Peer(epmd) as a:
        a.does("pg:join(g, self()), pong = net_adm:ping(N)")
        assert a.does("pg:get_members(murre)") == "[]" and shares(s) == {("pg", ME): 1}


def test_murrectl():
    "What is no scope or no term is refused, with a sentence; scopes and groups are completed."
    with Epmd() as epmd, Murre(epmd, pg__scopes="pg,chat") as s:
        for words, want in ((("nothing",), "'nothing' is not a scope of process groups here (pg.scopes)"), (("pg", "{a"), "'{a' is not an Erlang term, as the name of a group is"),
                            (("pg", '<<"' + "x" * 5000 + '">>'), "is longer than a group's name can be")):
            status, out, err = typed(s, "pg", *words)
            assert status != 0 and want in err, (words, err)
        assert typed(s, "pg", "pg", "murre")[1].count(ME) == 1
        assert set(typed(s, "complete", "pg", "")[1].split()) >= {"pg", "chat"}
        assert typed(s, "complete", "pg", "pg", "m")[1].split() == ["murre"]
        assert members(s, "nobody") == {}


def typed(s, *words):
    r = rig.subprocess.run([rig.BUILD + "/murrectl", "--socket", s.dir + "/data/ctl.sock", *words], capture_output=True, text=True, timeout=rig.LIMIT)
    return r.returncode, r.stdout, r.stderr


def test_bad_settings():
    "Each says what is wrong, and the node does not start."
    good, both = ("cookie", COOKIE + "\n", 0o600), {"node__cookie_file": "DIR/cookie", "node__epmd": "off", "node__name": ME}
    refused(os.EX_CONFIG, "pg.scopes: 'pg' is there twice", files=[good], pg__scopes="pg,chat,pg", **both)
    refused(os.EX_CONFIG, "pg.scopes: 'net_kernel' is there twice, or is the name of a service of every node", files=[good], pg__scopes="net_kernel", **both)
    refused(os.EX_CONFIG, "cannot be an atom", files=[good], pg__scopes="x" * 256, **both)
    refused(os.EX_CONFIG, "pg.scopes: at most 64 names", files=[good], pg__scopes=",".join(f"s{i}" for i in range(65)), **both)


if __name__ == "__main__":
    rig.main(sys.modules["__main__"])
