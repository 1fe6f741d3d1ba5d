"""Clients that we did not write, against a real server: slixmpp, aioxmpp, @xmpp/client (Node.js) and profanity (in tmux)."""
import asyncio, json, logging, os, re, shutil, subprocess, ssl, sys, tempfile
from rig import LIMIT, Server, login, main, until

logging.disable(logging.CRITICAL)
S = None
HERE = os.path.dirname(os.path.abspath(__file__))


def server():
    global S
    if S is None:
        S = Server().start()
        for u in ("alice", "bob", "slix", "slox", "aio", "node", "prof"):
            S.user(u + "@localhost")
    return S


def run_async(coro):
    async def limited():
        return await asyncio.wait_for(coro, LIMIT * 2)
    return asyncio.run(limited())


# --- slixmpp
def slix(jid, got, plugins=("xep_0030", "xep_0199")):
    import slixmpp

    class Client(slixmpp.ClientXMPP):
        def __init__(self):
            super().__init__(jid, "secret")
            self.ready, self.inbox = asyncio.Event(), asyncio.Queue()
            for p in plugins:
                self.register_plugin(p)
            self.ssl_context.check_hostname, self.ssl_context.verify_mode = False, ssl.CERT_NONE
            self.add_event_handler("session_start", self.start)
            self.add_event_handler("message", lambda m: self.inbox.put_nowait(m))
            self.add_event_handler("failed_auth", lambda *_: got.append("failed_auth"))

        async def start(self, _):
            self.send_presence()
            await self.get_roster()
            self.ready.set()

    c = Client()
    c.connect(("127.0.0.1", server().port))
    return c


async def end(*clients):
    gone = [c.disconnected for c in clients]  # a client makes a new future when the old one is done
    for c in clients:
        c.disconnect()
    await asyncio.gather(*gone)


def test_slixmpp_two_clients_chat():
    "slixmpp: STARTTLS, SCRAM, roster, presence, chat both ways, disco, ping."
    async def go():
        got = []
        a, b = slix("slix@localhost/one", got), slix("slox@localhost/two", got)
        await a.ready.wait(), await b.ready.wait()
        a.send_message(mto="slox@localhost", mbody="hello", mtype="chat")
        m = await b.inbox.get()
        assert m["body"] == "hello" and m["from"] == "slix@localhost/one", m
        m.reply("hello yourself").send()
        m = await a.inbox.get()
        assert m["body"] == "hello yourself", m
        info = await a["xep_0030"].get_info(jid="localhost")
        assert ("server", "im", None, "murre") in info["disco_info"]["identities"], info
        assert await a["xep_0199"].ping("localhost", timeout=LIMIT) >= 0
        await end(a, b)
        assert got == []
    run_async(go())


def test_slixmpp_subscription_and_roster():
    "slixmpp: automatic subscription in both directions ends in both."
    async def go():
        a, b = slix("slix@localhost/s1", []), slix("slox@localhost/s2", [])
        await a.ready.wait(), await b.ready.wait()
        changed = asyncio.Event()
        a.add_event_handler("roster_update", lambda _: changed.set())
        a.send_presence_subscription(pto="slox@localhost")
        while a.client_roster["slox@localhost"]["subscription"] != "both":
            await changed.wait()
            changed.clear()  # slixmpp's own handler came first: what this update says is in client_roster
        await end(a, b)
    run_async(go())


def test_slixmpp_stream_management_and_carbons():
    "slixmpp with XEP-0198 and XEP-0280: the offline queue empties through its acks."
    async def go():
        s = server()
        c = login(s, "bob", sm=True)
        for i in range(5):
            c.send(f"<message to='slox@localhost' type='chat'><body>off{i}</body></message>")
        c.send("<r xmlns='urn:xmpp:sm:3'/>")
        c.expect(r"<a [^>]*h='6'")
        b = slix("slox@localhost/sm", [], ("xep_0030", "xep_0198", "xep_0280"))
        await b.ready.wait()
        got = [(await b.inbox.get())["body"] for _ in range(5)]
        assert got == [f"off{i}" for i in range(5)], got
        await b["xep_0280"].enable()
        await end(b)
        again = await asyncio.get_event_loop().run_in_executor(None, lambda: s.ctl("offline", "slox@localhost"))
        assert again["messages"] == 0, again
    run_async(go())


def test_slixmpp_wrong_password():
    "slixmpp sees a failed login as one."
    async def go():
        import slixmpp
        got, failed = [], asyncio.Event()
        c = slix("slix@localhost/x", got)
        c.password = "wrong"
        c.credentials["password"] = "wrong"
        c.add_event_handler("failed_all_auth", lambda *_: failed.set())
        c.add_event_handler("failed_auth", lambda *_: failed.set())
        await failed.wait()
        c.abort()
    run_async(go())


