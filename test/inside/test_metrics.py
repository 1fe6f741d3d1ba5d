"""Metrics over HTTP and the lines of the log. The text is read by a strict parser written from OpenMetrics 1.0, which shares nothing with
the server, and by that of Prometheus' Python client; every HTTP refusal, limit and deadline is caused; logs are read as the tools that collect them read them."""
import contextlib, json, math, os, re, socket, subprocess, sys, threading, time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../interop/xmpp"))
from rig import BUILD, LIMIT, ROOT, Raw, Server, login, main, until

CONFIG, UNAVAILABLE = 78, 69
TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
EVENTS = re.findall(r'^EVENT\(\w+, "(\w+)", RT_(\w+), "(\w*)", "(\w*)", "(\w*)", "(.*)"\)$', open(ROOT + "/src/rt/events.def").read(), re.M)
MEASURES = re.findall(r'^MEASURE\((\w+), (\d), "(.*)"\)$', open(ROOT + "/src/rt/events.def").read(), re.M)
S = None


def start(settings=None, env=None):
    s = Server({"metrics.listen": "127.0.0.1:0", "log.level": "info", **(settings or {})}, env=env).start()
    s.metrics = int(until("the door is named in the log", lambda: re.search(r"metrics http://\S+:(\d+)/metrics", s.stderr()))[1])
    return s


@contextlib.contextmanager
def closing(s):
    try:
        yield s
    finally:
        s.__exit__()


def server():
    global S
    if S is None:
        S = start()
        for u in ("alice", "bob"):
            S.user(u + "@localhost")
    return S


# --- OpenMetrics 1.0, strictly: names, metadata once and before samples, families together, no duplicates, escapes, suffixes, EOF --------------
NAME, LABEL = r"[a-zA-Z_:][a-zA-Z0-9_:]*", r"[a-zA-Z_][a-zA-Z0-9_]*"
SAMPLE = re.compile(rf'({NAME})(?:\{{((?:{LABEL}="(?:[^"\\\n]|\\["\\n])*"(?:,(?!\}})|(?=\}})))*)\}})? (-?[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?|[+-]Inf|NaN)')
SUFFIX = {"counter": ["_total"], "gauge": [""], "info": ["_info"], "unknown": [""], "histogram": ["_bucket", "_count", "_sum"]}
UNESCAPE = {"\\n": "\n", '\\"': '"', "\\\\": "\\"}


def unescape(text):
    return re.sub(r'\\[n"\\]', lambda m: UNESCAPE[m[0]], text)


def parse(body):
    """{family: (type, help, {(sample, labels): value})}; AssertionError for whatever the specification forbids."""
    text = body.decode("utf-8")
    assert text.endswith("\n# EOF\n"), "no EOF line at the end: " + text[-60:]
    families, current, seen = {}, None, set()
    for n, line in enumerate(text[:-len("# EOF\n")].split("\n")[:-1], 1):
        where = f"line {n}: {line!r}"
        assert line and line != "# EOF" and "\r" not in line, where
        m = re.fullmatch(rf"# (TYPE|UNIT|HELP) ({NAME}) (.*)", line)
        if m:
            kind, name, rest = m.groups()
            if current is None or name != current["name"]:
                assert name not in families, "the family is there twice, or interleaved: " + where
                current = families[name] = {"name": name, "samples": {}}
            assert kind not in current, kind + " twice: " + where
            assert not current["samples"], "metadata after a sample: " + where
            assert kind != "TYPE" or rest in SUFFIX, "unknown type: " + where
            assert kind != "UNIT" or (rest and name.endswith("_" + rest)), "the name does not end in its unit: " + where
            assert kind != "HELP" or re.fullmatch(r'(?:[^\\"\n]|\\[n"\\])*', rest), "HELP is not escaped: " + where
            current[kind] = rest
            continue
        m = SAMPLE.fullmatch(line)
        assert m, "neither metadata nor a sample: " + where
        name, labels, value = m[1], re.findall(rf'({LABEL})="((?:[^"\\]|\\.)*)"', m[2] or ""), float(m[3])
        assert current and "TYPE" in current, "a sample before its TYPE: " + where
        assert name in [current["name"] + x for x in SUFFIX[current["TYPE"]]], "a sample outside its family: " + where
        assert len({k for k, _ in labels}) == len(labels), "a label twice: " + where
        key = (name, tuple(sorted((k, unescape(v)) for k, v in labels)))
        assert key not in seen, "a sample twice: " + where
        seen.add(key)
        assert current["TYPE"] != "counter" or (value >= 0 and math.isfinite(value)), "a counter below zero: " + where
        assert current["TYPE"] != "info" or value == 1, where
        assert current["TYPE"] != "histogram" or (value >= 0 and math.isfinite(value)), where
        assert ("le" in dict(labels)) == name.endswith("_bucket"), where
        current["samples"][key] = value
    for f in families.values():
        if f["TYPE"] == "histogram":
            check_histogram(f["name"], f["samples"])
    names = set(families)
    for f in families.values():  # a sample's name must not be the name of another family
        assert "TYPE" in f and "HELP" in f, f
        assert not any((f["name"] + x) in names - {f["name"]} for x in ("_total", "_created", "_info", "_count", "_sum", "_bucket")), f["name"]
    return families


def go_number(x):
    """As Go prints a float64, which is what the specification calls canonical."""
    mantissa, _, exponent = repr(float(x)).partition("e")
    if exponent:
        return mantissa.removesuffix(".0") + "e" + exponent
    whole, _, rest = mantissa.partition(".")
    if len(whole) > 6:
        return (whole[0] + "." + whole[1:] + rest).rstrip("0").rstrip(".") + f"e+{len(whole) - 1:02d}"
    return mantissa


