#!/usr/bin/python3
"""R2: acked is never lost to a power cut. A node with its clients runs on a loop-mounted ext4 image; tools/powercut copies the image at random
instants; on each copy, mounted, a node is started, everything is drained, and the history up to the cut is judged. Needs root.

    r2_power.py load DIR SEED            what tools/powercut runs: the history on standard output, "+" before acks
    r2_power.py verify DIR ACKED ALL     ACKED: what was printed at the cut; ALL: also what was printed while the image was copied"""
import asyncio, json, os, subprocess, sys

import common
from common import Node, Recipient, ROOT, Sender, World, chat, judge, patience, soak

ONLINE, OFFLINE, SENDERS = ["r0", "r1"], ["r2", "r3"], ["s0", "s1", "s2"]


async def load(directory, seed):
    os.mkdir(directory)
    with Node({"log.segment_bytes": "1M"}, data=directory) as s:
        s.users(ONLINE + OFFLINE + SENDERS)
        w = World(s, seed, out=lambda line: os.write(1, (("+" if '"e":"ack"' in line else " ") + line + "\n").encode()))
        to = [r + "@localhost" for r in ONLINE + OFFLINE]
        people = [Sender(w, x, to, 10**9, 0.01) for x in SENDERS] + [Recipient(w, x, SENDERS, flap=0.02) for x in ONLINE]
        await asyncio.gather(*(p.run() for p in people))


def read(path):
    whole = open(path).read()
    return [json.loads(line[1:]) for line in whole[: whole.rfind("\n") + 1].splitlines()]


async def verify(directory, acked, everything):
    before, every = read(acked), read(everything)
    with Node({"log.segment_bytes": "1M"}, data=directory) as s:
        if not before:
            return  # the cut came before anything was promised
        w = World(s, 1)
        # The other time line, in which the power stayed: what was received in it is not lost; its answers and its order do not count.
        after = [r if r["e"] == "send" else dict(r, e="had") for r in every[len(before):] if r["e"] in ("send", "recv")]
        w.lines = [json.dumps(r) for r in before + after]
        w.note(e="fault")
        senders = [Sender(w, x, [r + "@localhost" for r in ONLINE + OFFLINE], 0) for x in SENDERS]
        for x in senders:  # they send fences only
            x.n = x.count = 1000 + max([int(r["id"].split("-")[1]) for r in every if r["e"] == "send" and r["c"] == x.jid], default=0)
        await chat(w, senders, [Recipient(w, r, SENDERS) for r in ONLINE + OFFLINE])
        found, stat = judge(w.lines, "--unanswered")  # those whose senders the cut took away
        if found:
            print(*found[:5], stat, sep="\n")
            sys.exit(1)


def check_cuts():
    "Power cuts at random instants under load: 0 acked messages lost, order kept, and the node always starts again."
    me = ["/usr/bin/python3", os.path.abspath(__file__)]
    r = subprocess.run([ROOT + "/tools/powercut", "-n", str(soak(8, 500)), "-s", str(common.SEED), "--", *me, "load", "--", *me, "verify"],
                       capture_output=True, text=True, timeout=patience(150, 36000))
    print("      " + r.stdout.strip().replace("\n", "\n      "))
    assert r.returncode != 2, "could not be tried: " + r.stderr
    assert r.returncode == 0, r.stdout + r.stderr


if __name__ == "__main__":
    if sys.argv[1:2] == ["load"]:
        asyncio.run(load(sys.argv[2], sys.argv[3]))
    elif sys.argv[1:2] == ["verify"]:
        asyncio.run(verify(*sys.argv[2:5]))
    else:
        common.main(sys.modules["__main__"])
