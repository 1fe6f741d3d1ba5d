#!/usr/bin/python3
"""R21: people who do not read. Many at once take nothing while they are flooded: stored messages wait in the store, what is not stored is
dropped and its recipient sent away with a reason; the memory of the server grows by no more than the stated cap of each session; nothing acked is
lost. The cap of a session: xmpp.out_max for its buffers, as much for what waits for its ack (XEP-0198), and delivery.window_bytes."""
import asyncio, sys

import common
from common import LIMIT, Node, Recipient, Sender, World, patience, soak, verdict
from clients import C, Stream

OUT, WINDOW_BYTES, SLACK = 128 << 10, 32 << 10, 8 << 20  # slack: the senders' own buffers, the index of what is stored, the allocator
SETTINGS = {"xmpp.out_max": str(OUT), "xmpp.stanza_max": "64k", "delivery.window_bytes": str(WINDOW_BYTES), "xmpp.write_timeout": "1s", "xmpp.resume_timeout": "10m",
            "log.segment_bytes": "4M"}


class Slow(Recipient):
    """Logs in, then takes nothing until awake is set."""

    async def connect(self):
        await super().connect()
        if not hasattr(self, "awake"):
            self.awake, self.ready = asyncio.Event(), asyncio.Event()
            while (await self.stream.next()).tag != C + "presence":
                pass
            self.stream.w.transport.pause_reading()
            self.ready.set()
            self.w.progress()
            await self.awake.wait()
            self.stream.w.transport.resume_reading()


async def asleep(w, recipients):
    """Starts them; returns their tasks when all have stopped reading."""
    tasks = [asyncio.ensure_future(r.run()) for r in recipients]
    await asyncio.wait_for(w.until(lambda: all(hasattr(r, "ready") and r.ready.is_set() for r in recipients)), LIMIT)
    return tasks


async def check_stored_messages_spill():
    "Kept messages for many who do not read: every one acked, memory within the cap, all delivered in order when they read again."
    n, each = soak(16, 500), soak(320, 200)
    with Node(SETTINGS) as s:
        w = World(s, common.SEED)
        slow = [Slow(w, f"r{i}", ["s0", "s1"], sm=i % 2 == 0, away=False) for i in range(n)]
        targets = [r.account for r in slow]
        senders = [Sender(w, f"s{i}", targets, n * each // 2, size=(4000, 4200), window=250, burst=100) for i in range(2)]
        s.users([x.user for x in senders + slow])
        tasks = await asleep(w, slow)
        before = s.rss()
        peak = [before]

        async def watch():
            while not all(x.done for x in senders):
                goal = w.acks + 50
                await w.until(lambda: w.acks >= goal or all(x.done for x in senders))
                peak[0] = max(peak[0], s.rss())
        await common.gathered(*(x.run() for x in senders), watch(), limit=patience(120, 3600))
        grown, cap = peak[0] - before, n * (2 * OUT + WINDOW_BYTES) + SLACK
        for r in slow:
            r.awake.set()
        await common.gathered(*tasks, limit=patience(120, 3600))
        verdict(w, flood_mib=n * each * 4 >> 10, grown_mib=f"{grown / 2**20:.1f}", cap_mib=f"{cap / 2**20:.1f}")
        assert n * each * 4096 > 1.2 * cap, "the flood is too small to show anything"
        assert grown <= cap, (grown, cap)


async def check_unstored_flood_ends_the_slow_one():
    "Headlines for someone who does not read: dropped, then the slow one is disconnected with a reason; others chat on, what is kept arrives."
    with Node(SETTINGS) as s:
        w = World(s, common.SEED)
        slow = [Slow(w, "r0", ["s0"], away=False), Slow(w, "r1", ["s0"], sm=False, away=False)]
        fine = Recipient(w, "r2", ["s0"])
        s.users(["r0", "r1", "r2", "s0", "flood"])
        tasks = await asleep(w, slow) + [asyncio.ensure_future(fine.run())]
        before = s.rss()
        f = Stream()
        await f.open(w)
        await f.login("flood")
        await f.bind("f", True)
        xml = "".join(f"<message to='{r.jid}' type='headline'><body>{'y' * 16000}</body></message>" for r in slow) * 8
        sent = peak = 0
        while any(f"{r.jid}" not in told(s) for r in slow):
            f.send(xml + "<r xmlns='urn:xmpp:sm:3'/>")
            await f.flush()
            await asyncio.wait_for(f.expect("a"), LIMIT)
            sent += len(xml)
            peak = max(peak, s.rss())
            assert sent < 4 << 30, "nobody was disconnected: " + s.stderr()[-500:]
        sender = Sender(w, "s0", [r.account for r in slow + [fine]], 30)
        await asyncio.wait_for(sender.run(), LIMIT)
        for r in slow:
            r.awake.set()
        await common.gathered(*tasks, limit=LIMIT)
        grown, cap = peak - before, 2 * (2 * OUT + WINDOW_BYTES) + SLACK
        verdict(w, flood_mib=sent >> 20, grown_mib=f"{grown / 2**20:.1f}", cap_mib=f"{cap / 2**20:.1f}", reasons=[r.why for r in slow])
        assert grown <= cap, (grown, cap)
        assert all("policy-violation" in r.why or r.connections > 1 for r in slow), [r.why for r in slow]


def told(server):
    return "\n".join(line for line in server.stderr().splitlines() if "slow_client" in line)


if __name__ == "__main__":
    common.main(sys.modules["__main__"])
