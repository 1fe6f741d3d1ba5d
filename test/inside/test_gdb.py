#!/usr/bin/python3
"""The gdb commands of tools/gdb, on a process, on a core, and on what is neither."""
import os, re, shutil, signal, subprocess, sys, tempfile, threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
from gdb_rig import BUILD, LIMIT, Gdb, Node, held, lock_held
import rig
from rig import until

PID = r"<0\.\d+\.\d+\.\d+>"


def field(text, pattern):
    m = re.search(pattern, text, re.M)
    assert m, f"no {pattern} in:\n{text}"
    return m


def all_looks(g):
    """Every command that asks for the whole node, on a node with two sessions: the same is true of the process and of its core."""
    text = g("murre node")
    field(text, r"^node murre at 0x\w+: up \d+ \w+, 2 shards$")
    field(text, r"^ +0 +\d+ .*\n +1 +\d+ ")
    field(text, r"^disk +4 +0 +0 +\d+ ")
    field(text, r"^svc\.part +by key +64 +6[34] +[01] +0 +0 +- +[1-9]\d* +0 +0 +0 +0$")
    text = g("murre actors")
    field(text, r"^\d+ actors: 64 part, .*\b2 c2s\b")
    assert text.count("\n") < 60, "the list is bounded"
    assert "svc.part." in text and "svc.ready." not in text, "of an actor's names the first one"
    field(g("murre actors c2s"), rf"^{PID} +c2s .*\n{PID} +c2s .*\n2 actors of class c2s")
    names = g("murre names")
    pid = field(names, rf"^svc\.part\.0 +({PID}) +part")[1]
    for word in (pid, "svc.part.0", ".".join(pid.strip("<>").split(".")[1:3])):
        text = g(f"murre actor {word}")
        field(text, rf"^{pid} part 'svc\.part\.0' 'svc\.ready\.0' at 0x")
        field(text, r"^  mailbox +0 queued .* bound 1000000: mute$")
    state = field(text, r"print (\*\(svc_part \*\) 0x\w+)")[1]
    field(g(f"print ({state}).index"), r"= 0$")
    links = g("murre links svc.part.0")
    field(links, rf"^monitors +{PID} +store_log +\d+")
    field(links, rf"^link +{PID} +sup$")
    c2s = field(g("murre actors c2s"), rf"^({PID}) +c2s")[1]
    field(g(f"murre actor {c2s}"), r"^  ports +fd \d+$")
    text = g("murre timers")
    field(text, r"^shard 0: (\d+) timers armed$")
    field(text, rf"^ *(in \d+ ms|now) +{PID} +part +0x\w+ +state\+\d+$")
    assert g("murre timers 1").startswith("shard 1: ")
    text = g("murre tables")
    field(text, r"^64 partitions: 2 accounts \(longest chain [12]\), 2 sessions, \d+ refs")
    field(text, r"^shard 0 relations +\d+ +\d+ +\d+ +\d+$")
    field(text, rf"^shared rt\.names +node +1\d\d +\d+ +\d+ +[1-8]$")
    field(text, rf"^shared edge\.guesses +{PID} +\d+ ")
    text = g("murre locks")
    unused = field(text, r"^(\d+) not shown, which nobody holds and of which no take was counted: .*\bpool 4, .*\btable (\d+)\b.*\n(\d+) locks, counting is off")
    assert text.count("\n") < 60 < int(unused[2]) < int(unused[1]) <= int(unused[3]), "stripes of tables do not hide the others"
    field(g("murre locks tables"), r"^tables +0 +tables +0 +0 +0\n1 locks of the name tables, counting is off")
    field(g("murre locks table"), r"^table +\d+ +table +0 +0 +0$")
    text = g("murre recorder 1000")
    field(text, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z outside node_start shards=2$")
    field(text, r' shard \d bind fd=\d+ text="')
    assert " enqueue " not in text and " handle " not in text, "what happens with every message is not recorded"
    assert g("murre recorder 3").count("\n") == 3
    return names


def same(text):
    """Without what a core does not have: gdb's numbers of threads, and their names."""
    return re.sub(r"\b(?:[\w-]+|thread) \((\d+)\)", r"thread (\1)", re.sub(r"thread \d+ \(LWP", "thread (LWP", text))


def every_word(g, who):
    """What each command prints of the node and of the actor who."""
    words = ["node", "actors", "actors part", "timers", "names", "tables", "locks", "locks pool", "recorder 1000", "backtrace"]
    return {w: same(g("murre " + w)) for w in words + [f"{w} {who}" for w in ("actor", "mailbox", "links")]}


def test_process():
    """Every command works on a running server with sessions, and the server goes on afterwards."""
    with Node() as n:
        n.login().chat(1)
        with Gdb("-p", n.proc.pid) as g:
            all_looks(g)
            text = g("murre backtrace")
            field(text, r"^shard 0, thread \d+ \(LWP \d+\): idle$")
            field(text, r"^  #\d+ +rt_node_step at src/rt/shard\.c:\d+\n  #\d+ +shard_main at ")
            assert g("murre backtrace 1").startswith("shard 1,")
        n.chat(2)


def test_message_at_hand():
    """In a handler: which actor is on which message, with its fields; what waits behind it, in order, the first ones only, and how many."""
    with Node({"shards": "1"}) as n:
        n.login()
        with Gdb("-p", n.proc.pid) as g:
            held(n, g, 1, 12)
            text = g("murre backtrace")
            who = field(text, rf"^shard 0, thread \d+ \(LWP \d+\): part ({PID}) handles svc_stanza$")[1]
            field(text, rf'^  message svc_stanza{{.*=".*hello 1[^0-9].*}} from {PID}')
            field(text, r"^  #0 +svc_route_on_stanza at src/svc/route\.c:\d+")
            text = g(f"murre mailbox {who}")
            queued = int(field(text, rf"^{who} part: (\d+) queued, \d+ bytes$")[1])
            assert 2 <= queued <= 11, text
            assert [m for m in re.findall(r"hello (\d+)", text)] == [str(i + 2) for i in range(queued)], text
            text = g(f"murre mailbox {who} 2")
            assert text.count("svc_stanza{") == 2 and f"... and {queued - 2} more" in text, text
            field(g("murre actors part"), rf"^pid.*\n{who} +part +{queued} ")  # the longest first
            field(g(f"murre actor {who}"), r"^  flags .*\brunning\b")
            field(g("murre node"), r"part <[^>]*> handles svc_stanza$")
            at = field(g(f"murre actor {who}"), r"^<.* at (0x\w+)$")[1]
            second = f"((rt_actor *) {at})->last->next->next->next"
            g(f"set $kept = {second}")
            g(f"set var {second} = 0")
            field(g(f"murre mailbox {who}"), r"^the list ends after 2 messages: it is corrupt$")
            g(f"set var ((rt_actor *) {at})->last->next->next->next = $kept")
        n.b.expect("<body>hello 12</body>")


def test_callback():
    """In another callback than handle: whose, and which."""
    with Node({"shards": "1"}) as n:
        with Gdb("-p", n.proc.pid) as g:
            g("break *svc_part_class.timer")
            g("continue")
            field(g("murre backtrace"), rf"^shard 0, thread \d+ \(LWP \d+\): part {PID} in its timer callback$")
            g("delete")


def test_requests_under_way():
    """What partitions wait for: how many answers, and the functions that will take them."""
    with Node({"shards": "1"}) as n:
        login = threading.Thread(target=n.login)
        with Gdb("-p", n.proc.pid) as g:
            g("break *store_keyed_class.handle")
            g.start("continue")
            g.until("Continuing")
            login.start()
            g.end()
            text = g("murre tables")
            field(text, r"^part \d+ refs +<[^>]*> +[1-9]\d* +8 +[1-8] +\d+$")
            field(text, r"^64 partitions: .* [1-9]\d* refs \(longest chain [1-9]")
            field(text, r"^refs wait for: [1-9]\d* [a-z_]+$")
            g("delete")
        login.join(LIMIT)
        n.chat(1)


def test_stuck_shard_and_core():
    """A shard that does not come back is named with its actor, its message and its stack, in the process and in its core."""
    with Node({"watch.stuck_report": "200ms", "watch.stuck_limit": "0"}) as n, tempfile.TemporaryDirectory(prefix="murre-core-") as d:
        n.login().chat(1)
        with Gdb("-p", n.proc.pid) as g:
            held(n, g, 7, 12)
            g("set {unsigned short}$pc = 0xfeeb")  # jmp to itself: the handler never ends
        n.logged("stuck")

        def stuck(g):
            text = g("murre backtrace")
            field(text, rf"^shard \d, thread \d+ \(LWP \d+\): part {PID} handles svc_stanza, STUCK for \d+ (us|ms|s)\n"
                        r"  message svc_stanza{.*hello 7.*\n  #0 +svc_route_on_stanza at ")
            assert text.count("STUCK") == 1, text
            who = field(text, rf": part ({PID}) handles svc_stanza, STUCK")[1]
            text = g(f"murre mailbox {who} 3")
            behind = [int(m) for m in re.findall(r"svc_stanza\{.*hello (\d+)", text)]
            assert behind and behind == list(range(8, 8 + len(behind))), text
            field(g("murre node"), r"^svc\.part +by key +64 +63 +1 +0 ")
            field(g("murre recorder"), r'outside stuck shard=\d usec=\d+ text="part <0')
            return every_word(g, who)

        with Gdb("-p", n.proc.pid) as g:
            said = stuck(g)
            live = all_looks(g)
            assert "Saved corefile" in g(f"gcore {d}/core", limit=120)
        n.kill()
        with Gdb(BUILD + "/murre", d + "/core") as g:
            assert stuck(g) == said, "the core has what the process has"
            assert all_looks(g) == live, "the core has the actors of the process"


def test_core_of_the_kernel():
    """The core of a server that aborts has the recorder, too: its file is not needed."""
    pattern = open("/proc/sys/kernel/core_pattern").read().strip()
    assert "/" not in pattern and "|" not in pattern, f"cores go to {pattern} here, not to the directory of the process: this cannot be tested"
    with tempfile.TemporaryDirectory(prefix="murre-core-") as d:
        with Node(prefix=["sh", "-c", f'ulimit -c unlimited && cd {d} && exec "$@"', "sh"]) as n:
            n.login().chat(1)
            n.proc.send_signal(signal.SIGABRT)
            n.proc.wait(LIMIT)
            core, = (os.path.join(d, f) for f in os.listdir(d))
            with Gdb(BUILD + "/murre", core) as g:
                all_looks(g)
                field(g("murre backtrace"), r"^  #\d+ +rt_node_step at .*\n  #\d+ +shard_main at ")
                seen = g("murre recorder")
            os.unlink(n.dir + "/data/recorder")  # the core has it, as long as the kernel writes shared mappings into cores of this process
            with Gdb(BUILD + "/murre", core) as g:
                assert g("murre recorder") == seen and len(seen.splitlines()) > 5, seen


def test_locks():
    """A lock that is held shows its holder, and who waits for it, in the process and in its core; a process that runs is not looked at."""
    with Node() as n, tempfile.TemporaryDirectory(prefix="murre-core-") as d:
        n.login().chat(1)
        with Gdb("-p", n.proc.pid, before=["non-stop on"]) as g:
            until("all threads stopped", lambda: "(running)" not in g("info threads"))
            waits = lock_held(n, g)
            g("interrupt -a")
            until("all threads stopped", lambda: "(running)" not in g("info threads"))
            live = same(g("murre locks"))
            field(g("murre locks"), r"^lock .*\npool +0 +pool +disk \(\d+\) +ctl \(\d+\) +0 ")
            assert "Saved corefile" in g(f"gcore {d}/core", limit=120)
            g("delete")
            g("continue -a &")
            one_line(g("murre locks"), "the process runs: interrupt it first")
            waits.wait(LIMIT)
        n.b.expect("<body>hello 2</body>")
        with Gdb(BUILD + "/murre", d + "/core") as g:
            assert re.sub(" +", " ", same(g("murre locks"))) == re.sub(" +", " ", live)
    with Node() as n:  # and while takes are counted
        n.ctl("locks", "on")
        n.login().chat(1)
        with Gdb("-p", n.proc.pid, before=["non-stop on"]) as g:
            until("all threads stopped", lambda: "(running)" not in g("info threads"))
            waits = lock_held(n, g)
            g("interrupt -a")
            until("all threads stopped", lambda: "(running)" not in g("info threads"))
            field(g("murre locks"), r"^pool +0 +pool +disk \(\d+\) +ctl \(\d+\) +[1-9]")
            rows = re.findall(r"^(\w+) +\d+ +\w+ +(.*?) *(\d+) +\d+ +\d+$", g("murre locks"), re.M)
            counted = [int(r[2]) for r in rows if not r[1]]
            assert len(counted) > 3 and min(counted) > 0 and counted == sorted(counted, reverse=True), rows
            text = g("murre locks pool")
            tries = [int(x) for x in re.findall(r"^pool +\d+ +pool .*?(\d+) +\d+ +\d+$", text, re.M)]
            places = [int(x) for x in re.findall(r"^src/rt/pool\.c:\d+ +(\d+) +\d+ +\d+$", text, re.M)]
            assert len(tries) == 4 and 1 < len(places) and sum(tries) == sum(places), text
            g("delete")
            g("continue -a &")
            waits.wait(LIMIT)


def test_agrees_with_murrectl():
    """Workers, shared tables, locks and their places: what murrectl says just before and just after lies on both sides of what gdb reads."""
    with Node() as n:
        n.ctl("locks", "on")
        n.login().chat(1)

        def ask():
            sums = {}
            for r in n.ctl("workers"):
                assert r["sent"] is None, r  # by key
                for f in ("workers", "begun", "handed", "expired", "refused", "lost"):
                    sums[r["pool"], f] = sums.get((r["pool"], f), 0) + r[f]
            for t in n.ctl("tables", "list"):
                sums["shared " + t["table"]] = t["entries"]
            for r in n.ctl("locks", "locations"):
                sums[r["lock"], r["location"]] = r["tries"]
            return sums

        before = ask()
        with Gdb("-p", n.proc.pid) as g:
            node, tables, locks = g("murre node"), g("murre tables"), {}
            for name in {k[0] for k in before if isinstance(k, tuple) and ":" in k[1]}:
                locks[name] = g(f"murre locks {name}")
        after = ask()
        head, row = node.split("\n")[-2:]
        workers = dict(zip(head.split()[2:], row.replace("svc.part  by key", "").split()))
        for key, least in before.items():
            if isinstance(key, str):
                is_now = field(tables, rf"^{re.escape(key)} +(?:node|{PID}) +(\d+) ")[1]
            elif ":" in key[1]:
                is_now = field(locks[key[0]], rf"^{re.escape(key[1])} +(\d+) ")[1]
            else:
                is_now = workers[key[1]]
            assert least <= int(is_now) <= after[key], (key, least, is_now, after[key])


def test_idle_workers():
    """A pool whose workers take what comes: at its first piece of work one is busy, and what was sent to it waits."""
    with Gdb("--args", BUILD + "/murre-bench", "micro", "workers") as g:
        g("break rt_workers_boot if c->mode == RT_WORKERS_IDLE")
        field(g("run", 300), "Breakpoint 1, rt_workers_boot")
        g("break work_handle")
        g("continue")
        field(g("murre node"), r"^bench +idle +8 +\d+ +[1-8] +0 +\d+ +[1-9]\d* +[1-8] +0 +0 +0 +0$")
        field(g("murre actors"), r"\b8 bench-worker\b")
        field(g("murre backtrace 0"), r": bench-worker <0\.0\.\d+\.1> handles bench_work$")
        g("kill")


def test_a_million():
    """A million actors, and a million messages in one mailbox: the first ones and the count."""
    bench = BUILD + "/murre-bench"
    assert os.path.exists(bench), f"{bench} is missing: make {os.path.basename(BUILD)}/murre-bench"
    with Gdb("--args", bench, "micro", "send") as g:
        g("break rt_node_boot if *(unsigned *)arg == 1000000")
        field(g("run"), "Breakpoint 1, rt_node_boot")
        g("break rt_send")
        g("continue")  # in boot: the actors are there, the first message is about to go
        g("up")
        g("python i, p = gdb.selected_inferior(), int(gdb.parse_and_eval('r->pid'))")
        g("python i.write_memory(p, bytes(i.read_memory(p, 12)) * 1000000)")  # all messages go to the first
        g("delete")
        g("break actor_handle")
        g("continue")
        text = g("murre mailbox <0.0.0.1>")
        field(text, r"^<0\.0\.0\.1> bench: 999999 queued, \d+ bytes\n +0  bench_token\{n=1\} from none\n")
        assert text.count("bench_token") == 20 and text.endswith("... and 999979 more"), text
        text = g("murre actors", 300)
        field(text, r"^<0\.0\.0\.1> +bench +999999 ")
        assert text.count("\n") < 60 and text.endswith("... and 999950 more\n1000000 actors: 1000000 bench"), text[-300:]
        g("kill")


def one_line(text, *words):
    assert "\n" not in text and "Traceback" not in text and "Python Exception" not in text, text
    for w in words:
        assert w in text, text


def test_wrong_arguments():
    """What an operator mistypes gets one line that says what is wrong."""
    with Node() as n:
        with Gdb("-p", n.proc.pid) as g:
            for command, says in (
                ("murre actor", "usage: murre actor PID|NAME"),
                ("murre actor <0.0.99999.1>", "<0.0.99999.1> never was"),
                ("murre actor <0.0.1.77>", "<0.0.1.77> is not alive: its slot has <0.0.1.1> now"),
                ("murre actor <0.9.1.1>", "there is no shard 9, only 2"),
                ("murre actor <7.256.1>", "another node"),
                ("murre actor nobody", "nobody is neither a pid like <0.1.2.3> nor the name of an actor"),
                ("murre mailbox svc.part.0 many", "COUNT: many is not a number"),
                ("murre mailbox svc.part.0 0", "COUNT: 0 is not a number from 1"),
                ("murre actors penguin", "no actor has the class penguin; there are: edge, "),
                ("murre timers 9", "9 is not a shard's number, 0 to 1"),
                ("murre backtrace x", "x is not a shard's number"),
                ("murre locks convoy", "no lock has the name convoy; there are: calls, ctl, "),
                ("murre puffin", "puffin"),
            ):
                one_line(g(command), says)
            one_line(g('set $murre_node = "abc"') or g("murre node"), "$murre_node is not an address")
            one_line(g("set $murre_node = 4096") or g("murre node"), "$murre_node is 0x1000, where no node is")


def test_nothing_to_look_at():
    """Without a process, before a node is there, in a process that is no murre: one line."""
    for program in ((), (BUILD + "/murre",)):
        with Gdb(*program) as g:
            one_line(g("murre node"), "no process and no core")
    with Gdb("--args", BUILD + "/murre", "version") as g:
        g("break main")
        g("run")
        one_line(g("murre actors"), "no thread has a node in its frames")
        g("kill")
    other = subprocess.Popen(["sleep", "1000"])
    try:
        with Gdb("-p", other.pid) as g:
            one_line(g("murre node"), "has no debug information on rt_node")
    finally:
        other.kill()
        other.wait()


def test_wrong_program():
    """A program without debug information, or that is not the one that runs: one line instead of nonsense."""
    with Node() as n, tempfile.TemporaryDirectory(prefix="murre-gdb-") as d:
        subprocess.run(["objcopy", "--strip-debug", BUILD + "/murre", d + "/murre"], check=True)
        with Gdb(d + "/murre", "-p", n.proc.pid) as g:
            one_line(g("murre node"), "has no debug information on rt_node")
        with Gdb(BUILD + "/murrectl", "-p", n.proc.pid) as g:
            one_line(g("murre node"), "murrectl (build id ", "is not the program that ran here")


if __name__ == "__main__":
    if not shutil.which("gdb"):
        sys.exit("FAILED: gdb is not installed\n0 passed, 1 failed")
    rig.main(sys.modules[__name__])
