"""Long messages and small ones of others on one connection (docs/promises.md, R22): two processes of two nodes send a word to and fro while others
send each other a message of 64 MiB and one of 100 MB. How often the word went meanwhile is what is judged, not how long it took: a connection
that sends one message after the other lets it pass once, at the beginning."""
import contextlib, os, sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import rig
from rig import Epmd, Erl, xmpp_rig
from test_mesh import THERE, Murre, said

ONE, TWO = "one@127.0.0.1", "two@127.0.0.1"
SIZES = [64 << 20, 100_000_000]
LEAST = 5  # times that the word went to and fro while a long message was on its way; what the kernel holds already goes before it
# Words: how often ping and pong went between a process here and actor b8 of N while Fun ran.
BEGIN = """
N = 'one@127.0.0.1', pong = net_adm:ping(N), Me = self(),
Pid = fun(Who) -> Who ! self, receive {me, A} -> A end end,
Words = fun(Fun) ->
    Chat = fun F(K) -> receive stop -> Me ! {words, K} after 0 -> {b8, N} ! ping, receive pong -> F(K + 1) end end end,
    C = spawn(fun() -> {b8, N} ! ping, receive pong -> Me ! begun end, Chat(0) end),
    receive begun -> ok end, Fun(), C ! stop, receive {words, K} -> K end
end,
"""


@contextlib.contextmanager
def world(two=False):
    with contextlib.ExitStack() as s:
        epmd = s.enter_context(Epmd())
        peers = [s.enter_context(rig.mesh_peer(epmd.port, ONE, **({"seed": TWO} if two else {})))]
        if two:
            peers.append(s.enter_context(rig.mesh_peer(epmd.port, TWO)))
        for m in peers:
            m.wait("listening")
        xmpp_rig().until("registered", lambda: all(n in rig.epmd_tool(epmd.port, "-names") for n in (["one", "two"] if two else ["one"])))
        yield epmd
        for m in peers:
            m.proc.stdin.close()
            assert m.proc.wait(rig.LIMIT) == 0, m.all()


def judge(code, two=False):
    with world(two) as epmd, Erl("a@127.0.0.1", epmd.port, BEGIN + code + " halt().") as e:
        lines = e.all()
    assert len(lines) == len(SIZES), lines
    for size, line in zip(SIZES, lines):
        got, words = map(int, line.split())
        assert got == size, lines
        assert words >= LEAST, f"the word went {words} times while {size} bytes went by"
    print("words:", [line.split()[1] for line in lines])


def test_from_erlang():
    "From a process of Erlang/OTP to an actor: the words of others pass it, in both directions."
    judge(f"""
        [begin
            Bin = binary:copy(<<"x">>, Size),
            K = Words(fun() -> spawn(fun() -> {{a9, N}} ! Bin, receive {{got, G}} -> Me ! {{got, G}} end end), receive {{got, G}} -> put(got, G) end end),
            io:format("~p ~p~n", [get(got), K])
         end || Size <- {SIZES}],""")


def test_to_erlang():
    "From an actor to a process of Erlang/OTP."
    judge(f"""
        [begin
            K = Words(fun() -> {{a9, N}} ! {{long, {{Me, Size}}}}, receive Bin when is_binary(Bin) -> put(got, size(Bin)) end end),
            io:format("~p ~p~n", [get(got), K])
         end || Size <- {SIZES}],""")


def test_between_actors():
    "From an actor to one of another murre node, while two others chat on the same connection."
    judge(f"""
        M = 'two@127.0.0.1', pong = net_adm:ping(M),
        Far = Pid({{a9, M}}), Mate = Pid({{b8, M}}),
        Chatted = fun() -> {{b1, N}} ! chatted, receive {{chatted, K}} -> K end end,
        Both = fun F() -> case lists:member(M, rpc:call(N, erlang, nodes, [])) of true -> ok; false -> erlang:yield(), F() end end,
        Both(),
        {{b1, N}} ! {{chat, Mate}}, (fun F() -> case Chatted() of 0 -> F(); _ -> ok end end)(),
        [begin
            Before = Chatted(),
            {{a2, N}} ! {{long, {{Far, Size}}}}, receive {{got, G}} -> ok end,
            io:format("~p ~p~n", [G, Chatted() - Before])
         end || Size <- {SIZES}],""", two=True)


# What a call of a function that is not there answers is as long as its arguments.
ECHO = """
{badrpc, {'EXIT', {undef, [{no, such, [B], []}]}}} = rpc:call(N, no, such, [binary:copy(<<"x">>, 4000000)]), io:format("~p~n", [size(B)]),"""


IDLE = THERE + 'pong = net_adm:ping(N), io:format("ready~n"), receive never -> ok end.'


def test_a_busy_node_is_seen():
    "Past node.link_bytes a node is busy: events say so, and that it is over; murrectl nodes shows one that is not."
    with Epmd() as epmd, Murre(epmd, node__link_bytes="64k") as s, Erl("b@127.0.0.1", epmd.port, IDLE) as b:
        b.wait("ready")
        assert said(epmd, ECHO + " {limit, 65536} = {limit, rpc:call(N, erlang, system_info, [dist_buf_busy_limit])},") == ["4000000"]
        assert s.event("mesh_busy") == s.event("mesh_free") > 0
        row = s.nodes()["b@127.0.0.1"]
        assert (row["queued"], row["busy"], row["busy_n"]) == (0, False, 0), row


if __name__ == "__main__":
    rig.main(sys.modules[__name__])