# --- aioxmpp
def test_aioxmpp_chat_with_stream_management():
    "aioxmpp: strict XML, SCRAM, stream management, presence, a message both ways."
    async def go():
        import aioxmpp, aioxmpp.dispatcher
        layer = aioxmpp.make_security_layer("secret", no_verify=True)
        jid = aioxmpp.JID.fromstr("aio@localhost/a")
        peer = [("127.0.0.1", server().port, aioxmpp.connector.STARTTLSConnector())]
        client = aioxmpp.PresenceManagedClient(jid, layer, override_peer=peer)
        inbox = asyncio.Queue()
        client.summon(aioxmpp.dispatcher.SimpleMessageDispatcher).register_callback(aioxmpp.MessageType.CHAT, None, inbox.put_nowait)
        async with client.connected() as stream:
            assert stream.sm_enabled
            r = await asyncio.get_event_loop().run_in_executor(None, lambda: login(server(), "alice", resource="aio"))
            m = aioxmpp.Message(to=aioxmpp.JID.fromstr("alice@localhost/aio"), type_=aioxmpp.MessageType.CHAT)
            m.body[None] = "from aioxmpp"
            await client.send(m)
            await asyncio.get_event_loop().run_in_executor(None, lambda: r.expect("from aioxmpp"))
            r.send("<message to='aio@localhost' type='chat'><body>to aioxmpp</body></message>")
            got = await inbox.get()
            assert got.body.any() == "to aioxmpp", got
            r.close()
    run_async(go())


# --- @xmpp/client
def node(*args):
    return subprocess.Popen(["node", HERE + "/client.mjs", str(server().port), "node", "secret", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_xmpp_js_sends_and_receives():
    "@xmpp/client: login, ordered messages, iq; and the same account drains what was kept."
    a = login(server(), "alice", resource="js", sm=True)
    p = node("send", "alice@localhost", "js", "10")
    for i in range(10):
        a.expect(rf"<message.*?<body>js{i}</body>.*?</message>")
    out, err = p.communicate(timeout=LIMIT * 2)
    assert p.returncode == 0 and '"pong":"result"' in out, (out, err)
    for i in range(3):
        a.send(f"<message to='node@localhost' type='chat'><body>kept{i}</body></message>")
    a.send("<r xmlns='urn:xmpp:sm:3'/>")
    a.expect(r"<a [^>]*h='4'")
    p = node("wait", "3")
    out, err = p.communicate(timeout=LIMIT * 2)
    got = [json.loads(l) for l in out.splitlines()]
    assert [g["body"] for g in got if "body" in g] == ["kept0", "kept1", "kept2"] and all(g["delay"] for g in got if "body" in g), (out, err)


# --- profanity
class Tmux:
    def __init__(self):
        self.home = tempfile.mkdtemp(prefix="murre-prof-")
        self.sock = self.home + "/tmux"
        self.do("new-session", "-d", "-x", "150", "-y", "40", "profanity")

    def do(self, *args):
        env = dict(os.environ, HOME=self.home, XDG_CONFIG_HOME=self.home + "/c", XDG_DATA_HOME=self.home + "/d", TERM="screen-256color", LC_ALL="C.UTF-8")
        return subprocess.run(["tmux", "-S", self.sock, *args], env=env, capture_output=True, text=True, check=True).stdout

    def type(self, text):
        self.do("send-keys", "-l", text)
        self.do("send-keys", "Enter")

    def wait(self, pattern):
        def look():  # the screen is the only event that a terminal program gives
            self.screen = self.do("capture-pane", "-p")
            return re.search(pattern, self.screen) and self.screen
        return until(lambda: f"{pattern} on the screen:\n{self.screen}", look)

    def end(self):
        subprocess.run(["tmux", "-S", self.sock, "kill-server"], capture_output=True)
        shutil.rmtree(self.home, ignore_errors=True)


def test_profanity_chats():
    "profanity, as README.md says: connect, trust the certificate, log in, send, receive."
    s = server()
    s.user("paula@localhost")
    a = login(s, "paula", resource="p")
    t = Tmux()
    try:
        t.wait("Profanity")
        t.type(f"/connect prof@localhost server 127.0.0.1 port {s.port}")
        t.wait("[Pp]assword")
        t.type("secret")
        t.wait("tls allow|/tls")
        t.type("/tls allow")
        t.wait("logged in successfully|prof@localhost/profanity")
        t.type("/msg paula@localhost hello from profanity")
        m = a.expect(r"<message.*?<body>hello from profanity</body>.*?</message>").group().decode()
        jid = re.search(r"from='([^']*)'", m)[1]
        a.send(f"<message to='{jid}' type='chat'><body>hello to profanity</body></message>")
        t.wait("hello to profanity")
        t.type("/quit")
    finally:
        t.end()


if __name__ == "__main__":
    try:
        main(sys.modules["__main__"])
    finally:
        if S:
            S.__exit__()
