#!/usr/bin/python3
"""G2: one slow file delays nobody else. A file of a backup, then the account database, do not come back from a write at all; those who chat
meanwhile get their messages acked and delivered, and the one job that hangs holds one thread. The verdict is what happened while the file hung,
never how long anything took."""
import asyncio, sys, time

import common
from common import LIMIT, Inject, Node, Recipient, Sender, World, chat, verdict


async def held_meanwhile(w, s, inject, senders, path, cause, kind, what, acks):
    """Holds the file, causes a write to it, waits until it hangs, then for so many acks; lets it go on; cause's result."""
    loop = asyncio.get_running_loop()
    await w.until(lambda: w.acks >= 20)  # all are logged in and at it
    inject.hold("call", path)
    job = loop.run_in_executor(None, cause)
    rows = await loop.run_in_executor(None, common.poll, what, lambda: [r for r in s.ctl("pool") if (r["longest_run"] or "").startswith(what)])
    assert inject.held() > 0 and rows[0]["kind"] == kind, rows
    goal = w.acks + acks
    await w.until(lambda: w.acks >= goal)
    rows = {r["kind"]: r for r in s.ctl("pool")}
    assert rows[kind]["longest_run"].startswith(what) and not job.done(), rows  # it hung all the while
    inject.hold("")
    result = await job
    for x in senders:
        x.count = x.n
    return result


async def run(path, cause, kind, what):
    inject = Inject("/tmp/murre-test-")
    try:
        with Node({"log.segment_bytes": "4M"}, inject=inject) as s:
            w = World(s, common.SEED)
            recipients = [Recipient(w, f"r{i}", [f"s{j}" for j in range(4)], away=False) for i in range(4)]
            senders = [Sender(w, f"s{i}", [r.account for r in recipients], 10**9) for i in range(4)]
            s.users([x.user for x in senders + recipients])
            out = []

            async def disturb():
                out.append(await held_meanwhile(w, s, inject, senders, path, lambda: cause(s), kind, what, 400))
            await chat(w, senders, recipients, disturb)
            verdict(w, held=inject.held())
            return out[0]
    finally:
        inject.close()


async def check_a_backup_that_hangs_delays_nobody():
    "The target of a backup does not take a write of the message log's copy: chat goes on; when it does, the backup is written."
    await run("/target/log", lambda s: s.ctl("backup", s.dir + "/target"), "disk", "log backup")


async def check_an_account_database_that_hangs_delays_no_chat():
    "The account database does not take a write: who is logged in chats on; when it does, the new account is there."
    await run("accounts.db-wal", lambda s: s.user("late@localhost"), "sql", "accounts")


if __name__ == "__main__":
    common.main(sys.modules["__main__"])
