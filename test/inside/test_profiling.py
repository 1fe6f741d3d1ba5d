#!/usr/bin/python3
"""tools/profile: what is missing or mistyped gets one sentence."""
import os, shutil, subprocess, sys, tempfile

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


if __name__ == "__main__":
    rig.main(sys.modules[__name__])
