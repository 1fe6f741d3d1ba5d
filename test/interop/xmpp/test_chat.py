"""Chat by hand: delivery, offline queue, acks, resumption, carbons, rosters, blocking (RFC 6121 and the XEPs), and the promise across kill -9."""
import re, sys
from rig import Raw, Server, login, main

S = None
SM = "urn:xmpp:sm:3"


def server():
    global S
    if S is None:
        S = Server().start()
        for u in ("alice", "bob", "carol", "dave", "erin", "frank"):
            S.user(u + "@localhost")
    return S


def message(to, text, origin=None, extra="", kind="chat"):
    o = f"<origin-id xmlns='urn:xmpp:sid:0' id='{origin}'/>" if origin else ""
    return f"<message to='{to}' type='{kind}'><body>{text}</body>{o}{extra}</message>"


def acked(c, h):
    c.send(f"<r xmlns='{SM}'/>")
    got = c.expect(r"<a [^>]*h='(\d+)'").group(1)
    assert int(got) == h, (got, h)


def body(c):
    return c.expect(r"<message.*?<body>(.*?)</body>.*?</message>").group(1).decode()


def test_live_message_has_stanza_id_and_no_delay():
    "A live message arrives with the server's stanza-id and without a delay."
    b = login(server(), "bob", resource="b1")
    a = login(server(), "alice", resource="a1")
    a.send(message("bob@localhost", "hello"))
    m = b.expect(r"<message.*?</message>").group().decode()
    assert "<body>hello</body>" in m and "urn:xmpp:sid:0" in m and "urn:xmpp:delay" not in m and "from='alice@localhost/a1'" in m, m


def test_offline_messages_come_in_order_with_delay_and_once():
    "XEP-0160, 0203: kept in order, delivered at the next login with their time, and gone after the ack."
    a = login(server(), "alice", resource="a2", sm=True)
    for i in range(20):
        a.send(message("carol@localhost", f"m{i}"))
    acked(a, 21)
    assert server().ctl("offline", "carol@localhost")["messages"] == 20
    c = Raw(server().tls_port, tls=True)
    c.open()
    c.login("carol", sm=True)
    c.send("<presence/>")
    for i in range(20):
        m = c.expect(r"<message.*?</message>").group().decode()
        assert f"<body>m{i}</body>" in m and "urn:xmpp:delay" in m, m
    c.send(f"<a xmlns='{SM}' h='1000'/>")
    assert "undefined-condition" in c.closed()  # more than was sent: XEP-0198 section 4
    c = Raw(server().tls_port, tls=True)
    c.open()
    c.login("carol", sm=True)
    c.send("<presence/>")
    ids = []
    for i in range(20):
        m = c.expect(r"<message.*?</message>").group().decode()
        ids.append(re.search(r"<stanza-id[^>]*id='([^']*)'", m)[1])
    assert len(set(ids)) == 20
    c.send(f"<r xmlns='{SM}'/>")
    c.expect(r"<a [^>]*h='1'")
    seen = 21 + len(re.findall(rb"<presence", c.buf))
    c.send(f"<a xmlns='{SM}' h='{seen}'/><r xmlns='{SM}'/>")
    c.expect(r"<a [^>]*h='\d+'")
    c.send("<iq type='get' id='sync'><ping xmlns='urn:xmpp:ping'/></iq>")
    c.expect("id='sync'")
    left = server().ctl("offline", "carol@localhost")["messages"]
    assert left == 0, left


def test_without_stream_management_a_ping_acks():
    "Sentence 3: a resource without 0198 has acked what was written before a ping that it answers."
    a = login(server(), "alice", resource="a3", sm=True)
    a.send(message("dave@localhost", "x"))
    acked(a, 2)
    d = login(server(), "dave", presence=False)
    d.send("<presence/>")
    assert body(d) == "x"
    i = d.expect(r"<iq[^>]*type='get'[^>]*>\s*<ping").group().decode()
    ping = re.search(r"id='([^']*)'", i)[1]
    assert server().ctl("offline", "dave@localhost")["messages"] == 1
    d.send(f"<iq type='result' id='{ping}'/><iq type='get' id='s'><ping xmlns='urn:xmpp:ping'/></iq>")
    d.expect("id='s'")
    assert server().ctl("offline", "dave@localhost")["messages"] == 0