def check_histogram(name, points):
    """Buckets ascend in their bounds and counts, bounds are canonical numbers, the last one is +Inf and has the count."""
    rows = {}
    for (sample, labels), v in points.items():
        rest = tuple(x for x in labels if x[0] != "le")
        rows.setdefault(rest, {"bounds": []})
        if sample == name + "_bucket":
            rows[rest]["bounds"].append((dict(labels)["le"], v))
        else:
            rows[rest][sample] = v
    for rest, r in rows.items():
        bounds = r["bounds"]
        assert bounds and bounds[-1][0] == "+Inf" and {name + "_count", name + "_sum"} <= set(r), (name, rest, r)
        numbers = [float(le) for le, _ in bounds]
        assert numbers == sorted(set(numbers)) and all(le == go_number(le) for le, _ in bounds[:-1]), (name, bounds)
        counts = [v for _, v in bounds]
        assert counts == sorted(counts) and counts[-1] == r[name + "_count"], (name, rest, r)


def samples(families):
    return {k: v for f in families.values() for k, v in f["samples"].items()}


def value(families, name, **labels):
    return samples(families)[(name, tuple(sorted(labels.items())))]


# --- HTTP by hand ------------------------------------------------------------------------------------------------------------------------------
class Http:
    def __init__(self, port):
        self.sock, self.buf = socket.create_connection(("127.0.0.1", port), timeout=LIMIT), b""

    def send(self, data):
        self.sock.sendall(data)

    def get(self, path="/metrics", method="GET", extra=""):
        self.send(f"{method} {path} HTTP/1.1\r\nHost: x\r\n{extra}\r\n".encode())
        return self.answer(method == "HEAD")

    def more(self):
        piece = self.sock.recv(65536)
        assert piece, f"closed after {self.buf!r}"
        self.buf += piece

    def answer(self, head=False):
        """Status, fields (lower case), body."""
        while b"\r\n\r\n" not in self.buf:
            self.more()
        top, _, self.buf = self.buf.partition(b"\r\n\r\n")
        first, *rest = top.decode("ascii").split("\r\n")
        fields = {k.lower(): v for k, v in (x.split(": ", 1) for x in rest)}
        status = int(re.fullmatch(r"HTTP/1\.1 (\d{3}) [A-Za-z ]+", first)[1])
        assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", fields["date"]), fields
        want = 0 if head else int(fields["content-length"])
        while len(self.buf) < want:
            self.more()
        body, self.buf = self.buf[:want], self.buf[want:]
        return status, fields, body

    def ended(self, orderly=False):
        """The server has closed: nothing more comes. A reset counts where bytes of ours were on their way, unless it must be orderly."""
        try:
            while True:
                piece = self.sock.recv(65536)
                if not piece:
                    return self.buf
                self.buf += piece
        except (ConnectionResetError, BrokenPipeError):
            assert not orderly, "the connection was reset"
            return self.buf


def scrape(s):
    status, fields, body = Http(s.metrics).get()
    assert (status, fields["content-type"]) == (200, TYPE), (status, fields)
    return parse(body)


def refused(request, status, why):
    """One answer with a reason, then the end; and the door still serves."""
    s = server()
    c = Http(s.metrics)
    c.send(request)
    got, fields, body = c.answer(request.startswith(b"HEAD"))
    assert (got, fields["connection"]) == (status, "close"), (got, fields, request[:80])
    assert why.encode() + b"\n" == body, body
    assert c.ended(orderly=True) == b"", c.buf
    assert Http(s.metrics).get()[0] == 200
    return fields


# --- the text ----------------------------------------------------------------------------------------------------------------------------------
def test_the_text_is_openmetrics_and_has_every_event_with_its_description():
    """Every counter of events.def is there as murre_<event>_total, HELP is its sentence, and the strict parser accepts it all."""
    f = scrape(server())
    assert len(EVENTS) > 50
    for name, _, _, _, _, doc in EVENTS:
        family = f["murre_" + name]
        assert family["TYPE"] == "counter" and unescape(family["HELP"]) == doc, family
        assert list(family["samples"]) == [(f"murre_{name}_total", ())], family
    assert value(f, "murre_node_start_total") == 1 and value(f, "murre_ready") == 1


def test_the_parser_of_these_tests_refuses_what_the_specification_forbids():
    """A check that cannot fail proves nothing."""
    good = "# TYPE a counter\n# HELP a x\na_total 1\n# TYPE b gauge\n# HELP b y\nb{l=\"1\"} 2\n# EOF\n"
    steps = 'h_bucket{le="1.6e-05"} 1\nh_bucket{le="1.048576e+06"} 2\nh_bucket{le="+Inf"} 3\n'
    histogram = "# TYPE h histogram\n# HELP h z\n" + steps + "h_count 3\nh_sum 4.5\n# EOF\n"
    assert value(parse(histogram.encode()), "h_sum") == 4.5
    for was, now in [('1.6e-05', '0.000016'), ('1.048576e+06', '1048576.0'), ("} 2", "} 4"), ("h_count 3", "h_count 2"), ("h_count 3\n", ""), ("h_sum 4.5\n", ""),
                     ('h_bucket{le="+Inf"} 3\n', ""), (steps, ""), ("h_sum 4.5", "h_sum -1"), ('{le="+Inf"}', ""), ("h_sum ", 'h_sum{le="1.0"} ')]:
        assert was in histogram
        try:
            parse(histogram.replace(was, now, 1).encode())
        except AssertionError:
            continue
        raise RuntimeError(f"accepted: {now!r} for {was!r}")
    assert value(parse(good.encode()), "b", l="1") == 2
    for was, now in [("# EOF\n", ""), ("# EOF\n", "# EOF"), ("# EOF\n", "# EOF\n# EOF\n"), ("a_total 1\n", "a 1\n"), ("a_total 1\n", "a_total 1\na_total 1\n"),
                     ("a_total 1\n", "a_total -1\n"), ("a_total 1\n", "a_total\n"), ("a_total 1\n", "a_total  1\n"), ("# HELP a x\n", ""), ("# HELP a x\n", "# HELP a x\n# HELP a x\n"),
                     ("# TYPE a counter\n", ""), ("# TYPE a counter\n", "# TYPE a count\n"), ("\n# TYPE b", "\n\n# TYPE b"), ('l="1"', 'l="1'), ('l="1"', 'l="\\x"'),
                     ('l="1"', 'l="1",l="2"'), ('l="1"', 'l="1",'), ("# HELP b y", "# HELP b \\y"), ("# TYPE b gauge\n", "# TYPE b gauge\n# UNIT b bytes\n"),
                     ("b{l=\"1\"} 2\n", "b{l=\"1\"} 2\na_total 3\n"), ("b{l=\"1\"} 2\n", "b{l=\"1\"} 2\r\n"), ("# HELP b y\nb{l=\"1\"} 2\n", "b{l=\"1\"} 2\n# HELP b y\n")]:
        assert was in good
        try:
            parse(good.replace(was, now, 1).encode())
        except AssertionError:
            continue
        raise RuntimeError(f"accepted: {now!r} for {was!r}")


