"""murre and murrectl as an operator meets them: every command, every wrong use of it, every reason not to start; nothing is shown by the
server's word alone where a client can look."""
import json, os, pty, re, select, shutil, signal, socket, stat, subprocess, sys, tempfile, threading
from rig import BUILD, LIMIT, ROOT, Raw, Server, login, main, until

S = None
OK, USAGE, DATAERR, NOINPUT, UNAVAILABLE, SOFTWARE, CANTCREAT, TEMPFAIL, NOPERM, CONFIG = 0, 64, 65, 66, 69, 70, 73, 75, 77, 78


def server():
    global S
    if S is None:
        S = Server().start()
        for u in ("alice", "bob"):
            S.user(u + "@localhost")
    return S


def ctl(s, *words, input="", json_out=False):
    """murrectl as it is typed: exit status, stdout, stderr."""
    args = [BUILD + "/murrectl", "--socket", s.dir + "/data/ctl.sock"] + (["--json"] if json_out else []) + list(words)
    r = subprocess.run(args, input=input, capture_output=True, text=True, timeout=LIMIT * 2)
    return r.returncode, r.stdout, r.stderr


def can_login(s, user, password, domain="localhost"):
    c = Raw(s.tls_port, tls=True, alpn=["xmpp-client"])
    try:
        c.open(domain)
        return c.plain(user, password)
    finally:
        c.close()


class Start:
    """One start of murre that must fail: exit status and standard error."""

    def __init__(self, *settings, dir=None, files=None, args=None):
        self.dir = dir or tempfile.mkdtemp(prefix="murre-test-")
        for name, text in (files or {}).items():
            open(os.path.join(self.dir, name), "w").write(text)
        cmd = args if args is not None else ["run", "--set", f"data={self.dir}/data", "--set", "xmpp.listen=127.0.0.1:0", "--set", "xmpp.tls_listen=127.0.0.1:0"]
        for s in settings:
            cmd += ["--set", s.replace("DIR", self.dir)]
        r = subprocess.run([BUILD + "/murre"] + [c.replace("DIR", self.dir) for c in cmd], capture_output=True, text=True, timeout=LIMIT * 2)
        self.status, self.err, self.out = r.returncode, r.stderr, r.stdout
        if not dir:
            shutil.rmtree(self.dir)

    def says(self, status, *patterns):
        assert self.status == status, (self.status, status, self.err)
        lines = self.err.splitlines()
        assert len(lines) == 1 and lines[0].startswith("murre: "), self.err
        assert "\nready" not in self.out, self.out
        for p in patterns:
            assert re.search(p, self.err), (p, self.err)


# --- accounts
def test_user_add_with_a_password_from_standard_input_or_a_file():
    "user add takes the password from standard input and from --password-file; the account can log in; adding it again is refused."
    s = server()
    assert ctl(s, "user", "add", "stdin@localhost", input="pw one\n")[0] == OK
    assert can_login(s, "stdin", "pw one")
    with open(s.dir + "/pw", "w") as f:
        f.write("pw two\n")
    assert ctl(s, "--password-file", s.dir + "/pw", "user", "add", "file@localhost")[0] == OK
    assert can_login(s, "file", "pw two") and not can_login(s, "file", "pw one")
    st, out, err = ctl(s, "user", "add", "file@localhost", input="x\n")
    assert st == DATAERR and len(err.splitlines()) == 1, (st, err)
    assert can_login(s, "file", "pw two"), "a refused add changed the password"
    st, out, err = ctl(s, "--password-file", s.dir + "/none", "user", "add", "file2@localhost")
    assert st == NOINPUT and "No such file" in err, (st, err)
    st, out, err = ctl(s, "user", "add", "nopw@localhost", input="\n")
    assert st == DATAERR and "password" in err and "nopw@localhost" not in s.ctl("user", "list"), (st, err)