def test_same_origin_id_is_acked_and_not_stored_twice():
    "Sentence 4, also across kill -9."
    s = server()
    a = login(s, "alice", resource="a4", sm=True)
    a.send(message("erin@localhost", "once", origin="o-1") * 2)
    acked(a, 3)
    assert s.ctl("offline", "erin@localhost")["messages"] == 1
    s.restart()
    a = login(s, "alice", resource="a4", sm=True)
    a.send(message("erin@localhost", "once", origin="o-1"))
    acked(a, 2)
    assert s.ctl("offline", "erin@localhost")["messages"] == 1


def test_kill_in_mid_sentence_loses_nothing_acked():
    "Sentence 1: whatever was acked before kill -9 is delivered after it, once, in order."
    s = server()
    for round_ in range(3):
        a = login(s, "alice", resource="k", sm=True)
        for i in range(200):
            a.send(message("frank@localhost", f"r{round_}-{i}") + (f"<r xmlns='{SM}'/>" if i % 10 == 0 else ""))
        a.expect(r"<a [^>]*h='([1-9]\d+)'")
        more = re.findall(rb"<a [^>]*h='(\d+)'", a.buf)
        h = max([10] + [int(x) for x in more])
        s.restart()
        f = login(s, "frank", sm=True, presence=False)
        f.send("<presence/>")
        got = []
        while len(got) < h - 1:
            got.append(body(f))
        mine = [g for g in got if g.startswith(f"r{round_}-")]
        assert mine[: h - 1] == [f"r{round_}-{i}" for i in range(len(mine[: h - 1]))], got
        f.send(f"<iq type='get' id='s'><ping xmlns='urn:xmpp:ping'/></iq>")
        f.expect("id='s'")
        s.ctl("user", "del", "frank@localhost")
        s.user("frank@localhost")


def test_resumption_loses_nothing():
    "XEP-0198: a dropped stream is resumed; what was not acked comes again, in order, and only that."
    s = server()
    s.user("rita@localhost")
    b = login(s, "rita", resource="res", sm=True)
    a = login(s, "alice", resource="res", sm=True)
    a.send(message("rita@localhost/res", "one"))
    assert body(b) == "one"
    previd, jid = b.smid, b.jid
    b.close()
    a.send(message("rita@localhost/res", "two"))
    acked(a, 3)
    c = Raw(s.tls_port, tls=True)
    c.open()
    assert c.plain("rita")
    c.open()
    c.send(f"<resume xmlns='{SM}' previd='{previd}' h='1'/>")
    c.expect(r"<resumed[^>]*>")
    assert body(c) == "one" and body(c) == "two"
    other = Raw(s.tls_port, tls=True)
    other.open()
    assert other.plain("alice")
    other.open()
    other.send(f"<resume xmlns='{SM}' previd='{previd}' h='0'/>")  # somebody else's id
    other.expect(r"<failed[^>]*>.*?item-not-found")


def test_carbons():
    "XEP-0280: sent and received copies for the other resource, genuine ones from the own bare JID."
    s = server()
    a1, a2 = login(s, "alice", resource="c1"), login(s, "alice", resource="c2")
    for c in (a1, a2):
        c.send("<iq type='set' id='cc'><enable xmlns='urn:xmpp:carbons:2'/></iq>")
        c.expect("id='cc'[^>]*type='result'|type='result'[^>]*id='cc'")
    b = login(s, "bob", resource="c")
    a1.send(message("bob@localhost/c", "to bob"))
    m = a2.expect(r"<message(?:(?!<message).)*?<sent.*?</sent></message>").group().decode()
    assert "from='alice@localhost'" in m and "to bob" in m, m
    b.send(message("alice@localhost/c1", "to a1"))
    m = a2.expect(r"<message(?:(?!<message).)*?<received.*?</received></message>").group().decode()
    assert "to a1" in m and "from='alice@localhost'" in m, m
    b.send(message("alice@localhost/c1", "secret", extra="<private xmlns='urn:xmpp:carbons:2'/><no-copy xmlns='urn:xmpp:hints'/>"))
    b.send(message("alice@localhost/c1", "after"))
    m = a2.expect(r"<received.*?</received>").group().decode()
    assert "after" in m, m
    forged = "<received xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' from='carol@localhost'><body>forged</body></message></forwarded></received>"
    b.send(f"<message to='alice@localhost/c2' type='chat'><body>f</body>{forged}</message>")
    m = a2.expect(r"<message(?:(?!<message).)*?<body>f</body>.*?</message>").group().decode()
    assert "forged" not in m, m