def test_every_measured_argument_is_a_histogram_in_base_units():
    """Every MEASURE of events.def, under the event's and the argument's name, in seconds where the argument is in micro- or milliseconds."""
    f, events = scrape(server()), {e[0].upper(): e for e in EVENTS}
    assert len(MEASURES) >= 10
    for event, arg, doc in MEASURES:
        name, word = events[event][0], events[event][2 + int(arg)]
        assert word, (event, arg)
        unit = {"usec": "seconds", "msec": "seconds", "bytes": "bytes"}.get(word.split("_")[-1])
        family = f["_".join(["murre", name, *word.split("_")[:-1], unit or word.split("_")[-1]])]
        assert family["TYPE"] == "histogram" and unescape(family["HELP"]) == doc and family.get("UNIT") == unit, family


def test_the_parser_of_the_prometheus_client_reads_the_same():
    """What others wrote to read OpenMetrics accepts the text, and finds the same families and values in it."""
    from prometheus_client.openmetrics.parser import text_string_to_metric_families

    s = server()
    s.ctl("locks", "on")
    try:
        body = Http(s.metrics).get()[2]
    finally:
        s.ctl("locks", "off")
    ours, theirs = parse(body), {f.name: f for f in text_string_to_metric_families(body.decode())}
    assert set(ours) == set(theirs) and any(f["TYPE"] == "histogram" for f in ours.values())
    for name, f in ours.items():
        t = theirs[name]
        assert (t.type, t.unit, t.documentation) == (f["TYPE"], f.get("UNIT", ""), unescape(f["HELP"])), (f, t)
        assert {(x.name, tuple(sorted(x.labels.items()))): x.value for x in t.samples} == f["samples"], name


def test_alert_rules_and_questions_name_metrics_that_exist():
    """Each metric in dist/murre.rules.yml and in the tables of docs/metrics.md is one that a node shows."""
    s = server()
    s.ctl("locks", "on")
    try:
        f = scrape(s)
    finally:
        s.ctl("locks", "off")
    known = set(f) | {k[0] for x in f.values() for k in x["samples"]} | {n + "_total" for n, x in f.items() if x["TYPE"] == "counter"}
    rules = open(ROOT + "/dist/murre.rules.yml").read()
    exprs = re.findall(r"^        expr: (.*)$", rules, re.M)
    assert len(exprs) == rules.count("- alert:") > 10
    words = re.findall(r"murre_\w+", " ".join(exprs) + open(ROOT + "/docs/metrics.md").read().replace("murre_<", ""))
    unknown = {w for w in words if w not in known}
    assert len(words) > 50 and not unknown, unknown


def test_histograms_count_what_happens():
    """A TLS handshake, a commit, a kept message that is acked later, jobs: each is in its histogram as often as it is counted, and the sums are times."""
    with closing(start()) as s:
        for u in ("carol", "dave"):
            s.user(u + "@localhost")
        a = login(s, "carol")
        for i in range(5):
            a.send(f"<message to='dave@localhost' type='chat' id='h{i}'><body>{'x' * 1000} h{i}</body></message>")
        until("they are kept", lambda: value(scrape(s), "murre_msg_accepted_total") == 5)
        b = login(s, "dave", sm=True)
        b.expect("h4<")
        b.send("<a xmlns='urn:xmpp:sm:3' h='6'/>")  # its presence and the messages
        until("they are delivered", lambda: value(scrape(s), "murre_msg_delivered_total") == 5)
        f = until("tables are whole", lambda: (lambda f: f if "murre_tables" in f else None)(scrape(s)))
        for event, unit in [("tls_done", "seconds"), ("log_commit", "seconds"), ("log_commit", "bytes"), ("log_commit", "records"), ("msg_accepted", "seconds"),
                            ("msg_accepted", "bytes"), ("msg_delivered", "seconds"), ("expired", "late_seconds"), ("long_handler", "seconds")]:
            count, total = value(f, f"murre_{event}_{unit}_count"), value(f, f"murre_{event}_total")
            assert count == total, (event, unit, count, total)
        assert value(f, "murre_msg_accepted_bytes_sum") > 5 * 1000
        assert value(f, "murre_msg_accepted_bytes_bucket", le="512.0") == 0 and value(f, "murre_msg_accepted_bytes_bucket", le="2048.0") == 5
        assert 0 < value(f, "murre_msg_accepted_seconds_sum") < value(f, "murre_msg_delivered_seconds_sum") < 10 * LIMIT
        assert value(f, "murre_pool_run_seconds_count", pool="disk") > 0 and value(f, "murre_pool_run_seconds_sum", pool="crypto") > 0
        for pool in ("disk", "sql", "crypto", "user"):
            assert value(f, "murre_pool_wait_seconds_count", pool=pool) == value(f, "murre_pool_run_seconds_count", pool=pool), pool
        assert value(f, "murre_table_entries", table="accounts") == 2 and value(f, "murre_table_entries", table="relations") > 0
        assert value(f, "murre_tables", table="relations") == value(f, "murre_shards")


