"""The operator's console: murrectl's shell, top, the flight recorder, completion, manual pages, the service manager's socket. Full-screen and
line-edited parts are driven through tmux: the screen is what the operator sees."""
import json, os, re, shutil, signal, socket, statistics, struct, subprocess, sys, tempfile, threading, time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../interop/xmpp"))
from rig import BUILD, LIMIT, ROOT, Server, login, main, until

CTL = BUILD + "/murrectl"
S = None
OK, USAGE, DATAERR, NOINPUT, UNAVAILABLE, IOERR = 0, 64, 65, 66, 69, 74
RECORD, PAGE = 64, 4096


def server():
    global S
    if S is None:
        S = Server().start()
        for u in ("alice", "albert", "bob"):
            S.user(u + "@localhost")
    return S


def sock(s):
    return s.dir + "/data/ctl.sock"


def ctl(s, *words, input="", env=None):
    """murrectl as it is typed: exit status, stdout, stderr."""
    r = subprocess.run([CTL, "--socket", sock(s), *words], input=input, capture_output=True, text=True, timeout=LIMIT * 2, env=env)
    return r.returncode, r.stdout, r.stderr


class Term:
    """A command in a terminal of its own."""

    def __init__(self, command, columns=180, rows=40, home=None):
        self.own = home is None
        self.home = home or tempfile.mkdtemp(prefix="murre-console-")
        self.sock = tempfile.mkdtemp(prefix="murre-tmux-")
        env = f"HOME={self.home} XDG_STATE_HOME={self.home}/state LC_ALL=C.UTF-8"
        self.do("-f", "/dev/null", "new-session", "-d", "-x", str(columns), "-y", str(rows), f"trap : INT; env {env} {command}; echo \"[ended $?]\"; exec cat")

    def do(self, *args):
        return subprocess.run(["tmux", "-S", self.sock + "/s", *args], capture_output=True, text=True, check=True).stdout

    def keys(self, *keys):
        self.do("send-keys", *keys)

    def type(self, text, enter=True):
        self.do("send-keys", "-l", "--", text)
        if enter:
            self.do("send-keys", "Enter")

    def screen(self):
        return self.do("capture-pane", "-p")

    def wait(self, pattern):
        def look():  # the screen is the only event that a terminal program gives
            self.last = self.screen()
            return re.search(pattern, self.last, re.M) and self.last
        return until(lambda: f"the terminal shows {pattern}:\n{self.last}", look)

    def full_screen(self):
        return self.do("display-message", "-p", "#{alternate_on}").strip() == "1"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        subprocess.run(["tmux", "-S", self.sock + "/s", "kill-server"], capture_output=True)
        shutil.rmtree(self.sock, ignore_errors=True)
        if self.own:
            shutil.rmtree(self.home, ignore_errors=True)


def shell(s, **how):
    return Term(f"{CTL} --socket {sock(s)}", **how)


class Fake:
    """A control socket whose answers the test makes: (module, function) -> result, or the bytes that are sent; what is not there is refused."""

    def __init__(self, answers):
        self.dir = tempfile.mkdtemp(prefix="murre-fake-")
        os.mkdir(self.dir + "/data")
        self.answers, self.sock = answers, socket.socket(socket.AF_UNIX)
        self.sock.bind(sock(self))
        self.sock.listen(64)
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            try:
                c, _ = self.sock.accept()
            except OSError:
                return
            with c:
                need = struct.unpack("<I", c.recv(4, socket.MSG_WAITALL))[0]
                body, words = c.recv(need, socket.MSG_WAITALL), []
                while body:
                    n = struct.unpack("<I", body[:4])[0]
                    words.append(body[4:4 + n].decode())
                    body = body[4 + n:]
                a = self.answers.get((words[0], words[1]))
                a = a() if callable(a) else a
                if not isinstance(a, bytes):
                    text = json.dumps({"ok": True, "result": a} if a is not None else {"ok": False, "error": "NOT_FOUND", "why": "there is no such command"}).encode()
                    a = struct.pack("<I", len(text)) + text
                try:
                    c.sendall(a)
                except BrokenPipeError:
                    pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        self.thread.join()
        shutil.rmtree(self.dir)


# --- the shell without a terminal
def test_shell_reads_commands_from_standard_input():
    "Without a terminal: a command a line, no prompt; comments, blank lines, quotes and backslashes; exit ends it; the status is 0."
    s = server()
    st, out, err = ctl(s, input="# a comment\n\nlog level\n  user   find  'al'  # more\nuser find \"bo\"\nuser find b\\ob\nexit\nfrob\n")
    assert st == OK and not err, (st, err)
    assert out.split() == ["level", "notice", "albert@localhost", "alice@localhost", "bob@localhost", "bob@localhost"], out


def test_shell_answers_a_wrong_line_as_the_command_line_does():
    "Each wrong line has its sentence, the lines after it are run, the status is that of the first that failed."
    s = server()
    for line, status, why in (("frob", USAGE, "unknown command: frob; these are known:"), ("user del", USAGE, "wrong number of arguments; usage: user del JID"),
                              ("msacc foo", USAGE, "msacc takes other arguments than these:\n  msacc"),
                              ("user del nobody@localhost", DATAERR, "there is no such account"), ("status 'x", USAGE, "a quote is not closed"),
                              ("status \\", USAGE, "a quote is not closed"), ("x " * 50, USAGE, "too many arguments"), ("x " * 20, USAGE, "too many arguments"),
                              ("--json", USAGE, "options without a command"), ("--frob status", USAGE, "usage: murrectl"),
                              ("help frob", USAGE, "unknown command: frob; help without it lists all"), ("help a b", USAGE, "usage: help [COMMAND]"),
                              ("complete", USAGE, "usage: complete WORD ...")):
        st, out, err = ctl(s, input=line + "\nuser find bob\n")
        assert st == status and why in err and "bob@localhost" in out, (line, st, out, err)
        if len(line) < 40 and not line.startswith("--json"):
            words = line.split()
            if "'" not in line and "\\" not in line:
                one = ctl(s, *words)
                assert one[0] == st and one[2] == err, (line, one, err)


def test_what_was_typed_is_repeated_cut_and_without_control_bytes():
    "A sentence that repeats a word shows what could move the cursor as \\xNN, what is no UTF-8 too, and no more than 80 bytes of it; also as JSON."
    s = server()
    ours = (["W"], ["help", "W"], ["record", "--event", "W"], ["record", "--since", "W"], ["record", "--actor", "W"], ["record", "--last", "W"],
            ["record", "--trace", "W"], ["top", "--interval", "W"], ["trace", "--count", "W", "alice@localhost"])
    for words in ours + (["log", "level", "W"], ["actor", "W"], ["events", "follow", "W"], ["workers", "W"]):
        for typed, shown in (("\x1b[31mred\udcff\u202e", r"\x1b[31mred\xff\xe2\x80\xae"), ("\u00e9" * 5000, "\u00e9" * 40 + "..." if words in ours else "\u00e9" * 40)):
            st, out, err = ctl(s, *[typed if w == "W" else w for w in words])
            first = err.splitlines()[0]
            assert st in (USAGE, DATAERR) and not out and shown in first and first.count("\u00e9") < 100, (words, st, first)
            assert not re.search(r"[\x00-\x1f\x7f\u202e\udcff]", first), (words, first)
    st, out, err = ctl(s, "record", "/no\x1b[31m/such")
    assert st == NOINPUT and r"/no\x1b[31m/such: " in err, (st, err)
    out = ctl(s, "--json", "\x1b\udcff")[1]
    assert json.loads(out)["why"].startswith(r"unknown command: \x1b\xff; these"), out


