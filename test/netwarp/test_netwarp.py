#!/usr/bin/python3
"""netwarp: each kind of damage proved through real connections. Times are asserted as lower bounds only: a busy machine makes everything later,
nothing earlier. Figures (throughput, latency) are printed, not asserted.

usage: [NETWARP=/path/to/netwarp] [MURRE_BUILD=/abs/build] test_netwarp.py [test_... ...]"""
import asyncio, ctypes, os, random, resource, signal, socket, statistics, struct, subprocess, sys, threading, time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../checks"))
from warp import LIMIT, PROGRAM, Echo, Up, Warp, pair, pattern, read, read_end, rig, silent


LIBC = ctypes.CDLL(None, use_errno=True)


def took(f):
    start = time.monotonic()
    f()
    return time.monotonic() - start


def reset_hard(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def drain(s, n, out):
    out.append(read(s, n))


def doomed(w):
    """How a new connection ends; the RST may come before its maker looks."""
    try:
        return read_end(w.connect())[1]
    except ConnectionResetError:
        return "rst"


# --- without damage ---------------------------------------------------------------------------------------------------------------


def test_bytes_pass_both_ways_unchanged_and_the_end_too():
    "Undamaged, every byte arrives, in order, both ways at once, and each direction ends by itself."
    data, back = pattern(3_000_001), pattern(2_000_003, 9)
    with Up() as up, Warp(up.addr) as w:
        c, s = pair(w, up)
        got = []
        t = [threading.Thread(target=drain, args=(s, len(data), got)), threading.Thread(target=s.sendall, args=(back,)),
             threading.Thread(target=c.sendall, args=(data,))]
        [x.start() for x in t]
        assert read(c, len(back)) == back
        [x.join() for x in t]
        assert got[0] == data
        c.shutdown(socket.SHUT_WR)
        assert s.recv(1) == b""
        s.sendall(b"still open")
        assert read(c, 10) == b"still open"
        s.close()
        assert read_end(c) == (b"", "fin")
        c.close()
        st = w.until(lambda x: x["open"] == 0)
        assert st["c2s"]["taken"] == st["c2s"]["given"] == len(data) and st["s2c"]["given"] == len(back) + 10, st
        assert st["c2s"]["held"] == st["s2c"]["held"] == 0 and st["c2s"]["fins"] == st["s2c"]["fins"] == 1, st


def test_a_receiver_that_does_not_read_stops_the_sender():
    "Back-pressure: what netwarp holds of a direction stays below `queue`, and nothing is lost when the receiver reads again."
    data = pattern(32 << 20)
    with Up() as up, Warp(up.addr, "--do", "set both queue 128k") as w:
        c, s = pair(w, up)
        t = threading.Thread(target=c.sendall, args=(data,))
        t.start()
        w.until(lambda x: x["c2s"]["held"] >= 100_000)
        st = w.stats()
        assert 0 < st["c2s"]["held"] <= 128 << 10 and st["c2s"]["taken"] < len(data), st
        assert read(s, len(data)) == data
        t.join()


def test_ipv6():
    "Listens and connects on IPv6."
    with Echo("::1") as up, Warp(up.addr, listen="[::1]:0") as w:
        c = w.connect()
        c.sendall(b"six")
        assert read(c, 3) == b"six"


def test_server_that_refuses():
    "The client of a server that is not there is reset, and it is counted."
    with Up() as up:
        gone = up.addr
    with Warp(gone) as w:
        assert doomed(w) == "rst" and w.stats()["failed"] == 1


def test_thousands_of_connections():
    "2,000 connections at a time on one thread; an idle one costs little memory, and each gets its own bytes."
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    rss = lambda: int(open(f"/proc/{w.proc.pid}/statm").read().split()[1]) * 4096
    with Echo() as up, Warp(up.addr, "--do", "set both delay 1ms") as w:
        before, conns = rss(), []
        for i in range(2000):
            conns.append(w.connect())
            conns[-1].sendall(struct.pack("<I", i) * 50)
        for i, c in enumerate(conns):
            assert read(c, 200) == struct.pack("<I", i) * 50
        each = (rss() - before) // 2000
        print(f"      {each} bytes of memory a connection")
        assert w.stats()["open"] == 2000
        for c in conns:
            c.close()
        w.until(lambda x: x["open"] == 0)


def test_max_conns():
    "Beyond --max-conns a connection waits until another ends."
    with Echo() as up, Warp(up.addr, "--max-conns", "2") as w:
        a, b, c = w.connect(), w.connect(), w.connect()
        c.sendall(b"c")
        for x in (a, b):
            x.sendall(b"x")
            assert read(x, 1) == b"x"
        assert w.stats()["accepted"] == 2
        a.close()
        assert read(c, 1) == b"c"


# --- time -------------------------------------------------------------------------------------------------------------------------


def test_delay():
    "A delay of 50 ms one way and 30 ms the other is a round trip of at least 80 ms, and a settled order."
    with Echo() as up, Warp(up.addr, "--do", "set c2s delay 50ms; set s2c delay 30ms") as w:
        c = w.connect()
        for i in range(5):
            word = b"%d" % i
            assert took(lambda: (c.sendall(word), read(c, 1))) >= 0.080
        c.sendall(b"".join(b"%05d" % i for i in range(1000)))
        assert read(c, 5000) == b"".join(b"%05d" % i for i in range(1000))


def test_delay_holds_back_the_handshake_and_the_end():
    "The server hears of a connection, and of its end, one delay later too."
    with Up() as up, Warp(up.addr, "--do", "set c2s delay 60ms") as w:
        start = time.monotonic()
        c, s = pair(w, up)
        assert time.monotonic() - start >= 0.060
        start = time.monotonic()
        c.close()
        assert read_end(s) == (b"", "fin") and time.monotonic() - start >= 0.060


def test_jitter_spreads():
    "Jitter is drawn per segment: uniform 0 to J; normal up to 4 J; pareto with mean J and a long tail; only ever added."
    for spread, most in (("uniform", 2000), ("normal", 8000), ("pareto", 200000)):
        with Up() as up, Warp(up.addr, "--seed", "3", "--do", f"set c2s delay 5ms jitter 2ms {spread} segment 100") as w:
            c, s = pair(w, up)
            data = pattern(100_000)
            assert took(lambda: (c.sendall(data), read(s, len(data)))) >= 0.005
            n = [e["n"] for e in w.trace() if e["what"] == "jitter"]
            assert len(n) == 1000 and min(n) >= 0 and max(n) <= most, (spread, len(n), max(n))
            mean = statistics.fmean(n)
            want = {"uniform": 1000, "normal": 2000 * 0.7979, "pareto": 2000}[spread]
            assert 0.8 * want < mean < 1.25 * want, (spread, mean)
            assert (max(n) > 8000) == (spread == "pareto"), (spread, max(n))


def test_rate():
    "A token bucket: 100,000 bytes/s after a burst of 10,000 needs 0.4 s for 50,000 bytes; connections share it."
    with Up() as up, Warp(up.addr, "--do", "set c2s rate 100000/s burst 10000") as w:
        ends = [pair(w, up), pair(w, up)]
        start = time.monotonic()
        for c, _ in ends:
            c.sendall(pattern(25_000))
        for _, s in ends:
            assert read(s, 25_000) == pattern(25_000)
        assert time.monotonic() - start >= 0.4


def test_loss_is_a_stall_that_doubles():
    "A lost segment stalls its connection by the sum of doubled time-outs; no byte is missing."
    with Up() as up, Warp(up.addr, "--seed", "5", "--do", "set c2s loss 30% rto 1ms segment 1000") as w:
        c, s = pair(w, up)
        data = pattern(200_000)
        t = took(lambda: (c.sendall(data), read(s, len(data)) == data or sys.exit(1)))
        st = w.stats()
        events = w.trace()
        losses = {e["pos"]: e["n"] for e in events if e["what"] == "loss"}
        stalls = {e["pos"]: e["n"] for e in events if e["what"] == "stall"}
        assert losses and max(losses.values()) >= 3 and st["c2s"]["lost"] == sum(losses.values())
        assert all(stalls[p] == 1000 * (2**n - 1) for p, n in losses.items()), (losses, stalls)
        assert all(p % 1000 == 0 for p in losses) and 30 < len(losses) < 100
        assert t >= max(stalls.values()) / 1e6


def test_loss_of_everything_times_out():
    "A segment lost 16 times ends its connection, as TCP does; rto-max bounds the doubling."
    with Up() as up, Warp(up.addr, "--do", "set c2s loss 1 rto 1ms rto-max 4ms") as w:
        c, s = pair(w, up)
        start = time.monotonic()
        c.sendall(b"lost")
        assert read_end(s) == (b"", "rst") and read_end(c)[1] == "rst"
        assert time.monotonic() - start >= (1 + 2 + 14 * 4) / 1000
        assert [e["n"] for e in w.trace() if e["what"] == "loss"] == [16]


def test_reorder_and_duplicate_are_time():
    "An overtaken segment makes those behind it wait for `gap`; a duplicate takes the rate a second time; the bytes are the same."
    data = pattern(10_000)
    with Up() as up, Warp(up.addr, "--do", "set c2s reorder 1 gap 40ms") as w:
        c, s = pair(w, up)
        assert took(lambda: (c.sendall(data), read(s, len(data)) == data or sys.exit(1))) >= 0.040
        assert w.stats()["c2s"]["reordered"] == 7  # 10,000 bytes are 7 segments of 1,460
    with Up() as up, Warp(up.addr, "--do", "set c2s duplicate 100% rate 100000 burst 1") as w:
        c, s = pair(w, up)
        assert took(lambda: (c.sendall(data), read(s, len(data)) == data or sys.exit(1))) >= 0.180  # all but the last copy: 18,540 bytes
        assert w.stats()["c2s"]["duplicated"] == 7


def segments_in(s):
    info = s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    return struct.unpack_from("<I", info, 152)[0]  # tcpi_data_segs_in


def test_chunk_and_pace():
    "chunk 1 delivers one byte a segment; pace sets them apart."
    with Up() as up, Warp(up.addr, "--do", "set c2s chunk 1") as w:
        c, s = pair(w, up)
        c.sendall(pattern(500))
        assert read(s, 500) == pattern(500)
        assert segments_in(s) == 500 and w.stats()["c2s"]["writes"] == 500, segments_in(s)
        w.do("set c2s pace 2ms")
        assert took(lambda: (c.sendall(pattern(50)), read(s, 50) == pattern(50) or sys.exit(1))) >= 0.098
        w.do("clear")
        c.sendall(pattern(100_000))
        assert read(s, 100_000) == pattern(100_000)


# --- cuts -------------------------------------------------------------------------------------------------------------------------


def test_one_way_cut():
    "A cut direction accepts bytes and forwards none, the other one goes on; a heal delivers what was accepted."
    with Up() as up, Warp(up.addr) as w:
        c, s = pair(w, up)
        w.do("cut c2s")
        c.sendall(b"held")
        assert silent(s, lambda: w.until(lambda x: x["c2s"]["held"] == 4))
        s.sendall(b"other way")
        assert read(c, 9) == b"other way"
        assert silent(s, w.stats) and w.stats()["c2s"]["cut"] is True and w.stats()["s2c"]["cut"] is False
        w.do("heal")
        assert read(s, 4) == b"held"
        w.do("cut s2c")
        s.sendall(b"back")
        assert silent(c, lambda: w.until(lambda x: x["s2c"]["held"] == 4))
        w.do("heal s2c")
        assert read(c, 4) == b"back"


def test_cut_for_a_time_heals_by_itself():
    "cut ... for T ends T later, unless another cut has taken its place."
    with Up() as up, Warp(up.addr) as w:
        c, s = pair(w, up)
        w.watch()
        w.do("cut c2s for 80ms")
        start = time.monotonic()
        c.sendall(b"x")
        assert read(s, 1) == b"x" and time.monotonic() - start >= 0.079
        w.do("cut c2s for 30ms")
        w.do("cut c2s")  # for good
        c.sendall(b"y")
        w.event("ends")
        w.event("ends")
        assert silent(s, lambda: w.until(lambda x: x["c2s"]["held"] == 1))
        w.do("heal")
        assert read(s, 1) == b"y"


def test_cut_of_one_connection():
    "conn N: the others go on."
    with Up() as up, Warp(up.addr) as w:
        (c1, s1), (c2, s2) = pair(w, up), pair(w, up)
        w.do("cut both conn 1")
        c1.sendall(b"1"), c2.sendall(b"2")
        assert read(s2, 1) == b"2"
        assert silent(s1, lambda: w.until(lambda x: x["c2s"]["held"] == 1))
        assert [x["c2s"]["cut"] for x in w.conns()] == [True, False]
        w.do("heal conn 1")
        assert read(s1, 1) == b"1"
        w.do("cut both conn 2 for 30ms")
        c2.sendall(b"3")
        assert read(s2, 1) == b"3"
        assert w.error("cut conn 99") == "there is no connection 99"


def test_cut_hides_ends_and_new_connections():
    "While cut, neither FIN nor RST nor a new connection comes through; all do after the heal."
    with Up() as up, Warp(up.addr) as w:
        (c1, s1), (c2, s2) = pair(w, up), pair(w, up)
        w.watch()
        w.do("cut c2s")
        c1.close()
        reset_hard(c2)
        w.event("broken", conn=2)
        c3 = w.connect()
        w.event("accepted", conn=3)
        assert silent(s1, w.stats) and silent(s2, w.stats) and silent(up.sock, w.stats)
        w.do("heal")
        assert read_end(s1) == (b"", "fin") and read_end(s2) == (b"", "rst")
        up.accept()
        c3.close()


def test_heal_releases_what_was_delayed():
    "heal lets go at once what a long delay or a low rate holds."
    with Up() as up, Warp(up.addr) as w:
        c, s = pair(w, up)
        for setting in ("delay 1h", "rate 1 burst 1"):
            w.do("set c2s " + setting)
            c.sendall(b"12345")
            w.until(lambda x: x["c2s"]["held"] > 0)
            w.do("clear")
            w.do("heal")
            assert read(s, 5) == b"12345"
            c.sendall(b"and what follows")
            assert read(s, 16) == b"and what follows"
        w.do("set c2s delay 1h")
        d = w.connect()
        w.until(lambda x: x["accepted"] == 2)  # its opening is held, too
        w.do("heal")
        t = up.accept()
        for x in (c, d):
            x.sendall(b"123")
        w.until(lambda x: x["c2s"]["held"] == 6)
        w.do("heal conn 2")
        assert read(t, 3) == b"123" and silent(s, w.stats)


# --- ends -------------------------------------------------------------------------------------------------------------------------


def test_half_open():
    "half-open: the peer never hears FIN or RST, and goes on sending into nothing."
    with Up() as up, Warp(up.addr) as w:
        (c1, s1), (c2, s2) = pair(w, up), pair(w, up)
        w.watch()
        w.do("half-open c2s")
        c1.close()
        w.event("muted", conn=1)
        reset_hard(c2)
        w.event("muted", conn=2)
        s1.sendall(b"anybody?"), s2.sendall(b"anybody?")
        assert silent(s1, w.stats) and silent(s2, w.stats) and w.stats()["open"] == 2
        s1.close(), s2.close()
        w.until(lambda x: x["open"] == 0)
        assert w.stats()["c2s"]["muted"] == 2
        c3, s3 = pair(w, up)
        s3.close()  # the other direction is as ever
        assert read_end(c3) == (b"", "fin")


def test_reset_of_both_sides_and_of_one():
    "reset sends RST to both; reset client or server to one, and the other hears nothing."
    with Up() as up, Warp(up.addr) as w:
        w.watch()
        (c1, s1), (c2, s2), (c3, s3), (c4, s4) = (pair(w, up) for _ in range(4))
        for i in range(1, 5):
            w.event("connected", conn=i)
        w.do("reset conn 1")
        assert read_end(c1) == (b"", "rst") and read_end(s1) == (b"", "rst")
        w.do("reset client conn 2")
        assert read_end(c2) == (b"", "rst") and silent(s2, w.stats)
        w.do("reset server conn 3")
        assert read_end(s3) == (b"", "rst") and silent(c3, w.stats)
        s2.close(), c3.close()
        w.until(lambda x: x["open"] == 1)
        w.do("reset")
        assert read_end(c4) == (b"", "rst") and read_end(s4) == (b"", "rst")
        assert w.stats()["resets"] == 4 and w.stats()["open"] == 0


def test_reset_after_bytes():
    "after N bytes reset: the server gets exactly N bytes, then RST; undamaged and damaged alike; each connection for itself."
    for setting in ("", "set both delay 1ms;", "set both chunk 7;"):
        with Up() as up, Warp(up.addr, "--do", setting + "after 100000 bytes c2s reset") as w:
            for _ in range(2):
                c, s = pair(w, up)
                try:
                    c.sendall(pattern(300_000))
                except ConnectionError:
                    pass
                got, how = read_end(s)
                assert got == pattern(300_000)[: len(got)] and how == "rst", (setting, len(got), how)
                assert len(got) == 100_000, (setting, len(got))
            w.until(lambda x: x["open"] == 0)


def test_reset_of_a_receiver_that_does_not_read():
    "after N bytes reset waits for the N bytes to arrive, but not for ever."
    with Up(rcvbuf=4096) as up:
        with Warp(up.addr, "--do", "after 1M bytes c2s reset") as w:
            c, s = pair(w, up)
            try:
                c.sendall(pattern(4 << 20))
            except ConnectionError:
                pass
            assert read_end(c)[1] == "rst"
            w.until(lambda x: x["open"] == 0)
            got, how = read_end(s)
            assert how == "rst" and len(got) < 1 << 20, (len(got), how)


def test_reset_at_the_start():
    "after 0 bytes: as soon as it is connected."
    with Up() as up, Warp(up.addr, "--do", "after 0 bytes reset") as w:
        assert doomed(w) == "rst" and w.stats()["resets"] == 1


def test_client_that_breaks():
    "A client's RST is a RST at the server, after the bytes that came before it."
    with Up() as up, Warp(up.addr) as w:
        c, s = pair(w, up)
        c.sendall(b"last words")
        assert read(s, 10) == b"last words"
        reset_hard(c)
        assert read_end(s) == (b"", "rst")
        w.until(lambda x: x["open"] == 0)
        c, s = pair(w, up)
        c.shutdown(socket.SHUT_WR)
        assert s.recv(1) == b""
        reset_hard(c)  # after its FIN: only the socket's error tells
        w.until(lambda x: x["open"] == 0)
        try:
            while True:
                s.send(b"x")
        except (ConnectionResetError, BrokenPipeError):
            pass
        c, s = pair(w, up)
        w.watch()
        w.do("set c2s queue 1000")
        w.do("cut c2s")
        c.sendall(pattern(100_000))
        w.until(lambda x: x["c2s"]["held"] == 1000)
        reset_hard(c)  # while there is no room to read
        w.event("broken")
        w.do("heal")
        assert read_end(s) == (pattern(1000), "rst")


# --- bytes ------------------------------------------------------------------------------------------------------------------------


def changed(a, b):
    assert len(a) == len(b)
    return {i: x ^ y for i, (x, y) in enumerate(zip(a, b)) if x != y}


def test_flip_at_an_offset():
    "after N bytes flip K: bytes N to N+K-1 have one bit turned each, all others none; in the direction that counted."
    data = pattern(1_500_000)
    for setting in ("", "set both delay 1ms;", "set both chunk 100000;"):
        with Echo() as up, Warp(up.addr, "--do", setting + "after 1000000 bytes c2s flip 2") as w:
            c = w.connect()
            t = threading.Thread(target=c.sendall, args=(data,))
            t.start()
            d = changed(data, read(c, len(data)))
            t.join()
            assert list(d) == [1_000_000, 1_000_001] and all(x.bit_count() == 1 for x in d.values()), (setting, d)
            st = w.stats()
            assert st["c2s"]["flipped"] == 2 and st["s2c"]["flipped"] == 0


def test_flip_of_the_next_byte():
    "flip, by control: the next byte of one connection and direction."
    with Echo() as up, Warp(up.addr) as w:
        a, b = w.connect(), w.connect()
        for c in (a, b):
            c.sendall(b"0")
            assert read(c, 1) == b"0"
        w.do("flip s2c conn 2")
        a.sendall(b"abc"), b.sendall(b"abc")
        assert read(a, 3) == b"abc"
        assert list(changed(b"abc", read(b, 3))) == [0]


def test_flip_at_a_rate():
    "flip 1e-3: about one byte in a thousand, at places that depend on seed and position alone."
    data = pattern(1_000_000)
    seen = []
    for size in (1_000_000, 777):
        with Up() as up, Warp(up.addr, "--seed", "11", "--do", "set c2s flip 1e-3") as w:
            c, s = pair(w, up)
            got = []
            t = threading.Thread(target=drain, args=(s, len(data), got))
            t.start()
            for i in range(0, len(data), size):
                c.sendall(data[i : i + size])
            t.join()
            seen.append(changed(data, got[0]))
    assert seen[0] == seen[1] and 800 < len(seen[0]) < 1200, [len(x) for x in seen]


def test_flip_against_a_slow_receiver():
    "A byte that needs a second try to be written is flipped once, not twice: exactly the bytes asked for differ."
    data, first, count = random.Random(1).randbytes(16 << 20), 1 << 16, 15 << 20
    for setting in ("queue 64k", "queue 8M delay 1us"):
        with Up() as up, Warp(up.addr, "--do", f"set c2s {setting}; after {first} bytes c2s flip {count}", trace=False) as w:
            c, s = pair(w, up)
            t = threading.Thread(target=c.sendall, args=(data,))
            t.start()
            w.until(lambda x: x["c2s"]["held"] > 1000)
            got = read(s, len(data))
            t.join()
            wrong = (int.from_bytes(data, "big") ^ int.from_bytes(got, "big")).to_bytes(len(data), "big")
            assert set(wrong[first : first + count]) <= {1 << i for i in range(8)} and len(wrong.strip(b"\0")) == count, setting


# --- acceptance -------------------------------------------------------------------------------------------------------------------


def refused(w):
    try:
        w.connect().close()
        return False
    except ConnectionRefusedError:
        return True


def test_refuse():
    "refuse: connections are refused by the kernel, those that are open go on; heal, or time, ends it; the port stays."
    with Echo() as up, Warp(up.addr) as w:
        c = w.connect()
        for _ in range(3):
            w.do("refuse")
            assert refused(w) and refused(w)
            c.sendall(b"x")
            assert read(c, 1) == b"x"
            w.do("heal")
            assert not refused(w)
        w.watch()
        w.do("refuse for 20ms")
        w.event("ends")
        assert not refused(w)
    with Echo() as up, Warp(up.addr, "--do", "refuse; at 30ms heal") as w:
        w.watch()
        w.until(lambda x: not x["refusing"])
        assert not refused(w)


def test_slow_accept():
    "slow-accept T: one connection each T."
    with Echo() as up, Warp(up.addr, "--do", "slow-accept 40ms") as w:
        start = time.monotonic()
        conns = [w.connect() for _ in range(3)]
        for c in conns:
            c.sendall(b"x")
        for i, c in enumerate(conns, 1):
            read(c, 1)
            assert time.monotonic() - start >= 0.040 * i - 0.001 * i
        w.do("slow-accept 0")
        c = w.connect()
        c.sendall(b"y")
        assert read(c, 1) == b"y"


# --- schedules, control, seeds ----------------------------------------------------------------------------------------------------


def test_schedule_file():
    "at and every, from a file with comments: not before their time; `every` again and again, in its range."
    with Up() as up, Warp(up.addr, started=False) as w:
        path = w.dir + "/schedule"
        with open(path, "w") as f:
            f.write("# a file\nat 30ms set c2s delay 1ms; at 60ms cut c2s for 20ms   # two of them\n\nevery 10ms..20ms flip s2c\n")
        w.args += ["--schedule", path]
        w.start()
        w.watch()
        w.until(lambda x: x["c2s"]["set"]["delay"] == 1000)
        assert w.stats()["up_usec"] >= 30_000
        w.event("ends")
        for _ in range(5):
            w.event("flip")
        e = w.trace()
        at = [x["at"] for x in e if x["what"] == "flip"]
        assert at[0] >= 10_000 and all(b - a >= 0 for a, b in zip(at, at[1:])) and at[4] >= 50_000, at
        cut = [x["at"] for x in e if x["what"] == "cut"][0]
        ends = [x["at"] for x in e if x["what"] == "ends"][0]
        assert cut >= 60_000 and ends - cut >= 20_000, (cut, ends)


def decisions(seed, chunks):
    with Up() as up, Warp(up.addr, "--seed", str(seed), "--do", "set both jitter 1ms loss 5% rto 1ms duplicate 5% reorder 5% gap 1ms segment 500 flip 1e-4") as w:
        for k in range(2):
            c, s = pair(w, up)
            data, got = pattern(60_000, k + 1), []
            t = threading.Thread(target=drain, args=(s, len(data), got))
            t.start()
            at = 0
            for n in chunks:
                c.sendall(data[at : at + n])
                at += n
            c.sendall(data[at:])
            t.join()
            c.close(), s.close()
            w.until(lambda x: x["open"] == 0)
        keep = ("jitter", "loss", "stall", "duplicate", "reorder", "flip")
        return [{k: v for k, v in e.items() if k != "at"} for e in w.trace() if e["what"] in keep]


def test_same_seed_same_decisions():
    "The same seed and bytes give the same decisions, however the bytes were cut into writes; another seed gives others."
    one, two, other = decisions(4, []), decisions(4, [1, 499, 3, 1000, 77] * 20), decisions(5, [])
    key = lambda e: (e["conn"], e["dir"], e["what"], e["pos"])
    assert sorted(one, key=key) == sorted(two, key=key) and len(one) > 300
    assert sorted(one, key=key) != sorted(other, key=key)
    assert one != [dict(e, conn=3 - e["conn"]) for e in one], "both connections had the same fate"


BAD = ["bogus", "set", "set delay", "set delay 50", "set delay -1s", "set delay 25h", "set loss 101%", "set loss nan", "set loss 0x1p-1", "set queue 0",
       "set queue 2G", "set rate 1x", "set spread flat", "set color red", "cut sideways", "cut c2s for", "cut for 0", "cut c2s for 5", "reset c2s", "reset conn 0",
       "reset conn x", "flip 0", "flip -1", "refuse 3", "heal now", "slow-accept", "at", "at soon cut", "at 5s", "every 1us cut", "every 3s..2s cut", "every x..2s cut",
       "after cut", "after 5 cut", "after x bytes cut", "after 5 bytes cut conn 3", "at 1s stats", "after 3 bytes watch", "clear delay", "stats now", "set delay 1.2.3s", "set delay .5s"]


def test_control_errors():
    "Every statement that is none gets a sentence, and changes nothing."
    with Up() as up, Warp(up.addr) as w:
        before = w.stats()
        for text in BAD:
            why = w.error(text)
            assert len(why) > 10 and "'" in why or "nothing" in why or "missing" in why, (text, why)
        after = w.stats()
        assert {k: after[k] for k in ("c2s", "s2c", "planned")} == {k: before[k] for k in ("c2s", "s2c", "planned")}
        assert w.error("set dleay 1ms") == "'dleay' is not a setting"
        assert w.error("cut c2s for 5") == "'5' is not a time: a number and us, ms, s, m or h, at most 24h"
        for i in range(64):
            w.do("after 1 byte flip")
        assert w.error("after 1 byte flip") == "more than 64 'after' statements"
        w.error("x" * 2000)


def test_control_survives_garbage():
    "Random bytes and words, a line without end, clients that come and go or do not read: the relay goes on."
    rng = random.Random(1)
    words = ["set", "c2s", "both", "delay", "1ms", "5%", "cut", "for", "every", "1s..2s", "after", "9", "bytes", "conn", "flip", "heal", "..", "%", "-1", "1e999", "queue", "k", "reset"]
    with Echo() as up, Warp(up.addr) as w:
        f = w.open()
        for i in range(2000):
            line = " ".join(rng.choice(words) for _ in range(rng.randrange(1, 8)))
            assert w.ask(line, f).split(":")[0] in ("ok", "error"), line
        f.close()
        for i in range(100):
            s = socket.socket(socket.AF_UNIX)
            s.connect(w.ctl_path)
            s.sendall(rng.randbytes(500) + b"\n")
            s.close()
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(LIMIT)
        s.connect(w.ctl_path)
        try:
            s.sendall(b"x" * (1 << 20))
        except OSError:
            pass
        assert read_end(s)[1] in ("fin", "rst")
        lazy = socket.socket(socket.AF_UNIX)
        lazy.settimeout(LIMIT)
        lazy.connect(w.ctl_path)
        try:
            for i in range(100_000):
                lazy.sendall(b"stats\n")  # 4 MiB of answers that nobody reads
        except OSError:
            pass
        assert len(read_end(lazy)[0]) < 16 << 20, "it was let go on"
        w.do("clear")
        assert w.stats()["open"] == 0
    with Echo() as up, Warp(up.addr) as w:
        many = []
        for i in range(80):
            s = socket.socket(socket.AF_UNIX)
            s.connect(w.ctl_path)
            many.append(s)
        many[79].settimeout(LIMIT)
        assert read_end(many[79])[1] in ("fin", "rst")  # 64 at a time
        assert w.stats()["open"] == 0
        [s.close() for s in many]


def test_usage_errors():
    "A wrong command line: exit status 2 and a sentence; what cannot be done: 1."
    ok = ["--listen", "127.0.0.1:0", "--to", "127.0.0.1:9"]
    cases = [([], 2, "--listen and --to are needed"), (["--listen", "nowhere", "--to", "127.0.0.1:1"], 2, "'nowhere' is not an address"),
             (["--listen", "localhost:80", "--to", "127.0.0.1:1"], 2, "'localhost:80' is not an address"), (["--listen", "127.0.0.1:0", "--to", "[::1]:70000"], 2, "--to:"),
             (["--listen", "127.0.0.1:0", "--to", "127.0.0.1:0"], 2, "port 0 leads nowhere"), (["--listen", "127.0.0.1:0", "--to", "[::1]:0"], 2, "port 0 leads nowhere"),
             (ok + ["--seed", "x"], 2, "--seed: 'x'"), (ok + ["--max-conns", "0"], 2, "--max-conns"), (ok + ["--idle", "5"], 2, "--idle"), (ok + ["--bogus"], 2, "netwarp --help"),
             (ok + ["extra"], 2, "'extra' is not expected"), (ok + ["--do", "cut\nbogus"], 2, "--do: line 2: bogus: 'bogus' is not an action"),
             (ok + ["--do", "stats"], 2, "control socket"), (ok + ["--do", "cut conn 4"], 2, "no connection 4"), (ok + ["--schedule", "/nonexistent"], 2, "/nonexistent: No such file"),
             (ok + ["--udp", "--do", "reset"], 2, "no meaning for datagrams"), (ok + ["--udp", "--do", "at 1s half-open"], 2, "no meaning for datagrams"),
             (ok + ["--do", "cut"] * 65, 2, "more than 64"), (ok + ["--control", "x" * 200], 1, "the path of the control socket"), (ok + ["--control", "/nonexistent/x"], 1, "control socket"),
             (ok + ["--trace", "/nonexistent/x"], 1, "trace file"), (ok + ["--listen-ns", "nonexistent"], 1, "namespace nonexistent"), (ok + ["--to-ns", "/proc/self/stat"], 1, "namespace"),
             (["--listen", "203.0.113.1:9", "--to", "127.0.0.1:9"], 1, "cannot bind 203.0.113.1:9")]
    for args, status, text in cases:
        r = subprocess.run([PROGRAM, *args], capture_output=True, text=True, timeout=LIMIT)
        assert r.returncode == status and text in r.stderr and not r.stdout, (args, r)
    r = subprocess.run([PROGRAM, "--help"], capture_output=True, text=True, timeout=LIMIT)
    assert r.returncode == 0 and r.stdout.startswith("usage:") and not r.stderr


def test_a_trace_that_cannot_be_written():
    "A full disk is said once, and in the exit status; the relay goes on."
    with Echo() as up:
        p = subprocess.Popen([PROGRAM, "--listen", "127.0.0.1:0", "--to", up.addr, "--trace", "/dev/full"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        port = int(p.stdout.readline().rsplit(":", 1)[1])
        for _ in range(2):
            c = socket.create_connection(("127.0.0.1", port), timeout=LIMIT)
            c.sendall(b"x")
            assert read(c, 1) == b"x"
            c.close()
        p.terminate()
        out, err = p.communicate(timeout=LIMIT)
        assert p.returncode == 1 and err.count("the trace is not whole") == 1, (p.returncode, err)


def test_signals_and_the_socket_file():
    "SIGTERM and SIGINT end it with 0 and remove the socket; one left by kill -9 is replaced; one in use is not; a file is not removed."
    with Echo() as up:
        for sig in (signal.SIGTERM, signal.SIGINT):
            with Warp(up.addr) as w:
                c = w.connect()
                c.sendall(b"x")
                read(c, 1)
                w.do("cut c2s for 1h")
                w.do("every 1h reset")
                w.proc.send_signal(sig)
                w.stop()
                assert read_end(c)[1] in ("rst", "fin")
        with Warp(up.addr) as w:
            w.proc.kill()
            w.proc.wait()
            assert os.path.exists(w.ctl_path)
            for f in (w.proc.stdout, w.proc.stderr, w.sock):
                f.close()
            w.start()
            r = subprocess.run(w.args, capture_output=True, text=True, timeout=LIMIT)
            assert r.returncode == 1 and "Address already in use" in r.stderr and os.path.exists(w.ctl_path), r
            assert os.stat(w.ctl_path).st_mode & 0o777 == 0o600
            path = w.dir + "/file"
            open(path, "w").close()
            r = subprocess.run(w.args + ["--control", path], capture_output=True, text=True, timeout=LIMIT)
            assert r.returncode == 1 and os.path.isfile(path), r


# --- datagrams --------------------------------------------------------------------------------------------------------------------


class Udp:
    """A server that gets datagrams, and a client, through netwarp."""

    def __init__(self, *args):
        self.args = args

    def __enter__(self):
        self.server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.server.bind(("127.0.0.1", 0))
        self.w = Warp("%s:%d" % self.server.getsockname(), "--udp", *self.args)
        self.client = self.another()
        self.server.settimeout(LIMIT)
        return self

    def another(self):
        c = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        c.connect(self.w.addr)
        c.settimeout(LIMIT)
        return c

    def sent(self, n):
        """Sends n numbered datagrams, each taken before the next; returns the numbers in the order of arrival, once nothing is held."""
        for i in range(n):
            self.client.send(struct.pack("<I", i) * 5)
            self.w.until(lambda s: s["c2s"]["reads"] > i)
        self.w.until(lambda s: s["c2s"]["held"] == 0)
        self.server.setblocking(False)
        got = []
        try:
            while True:
                got.append(struct.unpack_from("<I", self.server.recv(100))[0])
        except BlockingIOError:
            self.server.settimeout(LIMIT)
            return got

    def __exit__(self, *a):
        self.w.__exit__(*a)
        self.server.close(), self.client.close()


def test_udp_passes_both_ways_and_flows_end():
    "Datagrams keep their borders; each client has its own flow, which ends when idle."
    with Udp("--idle", "50ms") as u:
        for c in (u.client, u.another()):
            for word in (b"hello", b"", b"x" * 60000):
                c.send(word)
                data, addr = u.server.recvfrom(65536)
                assert data == word
                u.server.sendto(word + b"!", addr)
                assert c.recv(65536) == word + b"!"
        assert u.w.stats()["accepted"] >= 2
        u.w.until(lambda s: s["open"] == 0)


def test_udp_loss_duplicates_and_order():
    "Lost datagrams are gone, duplicates come twice, overtaken ones come later: exactly those that the trace names."
    with Udp("--do", "set c2s loss 20%") as u:
        got = u.sent(100)
        lost = {e["pos"] for e in u.w.trace() if e["what"] == "loss"}
        assert got == [i for i in range(100) if i not in lost] and 5 < len(lost) < 40, got
    with Udp("--do", "set c2s duplicate 20%") as u:
        got = u.sent(100)
        twice = {e["pos"] for e in u.w.trace() if e["what"] == "duplicate"}
        assert got == sorted(list(range(100)) + list(twice)) and 5 < len(twice) < 40, got
    with Udp("--do", "set c2s reorder 20% gap 1h") as u:  # so late that only a heal lets them go
        for i in range(100):
            u.client.send(struct.pack("<I", i) * 5)
            u.w.until(lambda s: s["c2s"]["reads"] > i)
        u.w.do("heal")
        got = u.sent(0)
        late = [e["pos"] for e in u.w.trace() if e["what"] == "reorder"]
        assert got == [i for i in range(100) if i not in late] + late and 5 < len(late) < 40, got


def test_udp_delay_rate_and_queue():
    "delay is a lower bound; a full queue drops what comes on top."
    with Udp("--do", "set c2s delay 50ms") as u:
        assert took(lambda: (u.client.send(b"x"), u.server.recv(10))) >= 0.050
    with Udp("--do", "set c2s rate 10000 burst 1") as u:
        u.client.send(b"x" * 1000)
        assert took(lambda: (u.client.send(b"x" * 1000), u.server.recv(2000), u.server.recv(2000))) >= 0.1
    with Udp("--do", "set c2s delay 1h queue 1000") as u:
        for i in range(60):
            u.client.send(struct.pack("<I", i) * 5)
            u.w.until(lambda s: s["c2s"]["reads"] > i)
        s = u.w.stats()
        assert s["c2s"]["held"] == 1000 and s["c2s"]["dropped"] == 10, s
        u.w.do("heal")
        assert u.sent(0) == list(range(50))


def test_udp_cut_and_flip():
    "A cut drops; flip changes one bit of the next byte."
    with Udp() as u:
        u.client.send(b"first")
        assert u.server.recv(10) == b"first"
        for cut in ("cut c2s", "cut c2s conn 1", "cut c2s conn 1 for 1h"):
            u.w.do(cut)
            before = u.w.stats()["c2s"]["dropped"]
            u.client.send(b"gone")
            u.w.until(lambda s: s["c2s"]["dropped"] == before + 1)
            u.w.do("heal")
        u.w.do("flip c2s")
        u.client.send(b"abc")
        assert list(changed(b"abc", u.server.recv(10))) == [0]
        assert u.w.error("cut conn 7") == "there is no connection 7"
        assert u.w.error("refuse") == "'refuse' has no meaning for datagrams"


# --- namespaces -------------------------------------------------------------------------------------------------------------------


def ip(*args, check=True):
    return subprocess.run(["ip", *args], check=check, capture_output=True, text=True)


class Namespaces:
    """Network namespaces with a loopback each, and no way between them; gone at the end."""

    def __init__(self, *names):
        self.names = [f"nw{os.getpid()}{n}" for n in names]

    def __enter__(self):
        for n in self.names:
            ip("netns", "add", n)
            ip("-n", n, "link", "set", "lo", "up")
        return self.names

    def __exit__(self, *_):
        for n in self.names:
            ip("netns", "del", n, check=False)


def in_ns(name, f):
    """Runs f in a thread of that namespace (a socket keeps the namespace that it was made in)."""
    out = []

    def run():
        fd = os.open("/var/run/netns/" + name, os.O_RDONLY)
        assert LIBC.setns(fd, 0) == 0
        os.close(fd)
        out.append(f())

    t = threading.Thread(target=run)
    t.start()
    t.join()
    return out[0]


def test_between_namespaces():
    "Listens in one namespace, connects in another, by name and by path; nothing else joins them; none is left behind."
    with Namespaces("a", "b") as (a, b):
        up = in_ns(b, Up)
        with up, Warp(up.addr, "--listen-ns", a, "--to-ns", "/var/run/netns/" + b) as w:
            mine = {os.readlink(f"/proc/{w.proc.pid}/fd/{n}") for n in os.listdir(f"/proc/{w.proc.pid}/fd")}
            here = {f"socket:[{line.split()[9]}]" for line in open("/proc/net/tcp").readlines()[1:]}
            assert not mine & here, "it listens outside its namespace"
            for i in range(3):
                c = in_ns(a, w.connect)
                s = up.accept()
                c.sendall(b"across")
                assert read(s, 6) == b"across"
                s.close(), c.close()
        with Echo() as up, Warp(up.addr, "--listen-ns", a) as w:  # from a namespace to where the program was started
            c = in_ns(a, w.connect)
            c.sendall(b"home")
            assert read(c, 4) == b"home"
            c.close()
        sock = in_ns(b, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(LIMIT)
        with Warp("%s:%d" % sock.getsockname(), "--udp", "--listen-ns", a, "--to-ns", b) as w:
            c = in_ns(a, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            c.sendto(b"datagram", w.addr)
            assert sock.recv(100) == b"datagram"
            c.close()
        sock.close()
    left = [n for n in ip("netns", "list").stdout.split() if n.startswith(f"nw{os.getpid()}")]
    assert not left, left


# --- figures ----------------------------------------------------------------------------------------------------------------------


def transfer(addr, up, total):
    def sink():
        s, buf = up.accept(), bytearray(1 << 20)
        while s.recv_into(buf):
            pass
        s.sendall(b"x")
        s.close()

    t = threading.Thread(target=sink)
    t.start()
    c, piece = socket.create_connection(addr, timeout=LIMIT), b"a" * (1 << 20)
    start = time.monotonic()
    for _ in range(total >> 20):
        c.sendall(piece)
    c.shutdown(socket.SHUT_WR)
    read(c, 1)
    end = time.monotonic() - start
    t.join()
    c.close()
    return total / end / 1e9


def round_trip(addr, n=2000):
    c = socket.create_connection(addr, timeout=LIMIT)
    c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    out = []
    for _ in range(n):
        start = time.perf_counter()
        c.sendall(b"p")
        c.recv(1)
        out.append(time.perf_counter() - start)
    c.close()
    return statistics.median(out) * 1e6


def cpu(pid):
    f = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(f[11]) + int(f[12])) / os.sysconf("SC_CLK_TCK")


def test_figures():
    "Throughput and added latency without damage, printed beside the same without netwarp."
    addr = lambda up: ("127.0.0.1", int(up.addr.rsplit(":", 1)[1]))
    total = 1 << 30
    with Up() as up, Warp(up.addr) as w:
        direct, before = transfer(addr(up), up, total), cpu(w.proc.pid)
        relayed = transfer(w.addr, up, total)
        used = cpu(w.proc.pid) - before
        w.do("set both delay 1us queue 16M")
        delayed = transfer(w.addr, up, total)
    with Echo() as up, Warp(up.addr) as w:
        a, b = round_trip(addr(up)), round_trip(w.addr)
    print(f"      {relayed:.2f} GB/s relayed ({used / total * 1e9:.2f} s of CPU a GB), {delayed:.2f} through the queue, {direct:.2f} direct; "
          f"round trip {b:.0f} us relayed, {a:.0f} us direct; load {os.getloadavg()[0]:.0f} on {os.cpu_count()} CPUs")
    assert relayed > 0 and b > 0


# --- the real server --------------------------------------------------------------------------------------------------------------


class Via:
    """What the simulated clients of test/checks see: the server's ports, through netwarp."""

    def __init__(self, w):
        self.port, self.tls_port = w.addr[1], None


def chat_through(statements, rounds, disturb, count=120):
    """Three senders and three recipients chat through a damaged link; the history must show every acked message, once, in order."""
    import common
    from common import Node, Recipient, Sender, World

    with Node() as node, Warp(f"127.0.0.1:{node.port}", "--do", statements) as w:
        world = World(Via(w), 1)
        users = ["r0", "r1", "r2"]
        senders = [Sender(world, f"s{i}", [u + "@localhost" for u in users], count) for i in range(3)]
        recipients = [Recipient(world, u, [s.user for s in senders]) for u in users]
        node.users([x.user for x in senders + recipients])

        async def breaking():
            for i in range(rounds):
                goal = (i + 1) * len(senders) * count // (rounds + 2)
                await world.until(lambda: world.acks >= goal or all(s.done for s in senders))
                if all(s.done for s in senders):
                    return
                await asyncio.get_running_loop().run_in_executor(None, disturb, w)

        asyncio.run(common.chat(world, senders, recipients, breaking, limit=120))
        common.verdict(world, breaks=rounds, delayed=w.stats()["c2s"]["taken"])


def test_chat_with_delay_jitter_and_cuts():
    "XMPP through 5 ms of delay, jitter, loss and repeated one-way cuts: nothing acked is lost, nothing comes out of order."
    ways = iter(["c2s", "s2c", "both"] * 4)

    def cut(w):
        way = next(ways)
        w.do(f"cut {way}")
        seen = "s2c" if way == "s2c" else "c2s"
        w.until(lambda s: s[seen]["held"] > 0 or s["open"] == 0)
        w.do("heal")

    chat_through("set both delay 5ms jitter 5ms pareto loss 2% rto 5ms segment 300", 9, cut)


def test_chat_with_resets_and_cuts_in_mid_sentence():
    "The same while connections are reset and cut for good in the middle of what they say: clients come back, nothing acked is lost."
    rng = random.Random(2)

    def break_it(w):
        live = [c["conn"] for c in w.conns() if c["state"] == "open"]
        for n in live:
            w.ask(rng.choice([f"reset conn {n}", f"cut c2s conn {n} for 20ms", f"reset client conn {n}", f"half-open conn {n}"]))
        w.do("refuse for 10ms")

    chat_through("set both delay 1ms jitter 2ms", 8, break_it)


if __name__ == "__main__":
    rig.main(sys.modules["__main__"])
