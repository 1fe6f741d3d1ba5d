#!/usr/bin/python3
"""R1, R7, R8: acked is never lost to a killed process; order holds; without a fault nothing comes twice.

Senders with origin-ids and recipients who come and go (reset, cut, close; resume, or log in again; some without stream management, some over
TLS) talk through one node, which is ended by kill -9 at random moments of the traffic and started again."""
import sys

import common
from common import Node, Recipient, Sender, World, chat, patience, soak, verdict


def people(w, n_senders, n_recipients, count, flap, resume=0.7, plain=True, away=True):
    recipients = [f"r{i}" for i in range(n_recipients)]
    senders, to = [], {r: [] for r in recipients}
    for i in range(n_senders):
        mine = w.rng(f"targets{i}").sample(recipients, min(4, n_recipients))
        for r in mine:
            to[r].append(f"s{i}")
        senders.append(Sender(w, f"s{i}", [r + "@localhost" for r in mine], count, flap / 4, tls=i % 4 == 0))
    return senders, [Recipient(w, r, to[r], sm=not plain or i % 4 > 0, flap=flap, tls=i % 4 == 1, resume=resume, away=away) for i, r in enumerate(recipients)]


def names(senders, recipients):
    return [x.user for x in senders + recipients]


async def check_kill():
    "R1, R7: kill -9 at random moments: 0 acked messages lost, 0 after de-duplication by stanza-id, 0 inversions."
    kills, count = soak(50, 2000), soak(500, 250000)
    with Node() as s:
        w = World(s, common.SEED)
        senders, recipients = people(w, soak(10, 40), soak(10, 40), count, 0.02)
        s.users(names(senders, recipients))
        total = len(senders) * count
        rng = w.rng("kills")
        moments = sorted(rng.sample(range(total * 9 // 10), kills))

        async def kill():
            for at in moments:
                await w.until(lambda: w.acks >= at or all(x.done for x in senders))
                await w.down(s.restart)
        await chat(w, senders, recipients, kill, limit=patience(120, 86400))
        verdict(w, expect_kills=kills)


async def check_clean_resumes():
    "R8, R7: without a fault, with resumptions of lost connections only: 0 wire duplicates, 0 inversions."
    with Node() as s:
        w = World(s, common.SEED)
        senders, recipients = people(w, 6, 6, soak(400, 170000), 0.02, resume=1.0, plain=False, away=False)
        s.users(names(senders, recipients))
        await chat(w, senders, recipients, limit=patience(120, 86400))
        stat = verdict(w)
        assert stat["doubled"] == 0 and stat["resumed"] > 10 and stat["faults"] == 0, stat
        assert stat["connections"] == stat["resumed"] + len(recipients), "a resumption failed"


if __name__ == "__main__":
    common.main(sys.modules["__main__"])