def test_shell_takes_a_password_from_the_next_line():
    "In a script the password is the next line, not the rest of the script; an end of input instead of it is told."
    s = server()
    st, out, err = ctl(s, input="user add script@localhost\npw of script\nuser find script\n")
    assert st == OK and out.split() == ["script@localhost"] * 2, (st, out, err)
    st, out, err = ctl(s, input="user passwd script@localhost\n" + "x" * 1100 + "\n")
    assert st == NOINPUT and "at most 1024 bytes" in err, (st, err)
    st, out, err = ctl(s, input="user passwd script@localhost\n")
    assert st == NOINPUT and "no password was given" in err, (st, err)


def test_shell_script_without_a_server():
    "Every command says that there is no server; the script goes on; EX_UNAVAILABLE."
    r = subprocess.run([CTL, "--socket", "/nowhere/ctl.sock"], input="status\nqueues\n", capture_output=True, text=True, timeout=LIMIT)
    assert r.returncode == UNAVAILABLE and r.stderr.count("no server answers on /nowhere/ctl.sock") == 2, r


# --- the shell on a terminal
def test_shell_completes_verbs_and_what_the_server_knows():
    "Tab completes commands, functions, JIDs, pids, classes, literals; several candidates are listed; nothing that fits changes nothing."
    s = server()
    with shell(s) as t:
        t.wait(r"^murre>")
        t.type("stat", enter=False)
        t.keys("Tab", "Enter")
        t.wait(r"^murre> status\b[\s\S]*^name +murre")
        t.type("user f", enter=False)
        t.keys("Tab")
        t.type("al", enter=False)
        t.keys("Tab")
        t.wait(r"^albert@localhost +alice@localhost")
        t.type("i", enter=False)
        t.keys("Tab", "Enter")
        t.wait(r"^murre> user find alice@localhost *\n")
        t.type("actor store.l", enter=False)
        t.keys("Tab", "Enter")
        t.wait(r"^class +store_log")
        pid = next(r["pid"] for r in s.ctl("actors") if r["name"] == "store.log")
        t.type(f"actor kill {pid} ", enter=False)
        t.keys("Tab")
        t.wait(re.escape(f"actor kill {pid} store_log"))
        t.keys("C-c")
        t.type("events follow stu", enter=False)
        t.keys("Tab")
        t.wait(r"^murre> events follow stuck *$")
        t.keys("C-c")
        t.type("log l", enter=False)
        t.keys("Tab")
        t.type("zzz", enter=False)
        t.keys("Tab")
        t.wait(r"^murre> log level zzz$")


def test_ctrl_c_drops_the_line_and_ends_a_command_but_not_the_shell():
    "Ctrl-C at the prompt drops the line; while a command waits for a server that does not answer it ends the command; Ctrl-D leaves with 0."
    s = server()
    with shell(s) as t:
        t.wait(r"^murre>")
        t.type("user del bob@localhost", enter=False)
        t.wait(r"bob@localhost$")
        t.keys("C-c")
        t.wait(r"\^C\nmurre>$")
        t.type("node")
        t.wait(r"^recorder ")
        s.proc.send_signal(signal.SIGSTOP)
        try:
            t.type("queues")
            t.wait(r"^murre> queues")
            while not re.search(r"ended by signal 2; the server may go on with what was asked\nmurre>", t.screen()):
                t.keys("C-c")  # one that comes before the command has begun is a key of the prompt
        finally:
            s.proc.send_signal(signal.SIGCONT)
        t.type("user find bob")
        t.wait(r"^bob@localhost$")
        t.keys("C-d")
        t.wait(r"\[ended 0\]")


def test_shell_survives_its_server():
    "A server that ends is reported by the next command; when it is back the same shell reaches it."
    with Server() as s:
        with shell(s) as t:
            t.wait(r"process \d+; help lists")
            s.kill()
            t.type("queues")
            t.wait(r"no server answers on .*is it running")
            s.start()
            t.type("user list")
            t.type("queues")
            t.wait(r"^messages[\s\S]*^actors ")
        s.kill()
        with shell(s) as t:
            t.wait(r"no server answers on ")
            s.start()
            t.type("queues")
            t.wait(r"^messages")
            t.type("quit")
            t.wait(r"\[ended 0\]")


def test_history_is_kept_without_passwords():
    "Lines are in $XDG_STATE_HOME/murre/history (0600, folder 0700) and in the next shell; not those with a password, not those after a space."
    s = server()
    home = tempfile.mkdtemp(prefix="murre-console-")
    try:
        with shell(s, home=home) as t:
            t.wait(r"^murre>")
            t.type("user find bob")
            t.wait(r"^bob@")
            for i, line in enumerate(("user add a@localhost canary1", "--json user passwd a@localhost canary2", "user 'add' a@localhost canary3 x", " user find canary4")):
                t.type(line)
                t.type(f"user find n{i}")
            t.type("user add hist@localhost")
            t.wait("Password:")
            t.type("canary5")
            t.wait("Again:")
            t.type("canary5")
            t.wait(r"^hist@localhost$")
            t.keys("C-d")
            t.wait(r"\[ended 0\]")
        path = home + "/state/murre/history"
        text = open(path).read()
        assert "canary" not in text and "hist@localhost" in text and text.count("find") == 5, text
        assert os.stat(path).st_mode & 0o777 == 0o600 and os.stat(home + "/state/murre").st_mode & 0o777 == 0o700
        with shell(s, home=home) as t:
            t.wait(r"^murre>")
            t.keys("Up", "Up")
            t.wait(r"^murre> user find n3$")
            t.keys("C-c")
            t.wait(r"\^C\nmurre>$")
            t.keys("C-r")
            t.type("bob", enter=False)
            t.wait(r"find bob")
            t.keys("Enter")
            t.wait(r"^bob@localhost$")
        open(path, "w").write("not a history\n")
        with shell(s, home=home) as t:
            t.wait(r"^murre>")
            t.type("user find bob")
            t.wait(r"^bob@localhost$")
    finally:
        shutil.rmtree(home)
    bare = Term(f"env -u HOME -u XDG_STATE_HOME {CTL} --socket {sock(s)}")
    with bare as t:  # nowhere to keep one
        t.wait(r"^murre>")
        t.type("user find bob")
        t.wait(r"^bob@localhost$")


