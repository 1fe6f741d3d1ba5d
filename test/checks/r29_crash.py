#!/usr/bin/python3
"""R29: the end of one actor is not another's. Three views: the simulator's scenario "actors" (random kills of linked and monitored actors
against a model: every link and monitor fires exactly once), the unit tests of supervisors (restart, siblings' state, intensity), and a live
node whose session actors are ended by an operator in the middle of a chat. No operator's command ends an arbitrary actor."""
import asyncio, subprocess, sys, time

import common
from common import BUILD, LIMIT, Node, Recipient, Sender, World, chat, soak, verdict


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
        await chat(w, senders, recipients, kick, limit=soak(120, 3600))
        end, left = time.monotonic() + LIMIT, None
        while left != base and time.monotonic() < end:
            left = s.ctl("status")["actors"]
        verdict(w, drops=w.drops, actors_before=base, actors_after=left)
        assert w.drops > 10 and left == base, (w.drops, base, left)


if __name__ == "__main__":
    common.main(sys.modules["__main__"])