def typed(s, words, answers):
    """murrectl on a terminal: waits for each prompt, types the answer; exit status and what the terminal showed."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execv(BUILD + "/murrectl", ["murrectl", "--socket", s.dir + "/data/ctl.sock"] + words)
    shown = b""

    def read(pattern):
        nonlocal shown
        at = len(shown)
        while not (pattern and re.search(pattern, shown[at:])):
            assert select.select([fd], [], [], LIMIT)[0], shown
            try:
                piece = os.read(fd, 4096)
            except OSError:
                piece = b""
            if not piece:
                return
            shown += piece

    for prompt, answer in answers:
        read(prompt)
        os.write(fd, answer)
    read(None)
    os.close(fd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()


def test_password_from_the_terminal_is_asked_twice_and_not_echoed():
    "On a terminal the password is asked for twice, without echo; two that differ change nothing; Ctrl-C gives up."
    s = server()
    st, shown = typed(s, ["user", "add", "tty@localhost"], [(rb"Password: ", b"hush7\n"), (rb"Again: ", b"hush7\n")])
    assert st == OK and "hush7" not in shown, (st, shown)
    assert can_login(s, "tty", "hush7")
    st, shown = typed(s, ["user", "passwd", "tty@localhost"], [(rb"Password: ", b"hush8\n"), (rb"Again: ", b"hush9\n")])
    assert st == NOINPUT and "differ" in shown, (st, shown)
    st, shown = typed(s, ["user", "passwd", "tty@localhost"], [(rb"Password: ", b"\x03")])
    assert st == NOINPUT, (st, shown)
    assert can_login(s, "tty", "hush7") and not can_login(s, "tty", "hush8")


def test_user_import_adds_the_good_lines_and_names_the_first_bad_one():
    "user import: good lines are added, the bad ones counted, the first named with its line; comments and blank lines are nothing."
    s = server()
    with open(s.dir + "/good", "w") as f:
        f.write("# two\nimp1@localhost one\n\nimp2@localhost  two words\r\n")
    assert s.ctl("user", "import", s.dir + "/good") == {"added": 2, "failed": 0}
    assert can_login(s, "imp1", "one") and can_login(s, "imp2", "two words")
    bad = "imp3@localhost three\nnot-a-jid\nimp4@elsewhere.example x\nimp1@localhost again\n@localhost x\nimp5@localhost five"
    st, out, err = ctl(s, "user", "import", "-", input=bad)
    assert st == DATAERR and "2 added, 4 failed" in err and "line 2" in err, (st, err)
    assert can_login(s, "imp3", "three") and can_login(s, "imp5", "five") and can_login(s, "imp1", "one")
    assert ctl(s, "user", "import", s.dir + "/none")[0] == NOINPUT


def test_user_passwd_del_and_list():
    "passwd: the old password fails, the new one works; del ends the sessions and the account; list names each account once, sorted."
    s = server()
    s.user("gone@localhost", "first")
    s.ctl("user", "passwd", "gone@localhost", input="second\n")
    assert not can_login(s, "gone", "first") and can_login(s, "gone", "second")
    c = login(s, "gone", "second")
    s.ctl("user", "del", "gone@localhost")
    assert "stream:error" in c.closed()
    assert not can_login(s, "gone", "second")
    names = s.ctl("user", "list")
    assert "alice@localhost" in names and "gone@localhost" not in names and names == sorted(set(names)), names
    assert ctl(s, "user", "list")[1].splitlines() == names
    for words in (("user", "del", "gone@localhost"), ("user", "passwd", "gone@localhost"), ("roster", "gone@localhost")):
        st, out, err = ctl(s, *words, input="x\n")
        assert st == DATAERR and len(err.splitlines()) == 1, (words, st, err)


def test_wrong_names_are_refused_in_one_line():
    "A JID of another server, one without a local part, one with a resource, and no JID at all: one line that names it."
    s = server()
    for jid in ("x@elsewhere.example", "localhost", "x@localhost/r", "@", "x@", "\x1b[2Jx@y", "a" * 3000 + "@localhost"):
        st, out, err = ctl(s, "user", "add", jid, input="pw\n")
        assert st == DATAERR and len(err.splitlines()) == 1 and "\x1b" not in err, (jid, st, err)


# --- looking
def test_status_names_the_addresses_that_were_bound():
    "status: the bound addresses, domains, sessions and the state of the log."
    s = server()
    c = login(s, "alice")
    v = s.ctl("status")
    assert {x["address"] for x in v["listen"]} == {f"127.0.0.1:{s.port}", f"127.0.0.1:{s.tls_port}"}, v
    assert {x["transport"] for x in v["listen"]} == {"xmpp", "xmpps"}
    assert v["ready"] is True and v["domains"] == ["localhost"] and v["sessions"] >= 1 and v["log"]["damaged"] == 0 and v["log"]["full"] is False
    text = ctl(s, "status")[1]
    assert f"127.0.0.1:{s.tls_port}" in text and "ready" in text, text
    c.close()


def test_sessions_kick_roster_and_offline():
    "sessions lists who is there, kick ends a session with its text, roster and offline show an account's contacts and kept messages."
    s = server()
    s.user("looked@localhost")
    c = login(s, "looked", resource="one")
    d = login(s, "looked", resource="two")
    rows = s.ctl("sessions", "looked@localhost")
    assert sorted(r["jid"] for r in rows) == ["looked@localhost/one", "looked@localhost/two"], rows
    assert any(r["jid"] == "looked@localhost/one" for r in s.ctl("sessions"))
    c.send("<iq type='set' id='r'><query xmlns='jabber:iq:roster'><item jid='bob@localhost' name='Bob'><group>g</group></item></query></iq>")
    c.expect(r"<iq[^>]*type='result'[^>]*id='r'|<iq[^>]*id='r'[^>]*type='result'")
    row = s.ctl("roster", "looked@localhost")[0]
    assert row["jid"] == "bob@localhost" and row["name"] == "Bob", row
    s.ctl("kick", "looked@localhost/one", "time to go")
    end = c.closed()
    assert "time to go" in end, end
    assert [r["jid"] for r in s.ctl("sessions", "looked@localhost")] == ["looked@localhost/two"]
    s.ctl("kick", "looked@localhost")
    d.closed()
    until("no session is left", lambda: s.ctl("sessions", "looked@localhost") == [])
    a = login(s, "alice", sm=True)
    a.send("<message to='looked@localhost' type='chat'><body>kept</body></message><r xmlns='urn:xmpp:sm:3'/>")
    a.expect(r"<a [^>]*h='")
    v = s.ctl("offline", "looked@localhost")
    assert v["messages"] == 1, v
    a.close()


def test_runtime_commands():
    "actors, actors PID, actor NAME, queues, flush, msacc, locks on, off and table, log level, partitions, events, pool: each answers, and what is switched is switched."
    s = server()
    rows = s.ctl("actors")
    assert any(r["name"] == "store.log" for r in rows) and len(s.ctl("actors", "3")) == 3, rows[:3]
    pid = next(r["pid"] for r in rows if r["name"] == "store.log")
    assert s.ctl("actors", pid)["pid"] == s.ctl("actor", pid)["pid"] == s.ctl("actor", "store.log")["pid"] == pid
    for f in ("messages", "links", "monitors", "state_bytes", "handled"):
        assert f in s.ctl("actor", pid)
    assert s.ctl("queues")["actors"] >= len(rows)
    assert s.ctl("flush", next(r["pid"] for r in rows if r["class"].startswith("rt.sup") or "sup" in r["class"]))["flushed"] >= 0
    for words in (("actor", "<0.9.9.9>"), ("actors", "nobody"), ("flush", "<0.0.999999.1>"), ("actors", "0"), ("actors", "1x")):
        st, out, err = ctl(s, *words)
        assert st == DATAERR and len(err.splitlines()) == 1, (words, st, err)
    assert any("shard" in r["thread"] for r in s.ctl("msacc"))
    for w in ("stop", "start", "reset"):
        s.ctl("msacc", w)
    s.ctl("locks", "on")
    s.ctl("status")
    assert any(r["tries"] for r in s.ctl("locks")) and [r["lock"] for r in s.ctl("locks", "table")] == [r["lock"] for r in s.ctl("locks")]
    s.ctl("locks", "off")
    s.ctl("locks", "clear")
    assert not any(r["tries"] for r in s.ctl("locks") if not r["lock_free"])
    assert s.ctl("log", "level", "debug")["level"] == "debug" and s.ctl("log", "level")["level"] == "debug"
    s.ctl("log", "level", "notice")
    st, out, err = ctl(s, "log", "level", "loud")
    assert st == DATAERR and "notice" in err
    assert len(s.ctl("partitions")) == 64
    assert any(r["event"] == "ctl" and r["count"] > 0 for r in s.ctl("events"))
    assert {r["kind"] for r in s.ctl("pool")} >= {"disk", "crypto"}


def test_json_is_json_and_text_is_for_people():
    "Every command that only looks answers one JSON document with --json and something readable without."
    s = server()
    for words in (["status"], ["user", "list"], ["sessions"], ["sessions", "alice@localhost"], ["roster", "alice@localhost"], ["offline", "alice@localhost"],
                  ["partitions"], ["actors"], ["queues"], ["msacc"], ["locks"], ["log", "level"], ["events"], ["events", "all"], ["pool"], ["help"]):
        st, out, err = ctl(s, *words, json_out=True)
        assert st == OK and not err and json.loads(out)["ok"] is True, (words, st, out, err)
        st, out, err = ctl(s, *words)
        assert st == OK and not err and '{"ok"' not in out, (words, st, out, err)
    st, out, err = ctl(s, "user", "del", "nobody@localhost", json_out=True)
    v = json.loads(out)
    assert st == DATAERR and v["ok"] is False and v["error"] and v["why"], (st, out)


def test_wrong_command_lines_are_usage_errors():
    "An unknown command, too few or too many arguments, an unknown option, a wrong line for the shell: EX_USAGE, one line that says what is right."
    s = server()
    for words, hint in ((["usr", "add", "x@localhost"], "unknown command"), (["user"], "user add JID"), (["user", "x@localhost"], "user add JID"),
                        (["user", "add"], "usage: user add JID"), (["user", "add", "a@b", "c"], "usage: user add JID"), (["status", "now"], "usage: status"),
                        (["kick"], "usage: kick"), (["backup"], "usage: backup DIR"), (["log", "levl"], "log level"), (["actor"], "usage: actor PID"),
                        (["--frob", "status"], "usage: murrectl"), (["--socket"], "usage: murrectl"), ([], "unknown command: pw"),
                        (["status"] * 30, "too many")):
        st, out, err = ctl(s, *words, input="pw\n")
        assert st == USAGE and hint in err and not out, (words, st, out, err)
    assert json.loads(ctl(s, "frob", json_out=True)[1])["error"] == "usage"
    st, out, err = ctl(s, "help")
    assert st == OK and "backup DIR" in out and "user passwd JID" in out and not err
    assert ctl(s, "help", "user")[1].count("\n") == 6


def test_without_a_server_murrectl_says_so():
    "No server, no socket, a path that is too long, a socket that nobody serves: EX_UNAVAILABLE and one line."
    d = tempfile.mkdtemp(prefix="murre-test-")
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(d + "/stale")
    stale.close()
    for path in (d + "/none", d + "/stale", d + "/" + "x" * 200):
        for extra in ([], ["--json"]):
            r = subprocess.run([BUILD + "/murrectl", "--socket", path] + extra + ["status"], capture_output=True, text=True, timeout=LIMIT)
            assert r.returncode == UNAVAILABLE and len(r.stderr.splitlines()) == 1, (path, r)
            assert not extra or json.loads(r.stdout)["error"] == "unavailable"
    shutil.rmtree(d)


# --- life of a server
def test_socket_mode_stale_socket_and_drain():
    "The socket is 0600; a stale one is replaced after kill -9; SIGTERM tells the clients, drains, removes the socket and exits 0."
    with Server() as s:
        s.user("alice@localhost")
        path = s.dir + "/data/ctl.sock"
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        for f in ("secret", "accounts.db", "tls/localhost.key"):
            assert stat.S_IMODE(os.stat(s.dir + "/data/" + f).st_mode) == 0o600, f
        s.kill()
        assert os.path.exists(path)
        s.start()
        c = login(s, "alice")
        assert s.ctl("status")["ready"] is True
        s.proc.send_signal(signal.SIGTERM)
        assert "system-shutdown" in c.closed()
        c.close()
        assert s.proc.wait(LIMIT) == 0
        assert not os.path.exists(path)


def test_another_user_of_the_machine_gets_nothing():
    "The control socket is for the server's own user and root: another one cannot connect."
    assert os.geteuid() == 0, "this test needs to be root, to become somebody else"
    with Server() as s:
        os.chmod(s.dir, 0o755)
        os.chmod(s.dir + "/data", 0o755)
        shutil.copy(BUILD + "/murrectl", s.dir)  # the build may lie where only we may look
        r = subprocess.run(["setpriv", "--reuid=65534", "--clear-groups", s.dir + "/murrectl", "--socket", s.dir + "/data/ctl.sock", "status"], capture_output=True,
                           text=True, timeout=LIMIT)
        assert r.returncode == UNAVAILABLE and "Permission denied" in r.stderr and not r.stdout, r
        assert stat.S_IMODE(os.stat(s.dir + "/data/secret").st_mode) == 0o600


def test_the_banner_can_be_followed():
    "What is printed at the start works as it stands: the line that adds a user, and the fingerprint."
    with Server() as s:
        line = re.search(r"^add a user   (.*)$", s.banner.decode(), re.M)[1]
        r = subprocess.run(line.split(), input="pw\n", capture_output=True, text=True, timeout=LIMIT)
        assert r.returncode == OK and can_login(s, "alice", "pw"), (line, r)
        assert re.search(rf"/connect USER@localhost server 127.0.0.1 port {s.port},", s.banner.decode())


def test_drain_sends_sessions_away_and_refuses_new_ones():
    "drain: present sessions end with system-shutdown, new connections are not served; murrectl still answers."
    with Server() as s:
        s.user("alice@localhost")
        c = login(s, "alice")
        s.ctl("drain")
        assert "system-shutdown" in c.closed()
        c.close()
        until("no session is left", lambda: s.ctl("status")["sessions"] == 0)
        try:
            d = Raw(s.port)
            d.send("<?xml version='1.0'?><stream:stream to='localhost' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>")
            assert "features" not in d.closed()
        except (ConnectionError, OSError):
            pass
        assert s.stop() == 0


def test_backup_while_messages_flow_is_a_data_directory():
    "backup DIR while messages flow: a second server on the copy has accounts, passwords, certificate and every message acked before the backup began."
    with Server() as s:
        s.user("alice@localhost", "pa")
        s.user("bob@localhost", "pb")
        a = login(s, "alice", "pa", sm=True)
        for i in range(50):
            a.send(f"<message to='bob@localhost' type='chat'><body>before {i}</body></message>")
        a.send("<r xmlns='urn:xmpp:sm:3'/>")
        a.expect(r"<a [^>]*h='5[01]'")
        stop, sent = threading.Event(), []

        def flow():
            while not stop.is_set():
                a.send(f"<message to='bob@localhost' type='chat'><body>during {len(sent)}</body></message><r xmlns='urn:xmpp:sm:3'/>")
                a.expect(r"<a [^>]*h='")
                sent.append(1)

        t = threading.Thread(target=flow)
        t.start()
        until("messages flow", lambda: len(sent) > 20)
        copy = tempfile.mkdtemp(prefix="murre-test-")
        try:
            try:
                s.ctl("backup", copy + "/data")
            finally:
                stop.set()
                t.join()
            st, out, err = ctl(s, "backup", copy + "/data")
            assert st == DATAERR and "not empty" in err, (st, err)
            assert err and os.path.exists(copy + "/data/accounts.db")  # a backup that is there is not touched by one that is refused
            st, out, err = ctl(s, "backup", "relative/dir")
            assert st == DATAERR and "absolute" in err
            assert ctl(s, "backup", "/proc/none/x")[0] == DATAERR
            for f in ("secret", "format", "tls/localhost.crt", "tls/localhost.key"):
                assert open(s.dir + "/data/" + f, "rb").read() == open(copy + "/data/" + f, "rb").read(), f
                assert f == "format" or stat.S_IMODE(os.stat(copy + "/data/" + f).st_mode) == 0o600, f
            with Server(data=copy) as s2:  # beside the first
                assert can_login(s2, "alice", "pa") and can_login(s2, "bob", "pb") and not can_login(s2, "bob", "pa")
                b = login(s2, "bob", "pb")
                for i in range(50):
                    b.expect(rf"<body>before {i}</body>")
                assert s2.ctl("status")["log"]["damaged"] == 0
                b.close()
                assert s2.stop() == 0
        finally:
            shutil.rmtree(copy)


def tree(path):
    return sorted(os.path.relpath(os.path.join(d, f), path) for d, dirs, files in os.walk(path) for f in dirs + files)


def test_backup_that_fails_removes_what_it_made():
    "backup DIR on a full disk, at each of its parts, and on a target in use: the reason, and nothing of it stays; what was there does."
    d = mounted("64m")
    assert d, "this test needs to mount a tmpfs"
    try:
        with Server({"log.segment_bytes": "1M"}) as s:
            s.user("alice@localhost", "pa")
            whole, parts = d + "/whole", []
            s.ctl("backup", whole)
            sizes = [os.path.getsize(os.path.join(whole, f)) for f in tree(whole) if os.path.isfile(os.path.join(whole, f))]
            need = sum(-(-n // 4096) * 4096 for n in sizes)
            shutil.rmtree(whole)
            os.mkdir(d + "/empty")  # not made by the backup
            for room in range(0, need, max(4096, need // 12 // 4096 * 4096)):
                fill(d + "/filler")
                os.truncate(d + "/filler", os.path.getsize(d + "/filler") - room)
                for name in ("new", "empty"):
                    st, out, err = ctl(s, "backup", f"{d}/{name}")
                    assert st != OK and re.search("space|full", err), (st, err)
                    assert tree(d) == ["empty", "filler"], (err, tree(d))
                parts.append(err.split(":")[1])
                os.unlink(d + "/filler")
            assert len(set(parts)) > 1, parts  # it failed at more than one part
            os.makedirs(d + "/used/log")
            open(d + "/used/log/mine", "w").close()
            st, out, err = ctl(s, "backup", d + "/used")
            assert st == DATAERR and "not empty" in err and tree(d + "/used") == ["log", "log/mine"], (st, err, tree(d))
            s.ctl("backup", d + "/empty")
            assert "accounts.db" in tree(d + "/empty") and "log/000000000001.seg" in tree(d + "/empty")
            assert s.stop() == 0
    finally:
        subprocess.run(["umount", d], check=True)
        os.rmdir(d)


def test_second_server_on_the_same_data_directory_is_refused():
    "A data directory in use: one line, EX_TEMPFAIL; the first server goes on."
    s = server()
    Start(dir=s.dir).says(TEMPFAIL, s.dir + "/data", "in use|another process|busy")
    assert s.ctl("status")["ready"] is True


def test_control_socket_of_another_server_or_not_a_socket():
    "ctl.socket that another server answers on: EX_TEMPFAIL; a file that is no socket stays, EX_CANTCREAT; a path that is too long: EX_CONFIG."
    s = server()
    Start(f"ctl.socket={s.dir}/data/ctl.sock").says(TEMPFAIL, "another server answers on .*ctl.sock")
    Start("ctl.socket=DIR/file", files={"file": "precious"}).says(CANTCREAT, "is not a socket")
    Start("ctl.socket=DIR/" + "x" * 150).says(CONFIG, "ctl.socket.*107")
    Start("ctl.socket=DIR/no/such/dir").says(NOINPUT, "ctl.socket")


def test_port_in_use():
    "A port that another process has: one line with the address, EX_UNAVAILABLE."
    s = server()
    Start(f"xmpp.listen=127.0.0.1:{s.port}").says(UNAVAILABLE, f"127.0.0.1:{s.port}")
    Start(f"xmpp.tls_listen=127.0.0.1:{s.port}").says(UNAVAILABLE, f"127.0.0.1:{s.port}")
    for bad in ("localhost:5222", "127.0.0.1", "127.0.0.1:x", "[::1:5", "127.0.0.1:70000"):
        Start("xmpp.listen=" + bad).says(CONFIG, "xmpp.listen", "not an address")


def test_bad_keys_and_certificates():
    "A key or certificate that is missing: EX_NOINPUT; a directory: EX_NOINPUT; garbage or a key that does not fit: EX_DATAERR. The file is named."
    d = tempfile.mkdtemp(prefix="murre-test-")
    run = lambda *a: subprocess.run(a, check=True, capture_output=True)
    for n in ("a", "b"):
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x", "-keyout", f"{d}/{n}.key", "-out", f"{d}/{n}.crt")
    open(d + "/junk", "w").write("-----BEGIN nothing-----\n")
    try:
        Start(f"tls.cert={d}/none", f"tls.key={d}/a.key").says(NOINPUT, d + "/none")
        Start(f"tls.cert={d}/a.crt", f"tls.key={d}/none").says(NOINPUT, d + "/none")
        Start(f"tls.cert={d}/a.crt", f"tls.key={d}").says(NOINPUT, d, "[Dd]irectory")
        Start(f"tls.cert={d}", f"tls.key={d}/a.key").says(NOINPUT, d, "[Dd]irectory")
        Start(f"tls.cert={d}/junk", f"tls.key={d}/a.key").says(DATAERR, d + "/junk")
        Start(f"tls.cert={d}/a.crt", f"tls.key={d}/junk").says(DATAERR, d + "/junk")
        Start(f"tls.cert={d}/a.crt", f"tls.key={d}/b.key").says(DATAERR, f"the key in {d}/b.key is not that of the certificate in {d}/a.crt")
        check = lambda crt, key: Start(args=["check", "--set", f"tls.cert={crt}", "--set", f"tls.key={key}"])
        assert check(f"{d}/a.crt", f"{d}/a.key").status == OK
        check(f"{d}/a.crt", f"{d}/junk").says(DATAERR, d + "/junk")
        check(f"{d}/a.crt", f"{d}/none").says(NOINPUT, d + "/none")
        check(f"{d}/a.crt", f"{d}/b.key").says(DATAERR, f"the key in {d}/b.key is not that of the certificate in {d}/a.crt")
        Start(f"tls.cert={d}/a.crt").says(CONFIG, "tls.cert and tls.key")
        if os.geteuid() == 0:  # root reads everything: be somebody else
            os.chmod(d, 0o755)
            own = tempfile.mkdtemp(prefix="murre-test-")
            os.chmod(own, 0o777)
            shutil.copy(BUILD + "/murre", d)
            r = subprocess.run(["setpriv", "--reuid=65534", "--clear-groups", d + "/murre", "run", "--set", f"data={own}/data", "--set", "xmpp.listen=127.0.0.1:0",
                                "--set", "xmpp.tls_listen=", "--set", f"tls.cert={d}/a.crt", "--set", f"tls.key={d}/a.key"], capture_output=True, text=True, timeout=LIMIT)
            assert r.returncode == NOPERM and "a.key" in r.stderr and len(r.stderr.splitlines()) == 1, r
            shutil.rmtree(own)
    finally:
        shutil.rmtree(d)


def test_wrong_settings_and_command_lines():
    "Unknown or wrong settings: EX_CONFIG with file, line and a suggestion; a file that cannot be read: EX_NOINPUT; a wrong command line: EX_USAGE."
    Start("xmp.listen=127.0.0.1:0").says(CONFIG, "--set: unknown key 'xmp.listen'; did you mean 'xmpp.listen'")
    Start("shards=many").says(CONFIG, "shards wants a number, not 'many'")
    Start("shards=65").says(CONFIG, "between 0 and 64")
    Start("domains=").says(CONFIG, "domains")
    Start("domains=a,A").says(CONFIG, "twice")
    Start("domains=../etc/x").says(CONFIG, "not a domain")
    Start("sasl.mechanisms=SCRAM-SHA-256,MAGIC").says(CONFIG, "MAGIC")
    Start("data=").says(CONFIG, "data")
    Start(args=["run", "-c", "DIR/f"], files={"f": "xmpp:\n  listen: 127.0.0.1:0\n  backlogg: 5\n"}).says(CONFIG, "/f:3: unknown key 'xmpp.backlogg'; did you mean 'xmpp.backlog'")
    Start(args=["run", "-c", "DIR/none"]).says(NOINPUT, "/none: No such file")
    Start(args=["run", "-c", "DIR"]).says(NOINPUT, "directory")
    Start(args=["run", "--frob"]).says(USAGE, "--frob")
    Start(args=["run", "--\x1b[31m"]).says(USAGE, re.escape(r"unknown argument '--\x1b[31m'"))
    Start(args=["run", "-c"]).says(USAGE, "-c wants a value")
    Start(args=["check", "--set", "x=1"]).says(CONFIG)
    assert Start(args=["check", "--set", "shards=2"]).status == OK
    assert Start(args=[]).status == USAGE and Start(args=["frob"]).status == USAGE and Start(args=["help"]).status == OK


def mounted(size):
    """A small file system in memory, or None where mounting is not allowed."""
    d = tempfile.mkdtemp(prefix="murre-test-")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "tmpfs", d], capture_output=True).returncode:
        os.rmdir(d)
        return None
    return d


def fill(path):
    """Takes the last byte of a file system."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(fd, b"x" * 4096)
    except OSError:
        pass
    os.close(fd)


