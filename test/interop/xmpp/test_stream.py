"""Streams by hand: TLS rules, SASL, bind, what closes a stream (RFC 6120, promises.md)."""
import re, ssl, sys
from rig import Raw, Server, login, main

S = None


def server():
    global S
    if S is None:
        S = Server().start()
        S.user("alice@localhost")
        S.user("bob@localhost")
    return S


def test_features_before_tls_offer_only_starttls():
    "Before TLS only starttls is offered, and required."
    f = Raw(server().port).open()
    assert "starttls" in f and "<required/>" in f and "mechanism" not in f, f


def test_starttls_then_scram_then_bind():
    "RFC 6120: STARTTLS, SCRAM-SHA-256, bind."
    c = Raw(server().port)
    c.starttls()
    f = c.open()
    assert "SCRAM-SHA-256-PLUS" in f and "SCRAM-SHA-1" in f and ">PLAIN<" not in f and "starttls" not in f, f
    c.login("alice", resource="r1")
    assert c.jid == "alice@localhost/r1"


def test_anything_but_starttls_in_clear_closes():
    "STARTTLS stripping: auth, iq, presence and message before TLS close the stream and have no effect."
    for x in ("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGEAYg==</auth>", "<presence/>",
              "<iq type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>", "<message to='bob@localhost'><body>x</body></message>"):
        c = Raw(server().port)
        c.open()
        c.send(x)
        end = c.closed()
        assert "<stream:error>" in end and "</stream:stream>" in end, (x, end)


def test_bytes_behind_starttls_are_not_used():
    "STARTTLS plaintext injection: what was pipelined in clear behind starttls never takes effect."
    c = Raw(server().port)
    c.open()
    c.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><presence/>")
    end = c.closed()
    assert "<proceed" not in end or "stream:error" in end or end.endswith("/>"), end


def test_direct_tls_with_alpn():
    "XEP-0368: direct TLS, ALPN xmpp-client; another protocol is refused in the handshake."
    c = Raw(server().tls_port, tls=True, alpn=["xmpp-client"])
    assert c.sock.selected_alpn_protocol() == "xmpp-client"
    assert "mechanism" in c.open()
    try:
        Raw(server().tls_port, tls=True, alpn=["http/1.1"])
    except ssl.SSLError:
        return
    raise AssertionError("a client that wants HTTP was let in")


def test_wrong_password_and_unknown_user_look_the_same():
    "Same failure for a wrong password and an unknown user; a connection gets three tries."
    for user in ("alice", "nobody"):
        c = Raw(server().tls_port, tls=True)
        c.open()
        for _ in range(2):
            assert not c.plain(user, "wrong")
            c.expect(r"<not-authorized/>.*?</failure>")
        assert not c.plain(user, "wrong")
        c.closed()


def test_unknown_host():
    "A stream to a domain that is not ours gets host-unknown."
    c = Raw(server().port)
    c.send("<stream:stream to='example.org' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>")
    assert "host-unknown" in c.closed()


def test_bad_xml_closes_with_the_right_error():
    "Restricted XML, bad prefixes, bad encoding: each its stream error."
    for text, condition in (("<!-- hi -->", "restricted-xml"), ("<?pi x?>", "restricted-xml"), ("<!DOCTYPE a>", "restricted-xml"),
                            ("<iq>&foo;</iq>", "restricted-xml|not-well-formed"), ("<a:b/>", "bad-namespace-prefix|not-well-formed"),
                            ("<iq></message>", "not-well-formed"), ("<iq a='1' a='2'/>", "not-well-formed"), ("<iq>\x01</iq>", "not-well-formed")):
        c = login(server(), "alice", presence=False)
        c.send(text)
        end = c.closed()
        assert re.search(condition, end), (text, end)
    c = login(server(), "alice", presence=False)
    c.send(b"<message><body>\xc0\xaf</body></message>")
    end = c.closed()
    assert re.search("not-well-formed|bad-format|unsupported-encoding|invalid-xml", end), end


def test_from_of_another_is_refused():
    "A client's own from must be its own."
    c = login(server(), "alice")
    c.send("<message from='bob@localhost' to='bob@localhost'><body>x</body></message>")
    assert "invalid-from" in c.closed()


def test_stanza_too_large():
    "The limit is counted on raw bytes."
    c = login(server(), "alice", presence=False)
    try:
        for _ in range(300):
            c.send("<message><body>" + "x" * 1024 if _ == 0 else "x" * 1024)
    except OSError:
        pass
    assert "policy-violation" in c.closed()


def test_remote_domain():
    "A stanza for another server: remote-server-not-found."
    c = login(server(), "alice")
    c.send("<message to='x@example.org' id='m1'><body>x</body></message>")
    c.expect(r"<message[^>]*type='error'.*?remote-server-not-found.*?</message>")


def test_same_resource_replaces():
    "A newer session with the same resource replaces the older, which is told: conflict."
    a = login(server(), "alice", resource="same")
    login(server(), "alice", resource="same")
    assert "conflict" in a.closed()


def test_server_answers():
    "disco, version, ping, time."
    c = login(server(), "alice")
    for i, (child, want) in enumerate((("<query xmlns='http://jabber.org/protocol/disco#info'/>", "category='server'"), ("<ping xmlns='urn:xmpp:ping'/>", ""),
                                       ("<query xmlns='jabber:iq:version'/>", "murre"), ("<time xmlns='urn:xmpp:time'/>", "utc"))):
        c.send(f"<iq type='get' id='q{i}' to='localhost'>{child}</iq>")
        got = c.expect(rf"<iq[^>]*id='q{i}'[^>]*?(/>|>.*?</iq>)").group().decode()
        assert "type='result'" in got and want in got, got
    c.send("<iq type='get' id='none' to='localhost'><x xmlns='nobody:knows'/></iq>")
    c.expect(r"<iq[^>]*type='error'.*?service-unavailable.*?</iq>")


if __name__ == "__main__":
    try:
        main(sys.modules["__main__"])
    finally:
        if S:
            S.__exit__()
