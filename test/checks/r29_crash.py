#!/usr/bin/python3
"""R29: the end of one actor is not another's. Four views: the simulator's scenario "actors" (random kills of linked and monitored actors
against a model: every link and monitor fires exactly once), the unit tests of supervisors (restart, siblings' state, intensity), and two live
nodes in the middle of a chat: one whose sessions are kicked, and one whose actors of every class are killed by `murrectl actor kill`."""
import asyncio, collections, subprocess, sys, time

import common
from common import BUILD, LIMIT, Node, Recipient, Sender, World, chat, patience, soak, until, verdict


def check_random_kills_in_the_simulator():
    "Links and monitors fire exactly once, timers and jobs come home, whatever dies."
    r = subprocess.run([BUILD + "/murre-sim", "--scenario", "actors", "--seed", str(common.SEED), "--seeds", str(soak(15, 20000))],
                       capture_output=True, text=True)
    print("      " + r.stdout.strip().splitlines()[-1][:200])
    assert r.returncode == 0, r.stdout[-2000:] + r.stderr


def check_supervisors():
    "Restart, restart intensity, siblings' state: the unit tests of supervisors and actors."
    for t in ("sup_test", "actor_test"):
        r = subprocess.run([f"{BUILD}/test/rt/{t}"], capture_output=True, text=True)
        assert r.returncode == 0, r.stdout + r.stderr


async def check_kicked_sessions():
    "Session actors ended at random in mid-chat: R1's rules hold for all, and no actor is left over."
    with Node({"xmpp.resume_timeout": "0s"}) as s:
        w = World(s, common.SEED)
        recipients = [Recipient(w, f"r{i}", [f"s{j}" for j in range(4)]) for i in range(4)]
        senders = [Sender(w, f"s{i}", [r.account for r in recipients], 10**9) for i in range(4)]
        users = [x.user for x in senders + recipients]
        s.users(users)
        base, rng, loop = s.ctl("status")["actors"], w.rng("kicks"), asyncio.get_running_loop()

        async def kick():
            for _ in range(soak(40, 20000)):
                goal = w.acks + rng.randint(1, 20)
                await w.until(lambda: w.acks >= goal)
                await loop.run_in_executor(None, lambda: s.ctl("kick", rng.choice(users) + "@localhost", check=False))
            for x in senders:
                x.count = x.n
        await chat(w, senders, recipients, kick, limit=patience(120, 3600))
        end, left = time.monotonic() + LIMIT, None
        while left != base and time.monotonic() < end:
            left = s.ctl("status")["actors"]
        verdict(w, drops=w.drops, actors_before=base, actors_after=left)
        assert w.drops > 10 and left == base, (w.drops, base, left)


OK, REFUSED, CUT_SHORT = 0, 65, 74  # exit statuses of murrectl


class House:
    """The actors of a node that are always there; sessions come and go."""

    STORES, RESTARTS, PERIOD = ("store_log", "store_keyed"), 5, 11  # what their supervisor allows (compose.c), and a second

    def __init__(self, server):
        self.s, self.store_kills = server, collections.deque()
        self.whole = self.count()

    def rows(self):
        return self.s.ctl("actors", "100000")

    def count(self):
        """How many of each class, and which names."""
        return collections.Counter((r["class"], r["name"]) for r in self.rows() if r["class"] != "c2s")

    def pick(self, rng):
        """An actor to be killed: any class is as likely as another, but no more of the stores than their supervisor may restart."""
        rows, now = self.rows(), time.monotonic()
        while self.store_kills and self.store_kills[0] + self.PERIOD < now:
            self.store_kills.popleft()
        classes = sorted({r["class"] for r in rows} - set(self.STORES if len(self.store_kills) == self.RESTARTS else ()))
        cls = rng.choice(classes)
        return rng.choice([r for r in rows if r["class"] == cls])

    def kill(self, r):
        """True: it was alive. The answer of a node that ends by it may be cut short."""
        if r["class"] in self.STORES:
            self.store_kills.append(time.monotonic())
        status = self.s.ctl("actor", "kill", r["pid"], r["class"], check=False).returncode
        assert status in (OK, REFUSED) or (status == CUT_SHORT and r["class"] == "sup"), status
        return status != REFUSED

    def mended(self):
        until(lambda: f"all are there: missing {self.whole - self.count()}, too many {self.count() - self.whole}", lambda: self.count() == self.whole)


async def check_killed_actors():
    """Actors of every class killed at random in mid-chat: R1's rules hold, everything that is killed comes back and serves all, by itself;
    the end of a supervisor at the top, which nobody can start again, is the end of the node, with a reason and a status."""
    with Node({"svc.partitions": "8"}) as s:
        w, loop, killed = World(s, common.SEED), asyncio.get_running_loop(), collections.Counter()
        recipients = [Recipient(w, f"r{i}", [f"s{j}" for j in range(4)], sm=i > 0, flap=0.01) for i in range(4)]
        senders = [Sender(w, f"s{i}", [r.account for r in recipients], 10**9, 0.002) for i in range(4)]
        s.users([x.user for x in senders + recipients])
        house, rng = House(s), w.rng("actors")

        async def ended():
            status = await loop.run_in_executor(None, lambda: s.proc.wait(LIMIT))
            assert status not in (0, -9) and "the supervisor of" in s.stderr()[-4000:], status
            await w.down(lambda: (s.proc.stdout.close(), s.start()))

        async def one():
            goal = w.acks + rng.randint(1, 60)
            await w.until(lambda: w.acks >= goal)
            r = await loop.run_in_executor(None, lambda: house.pick(rng))
            w.note(e="fault")
            if not await loop.run_in_executor(None, lambda: house.kill(r)):
                return
            killed[r["class"]] += 1
            try:
                if r["class"] == "sup":
                    await ended()
                await loop.run_in_executor(None, house.mended)
                done = {x: x.n - len(x.unacked) for x in senders}
                await asyncio.wait_for(w.until(lambda: all(x.n - len(x.unacked) > done[x] for x in senders)), LIMIT)
            except (AssertionError, asyncio.TimeoutError, subprocess.TimeoutExpired) as e:
                stuck = {x.user: (x.n - len(x.unacked) - done[x], x.why) for x in senders} if "done" in locals() else ""
                raise AssertionError(f"after the end of {r['class']} {r['name']} {r['pid']}: {e!r} {stuck}; {dict(killed)}; {s.stderr()[-1500:]}")

        async def disturb():
            for _ in range(soak(60, 6000)):
                await one()
            for x in senders:
                x.count = x.n
        await chat(w, senders, recipients, disturb, limit=patience(240, 7200))
        verdict(w, drops=w.drops, killed=dict(sorted(killed.items())))
        assert len(killed) >= 6, killed


if __name__ == "__main__":
    common.main(sys.modules["__main__"])
