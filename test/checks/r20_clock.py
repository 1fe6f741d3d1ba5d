#!/usr/bin/python3
"""R20: the wall clock may say what it likes. While people chat, CLOCK_REALTIME of the server jumps by an hour, by ten years, back, and runs at
a hundred times its rate (inject.c): no session is dropped, nothing is lost, doubled or out of order; over kill -9 and a start at another
time, too, no stanza-id is given twice. The monotonic clock is left alone."""
import sys

import common
from common import Inject, Node, Recipient, Sender, World, chat, patience, soak, verdict

HOUR, YEAR = 3600, 365 * 86400
JUMPS = [HOUR, -HOUR, 10 * YEAR, -10 * YEAR, 0, -HOUR, 5 * YEAR, 0]


async def run(restart, flap):
    s = Node({"log.segment_bytes": "1M"})
    inject = Inject(s.dir + "/data/log")
    s.env = inject.env()
    try:
        s.start()
        w = World(s, common.SEED)
        recipients = [Recipient(w, f"r{i}", [f"s{j}" for j in range(4)], sm=i > 0, flap=flap) for i in range(4)]
        senders = [Sender(w, f"s{i}", [r.account for r in recipients], 10**9) for i in range(4)]
        s.users([x.user for x in senders + recipients])
        jumps = JUMPS * soak(1, 200)

        async def more(n):
            goal = w.acks + n
            await w.until(lambda: w.acks >= goal)

        async def disturb():
            for to in jumps:
                inject.wall(to)
                if restart:
                    await w.down(s.restart)
                await more(40)
            if not restart:
                for i in range(200):  # a hundred seconds for each few messages
                    inject.wall(i * 100)
                    await more(2)
            for x in senders:
                x.count = x.n
        await chat(w, senders, recipients, disturb, limit=patience(120, 3600))
        assert not restart or "\n2036-" in s.stderr() or s.stderr().startswith("2036-"), "the clock was not moved: " + s.stderr()[:300]
        return w, recipients, verdict(w, jumps=len(jumps))
    finally:
        s.__exit__()
        inject.close()


async def check_jumps():
    "Jumps and a rate of x100 while running: no session dropped, no wire duplicate, nothing lost."
    w, recipients, stat = await run(False, 0)
    assert w.drops == 0 and stat["connections"] == len(recipients) and stat["doubled"] == 0, (w.drops, stat)


async def check_starts_at_other_times():
    "kill -9 and a start years before or after: nothing lost or doubled, no stanza-id used twice."
    await run(True, 0.02)


if __name__ == "__main__":
    common.main(sys.modules["__main__"])
