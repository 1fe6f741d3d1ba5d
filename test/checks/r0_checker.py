#!/usr/bin/python3
"""R0, of the rig: the history checker finds each breach that is planted in a clean history, and nothing in the clean one."""
import json, sys

import common
from history import judge

A, B = "a@localhost/s", "b@localhost"


def clean():
    h = [dict(e="on", c=B + "/r", resumed=False)]
    for n in range(1, 6):
        h += [dict(e="send", s=A, n=n, to=B, id=f"o{n}", sum=n), dict(e="ack", s=A, n=n)]
    return h + [recv(n) for n in range(1, 6)]


def recv(n, **more):
    return {"e": "recv", "c": B + "/r", "from": A, "id": f"o{n}", "sid": f"s{n}", "sum": n, **more}


def again(resumed, n):
    return [dict(e="on", c=B + "/r", resumed=resumed)] + [recv(i) for i in range(1, n + 1)]


PLANTED = {
    "lost": lambda h: h[:-1],
    "lost after an error": lambda h: h[:-1] + [dict(e="err", s=A, n=5), h[9], dict(e="ack", s=A, n=5)],
    "doubled": lambda h: h + again(False, 4) + [recv(5, sid="other")],
    "shared": lambda h: h[:-1] + [recv(5, sid="s1")],
    "invented": lambda h: h + [recv(9)],
    "altered": lambda h: h[:-1] + [recv(5, sum=0)],
    "forged": lambda h: h[:-1] + [recv(5, **{"from": "a@localhost/other"})],
    "misdirected": lambda h: h + [recv(5, c="c@localhost/r")],
    "refused": lambda h: h + [dict(e="err", s=A, n=5)],
    "reordered": lambda h: h[:-2] + [h[-1], h[-2]],
    "again": lambda h: h + again(True, 1),
    "window": lambda h: h + again(False, 3),
}


def check_planted_breaches_are_found():
    "Each rule of history.py is broken once, and named; what is allowed is not."
    lines = lambda h: map(json.dumps, h)
    allowed = [clean(), clean() + again(False, 2), clean() + [dict(e="kill")] + again(False, 5), clean()[:-1] + [dict(e="err", s=A, n=5)],
               clean()[:-1] + [recv(5, e="had")], clean() + [clean()[9], dict(e="err", s=A, n=5)],
               [dict(e="on", c=B + "/r", resumed=False), clean()[9], dict(e="err", s=A, n=5), clean()[9], dict(e="ack", s=A, n=5), recv(5)]]
    for h in allowed:
        found, _ = judge(lines(h), window=2)
        assert not found, found
    for rule, plant in PLANTED.items():
        found, _ = judge(lines(plant(clean())), window=2)
        assert any(f.startswith(rule.split()[0] + ":") for f in found), (rule, found)


if __name__ == "__main__":
    common.main(sys.modules["__main__"])