# --- printing
def test_answers_are_tables_with_units_and_json_is_as_it_came():
    "A list of maps is an aligned table, numbers to the right; bytes and times have units; --json is the server's answer, byte for byte."
    s = server()
    lines = ctl(s, "pool")[1].splitlines()
    ends = [m.end() for m in re.finditer(r"\S+", lines[0])]
    assert len({len(l) for l in lines}) == 1 and len(lines) == 5, lines
    for l in lines[1:]:
        assert [m.end() for m in re.finditer(r"\S+", l)][1:10] == ends[1:10], (lines[0], l)  # words follow, to the left
    text = ctl(s, "node")[1]
    assert re.search(r"^uptime_sec +\d+(\.\d)? (s|min)", text, re.M) and re.search(r"^ready +yes$", text, re.M), text
    assert re.search(r"^ +bytes +[\d.]+ (B|KiB)$", ctl(s, "queues")[1], re.M)
    assert re.search(r"^ +total_bytes +[\d.]+ (B|[KMG]iB)$", ctl(s, "status")[1], re.M)
    c = socket.socket(socket.AF_UNIX)
    c.connect(sock(s))
    body = b"".join(struct.pack("<I", len(w)) + w for w in (b"user", b"list", b""))
    c.sendall(struct.pack("<I", len(body)) + body)
    answer = b""
    while piece := c.recv(65536):
        answer += piece
    assert ctl(s, "--json", "user", "list")[1].replace(" ", "") == answer[4:].decode() + "\n"
    assert json.loads(ctl(s, "--json", "help")[1])["result"][0]["usage"]


def test_a_pipe_that_nobody_reads_ends_the_command():
    "head closes the pipe: murrectl ends, by SIGPIPE or, where that is ignored, with EX_IOERR; so do top and record."
    s = server()
    for words in (["actors"], ["top", "--interval", "0.1"], ["record"]):
        for ignored in (False, True):
            r, w = os.pipe()
            how = (lambda: signal.signal(signal.SIGPIPE, signal.SIG_IGN)) if ignored else None
            p = subprocess.Popen([CTL, "--socket", sock(s), *words], stdout=w, stderr=subprocess.PIPE, preexec_fn=how, restore_signals=not ignored)
            os.close(w), os.close(r)
            assert p.wait(LIMIT) in ((IOERR,) if ignored else (IOERR, -signal.SIGPIPE)), (words, ignored, p.returncode)
            p.stderr.close()


def test_the_verbs_that_ask_no_shard():
    "node names the process, its data directory and its recorder; load has counts that only rise; user find is bounded by its prefix."
    s = server()
    n = s.ctl("node")
    assert n["pid"] == s.proc.pid and n["data"] == os.path.realpath(s.dir + "/data") and n["recorder"] == n["data"] + "/recorder" and n["ready"] is True, n
    a, b = s.ctl("load"), s.ctl("load")
    assert b["mono_usec"] > a["mono_usec"] and b["messages"]["enqueued"] >= a["messages"]["enqueued"]
    rows = {r["thread"]: r for r in a["threads"]}
    assert {"shard 0", "pool disk/0", "watchdog 0", "ctl 0"} <= set(rows), set(rows)
    for r in b["threads"]:
        assert all(v >= rows[r["thread"]][k] for k, v in r.items() if k not in ("thread", "type")), r
    assert b["events"]["spawn"] > 0 and {p["kind"] for p in b["pools"]} >= {"disk", "sql", "crypto"}
    counters = {"kind", "threads", "running", "queued", "submitted", "done", "expired", "refused"}
    assert all(set(p) == counters for p in b["pools"]), b["pools"]
    assert s.ctl("user", "find", "al") == ["albert@localhost", "alice@localhost"] and s.ctl("user", "find", "zzz") == []


# --- top
def test_top_is_a_full_screen_and_obeys_its_keys():
    "top fills the screen and no more, moves each second, pauses, sorts, takes another interval, follows the terminal's size, leaves it as it was."
    s = server()
    with Term(f"{CTL} --socket {sock(s)} top", columns=110, rows=40) as t:
        for section in ("QUEUES", "SHARDS", "POOLS", "EVENTS/S", "LONGEST MAILBOXES", "ACTORS"):
            t.wait("^" + section)
        text = t.wait(r"^shard 0 .*\d\.\d")
        assert t.full_screen() and f"process {s.proc.pid}" in text and ">cpu %" in text, text
        share = [float(x) for x in re.search(r"^shard 0 (.*)$", text, re.M)[1].split()]
        assert abs(sum(share) - 100) < 1.5, share
        t.keys(">")
        t.wait(">handled/s")
        t.keys("<", "<")
        t.wait(">relations")
        t.keys("Space")
        t.wait("PAUSED")
        t.keys("Space")
        t.keys("s")
        t.wait("interval in seconds")
        t.type("0x.77", enter=False)
        t.wait(r"then Enter: 0\.77$")
        t.keys("BSpace", "Enter")
        t.wait(r"every 0\.7 s")
        t.keys("s")
        t.type("99")  # out of range: stays
        t.wait(r"q quit")
        t.keys("s")
        t.keys("Escape")
        t.wait(r"every 0\.7 s[\s\S]*q quit")
        t.do("resize-window", "-x", "60", "-y", "16")
        text = t.wait(r"\A.*process.*\n(.*\n){2}QUEUES")
        assert len(text.splitlines()) <= 16 and all(len(l) <= 60 for l in text.splitlines()), text
        t.do("resize-window", "-x", "110", "-y", "40")
        t.wait("^ACTORS")
        t.keys("q")
        t.wait(r"\[ended 0\]")
        assert not t.full_screen()


def test_top_puts_the_terminal_right_however_it_ends():
    "Ctrl-C, SIGTERM: the screen, the cursor and the echo are back."
    s = server()
    for how, status in (("C-c", 0), (signal.SIGTERM, 143)):
        with Term(f"sh -c 'trap : INT; {CTL} --socket {sock(s)} top; echo status $?; stty -a'") as t:
            t.wait("^ACTORS")
            if how == "C-c":
                t.keys(how)
            else:
                pids = subprocess.run(["pgrep", "-f", f"^{CTL} --socket {sock(s)} top"], capture_output=True, text=True).stdout.split()
                assert len(pids) == 1, pids
                os.kill(int(pids[0]), how)
            text = t.wait(rf"status {status}[\s\S]*echo")
            assert not t.full_screen() and re.search(r"[^-]icanon", text) and re.search(r" echo ", text) and t.do("display-message", "-p", "#{cursor_flag}").strip() == "1", text