def test_full_disk_at_start():
    "A full disk at start: one line, EX_CANTCREAT; with room again the same directory starts."
    d = mounted("4m")
    assert d, "this test needs to mount a tmpfs"
    try:
        fill(d + "/filler")
        Start(dir=d).says(CANTCREAT, "no space|full")
        os.unlink(d + "/filler")
        with Server({"log.segment_bytes": "1M", "recorder.bytes": "0"}, data=d) as s:
            s.user("alice@localhost")
            fill(d + "/filler")
            s.kill()
            Start(dir=d).says(CANTCREAT, "no space|full")
            os.unlink(d + "/filler")
            s.start()
            assert can_login(s, "alice", "secret")
    finally:
        subprocess.run(["umount", d], check=True)
        os.rmdir(d)


def filled():
    """A stopped server's directory with accounts and 40 messages for bob, and where one of them lies in the log."""
    s = Server().start()
    s.user("alice@localhost")
    s.user("bob@localhost")
    a = login(s, "alice", sm=True)
    for i in range(40):
        a.send(f"<message to='bob@localhost' type='chat'><body>marker-{i:04d}-{'x' * 700}</body></message>")
    a.send("<r xmlns='urn:xmpp:sm:3'/>")
    a.expect(r"<a [^>]*h='4[01]'")
    a.close()
    assert s.stop() == 0
    return s


