#!/usr/bin/python3
"""history: judges what clients saw. Reads client-side logs only (JSON lines); never asks a server, shares no code with the clients.

    {"e":"send","s":JID/RES,"n":NUMBER,"to":BARE,"id":ORIGIN-ID,"sum":DIGEST}   written to a connection, each time
    {"e":"ack","s":..,"n":..}   covered by <a h>          {"e":"err","s":..,"n":..}   answered with an error
    {"e":"on","c":JID/RES,"resumed":BOOL}                 a receiving connection begins
    {"e":"had",..as recv}                                 received in a time line that a power cut ended: judged for absence only
    {"e":"recv","c":JID/RES,"from":..,"id":..,"sid":STANZA-ID,"sum":..}          {"e":"kill"}   the server was ended or cut off

Rules (docs/promises.md): lost - acked, not refused, received by nobody of the account; doubled - one message under two stanza-ids;
shared - one stanza-id for two messages; invented, altered, forged, misdirected; refused - received although answered with an error, if it was
sent once (of one sent again the last answer counts, and an error then says nothing about the sendings before it);
reordered - first receipts of a (sender's resource, account) descend, or receipts within a connection do; again - a wire duplicate within
a connection or a resumed session; window - more wire duplicates after a reconnect without a kill than may be unacked.

usage: history.py FILE [WINDOW]      exit status 0: the promise was kept; 1: not, each breach on a line"""
import json, sys


class History:
    def __init__(self, window=256):
        self.window = window
        self.sent, self.acked, self.refused = {}, set(), set()  # by (sender, number)
        self.again = set()  # of them: sent more than once
        self.by_origin = {}  # (bare sender, origin-id, to) -> (sender, number)
        self.had = set()
        self.received, self.owner = {}, {}  # message -> stanza-id; stanza-id -> message
        self.newest, self.newest_here = {}, {}  # (sender, account) and, within a connection, (sender, client) -> number
        self.seen, self.here = {}, {}  # account -> stanza-id -> kills before its last receipt; client -> stanza-ids of this session
        self.dups = {}  # client -> wire duplicates of this connection: [not since a kill, since one]
        self.breaches = []
        self.stat = dict(sent=0, acked=0, refused=0, received=0, wire_duplicates=0, worst_after_kill=0, worst_after_flap=0, connections=0, resumed=0, kills=0)

    def wrong(self, rule, text):
        self.breaches.append(f"{rule}: {text}")

    def add(self, r):
        getattr(self, "on_" + r["e"])(r)

    def on_send(self, r):
        key = (r["s"], r["n"])
        if key not in self.sent:
            self.sent[key] = r
            self.by_origin[(r["s"].split("/")[0], r["id"], r["to"])] = key
            self.stat["sent"] += 1
        else:
            self.again.add(key)
            self.refused.discard(key)

    def on_ack(self, r):
        self.acked.add((r["s"], r["n"]))

    def on_err(self, r):
        self.refused.add((r["s"], r["n"]))

    def on_had(self, r):
        self.had.add(self.by_origin.get((r["from"].split("/")[0], r["id"], r["c"].split("/")[0])))

    def on_kill(self, _):
        self.stat["kills"] += 1

    def on_on(self, r):
        c = r["c"]
        self.stat["connections"] += 1
        self.stat["resumed"] += r["resumed"]
        if not r["resumed"]:
            self.here[c] = set()
        self.end_connection(c)
        self.newest_here = {k: v for k, v in self.newest_here.items() if k[1] != c}

    def end_connection(self, c):
        flap, kill = self.dups.pop(c, (0, 0))
        self.stat["worst_after_flap"], self.stat["worst_after_kill"] = max(self.stat["worst_after_flap"], flap), max(self.stat["worst_after_kill"], kill)
        if flap > self.window:
            self.wrong("window", f"{c}: {flap} wire duplicates after one reconnect; at most {self.window} may have been unacked")

    def on_recv(self, r):
        c, account = r["c"], r["c"].split("/")[0]
        self.stat["received"] += 1
        key = self.by_origin.get((r["from"].split("/")[0], r["id"], account))
        if key is None:
            known = [k for (_, origin, _), k in self.by_origin.items() if origin == r["id"]]
            return self.wrong("misdirected" if known else "invented", f"{c} received {r['id']!r} from {r['from']}")
        if key[0] != r["from"]:
            self.wrong("forged", f"{c} received {key} as from {r['from']}")
        if self.sent[key]["sum"] != r["sum"]:
            self.wrong("altered", f"{c} received {key} with other content")
        sid = r["sid"]
        if self.owner.setdefault(sid, key) != key:
            self.wrong("shared", f"stanza-id {sid} is of {self.owner[sid]} and of {key}")
        if self.received.setdefault(key, sid) != sid:
            self.wrong("doubled", f"{key} came as {self.received[key]} and as {sid}")
        self.order(c, account, key, sid)

    def order(self, c, account, key, sid):
        seen, here = self.seen.setdefault(account, {}), self.here.setdefault(c, set())
        pair, local = (key[0], account), (key[0], c)
        if sid in here:
            self.wrong("again", f"{c} received {key} twice in one session")
        if sid in seen:
            self.stat["wire_duplicates"] += 1
            self.dups.setdefault(c, [0, 0])[seen[sid] != self.stat["kills"]] += 1
        else:
            if key[1] < self.newest.get(pair, -1):
                self.wrong("reordered", f"{account}: {key} came first after number {self.newest[pair]}")
            self.newest[pair] = max(key[1], self.newest.get(pair, -1))
        if key[1] < self.newest_here.get(local, -1):
            self.wrong("reordered", f"{c}: {key} after number {self.newest_here[local]} in one connection")
        self.newest_here[local] = max(key[1], self.newest_here.get(local, -1))
        seen[sid] = self.stat["kills"]
        here.add(sid)

    def end(self):
        """No more records: judges absence. Returns the breaches."""
        for c in list(self.dups):
            self.end_connection(c)
        for key in sorted(self.acked - self.refused):
            if key not in self.received and key not in self.had:
                self.wrong("lost", f"{key} to {self.sent[key]['to']} was acked and never arrived")
        for key in sorted((self.refused - self.again) & set(self.received)):
            self.wrong("refused", f"{key} was answered with an error and arrived")
        self.stat["acked"], self.stat["refused"] = len(self.acked - self.refused), len(self.refused)
        return self.breaches


def judge(lines, window=256):
    h = History(window)
    for line in lines:
        if line.strip():
            h.add(json.loads(line))
    return h.end(), h.stat


if __name__ == "__main__":
    with open(sys.argv[1]) as f:
        found, figures = judge(f, int(sys.argv[2]) if sys.argv[2:] else 256)
    print(*found, sep="\n", end="\n" if found else "")
    print(figures)
    sys.exit(1 if found else 0)
