"""Nodes under TLS, as OTP's inet_tls_dist has it: a murre node and real Erlang nodes with certificates of one authority, what is refused, and
the settings node.tls.*."""
import os, shutil, socket, ssl, subprocess, sys, tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import rig
from rig import COOKIE, LIMIT, Epmd, Lines, erlang, hosts, xmpp_rig
from test_mesh import Murre

xmpp = xmpp_rig()
ME = "murre@localhost"  # OTP 25 takes no numeric host as the name in a certificate
THERE = "N = 'murre@localhost', "


class Authority:
    """Signs certificates, in a directory of its own."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="murre-test-")
        self.cert = self.at("ca.pem")
        self.openssl("req", "-x509", *self.new("ca.key"), "-days", "2", "-subj", "/CN=authority", "-out", self.cert)

    def at(self, name):
        return self.dir + "/" + name

    def new(self, key):
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.at(key)]

    def openssl(self, *words):
        subprocess.run(["openssl", *words], check=True, capture_output=True, timeout=LIMIT)

    def sign(self, name, alt="DNS:localhost", expired=False, more=""):
        """name.pem and name.key; returns their paths."""
        pem, key = self.at(name + ".pem"), self.at(name + ".key")
        with open(self.at(name + ".ext"), "w") as f:
            f.write(f"subjectAltName={alt}\n{more}")
        self.openssl("req", *self.new(name + ".key"), "-subj", "/CN=localhost", "-out", self.at(name + ".csr"))
        os.chmod(key, 0o600)
        open(self.at("database"), "a").close()  # x509 -req cannot sign for a time that is over: ca can
        with open(self.at("database.attr"), "w") as f:
            f.write("unique_subject = no\n")
        with open(self.at("ca.cnf"), "w") as f:
            f.write(f"[ca]\ndefault_ca=c\n[c]\ndatabase={self.at('database')}\nnew_certs_dir={self.dir}\nrand_serial=yes\ndefault_md=sha256\n"
                    "policy=p\n[p]\ncommonName=supplied\n")
        time = ["-startdate", "20200101000000Z", "-enddate", "20200102000000Z"] if expired else ["-days", "2"]
        self.openssl("ca", "-batch", "-notext", "-config", self.at("ca.cnf"), "-cert", self.cert, "-keyfile", self.at("ca.key"), "-extfile",
                     self.at(name + ".ext"), *time, "-in", self.at(name + ".csr"), "-out", pem)
        return pem, key

    def revoked(self, *names, over=False):
        """A list of certificates that this authority does not stand for any more; its path. over: one that is out of date."""
        for name in names:
            self.openssl("ca", "-config", self.at("ca.cnf"), "-cert", self.cert, "-keyfile", self.at("ca.key"), "-revoke", self.at(name + ".pem"))
        time = ["-crl_lastupdate", "20200101000000Z", "-crl_nextupdate", "20200102000000Z"] if over else ["-crldays", "2"]
        self.openssl("ca", "-gencrl", "-config", self.at("ca.cnf"), "-cert", self.cert, "-keyfile", self.at("ca.key"), *time, "-out", self.at("crl.new"))
        os.rename(self.at("crl.new"), self.at("crl.pem"))
        return self.at("crl.pem")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.dir)


class Secure(Murre):
    """A node whose connections of other nodes are under TLS."""

    def __init__(self, epmd, ca, pair, prefix=(), name=ME, **settings):
        super().__init__(epmd, name=name, prefix=prefix, **dict({"node__tls__required": "true", "node__tls__cert": pair[0], "node__tls__key": pair[1],
                                                "node__tls__ca": ca.cert}, **settings))

    def refused(self):
        return [one.split(" mesh_refused ", 1)[1].split(" ", 1)[1] for one in self.stderr().splitlines() if " mesh_refused " in one]

    def refuses(self, how, text, connections=1):
        """how() leads to so many connections that are refused, with that in the log, and to none that is taken."""
        how()
        xmpp.until(lambda: f"{text}: {self.refused()}", lambda: len(self.refused()) >= connections)
        assert len(self.refused()) == connections and text in self.refused()[0], self.refused()
        assert self.event("mesh_up") == 0 and self.nodes() == {}


def said(epmd, code, ca=None, pair=None, more="", name="a@localhost", style="-sname"):
    """The lines that a real node prints when it evaluates code. ca, pair: over TLS with these; more: options of its dialling side."""
    tls = []
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as conf:
        if ca:
            mine = f'{{certfile,"{pair[0]}"}},{{keyfile,"{pair[1]}"}},' if pair else ""
            both = f'{mine}{{cacertfile,"{ca.cert}"}},{{verify,verify_peer}}'
            conf.write(f"[{{server,[{both},{{fail_if_no_peer_cert,true}}]}},{{client,[{both}{more}]}}].")
            conf.flush()
            tls = ["-proto_dist", "inet_tls", "-ssl_dist_optfile", conf.name]
        args = [*erlang("erl"), "-noinput", "-start_epmd", "false", style, name, "-setcookie", COOKIE, *tls,
                "-kernel", "inet_dist_use_interface", "{127,0,0,1}", "-eval", THERE + code + " halt()."]
        with Lines(args, {"ERL_EPMD_PORT": str(epmd.port), "HOME": os.environ.get("HOME", "/root")}) as e:
            return e.all()


PING = 'io:format("~p~n", [net_adm:ping(N)]),'
OLD, NEW = ",{versions,['tlsv1.2']}", ",{versions,['tlsv1.3']}"


def test_ping_nodes_and_rpc():
    "With TLS 1.2 and 1.3: pong, nodes(), and calls."
    with Epmd() as epmd, Authority() as ca, Secure(epmd, ca, ca.sign("m")) as s:
        pair = ca.sign("a")
        for version in OLD, NEW:
            got = said(epmd, 'io:format("~p ~p ~p~n", [net_adm:ping(N), nodes(), rpc:call(N, erlang, node, [])]),', ca, pair, version)
            assert got == ["pong [murre@localhost] murre@localhost"], got
        xmpp.until("it is gone", lambda: s.nodes() == {})
        assert s.event("mesh_up") == 2 and s.event("tls_done") == 2 and s.refused() == []


def test_a_node_that_is_dialled():
    "node.seeds under TLS: an Erlang node with a certificate of ours is connected to."
    with Epmd() as epmd, Authority() as ca, Secure(epmd, ca, ca.sign("m"), node__seeds="a@localhost") as s:
        code = "ok = net_kernel:monitor_nodes(true), receive {nodeup, N} -> io:format(\"up~n\") after 60000 -> io:format(\"not~n\") end,"
        assert said(epmd, code, ca, ca.sign("a")) == ["up"], s.stderr()


def test_a_host_that_is_looked_up():
    "A seed whose host is a name: its addresses are tried until one answers. One whose host is not known is dialled on, and the log says why."
    far = "127.7.7.7 a.example\n127.0.0.1 a.example\n127.0.0.1 m.example\n"
    with Epmd() as epmd, Authority() as ca, hosts(far) as (_, prefix):
        with Secure(epmd, ca, ca.sign("m", "DNS:m.example"), prefix=prefix, name="m@m.example", node__seeds="a@a.example,b@b.example") as s:
            code = "ok = net_kernel:monitor_nodes(true), receive {nodeup, 'm@m.example'} -> io:format(\"up~n\") after 60000 -> io:format(\"not~n\") end,"
            assert said(epmd, code, ca, ca.sign("a", "DNS:a.example"), name="a@a.example", style="-name") == ["up"], s.stderr()
            xmpp.until(s.stderr, lambda: "b@b.example: its host: there is no such host, or it has no address" in s.stderr())


def test_long_messages_both_ways():
    "8 MiB there and back in the reason of a call that is not known, several at a time, between ticks."
    with Epmd() as epmd, Authority() as ca, Secure(epmd, ca, ca.sign("m")):
        got = said(epmd, """
            B = binary:copy(<<"0123456789abcdef">>, 512 * 1024), Me = self(),
            [spawn(fun() -> {badrpc, {'EXIT', {undef, [{no, such, [B2], []}]}}} = rpc:call(N, no, such, [B]), Me ! B2 =:= B end) || _ <- [1, 2, 3, 4]],
            io:format("~p~n", [[receive X -> X end || _ <- [1, 2, 3, 4]]]), """ + PING, ca, ca.sign("a"))
        assert got == ["[true,true,true,true]", "pong"], got


def test_ticks():
    "A connection that says nothing lives on past the ticktime: both sides tick, and each tick is heard."
    with Epmd() as epmd, Authority() as ca, Secure(epmd, ca, ca.sign("m"), node__ticktime="3s"):
        got = said(epmd, """
            net_kernel:set_net_ticktime(3, 0), pong = net_adm:ping(N), monitor_node(N, true),
            Heard = fun() -> {ok, C} = net_kernel:node_info(N, in), C end, First = Heard(),
            Wait = fun W() -> case Heard() - First of C when C > 5 -> ok; _ -> receive {nodedown, N} -> io:format("down~n") after 50 -> W() end end end,
            Wait(), io:format("~p~n", [nodes()]),""", ca, ca.sign("a"))
        assert got == ["[murre@localhost]"], got


def test_who_shows_no_certificate():
    with Epmd() as epmd, Authority() as ca, Secure(epmd, ca, ca.sign("m")) as s:
        s.refuses(lambda: said(epmd, PING, ca), "TLS handshake: peer did not return a certificate")


def test_who_shows_a_certificate_of_another_authority():
    with Epmd() as epmd, Authority() as ca, Authority() as other, Secure(epmd, ca, ca.sign("m")) as s:
        s.refuses(lambda: said(epmd, PING, ca, other.sign("a")), "TLS handshake: the certificate is not taken: unable to get local issuer certificate")


def test_who_shows_a_certificate_that_has_expired():
    with Epmd() as epmd, Authority() as ca, Secure(epmd, ca, ca.sign("m")) as s:
        s.refuses(lambda: said(epmd, PING, ca, ca.sign("a", expired=True)), "TLS handshake: the certificate is not taken: certificate has expired")


def test_who_shows_the_certificate_of_another_host():
    "It knows the cookie, and its authority is ours; yet it is not who it says it is."
    with Epmd() as epmd, Authority() as ca, Secure(epmd, ca, ca.sign("m")) as s:
        s.refuses(lambda: said(epmd, PING, ca, ca.sign("a", "DNS:other.example")),
                  "a@localhost: its certificate does not name the host that it says it is on")


def test_who_does_not_trust_us():
    "What the other side found wrong with our certificate is in our log."
    with Epmd() as epmd, Authority() as ca, Authority() as other, Secure(epmd, ca, ca.sign("m")) as s:
        s.refuses(lambda: said(epmd, PING, other, ca.sign("a")), "alert")


def test_plain_to_a_tls_port():
    with Epmd() as epmd, Authority() as ca, Secure(epmd, ca, ca.sign("m")) as s:
        s.refuses(lambda: said(epmd, PING), "TLS handshake: what came is not TLS")


def test_tls_to_a_plain_port():
    with Epmd() as epmd, Authority() as ca, Secure(epmd, ca, ca.sign("m"), node__tls__required="false") as s:
        s.refuses(lambda: said(epmd, PING, ca, ca.sign("a")), "it speaks TLS, and this address does not")
        assert said(epmd, PING) == ["pong"]  # without TLS it is reached


def test_an_address_that_is_not_loopback_has_tls():
    "node.tls.required or not."
    with Epmd() as epmd, Authority() as ca, Secure(epmd, ca, ca.sign("m"), node__tls__required="false", node__listen="0.0.0.0:0") as s:
        assert said(epmd, PING, ca, ca.sign("a")) == ["pong"]
        assert said(epmd, PING) == ["pang"]
        assert any("what came is not TLS" in r for r in s.refused()), s.refused()


def test_an_old_tls_is_refused():
    with Epmd() as epmd, Authority() as ca, Secure(epmd, ca, ca.sign("m")) as s:
        pair = ca.sign("a")
        port = int(next(one.split("port=")[1].split()[0] for one in s.stderr().splitlines() if "epmd_registered" in one))

        def dial():
            c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            c.load_cert_chain(*pair)
            c.load_verify_locations(ca.cert)
            c.set_ciphers("ALL:@SECLEVEL=0")
            c.minimum_version = c.maximum_version = ssl.TLSVersion.TLSv1_1
            try:
                c.wrap_socket(socket.create_connection(("127.0.0.1", port), LIMIT), server_hostname="localhost")
                raise AssertionError("TLS 1.1 is taken")
            except ssl.SSLError:
                pass
        s.refuses(dial, "TLS handshake: unsupported protocol")


def test_a_goodbye_in_tls():
    "The server ends with close_notify, not with a cut, where the socket still takes it."
    with Epmd() as epmd, Authority() as ca, Secure(epmd, ca, ca.sign("m")) as s:
        pair = ca.sign("a")
        port = int(next(one.split("port=")[1].split()[0] for one in s.stderr().splitlines() if "epmd_registered" in one))
        c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        c.load_cert_chain(*pair)
        c.load_verify_locations(ca.cert)
        with c.wrap_socket(socket.create_connection(("127.0.0.1", port), LIMIT), server_hostname="localhost", suppress_ragged_eofs=False) as sock:
            sock.sendall(b"\0\0\0\1X")  # no message of the handshake: refused
            assert sock.recv(100) == b"", "no close_notify"  # a cut would be an SSLEOFError
        xmpp.until("refused", lambda: s.refused())


def test_certificates_are_read_again():
    "New files count from the next connection on; what cannot be used is said, and the old ones stay."
    with Epmd() as epmd, Authority() as ca, Authority() as next_ca:
        pair, trusted = ca.sign("m"), ca.at("trusted.pem")
        shutil.copy(ca.cert, trusted)
        with Secure(epmd, ca, pair, node__tls__ca=trusted) as s:
            other = next_ca.sign("a")
            assert said(epmd, PING, ca, ca.sign("a")) == ["pong"]
            with open(pair[1], "w") as f:
                f.write("rubbish")
            xmpp.until("the failure is said", lambda: s.event("tls_reload_fail") > 0)
            assert said(epmd, PING, ca, ca.sign("a")) == ["pong"]
            for mine, theirs in zip([*pair, trusted], [*next_ca.sign("m"), next_ca.cert]):
                shutil.copy(theirs, mine + ".new")
                os.chmod(mine + ".new", 0o600)
                os.rename(mine + ".new", mine)
            xmpp.until("they are read", lambda: s.event("tls_reload") > 0)
            assert said(epmd, PING, next_ca, other) == ["pong"]
            assert "pang" in said(epmd, PING, next_ca, ca.sign("b"))  # what TLS has to say may come after it


def test_a_certificate_that_is_revoked():
    "It is refused as soon as the list has it; the others go on. A list that is out of date is said, and the old one stays."
    with Epmd() as epmd, Authority() as ca:
        pair, mine = ca.sign("m"), ca.sign("a")
        with Secure(epmd, ca, pair, node__tls__crl=ca.revoked()) as s:
            assert said(epmd, PING, ca, mine) == ["pong"]
            ca.revoked("a")
            xmpp.until("it is read", lambda: s.event("tls_reload") > 0)
            assert "pang" in said(epmd, PING, ca, mine)
            xmpp.until(s.refused, lambda: any("certificate revoked" in r for r in s.refused()))
            other = ca.sign("b")
            assert said(epmd, PING, ca, other) == ["pong"]
            ca.revoked(over=True)
            xmpp.until(s.stderr, lambda: "CRL has expired" in s.stderr())
            assert said(epmd, PING, ca, other) == ["pong"]


def test_settings():
    "Each has its own sentence, and the exit status of a configuration that cannot be used."
    with Authority() as ca, Authority() as other:
        cert, key = ca.sign("m")
        cookie = ca.at("cookie")
        with open(os.open(cookie, os.O_CREAT | os.O_WRONLY, 0o600), "w") as f:
            f.write(COOKIE + "\n")
        open_key = ca.at("open.key")
        shutil.copy(key, open_key)
        os.chmod(open_key, 0o644)

        def refused(text, **settings):
            base = {"domains": "localhost", "node.name": ME, "node.cookie_file": cookie, "node.tls.required": "true", "node.tls.cert": cert,
                    "node.tls.key": key, "node.tls.ca": ca.cert}
            base.update({k.replace("__", "."): v for k, v in settings.items()})
            words = [x for k, v in base.items() for x in ("--set", f"{k}={v}")]
            r = subprocess.run([rig.BUILD + "/murre", "check", *words], capture_output=True, text=True, timeout=LIMIT)
            assert (r.returncode != 0) == bool(text) and text in r.stderr, (text, r.returncode, r.stderr)

        def other_pair(name, **how):
            pair = ca.sign(name, **how)
            return {"node__tls__cert": pair[0], "node__tls__key": pair[1]}

        refused("")
        refused("", node__tls__required="false", node__listen="0.0.0.0:9100")
        refused("node.listen: 0.0.0.0:9100 is not loopback, so nodes speak TLS there: set node.tls.cert", node__tls__required="false",
                node__listen="0.0.0.0:9100", node__tls__cert="")
        refused("node.tls.key: it is not set", node__tls__key="")
        refused("node.tls.ca: it is not set", node__tls__ca="")
        refused("/nowhere.pem: No such file or directory", node__tls__cert="/nowhere.pem")
        refused("/nowhere.pem: No such file or directory", node__tls__key="/nowhere.pem")
        refused("/nowhere.pem: No such file or directory", node__tls__ca="/nowhere.pem")
        refused(f"node.tls.key: {open_key} can be read by others: chmod 600 it", node__tls__key=open_key)
        refused("is not that of the certificate", node__tls__key=other.sign("m")[1])
        refused(key, node__tls__ca=key)  # no certificate in it
        refused("certificate has expired", **other_pair("old", expired=True))
        refused("does not name localhost as subjectAltName", **other_pair("else", alt="DNS:other.example"))
        refused("does not name localhost as subjectAltName", **other_pair("wild", alt="DNS:*"))
        refused("would not take the certificate in", node__tls__ca=other.cert)
        refused("", node__tls__crl=ca.revoked())
        refused("CRL signature failure", node__tls__crl=other.revoked())
        refused("CRL has expired", node__tls__crl=ca.revoked(over=True))
        refused("/nowhere.pem: No such file or directory", node__tls__crl="/nowhere.pem")
        refused(cert, node__tls__crl=cert)  # no list in it
        refused("node.tls.cert: it is not set", node__tls__required="false", node__tls__cert="", node__tls__key="", node__tls__ca="", node__tls__crl=ca.revoked())
        ca.sign("gone")
        ca.revoked("gone")
        refused("certificate revoked", node__tls__cert=ca.at("gone.pem"), node__tls__key=ca.at("gone.key"), node__tls__crl=ca.at("crl.pem"))
        refused("unsuitable certificate purpose", **other_pair("half", more="extendedKeyUsage=serverAuth\n"))


if __name__ == "__main__":
    xmpp.main(sys.modules["__main__"])
