#!/usr/bin/python3
"""R30: everybody sends to one. An actor that is flooded keeps to its bound, whatever its policy is, is reported, and gets one batch between two
turns of its neighbours; a user who is flooded costs the server no more memory than what senders may have under way, and others chat on.
Waiting is judged by what was done meanwhile, not by the clock; how long it took is among the figures."""
import json, subprocess, sys, time

import common
from common import BUILD, Node, Recipient, Sender, World, patience, soak, verdict

BATCH = 100            # RT_BATCH: messages of one actor before the next one is run
BOUND = 20000          # of the profile's mailbox
GROWN = 16 << 10       # KiB: the mailbox, the rings' overflow, slabs; for 300,000 messages and for ten million
OUT, WINDOW, FLOODS = 128 << 10, 250, 8
SETTINGS = {"xmpp.out_max": str(OUT), "xmpp.stanza_max": "64k", "delivery.window_bytes": "32k", "log.segment_bytes": "4M", "watch.queue_long": "64"}


def flood(how):
    n = soak(300000, 10000000)
    r = subprocess.run([BUILD + "/murre-bench", "profile", "flood", "--how", how, "--size", str(n), "--rounds", "1"], capture_output=True, text=True,
                       timeout=patience(300, 3600))
    assert r.returncode == 0, r
    f = json.loads(r.stdout.splitlines()[-1])
    print(f"      {how}: messages {f['messages']:.0f}, handled {f['handled']:.0f}, refused {f['refused']:.0f}, dropped {f['dropped']:.0f}, most between turns "
          f"{f['most_between_turns']:.0f}, delay p50 {f['delay_p50_usec']:.1f} us, p99 {f['delay_p99_usec']:.1f} us, grown {f['rss_grown_kib'] / 1024:.1f} MiB", flush=True)
    assert f["messages"] >= n and f["handled"] + f["refused"] + f["dropped"] == f["messages"], f
    assert f["bound"] == BOUND and f["rss_grown_kib"] <= GROWN, f
    assert 0 < f["most_between_turns"] <= BATCH, f
    assert f["long_queue"] >= 1 and " warning long_queue " in r.stderr and " sink" in r.stderr, (f, r.stderr[-2000:])
    return f


def check_flood_of_an_actor_that_refuses():
    "Bound by refusing: what is over it goes back to its senders, and is counted."
    assert flood("refuse")["refused"] > 0


def check_flood_of_an_actor_that_drops():
    "Bound by dropping the oldest."
    assert flood("drop")["dropped"] > 0


def check_flood_of_an_actor_that_mutes():
    "Bound by muting the senders: everything is handled, and nothing is lost."
    f = flood("mute")
    assert f["handled"] == f["messages"], f


class Quiet(Sender):
    """One message at a time; counts the acks of all others between its own, and the time."""

    def __init__(self, *args, **more):
        super().__init__(*args, window=1, burst=1, **more)
        self.between, self.took_msec, self.since, self.among = [], [], None, None  # among: whether the flood goes on

    def covered(self, h):
        before, had = self.w.acks, len(self.unacked)
        super().covered(h)
        if len(self.unacked) < had:
            if self.since and self.among():
                self.between.append(before - self.since[0])
                self.took_msec.append((time.monotonic() - self.since[1]) * 1000)
            self.since = (self.w.acks, time.monotonic())


def part(values, q):
    return sorted(values)[min(len(values) - 1, int(len(values) * q))]


async def check_users_who_flood_one_user():
    "Eight users with full windows send to one; a ninth chats with somebody else: none waits for more than what is under way, memory stays, all arrives."
    each, chats = soak(1500, 60000), soak(150, 5000)
    with Node(SETTINGS) as s:
        w = World(s, common.SEED)
        victim = Recipient(w, "victim", [f"f{i}" for i in range(FLOODS)], away=False)
        friend = Recipient(w, "friend", ["quiet"], away=False)
        floods = [Sender(w, f"f{i}", [victim.account], each, window=WINDOW, burst=100) for i in range(FLOODS)]
        quiet = Quiet(w, "quiet", [friend.account], chats)
        s.users([x.user for x in floods + [quiet, victim, friend]])
        before, peak = s.rss(), [0]

        async def watch():
            while not all(f.done for f in floods):
                goal = w.acks + 200
                await w.until(lambda: w.acks >= goal or all(f.done for f in floods))
                peak[0] = max(peak[0], s.rss())
        quiet.among = lambda: not all(f.done for f in floods)
        await common.gathered(*(x.run() for x in floods + [quiet, victim, friend]), watch(), limit=patience(240, 3600))
        grown, cap = peak[0] - before, FLOODS * (2 * OUT + WINDOW * 4096) + (16 << 20)
        alerts = next((e["count"] for e in s.ctl("events") if e["event"] == "long_queue"), 0)
        verdict(w, grown_mib=f"{grown / 2**20:.1f}", cap_mib=f"{cap / 2**20:.1f}", others_p50=part(quiet.between, 0.5), others_p99=part(quiet.between, 0.99),
                chat_p50_ms=f"{part(quiet.took_msec, 0.5):.1f}", chat_p99_ms=f"{part(quiet.took_msec, 0.99):.1f}", chats=len(quiet.between), long_queue=alerts)
        assert grown <= cap, (grown, cap)
        assert quiet.between and part(quiet.between, 0.5) <= FLOODS * WINDOW, quiet.between


if __name__ == "__main__":
    common.main(sys.modules["__main__"])
