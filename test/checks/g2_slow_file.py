#!/usr/bin/python3
"""G2: one slow file delays nobody else. A file of a backup, then the account database, do not come back from a write at all; those who chat
meanwhile get their messages acked and delivered, and the one job that hangs holds one thread. The verdict is what happened while the file hung,
never how long anything took."""
import asyncio, os, sys, threading

import common
import rig
from common import LIMIT, Inject, Node, Recipient, Sender, World, chat, verdict


async def held_meanwhile(w, s, inject, senders, path, cause, kind, what, acks, first):
    """Holds the file, causes a write to it, waits until it hangs, then for so many acks, and for first (an event that cause sets; or None);
    lets it go on; cause's result."""
    loop = asyncio.get_running_loop()
    await w.until(lambda: w.acks >= 20)  # all are logged in and at it
    inject.hold("call", path)
    job = loop.run_in_executor(None, cause)
    rows = await loop.run_in_executor(None, common.until, what, lambda: [r for r in s.ctl("pool") if (r["longest_run"] or "").startswith(what)])
    assert inject.held() > 0 and rows[0]["kind"] == kind, rows
    goal = w.acks + acks
    await w.until(lambda: w.acks >= goal)
    if first:
        came = loop.run_in_executor(None, first.wait, LIMIT)
        await asyncio.wait((came, job), return_when=asyncio.FIRST_COMPLETED)  # an error in cause ends the wait, too
        if job.done():
            await job
        assert await came, "what must go on meanwhile did not"
    rows = {r["kind"]: r for r in s.ctl("pool")}
    assert rows[kind]["longest_run"].startswith(what) and not job.done(), rows  # it hung all the while
    inject.hold("")
    result = await job
    for x in senders:
        x.count = x.n
    return result


async def run(path, cause, kind, what, first=None):
    inject = Inject("/tmp/murre-test-")
    try:
        with Node({"log.segment_bytes": "4M"}, inject=inject) as s:
            w = World(s, common.SEED)
            recipients = [Recipient(w, f"r{i}", [f"s{j}" for j in range(4)], away=False) for i in range(4)]
            senders = [Sender(w, f"s{i}", [r.account for r in recipients], 10**9) for i in range(4)]
            s.users([x.user for x in senders + recipients])
            out = []

            async def disturb():
                out.append(await held_meanwhile(w, s, inject, senders, path, lambda: cause(s), kind, what, 400, first))
            await chat(w, senders, recipients, disturb)
            verdict(w, held=inject.held())
            return out[0]
    finally:
        inject.close()


async def check_a_backup_that_hangs_delays_nobody():
    "The target of a backup does not take a write of the message log's copy: chat goes on; when it does, the backup is written."
    await run("/target/log", lambda s: s.ctl("backup", s.dir + "/target"), "disk", "log backup")


async def check_a_backup_that_hangs_delays_no_account():
    "The target of a backup does not take a write of the account database's copy: an account logs in and changes its roster meanwhile."
    out = []

    def cause(s):
        s.user("new@localhost")  # nobody has loaded it before it logs in; commands that change something wait for each other, so it is made first
        backup = threading.Thread(target=lambda: out.append(s.ctl("backup", s.dir + "/target")))
        backup.start()
        common.until("the copy hangs", lambda: [r for r in s.ctl("pool") if (r["longest_run"] or "").startswith("accounts backup")])
        a = rig.login(s, "new", "secret")
        a.send("<iq type='set' id='r1'><query xmlns='jabber:iq:roster'><item jid='friend@localhost' name='F'/></query></iq>")
        a.expect(r"<iq [^>]*id='r1'[^>]*type='result'|<iq [^>]*type='result'[^>]*id='r1'")
        a.close()
        b = rig.login(s, "new", "secret")  # from what was written: the first session is gone
        b.send("<iq type='get' id='r2'><query xmlns='jabber:iq:roster'/></iq>")
        b.expect(r"friend@localhost")
        b.close()
        assert not out and not os.path.exists(s.dir + "/target/format"), out  # it hung all the while
        accounts.set()
        backup.join(LIMIT)
        assert out, "the backup did not end"
        return out[0]

    accounts = threading.Event()
    await run("/target/accounts.db", cause, "disk", "accounts backup", accounts)


async def check_an_account_database_that_hangs_delays_no_chat():
    "The account database does not take a write: who is logged in chats on; when it does, the new account is there."
    await run("accounts.db-wal", lambda s: s.user("late@localhost"), "sql", "accounts")


if __name__ == "__main__":
    common.main(sys.modules["__main__"])
