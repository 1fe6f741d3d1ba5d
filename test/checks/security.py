#!/usr/bin/python3
"""S: what strangers and users may do to a node and to each other: guessing, flooding, trickling, vanishing, and twenty users who try to get at
each other's data by everything that XMPP lets them say. Loopback has as many IPv4 addresses as a check wants: 127.0.0.0/8."""
import base64, hashlib, os, re, select, signal, socket, statistics, struct, sys, time

import common
from common import LIMIT, Node, rig, soak, until

SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
TRICKLERS, DROPS, USERS = 1000, 10000, 20
PAGES = 256  # of 4 KiB: what memory may differ by and still be called flat; a leak of 100 bytes a connection is past it


class From(rig.Raw):
    """A stream from an address of our choice."""

    def __init__(self, server, address="127.0.0.1"):
        self.sock = socket.create_connection(("127.0.0.1", server.port), timeout=LIMIT, source_address=(address, 0))
        self.buf = b""


def attempt(server, user, password, address="127.0.0.1"):
    """One login; whether it succeeded, and all bytes of the answers, nonce and salt taken out."""
    c = From(server, address)
    c.open()
    seen, expect = [], c.expect

    def noting(pattern):
        m = expect(pattern)
        seen.append(m.group())
        return m

    c.expect = noting
    ok = c.plain(user, password)
    if not ok:
        c.sock.settimeout(LIMIT)
        c.send("</stream:stream>")
        seen.append(c.closed().encode())
    c.close()
    return ok, seen


def count(server, event):
    return {e["event"]: e["count"] for e in server.ctl("events")}.get(event, 0)


def descriptors(server):
    return len(os.listdir(f"/proc/{server.proc.pid}/fd"))


def kept(server, fds):
    """Says which descriptors stayed, for until()."""
    def say():
        have = {f: os.readlink(f"/proc/{server.proc.pid}/fd/{f}") for f in os.listdir(f"/proc/{server.proc.pid}/fd")}
        return f"descriptors given back; {fds} before, now {have}"

    return say


def check_guessing_is_limited():
    "After ten wrong passwords the account is shut for that address, for right passwords too, and open for its owner elsewhere; unknown names alike."
    with Node({"auth.account_refill": "1h", "auth.address_failures": "0"}) as s:
        s.users(["alice", "bob"])
        for user in ("alice", "nobody"):
            for _ in range(14):
                assert not attempt(s, user, "wrong")[0]
        assert count(s, "auth_limited") == 8, count(s, "auth_limited")
        shut, said = attempt(s, "alice", "secret")
        assert not shut and b"<not-authorized" in said[2], said
        assert attempt(s, "alice", "secret", "127.0.0.2")[0], "the owner is locked out by guesses from elsewhere"
        assert attempt(s, "bob", "secret")[0]
        assert count(s, "auth_limited") == 9
        assert re.search(r"auth_limited.*127\.0\.0\.1:\d+ alice@localhost", s.stderr()), s.stderr()


def check_spraying_is_limited():
    "One password tried on many accounts from one address: after fifty that address is shut, others are not."
    with Node({"auth.address_refill": "1h"}) as s:
        s.users(["alice"])
        for i in range(50):
            assert not attempt(s, f"u{i}", "secret")[0]
        assert not attempt(s, "alice", "secret")[0]
        assert attempt(s, "alice", "secret", "127.0.0.2")[0]


def check_many_addresses_only_slow_an_account_down():
    "Guesses from many addresses make the owner's login slower, by at most 5 s, and do not refuse it."
    with Node({"auth.slow_failures": "20", "auth.slow_refill": "1h"}) as s:
        s.users(["alice"])
        for i in range(20):
            assert not attempt(s, "alice", "wrong", f"127.0.1.{i + 1}")[0]
        start = time.monotonic()
        assert attempt(s, "alice", "secret", "127.0.0.2")[0]
        assert count(s, "auth_limited") == 1
        print(f"      the owner waited {time.monotonic() - start:.1f} s")