def test_a_terminal_that_is_closed_ends_shell_and_top():
    "When the terminal goes away nothing is left running."
    s = server()
    for words in ("", "top"):
        with Term(f"{CTL} --socket {sock(s)} {words}") as t:
            t.wait("^ACTORS" if words else "^murre>")
            running = lambda: subprocess.run(["pgrep", "-f", f"^{CTL} --socket {sock(s)}"], capture_output=True, text=True).stdout.split()
            assert len(running()) == 1
            t.do("kill-server")
            until("it ends", lambda: not running())


def test_ctrl_z_suspends_and_fg_goes_on():
    "At the shell's prompt, in a command of the shell and in top, Ctrl-Z gives the terminal back in order; fg goes on."
    s = server()
    with Term("bash --norc -i") as t:
        t.type("PS1=bash:")
        t.wait("^bash:$")
        t.type(f"{CTL} --socket {sock(s)}")
        t.wait("^murre>$")
        t.type("user find al", enter=False)
        t.keys("C-z")
        t.wait(r"Stopped[\s\S]*^bash:$")
        t.type("fg")
        t.wait(r"^bash:fg\n.*\nmurre> user find al\n*\Z")
        t.keys("C-c")
        t.wait(r"\^C\nmurre>\n*\Z")
        t.type("top")
        t.wait("^ACTORS")
        t.keys("C-z")
        t.wait(r"Stopped[\s\S]*^bash:$")
        assert not t.full_screen()
        t.type("fg")
        t.wait("^ACTORS")
        until("the screen is taken again", t.full_screen)
        t.keys("q")
        t.wait(r"^murre>$")
        t.keys("C-d")
        t.wait(r"^bash:$")


def test_top_outlives_its_server():
    "A server that ends, or hangs, is told on the screen, the last figures stay; when it is back top goes on with the new process."
    with Server() as s:
        with Term(f"{CTL} --socket {sock(s)} top --interval 0.2", rows=30) as t:
            t.wait("^ACTORS")
            s.proc.send_signal(signal.SIGSTOP)
            t.wait("the server does not answer on")
            s.proc.send_signal(signal.SIGCONT)
            t.wait("q quit")
            s.kill()
            text = t.wait("no server answers on")
            assert "SHARDS" in text, text
            s.start()
            t.wait(rf"process {s.proc.pid} [\s\S]*q quit[\s\S]*^shard 0 .*\d\.\d")
            t.keys("q")
            t.wait(r"\[ended 0\]")


def test_top_shows_the_traffic():
    "Messages that are accepted and delivered, their events and the actors that handle them are seen while they happen."
    s = server()
    a, b = login(s, "alice", sm=True), login(s, "bob", sm=True)
    stop = threading.Event()

    def talk():
        i = 0
        while not stop.is_set():
            a.send("".join(f"<message to='bob@localhost' type='chat' id='m{i + k}'><body>hello</body></message>" for k in range(20)) + "<r xmlns='urn:xmpp:sm:3'/>")
            a.expect(r"<a [^>]*>")
            b.expect(f"id='m{i + 19}'.*?</message>")
            i += 20
            b.send(f"<a xmlns='urn:xmpp:sm:3' h='{i}'/>")

    talker = threading.Thread(target=talk)
    talker.start()
    try:
        st, out, err = ctl(s, "top", "--once", "--interval", "1")
        assert st == OK, err
        accepted, delivered = (float(x) for x in re.search(r"accepted ([\d.]+)/s, delivered ([\d.]+)/s", out).groups())
        assert accepted > 5 and delivered > 5, out
        assert float(re.search(r"msg_accepted ([\d.]+)", out)[1]) == accepted, out
        assert float(re.search(r"^messages .*? ([\d.]+) +[\d.]+ +\S+ \S+$", out, re.M)[1]) > 5, out
        handled = [l for l in out.splitlines() if re.match(r"<0\.\S+ +(part|c2s|store_log) ", l)]
        assert any(float(l.split()[3]) > 5 for l in handled), out
        v = json.loads(ctl(s, "--json", "top", "--once", "--interval", "0.2")[1])
        assert v["ok"] is True and v["result"]["load"]["sessions"] >= 2 and any(r["class"] == "c2s" for r in v["result"]["actors"])
    finally:
        stop.set()
        talker.join()
        a.close(), b.close()


class Node:
    """What load and actors of an invented node say: a number of shards, an actor with a mailbox that grows, one that is busy, events."""

    def __init__(self, shards=2, name="fake", actors=5000, pid=1):
        self.shards, self.name, self.actors, self.pid, self.looks = shards, name, actors, pid, 0

    def load(self):
        self.looks += 1
        t = self.looks
        states = ("emulator", "port", "send", "flush", "timers", "check_io", "busy_wait", "sleep", "aux", "other")
        threads = [{"thread": f"shard {i}", "type": "shard", **{s: t * 100000 for s in states}} for i in range(self.shards)]
        queue = {"queued": 1000000 + t, "longest": 2000000, "enqueued": t * 500, "dequeued": t * 100, "bytes": 3 << 20}
        pool = {"kind": "disk", "threads": 4, "running": 1, "queued": 7, "done": t * 30, "expired": 2, "refused": 3}
        return {"name": self.name, "version": "9", "pid": self.pid, "mono_usec": t * 1000000, "uptime_sec": 90061, "sessions": 3, "actors": self.actors, "messages": queue,
                "signals": queue, "threads": threads, "pools": [pool], "events": {f"event_{i:02}": t * (i + 1) for i in range(70)}}

    def rows(self):
        t = self.looks
        actors = [{"pid": f"<0.0.{i}.1>", "class": "part", "name": "", "queued": 0, "longest": i, "handled": t, "usec": 0} for i in range(100)]
        actors[42].update(queued=1000000 + t, name="hot")
        actors[43].update(usec=t * 10**9, name="busy\x1b[31m", handled=t * 10**6)
        return actors

    def answers(self):
        return {("load", "read"): self.load, ("actors", "by"): self.rows}


def test_top_finds_the_hot_mailbox_and_the_busiest_actor():
    "The longest mailbox and the actor that cost most since the last look come first, whatever else there is; rates, units and shares are right."
    with Fake(Node().answers()) as f:
        st, out, err = ctl(f, "top", "--once", "--interval", "0.1")
        assert st == OK, err
        mailboxes, actors = re.search(r"LONGEST MAILBOXES\n([\s\S]*?)\n\n([\s\S]*)", out).groups()
        assert mailboxes.startswith("<0.0.42.1>") and mailboxes.endswith("hot") and mailboxes.count("\n") == 0, mailboxes
        assert actors.splitlines()[1] == "among the 100 with the most cost and the longest mailboxes" and actors.splitlines()[2].startswith("<0.0.43.1>"), actors
        assert "\x1b" not in out and "busy\\x1b[31m" in out, out
        assert re.search(r"^messages +10000\d\d +2000000 +500\.0 +100\.0 +3\.0 MiB$", out, re.M) and "up 1 d 01 h" in out, out
        assert re.search(r"^shard 1 ( +10\.0){10}$", out, re.M) and re.search(r"^disk +4 +1 +7 +30\.0 +2 +3$", out, re.M), out
        assert re.search(r"event_00 1\.0 .*event_01 2\.0 ", out) and "event_69 70.0" in out, out
    with Fake(Node(shards=64).answers()) as f:
        with Term(f"{CTL} --socket {sock(f)} top --interval 0.2", columns=80, rows=24) as t:
            text = t.wait(r"^and 58 more$[\s\S]*^LONGEST")
            t.keys("<", "<", "<")
            text = t.wait(r">longest[\s\S]*^<0\.0\.99\.1>")
            assert len(text.rstrip("\n").splitlines()) <= 24 and re.search(r"^<0\.0\.42\.1> .* hot$", text, re.M), text
            assert re.search(r"^SHARDS, % .* other$", text, re.M), text