def test_turns_of_actors_are_measured():
    """One turn in 64: handlers, waits and mailboxes are in the histograms once there were enough of them."""
    s = server()
    c = login(s, "alice", resource="turns")

    def enough():
        for i in range(100):
            c.send(f"<iq type='get' id='t{i}' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>")
        c.expect("id='t99'")
        f = scrape(s)
        return f if value(f, "murre_turn_messages_count") >= 10 else None

    f = until("ten turns are measured", enough)
    c.close()
    turns = value(f, "murre_turn_messages_count")
    assert value(f, "murre_turn_messages_bucket", le="1.0") > 0 and value(f, "murre_turn_messages_sum") >= turns
    assert value(f, "murre_handler_seconds_count") >= turns - 1 and 0 < value(f, "murre_handler_seconds_sum") < 10 * LIMIT
    assert 0 < value(f, "murre_run_queue_seconds_sum") < 10 * LIMIT


def test_locks_show_by_class_once_they_are_counted():
    """Nothing but the time before `locks on`; then takes and waits of each class, which stay until they are cleared. What has no lock is always there."""
    with closing(start()) as s:
        f = scrape(s)
        assert value(f, "murre_locks_counted_seconds_total") == 0 and "murre_lock_takes" not in f
        kinds = {dict(k[1])["what"] for k in f["murre_lock_free_tries"]["samples"]}
        assert kinds == {"ring", "wake", "returns", "mailbox"} and value(f, "murre_lock_free_tries_total", what="mailbox") > 0
        s.ctl("locks", "on")
        s.user("erin@localhost")
        f = scrape(s)
        classes = {dict(k[1])["lock"] for k in f["murre_lock_takes"]["samples"]}
        assert {"pool", "inbox", "table", "ctl", "log"} <= classes and len(classes) < 16, classes
        takes = value(f, "murre_lock_takes_total", lock="pool")
        assert takes > 0 and value(f, "murre_locks_counted_seconds_total") > 0
        assert value(f, "murre_lock_wait_seconds_count", lock="pool") <= takes
        s.ctl("locks", "off")
        assert value(scrape(s), "murre_lock_takes_total", lock="pool") >= takes
        s.ctl("locks", "clear")
        assert "murre_lock_takes" not in scrape(s)


def test_gauges_of_shards_threads_pools_log_partitions_and_process():
    """What is shown beside the events, with fixed label values, is as large as it can be and no larger."""
    s = Server({"metrics.listen": "127.0.0.1:0", "shards": "3", "pool.disk": "2", "pool.crypto": "5", "svc.partitions": "7"})
    s.start()
    with_port = until("the door", lambda: re.search(r"metrics http://\S+:(\d+)/", s.stderr()))
    s.metrics = int(with_port[1])
    try:
        f = scrape(s)
        shards, pools = {"0", "1", "2"}, {"disk", "sql", "crypto", "user"}
        labels = lambda family, name: {dict(k[1])[name] for k in f[family]["samples"]}
        for family in ("murre_actors", "murre_queued_messages", "murre_queued_bytes", "murre_queued_messages_longest", "murre_mailbox_in", "murre_mailbox_out"):
            assert labels(family, "shard") == shards, f[family]
        assert sum(f["murre_actors"]["samples"].values()) >= 7 + 3 + 2
        states = {"emulator", "port", "send", "flush", "timers", "check_io", "busy_wait", "sleep", "aux", "other"}
        assert labels("murre_thread_seconds", "state") == states
        threads = labels("murre_thread_seconds", "thread")
        assert {"shard 0", "shard 1", "shard 2", "pool disk", "pool crypto", "watchdog", "ctl"} <= threads and len(threads) <= 3 + 4 + 3, threads
        assert len(f["murre_thread_seconds"]["samples"]) == len(threads) * len(states)
        assert labels("murre_pool_threads", "pool") == pools and value(f, "murre_pool_threads", pool="crypto") == 5
        assert {k: value(f, "murre_workers" + k, workers="svc.part") for k in ("", "_stuck", "_down")} == {"": 7, "_stuck": 0, "_down": 0}
        assert labels("murre_workers_begun", "workers") == {"svc.part"}
        assert f["murre_workers_sent"]["samples"] == {}, "the partitions take work by key: nobody counts what is sent"
        assert value(f, "murre_shards") == 3 and value(f, "murre_log_segments") >= 1 and value(f, "murre_log_full") == 0
        assert {value(f, "murre_scrape_incomplete", part=p) for p in ("log", "partitions", "tables", "process")} == {0}
        fds = len(os.listdir(f"/proc/{s.proc.pid}/fd"))
        assert abs(value(f, "process_open_fds") - fds) <= 2, (f["process_open_fds"], fds)
        pages = int(open(f"/proc/{s.proc.pid}/statm").read().split()[1]) * os.sysconf("SC_PAGESIZE")
        assert pages / 4 < value(f, "process_resident_memory_bytes") < pages * 4
        assert abs(value(f, "process_start_time_seconds") - time.time()) < 2 * LIMIT
        assert 0 < value(f, "process_cpu_seconds_total") < 10 * LIMIT
        assert "murre_build" in f and value(f, "murre_build_info", version="0.1", node="murre") == 1
    finally:
        s.__exit__()