def check_answers_do_not_tell_who_exists():
    "Unknown account and wrong password: the same bytes, but for nonce and salt, which are of the same length; the salt of a name stays the same."
    with Node({"auth.account_failures": "0", "auth.address_failures": "0"}) as s:
        s.users([f"u{i}" for i in range(10)])
        shapes, salts = set(), {}
        for i in range(40):
            user = f"u{i % 20}"
            ok, said = attempt(s, user, "wrong")
            assert not ok
            first = base64.b64decode(re.search(rb">(.*?)<", said[0])[1]).decode()
            f = dict(p.split("=", 1) for p in first.split(","))
            salts.setdefault(user, set()).add(f["s"])
            shapes.add((len(said[0]), len(first), len(f["r"]), len(f["s"]), f["i"], f["h"], said[1], said[2]))
        assert len(shapes) == 1, shapes
        assert all(len(v) == 1 for v in salts.values()), salts


def check_the_challenge_says_what_was_offered():
    "XEP-0474: the hash of mechanisms and binding types in the challenge is that of the features sent, for each mechanism, with and without TLS."
    with rig.Server({"tls.required": "false"}) as s:
        s.user("alice@localhost")
        for tls in (False, True):
            for name, alg in (("SCRAM-SHA-1", "sha1"), ("SCRAM-SHA-256", "sha256"), ("SCRAM-SHA-256-PLUS", "sha256")):
                if name.endswith("-PLUS") and not tls:
                    continue
                c = rig.Raw(s.tls_port if tls else s.port, tls=tls)
                features = c.open()
                mechs = sorted(re.findall(r"<mechanism>(.*?)</mechanism>", features))
                types = sorted(re.findall(r"<channel-binding type='(.*?)'", features))
                text = "\x1e".join(mechs) + ("\x1f" + "\x1e".join(types) if types else "")
                assert bool(types) == tls, features
                gs2 = "p=tls-exporter,," if name.endswith("-PLUS") else "n,,"
                first = base64.b64encode(f"{gs2}n=alice,r=abcdefghijklmnop".encode()).decode()
                c.send(f"<auth xmlns='{SASL}' mechanism='{name}'>{first}</auth>")
                said = base64.b64decode(c.expect(r"<challenge[^>]*>(.*?)<")[1]).decode()
                want = base64.b64encode(hashlib.new(alg, text.encode()).digest()).decode()
                assert said.endswith(",h=" + want), (said, text)
                c.close()


class Crowd:
    """Sockets that are only watched for their end."""

    def __init__(self, port):
        self.port, self.poll, self.socks = port, select.epoll(), {}

    def add(self):
        s = socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socks[s.fileno()] = s
        self.poll.register(s.fileno(), select.EPOLLIN | select.EPOLLRDHUP)

    def say(self, data):
        for s in self.socks.values():
            try:
                s.send(data)
            except OSError:  # closed meanwhile; the poller says so
                pass

    def ended(self, seconds):
        """Forgets who was closed within the time; stops waiting at the first silence after one."""
        for fd, what in self.poll.poll(seconds):
            try:
                over = what & (select.EPOLLHUP | select.EPOLLERR) or not self.socks[fd].recv(65536)
            except OSError:
                over = True
            if over:
                self.poll.unregister(fd)
                self.socks.pop(fd).close()


