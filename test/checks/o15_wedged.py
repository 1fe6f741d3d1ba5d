#!/usr/bin/python3
"""O15: looking into a node works while every shard of it spins, and the flight recorder keeps the last 65,536 events of each shard through
kill -9 and through an end without a core. (What the looks cost is measured by `make bench T=looks`.)

    wedge: every shard accepts a connection and does not come back (inject.c); then each look is asked for, and answers for what it can see.
    record: known events, counted beside the recorder, then the end; sequence, number and content are held against what was counted."""
import json, os, re, signal, socket, struct, subprocess, sys, urllib.request

import common
from common import BUILD, LIMIT, Inject, Node, soak, until
from rig import login

PAGE, RECORD = 4096, 64
RING = 65536  # records: recorder.bytes is 4M
USUAL = {"recorder.bytes": "4M", "watch.stuck_report": "200ms", "watch.stuck_limit": "0", "metrics.listen": "127.0.0.1:0", "log.level": "info"}
NOT_RECORDED = ("send", "enqueue", "handle")  # the most frequent
# What reads no shard answers as ever; what asks each of them names those that do not answer; what asks one of them says that it does not.
AS_EVER = {"queues show", "msacc read", "msacc print", "locks table", "locks instances", "locks locations", "log level", "events counters", "recorder show",
           "pool show", "help verbs", "node show", "load read"}
NAMES_SHARDS = {"actors list", "actors by", "queues longest", "tables chains"}
ARGUMENTS = {"queues actor": "store.log", "probe actor": "store.log", "actors by": "cost", "actor info": "store.log", "roster show": "a@localhost", "offline show": "a@localhost", "user find": "a",
             "ping node": "a@127.0.0.1", "rpc call": "a@127.0.0.1 erlang node"}


def murrectl(s, *words):
    return subprocess.run([BUILD + "/murrectl", "--socket", s.dir + "/data/ctl.sock", *words], capture_output=True, text=True, timeout=2 * LIMIT)


def shard_ticks(s):
    """CPU time of each shard's thread."""
    ticks = {}
    for tid in os.listdir(f"/proc/{s.proc.pid}/task"):
        name, _, rest = open(f"/proc/{s.proc.pid}/task/{tid}/stat").read().partition("(")[2].rpartition(")")
        if name.startswith("shard"):
            ticks[name] = int(rest.split()[11])
    return ticks


def wedge(s, inject, shards):
    """Connections until every shard spins in one; returns them."""
    inject.wedge(True)
    conns = []

    def another():
        conns.append(socket.create_connection(("127.0.0.1", s.port), LIMIT))  # the kernel chooses the listener, one a shard
        return inject.wedged() == shards
    until(lambda: f"all {shards} shards are wedged: {inject.wedged()}", another)
    before = shard_ticks(s)
    until("every shard uses CPU", lambda: all(t > before[n] for n, t in shard_ticks(s).items()))
    return conns


def metrics(s):
    port = until("the metrics are served", lambda: re.search(r"metrics http://\S+:(\d+)/metrics", s.stderr()))[1]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=LIMIT) as r:
        return r.read().decode()


STREAMS = {"events follow", "follow trace"}  # their answers end when the asker does


def ask_all(s):
    """Every verb that only reads: its answer as JSON text."""
    answers = {}
    for v in s.ctl("help"):
        name = v["module"] + " " + v["function"]
        if v["mutates"] or name in STREAMS:
            continue
        r = murrectl(s, "--json", *name.split(), *(ARGUMENTS[name].split() if v["arity_min"] else []))
        answers[name] = r.stdout
        assert r.returncode == 0 or r.returncode == 65 and json.loads(r.stdout)["why"], (name, r)
    return answers


