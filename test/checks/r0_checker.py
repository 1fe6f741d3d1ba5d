#!/usr/bin/python3
"""R0, of the rig: the judge of histories finds each breach that is planted in a clean history, and nothing in the clean one; and what is no
history is refused with the number of the line."""
import json, subprocess, sys

import common
from history import Unreadable, judge

A, B = "a@localhost/s", "b@localhost"


def lines(h):
    """Each a second after the one before, unless it says when."""
    return [json.dumps({"t": i * 10**6, **r}) for i, r in enumerate(h)]


def on(resumed=False, c=B + "/r"):
    return dict(e="on", c=c, resumed=resumed)


def send(n, **more):
    return dict(e="send", c=A, id=f"o{n}", to=B, sum=n, **more)


def answer(n, e="ack"):
    return dict(e=e, c=A, id=f"o{n}")


def recv(n, **more):
    return {"e": "recv", "c": B + "/r", "from": A, "id": f"o{n}", "sid": f"s{n}", "sum": n, **more}


def clean():
    return [on()] + [r for n in range(1, 6) for r in (send(n), answer(n))] + [recv(n) for n in range(1, 6)]


def again(resumed, n):
    return [on(resumed)] + [recv(i) for i in range(1, n + 1)]


SETTLED = 10**9  # microseconds: later than a session needs to settle
PLANTED = {
    "lost": lambda h: h[:-1],
    "lost after an error": lambda h: h[:-1] + [answer(5, "err"), send(5), answer(5)],
    "unanswered": lambda h: h + [send(6), recv(6)],
    "id-changed": lambda h: h + again(False, 1) + [recv(5, sid="other")],
    "id-changed when it is sent again": lambda h: h + [send(5), on(), recv(5, sid="other")],
    "id-shared": lambda h: h[:-1] + [recv(5, sid="s1")],
    "no-id": lambda h: h[:-1] + [recv(5, sid=None)],
    "invented": lambda h: h + [recv(9)],
    "invented answer": lambda h: h + [answer(9)],
    "altered": lambda h: h[:-1] + [recv(5, sum=0)],
    "altered copy": lambda h: h + [recv(5, e="carbon", c=B + "/q", sum=0)],
    "forged": lambda h: h[:-1] + [recv(5, **{"from": "a@localhost/other"})],
    "misdirected": lambda h: h + [recv(5, c="c@localhost/r")],
    "misdirected copy": lambda h: h + [recv(5, e="carbon-sent", c=B + "/q")],
    "refused-sent": lambda h: h + [answer(5, "err")],
    "reordered": lambda h: h[:-2] + [h[-1], h[-2]],
    "reordered when it comes again": lambda h: h + [on(), recv(2), recv(1)],
    "reordered among several": lambda h: [on(c=B + "/q")] + h + [send(n, t=SETTLED) for n in (6, 7)] + [answer(n, "ack") | {"t": SETTLED} for n in (6, 7)]
    + [recv(n, t=SETTLED) for n in (7, 6)],
    "doubled": lambda h: h + again(True, 1),
    "window": lambda h: h + again(False, 3),
}
ALLOWED = [
    clean(),
    clean() + again(False, 2),
    clean() + [dict(e="fault")] + again(False, 5),
    clean()[:-1] + [answer(5, "err")],
    clean()[:-1] + [recv(5, e="had")],
    clean()[:-1] + [recv(5, e="carbon", c=B + "/q")],
    clean() + [send(5), answer(5, "err")],
    [on(), send(5), answer(5, "err"), send(5), answer(5), recv(5)],
    clean() + [send(6, once=True)],
    clean() + [send(5, t=10**10), on() | {"t": 10**10}, recv(5, sid="later", t=10**10)],  # outside the ten minutes
]
REFUSED = {
    "line 3: torn": lambda text: "\n".join(text.splitlines()[:3])[:-1],
    "line 2: \"e\" is seen": lambda text: text.replace('"send"', '"seen"', 1),
    "line 4: time goes back": lambda text: text.replace('"t": 3000000', '"t": 1'),
    "line 4097: more than 4096 clients": lambda text: "".join(line + "\n" for line in [text.splitlines()[0]] + lines([on(c=f"c{n}/r") for n in range(5000)])),
}


