"""Each fault is caused, in a profile of murre-bench or in a real server, and found from outside with the looks that docs/inside.md names for it.
What is judged are names, counts and shares, never times: a look finds its fault on a busy machine too."""
import os, re, signal, socket, ssl, subprocess, sys, threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, "../checks"))
from profiles import BENCH, CTL, Profile, row
import common, rig
from rig import LIMIT, ROOT, main, until

MILLION = 1000000


# --- queues
def test_a_hot_mailbox_is_found_by_its_ring_and_its_queue():
    "hot-mailbox: waits for room in the ring to shard 0, and senders muted by a full mailbox, grow and come first in locks; queues longest names the actor."
    with Profile("hot-mailbox") as p:
        ring = lambda: row(p.ctl("locks", "instances", "ring"), id="1>0")
        full = lambda: row(p.ctl("locks"), lock="mailbox")["collisions"]
        rings, mailboxes = ring(), full()
        then = until("more of them wait for room", lambda: (r := ring())["collisions"] > rings["collisions"] and r["wait_usec"] > rings["wait_usec"] and full() > mailboxes and r)
        assert then["lock_free"] is True and p.ctl("locks")[0]["lock"] == "ring", (rings, then)
        longest = until("its mailbox is the longest", lambda: [r for r in p.ctl("queues", "longest", "1") if r["class"] == "hot" and r["queued"] > 1000])[0]
        assert p.ctl("actors", "by", "queue", "1")[0]["name"] == "hot"
        busiest = until("it is the busiest", lambda: [r for r in p.ctl("actors", "by", "cost", "1") if r["name"] == "hot"])[0]
        assert busiest["pid"] == longest["pid"], (busiest, longest)
        rates = p.ctl("queues", "actor", "hot")
        assert rates["out"] > 0 and rates["class"] == "hot", rates
        assert p.ctl("events", "all") and row(p.ctl("events"), event="long_queue")["count"] >= 1
        assert re.search(r"long_queue slot=0\.\d+ queued=\d+ hot", p.stderr()), p.stderr()


def test_a_probe_passes_a_million_messages():
    "long-queue: a probe is answered while a million wait, after a batch or a few; the actor has not come near the end of its queue."
    with Profile("long-queue") as p:
        before = p.ctl("actor", "long")
        answer = p.ctl("probe", "long", "60000")
        after = p.ctl("actor", "long")
        assert answer["answered"] is True and answer["queued"] > MILLION * 0.99, answer
        assert after["handled"] - before["handled"] < MILLION / 2, (before, after)
        assert p.ctl("queues", "longest", "1")[0]["queued"] > MILLION * 0.99


def stuck(how, *frames):
    with Profile("stuck", "--how", how) as p:
        # What reads no shard answers at once; what does names the shard that does not.
        assert p.ctl("queues")["messages"]["queued"] >= MILLION - 1
        answer = p.ctl("probe", "stuck", "100")
        assert answer["answered"] is False and answer["why"] == "it is in a handler", answer
        assert (answer["class"], answer["shard"]) == ("stuck", 0) and answer["message"] == "profile_work", answer
        for frame in ("profile_stuck_handle", *frames):
            assert frame in answer["stack"], (frame, answer)
        until("event stuck", lambda: [e for e in p.ctl("events") if e["event"] == "stuck" and e["count"] == 1])
        assert re.search(r"error stuck shard=0 usec=\d+ .*stuck.*profile_stuck_handle", p.stderr()), p.stderr()
        rows = p.ctl("queues", "longest")
        assert rows[0]["pid"] == "shard 0" and rows[0]["class"] == "(does not answer, in stuck)", rows
        refused = p.run("actor", "stuck")
        assert refused.returncode == 65 and "does not answer: its shard is busy" in refused.stderr, refused


