"""clients: simulated people over real sockets (asyncio): senders with origin-ids and stream management who send again what was not acked, and
recipients who come and go. They write down what they see (docs/history.md; history.py has it judged); every choice is drawn from the seed and every wait is for
an event.

    Sender --(window of unacked)--> server --> Recipient          World: the server's port, the log, progress, when to finish
"""
import asyncio, base64, collections, hashlib, hmac, json, os, random, socket, ssl, struct, time, zlib
from xml.etree import ElementTree as ET

SM, C, SID, BIND, SASL = "urn:xmpp:sm:3", "{jabber:client}", "urn:xmpp:sid:0", "urn:ietf:params:xml:ns:xmpp-bind", "urn:ietf:params:xml:ns:xmpp-sasl"
TLS = ssl.create_default_context()
TLS.check_hostname, TLS.verify_mode = False, ssl.CERT_NONE
WINDOW = 30  # messages that a sender has unacked
PATIENCE = 10  # seconds that a client waits for a server's first byte. A connection that comes at the very moment at which a listener ends
# (netwarp's refuse, a server's end) can be left over in the kernel, established at both ends and nobody's: its client hears nothing for ever.


class Gone(Exception):
    """The connection ended."""


class World:
    """What the clients of one run share."""

    def __init__(self, server, seed, out=None):
        self.server, self.seed, self.lines, self.out = server, seed, [], out
        self.up, self.finish, self.moved = asyncio.Event(), asyncio.Event(), asyncio.Condition()
        self.acks = self.good = self.receipts = self.drops = 0  # good: acked and not refused
        self.fences = set()  # (sender, account) whose last message arrived
        self.up.set()

    def rng(self, name):
        return random.Random(f"{self.seed}/{name}")

    def note(self, **r):
        line = json.dumps({"t": time.monotonic_ns() // 1000, **r}, separators=(",", ":"))
        self.lines.append(line)
        if self.out:
            self.out(line)

    def progress(self):
        """Wakes those who wait for something to have happened."""
        async def tell():
            async with self.moved:
                self.moved.notify_all()

        asyncio.get_running_loop().create_task(tell())

    async def until(self, condition):
        async with self.moved:
            await self.moved.wait_for(condition)

    async def down(self, action):
        """Ends the server by action() and lets the clients back when action has started it again; both in a thread."""
        self.up.clear()
        self.note(e="fault")
        await asyncio.get_running_loop().run_in_executor(None, action)
        self.up.set()


class Stream:
    """One connection: XML in and out, and SCRAM-SHA-256."""

    salted = {}  # (user, salt, iterations) -> key; the work of a login is in it

    def __init__(self):
        self.ready, self.heard = collections.deque(), False

    async def open(self, world, tls=False, rcvbuf=0):
        await world.up.wait()
        s = socket.socket()
        s.setblocking(False)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # asyncio leaves a socket that it has not made as it is
        if rcvbuf:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        port = world.server.tls_port if tls else world.server.port
        try:
            await asyncio.get_running_loop().sock_connect(s, ("127.0.0.1", port))
            self.r, self.w = await asyncio.open_connection(sock=s, ssl=TLS if tls else None, server_hostname="localhost" if tls else None, limit=1 << 16)
        except (OSError, ssl.SSLError):
            s.close()
            raise Gone("connect")
        self.header()

    def header(self):
        self.parser, self.depth, self.root, self.rest = ET.XMLPullParser(("start", "end")), 0, None, b""
        self.send("<?xml version='1.0'?><stream:stream to='localhost' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>")

    def send(self, text):
        try:
            self.w.write(text.encode())
        except (OSError, RuntimeError):
            raise Gone("send")

    async def flush(self):
        try:
            await self.w.drain()
        except (OSError, ssl.SSLError):
            raise Gone("send")

    def feed(self, data):
        # expat puts off a tag that came in two pieces until much more has come (CVE-2023-52425), so it gets whole ones only.
        whole, end, part = (self.rest + data).rpartition(b">")
        self.rest = part
        self.parser.feed(whole + end)
        for kind, el in self.parser.read_events():
            self.depth += 1 if kind == "start" else -1
            if kind == "start" and self.depth == 1:
                self.root = el
            elif kind == "end" and self.depth == 1:
                self.ready.append(el)
                self.root.clear()

    async def next(self):
        while not self.ready:
            try:
                data = await asyncio.wait_for(self.r.read(65536), None if self.heard else PATIENCE)
            except asyncio.TimeoutError:
                raise Gone("silent from the start")
            except (OSError, ssl.SSLError):
                data = b""
            self.heard = True
            if not data:
                raise Gone("end of stream")
            self.feed(data)
        el = self.ready.popleft()
        if el.tag.endswith("}error") and "streams" in el.tag:
            raise Gone("stream error: " + " ".join(x.tag.split("}")[1] + (": " + x.text if x.text else "") for x in el))
        return el

    async def expect(self, *names):
        while True:
            el = await self.next()
            if el.tag.split("}")[1] in names:
                return el

    async def login(self, user, password="secret"):
        await self.expect("features")
        nonce = base64.b64encode(os.urandom(18)).decode()
        bare = f"n={user},r={nonce}"
        self.send(f"<auth xmlns='{SASL}' mechanism='SCRAM-SHA-256'>{base64.b64encode(('n,,' + bare).encode()).decode()}</auth>")
        el = await self.expect("challenge", "failure")
        if el.tag.endswith("failure"):
            raise Gone("refused: " + ET.tostring(el).decode())
        first = base64.b64decode(el.text).decode()
        f = dict(p.split("=", 1) for p in first.split(","))
        key = (user, f["s"], f["i"])
        if key not in self.salted:
            self.salted[key] = hmac.digest(hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(f["s"]), int(f["i"])), b"Client Key", "sha256")
        client = self.salted[key]
        final = f"c=biws,r={f['r']}"
        sig = hmac.digest(hashlib.sha256(client).digest(), f"{bare},{first},{final}".encode(), "sha256")
        proof = base64.b64encode(bytes(a ^ b for a, b in zip(client, sig))).decode()
        self.send(f"<response xmlns='{SASL}'>{base64.b64encode((final + ',p=' + proof).encode()).decode()}</response>")
        el = await self.expect("success", "failure")
        if el.tag.endswith("failure"):
            raise Gone("refused: " + ET.tostring(el).decode())
        self.header()
        await self.expect("features")

    async def bind(self, resource, sm):
        """Returns the id to resume by, or None."""
        self.send(f"<iq type='set' id='b'><bind xmlns='{BIND}'><resource>{resource}</resource></bind></iq>")
        el = await self.expect("iq")
        if el.get("type") != "result":
            raise Gone("bind: " + ET.tostring(el).decode())
        if not sm:
            return None
        self.send(f"<enable xmlns='{SM}' resume='true'/>")
        return (await self.expect("enabled")).get("id")

    async def resume(self, smid, h):
        """Returns the server's h, or None: not possible."""
        self.send(f"<resume xmlns='{SM}' previd='{smid}' h='{h}'/>")
        el = await self.expect("resumed", "failed")
        return int(el.get("h")) if el.tag.endswith("resumed") else None

    def leave(self, how):
        """how: reset (RST), cut (nothing more is said), close (properly)."""
        sock = self.w.get_extra_info("socket")
        if how == "reset" and sock and sock.fileno() >= 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if how == "close":
            try:
                self.send("</stream:stream>")
            except Gone:
                pass
            self.w.close()
        else:
            self.w.transport.abort()


def digest(text):
    return zlib.crc32(text.encode())


class Sender:
    """Sends count messages to targets, then one to each (a fence: by order, all before it has come before it)."""

    def __init__(self, world, user, targets, count, flap=0.0, size=(20, 400), tls=False, kind="chat", window=WINDOW, burst=8):
        self.w, self.user, self.targets, self.count, self.flap, self.size, self.tls, self.kind = world, user, targets, count, flap, size, tls, kind
        self.window, self.burst = window, burst
        self.jid, self.rng, self.n, self.smid = f"{user}@localhost/s", world.rng(user), 0, None
        self.unacked = collections.deque()  # (number, xml, record) in order
        self.out, self.base = collections.deque(), 0  # stanzas of this session that <a/> has not covered: numbers or None
        self.fenced = self.done = False
        self.got, self.refused = 0, set()  # stanzas of this session; numbers
        self.why = ""

    def make(self, to, fence=False):
        self.n += 1
        body = f"{self.user} {self.n} {'fence' if fence else ''} " + "x" * self.rng.randint(*self.size)
        origin = f"{self.user}-{self.n}"
        xml = f"<message to='{to}' type='{self.kind}' id='{origin}'><body>{body}</body><origin-id xmlns='{SID}' id='{origin}'/></message>"
        self.unacked.append((self.n, xml, dict(e="send", c=self.jid, id=origin, to=to, sum=digest(body))))

    def put(self, item):
        n, xml, record = item
        self.w.note(**record)
        self.out.append(n)
        self.stream.send(xml)

    def covered(self, h):
        while self.base < h and self.out:
            n = self.out.popleft()
            self.base += 1
            if n is not None and self.unacked and self.unacked[0][0] == n:
                self.unacked.popleft()
                self.w.note(e="ack", c=self.jid, id=f"{self.user}-{n}")
                self.w.acks += 1
                self.w.good += n not in self.refused
        self.w.progress()

    async def connect(self):
        self.stream = s = Stream()
        await s.open(self.w, self.tls)
        await s.login(self.user)
        h = await s.resume(self.smid, self.got) if self.smid and self.rng.random() < 0.7 else None
        if h is not None:
            self.covered(h)
        else:
            self.smid, self.got = None, 0
            self.smid = await s.bind("s", True)
        self.out.clear()
        self.base = h or 0
        for item in list(self.unacked):
            self.put(item)
        s.send(f"<r xmlns='{SM}'/>")

    def fill(self):
        """A few more messages and a question, as the window allows."""
        for _ in range(self.rng.randint(1, self.burst)):
            if len(self.unacked) >= self.window or self.n >= self.count:
                break
            self.make(self.rng.choice(self.targets))
            self.put(self.unacked[-1])
        if self.n >= self.count and not self.fenced:
            self.fenced = True
            for t in self.targets:
                self.make(t, True)
                self.put(self.unacked[-1])
        self.stream.send(f"<r xmlns='{SM}'/>")

    def took(self, el):
        if el.tag == "{%s}a" % SM:
            self.covered(int(el.get("h")))
            return True
        self.got += el.tag in (C + "message", C + "iq", C + "presence")
        if el.tag == "{%s}r" % SM:
            self.stream.send(f"<a xmlns='{SM}' h='{self.got}'/>")
        elif el.tag == C + "message" and el.get("type") == "error":
            n, error = int(el.get("id").rsplit("-", 1)[1]), el.find(C + "error")
            self.why = error.get("type") + ": " + error[0].tag.split("}")[1]
            self.w.note(e="err", c=self.jid, id=f"{self.user}-{n}", why=self.why)
            self.refused.add(n)
        return False

    async def run(self):
        while not self.done:
            try:
                await self.connect()
                while True:
                    if self.took(await self.stream.next()):
                        if self.fenced and not self.unacked:
                            self.done = True
                            break
                        self.fill()
                        if self.rng.random() < self.flap:
                            break
                    await self.stream.flush()
            except Gone as g:
                self.why = str(g)
                self.w.drops += 1
                self.w.progress()
            if hasattr(self.stream, "w"):
                self.stream.leave("close" if self.done else self.rng.choice(("reset", "cut", "close")))
        self.w.progress()


class Recipient:
    """Receives until every sender in senders has its last message here. flap: how likely it goes after a message."""

    def __init__(self, world, user, senders, sm=True, flap=0.0, tls=False, resume=0.7, away=True):
        self.w, self.user, self.senders, self.sm, self.flap, self.tls, self.resume, self.away = world, user, senders, sm, flap, tls, resume, away
        self.account, self.jid, self.rng = f"{user}@localhost", f"{user}@localhost/r", world.rng(user)
        self.ways = ("reset", "cut", "close") if resume < 1 else ("reset", "cut")  # after a proper close there is nothing to resume
        self.smid, self.h, self.fences, self.connections, self.why = None, 0, set(), 0, ""

    def complete(self):
        return len(self.fences) == len(self.senders)

    async def connect(self):
        self.stream = s = Stream()
        await s.open(self.w, self.tls)
        await s.login(self.user)
        h = await s.resume(self.smid, self.h) if self.smid and self.rng.random() < self.resume else None
        self.w.note(e="on", c=self.jid, resumed=h is not None)
        self.connections += 1
        if h is None:
            self.smid, self.h = None, 0
            self.smid = await s.bind("r", self.sm)
        if not h:  # the server had nothing of that session: its presence was lost, and is ours to say again (XEP-0198, 5)
            s.send("<presence/>")

    def took(self, el):
        """Returns true for a message."""
        name = el.tag.split("}")[1]
        if name == "r":
            self.stream.send(f"<a xmlns='{SM}' h='{self.h}'/>")
        if name not in ("message", "iq", "presence"):
            return False
        self.h = (self.h + 1) & 0xFFFFFFFF
        if name == "iq" and el.get("type") == "get":
            self.stream.send(f"<iq type='result' id='{el.get('id')}' to='{el.get('from')}'/>")
        if name != "message" or el.find("{%s}origin-id" % SID) is None or el.find(C + "body") is None:
            return False
        ids = [x.get("id") for x in el.findall("{%s}stanza-id" % SID) if x.get("by") == self.account]
        origin, body = el.find("{%s}origin-id" % SID), el.find(C + "body").text
        self.w.note(e="recv", c=self.jid, id=origin.get("id"), **{"from": el.get("from")}, sid=ids[0] if len(ids) == 1 else None, sum=digest(body))
        self.w.receipts += 1
        user, _, fence = body.split(" ")[:3]
        if fence:
            self.fences.add(user)
            self.w.progress()
        return True

    async def settle(self):
        """Acks everything and waits until the server has read that."""
        if self.sm:
            self.stream.send(f"<a xmlns='{SM}' h='{self.h}'/>")
        self.stream.send("<iq type='get' id='settled' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>")
        while True:
            el = await self.stream.next()
            self.took(el)
            if el.get("id") == "settled":
                return

    async def rest(self):
        """Stays away until something happened elsewhere."""
        if self.away and not self.w.finish.is_set():
            goal = self.w.acks + self.rng.randint(0, 60)
            await self.w.until(lambda: self.w.acks >= goal or self.w.finish.is_set())

    async def run(self):
        while True:
            try:
                await self.connect()
                while not self.complete():
                    if self.took(await self.stream.next()) and self.rng.random() < self.flap:
                        break
                    await self.stream.flush()
                else:
                    await self.settle()
                    self.stream.leave("close")
                    return
            except Gone as g:
                self.why = str(g)
                self.w.drops += 1
            if hasattr(self.stream, "w"):
                self.stream.leave(self.rng.choice(self.ways))
            await self.rest()
