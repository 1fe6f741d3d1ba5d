"""Two nodes of a cluster that serve one domain: one of them leaves the cluster. A real Erlang node sees what they say, and plays the other."""
import os, sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import rig
from rig import Epmd, Erl
from test_mesh import Murre, THERE, said, xmpp

# A node that says that it serves a domain, since a time relative to what the node that it connects to says of itself.
CLAIMS = THERE + """
register(murre_node, self()), pong = net_adm:ping(N), monitor_node(N, true),
receive {'$murre_node', 1, Since, Domains} -> io:format("heard ~p ~p~n", [Since > 1600000000000000, Domains]) end,
{murre_node, N} ! {'$murre_node', 1, Since + (%d), [<<"other.example">>, <<"%s">>]},
%s"""
UNTIL_DOWN = 'receive {nodedown, N} -> io:format("down~n") end, io:format("~p~n", [net_adm:ping(N)]), halt().'


def test_a_node_of_otp_is_not_disturbed():
    "It has no process of that name: it prints nothing, logs nothing, and stays connected."
    with Epmd() as epmd, Murre(epmd) as s:
        assert said(epmd, 'pong = net_adm:ping(N), pong = net_adm:ping(N), io:format("~p~n", [nodes()]),') == ["['murre@127.0.0.1']"]
        assert s.event("mesh_domain") == 0


def test_the_later_one_leaves():
    "It ends its connections, says why, takes none, and goes on serving its users; other nodes see it go, once."
    watch = THERE + 'pong = net_adm:ping(N), monitor_node(N, true), io:format("up~n"), receive {nodedown, N} -> io:format("down~n") end, receive never -> ok end.'
    with Epmd() as epmd, Murre(epmd) as s, Erl("a@127.0.0.1", epmd.port, watch) as a:
        a.wait("up")
        with Erl("b@127.0.0.1", epmd.port, CLAIMS % (-1, "localhost", UNTIL_DOWN)) as b:
            assert b.all() == ['heard true [<<"localhost">>]', "down", "pang"], b.seen
        a.wait("down")
        xmpp.until("nobody is connected", lambda: s.nodes() == {})
        assert s.event("mesh_domain") == 1
        line = next(x for x in s.stderr().splitlines() if "mesh_domain" in x)
        assert "b@127.0.0.1: it serves localhost too, and was started earlier: this node leaves the cluster" in line, line
        assert s.ctl("status")["cluster"] == {"node": "murre@127.0.0.1", "left": True}
        s.user("alice@localhost")
        assert said(epmd, 'io:format("~p~n", [net_adm:ping(N)]),', "c@127.0.0.1")[-1] == "pang"
        s.restart()
        xmpp.until("registered", s.registered)
        assert said(epmd, 'io:format("~p~n", [net_adm:ping(N)]),', "c@127.0.0.1") == ["pong"]


def test_the_earlier_one_stays():
    "It ends that one connection, and says why."
    with Epmd() as epmd, Murre(epmd) as s, Erl("a@127.0.0.1", epmd.port, THERE + 'pong = net_adm:ping(N), io:format("up~n"), receive never -> ok end.') as a:
        a.wait("up")
        with Erl("b@127.0.0.1", epmd.port, CLAIMS % (1, "localhost", 'receive {nodedown, N} -> io:format("down~n"), halt() end.')) as b:
            assert b.all() == ['heard true [<<"localhost">>]', "down"], b.seen
        assert s.event("mesh_domain") == 1 and "it leaves the cluster" in s.stderr()
        assert list(s.nodes()) == ["a@127.0.0.1"] and s.ctl("status")["cluster"]["left"] is False


def test_two_murre_nodes():
    "Both say the same: the one that was started later leaves, whichever of the two dials, and neither tries in a circle."
    for name in ("a@127.0.0.1", "z@127.0.0.1"):
        with Epmd() as epmd, Murre(epmd) as one, Murre(epmd, name=name, domains="localhost", node__seeds="murre@127.0.0.1") as two:
            xmpp.until("both have said it", lambda: one.event("mesh_domain") == 1 and two.event("mesh_domain") == 1)
            assert two.ctl("status")["cluster"]["left"] and not one.ctl("status")["cluster"]["left"]
            xmpp.until("it does not dial any more", lambda: "this node has left the cluster" in two.stderr())
            assert one.event("mesh_up") == two.event("mesh_up") == 1


def test_other_domains_and_none():
    "A node with other domains is no matter; one without the role messaging says nothing of itself."
    with Epmd() as epmd, Murre(epmd) as s:
        with Erl("b@127.0.0.1", epmd.port, CLAIMS % (-1, "localhost.example", 'io:format("~p~n", [rpc:call(N, erlang, node, [])]), halt().')) as b:
            assert b.all() == ['heard true [<<"localhost">>]', "'murre@127.0.0.1'"], b.seen
        assert s.event("mesh_domain") == 0
    with Epmd() as epmd, Murre(epmd, roles="") as s:
        code = ('register(murre_node, self()), pong = net_adm:ping(N), {murre_node, N} ! {\'$murre_node\', 1, 0, [<<"localhost">>]}, '
                'N = rpc:call(N, erlang, node, []), io:format("~p~n", [receive X -> X after 0 -> silent end]),')
        assert said(epmd, code) == ["silent"]
        assert s.event("mesh_domain") == 0


if __name__ == "__main__":
    rig.main(sys.modules["__main__"])