def test_a_node_name_from_hell_is_escaped():
    """Quotes, backslashes, line ends, control bytes and invalid UTF-8 in a label value break nothing."""
    s = start({"name": 'a"b\\c\nd\x1b[2J\udcff{},="\u00e4'})
    try:
        key = [k for k in samples(scrape(s)) if k[0] == "murre_build_info"]
        assert len(key) == 1 and dict(key[0][1])["node"] == 'a"b\\c\\x0ad\\x1b[2J\\xff{},="\u00e4', key
    finally:
        s.__exit__()


def test_counts_follow_what_happens_and_name_nobody():
    """Sessions, kept messages and events are seen in the next text; no account, address or resource ever is."""
    s = server()
    before = scrape(s)
    a = login(s, "alice", resource="secretresource")
    a.send("<message to='bob@localhost' type='chat' id='m1'><body>tellnobody</body></message>")
    until("one message is kept", lambda: value(scrape(s), "murre_msg_accepted_total") == value(before, "murre_msg_accepted_total") + 1)
    until("log and partitions count it", lambda: (lambda f: value(f, "murre_log_messages") == 1 and value(f, "murre_kept_messages") == 1)(scrape(s)))
    f = scrape(s)
    assert value(f, "murre_sessions") == 1 and value(f, "murre_auth_ok_total") == value(before, "murre_auth_ok_total") + 1
    body = Http(s.metrics).get()[2].lower()
    for word in (b"alice", b"bob", b"localhost", b"secretresource", b"tellnobody", b"127.0.0.1", s.dir.encode()):
        assert word not in body, word
    login(s, "bob").expect("tellnobody")
    a.close()


def test_scraping_in_a_loop_under_load_is_whole_and_counters_never_go_down():
    """Every text made while clients flood the node parses, is answered in time, and no counter falls."""
    s = server()
    stop, sent, senders = threading.Event(), [0, 0, 0], []

    def flood(i):
        c = login(s, "alice", resource=f"flood{i}")
        c.sock.settimeout(LIMIT)
        while not stop.is_set():
            c.send("".join(f"<iq type='get' id='{i}.{sent[i] + k}' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>" for k in range(200)))
            c.expect(f"id='{i}.{sent[i] + 199}'")
            sent[i] += 200
        c.close()

    for i in range(len(sent)):
        senders.append(threading.Thread(target=flood, args=(i,)))
        senders[-1].start()
    try:
        until("the load runs", lambda: min(sent) > 0)
        c, last, first = Http(s.metrics), {}, list(sent)
        for n in range(200):
            status, _, body = c.get()
            f = parse(body)
            assert status == 200
            now = {k: v for x in f.values() if x["TYPE"] == "counter" for k, v in x["samples"].items()}
            fallen = {k: (last[k], v) for k, v in now.items() if k in last and v < last[k] - (1e-3 if "seconds" in k[0] else 0)}
            assert not fallen, fallen
            last = now
        assert min(b - a for a, b in zip(first, sent)) > 0, "the load stood still while it was scraped"
    finally:
        stop.set()
        for t in senders:
            t.join()


