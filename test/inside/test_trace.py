"""One request followed by its number, live; events followed as they happen; and the flight recorder read from a running node, a killed one's
file and a core. Each look is tested by causing what it shows; what an operator may do wrong is answered."""
import asyncio, json, os, re, select, signal, ssl, struct, subprocess, sys, time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../interop/xmpp"))
from rig import BUILD, LIMIT, Server, login, main, until

CTL = BUILD + "/murrectl"
OK, USAGE, DATAERR, NOINPUT, UNAVAILABLE, IOERR = 0, 64, 65, 66, 69, 74
SM = "urn:xmpp:sm:3"
S, pairs = None, 0


def server():
    global S
    if S is None:
        S = Server().start()
        S.user("nurse@localhost")
    return S


def ctl(s, *words):
    r = subprocess.run([CTL, "--socket", s.dir + "/data/ctl.sock", *words], capture_output=True, text=True, timeout=LIMIT * 2)
    return r.returncode, r.stdout, r.stderr


class Watcher:
    """murrectl with --json, whose lines are read as they come. The first says that it watches: from then on nothing is missed."""

    def __init__(self, s, *words, text=False):
        args = [CTL, "--socket", s.dir + "/data/ctl.sock"] + ([] if text else ["--json"])
        self.proc = subprocess.Popen([*args, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.buf, self.seen = b"", []
        if text:
            self.greeting = self.proc.stderr.readline().decode()
        else:
            self.answer = self.line()
            assert self.answer["ok"] and self.answer["stream"], self.answer

    def line(self, limit=LIMIT):
        end = time.monotonic() + limit
        while b"\n" not in self.buf:
            left = end - time.monotonic()
            assert left > 0 and select.select([self.proc.stdout], [], [], left)[0], f"what is waited for does not come; the last are {self.seen[-3:]}"
            piece = os.read(self.proc.stdout.fileno(), 1 << 16)
            assert piece, "it ended: " + self.proc.stderr.read().decode()
            self.buf += piece
        text, _, self.buf = self.buf.partition(b"\n")
        return json.loads(text)

    def until(self, what, f):
        """Reads frames up to the first for which f is true."""
        end = time.monotonic() + LIMIT
        while True:
            v = self.line(end - time.monotonic())
            self.seen.append(v)
            if f(v):
                return v

    def of(self, trace):
        return [v for v in self.seen if v.get("trace") == trace]

    def end(self):
        self.proc.kill()
        self.proc.communicate()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


def pair(s):
    """Two who are new here: the first writes, the second reads; both with stream management."""
    global pairs
    pairs += 1
    for u in ("romeo", "juliet"):
        s.user(f"{u}{pairs}@localhost")
    j, r = login(s, f"juliet{pairs}", resource="balcony", sm=True), login(s, f"romeo{pairs}", resource="garden", sm=True)
    for c in (r, j):
        c.bare, c.handled = c.jid.split("/")[0], 1  # its own presence is the first stanza that it got
    r.other = j.bare
    return r, j


def say(r, body, to=None):
    r.send(f"<message to='{to or r.other}' type='chat' id='{body}'><body>{body}</body></message>")


def hear(j, body):
    text = j.expect(f"^.*?{body}</body>.*?</message>").group().decode()
    j.handled += len(re.findall(r"<(?:message|presence|iq) ", text))


def ack(j):
    j.send(f"<a xmlns='{SM}' h='{j.handled}'/>")


def names(steps):
    return [v["event"] + ":" + v["message"] if v["event"] == "trace_handle" else v["event"] for v in steps]


def in_order(steps, *wanted):
    at = 0
    for v in names(steps):
        if at < len(wanted) and v == wanted[at]:
            at += 1
    return at == len(wanted)


PATH = ("trace_in", "trace_handle:svc_stanza", "trace_handle:svc_route", "trace_handle:store_put", "trace_submit", "trace_job",
        "trace_job_done", "trace_handle:rt_job_done", "trace_batch", "trace_durable", "trace_handle:store_committed", "msg_accepted")


def follow_one(s, what, r, j, body):
    with Watcher(s, "trace", what) as w:
        say(r, body)
        hear(j, body)
        ack(j)
        first = w.until("a message comes in", lambda v: v["event"] == "trace_in" and v.get("text") == "message")
        n = first["trace"]
        w.until("it is acked", lambda v: v.get("trace") == n and v["event"] == "trace_acked")
        steps = w.of(n)
        if not any(v["event"] == "trace_handle" and v["message"] == "svc_done" for v in steps):
            w.until("the sender is told", lambda v: v.get("trace") == n and v["event"] == "trace_handle" and v["message"] == "svc_done")
        return n, w.of(n), w.answer["result"]


def test_a_message_is_followed_from_sender_to_acked():
    "trace JID: edge in, partitions, log with its batch and sync, acked to the sender, out to the recipient, acked by it; under one number."
    s = server()
    r, j = pair(s)
    n, steps, answer = follow_one(s, j.bare, r, j, "hush1")
    assert answer == {"watches": "account", "jid": j.bare, "known": True, "ours": True}, answer
    ordered = sorted(steps, key=lambda v: v["at_usec"])
    assert in_order(ordered, *PATH), names(ordered)
    assert in_order(ordered, "trace_durable", "trace_handle:svc_done"), names(ordered)
    assert in_order(ordered, "trace_durable", "trace_handle:svc_deliver", "trace_out", "trace_acked"), names(ordered)
    by = {v["event"]: v for v in steps}
    assert by["trace_batch"]["records"] >= 1 and by["trace_batch"]["took_usec"] > 0 and by["trace_durable"]["loc"] >> 32 >= 1, by
    assert by["trace_durable"]["lsn"] == by["trace_acked"]["lsn"] == by["msg_accepted"]["lsn"], by
    assert by["trace_out"]["written"] == 1 and by["trace_out"]["keep"] == 1, by["trace_out"]
    assert by["trace_job"]["kind"] == "disk" and "shard" not in by["trace_job"], by["trace_job"]
    for v in steps:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", v["time"]) and v["at_usec"] > 0, v
        assert v["event"] in ("trace_job", "trace_job_done") or re.fullmatch(r"<0\.\d+\.\d+\.\d+>", v["pid"]) and v["class"] in ("c2s", "part", "store_log"), v
        assert v["event"] != "trace_handle" or v["queued"] >= 0 and v["waited_usec"] >= 0, v
    assert "hush1" not in json.dumps(steps), "no step has what was written"
    r.close(), j.close()


def test_from_and_to_bare_and_full():
    "A bare JID fits each of its resources, a full one only itself, as sender and as recipient; what is of others has no number."
    s = server()
    r, j = pair(s)
    for i, what in enumerate((r.bare, r.jid, r.jid.replace("romeo", "ROMEO"), j.bare)):
        n, steps, _ = follow_one(s, what, r, j, f"x{i}")
        assert in_order(sorted(steps, key=lambda v: v["at_usec"]), *PATH), (what, names(steps))
    with Watcher(s, "trace", r.bare + "/attic") as other, Watcher(s, "trace", r.bare) as w:
        say(r, "aside")
        hear(j, "aside")
        w.until("its own watcher sees it", lambda v: v["event"] == "trace_out")
        say(r, "again", to=j.jid)
        hear(j, "again")
        assert not select.select([other.proc.stdout], [], [], 0)[0] and not other.buf, "another resource is watched"
    r.close(), j.close()


def test_two_who_watch_see_the_same_number():
    "Two watchers at once: the sender's and the recipient's; both see all steps under one number; the ninth is refused with the reason."
    s = server()
    r, j = pair(s)
    with Watcher(s, "trace", r.bare) as a, Watcher(s, "trace", j.bare) as b:
        say(r, "both")
        hear(j, "both")
        ack(j)
        n = a.until("one", lambda v: v["event"] == "trace_in" and v["text"] == "message")["trace"]
        a.until("one", lambda v: v["event"] == "trace_acked" and v["trace"] == n)
        b.until("the other", lambda v: v["event"] == "trace_acked" and v["trace"] == n)
        assert in_order(sorted(b.of(n), key=lambda v: v["at_usec"]), *PATH), names(b.of(n))
        more = [Watcher(s, "trace", "nurse@localhost") for _ in range(6)]
        st, _, err = ctl(s, "trace", "nurse@localhost")
        assert st == DATAERR and "8 watch requests already" in err, (st, err)
        for w in more:
            w.end()
    until_free(s)
    r.close(), j.close()


def until_free(s):
    """Every watcher's place is free again: eight can watch."""
    def eight():
        have = []
        try:
            for _ in range(8):
                have.append(Watcher(s, "trace", "nurse@localhost"))
            return True
        except AssertionError:
            return False
        finally:
            for w in have:
                w.end()
    until("a watcher that has gone leaves its place", eight)


def test_a_watcher_that_is_killed_takes_its_filter_along():
    "kill -9 of who watches: its place is free, and stanzas have no number any more."
    s = server()
    r, j = pair(s)
    w = Watcher(s, "trace", j.bare)
    say(r, "before")
    hear(j, "before")
    w.until("it works", lambda v: v["event"] == "trace_out")
    w.proc.kill()
    w.proc.communicate()
    until_free(s)
    counted = lambda: {v["event"]: v["count"] for v in s.ctl("events")}.get("trace_in", 0)
    before = counted()
    say(r, "after")
    hear(j, "after")
    assert counted() == before
    r.close(), j.close()


def test_an_actor_is_watched_by_pid_and_name():
    "trace PID and trace NAME: each message that it handles gets a number, with its queue length and its waiting time where that is known."
    s = server()
    r, j = pair(s)
    row = next(v for v in s.ctl("actors") if v["name"] == "store.log")
    for what in (row["pid"], "store.log"):
        with Watcher(s, "trace", what) as w:
            assert w.answer["result"] == {"watches": "actor", "pid": row["pid"], "class": "store_log", "name": "store.log"}, w.answer
            say(r, "actor")
            hear(j, "actor")
            v = w.until("the put", lambda v: v["event"] == "trace_handle" and v["message"] == "store_put")
            assert v["pid"] == row["pid"] and v["queued"] >= 0, v
            w.until("what it causes", lambda x: x["event"] == "trace_durable" and x["trace"] == v["trace"])
            w.until("and the way back", lambda x: x["event"] == "trace_out" and x["trace"] == v["trace"])
    mine = next(v for v in s.ctl("sessions", r.bare))
    with Watcher(s, "trace", mine["actor"] if "actor" in mine else mine["pid"]) as w:
        say(r, "session")
        hear(j, "session")
        n = w.until("a session that is watched gives numbers at its edge", lambda v: v["event"] == "trace_in")["trace"]
        w.until("to the end", lambda v: v["event"] == "trace_out" and v["trace"] == n)
    r.close(), j.close()


def test_a_request_through_the_account_store():
    "A request that needs an account from disk goes through the pool sql: job, waiting, running, and on to its end."
    with Server() as s:
        for u in ("romeo", "juliet"):
            s.user(u + "@localhost")
        s.restart()  # juliet is in nobody's memory
        r = login(s, "romeo", sm=True)
        with Watcher(s, "trace", "romeo@localhost") as w:
            say(r, "cold", to="juliet@localhost")
            n = w.until("in", lambda v: v["event"] == "trace_in")["trace"]
            w.until("kept", lambda v: v["event"] == "msg_accepted" and v["trace"] == n)
            steps = sorted(w.of(n), key=lambda v: v["at_usec"])
            assert any(v["event"] == "trace_job" and v["kind"] == "sql" for v in steps), names(steps)
            assert in_order(steps, "trace_handle:keyed_load", "trace_handle:keyed_user", "trace_handle:store_put", "trace_durable"), names(steps)


def test_carbons_belong_to_the_request():
    "The copy for the recipient's other resource is a step of the same request."
    s = server()
    r, j = pair(s)
    k = login(s, j.bare.split("@")[0], resource="tomb")
    for c in (j, k):
        c.send("<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>")
        c.expect("id='c'")
    with Watcher(s, "trace", r.jid) as w:
        say(r, "copied", to=j.jid)
        j.expect("copied</body>")
        k.expect("copied</body>")
        n = w.until("in", lambda v: v["event"] == "trace_in")["trace"]
        first = w.until("one copy", lambda v: v["event"] == "trace_out" and v["trace"] == n)
        second = w.until("the other", lambda v: v["event"] == "trace_out" and v["trace"] == n)
        assert first["pid"] != second["pid"], (first, second)
    r.close(), j.close(), k.close()


def test_the_tree():
    "Without --json a request is shown as a tree when it is quiet: one line a step, microseconds from its first, children under who caused them."
    s = server()
    r, j = pair(s)
    w = Watcher(s, "trace", "--count", "1", j.bare, text=True)
    assert "watches what comes from and goes to " + j.bare in w.greeting, w.greeting
    say(r, "tree")
    hear(j, "tree")
    ack(j)
    out, err = w.proc.communicate(timeout=LIMIT)
    out = out.decode()
    assert w.proc.returncode == OK and not err, (w.proc.returncode, err)
    lines = out.splitlines()
    count = re.fullmatch(r"request \d+, (\d+) steps?, \d+ us, \d{4}-\S+Z", lines[0])
    assert count and int(count[1]) == sum(bool(re.match(r" *\d+  ", l)) for l in lines), ("the head counts the lines below it", out)
    assert lines[1].split() == ["us", "where", "actor", "step"], out
    column = lambda pattern: next((m.start(1) for l in lines for m in [re.match(r" *\d+  .*? (" + pattern + ")", l)] if m), None)
    assert column("in: message, \\d+ bytes") < column("svc_stanza, waited \\d+ us") < column("svc_route, waited") < column("store_put, waited"), out
    assert column("store_put, waited") < column("disk pool: job, waited") < column("done in \\d+ us"), out
    assert re.search(r"log: batch \d+ of \d+ records, written and synced in \d+ us\n", out) and re.search(r"log: record [0-9a-f]{16} is durable, in segment \d+ at \d+\n", out), out
    assert re.search(r"^ +\d+  shard \d +c2s <0\.\d+\.\d+\.\d+> +out: \d+ bytes$", out, re.M), out
    assert "tree<" not in out and "not handled so far" not in out, out
    r.close(), j.close()


def test_a_flood_is_bounded_and_says_what_it_lost():
    "A watcher that does not read while thousands of stanzas come is told how many steps it missed, and the server goes on."
    s = server()
    r, j = pair(s)
    with Watcher(s, "trace", r.bare) as w:
        w.proc.send_signal(signal.SIGSTOP)
        for i in range(40):  # each goes through a dozen steps
            r.send("".join(f"<presence to='{r.jid}' id='f{i}-{k}'/>" for k in range(100)))
            r.send("<r xmlns='urn:xmpp:sm:3'/>")
            r.expect("<a [^>]*>")  # taken in: not more than this at a time
        assert s.ctl("status")["ready"]
        w.proc.send_signal(signal.SIGCONT)
        lost = w.until("what was lost", lambda v: v.get("lost", 0) > 0)
        assert lost["lost"] > 0 and len(w.seen) >= 4096, (lost, len(w.seen))
    r.close(), j.close()


def test_a_pipe_that_nobody_reads_and_a_server_that_ends():
    "trace ends when its output is closed, though nothing comes; and with a sentence when the server ends."
    with Server() as s:
        s.user("romeo@localhost")
        r, w = os.pipe()
        p = subprocess.Popen([CTL, "--socket", s.dir + "/data/ctl.sock", "trace", "romeo@localhost"], stdout=w, stderr=subprocess.PIPE)
        os.close(w)
        assert b"watches" in p.stderr.readline()
        os.close(r)
        assert p.wait(LIMIT) == IOERR
        p.stderr.close()
        p = Watcher(s, "trace", "romeo@localhost", text=True)
        e = Watcher(s, "events", "follow", text=True)
        assert "kinds of events are followed" in e.greeting, e.greeting
        s.stop()
        for x in (p, e):
            _, err = x.proc.communicate(timeout=LIMIT)
            assert x.proc.returncode == IOERR and b"the server has ended" in err, (x.proc.returncode, err)


def test_wrong_use_is_answered():
    "An unknown account is said and waited for; a wrong JID, pid, name, number is told with what would be right."
    s = server()
    w = Watcher(s, "trace", "nobody@localhost", text=True)
    assert "there is no account of nobody@localhost: waits" in w.greeting, w.greeting
    w.end()
    with Watcher(s, "trace", "friend@elsewhere.example") as w:
        assert w.answer["result"]["known"] is None and w.answer["result"]["ours"] is False, w.answer
        r, _ = pair(s)
        r.send("<message to='friend@elsewhere.example' type='chat' id='away'><body>x</body></message>")
        w.until("what is sent there is seen", lambda v: v["event"] == "trace_in" and v["text"] == "message")
    w = Watcher(s, "trace", "u0@nowhere", text=True)
    assert "u0@nowhere is of no domain of this server: only what is sent to it from here will be seen" in w.greeting, w.greeting
    w.end()
    for words, status, text in (
        (["trace"], USAGE, "usage: trace"), (["trace", "a@b", "c@d"], USAGE, "usage: trace"), (["trace", "--count"], USAGE, "usage: trace"),
        (["trace", "--count", "0", "a@b"], USAGE, "'0' is not a number from 1"), (["trace", "--seconds", "x", "a@b"], USAGE, "'x' is not a number"),
        (["trace", "--often", "a@b"], USAGE, "usage: trace"), (["trace", "@localhost"], DATAERR, "is not a JID of the form"),
        (["trace", "a@b@c"], DATAERR, "is not a JID"), (["trace", "<0.1.2>"], DATAERR, "is not a pid of the form"),
        (["trace", "<0.0.999999.1>"], DATAERR, "is not alive"), (["trace", "<7.256.1>"], DATAERR, "is not an actor of this node"),
        (["trace", "store.lug"], DATAERR, "is neither a pid nor the name of an actor"),
        (["events", "follow", "long_cue"], DATAERR, "'long_cue' is not an event"), (["events", "follow", "send"], DATAERR, "happens with every message"),
        (["record", "--trace", "0"], USAGE, "'0' is not the number of a request"), (["record", "--trace", "x"], USAGE, "is not the number"),
    ):
        st, out, err = ctl(s, *words)
        assert st == status and text in err and not out, (words, st, out, err)
    st, out, err = ctl(s, "--json", "trace", "store.lug")
    assert st == DATAERR and json.loads(out.splitlines()[0])["ok"] is False, (st, out, err)
    r = subprocess.run([CTL, "--socket", "/nowhere/s", "trace", "a@b"], capture_output=True, text=True, timeout=LIMIT)
    assert r.returncode == UNAVAILABLE and "no server answers" in r.stderr
    st, out, _ = ctl(s, "trace", "--seconds", "1", "nurse@localhost")
    assert st == OK and not out


# --- events
def test_events_are_followed_as_they_happen():
    "events follow names events as they come, those that are named or from level info on; who follows is on record; slow readers are told."
    s = server()
    with Watcher(s, "events", "follow", "bind", "session_end") as w, Watcher(s, "events", "follow") as general:
        assert w.answer["result"]["events"] == ["bind", "session_end"], w.answer
        c = login(s, "nurse", resource="follow")
        v = w.until("bind", lambda v: v["event"] == "bind")
        assert v["class"] == "c2s" and v["level"] == "debug" and v["text"].startswith("nurse@localhost"), v
        c.close()
        v = w.until("its end", lambda v: v["event"] == "session_end")
        assert {x["event"] for x in w.seen} == {"bind", "session_end"}
        s.ctl("log", "level", "notice")
        v = general.until("an operator's command", lambda v: v["event"] == "ctl" and "log level" in v.get("text", ""))
        assert v["text"] == "log level notice" and "pid" not in v, v
        s.ctl("log", "level", "info")
    with Watcher(s, "events", "follow", "ctl") as w:
        x = Watcher(s, "trace", "nurse@localhost")
        v = w.until("who watches is on record", lambda v: "follow trace" in v["text"])
        assert v["uid"] == os.getuid(), v
        x.end()
    w = Watcher(s, "events", "follow", "ctl", text=True)
    s.ctl("log", "level", "info")
    lines = [w.proc.stdout.readline().decode() for _ in range(2)]
    assert re.fullmatch(r'\d{4}-\S+Z info ctl uid=\d+ text="events follow ctl"\n', lines[0]), lines  # itself
    assert re.fullmatch(r'\d{4}-\S+Z info ctl uid=\d+ text="log level info"\n', lines[1]), lines
    w.end()


def test_long_handlers_reach_log_and_follower():
    "A real long handler is in the log, in the recorder, and with who follows."
    with Server({"watch.handler_budget": "100us", "log.level": "warning"}) as s, Watcher(s, "events", "follow", "long_handler") as w:
        s.user("romeo@localhost")
        c = login(s, "romeo")
        c.send("<message to='romeo@localhost' id='big'><x xmlns='y'>" + "<a b='c'/>" * 15000 + "</x></message>")  # a tree of so many nodes
        v = w.until("a handler over its budget", lambda v: v["event"] == "long_handler" and v["text"] == "c2s")
        c.close()
        assert v["usec"] >= 100 and v["level"] == "warning" and v["text"], v
        until("a thread of its own writes it into the log", lambda: " warning long_handler slot=" in s.stderr())
        assert "long_handler" in ctl(s, "record", "--event", "long_handler", "--last", "1")[1]


# --- the recorder afterwards
def test_record_shows_a_request_live_from_a_killed_file_and_from_a_core():
    "record --trace N has each step of the request, from the running node, from the file after kill -9, and out of a core by gcore."
    with Server() as s:
        r, j = pair(s)
        n, steps, _ = follow_one(s, j.bare, r, j, "hush2")
        st, live, err = ctl(s, "record", "--trace", str(n))
        assert st == OK and not err and len(live.splitlines()) >= len(steps), (st, err, live)
        assert all(l.endswith(f" trace={n}") for l in live.splitlines()), live
        assert re.search(r"  shard \d   <0\.\d+\.\d+\.\d+> +trace_handle message=store_put queued=\d+ waited_usec=\d+ class=store_lo trace=", live), live
        assert re.search(r"trace_send message=svc_route to=<0\.\d+\.\d+\.\d+> class=part", live) and "trace_durable lsn=" in live, live
        v = json.loads(ctl(s, "--json", "record", "--trace", str(n), "--event", "trace_handle")[1])
        assert {x["trace"] for x in v["result"]} == {n} and "store_put" in [x["fields"]["message"] for x in v["result"]], v
        assert ctl(s, "record", "--trace", str(n + 5000))[1] == ""
        g = subprocess.run(["gcore", "-o", s.dir + "/core", str(s.proc.pid)], capture_output=True, text=True, timeout=LIMIT * 4)
        core = f"{s.dir}/core.{s.proc.pid}"
        assert g.returncode == 0 and os.path.exists(core), g.stdout + g.stderr
        st, out, err = ctl(s, "record", "--trace", str(n), core)
        assert st == OK and out == live and not err, (st, err, out)
        s.kill()
        assert ctl(s, "record", "--trace", str(n), s.dir + "/data/recorder") == (OK, live, "")
        damaged_cores(s, core)


def small_core(core):
    """The core's headers, and behind them the recorder alone: the same file without what nobody reads here."""
    with open(core, "rb") as f:
        head = bytearray(f.read(1 << 16))
        programs, = struct.unpack_from("<Q", head, 32)
        count, = struct.unpack_from("<H", head, 56)
        for i in range(count):
            p = programs + 56 * i
            kind, _, at, _, _, size, _, _ = struct.unpack_from("<IIQQQQQQ", head, p)
            f.seek(at)
            if kind == 1 and size and f.read(8) == b"murre-fr":
                f.seek(at)
                recorder = f.read(size)
                struct.pack_into("<Q", head, p + 8, len(head))
            else:
                struct.pack_into("<Q", head, p + 32, 0)  # nothing of it is in the file
    return bytes(head) + recorder, len(head)


def damaged_cores(s, core):
    """A core that is cut, torn, without its recorder or no core at all is answered, and what it still has is shown."""
    whole, at = small_core(core)

    def read(data):
        with open(s.dir + "/small", "wb") as f:
            f.write(data)
        return ctl(s, "record", s.dir + "/small")

    def changed(offset, fmt, value):
        data = bytearray(whole)
        struct.pack_into(fmt, data, offset, value)
        return data

    assert read(whole) == ctl(s, "record", core)
    st, out, err = read(whole[:at + 4096 + 64 * 5])
    assert st == OK and len(out.splitlines()) <= 5 and "the recorder in this core is cut off" in err, (st, err)
    for data, why in (
        (whole[:at], "is a core without a flight recorder"), (whole[:40], "nor a whole core"), (whole[:64], "nor a whole core"), (whole[:200], "nor a whole core"),
        (changed(16, "<H", 2), "not a core of a 64-bit process"), (changed(4, "<B", 1), "not a core of a 64-bit process"),
        (changed(32, "<Q", 1 << 63), "nor a whole core"), (changed(54, "<H", 32), "nor a whole core"), (changed(at, "<B", 0), "is a core without a flight recorder"),
    ):
        st, out, err = read(data)
        assert st == DATAERR and why in err and not out, (st, err, why)
    st, out, err = read(changed(at + 4096 + 64 + 20, "<I", 77))
    assert st == OK and "1 torn records were left out" in err, (st, err)
    st, _, err = ctl(s, "record", BUILD + "/murre")
    assert st == DATAERR and "not a core of a 64-bit process" in err, err


# --- a real client
def test_two_slixmpp_clients_are_followed():
    "Two slixmpp clients chat; the trace of one account shows the message from its client to the other's ack."
    import slixmpp
    s = server()
    for u in ("slixa", "slixb"):
        s.user(u + "@localhost")

    def client(jid):
        c = slixmpp.ClientXMPP(jid, "secret")
        c.ready, c.inbox = asyncio.Event(), asyncio.Queue()
        c.register_plugin("xep_0198")
        c.ssl_context.check_hostname, c.ssl_context.verify_mode = False, ssl.CERT_NONE

        async def start(_):
            c.send_presence()
            await c.get_roster()
            c.ready.set()

        c.add_event_handler("session_start", start)
        c.add_event_handler("message", lambda m: c.inbox.put_nowait(m))
        c.connect(("127.0.0.1", s.port))
        return c

    async def chat(w):
        a, b = client("slixa@localhost/one"), client("slixb@localhost/two")
        await a.ready.wait(), await b.ready.wait()
        a.send_message(mto="slixb@localhost", mbody="from slix", mtype="chat")
        assert (await b.inbox.get())["body"] == "from slix"
        acked = await asyncio.get_running_loop().run_in_executor(None, lambda: w.until("acked", lambda v: v["event"] == "trace_acked"))
        gone = [c.disconnected for c in (a, b)]
        for c in (a, b):
            c.disconnect()
        await asyncio.gather(*gone)
        return acked

    async def limited(w):
        return await asyncio.wait_for(chat(w), LIMIT * 2)

    with Watcher(s, "trace", "slixb@localhost") as w:
        acked = asyncio.run(limited(w))
        steps = sorted(w.of(acked["trace"]), key=lambda v: v["at_usec"])
        assert in_order(steps, *PATH[:5], "trace_durable", "trace_out", "trace_acked"), names(steps)


if __name__ == "__main__":
    try:
        main(sys.modules[__name__])
    finally:
        if S:
            S.__exit__()
