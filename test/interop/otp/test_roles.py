"""roles: [] makes a node that is only a member of its cluster: what it serves, what it leaves on the disk, and how it answers who wants more."""
import json, os, re, socket, subprocess, sys, urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import rig
from rig import COOKIE, Epmd, Erl
from test_mesh import ME, Murre, refused, said, xmpp


class Bare(Murre):
    """Without the role messaging. Its socket for murrectl lies beside the data directory, not in it, unless keep."""

    def __init__(self, epmd, keep=False, **settings):
        super().__init__(epmd, **{"roles": "", "metrics__listen": "127.0.0.1:0"}, **settings)
        self.socket = self.dir + ("/data/ctl.sock" if keep else "/ctl.sock")
        if not keep:
            self.settings.update({"ctl.socket": self.socket, "recorder.bytes": "0"})

    def ctl(self, *words, input=None, check=True, raw=False):
        r = subprocess.run([xmpp.BUILD + "/murrectl", "--socket", self.socket, "--json", *words], input=input, capture_output=True, text=True,
                           timeout=xmpp.LIMIT)
        assert not check or r.returncode == 0, (words, r)
        return r if raw or not check else json.loads(r.stdout)["result"]

    def metrics(self):
        url = re.search(r"http://\S+/metrics", self.stderr())[0]
        with urllib.request.urlopen(url, timeout=xmpp.LIMIT) as r:
            return r.read().decode()


def test_a_bare_node_is_a_member():
    "It is pinged and listed, says of itself what it is, listens for no client, and leaves nothing on the disk."
    with Epmd() as epmd, Bare(epmd) as s, Erl("a@127.0.0.1", epmd.port) as a:
        a.wait("ready")
        assert said(epmd, 'io:format("~p ~p~n", [net_adm:ping(N), rpc:call(N, erlang, node, [])]),', "b@127.0.0.1") == ["pong 'murre@127.0.0.1'"]
        status = s.ctl("status")
        assert status["ready"] and [status[k] for k in ("roles", "domains", "listen", "sessions")] == [[], [], [], 0] and "log" not in status, status
        assert s.ctl("node")["data"] is None
        assert not {a["class"] for a in s.ctl("actors")} & {"part", "store_log", "store_keyed", "edge", "listener"}
        assert "member only" in s.banner.decode() and "listening" not in s.banner.decode(), s.banner
        assert sorted(os.listdir(s.dir)) == ["cookie", "ctl.sock", "stderr"], os.listdir(s.dir)
        text = s.metrics()
        assert "\nmurre_ready 1\n" in text and "murre_log_messages" not in text and 'part="log"' not in text and 'part="tables"' in text
        assert s.stop() == 0


def test_what_it_keeps_is_what_it_needs():
    "With a recorder, or its socket in the data directory, it has that, locked, and nothing of messaging in it."
    with Epmd() as epmd, Bare(epmd, keep=True) as s:
        assert sorted(os.listdir(s.dir + "/data")) == ["ctl.sock", "format", "lock", "recorder"]
        out = subprocess.run([xmpp.BUILD + "/murrectl", "--socket", s.socket, "record"], capture_output=True, text=True, timeout=xmpp.LIMIT)
        assert out.returncode == 0 and "epmd_registered" in out.stdout, out


def test_commands_of_messaging_say_that_there_is_none():
    with Epmd() as epmd, Bare(epmd) as s:
        for words in (["user", "add", "a@localhost"], ["user", "list"], ["sessions"], ["connections"], ["partitions"], ["drain"],
                      ["backup", s.dir + "/copy"], ["follow", "trace", "a@localhost"]):
            r = s.ctl(*words, input="secret\n", check=False)
            assert r.returncode != 0 and "has not the role messaging" in r.stdout + r.stderr, (words, r)
        assert not os.path.exists(s.dir + "/copy")


def test_systemd_is_told():
    with Epmd() as epmd, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, Bare(epmd) as s:
        s.stop()
        manager.bind(s.dir + "/notify")
        manager.settimeout(xmpp.LIMIT)
        s.env = {"NOTIFY_SOCKET": s.dir + "/notify"}
        s.start()
        told = ""
        while "READY=1" not in told:
            told += manager.recv(4096).decode()


def test_the_setting():
    "It is a list as others are; what a node without messaging does not use need not be right."
    good = ("cookie", COOKIE + "\n", 0o600)
    both = {"node__cookie_file": "DIR/cookie", "node__epmd": "off"}
    refused(os.EX_CONFIG, "unknown role 'mail'; there is messaging", roles="messaging,mail")
    refused(os.EX_CONFIG, "a node without any is a member of a cluster: node.name names it", roles="")
    unused = {"domains": "", "tls__cert": "DIR/none,DIR/none", "sasl__mechanisms": ""}
    refused(os.EX_CONFIG, "domains must name", files=[good], node__name=ME, **both, **unused)
    refused(os.EX_OK, "", files=[good], commands=["check"], node__name=ME, roles="", **both, **unused)
    with Epmd() as epmd, Bare(epmd) as s:
        del s.settings["roles"]
        s.stop()
        with open(s.dir + "/yaml", "w") as f:
            f.write("roles: []\n")
        args = [xmpp.BUILD + "/murre", "check", "-c", s.dir + "/yaml"] + [x for k, v in s.settings.items() for x in ("--set", f"{k}={v}")]
        assert subprocess.run(args + ["--set", "domains="], timeout=xmpp.LIMIT).returncode == 0


if __name__ == "__main__":
    rig.main(sys.modules["__main__"])
