"""The bench of Erlang's distribution (bench/nodes.py, bench/mesh.py): it gives figures with few messages and nodes, and none when something is wrong."""
import os, sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import rig

sys.path.insert(0, rig.ROOT + "/bench")
import mesh, nodes

nodes.LEAST = mesh.IDLE = 0


def invalid(fn, text):
    try:
        got = fn()
    except nodes.Invalid as e:
        assert text in str(e), e
        return
    raise AssertionError(f"a figure: {got}")


def test_messages_in_all_directions():
    with nodes.Site() as site:
        for a, b in nodes.KINDS.values():
            with nodes.Pair(site, a, b) as p:
                for size, senders in nodes.FLOODS:
                    assert all(v > 0 for v in p.flood(size, senders, 100).values())
                got, _ = p.timed(f"ping {p.both[1].name} 10", "pinged")
                assert 0 < got[0] <= got[1] <= got[2], got


def test_calls():
    with nodes.Site() as site, nodes.Pair(site, nodes.Otp, nodes.Ours) as p:
        to = p.both[1].name
        for command, answer in ((f"rpc {to} 2 5", "rpced"), (f"erpc {to} 2 5", "erpced"), (f"call {to} 5", "called")):
            got, _ = p.timed(command, answer)
            assert all(v > 0 for v in got), (command, got)


def test_no_figure_when_the_receiver_ends():
    with nodes.Site() as site:
        for a, b in nodes.KINDS.values():
            with nodes.Pair(site, a, b) as p:
                p.both[0].lines.tell(f"flood {p.both[1].name} 1 100000000 100 1000")
                p.both[1].lines.proc.kill()
                invalid(lambda: p.both[0].lines.until("flooded"), "")


def test_no_figure_for_what_is_no_command():
    with nodes.Site() as site, nodes.Pair(site, nodes.Ours, nodes.Otp) as p:
        for n in p.both:
            invalid(lambda: n.lines.ask("flood nowhere", "flooded"), "failed")
        invalid(lambda: p.both[0].lines.ask("ping nowhere@127.0.0.1 1", "pinged"), "nowhere@127.0.0.1: ")


def test_spin_has_a_limit():
    with nodes.Site() as site:
        invalid(lambda: nodes.Ours(site, "a", spin=51), "spin: 0 to 50 microseconds")
        invalid(lambda: nodes.Ours(site, "a", spin=-1), "spin: 0 to 50 microseconds")


def test_meshes():
    for cls in (mesh.OurMesh, mesh.OtpMesh):
        with cls(3) as m:
            got = m.measure()
            assert got["up"] > 0 and got["start_cpu"] > 0, got
            m.alive_all()
    with mesh.OurMesh(3, ports=False) as m:
        assert m.measure()["up"] > 0


def test_no_figure_when_a_node_of_a_mesh_ends():
    with mesh.OurMesh(3) as m:
        m.start()
        m.wait()
        m.procs[1].kill()
        m.procs[1].wait()
        invalid(m.alive_all, "murre0002@127.0.0.1 has ended")
        invalid(m.check, "has lost 1 connections")


if __name__ == "__main__":
    rig.main(sys.modules["__main__"])
