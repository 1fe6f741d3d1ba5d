"""The handshake and the port mapper of src/proto/dist against a real Erlang: both roles, every answer that a real node gives, and a wrong
cookie both ways; our client against a real epmd, real nodes and epmd's own commands against our server."""
import os, re, sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from rig import *

OURS = "murre@127.0.0.1"
OFFERED = {23: 0x101df7fbd, 25: 0xd07df7fbd, 27: 0xd07df7fbd, 29: 0x6d07df7fbd}[OTP]  # the flags of a node of that release
CONNECT = """
R = net_kernel:connect_node('%s'),
io:format("connect ~p nodes ~p hidden ~p self ~s~n", [R, nodes(), nodes(hidden), node()]),
%s
"""
HALT = "halt()."
STAY = "receive never -> ok end."


def connect(name, epmd, then=HALT, to=OURS, **more):
    return Erl(name, epmd.port, CONNECT % (to, then), **more)


class Ours:
    """dist-peer as acceptor, registered with epmd through our own client."""

    def __init__(self, epmd, own=OURS, **keys):
        self.at = peer("accept", own=own, **keys)
        self.port = int(self.at.wait("listening"))
        self.name = peer("register", epmd=epmd.port, name=own.split("@")[0], port=self.port)
        self.creation = int(self.name.wait("registered"))

    def __enter__(self):
        return self.at

    def __exit__(self, *_):
        self.at.__exit__()
        self.name.__exit__()


def dial(erl_name, epmd, **keys):
    with peer("lookup", epmd=epmd.port, name=erl_name.split("@")[0]) as l:
        port = l.wait("found").split()[1]
    return peer("dial", **dict({"own": OURS, "peer": erl_name, "port": port}, **keys))


def test_a_real_node_connects_to_us():
    """As acceptor: an unmodified node dials us through a real epmd, and takes us for a visible node of its own."""
    with Epmd() as epmd:
        for step in (4096, 1):
            with Ours(epmd, step=step) as us, connect("a@127.0.0.1", epmd, STAY) as erl:
                assert us.wait("peer") == "a@127.0.0.1"
                assert int(us.wait("flags"), 0) & OFFERED == OFFERED
                assert us.wait("up") == "a@127.0.0.1"
                assert int(us.wait("common"), 0) & OFFERED == OFFERED
                assert us.wait("creation").split()[1] == "4711"
                assert erl.wait("connect") == f"true nodes ['{OURS}'] hidden [] self a@127.0.0.1"
                erl.kill()
                us.wait("closed")


def test_we_connect_to_a_real_node():
    """As dialler: the node sees us come and go, and a node that asks for it sees us hidden."""
    with Epmd() as epmd, Erl("b@127.0.0.1", epmd.port) as erl:
        erl.wait("ready")
        for keys in ({}, {"step": 1}, {"without": 1}):
            with dial("b@127.0.0.1", epmd, **keys) as us:
                us.wait("flags")
                assert us.wait("up") == "b@127.0.0.1"
                common = int(us.wait("common"), 0)
                assert common == OFFERED & ~keys.get("without", 0), hex(common)
                assert int(us.wait("creation").split()[0]) > 3
                assert erl.wait("nodeup") == OURS
                us.kill()
                assert erl.wait("nodedown") == OURS


def test_a_wrong_cookie_fails_both_ways():
    """Who does not know the cookie is closed, by us and by a real node; and a right one is let in by the same acceptor after it."""
    with Epmd() as epmd:
        with Ours(epmd) as us:
            with connect("a@127.0.0.1", epmd, cookie="WRONG") as erl:
                assert us.wait("end").startswith("COOKIE")
                assert erl.wait("connect") == "false nodes [] hidden [] self a@127.0.0.1"
            with connect("c@127.0.0.1", epmd) as erl:
                assert us.wait("up") == "c@127.0.0.1"
        with Erl("b@127.0.0.1", epmd.port) as erl:
            erl.wait("ready")
            with dial("b@127.0.0.1", epmd, cookie="WRONG") as us:
                seen = us.all()
                assert seen[-1] == "closed" and not any(l.startswith("up") for l in seen), seen
            with dial("b@127.0.0.1", epmd) as us:
                us.wait("up")