def log_file_with(s, text):
    for name in sorted(os.listdir(s.dir + "/data/log")):
        path = s.dir + "/data/log/" + name
        at = open(path, "rb").read().find(text)
        if at >= 0:
            return path, at
    raise AssertionError("not in the log")


def flip(path, at):
    with open(path, "r+b") as f:
        f.seek(at)
        b = f.read(1)
        f.seek(at)
        f.write(bytes([b[0] ^ 4]))


def test_flipped_bit_in_the_log_is_named_and_the_rest_served():
    "One flipped bit in a kept message: it is named in the log and counted by status; the other 39 are delivered."
    s = filled()
    try:
        path, at = log_file_with(s, b"marker-0007")
        flip(path, at + 3)
        s.start()
        b = login(s, "bob")
        got = b.expect(r"marker-0039").string
        got += b.buf
        seen = set(re.findall(rb"<body>marker-(\d{4})-", got))
        assert len(seen | {b"0039"}) == 39 and b"0007" not in seen, sorted(seen)
        assert s.ctl("status")["log"]["damaged"] >= 1
        until("it is logged", lambda: "log_damage" in s.stderr())
    finally:
        s.__exit__()


def test_damaged_segment_header_is_named_and_the_server_serves():
    "A log file whose header is garbage: it is named, set aside, not deleted; the server starts and keeps new messages."
    s = filled()
    try:
        path, _ = log_file_with(s, b"marker-0000")
        with open(path, "r+b") as f:
            f.write(os.urandom(64))
        before = os.path.getsize(path)
        s.start()
        until("it is logged", lambda: "log_damage" in s.stderr())
        assert any(b"marker-0000" in open(s.dir + "/data/log/" + n, "rb").read() for n in os.listdir(s.dir + "/data/log")), before
        b = login(s, "bob")
        a = login(s, "alice", sm=True)
        a.send("<message to='bob@localhost' type='chat'><body>after</body></message><r xmlns='urn:xmpp:sm:3'/>")
        a.expect(r"<a [^>]*h='")
        b.expect(r"<body>after</body>")
    finally:
        s.__exit__()


