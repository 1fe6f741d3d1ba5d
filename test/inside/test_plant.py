#!/usr/bin/python3
"""plant: planted faults (src/base/plant.h) are in the build that asks for them and in no other; their list, their places and docs/plant.md agree.

usage: [MURRE_BUILD=/abs/build] test_plant.py [test_... ...]"""
import glob, os, re, subprocess, sys, tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../interop/xmpp"))
from rig import BUILD, ROOT, main

NAMES = re.findall(r"^PLANT\((\w+),", open(ROOT + "/src/base/plant.def").read(), re.M)
CC = ["gcc", "-std=gnu17", "-Wall", "-Wextra", "-Werror", "-I" + ROOT + "/src"]


def out(*args, **more):
    return subprocess.run(args, capture_output=True, text=True, **more)


def test_every_fault_has_one_place_and_each_place_a_fault():
    "plant(NAME) stands once for each name of plant.def, and nowhere else."
    sources = "".join(open(f).read() for f in glob.glob(ROOT + "/src/**/*.c", recursive=True))
    used = set(re.findall(r"\bplant\((\w+)\)", sources))
    assert used == set(NAMES) and len(NAMES) == len(set(NAMES)) >= 20, used ^ set(NAMES)
    for name in NAMES:
        lines = [line for line in sources.split("\n") if f"plant({name})" in line]
        assert 1 <= len(lines) <= 2, (name, lines)


def test_the_document_is_the_list():
    "docs/plant.md holds the table that tools/plant prints, and every check that it names exists."
    table = out(ROOT + "/tools/plant", "--table")
    assert table.returncode == 0 and table.stdout in open(ROOT + "/docs/plant.md").read(), "docs/plant.md is not what tools/plant --table prints"
    scenarios = out(BUILD + "/murre-sim", "--list").stdout.split()
    for kind, *words in (r.rsplit("| ", 1)[1].rstrip(" |").split() for r in table.stdout.splitlines()[2:]):
        if kind == "sim":
            assert words[0] in scenarios, words
        elif kind == "unit":
            assert os.path.exists(f"{ROOT}/test/{words[0]}.c"), words
        else:
            folder = {"live": "interop/xmpp", "inside": "inside", "check": "checks"}[kind]
            text = open(f"{ROOT}/test/{folder}/{words[0]}").read()
            assert all(f"def {w}(" in text for w in words[1:]), words
    r = out(ROOT + "/tools/plant", "NO_SUCH_FAULT")
    assert r.returncode == 1 and "there is no fault NO_SUCH_FAULT" in r.stderr, r


def test_an_ordinary_build_has_nothing_of_it():
    "No symbol, no string, and of a planted branch no instruction: the object code is that of the source without it."
    for program in ("murre", "murre-sim", "murrectl"):
        assert not re.search(r"\bplant", out("nm", "--defined-only", f"{BUILD}/{program}").stdout), program
        whole = open(f"{BUILD}/{program}", "rb").read()
        for word in (b"MURRE_PLANT", b"plant_is"):
            assert word not in whole, (program, word)
    text = '#include "base/plant.h"\nint marker(int);\nint f(int x);\nint f(int x) {\n    if (%smarker(x) == 1) return 7;\n    return x + (%s1 : 2);\n}\n'
    for level in ("-O0", "-O1", "-O2"):
        with tempfile.TemporaryDirectory() as d:
            code = {}
            for kind, a, b in (("planted", f"plant({NAMES[0]}) && ", f"plant({NAMES[0]}) ? "), ("never", "0 && ", "0 ? ")):
                open(f"{d}/x.c", "w").write(text % (a, b))
                subprocess.run(CC + [level, "-c", f"{d}/x.c", "-o", f"{d}/x.o"], check=True)
                code[kind] = out("objdump", "-d", "--no-show-raw-insn", f"{d}/x.o").stdout
                assert "marker" not in out("nm", f"{d}/x.o").stdout
            assert code["planted"] == code["never"], level


def test_a_name_that_is_none_is_refused_at_start_and_one_is_in_force():
    "In a build with planted faults MURRE_PLANT names one; another name ends the process with status 2; none: none is in force."
    with tempfile.TemporaryDirectory() as d:
        show = "".join(f'    if (plant({n})) puts("{n}");\n' for n in NAMES)
        open(d + "/x.c", "w").write(f'#include "base/plant.h"\n#include <stdio.h>\nint main(void) {{\n{show}    puts("end");\n    return 0;\n}}\n')
        subprocess.run(CC + ["-DMURRE_PLANT", d + "/x.c", ROOT + "/src/base/plant.c", "-o", d + "/x"], check=True)
        clean = {k: v for k, v in os.environ.items() if k != "MURRE_PLANT"}
        for env, want in (({}, "end\n"), ({"MURRE_PLANT": ""}, "end\n"), *(({"MURRE_PLANT": n}, n + "\nend\n") for n in NAMES)):
            r = out(d + "/x", env=dict(clean, **env))
            assert (r.returncode, r.stdout) == (0, want), (env, r)
        for bad in ("nothing", NAMES[0].lower(), NAMES[0] + " ", "0"):
            r = out(d + "/x", env=dict(clean, MURRE_PLANT=bad))
            assert r.returncode == 2 and r.stdout == "" and f"there is no fault {bad}" in r.stderr, r
        bad = out(*CC, "-fsyntax-only", "-xc", "-", input='#include "base/plant.h"\nint f(void);\nint f(void) { return plant(NOT_A_FAULT); }\n')
        assert bad.returncode != 0 and "PLANT_NOT_A_FAULT" in bad.stderr, bad


if __name__ == "__main__":
    main(sys.modules[__name__])
