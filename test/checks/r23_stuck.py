#!/usr/bin/python3
"""R23: a worker that is stuck is reported with its stack within twice the threshold, others go on, and nobody is reported who works. A thread of
the pool is blocked in a call, in a loop and in a lock (inject.c) in a job for the account database. That pools of workers route round one who is
stuck, and drop and count what comes too late for it, is in the unit tests and the simulator, where it can be caused."""
import asyncio, re, subprocess, sys

import common
from common import BUILD, Inject, Node, Recipient, Sender, World, chat, soak, until, verdict

THRESHOLD_MSEC = 400
REPORT = re.compile(r" job_stuck kind=(\d+) usec=(\d+) (\S+) (.*?), key \d+, for (<[\d.]+>): (.*)")


def reports(s):
    return [m.groups() for m in map(REPORT.search, s.stderr().splitlines()) if m]


def count(s, event):
    return sum(e["count"] for e in s.ctl("events") if e["event"] == event)


async def stuck_in(how):
    inject = Inject("/tmp/murre-test-")
    try:
        with Node({"watch.job_stuck": f"{THRESHOLD_MSEC}ms", "watch.stuck_report": "30s"}, inject=inject) as s:
            w, loop = World(s, common.SEED), asyncio.get_running_loop()
            recipients = [Recipient(w, f"r{i}", ["s0", "s1"], away=False) for i in range(2)]
            senders = [Sender(w, f"s{i}", [r.account for r in recipients], 10**9) for i in range(2)]
            s.users([x.user for x in senders + recipients])

            def blocked():
                "The reports of this job; a sync of the disk that takes long may be reported too, and rightly."
                return [r for r in reports(s) if "inject_holds_" in r[5]]

            async def disturb():
                await w.until(lambda: w.acks >= 20)
                inject.hold(how, "accounts.db-wal")
                job = loop.run_in_executor(None, s.user, "late@localhost")
                found = await loop.run_in_executor(None, until, "a report", blocked)
                goal = w.acks + 100
                await w.until(lambda: w.acks >= goal)  # others go on
                row = next(r for r in s.ctl("pool") if r["kind"] == "sql")
                assert row["stuck"] == 1 and row["running"] == 1 and not job.done(), row
                assert len(blocked()) == 1, blocked()  # once
                inject.hold("")
                await job
                await loop.run_in_executor(None, until, "its end", lambda: count(s, "job_unstuck") > 0)
                for x in senders:
                    x.count = x.n
                kind, usec, _, what, _, stack = found[0]
                assert what == "accounts" and f"inject_holds_{how}+" in stack, found
                assert THRESHOLD_MSEC * 1000 <= int(usec) <= 2 * THRESHOLD_MSEC * 1000, found  # of time that the watchdog saw pass
            await chat(w, senders, recipients, disturb)
            verdict(w, blocked_in=how, reported=len(blocked()))
    finally:
        inject.close()


async def check_blocked_in_a_call():
    "A thread that waits in the system, as for a disk that does not answer."
    await stuck_in("call")


async def check_blocked_in_a_loop():
    "A thread that burns its CPU."
    await stuck_in("loop")


async def check_blocked_in_a_lock():
    "A thread that waits for a lock that nobody gives back."
    await stuck_in("lock")


async def check_nobody_is_reported_who_works():
    "A busy chat: no shard, job or worker is reported, though each is looked at many times."
    with Node({"watch.job_stuck": "20s", "watch.stuck_report": "20s"}) as s:  # what a busy machine may keep from running for
        w = World(s, common.SEED)
        recipients = [Recipient(w, f"r{i}", [f"s{j}" for j in range(4)]) for i in range(4)]
        senders = [Sender(w, f"s{i}", [r.account for r in recipients], soak(1500, 2000000)) for i in range(4)]
        s.users([x.user for x in senders + recipients])
        await chat(w, senders, recipients, limit=common.patience(120, 86400))
        found = {e: count(s, e) for e in ("stuck", "job_stuck", "worker_stuck")}
        verdict(w, **found)
        assert not any(found.values()), found


def check_pools_of_workers_route_round_and_count():
    "Unit tests: a stuck worker gets nothing and is reported within twice the threshold; what is too late is dropped and counted."
    for t in ("workers_test", "watchdog_test"):
        r = subprocess.run([f"{BUILD}/test/rt/{t}"], capture_output=True, text=True)
        assert r.returncode == 0, r.stdout + r.stderr


if __name__ == "__main__":
    common.main(sys.modules["__main__"])
