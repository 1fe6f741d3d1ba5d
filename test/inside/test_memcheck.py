#!/usr/bin/python3
"""A server under valgrind's memcheck: clients log in, talk, are away and come back, look inside; then it stops. No error, nothing lost."""
import os, re, shutil, sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../interop/xmpp"))
sys.dont_write_bytecode = True
import rig
from rig import Server, login


def test_a_short_life_under_memcheck():
    """From the start to the stop: no invalid read or write, no use of what was never written, no leak."""
    assert shutil.which("valgrind"), "valgrind is not installed, so that this cannot be tested here"
    prefix = ["valgrind", "-q", "--error-exitcode=99", "--leak-check=full", "--show-leak-kinds=definite,indirect", "--errors-for-leak-kinds=definite,indirect"]
    s = Server({"shards": "2", "watch.stuck_limit": "0", "watch.stuck_report": "60s"}, prefix=prefix).start()
    try:
        for u in ("alice", "bob"):
            s.user(u + "@localhost")
        a = login(s, "alice", resource="r")
        a.send("<message to='bob@localhost' type='chat' id='1'><body>kept</body></message>")
        a.send("<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>")
        a.expect("id='roster'")
        b = login(s, "bob", sm=True)
        b.expect("<body>kept</body>")
        b.send("<a xmlns='urn:xmpp:sm:3' h='2'/>")
        b.send(f"<message to='{a.jid}' type='chat' id='2'><body>back</body></message>")
        a.expect("<body>back</body>")
        for words in (("status",), ("locks", "on"), ("locks",), ("msacc",), ("tables",), ("queues",), ("backup", s.dir + "/copy")):
            s.ctl(*words)
        a.close()
        b.close()
        status = s.stop()
        said = s.stderr()
        assert status == 0 and not re.search(r"^==\d+==", said, re.M), f"exit status {status}:\n" + "\n".join(l for l in said.splitlines() if l.startswith("=="))[:8000]
    finally:
        s.__exit__()


if __name__ == "__main__":
    rig.main(sys.modules[__name__])
