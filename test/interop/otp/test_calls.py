"""What a node asks of others: murrectl ping, rpc and links, against real Erlang nodes and murre nodes."""
import json, os, sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import rig
from rig import Epmd, Erl, Lines, xmpp_rig
from test_mesh import Murre

xmpp = xmpp_rig()
A = "a@127.0.0.1"


def rpc(s, *words):
    return s.ctl("rpc", A, *words)


def refused(s, *words):
    "What murrectl says when it is refused."
    r = s.ctl(*words, check=False)
    assert r.returncode == 65, (words, r)
    assert json.loads(r.stdout)["ok"] is False, r.stdout
    return json.loads(r.stdout)["why"]


def test_rpc_of_every_kind_of_term():
    "It connects by itself; arguments go there and results come back as they are written."
    with Epmd() as epmd, Murre(epmd) as s, Erl(A, epmd.port) as a:
        a.wait("ready")
        assert rpc(s, "erlang", "node") == "'a@127.0.0.1'"
        assert rpc(s, "lists", "reverse", "[[1,two,\"three\",4.5,<<6,7:4>>,#{k => {v}},[h|t]]]") == "[[h|t],#{k => {v}},<<6,7:4>>,4.5,\"three\",two,1]"
        assert rpc(s, "erlang", "abs", "[-170141183460469231731687303715884105728]") == "170141183460469231731687303715884105728"
        assert rpc(s, "erlang", "+", "\"\\1\\2\"") == "3", "a string is a list of arguments"
        assert rpc(s, "unicode", "characters_to_list", "[<<208,150>>]") in ("[1046]", "\"Ж\""), rpc(s, "unicode", "characters_to_list", "[<<208,150>>]")
        assert rpc(s, "erlang", "throw", "[ball]") == "ball", "as rpc:call has it"
        assert rpc(s, "io", "format", "[\"dropped~n\"]") == "ok", "its group leader is here, and answers"
        assert rpc(s, "lists", "seq", "[1,3]", "60") == "[1,2,3]"
        assert len(rpc(s, "lists", "duplicate", "[300000,a]")) == 600001
        assert s.event("mesh_rpc") == 9, "each is told"


def test_rpc_that_fails():
    "Each way in which a function gives no value, and each thing that can be written wrongly, has its own sentence."
    with Epmd() as epmd, Murre(epmd) as s, Erl(A, epmd.port) as a:
        a.wait("ready")
        assert refused(s, "rpc", A, "no", "such", "[1]").startswith("the function failed: {'EXIT',{undef,[{no,such,[1],[]}")
        assert refused(s, "rpc", A, "erlang", "error", "[oops]").startswith("the function failed: {'EXIT',{oops,[")
        assert refused(s, "rpc", A, "erlang", "exit", "[{a,1}]") == "the function failed: {'EXIT',{a,1}}"
        assert refused(s, "rpc", A, "timer", "sleep", "[infinity]", "1") == "timed out"
        assert refused(s, "rpc", A, "lists", "seq", "[1,") == "the arguments are not an Erlang term: it ends too soon, after byte 3"
        assert refused(s, "rpc", A, "lists", "seq", "[1,2]]") == "the arguments are not an Erlang term: at byte 6, ']'"
        assert refused(s, "rpc", A, "lists", "seq", "[1,?x]") == "the arguments are not an Erlang term: at byte 4, '?x]'"
        assert refused(s, "rpc", A, "lists", "seq", "{1,2}") == "'{1,2}' is not a list of arguments, such as [1,two,\"three\"]"
        assert refused(s, "rpc", A, "lists", "seq", "[1|2]") == "'[1|2]' is not a list of arguments, such as [1,two,\"three\"]"
        assert refused(s, "rpc", A, "", "seq", "[]") == "'' is not the name of a module"
        assert refused(s, "rpc", A, "lists", "x" * 256, "[]").endswith("is not the name of a function")
        assert "nested too deep" in refused(s, "rpc", A, "lists", "seq", "[" * 1100 + "]" * 1100)
        assert "60" in refused(s, "rpc", A, "lists", "seq", "[]", "61")
        r = s.ctl("rpc", A, "lists", check=False)
        assert r.returncode == 64 and "rpc NODE MODULE FUNCTION [ARGS] [SECONDS]" in r.stderr + r.stdout, r


