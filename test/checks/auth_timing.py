#!/usr/bin/python3
"""How long a refusal takes for an account that exists (wrong password) and for one that does not: a measurement, not a gate, because a test may
not judge by time. Attempts alternate at random between known and unknown names, each name is as often used as any other, and two things are
timed: <auth/> to challenge (the look-up) and the last message to <failure/> (the proof). Prints medians, the difference with its 95 % interval
(bootstrap), and the Kolmogorov-Smirnov statistic with its p. usage: auth_timing.py [--trials N] [--names N] [--plain]"""
import argparse, base64, bisect, math, os, random, re, socket, time

from common import Node, rig

SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
PER_CONNECTION = 90  # of the 100 failures that xmpp.auth_failures_max allows at most


def b64(text):
    return base64.b64encode(text.encode()).decode()


class Guesser:
    def __init__(self, server, plain):
        self.server, self.plain, self.left = server, plain, 0

    def attempt(self, user):
        """Seconds of the look-up (0 for PLAIN) and of the verdict."""
        if self.left == 0:
            self.c = rig.Raw(self.server.port)
            self.c.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.c.open()
            self.left = PER_CONNECTION
        self.left -= 1
        c = self.c
        if self.plain:
            text = f"<auth xmlns='{SASL}' mechanism='PLAIN'>{b64(chr(0) + user + chr(0) + 'wrong-password')}</auth>"
            first = second = time.perf_counter()
        else:
            start = time.perf_counter()
            c.send(f"<auth xmlns='{SASL}' mechanism='SCRAM-SHA-256'>{b64(f'n,,n={user},r=abcdefghijklmnop')}</auth>")
            challenge = c.expect(r"<challenge[^>]*>(.*?)</challenge>")[1]
            first = time.perf_counter() - start
            nonce = re.match(r"r=([^,]*)", base64.b64decode(challenge).decode())[1]
            text = f"<response xmlns='{SASL}'>{b64(f'c=biws,r={nonce},p=' + base64.b64encode(os.urandom(32)).decode())}</response>"
            second = time.perf_counter()
        c.send(text)
        c.expect("</failure>")
        second = time.perf_counter() - second
        if self.left == 0:
            c.close()
        return (0 if self.plain else first), second


def median(sorted_values):
    return sorted_values[len(sorted_values) // 2]


def bootstrap(a, b, rng, times=400):
    """95 % interval of the difference of medians."""
    d = sorted(median(sorted(rng.choices(a, k=len(a)))) - median(sorted(rng.choices(b, k=len(b)))) for _ in range(times))
    return d[int(times * 0.025)], d[int(times * 0.975)]


def ks(a, b):
    """The largest distance of the two distributions, and the probability of one as large if they are the same (asymptotic)."""
    d = max(abs(bisect.bisect_right(a, x) / len(a) - bisect.bisect_right(b, x) / len(b)) for x in a + b)
    n = math.sqrt(len(a) * len(b) / (len(a) + len(b)))
    x = (n + 0.12 + 0.11 / n) * d
    p = 2 * sum((-1) ** (k - 1) * math.exp(-2 * (k * x) ** 2) for k in range(1, 101)) if x > 0.2 else 1.0
    return d, min(1.0, max(0.0, p))


def report(name, known, unknown, rng):
    known, unknown = sorted(known), sorted(unknown)
    low, high = bootstrap(known, unknown, rng)
    d, p = ks(known, unknown)
    print(f"{name:9} known {median(known) * 1e6:7.1f} us, unknown {median(unknown) * 1e6:7.1f} us, difference "
          f"{(median(known) - median(unknown)) * 1e6:+6.2f} us (95 %: {low * 1e6:+.2f} to {high * 1e6:+.2f}), KS {d:.4f}, p {p:.3f}")


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--trials", type=int, default=10000, help="attempts, of both kinds together")
    p.add_argument("--names", type=int, default=100, help="known names, and as many unknown ones")
    p.add_argument("--plain", action="store_true", help="PLAIN instead of SCRAM-SHA-256")
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    rng = random.Random(a.seed)
    off = {"auth.account_failures": "0", "auth.address_failures": "0", "auth.slow_failures": "0", "xmpp.auth_failures_max": "100"}
    with Node({**off, "xmpp.auth_deadline": "10m", "sasl.mechanisms": "SCRAM-SHA-256,PLAIN"}) as s:
        names = [f"user{i:05}" for i in range(2 * a.names)]
        rng.shuffle(names)
        known = set(names[: a.names])
        s.users(sorted(known))
        g, times = Guesser(s, a.plain), {True: ([], []), False: ([], [])}
        order = []
        while len(order) < a.trials + 2 * len(names):  # the first two of each name are not counted
            block = names[:]
            rng.shuffle(block)
            order += block
        for i, user in enumerate(order):
            first, second = g.attempt(user)
            if i >= 2 * len(names):
                times[user in known][0].append(first)
                times[user in known][1].append(second)
        print(f"{'PLAIN' if a.plain else 'SCRAM-SHA-256'}, {len(order) - 2 * len(names)} attempts at {a.names} known and {a.names} unknown names")
        if not a.plain:
            report("challenge", times[True][0], times[False][0], rng)
        report("verdict", times[True][1], times[False][1], rng)


if __name__ == "__main__":
    main()