def test_operators_do_not_wait_for_each_other():
    "While a probe waits for an actor that is stuck, for a minute, what changes something is answered, and so is another probe."
    with Profile("stuck") as p:
        waiting = subprocess.Popen([CTL, "--socket", p.sock, "probe", "stuck", "60000"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        p.ctl("locks", "on")
        assert p.ctl("probe", "stuck", "10")["answered"] is False
        assert waiting.poll() is None, waiting.communicate()
        p.end()
        waiting.communicate(timeout=2 * LIMIT)


def test_a_handler_in_a_loop_is_found():
    "stuck in a loop: the probe says so past a million messages, with the class, the message and the stack; event stuck is in log and counters."
    stuck("loop", "profile_burn")


def test_a_handler_that_waits_for_a_lock_is_found():
    "stuck in a lock that is never released: the stack has lock_take."
    stuck("lock", "lock_take")


def test_a_handler_in_a_system_call_is_found():
    "stuck in a read that gets nothing: the stack has the call."
    stuck("call", "read")


# --- locks and tables
def test_a_lock_convoy_is_found_with_its_place():
    "convoy: locks on; the lock is the first of the table, and its location is the line of the source that takes it."
    with Profile("convoy") as p:
        assert row(p.ctl("locks"), lock="convoy")["tries"] == 0, "it was counted while counting was off"
        p.ctl("locks", "on")
        worst = until("it has collisions", lambda: [r for r in p.ctl("locks")[:1] if r["lock"] == "convoy" and r["collisions"] > 10 and r["wait_usec"] > 0])[0]
        assert worst["duration_percent"] > 0 and worst["lock_free"] is False, worst
        place = p.ctl("locks", "locations", "convoy")[0]
        file, line = place["location"].rsplit(":", 1)
        text = open(os.path.join(ROOT, file)).read().split("\n")[int(line) - 1]
        assert file == "bench/profile_fault.c" and "lock_take(&p->lock);" in text, (place, text)
        assert place["waits"] and place["collisions"] >= worst["collisions"], (place, worst)
        p.ctl("locks", "clear")
        p.ctl("locks", "off")


def test_a_hash_that_chooses_part_and_bucket_is_found():
    "equal-seed: tables shows the table whose spread is a few per cent, with long chains, beside one with a hash of its own."
    with Profile("equal-seed") as p:
        equal, own = (row(p.ctl("tables"), table=t) for t in ("equal_seed", "own_seed"))
        assert equal["entries"] == own["entries"] > 10000, (equal, own)
        assert equal["spread_percent"] < 10 and own["spread_percent"] > 90, (equal, own)
        assert equal["longest_chain"] > 10 * own["longest_chain"], (equal, own)


def test_a_leak_of_monitors_is_found():
    """monitor-leak: the order by relations names the actor, its number only grows, and the shard's table of relations with it;
    the actor says whom it monitors, how often, and each of those by whom it is."""
    with Profile("monitor-leak") as p:
        first = p.ctl("actors", "by", "relations", "1")[0]
        assert first["name"] == "leak", first
        table = lambda: sum(t["entries"] for t in p.ctl("tables") if t["table"] == "relations")
        size = table()
        then = until("it has more", lambda: [r for r in p.ctl("actors", "by", "relations", "1") if r["relations"] > first["relations"] + 100])[0]
        assert then["pid"] == first["pid"] and then["memory_bytes"] > first["memory_bytes"] and table() > size, (first, then)
        info = p.ctl("actor", "leak")
        assert info["monitors"] > 100 and info["monitored_by"] == 0 and info["messages"]["queued"] == 0, info
        targets = {r["pid"] for r in p.ctl("actors") if r["class"] == "target"}
        assert len(targets) == 16 and len({r["pid"] for r in info["related"]} & targets) == len(info["related"]) == 10, (targets, info)
        assert all(r["relation"] == "monitors" and r["times"] > 5 for r in info["related"]), info
        assert sum(r["times"] for r in info["related"]) + info["relations_unlisted"] == info["relations"] and info["relations_unlisted"] > 30, info
        one = p.ctl("actor", info["related"][0]["pid"])
        assert [(r["relation"], r["pid"]) for r in one["related"]] == [("monitored_by", then["pid"])] and one["relations_unlisted"] == 0, one
        assert p.ctl("actors", "by", "memory", "1")[0]["name"] == "leak"
        info = until("it has more than are looked at", lambda: [i for i in [p.ctl("actor", "leak")] if i["relations"] > 16384])[0]
        assert info["monitors"] == 16384 and sum(r["times"] for r in info["related"]) == info["relations"] - info["relations_unlisted"] == 10240, info


# --- a real server
def raw(s, user, small=False):
    """A client that is logged in; with a small receive buffer, so that the kernel takes little for it."""
    c = rig.Raw.__new__(rig.Raw)
    c.sock, c.buf = socket.socket(), b""
    if small:
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    c.sock.settimeout(LIMIT)
    c.sock.connect(("127.0.0.1", s.port))
    c.open()
    c.login(user, resource="r")
    c.send("<presence/>")
    c.expect(r"<presence[^>]*from='" + re.escape(c.jid) + "'")
    return c


def test_a_slow_disk_is_found():
    "A sync that takes seconds: pool shows the job that runs and for how long, status what waits for it, and afterwards the longest commit."
    inject = common.Inject(os.path.join("/tmp", "murre-test-"))
    try:
        with common.Node(inject=inject) as s:
            s.users(["a", "b"])
            a, b = raw(s, "a"), raw(s, "b")
            until("all is written", lambda: s.ctl("status")["log"]["waiting_bytes"] == 0)
            healthy = s.ctl("status")["log"]
            inject.slow(3)
            a.send("<message to='b@localhost' type='chat'><body>slow</body></message>")
            disk = until("a job of the disk pool runs for a second", lambda: [r for r in s.ctl("pool") if r["kind"] == "disk" and r["oldest_running_usec"] > MILLION])
            log = s.ctl("status")["log"]  # answered: it is not the shards that wait
            assert log["waiting_bytes"] > 0 and log["commits"] == healthy["commits"], (log, healthy)
            others = [r["oldest_running_usec"] for r in s.ctl("pool") if r["kind"] != "disk"]
            assert disk[0]["running"] >= 1 and max(others) < disk[0]["oldest_running_usec"], (disk, others)
            inject.slow(0)
            b.expect("<body>slow</body>")
            log = s.ctl("status")["log"]
            assert log["commits"] > healthy["commits"] and log["commit_longest_usec"] >= 3 * MILLION, log
            a.close(), b.close()
    finally:
        inject.close()


def test_a_slow_client_is_found():
    "A client that does not read: connections names it first, with what waits for it and since when; one that reads has nothing waiting."
    with common.Node({"xmpp.out_max": "4M"}) as s:
        s.users(["slow", "fine", "busy"])
        slow, fine, busy = raw(s, "slow", small=True), raw(s, "fine"), raw(s, "busy")
        fine.sock.settimeout(LIMIT)
        found, n = None, 0
        while not found:
            assert n < 4000, s.ctl("connections")
            for _ in range(20):
                for to in (slow, fine):
                    busy.send(f"<message to='{to.jid}' type='headline' id='n{n}'><body>{'x' * 4000}</body></message>")
                n += 1
            fine.expect(f"id='n{n - 1}'.*?</message>")
            first = s.ctl("connections", "1")[0]
            found = first["waiting_bytes"] > 100000 and first["stalled_usec"] > 0 and first
        assert found["jid"] == slow.jid and found["state"] == "bound", found
        rows = s.ctl("connections")
        assert row(rows, jid=fine.jid)["waiting_bytes"] < found["waiting_bytes"] and row(rows, jid=fine.jid)["stalled_usec"] == 0, rows
        assert s.ctl("actor", found["pid"])["class"] == "c2s"
        r = s.ctl("connections", "0", check=False)
        assert r.returncode == 65 and "'0' is not a number from 1 to 100" in r.stdout, r
        for c in (slow, fine, busy):
            c.close()


def test_a_storm_of_tls_handshakes_is_found():
    "Many handshakes at once: pool crypto is what runs, its jobs and tls_done grow with them, the msacc table shows it; a chat goes on meanwhile."
    with rig.Server({"recorder.bytes": "64k", "shards": "2", "xmpp.accept_rate_ip": "0", "xmpp.per_ip_max": "0"}) as s:
        for u in ("a", "b"):
            s.user(u + "@localhost")
        a, b = rig.login(s, "a"), rig.login(s, "b")
        s.ctl("msacc", "reset")
        done = lambda: next((e["count"] for e in s.ctl("events") if e["event"] == "tls_done"), 0)
        before, jobs = done(), row(s.ctl("pool"), kind="crypto")["done"]
        stop, failed, how = threading.Event(), [], ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        how.check_hostname, how.verify_mode, how.options = False, ssl.CERT_NONE, how.options | ssl.OP_NO_TICKET
        how.set_alpn_protocols(["xmpp-client"])

        def storm():
            try:
                while not stop.is_set():
                    with socket.create_connection(("127.0.0.1", s.tls_port), timeout=LIMIT) as c, how.wrap_socket(c, server_hostname="localhost"):
                        pass
            except BaseException as e:
                failed.append(e)
        threads = [threading.Thread(target=storm) for _ in range(8)]
        for t in threads:
            t.start()
        try:
            for n in range(20):
                until("another 50 handshakes", lambda: failed or done() - before >= 50 * n)
                a.send(f"<message to='b@localhost' type='chat' id='s{n}'><body>storm {n}</body></message>")
                b.expect(f"<body>storm {n}</body>")
            table = s.ctl("msacc", "print")
            rows = {r["thread"]: r for r in s.ctl("msacc")}
        finally:
            stop.set()
            for t in threads:
                t.join()
        assert not failed, failed
        crypto = row(s.ctl("pool"), kind="crypto")
        assert crypto["done"] - jobs >= 900, crypto
        busy = lambda kind: sum(r["emulator"] for t, r in rows.items() if t.startswith(f"pool {kind}/"))
        assert busy("crypto") > 2 * busy("sql") and busy("crypto") > 2 * busy("disk"), table
        a.close(), b.close()


# --- what an operator may do wrong
def test_what_is_asked_wrongly_is_answered():
    "Typos, unknown actors, numbers out of range, pids of the dead and of other nodes: one sentence each, status 65; nothing is changed."
    with Profile("starved") as p:
        dead = "<0.0.4000.9>"
        for words, why in ((("actor", "nobody"), "'nobody' is neither a pid nor the name of an actor"), (("probe", "nobody"), "is neither a pid nor the name"),
                           (("probe", dead), "is not alive"), (("queues", "actor", "<9.256.1>"), "node"), (("flush", dead), "is not alive"),
                           (("probe", "store", "0"), "'0' is not a number from 1 to 60000"), (("queues", "longest", "x"), "'x' is not a number from 1 to 100"),
                           (("actors", "0"), "is not a number"), (("actors", "by", "size"), "'size' is not an order: cost, queue, memory, relations"),
                           (("actors", "by", "cost", "100001"), "is not a number from 1 to 100000"), (("locks", "rings"), "is not a class"),
                           (("log", "level", "loud"), "is not a level"), (("msacc", "print", "x"), "is not \"threads\""), (("actor", "kill", dead, "x"), "is not alive")):
            r = p.run(*words)
            assert r.returncode == 65 and why in r.stderr and r.stderr.count("\n") == 1 and not r.stdout, (words, r)
        for words in (("actrs",), ("queues", "shortest"), ("probe",), ("connections",)):
            assert p.run(*words).returncode == 64, words
        assert p.ctl("queues")["messages"]["queued"] > 0


def test_many_lookers_at_once_are_all_answered_and_the_load_goes_on():
    "Two tops, probes, whole lists and tables from many sides at once, one that goes away in mid-answer: each is answered, and work goes on."
    with Profile("healthy") as p:
        done = lambda: p.ctl("queues")["messages"]["dequeued"]
        before, wrong = done(), []

        def look(*words):
            for _ in range(5):
                r = p.run("--json", *words)
                if r.returncode or '"ok":' not in r.stdout.replace('"ok": ', '"ok":'):
                    wrong.append((words, r))

        asks = [("top", "--once", "--interval", "0.1"), ("top", "--once", "--interval", "0.1"), ("actors", "100000"), ("actors", "by", "cost"), ("tables",), ("queues", "longest", "100"),
                ("locks", "instances"), ("msacc", "print", "threads"), ("events", "all"), ("help",)]
        threads = [threading.Thread(target=look, args=a) for a in asks]
        for t in threads:
            t.start()
        for _ in range(5):  # a client that goes away while it is answered, and one that sends half a question
            for part in (b"\x40\x00\x00\x00\x06\x00\x00\x00act", b""):
                c = socket.socket(socket.AF_UNIX)
                c.connect(p.sock)
                c.sendall(part)
                c.close()
        for t in threads:
            t.join()
        assert not wrong, wrong[:3]
        then = done()
        assert then > before, "the load stands still"
        until("the load goes on", lambda: done() > then)


def test_a_pipe_that_closes_under_top_ends_it():
    "top into a pipe whose reader goes away ends by itself, and the node does not notice."
    with Profile("healthy") as p:
        top = subprocess.Popen([CTL, "--socket", p.sock, "top", "--interval", "0.1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert b"healthy" in top.stdout.readline()
        top.stdout.close()
        assert top.wait(2 * LIMIT) in (74, -signal.SIGPIPE), top.returncode
        top.stderr.close()
        assert p.ctl("queues")["actors"] > 0


def test_a_second_node_on_the_same_socket_is_refused():
    "A second profile in the same directory says that somebody answers there, and leaves the first one alone."
    with Profile("starved", "--size", "1000") as p:
        r = subprocess.run([BENCH, "profile", "starved", "--size", "1000", "--dir", p.dir], capture_output=True, text=True, timeout=2 * LIMIT)
        assert r.returncode == 1 and "murre-bench: " in r.stderr and "in use by another process" in r.stderr, r
        assert p.ctl("node")["name"] == "starved"


if __name__ == "__main__":
    main(sys.modules["__main__"])