def test_many_scrapers_at_once():
    """Concurrent scrapers with keep-alive all get whole texts."""
    s, wrong = server(), []

    def work():
        try:
            c = Http(s.metrics)
            for _ in range(20):
                parse(c.get()[2])
        except BaseException as e:
            wrong.append(repr(e))

    threads = [threading.Thread(target=work) for _ in range(16)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong, wrong


# --- HTTP --------------------------------------------------------------------------------------------------------------------------------------
def test_head_has_the_fields_of_get_and_no_body():
    """RFC 9110 section 9.3.2."""
    c = Http(server().metrics)
    status, fields, body = c.get(method="HEAD")
    assert status == 200 and fields["content-type"] == TYPE and int(fields["content-length"]) > 10000 and body == b""
    assert c.get()[0] == 200  # nothing of a body was left in between


def test_other_methods_are_answered_with_405_and_what_is_allowed():
    """RFC 9110 section 15.5.6: Allow is there."""
    for method in (b"POST", b"PUT", b"DELETE", b"OPTIONS", b"TRACE", b"M-SEARCH"):
        fields = refused(method + b" /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 405, "GET and HEAD are answered")
        assert fields["allow"] == "GET, HEAD"
    refused(b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n", 405, "GET and HEAD are answered")


def test_unknown_paths_are_404_and_the_connection_goes_on():
    """Only the path /metrics, to the letter; of a whole address only one of http."""
    c = Http(server().metrics)
    for path in ("/", "/metric", "/metricsx", "/metrics/", "/%6detrics", "/" + "m" * 4000, "/x?/metrics", "/metrics#x", "http://x", "http://x/",
                 "http://x/metrics/", "ftp://x/metrics"):
        status, fields, body = c.get(path)
        assert (status, body, fields["connection"]) == (404, b"there is only /metrics\n", "keep-alive"), (path, status, body)
    assert c.get()[0] == 200


def test_the_target_may_be_a_whole_address_and_have_a_query():
    """RFC 9112 section 3.2.2: a server must accept the absolute form. A query selects nothing; byte by byte it is the same."""
    c = Http(server().metrics)
    for target in ("http://x/metrics", "HTTP://127.0.0.1:9090/metrics", "http://[::1]:9090/metrics?a=b", "/metrics?x=1", "/metrics?", "/metrics?" + "q" * 4000):
        for method in ("GET", "HEAD"):
            status, fields, _ = c.get(target, method)
            assert (status, fields["content-type"], fields["connection"]) == (200, TYPE, "keep-alive"), (target, status)
    for b in b"GET http://x/metrics?x=1 HTTP/1.1\r\nHost: x\r\n\r\n":
        c.send(bytes([b]))
    assert c.answer()[0] == 200


def test_what_is_not_http_is_answered_with_400():
    """Malformed requests, no Host, two Hosts (RFC 9112 section 3.2), lengths that contradict each other."""
    why = "this is not an HTTP/1.1 request with one Host field"
    for bad in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"<stream:stream>", b"GET\r\n\r\n", b"GET /metrics HTTP/1.1\r\n\r\n",
                b"GET /metrics HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n", b"GET /metrics HTTP/1.1\r\nHost: x\r\nbad field\r\n\r\n", b"FETCH /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
                b"GET /metrics HTTP/x.1\r\nHost: x\r\n\r\n", b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
                b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", b"GET /metrics HTTP/1.1\r\nHost: \x00\r\n\r\n", b"GET /metrics HTTP/1.1\r\nHost: x\r\nA: b\x1b[2J\r\n\r\n",
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"):
        refused(bad, 400, why)


def test_a_body_is_refused_and_never_read_as_a_request():
    """413 for GET with a body, with a length or in chunks; what is in it is not answered (request smuggling)."""
    inner = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
    refused(b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(inner) + inner, 413, "a request has no body here")
    refused(b"POST /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % len(inner) + inner + b"\r\n0\r\n\r\n", 413, "a request has no body here")
    c = Http(server().metrics)
    c.send(b"HEAD /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello")
    assert c.answer(head=True)[0] == 413 and c.ended() == b""


def test_large_requests_are_answered_with_431():
    """One long field, a long path, very many fields: never more than the limit is read."""
    for big in (b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 9000 + b"\r\n\r\n", b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
                b"GET /metrics HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 2000 + b"\r\n", b"GET /metrics HTTP/1.1\r\n" + b"A" * 100000):
        refused(big, 431, "the request is too long")
    c = Http(server().metrics)
    assert c.get(extra="X: " + "a" * 8000 + "\r\n")[0] == 200


def test_other_versions_are_answered_with_505():
    """RFC 9110 section 15.6.6; a request without a version is HTTP/0.9."""
    refused(b"GET /metrics\r\n\r\n", 505, "HTTP/1.1 and HTTP/1.0 are spoken")
    refused(b"GET /metrics HTTP/2.0\r\nHost: x\r\n\r\n", 505, "HTTP/1.1 and HTTP/1.0 are spoken")


def test_keep_alive_close_and_http_1_0():
    """RFC 9112 section 9.3: 1.1 stays open unless asked, 1.0 closes unless asked."""
    s = server()
    c = Http(s.metrics)
    for _ in range(50):
        assert c.get()[1]["connection"] == "keep-alive"
    assert c.get(extra="Connection: close\r\n")[1]["connection"] == "close" and c.ended() == b""
    c = Http(s.metrics)
    c.send(b"GET /metrics HTTP/1.0\r\n\r\n")
    status, fields, body = c.answer()
    assert status == 200 and fields["connection"] == "close" and parse(body) and c.ended() == b""
    c = Http(s.metrics)
    for _ in range(2):
        c.send(b"GET /metrics HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert c.answer()[1]["connection"] == "keep-alive"


def test_requests_may_come_byte_by_byte_or_many_at_once():
    """Split anywhere and pipelined: each is answered, in order."""
    c = Http(server().metrics)
    for b in b"GET /metrics HTTP/1.1\r\nHost: x\r\nUser-Agent: y\r\n\r\n":
        c.send(bytes([b]))
    assert c.answer()[0] == 200
    c.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\nGET /no HTTP/1.1\r\nHost: x\r\n\r\n" * 40)
    assert [c.answer()[0] for _ in range(80)] == [200, 404] * 40
    c.send(b"GET /no HTTP/1.1\r\nHost: x\r\n\r\nPOST /no HTTP/1.1\r\nHost: x\r\n\r\nGET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    assert [c.answer()[0] for _ in range(2)] == [404, 405] and c.ended() == b""


def test_slow_clients_are_closed_at_their_deadline_and_delay_nobody():
    """Who says nothing, half a request, drips bytes, or does not read: closed; others are answered meanwhile."""
    s = server()
    begin = time.monotonic()
    silent, half, deaf = Http(s.metrics), Http(s.metrics), Http(s.metrics)
    half.send(b"GET /metrics HTTP/1.1\r\nHo")
    deaf.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.sock.setblocking(False)
    try:
        while True:
            deaf.sock.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
    except BlockingIOError:
        pass
    assert Http(s.metrics).get()[0] == 200
    assert silent.ended() == b""
    status, fields, body = half.answer()
    assert (status, fields["connection"], body) == (408, "close", b"the request took too long to come\n") and half.ended() == b""
    took = time.monotonic() - begin
    assert 4 < took, f"closed after {took} s"
    drip, dripping = Http(s.metrics), time.monotonic()
    drip.send(b"GET /metrics HTTP/1.1\r\nX: ")
    drip.sock.settimeout(0.2)
    while b"\r\n\r\n" not in drip.buf:  # a byte whenever nothing has come for a while: it moves no deadline
        assert time.monotonic() - dripping < LIMIT
        drip.send(b"a")
        try:
            drip.more()
        except socket.timeout:
            pass
    assert drip.answer()[0] == 408 and time.monotonic() - dripping > 4
    deaf.sock.setblocking(True)
    deaf.sock.settimeout(LIMIT)
    until("who does not read is closed", lambda: value(scrape(s), "murre_scrape_clients") <= 2)
    deaf.ended()


def test_many_connections_are_bounded():
    """32 at a time: one that has been idle makes room at once, and then the one that has kept its request unfinished for longest."""
    s = server()
    idle = [Http(s.metrics) for _ in range(32)]
    for c in idle:
        assert c.get()[0] == 200
    new = Http(s.metrics)
    assert value(parse(new.get()[2]), "murre_scrape_clients") == 32, "one made room; a deadline would have ended all that were idle"
    assert idle[0].ended() == b"" and idle[31].get()[0] == 200
    crowd = [socket.create_connection(("127.0.0.1", s.metrics), timeout=LIMIT) for _ in range(64)]
    f = scrape(s)
    assert value(f, "murre_scrape_clients") <= 32
    for c in crowd:
        c.close()
    old = Http(s.metrics)
    old.send(b"GET /met")
    halves = [Http(s.metrics) for _ in range(300)]
    for c in halves:
        c.send(b"GET /metr")
    assert old.ended() == b"" and halves[0].ended() == b"", "pushed out without an answer: their deadline has not come"
    f = scrape(s)
    assert value(f, "murre_scrape_clients") <= 32
    assert idle[31].ended() == b"", "an idle one goes before one that is at work"
    halves[299].send(b"ics HTTP/1.1\r\nHost: x\r\n\r\n")
    assert halves[299].answer()[0] == 200, "the newest ones keep their place"
    for c in halves:
        c.sock.close()


def test_the_document_names_what_is_there():
    """docs/metrics.md has every family that is not an event's, and its number of series is right within a tenth."""
    text = open(ROOT + "/docs/metrics.md").read()
    with closing(start()) as s:  # of its own: once locks have been counted there are more
        f = scrape(s)
    own = [n for n in f if not any(re.fullmatch(f"murre_{e[0]}(_.*)?", n) for e in EVENTS)]
    missing = [n for n in own if f"`{n}`" not in text and f"`{n}_total`" not in text and f"`{n}_info`" not in text]
    assert len(own) > 50 and not missing, missing
    said = re.search(r"some (\d+), of which (\d+) are lines of histograms, and (\d+) for each shard", text)
    count = lambda families: sum(len(x["samples"]) for x in families)
    all_of, histograms = count(f.values()), count(x for x in f.values() if x["TYPE"] == "histogram")
    for says, there in zip(map(int, said.groups()), (all_of - int(said[3]) * value(f, "murre_shards"), histograms)):
        assert 0.9 * there < says < 1.1 * there, (said[0], there)


def test_stopping_does_not_wait_for_scrapers():
    """SIGTERM ends the node with clients in every state."""
    s = start()
    try:
        silent, half, idle = Http(s.metrics), Http(s.metrics), Http(s.metrics)
        half.send(b"GET /met")
        assert idle.get()[0] == 200
        assert s.stop() == 0
        assert silent.ended() == half.ended() == idle.ended() == b"", "whose deadline had come would have an answer"
    finally:
        s.__exit__()


# --- settings ----------------------------------------------------------------------------------------------------------------------------------
def check(*settings):
    args = [x for s in settings for x in ("--set", s)]
    r = subprocess.run([BUILD + "/murre", "check", *args], capture_output=True, text=True, timeout=LIMIT)
    return r.returncode, r.stderr


def test_it_is_off_by_default():
    """Nobody listens and no thread runs for metrics unless a setting says so."""
    with Server({"log.level": "info"}) as s:
        assert "metrics" not in s.stderr()
        names = [open(f"/proc/{s.proc.pid}/task/{t}/comm").read().strip() for t in os.listdir(f"/proc/{s.proc.pid}/task")]
        assert "ctl" in names and "metrics" not in names, names


def test_an_address_that_is_not_loopback_is_refused_unless_made_public():
    """All of 127.0.0.0/8 and ::1 are loopback; nothing else is."""
    for a in ("0.0.0.0:9100", "[::]:9100", "10.1.2.3:9100", "128.0.0.1:9100", "[::2]:9100", "[fe80::1]:9100", "[::ffff:10.0.0.1]:9100"):
        assert check("metrics.listen=" + a) == (CONFIG, f"murre: metrics.listen: {a} is not loopback; metrics.public: true allows it\n"), a
        assert check("metrics.listen=" + a, "metrics.public=true") == (0, ""), a
    for a in ("127.0.0.1:9100", "127.255.255.254:1", "[::1]:9100", "[::ffff:127.0.0.1]:9100", ""):
        assert check("metrics.listen=" + a) == (0, ""), a
    s = start({"metrics.listen": "0.0.0.0:0", "metrics.public": "true"})
    try:
        assert scrape(s)
    finally:
        s.__exit__()


def test_what_is_not_an_address_is_refused():
    """With an example of what is one."""
    for a in ("x", "9100", "localhost:9100", "127.0.0.1", "127.0.0.1:99999", "unix:/tmp/x"):
        want = f"murre: metrics.listen: '{a}' is not an address such as 127.0.0.1:9100 or [::1]:9100\n"
        assert check("metrics.listen=" + a) == (CONFIG, want), check("metrics.listen=" + a)


def test_a_port_in_use_is_named():
    """Exit status 69, as for any other listener."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        a = f"127.0.0.1:{taken.getsockname()[1]}"
        s = Server({"metrics.listen": a})
        s.start(wait=False)
        try:
            assert s.proc.wait(LIMIT) == UNAVAILABLE
            assert f"metrics.listen: cannot listen on {a}: " in s.stderr(), s.stderr()
        finally:
            s.proc.stdout.close()
            s.__exit__()


def test_an_unknown_log_format_is_refused():
    """With the two that there are."""
    assert check("log.format=xml") == (CONFIG, "murre: log.format must be text or json, not 'xml'\n")


# --- logs --------------------------------------------------------------------------------------------------------------------------------------
def garbage(s, times):
    """Stream errors (events of level info), one a connection."""
    for _ in range(times):
        c = Raw(s.port)
        c.send("<this is not xml")
        c.send("<<<")
        c.closed()
        c.close()


def test_json_lines_are_objects_with_the_fields_of_their_event():
    """Every line of a node at level debug is one JSON object: time, level, event, the arguments by name, text."""
    fields = {name: (level.lower(), [a for a in (x, y, z) if a and a != "text"], "text" in (x, y, z)) for name, level, x, y, z, _ in EVENTS}
    with Server({"log.format": "json", "log.level": "debug"}) as s:
        s.user("alice@localhost")
        a = login(s, "alice")
        a.close()
        until("the end of the session is logged", lambda: '"event":"session_end"' in s.stderr())
        s.stop()
        seen = set()
        for line in s.stderr().splitlines():
            o = json.loads(line)
            level, args, text = fields[o["event"]]
            seen.add(o["event"])
            assert o["level"] == level and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", o["time"]), line
            if "suppressed" in o:
                assert set(o) == {"time", "level", "event", "suppressed"} and o["suppressed"] > 0, line
                continue
            assert list(o)[:3] == ["time", "level", "event"] and set(args) <= set(o), (line, args)
            assert set(o) <= {"time", "level", "event", "text", *args}, line
            for k in args:
                assert isinstance(o[k], str if k.endswith("slot") or k == "err" else int), line
        assert {"node_start", "listen", "spawn", "accept", "auth_ok", "bind", "session_end", "node_stop"} <= seen, seen
        assert "table_lost" not in seen, "tables that end with the node are lost to nobody"


def test_hostile_text_stays_one_valid_line():
    """What a peer or an operator chose, with control bytes, quotes, backslashes, line ends, marks that turn text and bytes that are no UTF-8: one
    line, valid, with all of it in JSON; in both formats."""
    evil = 'ev"il\\\x1b[2J\x7f\u202e\u0085\u2028\u00e4\U0001f600'
    texts = [evil, 'b\udcff\udcc3' + evil, '"},{"event":"crash"\n<3>forged', "\udcc3" * 200, "'\"\\" * 60, "\x01" * 200]
    for style in ("json", "text"):
        with Server({"log.format": style, "log.level": "debug"}) as s:
            s.user("alice@localhost")
            login(s, "alice", resource='res"our\\ce').close()
            for x in texts:
                r = s.ctl("kick", "nobody@localhost/x", x, check=False)
                assert r.returncode, r
            s.stop()
            lines = open(s.dir + "/stderr", "rb").read().decode("utf-8").split("\n")  # valid, or this fails
            assert lines.pop() == ""
            for line in lines:
                assert not re.search("[\x00-\x1f\x7f-\x9f\u2028\u202e]", line), ascii(line)
                assert len(line.encode()) < 2304
                if style == "text":
                    assert re.match(r"\d{4}-\S+Z (debug|info|notice|warning|error) \w+", line), line
            if style == "json":
                said = [o["text"] for o in map(json.loads, lines) if o["event"] == "ctl" and "nobody" in o["text"]]
                want = ["kick session nobody@localhost/x " + x.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for x in texts]
                assert said == want, (said, want)
                assert any(json.loads(x).get("text") == 'alice@localhost/res"our\\ce' for x in lines), "the resource"


def test_a_flood_is_cut_per_event_and_what_was_dropped_is_counted():
    """Lines written and lines counted as suppressed are together the event's count; another event is not held back."""
    s = start({"log.format": "json", "xmpp.accept_rate_ip": "0"})
    try:
        garbage(s, 120)
        total = until("the flood is counted", lambda: (lambda n: n >= 120 and n)(value(scrape(s), "murre_stream_error_total")))

        def logged():
            o = [json.loads(x) for x in s.stderr().splitlines() if '"stream_error"' in x and x.endswith("}")]
            return sum(x.get("suppressed", 1) for x in o) == total and o

        lines = until("every one is written or counted", logged)
        assert any("suppressed" in x for x in lines) and len(lines) < total, len(lines)
    finally:
        s.__exit__()


def test_a_flood_that_does_not_end_is_counted_while_it_goes_on():
    """What was suppressed is told within seconds, not when it is over."""
    s, stop = start({"xmpp.accept_rate_ip": "0"}), threading.Event()

    def flood():
        while not stop.is_set():
            garbage(s, 1)

    threads = [threading.Thread(target=flood) for _ in range(2)]
    for t in threads:
        t.start()
    try:
        until("two reports of what was suppressed", lambda: len(re.findall(r"stream_error suppressed=[1-9]", s.stderr())) > 1)
        assert all(t.is_alive() for t in threads)
    finally:
        stop.set()
        for t in threads:
            t.join()
        s.__exit__()


def test_the_journal_gets_priorities_and_nobody_else_does():
    """<N> before each line when standard error is the stream that JOURNAL_STREAM names (sd-daemon(3)); both formats."""
    for style, same in (("text", True), ("json", True), ("text", False)):
        s = Server({"log.level": "debug", "log.format": style})
        open(s.dir + "/stderr", "ab").close()
        st = os.stat(s.dir + "/stderr")
        s.env = {"JOURNAL_STREAM": f"{st.st_dev}:{st.st_ino if same else st.st_ino + 1}"}
        with s:
            s.user("x@localhost")
            s.stop()
            lines = s.stderr().splitlines()
            want = {"debug": "7", "info": "6", "notice": "5", "warning": "4", "error": "3"}
            levels = set()
            for line in lines:
                m = re.match(r"<([0-7])>(.*)", line)
                assert bool(m) == same, line
                if m:
                    level = json.loads(m[2])["level"] if style == "json" else m[2].split()[1]
                    levels.add(level)
                    assert m[1] == want[level], line
            assert not same or {"debug", "notice"} <= levels, levels
    for bad in ("", "x", "1", ":", "1:", ":1", "-1:2", "99999999999999999999:1"):
        with Server(env={"JOURNAL_STREAM": bad}) as s:
            until("the start is logged", lambda: "node_start" in s.stderr())
            assert "<5>" not in s.stderr()


if __name__ == "__main__":
    try:
        main(sys.modules[__name__])
    finally:
        if S:
            S.__exit__()