def test_truncated_log_is_named_and_the_rest_served():
    "A log cut in the middle of the kept messages: those before the cut are delivered; the server starts and serves."
    s = filled()
    try:
        path, at = log_file_with(s, b"marker-0020")
        os.truncate(path, at)
        s.start()
        b = login(s, "bob")
        b.expect(r"marker-0019")
        a = login(s, "alice", sm=True)
        a.send("<message to='bob@localhost' type='chat'><body>after</body></message><r xmlns='urn:xmpp:sm:3'/>")
        a.expect(r"<a [^>]*h='")
        b.expect(r"<body>after</body>")
    finally:
        s.__exit__()


def test_damaged_account_database():
    "accounts.db that is no database: one line, EX_DATAERR, and the file is left as it was; one flipped bit: it starts and names the page."
    s = filled()
    try:
        db = s.dir + "/data/accounts.db"
        good = open(db, "rb").read()
        open(db, "wb").write(os.urandom(len(good)))
        bad = open(db, "rb").read()
        Start(dir=s.dir).says(DATAERR, "account")
        assert open(db, "rb").read() == bad
        open(db, "wb").write(good)
        at = good.rfind(b"bob@localhost")
        flip(db, at)
        s.start()
        until("it is logged", lambda: re.search(r"page \d+ of the account database is damaged", s.stderr()))
        s.stop()
        open(db, "wb").write(good)
        s.start()
        assert can_login(s, "bob", "secret")
    finally:
        s.__exit__()


