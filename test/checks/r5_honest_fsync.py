#!/usr/bin/python3
"""R5: a failing disk is never taken for a good one.

The nth fsync, fdatasync, pwrite or fallocate on the message log (or the account database) of a server under load returns EIO, ENOSPC or writes
half (inject.c). After EIO the process ends within a second; after ENOSPC senders are answered with an error and service goes on by itself; a
short write is completed. A failed sync also loses what it should have synced, so an ack for it shows as a lost message."""
import asyncio, errno, statistics, sys, time

import common
from common import Inject, LIMIT, Node, Recipient, Sender, World, chat, judge, patience, soak, verdict

SYNC = ("fsync", "fdatasync")


def cases():
    nths = list(soak((1, 2, 7), range(1, 120)))
    for nth in nths:
        yield SYNC, nth, errno.EIO, True
        yield ("pwrite",), nth, errno.EIO, True
        yield ("pwrite",), nth, 0, False
    for nth in nths[: soak(1, 40)]:
        yield SYNC, nth, errno.ENOSPC, None
        yield ("pwrite",), nth, errno.ENOSPC, None
        yield ("fallocate",), 1, errno.ENOSPC, None


async def one(w, inject, took, ops, nth, error, ends):
    """ends: must the process end? None: it may, or answer with an error."""
    loop, s = asyncio.get_running_loop(), w.server
    inject.arm(ops, nth, error)
    ended = loop.run_in_executor(None, lambda: (s.proc.wait(), time.monotonic()))
    what = f"{ops[-1]} {nth} -> {errno.errorcode.get(error, 'short')}"
    await w.until(lambda: inject.fired() or ended.done())
    if ends:
        status, at = await asyncio.wait_for(ended, LIMIT)
        took.append(at - inject.fired())
        assert status != 0, f"{what}: exit status 0"
    else:
        good = w.good  # of these, some were durable before
        await w.until(lambda: ended.done() or w.good >= good + 150)
        assert not ended.done() or ends is None, f"{what}: the server ended: {s.stderr()[-500:]}"
    inject.disarm()
    if ended.done():
        await w.down(lambda: (s.proc.stdout.close(), s.start()))
    else:
        good = w.good
        await w.until(lambda: w.good >= good + 10)  # it has recovered by itself


async def check_message_log():
    "No ack for a batch whose write or sync failed; the process ends within 1 s of EIO; ENOSPC is answered and passes; R1's rules hold."
    s = Node({"log.segment_bytes": "1M"})
    inject = Inject(s.dir + "/data/log")
    s.env = inject.env()
    took = []
    try:
        s.start()
        w = World(s, common.SEED)
        recipients = [Recipient(w, f"r{i}", [f"s{j}" for j in range(3)], flap=0.005) for i in range(3)]
        senders = [Sender(w, f"s{i}", [r.account for r in recipients], 10**9, size=(100, 1500)) for i in range(3)]
        s.users([x.user for x in senders + recipients])
        n = 0

        async def disturb():
            nonlocal n
            await w.until(lambda: w.good >= 20)
            for case in cases():
                await one(w, inject, took, *case)
                n += 1
            for x in senders:
                x.count = x.n
        await chat(w, senders, recipients, disturb, limit=patience(120, 3600))
        stat = verdict(w, cases=n, exits=len(took), exit_median=f"{statistics.median(took):.3f} s", exit_worst=f"{max(took):.3f} s")
        assert stat["refused"] > 0, "ENOSPC was never answered with an error"
        assert statistics.median(took) <= 1.0, took  # the median: a busy machine may hold one of them up
    finally:
        s.__exit__()
        inject.close()


async def check_the_check():
    "A disk that says OK and loses is found out: the history shows acked messages as lost (so the case above can fail)."
    s = Node()
    inject = Inject(s.dir + "/data/log")
    s.env = inject.env()
    try:
        s.start()
        s.users(["s0", "s1", "r0"])
        w = World(s, common.SEED)
        sender = Sender(w, "s0", ["r0@localhost"], 20)
        inject.arm(SYNC, 1, 0, sticky=True)
        await asyncio.wait_for(sender.run(), LIMIT)
        assert inject.fired()
        inject.disarm()
        await w.down(s.restart)
        await chat(w, [Sender(w, "s1", ["r0@localhost"], 1)], [Recipient(w, "r0", ["s1"])])
        found, stat = judge(w.lines)
        assert any(f.startswith("lost") for f in found), stat
    finally:
        s.__exit__()
        inject.close()


def check_start():
    "A disk that fails while the server starts: it ends with a status, or serves; and the next start is clean."
    s = Node()
    inject = Inject(s.dir + "/data")
    s.env = inject.env()
    try:
        s.start(), s.kill()
        for nth in soak((1, 2, 3), range(1, 40)):
            for ops in (SYNC, ("pwrite",)):
                inject.arm(ops, nth, errno.EIO)
                try:
                    s.start()
                    s.kill()
                except AssertionError:
                    assert s.proc.wait(LIMIT) != 0, "exit status 0"
                inject.disarm()
                s.start(), s.kill()
    finally:
        s.__exit__()
        inject.close()


def check_accounts():
    "The account database: a user whose adding was answered with success is there after kill -9, whatever write or sync failed."
    s = Node()
    inject = Inject(s.dir + "/data/accounts.db")
    s.env = inject.env()
    added, failed = [], 0
    try:
        s.start()
        for nth in soak((1, 2, 3, 4), range(1, 60)):
            for ops in (SYNC, ("pwrite",)):
                name = f"u{nth}{ops[0]}@localhost"
                inject.arm(ops, nth, errno.EIO)
                r = s.ctl("user", "add", name, input="secret\n", check=False)
                inject.disarm()
                if r.returncode == 0:
                    added.append(name)
                else:
                    failed += 1
                if s.proc.poll() is None:
                    s.kill()
                s.start()
                have = s.ctl("user", "list")
                assert set(added) <= set(have), (name, r.stdout, set(added) - set(have), s.stderr()[-500:])
        print(f"      answered with success {len(added)}, with an error {failed}")
        assert failed > 0
    finally:
        s.__exit__()
        inject.close()


if __name__ == "__main__":
    common.main(sys.modules["__main__"])