def test_subscription_and_presence():
    "RFC 6121 section 3 and 4: ask, approve, see each other come and go; roster pushes tell the state."
    s = server()
    s.user("gina@localhost"), s.user("hans@localhost")
    g, h = login(s, "gina", resource="g"), login(s, "hans", resource="h")
    for c in (g, h):
        c.send("<iq type='get' id='ro'><query xmlns='jabber:iq:roster'/></iq>")
        c.expect(r"id='ro'")
    g.send("<presence to='hans@localhost' type='subscribe'/>")
    g.expect(r"<item [^>]*ask='subscribe'")
    h.expect(r"<presence[^>]*type='subscribe'")
    h.send("<presence to='gina@localhost' type='subscribed'/>")
    h.expect(r"<item [^>]*subscription='from'")
    g.expect(r"<item [^>]*subscription='to'")
    g.expect(r"<presence[^>]*from='hans@localhost/h'")
    h.send("<presence><show>away</show></presence>")
    g.expect(r"<presence[^>]*from='hans@localhost/h'[^>]*>\s*<show>away")
    h.close()
    g.expect(r"<presence[^>]*type='unavailable'[^>]*from='hans@localhost/h'|<presence[^>]*from='hans@localhost/h'[^>]*type='unavailable'")
    assert s.ctl("roster", "gina@localhost")[0]["subscription"] == "to"
    g.send("<iq type='set' id='rm'><query xmlns='jabber:iq:roster'><item jid='hans@localhost' subscription='remove'/></query></iq>")
    g.expect(r"id='rm'")
    assert s.ctl("roster", "gina@localhost") == []
    assert s.ctl("roster", "hans@localhost")[0]["subscription"] == "none"


def test_request_waits_for_the_login():
    "RFC 6121 3.1.3: a request to someone offline is delivered at each login until it is answered, also after kill -9."
    s = server()
    s.user("ida@localhost"), s.user("jo@localhost")
    i = login(s, "ida", resource="i")
    i.send("<presence to='jo@localhost' type='subscribe'/>")
    i.send("<iq type='get' id='s'><ping xmlns='urn:xmpp:ping'/></iq>")
    i.expect("id='s'")
    i.send("<iq type='get' id='ro'><query xmlns='jabber:iq:roster'/></iq>")
    i.expect(r"ask='subscribe'")
    s.restart()
    for _ in range(2):
        j = login(s, "jo", resource="j", presence=False)
        j.send("<presence/>")
        j.expect(r"<presence[^>]*type='subscribe'")
        j.close()