def test_newer_format_is_refused():
    "A data directory of a newer format: one line, EX_DATAERR; an unreadable format file too."
    s = filled()
    try:
        open(s.dir + "/data/format", "w").write("murre data 2\n")
        Start(dir=s.dir).says(DATAERR, "format 2")
        open(s.dir + "/data/format", "w").write("\x00\x01")
        Start(dir=s.dir).says(DATAERR, "format")
    finally:
        s.__exit__()


def test_make_install():
    "make install puts programs, libmurre, man pages, completions and the unit under DESTDIR and PREFIX, and nothing else; the installed murre starts."
    d = tempfile.mkdtemp(prefix="murre-test-")
    subprocess.run(["make", "-s", "-C", ROOT, "B=" + os.path.relpath(BUILD, ROOT), "install", "DESTDIR=" + d, "PREFIX=/opt/m"], check=True, capture_output=True,
                   env={k: v for k, v in os.environ.items() if not k.startswith("MAKE")})
    found = sorted(os.path.join(p, f)[len(d):] for p, _, files in os.walk(d) for f in files)
    programs = ["murre", "murre-history", "murrectl"]
    share = ["bash-completion/completions/" + p for p in programs] + [f"man/man1/{p}.1" for p in programs] + ["man/man5/murre.yaml.5"]
    library = ["include/murre.h", "include/murre_term.h", "lib/libmurre.a", "lib/libmurre.so", "lib/libmurre.so.0", "lib/libmurre.so.0.1", "lib/pkgconfig/murre.pc"]
    manual = [f for f in found if f.startswith("/opt/m/share/man/man3/murre")]  # test_lib.py: has every function
    assert "/opt/m/share/man/man3/murre_send.3" in manual
    assert [f for f in found if f not in manual] == sorted(["/opt/m/bin/" + p for p in programs] + ["/opt/m/lib/systemd/system/murre.service"] +
                                                           ["/opt/m/" + f for f in library] + ["/opt/m/share/" + s for s in share]), found
    assert "ExecStart=/opt/m/bin/murre " in open(d + "/opt/m/lib/systemd/system/murre.service").read()
    assert subprocess.run([d + "/opt/m/bin/murre", "version"], capture_output=True, text=True).stdout.startswith("murre ")
    shutil.rmtree(d)


