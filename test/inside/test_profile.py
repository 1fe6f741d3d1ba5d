"""The healthy profile and the three bad ones (murre-bench profile), told apart from the msacc table alone, by the rules of docs/inside.md as an
operator would apply them; on a machine that is quiet and on one that is busy with something else."""
import os, re, signal, subprocess, sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from profiles import BENCH, Profile
from rig import LIMIT, main

PROFILES = {"healthy": 200, "starved": 12, "hot-mailbox": 40, "slow-pool": 200}  # and rounds of work that the table is of


def rows(table):
    """{thread: {state: per cent}}, {type: {state: per cent}} of what msacc print threads shows."""
    lines = table.splitlines()
    head = next(i for i, l in enumerate(lines) if l.split()[:1] == ["Thread"])
    states, found, into = lines[head].split()[1:], ({}, {}), None
    for line in lines[head + 1:]:
        into = {"Stats per thread:": 0, "Stats per type:": 1}.get(line, into)
        m = re.match(r"^ *(\S.*?) +((?:[\d.]+% *)+)$", line)
        if m:
            found[into][m[1]] = dict(zip(states, (float(x) for x in re.findall(r"[\d.]+", m[2]))))
    return found


def verdict(table):
    """The four rules, in this order; the first that fits."""
    threads, types = rows(table)
    awake = {name: 100 - row["sleep"] for name, row in threads.items() if name.startswith("shard(")}
    pools = {name: 100 - row["sleep"] for name, row in types.items() if name.startswith("pool ")}
    if max(pools.values()) >= 75 and max(awake.values()) < 25:
        return "slow-pool"
    if max(awake.values()) >= 75 and min(awake.values()) < max(awake.values()) / 2:
        return "hot-mailbox"
    if max(awake.values()) < 5 and max(pools.values()) < 25:
        return "starved"
    return "healthy"


def table_of(name):
    r = subprocess.run([BENCH, "profile", name, "--rounds", str(PROFILES[name])], capture_output=True, text=True, timeout=4 * LIMIT)
    assert r.returncode == 0, (name, r.stdout, r.stderr[-2000:])
    return r.stdout


def shape(table):
    """The shards' row, for who reads the test's output."""
    return ", ".join(f"{s} {v}" for s, v in rows(table)[1]["shard"].items() if v >= 0.5)


def told_apart():
    for name in PROFILES:
        table = table_of(name)
        print(f"       {name}: {shape(table)}")
        assert verdict(table) == name, table
        if name == "healthy":  # F3: asleep 62 %, emulator 15 %; a thread that waits for a CPU stays in the state that it is in
            s = rows(table)[1]["shard"]
            assert 50 <= s["sleep"] <= 95 and 2 <= s["emulator"] <= 40, table


def test_the_four_are_told_apart_from_the_table_alone():
    "F3, F4: healthy has shards 62 % asleep and emulator 15 %; starved, hot mailbox and slow pool have each a table of their own."
    told_apart()


def test_a_busy_machine_changes_no_verdict():
    "The same with twice as many processes that burn as there are CPUs."
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * os.cpu_count())]
    try:
        told_apart()
    finally:
        for b in burners:
            b.kill()
            b.wait()


def test_the_table_is_the_one_of_murrectl():
    "murrectl msacc print threads of a running profile has the same layout, and the same verdict; it ends by a signal with its own table."
    with Profile("slow-pool") as p:
        live = p.ctl("msacc", "print", "threads", raw=True)
        assert verdict(live) == "slow-pool", live
        final = p.end(signal.SIGINT)
    assert verdict(final) == "slow-pool", final
    assert [l.split("%")[0].rsplit(" ", 1)[0].strip() for l in live.splitlines()[3:]] == [l.split("%")[0].rsplit(" ", 1)[0].strip() for l in final.splitlines()[6:]]


def refused(*words):
    r = subprocess.run([BENCH, "profile", *words], capture_output=True, text=True, timeout=LIMIT)
    assert r.returncode == 1 and not r.stdout, (words, r)
    return r.stderr


def test_wrong_use_of_profile_is_answered():
    "No name, an unknown name, an unknown option, a variant that there is not, a directory that there is not."
    assert "usage: murre-bench profile" in refused() and "  healthy " in refused()
    assert "there is no profile 'sick'" in refused("sick")
    assert "unknown argument '--cold'" in refused("healthy", "--cold")
    assert "--shards wants a number from 1 to 64" in refused("healthy", "--shards", "0")
    assert "--how of stuck is loop|lock|call, not 'sleep'" in refused("stuck", "--how", "sleep")
    assert "healthy has no --how" in refused("healthy", "--how", "x")
    assert "no directory: /nonexistent: No such file or directory" in refused("starved", "--dir", "/nonexistent")
    assert f"no directory: {BENCH}: Not a directory" in refused("starved", "--dir", BENCH)
    assert "the path is too long" in refused("starved", "--dir", "/tmp/" + "x" * 600).replace("its path", "the path")


def test_a_profile_leaves_nothing_behind():
    "Its directory is gone when it ends, whether its load is stuck or not."
    for name, how in (("healthy", []), ("stuck", ["--how", "loop"]), ("stuck", ["--how", "lock"]), ("stuck", ["--how", "call"])):
        with Profile(name, *how, *(["--size", "10"] if how else [])) as p:
            p.end(signal.SIGTERM)
        assert not os.path.exists(p.dir), os.listdir(p.dir)


if __name__ == "__main__":
    main(sys.modules["__main__"])
