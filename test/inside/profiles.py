"""profiles: a murre-bench profile as a child of a test, asked with murrectl."""
import json, os, re, select, signal, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../interop/xmpp"))
sys.dont_write_bytecode = True
from rig import BUILD, LIMIT

BENCH, CTL = BUILD + "/murre-bench", BUILD + "/murrectl"


class Profile:
    """`with Profile("stuck", "--how", "lock") as p`: ready to be looked at."""

    def __init__(self, name, *words):
        self.log = tempfile.TemporaryFile("w+")
        self.proc = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", BENCH, "profile", name, *words], stdout=subprocess.PIPE, stderr=self.log)
        self.out, end = "", time.monotonic() + 2 * LIMIT
        while "\nready\n" not in self.out:
            left = end - time.monotonic()
            assert left > 0 and select.select([self.proc.stdout], [], [], left)[0], f"{name} does not become ready: {self.out}{self.stderr()}"
            piece = os.read(self.proc.stdout.fileno(), 65536)
            assert piece, f"{name} ended: {self.out}{self.stderr()}"
            self.out += piece.decode()
        self.sock = re.search(r"^ctl (.*)$", self.out, re.M)[1]
        self.dir = os.path.dirname(self.sock)

    def stderr(self):
        self.log.seek(0)
        return self.log.read()

    def run(self, *words):
        return subprocess.run([CTL, "--socket", self.sock, *words], capture_output=True, text=True, timeout=2 * LIMIT)

    def ctl(self, *words, raw=False):
        """What murrectl answers: the result, or as it is printed."""
        r = self.run(*([] if raw else ["--json"]), *words)
        assert r.returncode == 0, (words, r)
        return r.stdout if raw else json.loads(r.stdout)["result"]

    def end(self, sig=signal.SIGINT):
        """Ends it; returns what it has printed, its table last."""
        self.proc.send_signal(sig)
        rest, _ = self.proc.communicate(timeout=2 * LIMIT)
        assert self.proc.returncode == 0, self.stderr()
        return self.out + rest.decode()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            if self.proc.poll() is None:
                self.end()
        except BaseException:
            self.proc.kill()
            self.proc.wait()
            if not kind:
                raise
        finally:
            self.proc.stdout.close()
            self.log.close()


def row(rows, **fields):
    """The row with these values."""
    found = [r for r in rows if all(r[k] == v for k, v in fields.items())]
    assert found, (fields, rows)
    return found[0]