def check_slowloris():
    "1,000 connections that trickle a header byte by byte are all closed by auth_deadline, whatever they send; memory and descriptors are flat."
    with Node({"xmpp.auth_deadline": "2s", "xmpp.accept_rate_ip": "0"}) as s:
        head = b"<?xml version='1.0'?><stream:stream to='localhost' version='1.0' xmlns='jabber:client' xmlns:x='" + b"a" * 100000
        fds, rss = descriptors(s), []
        for round_ in range(soak(4, 40)):
            crowd, sent = Crowd(s.port), 0
            start = time.monotonic()
            for _ in range(TRICKLERS):
                crowd.add()
            while crowd.socks:
                assert time.monotonic() < start + LIMIT, f"{len(crowd.socks)} are still there"
                crowd.say(head[sent : sent + 1])
                sent += 1
                crowd.ended(0.01)
            until("no sessions", lambda: s.ctl("status")["sessions"] == 0)
            until(kept(s, fds), lambda: descriptors(s) <= fds + 1)
            rss.append(s.rss() // 4096)
        assert max(rss[1:]) - rss[0] <= PAGES, rss
        print(f"      {TRICKLERS} connections, {sent} bytes each; resident KiB after each round {[r * 4 for r in rss]}")


def check_one_byte_segments():
    "Stanzas that come byte by byte, and a stream that does from its first byte on, are read as if they came whole."
    with Node() as s:
        s.users(["alice", "bob"])
        bob = rig.Raw(s.port)
        bob.open()
        bob.login("bob", resource="r")
        bob.send("<presence/>")
        bob.expect("<presence")
        a = rig.Raw(s.port)
        a.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        whole = a.send
        a.send = lambda text: [a.sock.send(bytes([b])) for b in text.encode()]
        a.open()
        a.login("alice", resource="r", sm=True)
        cpu = {}
        for size in (2000, 16000, 128000):
            text = f"<message to='bob@localhost/r' type='chat'><body>é&amp;{'x' * size}</body></message>"
            used = s.cpu()
            a.send(text)
            bob.expect(f"<body>é&amp;{'x' * size}</body>")
            cpu[size] = s.cpu() - used
        whole("<r xmlns='urn:xmpp:sm:3'/>")
        a.expect("<a [^>]*h='3'")
        print("      CPU of the server, us a byte: " + ", ".join(f"{k} bytes {v / k * 1e6:.1f}" for k, v in cpu.items()))


def leave(c, how):
    if how == "reset":
        c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    c.close()


def check_connect_and_drop():
    "10,000 connections that come, say nothing or half of something, and go, by close or reset, leave memory and descriptors as they were; over TLS too."
    head = b"<stream:stream to='localhost' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"r" * 40
    # Over TLS the memory of handshakes goes back and forth between threads, and how many wait differs; a connection of it weighs 20 KiB and more.
    for name, half, pages in (("plain", [b"", b"<?xml ", head, hello], PAGES), ("TLS", [b"", hello[:3], hello, head], 32 * PAGES)):
        with Node({"xmpp.accept_rate_ip": "0", "xmpp.accept_rate": "0"}) as s:
            fds, rss, rounds = descriptors(s), [], 5
            each = soak(DROPS, 20 * DROPS) // (rounds - 1)
            for _ in range(rounds):
                for i in range(each):
                    c = socket.create_connection(("127.0.0.1", s.tls_port if name == "TLS" else s.port), timeout=LIMIT)
                    c.send(half[i // 2 % 4])
                    leave(c, ("reset", "close")[i % 2])
                until("no sessions", lambda: s.ctl("status")["sessions"] == 0)
                until(kept(s, fds), lambda: descriptors(s) <= fds + 1)
                rss.append(s.rss() // 4096)
            assert max(rss[1:]) - rss[0] <= pages, rss  # the first round is the warming up
            print(f"      {name}: {rounds * each} connections; resident KiB after each round {[r * 4 for r in rss]}, descriptors {fds}, {descriptors(s)}")


def check_half_open():
    "Clients that fall silent, logged in or not, or close one direction only, are found and forgotten; so is what they held."
    with Node({"xmpp.auth_deadline": "1s", "xmpp.idle_ping": "1s", "xmpp.idle_timeout": "1s", "xmpp.resume_timeout": "1s"}) as s:
        s.users(["alice", "bob"])
        fds, held = descriptors(s), []
        for i in range(30):
            c = rig.Raw(s.port)
            c.open()
            if i % 3 == 0:
                pass  # says nothing more before the login
            else:
                c.login(("alice", "bob")[i % 2], resource=f"r{i % 10}", sm=i % 3 == 1)
            if i % 2:
                c.sock.shutdown(socket.SHUT_WR)
            held.append(c)
        until("no sessions", lambda: s.ctl("status")["sessions"] == 0)
        until(kept(s, fds), lambda: descriptors(s) <= fds + 1)
        for c in held:
            c.close()


def check_connections_faster_than_the_rate_wait():
    "Past xmpp.accept_rate connections wait and are all served; past xmpp.accept_rate_ip those of that address are closed, others come in."
    with Node({"xmpp.accept_rate": "40"}) as s:
        socks = [From(s) for _ in range(100)]
        for c in socks:
            c.open()
        assert count(s, "accept") == 100 and count(s, "accept_limited") > 0
    with Node({"xmpp.accept_rate_ip": "10", "xmpp.per_ip_max": "20"}) as s:
        closed = 0
        for _ in range(100):
            c = From(s)
            try:
                c.open()
            except (AssertionError, OSError):
                closed += 1
            c.close()
        assert closed > 0 and count(s, "accept_limited") == closed, closed
        From(s, "127.0.0.2").open()


def check_drain_does_not_wait_for_the_silent():
    "SIGTERM: everybody gets system-shutdown; who never closes is given a second, not five; the exit status is 0."
    took = []
    for _ in range(3):
        with Node() as s:
            s.users(["alice", "bob", "eve"])
            cs = [rig.Raw(s.port) for _ in range(4)]
            for i, c in enumerate(cs):
                c.open()
                if i < 3:
                    c.login(("alice", "bob", "eve")[i], resource="r", sm=i == 1)
            start = time.monotonic()
            s.proc.send_signal(signal.SIGTERM)
            for c in cs:
                c.expect("<system-shutdown.*</stream:stream>")
            cs[0].close()
            assert s.proc.wait(LIMIT) == 0
            took.append(time.monotonic() - start)
            s.proc.stdout.close()
    print(f"      from SIGTERM to the exit: median {statistics.median(took):.2f} s, worst {max(took):.2f} s")
    assert statistics.median(took) < 3, took


class User(rig.Raw):
    """Somebody logged in."""

    def __init__(self, server, name, resource="home"):
        super().__init__(server.port)
        self.name, self.n = name, 0
        self.open()
        self.login(name, resource=resource)

    def drain(self, answers=(), to=("localhost",)):
        """Everything up to the answers of these ids, and of a ping to each of these; who is behind a partition answers through it."""
        ids = list(answers)
        for t in to:
            self.n += 1
            ids.append(f"drain{self.n}")
            self.send(f"<iq type='get' id='drain{self.n}' to='{t}'><ping xmlns='urn:xmpp:ping'/></iq>")
        m = [re.compile(rf"<iq[^>]*id='{i}'[^>]*?(/>|>.*?</iq>)".encode(), re.S) for i in ids]
        self.sock.settimeout(LIMIT)
        while not all(x.search(self.buf) for x in m):
            piece = self.sock.recv(65536)
            assert piece, f"{self.name}: closed: {self.buf!r}"
            self.buf += piece
        got, self.buf = self.buf, b""
        return got.decode()


READ = {"roster": "<query xmlns='jabber:iq:roster'/>", "blocklist": "<blocklist xmlns='urn:xmpp:blocking'/>",
        "offline": "<offline xmlns='http://jabber.org/protocol/offline'><fetch/></offline>",
        "private": "<query xmlns='jabber:iq:private'><storage xmlns='storage:bookmarks'/></query>",
        "last": "<query xmlns='jabber:iq:last'/>", "vcard": "<vCard xmlns='vcard-temp'/>"}
WRITE = {"roster": "<query xmlns='jabber:iq:roster'><item jid='planted@localhost' name='planted'/></query>",
         "roster remove": "<query xmlns='jabber:iq:roster'><item jid='friend{j}@localhost' subscription='remove'/></query>",
         "block": "<block xmlns='urn:xmpp:blocking'><item jid='planted@localhost'/></block>",
         "unblock": "<unblock xmlns='urn:xmpp:blocking'/>",
         "offline": "<offline xmlns='http://jabber.org/protocol/offline'><purge/></offline>",
         "private": "<query xmlns='jabber:iq:private'><storage xmlns='storage:bookmarks'>planted</storage></query>",
         "session": "<session xmlns='urn:ietf:params:xml:ns:xmpp-session'/>",
         "carbons": "<enable xmlns='urn:xmpp:carbons:2'/>"}
SPOOF = ["<message from='{other}' to='{victim}' type='chat'><body>spoofed</body></message>", "<presence from='{other}' to='{victim}'/>",
         "<presence from='{other}'/>", "<iq from='{other}' type='get' id='s'><query xmlns='jabber:iq:roster'/></iq>",
         "<message from='{otherbare}' to='{victim}'><body>spoofed</body></message>", "<message from='localhost' to='{victim}'><body>spoofed</body></message>",
         "<iq type='set' id='p' to='{victim}'><query xmlns='jabber:iq:roster'><item jid='spoofed@localhost'/></query></iq>",
         "<iq type='set' id='p' to='{victim}'><block xmlns='urn:xmpp:blocking'><item jid='spoofed@localhost'/></block></iq>",
         "<message to='{victim}' type='chat'><received xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>"
         "<message xmlns='jabber:client' from='{other}'><body>spoofed inside</body></message></forwarded></received></message>"]


def check_twenty_users_cannot_get_at_each_other():
    "Each of 20 users against each other: rosters, blocklists, offline messages, presence without subscription, and from; as account and as resource."
    with Node({"sasl.iterations": "4096", "auth.account_failures": "0"}) as s:
        names = [f"user{i}" for i in range(USERS)]
        s.users(names + [f"away{i}" for i in range(USERS)])
        users = [User(s, n) for n in names]
        for i, u in enumerate(users):
            u.send(f"<iq type='set' id='mine1'><query xmlns='jabber:iq:roster'><item jid='friend{i}@localhost' name='ROSTER-OF-{i}-END'/></query></iq>"
                   f"<iq type='set' id='mine2'><block xmlns='urn:xmpp:blocking'><item jid='BLOCKED-BY-{i}-END@localhost'/></block></iq>"
                   f"<presence><status>STATUS-OF-{i}-END</status></presence>"
                   f"<message to='away{i}@localhost' type='chat'><body>OFFLINE-FOR-{i}-END</body></message>")
            u.drain()
        before = {n: (s.ctl("roster", n + "@localhost"), s.ctl("offline", n + "@localhost")["messages"]) for n in names + [f"away{i}" for i in range(USERS)]}
        asked, things = 0, [("get", x) for x in READ.values()] + [("set", x) for x in WRITE.values()]
        for i, u in enumerate(users):
            for j in range(USERS):
                if i == j:
                    continue
                ids = []
                for to in (f"user{j}@localhost", f"away{j}@localhost"):
                    for n, (kind, xml) in enumerate(things):
                        ids.append(f"{to[:4]}{n}-{j}")
                        u.send(f"<iq type='{kind}' id='{ids[-1]}' to='{to}'>{xml.replace('{j}', str(j))}</iq>")
                asked += len(ids)
                u.send(f"<presence type='probe' to='user{j}@localhost'/><presence type='probe' to='user{j}@localhost/home'/>")
                got = u.drain(ids, to=("localhost", f"user{j}@localhost"))
                results = dict(re.findall(rf"<iq(?=[^>]*id='(\w+-{j})')[^>]*type='(\w+)'", got))
                assert len(results) == len(ids) and set(results.values()) == {"error"}, (i, j, results, got)
                secrets = re.findall(r"(?:roster-of|blocked-by|status-of|offline-for)-(\d+)-end", got.lower())
                assert not secrets, (i, j, secrets, got)
        for u in users:  # what the others' questions made of us
            got = u.drain()
            assert "planted" not in got, got
        after = {n: (s.ctl("roster", n + "@localhost"), s.ctl("offline", n + "@localhost")["messages"]) for n in before}
        assert after == before, {n: (before[n], after[n]) for n in before if before[n] != after[n]}
        for i, u in enumerate(users):
            u.send("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq><iq type='get' id='b'><blocklist xmlns='urn:xmpp:blocking'/></iq>")
            got = u.drain()
            assert f"ROSTER-OF-{i}-END" in got and f"blocked-by-{i}-end@localhost" in got.lower() and "planted" not in got, got
        for i in range(USERS):
            a = User(s, f"away{i}")
            a.send("<presence/>")
            assert a.expect(r"OFFLINE-FOR-(\d+)-END")[1] == str(i).encode()
            assert "OFFLINE-FOR" not in a.drain()
            a.close()
        spoofs = 0
        for i in range(USERS):
            for text in SPOOF:
                j, k = (i + 1) % USERS, (i + 2) % USERS
                mallory = User(s, f"user{i}", "mallory")
                mallory.send(text.format(other=users[j].jid, otherbare=f"user{j}@localhost", victim=users[k].jid)
                             + "<iq type='get' id='end' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>")
                mallory.expect("<invalid-from|id='end'")
                mallory.close()
                mallory = User(s, f"user{i}", "mallory")
                mallory.send(f"<message to='{users[k].jid}' type='chat'><body>mark{spoofs}</body></message>")
                got = b""
                while f"mark{spoofs}<".encode() not in got:  # what went before it has come before it
                    got += users[k].expect(r".*?</message>|<presence[^>]*>").group()
                got = got.decode()
                mallory.close()
                for m in re.findall(r"<(?:message|presence|iq)[^>]*>", got):
                    claimed = re.search(r"from='([^']*)'", m)
                    assert not claimed or not claimed[1].startswith(f"user{j}@"), (text, m)
                assert "ROSTER-OF" not in got
                if "spoofed" in got:  # delivered under the true name
                    assert re.search(rf"<message[^>]*from='{re.escape(f'user{i}@localhost/')}", got), got
                spoofs += 1
        print(f"      {asked} questions, {spoofs} spoofed stanzas")


if __name__ == "__main__":
    common.main(sys.modules["__main__"])