def test_every_request_that_waits_reaches_the_client():
    "RFC 6121 3.1.3: 500 requests of 16 KiB, far more than the least xmpp.out_max, all reach the client, at every login."
    n = 500
    limits = {"xmpp.out_max": "65536", "xmpp.stanza_max": "32768", "delivery.window_bytes": "16384", "tls.required": "false", "xmpp.accept_rate_ip": "0"}
    with Server(limits) as s:
        s.user("bob@localhost")
        names = s.dir + "/names"
        with open(names, "w") as f:
            f.writelines(f"c{i}@localhost secret\n" for i in range(n))
        s.ctl("user", "import", names)
        for i in range(n):
            c = Raw(s.port)
            c.open()
            c.login(f"c{i}")
            c.send(f"<presence type='subscribe' to='bob@localhost'><status>{'x' * 16000}</status></presence></stream:stream>")
            c.closed()
        for _ in range(2):
            b = Raw(s.port)
            b.open()
            b.login("bob")
            b.send("<presence/>")
            asking = set()
            while len(asking) < n:
                got = b.expect(r"<presence[^>]*from='(c\d+)@localhost'[^>]*type='subscribe'|<presence[^>]*type='subscribe'[^>]*from='(c\d+)@localhost'|"
                               r"<iq type='get' id='(\w+)'[^>]*><ping")
                if got[3]:
                    b.send(f"<iq type='result' id='{got[3].decode()}'/>")
                else:
                    asking.add(got[1] or got[2])
            b.close()


def test_roster_versioning():
    "RFC 6121 2.6: the present version gives an empty result."
    c = login(server(), "erin", resource="v")
    c.send("<iq type='set' id='1'><query xmlns='jabber:iq:roster'><item jid='x@localhost' name='X &amp; Y'><group>G</group></item></query></iq>")
    c.expect(r"id='1'")
    c.send("<iq type='get' id='2'><query xmlns='jabber:iq:roster' ver=''/></iq>")
    r = c.expect(r"<iq[^>]*id='2'.*?</iq>").group().decode()
    ver = re.search(r"ver='(\d+)'", r)[1]
    assert "X &amp; Y" in r and "<group>G</group>" in r, r
    c.send(f"<iq type='get' id='3'><query xmlns='jabber:iq:roster' ver='{ver}'/></iq>")
    r = c.expect(r"<iq[^>]*id='3'[^>]*?(/>|></iq>|>.*?</iq>)").group().decode()
    assert "query" not in r, r


def test_blocking():
    "XEP-0191: what is blocked is refused both ways, and looks like nobody to the blocked."
    s = server()
    a, c = login(s, "alice", resource="bl"), login(s, "carol", resource="bl")
    a.send("<iq type='set' id='b1'><block xmlns='urn:xmpp:blocking'><item jid='carol@LOCALHOST'/></block></iq>")
    a.expect("id='b1'")
    c.send(message("alice@localhost", "hi"))
    c.expect(r"<message[^>]*type='error'.*?service-unavailable")
    a.send(message("carol@localhost", "hi"))
    a.expect(r"<message[^>]*type='error'.*?not-acceptable.*?urn:xmpp:blocking:errors")
    a.send("<iq type='set' id='b2'><unblock xmlns='urn:xmpp:blocking'/></iq>")
    a.expect("id='b2'")
    c.send(message("alice@localhost", "again"))
    assert body(a) == "again"


def test_to_nobody():
    "RFC 6121 8.5.1: service-unavailable, once, and the message is acked."
    a = login(server(), "alice", resource="n", sm=True)
    a.send(message("nobody@localhost", "x"))
    a.expect(r"<message[^>]*type='error'.*?service-unavailable.*?</message>")
    acked(a, 2)


def test_kick_and_delete():
    "An operator's kick and delete end sessions with a stream error."
    s = server()
    s.user("zoe@localhost")
    z = login(s, "zoe", resource="z")
    assert [x["jid"] for x in s.ctl("sessions", "zoe@localhost")] == ["zoe@localhost/z"]
    s.ctl("kick", "zoe@localhost")
    assert "policy-violation" in z.closed()
    z = login(s, "zoe", resource="z")
    s.ctl("user", "del", "zoe@localhost")
    assert "stream:error" in z.closed()
    assert "zoe@localhost" not in s.ctl("user", "list")


def test_sigterm_drains():
    "SIGTERM sends sessions system-shutdown and ends with status 0."
    with Server() as s:
        s.user("alice@localhost")
        a = login(s, "alice")
        assert s.stop() == 0
        assert "system-shutdown" in a.closed()


if __name__ == "__main__":
    try:
        main(sys.modules["__main__"])
    finally:
        if S:
            S.__exit__()