def test_a_real_node_refuses_what_lacks_capabilities():
    """not_allowed, as a status; and we refuse with the same word."""
    with Epmd() as epmd, Erl("b@127.0.0.1", epmd.port) as erl:
        erl.wait("ready")
        with dial("b@127.0.0.1", epmd, without=hex(0x4000000 | 0x10000)) as us:
            assert us.wait("end").startswith("NOT_ALLOWED")
        with Ours(epmd, verdict=3) as us, connect("a@127.0.0.1", epmd) as erl:
            assert us.wait("end").startswith("WE_DO_NOT_ALLOW")
            assert erl.wait("connect").startswith("false")


def test_the_digest_of_mandatory_flags_alone_is_enough():
    """A peer that sends only MANDATORY_25_DIGEST of them is let in by a real OTP 25 and later, as by us; 23 does not know that flag."""
    with Epmd() as epmd, Erl("b@127.0.0.1", epmd.port) as erl:
        erl.wait("ready")
        with dial("b@127.0.0.1", epmd, without=hex(0x1070f94), step=3) as us:
            if OTP < 25:
                assert us.wait("end").startswith("NOT_ALLOWED")
            else:
                us.wait("up")


def test_a_connection_that_is_up_is_taken_over():
    """alive: the node's old connection ends, and only then comes its ack; and a real node that we tell alive goes on too. 23 does not end the old
    connection itself, but waits until it is lost."""
    with Epmd() as epmd, Erl("b@127.0.0.1", epmd.port) as erl:
        erl.wait("ready")
        with dial("b@127.0.0.1", epmd) as first:
            first.wait("up")
            with dial("b@127.0.0.1", epmd) as second:
                second.wait("alive")
                if OTP < 25:
                    first.kill()
                assert second.wait("up") == "b@127.0.0.1"
                if OTP >= 25:
                    first.wait("closed")
        with Ours(epmd, own="x@127.0.0.1", verdict=4) as us, connect("a@127.0.0.1", epmd, STAY, to="x@127.0.0.1") as a:
            us.wait("takeover")
            us.wait("up")
            assert a.wait("connect").startswith("true")


def test_a_real_node_goes_on_after_ok_simultaneous():
    """What we answer when its name is greater."""
    with Epmd() as epmd, Ours(epmd, verdict=1) as us, connect("z@127.0.0.1", epmd, STAY) as erl:
        assert us.wait("up") == "z@127.0.0.1"
        assert erl.wait("connect").startswith("true")


def test_simultaneous_attempts_with_a_real_node():
    """While the node's own attempt to us hangs, ours is let in if our name is greater, and told nok if it is not."""
    with Epmd() as epmd:
        for own, wins in (("c@127.0.0.1", True), ("a@127.0.0.1", False)):
            with socket.create_server(("127.0.0.1", 0)) as silent:
                silent.settimeout(LIMIT)
                port = silent.getsockname()[1]
                spawn = f"spawn(fun() -> net_kernel:connect_node('{own}') end)," + SERVE
                with peer("register", epmd=epmd.port, name=own[0], port=port) as r:
                    r.wait("registered")
                    with Erl("b@127.0.0.1", epmd.port, spawn) as erl:
                        pending, _ = silent.accept()
                        assert pending.recv(3)[2:] == b"N"  # its send_name: the attempt is under way
                        with dial("b@127.0.0.1", epmd, own=own) as us:
                            if wins:
                                us.wait("up")
                                assert erl.wait("nodeup") == own
                            else:
                                assert us.wait("end").startswith("NOK")
                        pending.close()


def test_names_are_given_on_demand_both_ways():
    """A node started without a name gets one from us; and we get one from a real node."""
    given = "2GQBSXKLDCWCM@127.0.0.1"
    with Epmd() as epmd:
        with Ours(epmd, given=given) as us, connect("undefined@127.0.0.1", epmd, STAY) as erl:
            assert us.wait("peer") == "127.0.0.1"
            assert us.wait("up") == given
            assert us.wait("creation").split()[0] == "77"
            assert erl.wait("connect").endswith("self " + given)
        with Erl("b@127.0.0.1", epmd.port) as erl:
            erl.wait("ready")
            with dial("b@127.0.0.1", epmd, own="127.0.0.1", flags=hex(2 << 32), without=1) as us:
                us.wait("up")
                own = us.wait("own")
                assert re.fullmatch(r"[0-9A-Z]{1,13}@127\.0\.0\.1", own), own
                assert int(us.wait("creation").split()[1]) > 3
                assert erl.wait("nodeup") == own