def check_planted_breaches_are_found():
    "Each rule of docs/history.md is broken once, and named; what is allowed is not."
    for h in ALLOWED:
        found, _ = judge(lines(h), "--window", "2")
        assert not found, (h, found)
    for rule, plant in PLANTED.items():
        found, _ = judge(lines(plant(clean())), "--window", "2")
        assert found and all(f.startswith(rule.split()[0] + ":") for f in found), (rule, found)
    found, _ = judge(lines(clean() + again(False, 1)), "--calm")
    assert [f.split(":")[0] for f in found] == ["doubled"], found
    assert not judge(lines(clean()[:-1]), "--undrained")[0]
    late = clean()[:-2] + [recv(5), send(4), answer(4), recv(4)]
    assert [f.split(":")[0] for f in judge(lines(late))[0]] == ["reordered"] and not judge(lines(late), "--refusals")[0]
    assert not judge(lines(clean() + [send(6)]), "--unanswered")[0]
    assert judge(lines([send(6)]))[0] == [f"unanswered: o6 of {A} was neither acked nor refused (line 1)"], "the line is that of the sending"
    again_sent = [on(), send(6), send(6), dict(e="fault"), on()]
    assert [f.split("(")[1] for f in judge(lines(again_sent))[0]] == ["line 2)"], "of the first"
    assert [f.split("(")[1] for f in judge(lines(again_sent + [answer(6)]))[0]] == ["line 2)"], "of a lost one too"
    found, _ = judge(lines(PLANTED["window"](clean())), "--window", "2")
    assert f"(line {len(PLANTED['window'](clean()))})" in found[0], found
    print(f"      {len(PLANTED)} breaches named, {len(ALLOWED)} clean histories passed")


def check_what_is_no_history_is_refused():
    "A torn line, an unknown event, time that goes back, too many clients: exit status 2, with the line."
    text = "".join(line + "\n" for line in lines(clean()))
    for why, spoil in REFUSED.items():
        r = subprocess.run([common.BUILD + "/murre-history", "check", "-"], input=spoil(text), capture_output=True, text=True)
        assert r.returncode == 2 and r.stderr.startswith("murre-history: standard input: " + why) and not r.stdout, (why, r)
    for args, why in ((["check", "/nowhere/file"], "murre-history: /nowhere/file: No such file"), (["check", "/"], "murre-history: /: line 1: cannot be read"),
                      (["check"], "usage:"), (["judge", "-"], "usage:"), (["check", "--window", "x", "-"], "usage:"), (["check", "a", "b"], "usage:")):
        r = subprocess.run([common.BUILD + "/murre-history", *args], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        assert r.returncode == 2 and r.stderr.startswith(why), (args, r)
    try:
        judge(["nothing"])
    except Unreadable as e:
        assert "line 1: not a JSON object" in str(e)
    else:
        raise AssertionError("it was judged")
    with open("/dev/full", "w") as full:
        r = subprocess.run([common.BUILD + "/murre-history", "check", "-"], input=text, stdout=full, stderr=subprocess.PIPE, text=True)
    assert r.returncode == 2 and "standard output" in r.stderr, r


def check_a_history_without_messages_proves_nothing():
    "Nothing was written, or only connections and faults: exit status 2 with the reason, unless --idle says that it is right so."
    for h in ([], [on()], [on(), dict(e="fault"), on(True)]):
        text = "".join(line + "\n" for line in lines(h))
        r = subprocess.run([common.BUILD + "/murre-history", "check", "-"], input=text, capture_output=True, text=True)
        why = f"murre-history: standard input: nobody sent or received anything in its {len(h)} lines, so nothing was judged; if that is right, say --idle\n"
        assert (r.returncode, r.stderr, r.stdout) == (2, why, ""), (h, r)
        assert judge(lines(h), "--idle")[1]["sent"] == 0
    assert judge(lines([answer(1)]))[0] == judge(lines([answer(1)]), "--idle")[0] != [], "an answer to nothing is a breach, and judged"


if __name__ == "__main__":
    common.main(sys.modules["__main__"])
