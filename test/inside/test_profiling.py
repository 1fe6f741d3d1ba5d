#!/usr/bin/python3
"""tools/profile: what is missing or mistyped gets one sentence; memcheck says at which program it is, and which fail."""
import os, re, shutil, subprocess, sys, tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../interop/xmpp"))
sys.dont_write_bytecode = True
import rig
from rig import LIMIT, ROOT

TOOL = ROOT + "/tools/profile"


def said(*args, env=None):
    r = subprocess.run([TOOL, *args], capture_output=True, text=True, timeout=LIMIT, env=env)
    return r.returncode, r.stdout, r.stderr


def test_wrong_use_is_one_sentence():
    """No command, an unknown one, no argument."""
    for args in ((), ("puffin",), ("perf",), ("memcheck",)):
        status, out, err = said(*args)
        assert status == 1 and out == "" and err.startswith("profile: usage: profile ") and err.count("\n") == 1, (args, err)


def test_a_tool_that_is_not_installed_is_named_with_its_package():
    """Nothing is skipped in silence."""
    with tempfile.TemporaryDirectory() as d:
        for tool in ("mktemp", "rm"):
            os.symlink(shutil.which(tool), f"{d}/{tool}")
        for args, tool, package in ((("perf", "1"), "perf", "linux-perf"), (("memcheck", "x"), "valgrind", "valgrind"), (("live",), "valgrind", "valgrind"), (("callgrind", "parse"), "valgrind", "valgrind")):
            assert said(*args, env={"PATH": d}) == (1, "", f"profile: {tool} is not installed (Debian: {package})\n"), args


def program(d, name, text):
    path = f"{d}/{name}"
    with open(path, "w") as f:
        f.write("#!/bin/sh\n" + text + "\n")
    os.chmod(path, 0o755)
    return path


def test_memcheck_judges_each_program():
    """One that is clean, one with an error, one that does not end: all are run, each is named when it begins and ends; what is wrong comes last."""
    with tempfile.TemporaryDirectory() as d:
        program(d, "valgrind", 'while [ "${1#-}" != "$1" ]; do shift; done; exec "$@"')  # without its options: it may be missing here
        env = dict(os.environ, PATH=f"{d}:{os.environ['PATH']}")
        good, bad, stays = (program(d, *p) for p in (("good", "exit 0"), ("bad", "echo ==7== Invalid read of size 1; exit 99"), ("stays", "exec tail -f /dev/null")))
        status, out, err = said("memcheck", bad, good, env=env)
        assert status == 1 and err == "", (out, err)
        for line in (f"at     {good}", f"clean  {good}, \\d+ s", f"at     {bad}", f"FAILED {bad}: exit status 99, \\d+ s"):
            assert re.search(f"^{line}$", out, re.M), (line, out)
        assert out.endswith(f"==7== Invalid read of size 1\n--- {bad}\n1 passed, 1 failed\n"), out
        status, out, err = said("memcheck", stays, env=dict(env, TIMEOUT_="1"))
        assert status == 1 and f"FAILED {stays}: it has not ended after 1 s\n" in out and out.endswith("0 passed, 1 failed\n"), (out, err)
        assert said("memcheck", good, env=dict(env, JOBS_="1"))[0] == 0


if __name__ == "__main__":
    rig.main(sys.modules[__name__])
