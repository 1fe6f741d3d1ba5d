"""node.epmd: embedded: a murre node as the port mapper of its machine, for real Erlang nodes and for OTP's epmd tool, and against those who mean
it no good."""
import os, socket, sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import rig
from rig import Epmd, Erl, epmd_tool
from test_mesh import Murre, THERE, said, xmpp


class Port:
    """Where a port mapper may be; as rig.Epmd for those who only want its port."""

    def __init__(self):
        self.port = rig.free_port()


def embedded(at, name, **settings):
    return Murre(at, name, node__epmd="embedded", **settings)


def names(at):
    """What OTP's tool says: {name: port}."""
    lines = [line.split() for line in epmd_tool(at.port, "-names").splitlines()]
    return {w[1]: int(w[4]) for w in lines if w[:1] == ["name"]}


def knock(at):
    return socket.create_connection(("127.0.0.1", at.port), rig.LIMIT)


def request(*body):
    text = b"".join(body)
    return len(text).to_bytes(2, "big") + text


def test_real_nodes_register_with_a_murre_node():
    "erl registers with it and is found; it finds the node itself; -kill and -stop do nothing; a name is free when its node ends."
    at = Port()
    with embedded(at, "murre@127.0.0.1") as s:
        assert s.event("epmd_serving") == 1 and list(names(at)) == ["murre"]
        with Erl("a@127.0.0.1", at.port) as a:
            a.wait("ready")
            assert sorted(names(at)) == ["a", "murre"]
            assert said(at, 'io:format("~p ~p~n", [net_adm:ping(N), net_adm:ping(\'a@127.0.0.1\')]),', "b@127.0.0.1") == ["pong pong"]
            assert "Killing not allowed" in epmd_tool(at.port, "-kill"), epmd_tool(at.port, "-kill")
            epmd_tool(at.port, "-stop", "a")
            assert sorted(names(at)) == ["a", "murre"]
            assert any("already" in line or "in use" in line for line in said(at, "", "a@127.0.0.1"))
        xmpp.until("the name is free", lambda: list(names(at)) == ["murre"])
        assert s.event("epmd_name") == 2


def test_erl_starts_beside_it():
    "erl -sname wants to start an epmd of its own: it sees that there is one, and registers."
    at = Port()
    with embedded(at, "murre@127.0.0.1"):
        args = [*rig.erlang("erl"), "-noinput", "-sname", "short", "-setcookie", rig.COOKIE, "-eval", 'io:format("ready~n"), receive never -> ok end.']
        with rig.Lines(args, {"ERL_EPMD_PORT": str(at.port)}) as e:
            e.wait("ready")
            assert sorted(names(at)) == ["murre", "short"]


def test_a_port_mapper_that_runs_already_is_used_and_replaced_when_it_goes():
    "The node registers with it; when it is killed the node takes its place, and a real node that was registered there comes over by itself."
    with Epmd() as epmd, embedded(epmd, "murre@127.0.0.1") as s, Erl("a@127.0.0.1", epmd.port) as a:
        a.wait("ready")
        assert s.event("epmd_serving") == 0 and sorted(names(epmd)) == ["a", "murre"]
        epmd.kill()
        xmpp.until("it takes its place", lambda: s.event("epmd_serving") == 1)
        xmpp.until("both are registered again", lambda: sorted(names(epmd)) == ["a", "murre"])


def test_the_next_one_takes_over_from_a_node_that_was_killed():
    "Three murre nodes, two of which may be the port mapper: the first is killed -9, the second takes the port, the others register with that one."
    at = Port()
    with embedded(at, "one@127.0.0.1") as one, embedded(at, "two@127.0.0.1") as two, Murre(at, "three@127.0.0.1") as three, \
            Erl("a@127.0.0.1", at.port) as a:
        a.wait("ready")
        assert [x.event("epmd_serving") for x in (one, two, three)] == [1, 0, 0]
        before = names(at)
        assert sorted(before) == ["a", "one", "three", "two"]
        one.kill()
        xmpp.until("the second serves", lambda: two.event("epmd_serving") == 1)
        xmpp.until("all have come over", lambda: sorted(names(at)) == ["a", "three", "two"])
        assert all(before[name] == port for name, port in names(at).items())
        one.start()
        xmpp.until("the first is back, as one of them", lambda: sorted(names(at)) == ["a", "one", "three", "two"])
        assert one.event("epmd_serving") == 0


def test_garbage_and_silence():
    "What is no request is closed and said; a half one, and silence, keep nobody else waiting; what comes after a registration frees the name."
    at = Port()
    with embedded(at, "murre@127.0.0.1") as s:
        def closed(c, text):
            c.sendall(text)
            got = b""
            while piece := c.recv(65536):
                got += piece
            return got

        bad = [b"GET / HTTP/1.1\r\n\r\n", request(b""), request(b"?"), request(b"z"), request(b"x", b"\0" * 5), request(b"z", b"a\0b"),
               request(b"nn"), request(b"sa"), b"\xff\xff" + b"x" * 65535]
        for i, text in enumerate(bad):
            with knock(at) as c:
                try:
                    assert closed(c, text) == b"", text
                except (ConnectionResetError, BrokenPipeError):
                    pass  # closed before it had said all
            assert s.event("epmd_refused") == i + 1, text
        held = [knock(at) for _ in range(100)]
        for i, c in enumerate(held):
            c.sendall(request(b"n")[: i % 3])
        assert list(names(at)) == ["murre"]
        held[1].sendall(request(b"n")[1:])
        assert b"name murre at port" in closed(held[1], b"")
        with knock(at) as c:
            node = (4711).to_bytes(2, "big") + bytes([77, 0, 0, 6, 0, 5, 0, 1]) + b"z" + b"\0\0"
            c.sendall(request(b"x", node))
            assert c.recv(16)[:2] == b"v\0"
            assert sorted(names(at)) == ["murre", "z"]
            assert closed(c, b"more") == b""
        assert list(names(at)) == ["murre"]
        for c in held:
            c.close()


def test_too_many_connections():
    "Past node.epmd_connections_max a connection is closed at once and counted; when one has ended there is room again. Names stay."
    at = Port()
    with embedded(at, "murre@127.0.0.1", node__epmd_connections_max="2") as s, Erl("a@127.0.0.1", at.port) as a:
        a.wait("ready")
        with knock(at):
            with knock(at) as more:
                assert more.recv(1) == b""
            assert s.event("epmd_crowded") == 1
        xmpp.until("there is room again", lambda: sorted(names(at)) == ["a", "murre"])


if __name__ == "__main__":
    rig.main(sys.modules["__main__"])