def test_ping():
    "pong from a node that is not connected, and from one that is; why not, for every reason."
    with Epmd() as epmd, Murre(epmd) as s:
        with Erl(A, epmd.port) as a:
            a.wait("ready")
            assert s.nodes() == {}
            assert s.ctl("ping", A)["answer"] == "pong"
            assert s.nodes()[A]["state"] == "up" and not s.nodes()[A]["wanted"], "it is connected, and not to be kept so"
            assert s.ctl("ping", A)["time_usec"] > 0
        xmpp.until("a is gone", lambda: s.nodes() == {})
        assert refused(s, "ping", A) == f"the port mapper at 127.0.0.1:{epmd.port}: it does not know the node"
        with Erl("b@127.0.0.1", epmd.port, cookie="ANOTHERCOOKIEOFTWENTYFOUR") as b:
            b.wait("ready")
            assert refused(s, "ping", "b@127.0.0.1").endswith("it closed the connection when it saw our proof: it has another cookie")
        assert refused(s, "ping", "nonsense") == "'nonsense' is not a node such as b@127.0.0.1, or b@127.0.0.1:9100 with its port"
        assert refused(s, "ping", "murre@127.0.0.1") == "'murre@127.0.0.1' is this node itself"
        assert "'c@192.0.2.1' is not on a loopback address" in refused(s, "ping", "c@192.0.2.1")
        why = refused(s, "ping", f"c@127.0.0.1:{rig.free_port()}")
        assert why.endswith(": refused"), why


def test_a_node_that_does_not_answer():
    "It is connected and stopped: the time is kept. It goes on, and what it answers late is dropped."
    with Epmd() as epmd, Murre(epmd) as s, Erl(A, epmd.port) as a:
        a.wait("ready")
        assert s.ctl("ping", A)["answer"] == "pong"
        os.kill(a.proc.pid, 19)
        try:
            assert refused(s, "ping", A, "1") == "timed out"
            assert refused(s, "rpc", A, "erlang", "node", "[]", "1") == "timed out"
        finally:
            os.kill(a.proc.pid, 18)
        assert rpc(s, "erlang", "node") == "'a@127.0.0.1'"
        assert [x["class"] for x in s.ctl("actors") if x["name"] == "murre_caller"] == ["mesh_caller"]


def test_links():
    "Per connection: bytes, messages and ticks both ways, what waits, links and monitors, TLS or not, age."
    with Epmd() as epmd, Murre(epmd, node__ticktime="4s") as s, Erl(A, epmd.port) as a:
        a.wait("ready")
        assert s.ctl("links") == []
        assert refused(s, "links", A) == f"'{A}' is not connected"
        s.ctl("ping", A)
        one = s.ctl("links", A)[0]
        assert s.ctl("links")[0]["node"] == A and one["tls"] is False and one["hidden"] is False and one["full"] is False, one
        assert one["in_bytes"] > 100 and one["out_bytes"] > 100 and one["in_messages"] > 0 and one["out_messages"] > 0, one
        rpc(s, "lists", "duplicate", "[100000,a]")
        two = s.ctl("links", A)[0]
        assert two["in_bytes"] > one["in_bytes"] + 100000 and two["age_usec"] > one["age_usec"] and two["waiting_bytes"] == two["queued"] == 0, two
        assert rpc(s, "erlang", "spawn", "[lists,seq,[1,2]]").startswith("<"), "a pid"
        xmpp.until("ticks", lambda: s.ctl("links", A)[0]["out_ticks"] > 0)
        text = s.ctl("links", A, check=False)
        assert text.returncode == 0


def test_between_murre_nodes():
    "A murre node answers as an Erlang one."
    with Epmd() as epmd, Murre(epmd) as s, Murre(epmd, "other@127.0.0.1"):
        assert s.ctl("ping", "other@127.0.0.1")["answer"] == "pong"
        assert s.ctl("rpc", "other@127.0.0.1", "erlang", "node") == "'other@127.0.0.1'"
        assert refused(s, "rpc", "other@127.0.0.1", "no", "such", "[1]") == "the function failed: {'EXIT',{undef,[{no,such,[1],[]}]}}"
        assert refused(s, "rpc", "other@127.0.0.1", "erlang", "node", "[1,2]").startswith("the function failed: {'EXIT',{undef")


if __name__ == "__main__":
    rig.main(sys.modules["__main__"])