def test_top_compares_nothing_with_another_process():
    "After a restart the counts of the new process are not compared with those of the old one."
    node = Node()

    def load():
        if node.looks == 3:
            node.pid, node.looks = 2, 100000
        return node.load()
    with Fake({("load", "read"): load, ("actors", "by"): node.rows}) as f:
        p = subprocess.Popen([CTL, "--socket", sock(f), "top", "--interval", "0.1"], stdout=subprocess.PIPE, text=True)
        rates, pids = [], []
        while len(rates) < 5:
            line = p.stdout.readline()
            pids += re.findall(r"process (\d)", line)
            rates += re.findall(r"^messages +\d+ +\d+ +([\d.]+)", line)
        p.kill()
        p.communicate()
        assert rates == ["500.0", "500.0", "0.0", "500.0", "500.0"] and pids == ["1", "1", "2", "2", "2"], (rates, pids)


def test_top_asks_for_actors_less_often_when_that_takes_long():
    "After the two looks that a comparison needs (by cost and by queue each time) it is asked for in at most 2 % of the time, however long the answer takes; load goes on."
    node, asked, wait = Node(), [], threading.Event()

    def slow():
        asked.append(node.looks)
        wait.wait(0.2)  # as a node with a million actors takes
        return node.rows()
    with Fake({("load", "read"): node.load, ("actors", "by"): slow}) as f:
        p = subprocess.Popen([CTL, "--socket", sock(f), "top", "--interval", "0.1"], stdout=subprocess.PIPE, text=True)
        seen = 0
        while seen < 25:
            seen += "QUEUES" in p.stdout.readline()
        p.kill()
        p.communicate()
        assert len(asked) == 4 and node.looks >= 25, (asked, node.looks)


def test_answers_that_are_none_are_told():
    "An answer that ends early, is no JSON, is longer than an answer may be, or means nothing: a sentence, by every command; nothing crashes."
    whole = json.dumps({"ok": True, "result": []}).encode()
    for a, status, why in ((b"", IOERR, "the server's answer was cut short"), (b"\x10\0", IOERR, "cut short"), (struct.pack("<I", 100) + whole, IOERR, "cut short"),
                           (struct.pack("<I", 4) + b"{{{{", IOERR, "cut short"), (b"\xff\xff\xff\xff", IOERR, "cut short"),
                           (struct.pack("<I", 2) + b"[]", DATAERR, "this is no answer of a murre server")):
        keys = [("help", "verbs"), ("load", "read"), ("node", "show"), ("actors", "by")]
        with Fake({k: a for k in keys}) as f:
            for words in (["status"], ["help"], ["top", "--once"], ["record"]):
                st, out, err = ctl(f, *words)
                assert st == (UNAVAILABLE if words[0] == "top" else status) and why in err and not out, (a, words, st, out, err)
            st, out, err = ctl(f, "complete", "")
            assert st == OK and out.split() == ["complete", "help", "record", "top", "trace"] and not err
    strange = [7, "text", {"a": [1, {"b": None}]}, [], {"usage": 5, "module": "x"}, {}]
    with Fake({("help", "verbs"): 7}) as f:
        st, out, err = ctl(f, "status")
        assert st == IOERR and "this is no answer of a murre server" in err, (st, err)
    for result in strange + [strange]:
        with Fake({(m, n): result for m, n in (("help", "verbs"), ("load", "read"), ("node", "show"), ("actors", "by"), ("x", "y"))}) as f:
            for words in (["status"], ["x", "y"], ["help"], ["top", "--once", "--interval", "0.1"], ["record"], ["complete", "x", ""], ["--json", "top", "--once", "--interval", "0.1"]):
                assert ctl(f, *words)[0] >= 0, (result, words)