def check_looks_into_a_node_whose_shards_spin():
    "All shards spin: each look answers or names the shards that do not; the watchdog reports each with its stack; then the node goes on."
    shards = soak(2, 4)
    inject = Inject("/nowhere")
    try:
        with Node({**USUAL, "shards": str(shards)}, inject=inject) as s:
            s.users(["a", "b"])
            a, b = login(s, "a"), login(s, "b")
            wedge(s, inject, shards)
            stuck = until("each is reported", lambda: [e for e in s.ctl("events") if e["event"] == "stuck" and e["count"] == shards])
            assert stuck, stuck
            for i in range(shards):
                assert re.search(rf"error stuck shard={i} usec=\d+ .*accept4", s.stderr()), s.stderr()
            answers = ask_all(s)
            works = {name for name, text in answers.items() if json.loads(text)["ok"] and "does not answer" not in text}
            assert AS_EVER <= works, {name: answers.get(name) for name in AS_EVER - works}
            for name in NAMES_SHARDS:
                silent = [str(r) for r in json.loads(answers[name])["result"] if "does not answer" in str(r)]
                assert all(any(re.search(rf"shard(': ')? ?{i}'", r) for r in silent) for i in range(shards)), (name, silent)
            p = s.ctl("probe", "store.log", "100")
            assert p["answered"] is False and "accept4" in p["stack"] and p["class"], p
            s.ctl("msacc", "reset")
            until("msacc has seen 20 ms", lambda: min(r["usec"] for r in s.ctl("msacc") if r["thread"].startswith("shard")) > 20000)
            rows = [r for r in s.ctl("msacc") if r["thread"].startswith("shard")]
            assert len(rows) == shards and all(r["port"] == 100 for r in rows), rows
            text = metrics(s)
            assert text.endswith("# EOF\n") and re.search(rf"^murre_stuck_total {shards}$", text, re.M), text[-500:]
            r = murrectl(s, "record", "--event", "stuck")
            assert r.returncode == 0 and len(r.stdout.splitlines()) == shards, r
            r = murrectl(s, "top", "--once", "--interval", "0.1")
            assert r.returncode == 0 and "shard" in r.stdout, r
            assert inject.wedged() == shards
            inject.wedge(False)
            a.send("<message to='b@localhost' type='chat'><body>after</body></message>")
            b.expect("<body>after</body>")
            until("nobody spins", lambda: inject.wedged() == 0)
            assert "does not answer" not in murrectl(s, "actors").stdout
            print(f"      {shards} shards, {len(answers)} looks: {len(works)} as ever, {len(answers) - len(works)} say what does not answer", flush=True)
    finally:
        inject.close()


# --- the recorder
def rings(path):
    """Of each ring of a recorder's file: the sequence numbers in it, in their order on the disk."""
    data = open(path, "rb").read()
    n, per_ring = struct.unpack_from("<II", data, 12)
    assert len(data) == PAGE + n * per_ring * RECORD and per_ring == RING, (len(data), n, per_ring)
    return [[struct.unpack_from("<Q", data, PAGE + (r * per_ring + i) * RECORD + 8)[0] for i in range(per_ring)] for r in range(n)]


def newest(path, torn):
    """The last sequence number of each ring, of which the last RING are all there, each in its place."""
    last = []
    for seqs in rings(path):
        top = max(seqs)
        wrong = [i for i, q in enumerate(seqs) if q != (top - (top - 1 - i) % RING if top > i or top >= RING else 0)]
        assert len(wrong) <= torn, (top, wrong[:5])
        last.append(top)
    return last


def counts(s):
    return {e["event"]: e["count"] for e in s.ctl("events", "all")}


def recorded(c):
    return sum(n for e, n in c.items() if e not in NOT_RECORDED)


