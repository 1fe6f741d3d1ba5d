#!/usr/bin/python3
"""R28: out of descriptors. With RLIMIT_NOFILE 256 and everything held by connections: the listener does not spin, murrectl and those who
are logged in go on, and after the release new ones get in."""
import select, socket, statistics, sys, time

import common
from common import LIMIT, Node, rig, soak, until

LIMIT_FDS, HELD = 256, 300
TURNED, CPU_EACH = 12, 0.0125  # 5 % of the 250 ms between two looks of a paused listener


class Holders:
    """Connections that say nothing."""

    def __init__(self, port):
        self.port, self.poll, self.socks = port, select.epoll(), {}

    def add(self, n):
        for _ in range(n):
            s = socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT)
            self.socks[s.fileno()] = s
            self.poll.register(s.fileno(), select.EPOLLIN | select.EPOLLRDHUP)

    def turned_away(self, n):
        """Waits until n more were closed by the server."""
        end = time.monotonic() + LIMIT
        while n > 0:
            found = self.poll.poll(max(0, end - time.monotonic()))
            assert found, f"nobody is turned away within {LIMIT} s"
            for fd, _ in found:
                self.poll.unregister(fd)
                self.socks.pop(fd).close()
                n -= 1

    def release(self):
        for s in self.socks.values():
            s.close()
        self.socks.clear()
        self.poll.close()


def enter(server, user):
    c = rig.Raw(server.port)
    c.open()
    c.login(user, resource="r", sm=True)
    return c


def chats(c, n):
    "To oneself, with an ack: through the store and back."
    c.send(f"<message to='{c.jid}' type='chat'><body>n{n}</body></message><r xmlns='urn:xmpp:sm:3'/>")
    c.expect(rf"<body>n{n}</body>.*?<a [^>]*h='{n}'|<a [^>]*h='{n}'.*?<body>n{n}</body>")


def check_all_descriptors_held():
    "No spin (CPU below 5 % of a core, counted per attempt), murrectl answers, the logged-in chat, and a new login works after the release."
    with Node({"xmpp.auth_deadline": "10m", "log.segment_bytes": "1M"}, prefix=["prlimit", f"--nofile={LIMIT_FDS}:{LIMIT_FDS}"]) as s:
        s.users(["alice", "bob"])
        alice = enter(s, "alice")
        waits = []
        for round_ in range(soak(3, 100)):
            h = Holders(s.port)
            h.add(HELD)
            h.turned_away(1)  # it is full
            cpu = s.cpu()
            h.turned_away(TURNED)
            cpu = s.cpu() - cpu
            assert s.ctl("status")["sessions"] >= 1
            chats(alice, round_ + 1)
            start = time.monotonic()
            h.release()

            def try_bob():
                try:
                    return enter(s, "bob")
                except (AssertionError, OSError):  # turned away still
                    return None
            bob = until("the listener lets somebody in again", try_bob)
            waits.append(time.monotonic() - start)
            bob.close()
            assert cpu <= TURNED * CPU_EACH, f"{cpu:.3f} s of CPU for {TURNED} attempts"
        print(f"      cpu {cpu:.3f} s for {TURNED} attempts, new login after the release: median {statistics.median(waits):.2f} s, worst {max(waits):.2f} s")
        assert statistics.median(waits) <= 1.0, waits


if __name__ == "__main__":
    common.main(sys.modules["__main__"])