def test_top_without_a_terminal_prints_snapshots():
    "Without a terminal a plain snapshot an interval, without any escape sequence, until the server is gone: then its reason and EX_UNAVAILABLE."
    with Server() as s:
        p = subprocess.Popen([CTL, "--socket", sock(s), "top", "--interval", "0.1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        seen = ""
        while seen.count("QUEUES") < 3:
            seen += p.stdout.readline()
        s.kill()
        rest, err = p.communicate(timeout=LIMIT)
        assert p.returncode == UNAVAILABLE and "no server answers on" in err or "cut short" in err, (p.returncode, err)
        assert "\x1b" not in seen + rest and "ACTORS" in seen


def test_top_answers_wrong_use():
    "A wrong option, an interval that is none, no server: a sentence and a status."
    s = server()
    for words, why in ((["top", "now"], "usage: top"), (["top", "--interval"], "usage: top"), (["top", "--interval", "fast"], "'fast' is not an interval of 0.1 to 60 seconds"),
                       (["top", "--interval", "0"], "not an interval"), (["top", "--interval", "nan"], "not an interval"), (["top", "--interval", "61"], "not an interval")):
        st, out, err = ctl(s, *words)
        assert st == USAGE and why in err and not out, (words, st, err)
    r = subprocess.run([CTL, "--socket", "/nowhere/s", "top", "--once"], capture_output=True, text=True, timeout=LIMIT)
    assert r.returncode == UNAVAILABLE and "no server answers" in r.stderr


# --- the flight recorder
def records(out):
    return [l for l in out.splitlines() if re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z  (shard \d+|threads)", l)]


def test_record_of_a_running_node():
    "record shows what has just happened, with time, place, event and named fields; filters leave what they say."
    s = server()
    c = login(s, "alice", resource="flight")
    s.ctl("log", "level", "notice")
    st, out, err = ctl(s, "record")
    assert st == OK and not err and len(records(out)) == len(out.splitlines()) > 10, (st, err, out[-500:])
    times = [l[:27] for l in out.splitlines()]
    assert abs(time.time() - time.mktime(time.strptime(times[-1][:19], "%Y-%m-%dT%H:%M:%S")) + time.timezone) < 60
    assert "spawn slot=" in out and re.search(r"ctl uid=\d+ text=\"log leve\"\.\.\.$", out, re.M), out[-800:]
    c.close()
    st, out, _ = ctl(s, "record", "--event", "ctl", "--last", "1")
    assert out.count("\n") == 1 and " ctl uid=" in out, out
    everything = ctl(s, "record")[1].splitlines()
    assert ctl(s, "record", "--last", "7")[1].splitlines() == everything[-7:]
    at = everything[len(everything) // 2][:19] + "Z"
    since = ctl(s, "record", "--since", at)[1].splitlines()
    assert since == [l for l in everything if l[:19] + "Z" >= at] and since, (at, since[:3])
    assert ctl(s, "record", "--since", "1d")[1].splitlines() == everything and ctl(s, "record", "--since", "9999-01-01T00:00:00Z")[1] == ""
    row = next(r for r in s.ctl("actors") if r["name"] == "store.log")
    mine = ctl(s, "record", "--actor", row["pid"])[1]
    slot = re.search(r"spawn slot=(\d+)", mine)[1]
    assert mine and all(f"slot {slot} " in l or f"slot={slot}" in l for l in mine.splitlines()) and ctl(s, "record", "--actor", slot)[1] == mine, mine
    assert any(f"slot {slot} " in l and f"slot={slot}" not in l for l in mine.splitlines()), mine  # what it did, and what names it
    v = json.loads(ctl(s, "--json", "record", "--event", "ctl", "--last", "2")[1])
    assert v["ok"] is True and v["same_events"] is True and [r["event"] for r in v["result"]] == ["ctl"] * 2 and "uid" in v["result"][0]["fields"], v
    assert json.loads(ctl(s, "--json", "record", "--since", "9999-01-01T00:00:00Z")[1])["result"] == []


def test_recording_stops_and_goes_on():
    "recorder off keeps what is in the flight recorder; on goes on; a node without one says so."
    with Server() as s:
        show = s.ctl("recorder")
        assert show["recording"] is True and show["file"] == os.path.realpath(s.dir + "/data/recorder") and show["events_a_ring"] == 65536 and show["rings"] > 1, show
        s.ctl("recorder", "off")
        before = ctl(s, "record")[1]
        for level in ("debug", "notice"):
            s.ctl("log", "level", level)
        assert s.ctl("recorder")["recording"] is False and ctl(s, "record")[1] == before and before
        s.ctl("recorder", "on")
        s.ctl("log", "level", "info")
        out = ctl(s, "record")[1]
        assert s.ctl("recorder")["recording"] is True and out.startswith(before), out
        assert re.search(r'text="log leve"\.\.\.$', out[len(before):], re.M), out[len(before):]
    with Server({"recorder.bytes": "0"}) as s:
        assert s.ctl("recorder") == {"recording": False, "file": "", "rings": 0, "events_a_ring": 0}
        st, out, err = ctl(s, "recorder", "on")
        assert st == DATAERR and "'recorder' is not there: recorder.bytes is 0" in err, (st, out, err)


def test_record_of_a_killed_node_and_of_the_run_before():
    "After kill -9 the file shows what the node did last; after the next start it is recorder.1."
    with Server() as s:
        s.user("last@localhost")
        s.ctl("log", "level", "info")
        s.kill()
        st, out, err = ctl(s, "record", s.dir + "/data/recorder")
        assert st == OK and not err and re.search(r'ctl uid=\d+ text="log leve"\.\.\.$', out.splitlines()[-1]), (st, err, out[-300:])
        st, _, err = ctl(s, "record")
        assert st == UNAVAILABLE and "no server answers" in err, (st, err)
        s.start()
        assert ctl(s, "record", s.dir + "/data/recorder.1")[1] == out


def copy_of_a_file(s, change):
    path = s.dir + "/copy"
    data = bytearray(open(s.dir + "/data/recorder", "rb").read())
    data = change(data) or data
    open(path, "wb").write(data)
    return path


def test_record_of_damaged_files():
    "Torn records are left out and counted, of a truncated file what is there is shown, other files and formats are refused, other events shown as numbers."
    with Server() as s:
        s.user("x@localhost")
        s.kill()
        whole = ctl(s, "record", s.dir + "/data/recorder")[1].splitlines()

        def tear(d):
            d[PAGE + 2 * RECORD + 9] ^= 0xff
        st, out, err = ctl(s, "record", copy_of_a_file(s, tear))
        assert st == OK and err == "murrectl: 1 torn records were left out\n" and len(out.splitlines()) == len(whole) - 1 and set(out.splitlines()) < set(whole), err
        st, out, err = ctl(s, "record", copy_of_a_file(s, lambda d: d[:PAGE + 5 * RECORD + 10]))
        missing = os.path.getsize(s.dir + "/data/recorder") - PAGE - 5 * RECORD - 10
        assert st == OK and f"the file is cut off: {missing} bytes are missing at its end" in err and len(out.splitlines()) == 5, (st, out, err)
        v = json.loads(ctl(s, "--json", "record", s.dir + "/copy")[1])
        assert v["missing_bytes"] == missing and len(v["result"]) == 5 and v["torn"] == 0

        def renamed(d):
            d[24] ^= 1
        path = copy_of_a_file(s, renamed)
        st, out, err = ctl(s, "record", path)
        assert st == OK and "another version of murre with other events" in err and len(out.splitlines()) == len(whole), (st, err)
        assert all(re.search(r"  event \d+ a=\d+ b=\d+ c=\d+", l) for l in out.splitlines()), out[:300]
        number = re.search(r"event (\d+)", out)[1]
        assert 0 < len(ctl(s, "record", "--event", number, path)[1].splitlines()) < len(whole)
        st, out, err = ctl(s, "record", "--event", "spawn", path)
        assert st == USAGE and "'spawn' is not the number of an event; this file's events have no names" in err, (st, err)

        def format2(d):
            d[8] = 99
        for change, status, why in ((format2, DATAERR, "was written in another format, by another version of murre"), (lambda d: d[:20], DATAERR, "is not the file of a flight recorder"),
                                    (lambda d: b"hello" * 9999, DATAERR, "is not the file of a flight recorder"), (lambda d: b"\0", DATAERR, "is not the file")):
            st, out, err = ctl(s, "record", copy_of_a_file(s, change))
            assert st == status and why in err and not out and len(err.splitlines()) == 1, (st, out, err)
        st, out, err = ctl(s, "record", s.dir + "/none")
        assert st == NOINPUT and s.dir + "/none" in err, (st, err)
        st, out, err = ctl(s, "record", s.dir)
        assert st in (NOINPUT, DATAERR) and len(err.splitlines()) == 1, (st, err)


def test_record_answers_wrong_use():
    "Each wrong filter has its sentence; a node without a recorder says so."
    s = server()
    for words, why in ((["--last", "0"], "'0' is not a number from 1 to 1000000"), (["--last", "many"], "is not a number"), (["--event", "nothing"], "there is no event 'nothing'"),
                       (["--actor", "bob"], "'bob' is neither a pid of the form <0.1.2.3> nor the number of a slot"), (["--since", "today"], "'today' is neither a time like"),
                       (["--since", "2026-13-01T00:00:00Z"], "neither a time"), (["--since"], "usage: record"), (["a", "b"], "usage: record"), (["--frob"], "usage: record")):
        st, out, err = ctl(s, "record", *words)
        assert st == USAGE and why in err and not out, (words, st, err)
    with Server({"recorder.bytes": "0"}) as s2:
        st, out, err = ctl(s2, "record")
        assert st == DATAERR and "this node has no flight recorder (recorder.bytes is 0)" in err, (st, err)


def test_record_memory_does_not_grow_with_the_file():
    "A file of 512 MiB is read in less than 100 MiB of memory, a million records asked for."
    with Server() as s:
        s.kill()
        head = bytearray(open(s.dir + "/data/recorder", "rb").read(PAGE))
        rings = 8
        per_ring = (512 << 20) // RECORD // rings
        head[12:20] = struct.pack("<II", rings, per_ring)
        with open(s.dir + "/big", "wb") as f:
            f.write(head)
            f.truncate(PAGE + rings * per_ring * RECORD)  # holes: never written
        p = subprocess.Popen([CTL, "record", "--last", "1000000", s.dir + "/big"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        out = p.stdout.read()
        _, status, used = os.wait4(p.pid, 0)
        p.returncode = os.waitstatus_to_exitcode(status)
        p.stdout.close()
        assert p.returncode == OK and out == b"" and used.ru_maxrss < 100 << 10, (p.returncode, out, used.ru_maxrss)


# --- completion, manual pages, help
def complete(line, env=None):
    """What bash offers for a line, by the shipped completion."""
    script = f"""source {ROOT}/completions/murre.bash; compopt() {{ :; }}
        COMP_LINE=$1; COMP_POINT=${{#1}}; read -r name _ <<<"$1"; spec=$(complete -p "$2"); fn=${{spec#*-F }}; fn=${{fn%% *}}
        $fn "$name"; [[ ${{#COMPREPLY[@]}} -gt 0 ]] && printf '%s\\n' "${{COMPREPLY[@]}}"; true"""
    name = os.path.basename(line.split()[0])
    r = subprocess.run(["bash", "-c", script, "bash", line, name], capture_output=True, text=True, timeout=LIMIT, env=env)
    assert r.returncode == 0 and not r.stderr, (line, r)
    return r.stdout.splitlines()


def test_bash_completes_from_the_running_server():
    "Words of the command line are completed as in the shell; also what stands behind an @ (a word break of bash) and pids in quotes."
    s = server()
    c = f"{CTL} --socket {sock(s)} "
    assert complete(c + "stat") == ["status"] and complete(c + "user fi") == ["find"]
    assert complete(c + "user del al") == ["albert@localhost", "alice@localhost"] and complete(c + "user del alice@l") == ["localhost"]
    assert complete(c + "actor '<0.0.1.") == ["<0.0.1.1>"] and complete(c + "--js") == ["--json"] and complete(c + "log level w") == ["warning"]
    assert complete(c + "record --event log_c") == ["log_commit", "log_compact"] and complete(c + "record --l") == ["--last"]
    assert complete(c + "backup " + ROOT + "/src/ma") == [ROOT + "/src/main/"] and complete(c + "no such thing ") == []
    assert complete(c + "events follow log_c") == ["log_commit", "log_compact"] == complete(c + "events follow mem_tight log_c")
    assert complete(c + "workers ") == sorted({r["pool"] for r in s.ctl("workers")}) and len(s.ctl("workers")) > 0
    locks = {r["lock"] for r in s.ctl("locks")}
    assert locks and locks == set(ctl(s, "complete", "locks", "")[1].split()) - {"on", "off", "clear", "instances", "locations"}
    s.proc.send_signal(signal.SIGSTOP)
    try:
        assert complete(c + "to") == ["top"], "a server that hangs is not waited for"
    finally:
        s.proc.send_signal(signal.SIGCONT)
    assert set(complete(f"{CTL} --socket /nowhere/s ")) == {"top", "record", "complete", "help", "trace"}
    a = login(s, "albert", resource="with space")
    assert ctl(s, "complete", "kick", "albert@localhost/")[1].splitlines() == ["albert@localhost/with space"]
    with shell(s) as t:  # a space within a word gets a backslash
        t.wait(r"^murre>")
        t.type("kick albert@localhost/w", enter=False)
        t.keys("Tab", "Enter")
        t.wait(r"^murre> kick albert@localhost/with\\ space *\n(.+\n)?murre>")
    a.closed()


def page(path):
    r = subprocess.run(["man", "--warnings=all", "-l", path], capture_output=True, text=True, timeout=LIMIT, env=dict(os.environ, MANWIDTH="4000", LC_ALL="C.UTF-8", MAN_KEEP_FORMATTING=""))
    assert r.returncode == 0 and not r.stderr, (path, r.stderr)
    return re.sub(r".\x08", "", r.stdout).replace("\u2212", "-").replace("\u2010", "-").replace("\u00ad", "")


def test_manual_help_and_completion_agree():
    "Every verb of the server and every option of the programs is in the manual page, in help and in the completion."
    s = server()
    manual, listed = page(ROOT + "/man/murrectl.1"), ctl(s, "help")[1]
    c = f"{CTL} --socket {sock(s)} "
    first = set(complete(c))
    verbs = s.ctl("help")
    assert len(verbs) > 25
    for v in verbs:
        u = v["usage"].split()
        named = len(u) > 1 and u[1] == v["function"]
        name = " ".join(u[:2] if named else u[:1])
        assert v["module"] in first, v
        assert not named or v["function"] in complete(c + v["module"] + " "), v
        assert v["module"] == "help" or f"  {v['usage']}" in listed, v
        assert re.search(rf"^ +(.*, )?{re.escape(name)}\b", manual, re.M), f"man/murrectl.1 lacks {name}"
        for word in u[2 if named else 1:]:
            if name != "log level":
                assert re.search(rf"^ +(.*, )?{re.escape(name)} .*{re.escape(word.strip('[]') if '[/' not in word else word)}", manual, re.M), f"man/murrectl.1 lacks {word} of {name}"
    for own in ("top", "trace", "record", "complete", "help"):
        assert re.search(rf"^  {own} ", listed, re.M) and own in first and re.search(rf"^ +{own} ", manual, re.M), own
        usage = re.search(rf"^  {own} (.*)$", listed, re.M)[1]
        for option in re.findall(r"--[a-z-]+", usage):
            assert option in complete(f"{c}{own} --") and option in manual, (own, option)
    usage = subprocess.run([CTL, "--help"], capture_output=True, text=True).stdout
    for option in re.findall(r"\[(--[a-z-]+)", usage):
        assert option in complete(CTL + " --") and re.search(rf"^ +{option}\b", manual, re.M), option
    written = re.findall(r"^     (--[a-z][a-z-]*)", manual, re.M)
    assert set(written) - {"--help"} == set(re.findall(r"\[(--[a-z-]+)", usage)), written


def test_manual_and_completion_of_the_server_and_the_simulator():
    "What murre, murre-sim and murre-history say of their own use is in their manual pages and completions; murre.yaml(5) has every setting; no page has a warning."
    manual, usage = page(ROOT + "/man/murre.1"), subprocess.run([BUILD + "/murre", "help"], capture_output=True, text=True).stdout
    commands = set(re.findall(r"murre ([a-z]+)", usage))
    assert commands == set(complete(BUILD + "/murre ")) and commands >= {"run", "check", "config", "version"}
    for command in commands:
        assert re.search(rf"^ +{command} ", manual, re.M), command
    for option in ("-c", "--set"):
        assert option in usage and option in complete(f"{BUILD}/murre run -") and re.search(rf"^ +{option}\b", manual, re.M), option
    table = subprocess.run([BUILD + "/murre", "config"], capture_output=True, text=True).stdout
    keys = re.findall(r"^\| `([a-z0-9_.]+)`", table, re.M)
    assert len(keys) > 40 and complete(f"{BUILD}/murre run --set xmpp.list") == ["xmpp.listen="] and set(complete(f"{BUILD}/murre check --set ")) == {k + "=" for k in keys}
    with tempfile.TemporaryDirectory() as d:
        made = subprocess.run(["awk", "-f", ROOT + "/man/murre.yaml.5.awk"], input=table, capture_output=True, text=True, check=True).stdout
        open(d + "/murre.yaml.5", "w").write(made)
        settings = page(d + "/murre.yaml.5")
        for row in re.findall(r"^\| `(.*?)` \| (.*?) \| .*? \| .*? \| (.*) \|$", table, re.M):
            assert re.search(rf"^ +{re.escape(row[0])}\b", settings, re.M) and row[1].replace("`", "") in settings and row[2] in settings, row
        assert subprocess.run(["awk", "-f", ROOT + "/man/murre.yaml.5.awk"], input="nothing\n", capture_output=True, text=True).returncode == 1
    sim, manual = subprocess.run([BUILD + "/murre-sim", "--help"], capture_output=True, text=True).stderr, page(ROOT + "/man/murre-sim.1")
    options = set(re.findall(r"--[a-z-]+", sim))
    assert options == set(complete(BUILD + "/murre-sim --")) == set(re.findall(r"^     (--[a-z-]+)", manual, re.M)), options
    assert set(complete(BUILD + "/murre-sim --scenario ")) >= {"chat", "log", "actors"}
    usage, manual = subprocess.run([BUILD + "/murre-history", "--help"], capture_output=True, text=True).stderr, page(ROOT + "/man/murre-history.1")
    options = set(re.findall(r"--[a-z-]+", usage))
    assert len(options) == 8 and options == set(complete(BUILD + "/murre-history check --")) == set(re.findall(r"^     (--[a-z-]+)", manual, re.M)), options
    assert complete(BUILD + "/murre-history ") == ["check"]


# --- the service manager
class Manager:
    """The socket of a service manager."""

    def __init__(self, name):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(name)
        self.sock.settimeout(LIMIT)
        self.seen = []

    def expect(self, line):
        while True:
            lines = self.sock.recv(4096).decode().split("\n")
            self.seen += lines
            if line in lines:
                return time.monotonic()


def test_the_service_manager_is_told():
    "READY=1 when connections are served, STOPPING=1 when it drains, by a path and by an abstract name; never WATCHDOG=1 unless asked for."
    d = tempfile.mkdtemp(prefix="murre-test-")
    try:
        for name, given in ((d + "/notify", d + "/notify"), (f"\0murre-{os.getpid()}", f"@murre-{os.getpid()}")):
            m = Manager(name)
            s = Server(env={"NOTIFY_SOCKET": given})
            s.start(wait=False)
            m.expect("READY=1")
            assert m.seen == ["STATUS=starting", "READY=1", "STATUS=serving"], m.seen
            s.wait_ready()
            login_possible = socket.create_connection(("127.0.0.1", s.port), timeout=LIMIT)
            login_possible.close()
            assert s.stop() == 0
            m.expect("STOPPING=1")
            assert m.seen[3:] == ["STOPPING=1", "STATUS=draining"], m.seen
            m.sock.close()
            s.__exit__()
    finally:
        shutil.rmtree(d)


def test_the_watchdog_of_the_service_manager_is_fed():
    "WATCHDOG=1 comes at half of WATCHDOG_USEC, before READY=1 too; not for another WATCHDOG_PID."
    d = tempfile.mkdtemp(prefix="murre-test-")
    try:
        m = Manager(d + "/notify")
        with Server(env={"NOTIFY_SOCKET": d + "/notify", "WATCHDOG_USEC": "1000000"}) as s:
            came = [m.expect("WATCHDOG=1") for _ in range(6)]
            gaps = [b - a for a, b in zip(came, came[1:])]
            assert statistics.median(gaps) < 1, gaps  # the median: a busy machine may hold one of them up
        m2 = Manager(d + "/notify2")
        with Server(env={"NOTIFY_SOCKET": d + "/notify2", "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}) as s:
            assert s.stop() == 0
            m2.expect("STOPPING=1")
            assert "WATCHDOG=1" not in m2.seen, m2.seen
    finally:
        shutil.rmtree(d)


def test_a_manager_that_cannot_be_told_stops_nobody():
    "A NOTIFY_SOCKET that is none, too long or not there is told once on standard error; the server serves."
    for value, why in (("relative/path", "is neither a path nor @name"), ("/" + "x" * 200, "is neither a path nor @name"), ("@", "is neither a path"),
                       ("/nowhere/notify", "NOTIFY_SOCKET /nowhere/notify: No such file or directory; it is not told")):
        with Server(env={"NOTIFY_SOCKET": value}) as s:
            assert why in s.stderr() and s.ctl("status")["ready"] is True, s.stderr()
            assert s.stop() == 0


def test_the_unit_file_is_right():
    "systemd finds no fault in dist/murre.service; what it starts is told apart from what a restart cannot mend as docs/operations.md says."
    unit = open(ROOT + "/dist/murre.service").read()
    assert "Type=notify" in unit and "RestartPreventExitStatus=64 65 66 77 78" in unit
    assert shutil.which("systemd-analyze"), "the unit cannot be verified: systemd-analyze is not there"
    with tempfile.TemporaryDirectory() as d:
        text = re.sub(r"^Documentation=.*\n", "", unit, flags=re.M).replace("/usr/local/bin/murre", BUILD + "/murre")
        open(d + "/murre.service", "w").write(text)
        r = subprocess.run(["systemd-analyze", "verify", d + "/murre.service"], capture_output=True, text=True, timeout=LIMIT * 2)
        assert r.returncode == 0 and not r.stderr, r


if __name__ == "__main__":
    try:
        main(sys.modules[__name__])
    finally:
        if S:
            S.__exit__()