def load(s, messages, pairs=20):
    return subprocess.Popen([BUILD + "/murre-bench", "xmpp", "--port", str(s.port), "--pairs", str(pairs), "--acks", "--full", "--warm", "0", "--count",
                             str(messages), "--seconds", "3600", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def record(path, *words):
    r = subprocess.run([BUILD + "/murrectl", "--json", "record", "--last", "1000000", *words, path], capture_output=True, text=True, timeout=2 * LIMIT)
    assert r.returncode == 0, r
    return json.loads(r.stdout)


def node():
    return Node({**USUAL, "shards": "2", "xmpp.per_ip_max": "0", "xmpp.accept_rate": "0", "log.level": "notice"},
                prefix=["prlimit", "--core=0"])


def check_record_survives_kill_9():
    "Of 60,000 known events each is in the file; then, in mid-traffic and after every ring has wrapped, the last 65,536 of each."
    known, more = 30000, soak(60000, 4000000)
    with node() as s:
        s.users([f"u{i}" for i in range(40)])
        one = load(s, known)
        assert one.wait(4 * LIMIT) == 0, one.communicate()
        sent = int(json.loads(one.communicate()[0])["sent"])
        c = counts(s)
        v = record(s.dir + "/data/recorder", "--event", "msg_accepted")
        accepted = [r["fields"]["lsn"] for r in v["result"]]
        delivered = [r["fields"]["lsn"] for r in record(s.dir + "/data/recorder", "--event", "msg_delivered")["result"]]
        assert sent == len(accepted) == len(set(accepted)) == c["msg_accepted"], (sent, len(accepted), len(set(accepted)), c["msg_accepted"])
        assert sorted(delivered) == sorted(accepted), (len(delivered), len(accepted))
        assert newest(s.dir + "/data/recorder", 0) and sum(newest(s.dir + "/data/recorder", 0)) >= recorded(c)
        two = load(s, 10 * more)
        until("every ring has wrapped", lambda: min(newest(s.dir + "/data/recorder", 2)[:2]) > RING and counts(s)["msg_accepted"] > known + more)
        c = counts(s)
        s.kill()
        two.wait(4 * LIMIT)
        two.communicate()
        last = newest(s.dir + "/data/recorder", 1)  # one may be torn
        v = record(s.dir + "/data/recorder")
        assert v["torn"] <= len(last) and sum(last) >= recorded(c) and len(v["result"]) >= sum(min(n, RING) for n in last) - v["torn"], (v["torn"], last, recorded(c))
        assert len({(r["ring"], r["seq"]) for r in v["result"]}) == len(v["result"])
        print(f"      {sent} messages known one by one; killed after {sum(last)} events: {len(v['result'])} kept, {v['torn']} torn", flush=True)


def check_record_survives_an_end_without_a_core():
    "SIGABRT without a core, and a watchdog that ends a node whose shards are stuck: the file has everything up to it."
    with node() as s:
        s.users([f"u{i}" for i in range(40)])
        one = load(s, 2000)
        assert one.wait(4 * LIMIT) == 0, one.communicate()
        sent, c = int(json.loads(one.communicate()[0])["sent"]), counts(s)
        s.proc.send_signal(signal.SIGABRT)
        assert s.proc.wait(LIMIT) == -signal.SIGABRT
        v = record(s.dir + "/data/recorder")
        assert len(v["result"]) >= recorded(c) and v["torn"] == 0, (len(v["result"]), recorded(c), v["torn"])
        assert sum(r["event"] == "msg_accepted" for r in v["result"]) == sent
        assert not [f for f in os.listdir(s.dir + "/data") if f.startswith("core")]
    inject = Inject("/nowhere")
    try:
        with Node({**USUAL, "shards": "2", "watch.stuck_limit": "2s"}, inject=inject, prefix=["prlimit", "--core=0"]) as s:
            wedge(s, inject, 2)
            assert s.proc.wait(LIMIT) == -signal.SIGABRT and "the node ends" in s.stderr(), s.stderr()[-500:]
            v = record(s.dir + "/data/recorder", "--event", "stuck")
            assert sorted(r["fields"]["shard"] for r in v["result"]) == [0, 1] and v["torn"] == 0, v
    finally:
        inject.close()


if __name__ == "__main__":
    common.main(sys.modules["__main__"])
