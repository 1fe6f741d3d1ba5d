"""history: has what clients saw judged by build/murre-history (docs/history.md): writes their lines to it, reads breaches and figures."""
import os, subprocess

BUILD = os.environ.get("MURRE_BUILD") or os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../build")


class Unreadable(Exception):
    """The lines are no history: the mistake is in the check that wrote them."""


def judge(lines, *options):
    """Returns the breaches, each "name: who and what (line n)", and the figures by name."""
    r = subprocess.run([BUILD + "/murre-history", "check", "--max", "0", *options, "-"], input="".join(line + "\n" for line in lines), capture_output=True, text=True)
    if r.returncode not in (0, 1):
        raise Unreadable(f"exit status {r.returncode}: {r.stderr.strip()}")
    *breaches, figures = r.stdout.splitlines()
    stat = {k: int(v) for k, v in (f.split(" ") for f in figures.split(", "))}
    assert (r.returncode == 1) == bool(breaches) and stat["breaches"] == len(breaches), r.stdout
    return breaches, stat