def test_the_same_under_tls():
    """-proto_dist inet_tls: lengths have 4 bytes in the handshake too; as acceptor and as dialler."""
    with Certificate() as cert, Epmd() as epmd:
        tls = ("-proto_dist", "inet_tls", "-ssl_dist_opt", "server_certfile", cert.cert, "server_keyfile", cert.key,
               "client_verify", "verify_none")  # 26 and later verify by themselves
        with peer("accept", carrier=4) as us, TlsRelay(cert, to_tls=False, port=int(us.wait("listening"))) as relay:
            with peer("register", epmd=epmd.port, port=relay.port) as r:
                r.wait("registered")
                with connect("a@127.0.0.1", epmd, more=tls) as erl:
                    assert us.wait("up") == "a@127.0.0.1"
                    assert erl.wait("connect").startswith("true")
        with Erl("b@127.0.0.1", epmd.port, more=tls) as erl:
            erl.wait("ready")
            with peer("lookup", epmd=epmd.port, name="b") as l:
                port = int(l.wait("found").split()[1])
            with TlsRelay(cert, to_tls=True, port=port) as relay:
                with peer("dial", own=OURS, peer="b@127.0.0.1", port=relay.port, carrier=4, step=1) as us:
                    assert us.wait("up") == "b@127.0.0.1"
                    assert erl.wait("nodeup") == OURS


def test_our_client_and_a_real_epmd():
    """Registered, found, listed, in use, gone with its connection, and a new creation the next time."""
    with Epmd() as epmd:
        with peer("lookup", epmd=epmd.port) as l:
            assert l.all() == ["not-found"]
        with peer("register", epmd=epmd.port, port=4711, extra="xy", step=1) as r:
            creation = int(r.wait("registered"))
            assert creation > 3
            assert "name murre at port 4711" in epmd_tool(epmd.port, "-names")
            with peer("lookup", epmd=epmd.port, step=1) as l:
                assert l.all() == ["found murre 4711 type 77 versions 6 5 extra 2"]
            with peer("names", epmd=epmd.port, step=1) as n:
                assert n.all() == ["name murre 4711", "done"]
            with peer("register", epmd=epmd.port) as other:
                assert other.all() == ["in-use"]
            epmd.kill()
            assert r.wait("fail") == "LOST"
    with Epmd() as epmd:
        creations = []
        for i in range(3):
            with peer("register", epmd=epmd.port) as r:
                creations.append(int(r.wait("registered")))
                r.kill()
            seen = None
            while seen != ["not-found"]:  # the kernel tells epmd of the close in its own time
                with peer("lookup", epmd=epmd.port) as l:
                    seen = l.all()
        assert len(set(creations)) == 3, creations


def test_real_nodes_and_tools_use_our_port_mapper():
    """Nodes register with ours, find each other and us through it, and are gone with their process; kill and stop are refused."""
    with peer("serve") as ours:
        ours.port = int(ours.wait("listening"))
        assert "name" not in epmd_tool(ours.port, "-names").replace("epmd: up and running", "")
        with Erl("b@127.0.0.1", ours.port) as b:
            b.wait("ready")
            assert ours.wait("registered") == "b"
            assert "name b at port" in epmd_tool(ours.port, "-names")
            with connect("a@127.0.0.1", ours, STAY, to="b@127.0.0.1") as a:
                assert a.wait("connect") == "true nodes ['b@127.0.0.1'] hidden [] self a@127.0.0.1"
                assert b.wait("nodeup") == "a@127.0.0.1"
            with dial("b@127.0.0.1", ours) as us:
                us.wait("up")
            # A name that b has not met, so that nobody but c dials it.
            with Ours(ours, own="new@127.0.0.1") as us, connect("c@127.0.0.1", ours, to="new@127.0.0.1"):
                assert us.wait("up") == "c@127.0.0.1"
            assert "Killing not allowed" in epmd_tool(ours.port, "-kill")
            ours.wait("refused STOP")
            epmd_tool(ours.port, "-stop", "b")
            ours.wait("refused STOP")
            with Erl("b@127.0.0.1", ours.port, "halt().") as other:
                assert any("in use" in l for l in other.all()), other.seen
            ours.wait("refused IN_USE")
            assert "name b at port" in epmd_tool(ours.port, "-names")
            b.kill()
            seen = None
            while seen != ["not-found"]:
                with peer("lookup", epmd=ours.port, name="b") as l:
                    seen = l.all()


def test_a_port_mapper_for_others_lets_nobody_register():
    """Who is not local cannot register."""
    with peer("serve", remote=1) as ours:
        port = int(ours.wait("listening"))
        with peer("register", epmd=port) as r:
            assert r.all() == ["fail CUT"]
        ours.wait("refused PEER")


if __name__ == "__main__":
    main(sys.modules[__name__])