# --- domains and mechanisms
def test_several_domains_on_one_node():
    "Several domains: the same name in each is another account; they reach one another; a domain that is not ours is host-unknown; and remote-server-not-found for its users."
    with Server({"domains": "one.example,two.example"}) as s:
        s.user("alice@one.example", "p1")
        s.user("alice@two.example", "p2")
        assert can_login(s, "alice", "p1", "one.example") and can_login(s, "alice", "p2", "two.example") and not can_login(s, "alice", "p1", "two.example")

        def session(domain, password):
            c = Raw(s.tls_port, tls=True)
            c.open(domain)
            assert c.plain("alice", password)
            c.open(domain)
            c.send("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
            c.jid = c.expect(r"<jid>(.*?)</jid>").group(1).decode()
            c.send("<presence/>")
            c.expect("<presence")
            return c

        a, b = session("one.example", "p1"), session("two.example", "p2")
        a.send("<message to='alice@two.example' type='chat'><body>hello</body></message>")
        b.expect(r"<message[^>]*from='alice@one.example/.*?<body>hello</body>")
        a.send("<message to='x@three.example' type='chat' id='m'><body>x</body></message>")
        a.expect("remote-server-not-found")
        c = Raw(s.tls_port, tls=True)
        c.send("<?xml version='1.0'?><stream:stream to='three.example' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>")
        assert "host-unknown" in c.closed()


def test_anonymous_domain_works_and_leaves_nothing_behind():
    "ANONYMOUS: only that mechanism on that domain; the session chats; after it no account, session or kept message is left, also not on the disk."
    with Server({"domains": "localhost,anon.example", "domains_anonymous": "anon.example"}) as s:
        s.user("bob@localhost")
        c = Raw(s.tls_port, tls=True)
        f = c.open("anon.example")
        assert re.findall(r"<mechanism>(.*?)</mechanism>", f) == ["ANONYMOUS"], f
        assert "ANONYMOUS" not in Raw(s.tls_port, tls=True).open()
        c.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='ANONYMOUS'>=</auth>")
        c.expect("<success")
        c.open("anon.example")
        c.send("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
        jid = c.expect(r"<jid>(.*?)</jid>").group(1).decode()
        c.send("<presence/>")
        c.expect("<presence")
        b = login(s, "bob")
        c.send("<message to='bob@localhost' type='chat'><body>from nobody</body></message>")
        b.expect(r"<message[^>]*from='" + re.escape(jid) + "'.*?<body>from nobody</body>")
        ping = b.expect(r"<iq type=.get.[^>]*><ping.*?</iq>").group().decode()  # the answer is bob's ack
        b.send("<iq type='result' id='" + re.search(r"id='([^']*)'", ping)[1] + "'/>")
        b.send(f"<message to='{jid}' type='chat'><body>for nobody</body></message>")
        c.expect("for nobody")
        assert [r["jid"] for r in s.ctl("sessions", jid.split("/")[0])] == [jid]
        c.send("</stream:stream>")
        c.closed()
        c.close()
        until("the session is gone", lambda: jid not in [r["jid"] for r in s.ctl("sessions")])
        b.send(f"<message to='{jid}' type='chat' id='late'><body>too late</body></message>")
        b.expect(r"<message[^>]*type='error'")
        assert s.ctl("user", "list") == ["bob@localhost"]
        st, out, err = ctl(s, "user", "add", "x@anon.example", input="x\n")
        assert st == DATAERR and "anonymous" in err
        local = jid.split("@")[0].encode()
        until("nothing is kept", lambda: s.ctl("status")["log"]["messages"] == 0)
        b.close()
        assert s.stop() == 0
        assert local not in open(s.dir + "/data/accounts.db", "rb").read()


def test_plain_only_where_configured_and_only_under_tls():
    "PLAIN is not offered by default; where configured it is, under TLS only, and works; a wrong password and an unknown user get the same answer."
    assert "PLAIN" not in Raw(server().tls_port, tls=True).open()
    import base64
    with Server({"sasl.mechanisms": "SCRAM-SHA-256,PLAIN"}) as s:
        s.user("alice@localhost")
        assert "PLAIN" not in Raw(s.port).open()
        answers = []
        for user, password in (("alice", "secret"), ("alice", "wrong"), ("nobody", "wrong")):
            c = Raw(s.port)
            c.starttls()
            assert re.findall(r"<mechanism>(.*?)</mechanism>", c.open()) == ["SCRAM-SHA-256", "PLAIN"]
            c.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>" + base64.b64encode(f"\0{user}\0{password}".encode()).decode() + "</auth>")
            answers.append(c.expect(r"<success[^>]*>|<failure.*?</failure>").group())
        assert answers[0].startswith(b"<success") and answers[1] == answers[2] and b"not-authorized" in answers[1], answers
        c = Raw(s.port)
        c.open()
        c.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGFsaWNlAHNlY3JldA==</auth>")
        assert "<success" not in c.closed()


# --- secrets
CANARY = "c4n4ry-pAssw0rd-71fe"


def test_a_password_is_nowhere():
    "A planted password is in no file of the data directory, not on standard error or output, not in the flight recorder, not in /proc/PID/cmdline or environ, not in a backup."
    with Server({"log.level": "debug", "sasl.mechanisms": "SCRAM-SHA-256,PLAIN"}) as s:
        import base64
        s.user("spy@localhost", CANARY)
        with open(s.dir + "/import", "w") as f:
            f.write(f"spy2@localhost {CANARY}\nbroken-{CANARY} {CANARY}\n@ {CANARY}\n")
        ctl(s, "user", "import", s.dir + "/import")
        os.unlink(s.dir + "/import")
        s.ctl("user", "passwd", "spy2@localhost", input=CANARY + "\n")
        for p in (CANARY, CANARY + "x"):
            c = Raw(s.tls_port, tls=True)
            c.open()
            c.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>" + base64.b64encode(f"\0spy\0{p}".encode()).decode() + "</auth>")
            c.expect("<success|<failure")
            c.close()
        assert can_login(s, "spy", CANARY)
        s.ctl("backup", s.dir + "/copy")
        needles = (CANARY.encode(), base64.b64encode(f"\0spy\0{CANARY}".encode()))
        looked = 0

        def look(path):
            nonlocal looked
            data = open(path, "rb").read()
            looked += 1
            for n in needles:
                assert n not in data, (path, n)

        for top in (s.dir,):
            for p, _, files in os.walk(top):
                for f in files:
                    if stat.S_ISREG(os.lstat(os.path.join(p, f)).st_mode):
                        look(os.path.join(p, f))
        assert os.path.exists(s.dir + "/data/recorder")
        for f in ("cmdline", "environ"):
            look(f"/proc/{s.proc.pid}/{f}")
        assert CANARY.encode() not in s.banner and looked > 6


if __name__ == "__main__":
    try:
        main(sys.modules[__name__])
    finally:
        if S:
            S.__exit__()
