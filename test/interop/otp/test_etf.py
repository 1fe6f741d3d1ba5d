#!/usr/bin/python3
"""The external term format beside a real Erlang and libei: what is written here is read there as the same term, and the other way round; the order
of terms, what a shell prints, and what is refused agree. ETF_TERMS=n for another number of terms than 20,000; ETF_SEED=n for other ones than
those of every run."""
import os, re, subprocess, sys, tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from rig import BUILD, HERE, erlang, program

TERMS, SEED = os.environ.get("ETF_TERMS", "20000"), os.environ.get("ETF_SEED", "20")


with tempfile.TemporaryDirectory(prefix="murre-test-") as d:
    peer = program(os.path.join(BUILD, "etf-peer"), d)
    run = subprocess.run([*erlang("escript"), os.path.join(HERE, "etf_oracle.escript"), peer, TERMS, SEED],
                         capture_output=True, text=True, errors="replace", env={**os.environ, "ERL_CRASH_DUMP": "/dev/null"})
print(run.stdout + run.stderr)
if not re.search(r"^\d+ passed, \d+ failed$", run.stdout, re.M):
    print("0 passed, 1 failed")
sys.exit(run.returncode)
