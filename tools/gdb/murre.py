"""murre: commands for gdb under one prefix: `source tools/gdb/murre.py`, then `help murre`. They look at a process that gdb is attached to and at
a core alike, change nothing and call nothing in it. Every list is bounded, and says how much there is. docs/inside-gdb.md has examples.

Threads of a live process stand still while gdb holds them: attach, look, detach; past watch.stuck_limit nothing happens to the node, because the
watchdog stands still too."""
import collections, datetime, os, sys
import gdb

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
for m in ("murre_node", "murre_mem"):  # sourced again: read again
    sys.modules.pop(m, None)
import murre_mem
import murre_node
from murre_mem import Map, Shared, Trouble, Workers, cstring, layout, load, name_of, printable, read, short, struct, target
from murre_node import Node, class_name, class_of, flags_of, mailbox, state_type

SHOWN = 20  # messages, timers and the like, unless a number is given
ACTORS_SHOWN = 50
LINKS_SHOWN = 50
LOCKS_SHOWN = 50
POOLS_SHOWN = 32  # of workers
PARTS_SHOWN = 32
CALLBACK = "rt_actor_call_"  # how the functions that call callbacks other than handle begin
COUNT_MAX = 10_000_000  # entries of a list that is only counted

gdb.events.new_objfile.connect(murre_mem.forget)
gdb.events.clear_objfiles.connect(murre_mem.forget)


def say(text=""):
    gdb.write(text + "\n")


def table(head, rows, left=()):
    """Columns, right-justified but those in left (numbers of columns)."""
    rows = [[str(c) for c in r] for r in rows]
    width = [max(len(r[i]) for r in [head, *rows]) for i in range(len(head))]
    for r in [head, *rows]:
        say("  ".join(c.ljust(w) if i in left else c.rjust(w) for i, (c, w) in enumerate(zip(r, width))).rstrip())


def span(usec):
    return f"{usec} us" if usec < 10_000 else f"{usec / 1000:.0f} ms" if usec < 10_000_000 else f"{usec / 1e6:.0f} s"


def number(text, what, default):
    if not text:
        return default
    if not text.isdecimal() or not 0 < int(text) <= 1_000_000:
        raise Trouble(f"{what}: {text} is not a number from 1 to 1000000")
    return int(text)


def cycles_per_usec(node):
    return int(node.value["shards"][0]["cycles_per_usec"])


class Look(gdb.Command):
    """A command: arguments are split and counted, trouble is one line."""
    name, least, most, usage = "", 0, 0, ""

    def __init__(self):
        super().__init__("murre " + self.name, gdb.COMMAND_DATA)

    def invoke(self, text, from_tty):
        self.dont_repeat()
        args = text.split()
        if not self.least <= len(args) <= self.most:
            raise Trouble(f"usage: murre {self.name}{self.usage}")
        try:
            self.look(Node(), *args)
        except gdb.MemoryError as e:
            raise Trouble(f"murre {self.name}: {e}: what points there is corrupt, or the core is without it")
        except gdb.error as e:
            raise Trouble(f"murre {self.name}: {e}")


class Murre(gdb.Command):
    """Looks inside a murre node: process or core."""

    def __init__(self):
        super().__init__("murre", gdb.COMMAND_DATA, prefix=True)

    def invoke(self, text, from_tty):
        if text:
            raise Trouble(f"murre has no command {text.split()[0]}; `help murre` lists them")
        gdb.execute("help murre")


# --- the whole node -----------------------------------------------------------------------------------------------------------------------------
def doing(node, shard):
    """(what a shard is at, the message's address or 0), by the fields that it keeps for the watchdog and by its frames."""
    v = shard.value
    if int(v["idle"]):
        return "idle", 0
    if not int(v["run_class"]):
        return "running, no actor yet", 0
    tag, thread = int(v["run_tag"]), shard.thread()
    pid = node.pid(int(v["run_slot"]), int(v["run_gen"]))
    who = f"{cstring(int(v['run_class']))} {pid}"
    callback = [name for name, _ in thread.frames if name.startswith(CALLBACK)] if thread else []
    if callback:
        return f"{who} in its {callback[0][len(CALLBACK):]} callback", 0
    if not tag or not thread or not thread.shows("handle_one"):
        return f"running, last in {who}", 0
    return f"{who} handles {node.tag_name(tag)}", message_at_hand(node, thread, tag)


def message_at_hand(node, thread, tag):
    """The message that a frame of the thread holds and that has this tag: the outermost one, where a handler was called with it."""
    for kind, v in reversed(thread.values):
        try:
            at = int(v.dereference()) if kind == ("rt_msg", 2) else int(v) if kind == ("rt_msg", 1) else 0
            if at and load("rt_msg", at)["tag"] == tag:
                return at
        except gdb.MemoryError:
            pass
    return 0


def stuck_usec(node, index):
    """How long the watchdog has seen it not move; None: there is no watchdog."""
    w = node.value["watchdog"]
    return int(w.cast(struct("rt_watchdog").pointer())["shard"][index]["stuck"]) if int(w) else None


class NodeLook(Look):
    """Shows the node: shards, queues, pools of threads, pools of workers."""
    name = "node"

    def look(self, node):
        n = node.value
        now = max(int(s.value["now"]) for s in node.shards)
        say(f"node {cstring(int(n['name']))} at 0x{int(n.address):x}: up {span(now - int(n['epoch']))}, {len(node.shards)} shards"
            + ("" if int(n["started"]) else ", not started") + (", stopping" if int(n["stop"]) else ""))
        rows = []
        for s in node.shards:
            v = s.value
            queued = int(v["msg_enqueued"]) - int(v["msg_dequeued"])
            rows.append((s.index, int(v["n_actors"]), queued, int(v["msg_longest"]), int(v["msg_dequeued"]), int(v["wheel"]["armed"]),
                         int(v["n_ports"]), int(v["n_over"]), doing(node, s)[0]))
        table(("shard", "actors", "queued", "longest", "handled", "timers", "ports", "overflow", "doing"), rows, left=(8,))
        say()
        counts = ("threads", "running", "queued", "submitted", "done", "expired", "refused")
        q = target(n["pool"].type)["q"].type
        rows = []
        for i in range(q.range()[1] + 1):
            p = n["pool"].cast(struct("rt_pool").pointer())["q"][i]
            st = p["stat"]
            rows.append((short(p["kind"].type, int(p["kind"])), *(int(st[f]) for f in counts)))
        table(("pool", *counts), rows, left=(0,))
        pools = list(Workers.all(n))
        if pools:
            say()
            table(("workers", "mode", *Workers.SHOWN), [(p.name, p.mode, *(p[f] for f in Workers.SHOWN)) for p in pools[:POOLS_SHOWN]], left=(0, 1))
        if len(pools) > POOLS_SHOWN:
            say(f"... and {len(pools) - POOLS_SHOWN} more")


class Actors(Look):
    """Lists actors, the longest mailboxes first: murre actors [CLASS]."""
    name, most, usage = "actors", 1, " [CLASS]"

    def look(self, node, cls=None):
        classes, found, dead = {}, [], 0
        dying = node.macros.value("RT_A_DEAD")
        for s in node.shards:
            for a in s.actors():
                cls_at = class_of(a["cls"])[1]
                name = classes.setdefault(cls_at, [None, 0])
                name[0] = name[0] or class_name(a)
                if a["flags"] & dying:
                    dead += 1
                    continue
                name[1] += 1
                if cls is None or name[0] == cls:
                    found.append((-a["queued"], a["slot"], a))
        if cls is not None and not any(name == cls for name, _ in classes.values()):
            raise Trouble(f"no actor has the class {cls}; there are: {', '.join(sorted(n for n, _ in classes.values()))}")
        found.sort(key=lambda f: f[:2])
        names = {(slot, gen): n for n, slot, gen in sorted(node.names(), reverse=True)}  # of several the first in byte order
        rows = [(node.pid(a["slot"], a["gen"]), classes[class_of(a["cls"])[1]][0], a["queued"], a["longest"], a["dequeued"] - a["dropped"],
                 a["cost"] // cycles_per_usec(node), names.get((a["slot"], a["gen"]), ""), flags_of(node, a)) for _, _, a in found[:ACTORS_SHOWN]]
        table(("pid", "class", "queued", "longest", "handled", "usec", "name", "flags"), rows, left=(0, 1, 6, 7))
        if len(found) > len(rows):
            say(f"... and {len(found) - len(rows)} more")
        total = ", ".join(f"{n} {name}" for name, n in sorted(classes.values(), key=lambda c: -c[1]))
        say(f"{len(found)} actors" + (f" of class {cls}" if cls else f": {total}") + (f"; {dead} dead ones are not freed yet" if dead else ""))


class Actor(Look):
    """Shows all that is known of one actor: murre actor PID|NAME."""
    name, least, most, usage = "actor", 1, 1, " PID|NAME"

    def look(self, node, text):
        a = node.actor(text)
        cls = class_of(a["cls"])[0]
        shard = node.shards[a["slot"] >> node.pid_bits]
        names = [n for n, slot, gen in sorted(node.names()) if (slot, gen) == (a["slot"], a["gen"])]
        say(f"{node.pid(a['slot'], a['gen'])} {cstring(cls['name'])}" + "".join(f" '{n}'" for n in names) + f" at 0x{a.addr:x}")
        say(f"  flags     {flags_of(node, a) or 'none'}" + (f", reason {name_of(struct_enum('err'), a['reason'])}" if a["reason"] else ""))
        say(f"  parent    {node.pid(a['parent_slot'], a['parent_gen'])}")
        bound = cls["mailbox_max"] or node.macros.value("RT_MAILBOX_MAX_DEFAULT")
        say(f"  mailbox   {a['queued']} queued ({a['bytes']} bytes), longest {a['longest']}, bound {bound}: "
            f"{short(struct_enum('rt_bound'), cls['bound'])}")
        say(f"  handled   {a['dequeued'] - a['dropped']} in {span(a['cost'] // cycles_per_usec(node))}, {a['dropped']} dropped, "
            f"{a['signals']} signals, muted by {int(a['stops']) & 0x7fffffff}")
        kinds, _, whole = relations(node, a, 0)
        say("  relations " + (", ".join(f"{n} {k}" for k, n in kinds.items()) or "none") + ("" if whole else " at least"))
        say(f"  timers    {a['timers']} armed")
        say(f"  ports     {self.ports(shard, a)}")
        t = state_type(cls)
        state = a.addr + a.layout.size
        say(f"  state     {cls['state_size']} bytes at 0x{state:x}" + (f": print *({t} *) 0x{state:x}" if t and cls["state_size"] else ""))

    @staticmethod
    def ports(shard, a):
        out, at = [], a["ports"]
        size = layout("rt_port").size
        while at and len(out) < SHOWN:
            p = load("rt_port", int(shard.value["ports"]) + (at - 1) * size)
            out.append(f"fd {p['fd']}" + (" (not read: muted)" if p["masked"] else ""))
            at = p["next"]
        return ", ".join(out) + (", ..." if at else "") or "none"


def struct_enum(name):
    return gdb.lookup_type(name).strip_typedefs()


class Mailbox(Look):
    """Shows the first messages that wait for an actor: murre mailbox PID|NAME [COUNT]."""
    name, least, most, usage = "mailbox", 1, 2, " PID|NAME [COUNT]"

    def look(self, node, text, count=None):
        a = node.actor(text)
        count = number(count, "COUNT", SHOWN)
        say(f"{node.pid(a['slot'], a['gen'])} {class_name(a)}: {a['queued']} queued, {a['bytes']} bytes")
        seen = 0
        for at in mailbox(a):
            if seen == count:
                break
            say(f"{seen:5}  {node.message(at)}")
            seen += 1
        if seen < min(count, a["queued"]):
            say(f"the list ends after {seen} messages: it is corrupt")
        elif a["queued"] > seen:
            say(f"... and {a['queued'] - seen} more")


def relations(node, a, show):
    """({kind: count}, the first to show as text, whether all were counted)"""
    kinds, lines, at, n = {}, [], a["rels"], 0
    enum = struct_enum("rt_rel_kind")
    while at and n < COUNT_MAX:
        r = load("rt_rel", at)
        kind = short(enum, r["kind"])
        kinds[kind] = kinds.get(kind, 0) + 1
        if len(lines) < show:
            lines.append((kind, node.pid_of(r, "other."), r["ref"], r["other.node"], r["other.slot"], r["other.gen"]))
        at, n = r["next"], n + 1
    return kinds, lines, not at


class Links(Look):
    """Shows links, monitors and mutes of an actor: murre links PID|NAME."""
    name, least, most, usage = "links", 1, 1, " PID|NAME"

    def look(self, node, text):
        a = node.actor(text)
        kinds, lines, whole = relations(node, a, LINKS_SHOWN)
        say(f"{node.pid(a['slot'], a['gen'])} {class_name(a)}: " + (", ".join(f"{n} {k}" for k, n in kinds.items()) or "no relations"))
        rows = []
        for kind, pid, ref, at, slot, gen in lines:
            other, shard = None, slot >> node.pid_bits
            if at == 0 and shard < len(node.shards):
                other = node.shards[shard].by_slot(slot)
            cls = class_name(other) if other and other["gen"] == gen else "elsewhere" if at or shard >= len(node.shards) else "gone"
            rows.append((kind, pid, cls, ref or ""))
        if rows:
            table(("kind", "other", "class", "ref"), rows, left=(0, 1, 2))
        if sum(kinds.values()) > len(rows):
            say(f"... and {sum(kinds.values()) - len(rows)} more" + ("" if whole else ", at least"))


class Timers(Look):
    """Shows what is armed, the next first: murre timers [SHARD]."""
    name, most, usage = "timers", 1, " [SHARD]"

    def look(self, node, shard=None):
        if shard is not None and (not shard.isdecimal() or int(shard) >= len(node.shards)):
            raise Trouble(f"SHARD: {shard} is not a shard's number, 0 to {len(node.shards) - 1}")
        for s in node.shards if shard is None else [node.shards[int(shard)]]:
            self.one(node, s)

    def one(self, node, shard):
        wheel = load("rt_wheel", int(shard.value["wheel"].address))
        tick, t = wheel["tick"], layout("rt_timer")
        heads = [wheel.address("due"), wheel.address("firing")]
        for name in ("near", "far"):
            heads += range(wheel.address(name), wheel.address(name) + len(wheel.bytes(name)), t.size)
        found = []
        for h in heads:
            at = load("rt_timer", h)["next"]
            while at != h and at and len(found) <= wheel["armed"]:
                r = load("rt_timer", at)
                found.append((((r["due"] - tick) + (1 << 31)) % (1 << 32) - (1 << 31), r["slot"], at))  # ticks are compared by difference
                at = r["next"]
        found.sort()
        say(f"shard {shard.index}: {wheel['armed']} timers armed" + ("" if len(found) == wheel["armed"] else f", but {len(found)} are in the wheel"))
        rows = []
        for ticks, slot, at in found[:SHOWN]:
            a = shard.by_slot(slot)
            inside = f"state+{at - a.addr - a.layout.size}" if a and 0 < at - a.addr < 1 << 24 else "on the heap"
            rows.append((f"in {ticks} ms" if ticks > 0 else "now", node.pid(slot, a["gen"]) if a else f"slot {slot}", class_name(a) if a else "?",
                         f"0x{at:x}", inside))
        if rows:
            table(("due", "actor", "class", "timer", "where"), rows, left=(1, 2, 3, 4))
        if len(found) > len(rows):
            say(f"... and {len(found) - len(rows)} more")


class Names(Look):
    """Lists registered names and their actors."""
    name = "names"

    def look(self, node):
        rows = []
        for name, slot, gen in sorted(node.names()):
            a = node.shards[slot >> node.pid_bits].by_slot(slot)
            rows.append((name, node.pid(slot, gen), class_name(a) if a and a["gen"] == gen else "gone", a["queued"] if a else ""))
        table(("name", "pid", "class", "queued"), rows, left=(0, 1, 2))
        say(f"{len(rows)} names")


class Tables(Look):
    """Shows the hash tables: maps of partitions and shards, and the tables that actors share; with chain lengths."""
    name = "tables"

    def look(self, node):
        rows, refs, hidden = [], {}, 0
        total = {"accounts": [0, 0], "refs": [0, 0]}
        sessions = parts = 0
        part = gdb.lookup_global_symbol("svc_part_class")
        for a in (a for s in node.shards for a in s.actors() if part and class_of(a["cls"])[1] == int(part.value().address)):
            p = load("svc_part", a.addr + a.layout.size)
            maps = {"accounts": Map(p.address("accounts")), "refs": Map(p.address("refs"), "ref_node")}
            parts, sessions = parts + 1, sessions + p["n_sessions"]
            for what, m in maps.items():
                longest, used, met = m.stat()
                total[what] = [total[what][0] + m.count, max(total[what][1], longest)]
                if m.count and len(rows) < PARTS_SHOWN:
                    rows.append((f"part {p['index']} {what}", node.pid(a["slot"], a["gen"]), p["n_sessions"] if what == "accounts" else "", m.count,
                                 m.buckets, used, longest, "" if met == m.count else f"corrupt: {met} entries met"))
                elif m.count:
                    hidden += 1
            if maps["refs"].count:
                for r in maps["refs"].entries():
                    f = gdb.block_for_pc(r["then"])
                    name = f.function.name if f and f.function else f"0x{r['then']:x}"
                    refs[name] = refs.get(name, 0) + 1
        for s in node.shards:
            rows.append(self.row(f"shard {s.index} relations", s.value["rels"].address))
        shared = Shared.all(node.value)
        for t in sorted(shared, key=lambda t: -t.bytes)[:PARTS_SHOWN]:
            longest, used, met = t.stat()
            rows.append((f"shared {t.name or 'without a name'}", node.pid(*t.owner) if t.owner[1] else "node", "", t.count, t.buckets, used, longest,
                         "" if met == t.count else f"corrupt: {met} entries met"))
        table(("table", "actor", "sessions", "entries", "buckets", "used", "longest chain", ""), rows, left=(0, 1, 7))
        if hidden:
            say(f"... and {hidden} more of partitions")
        if len(shared) > PARTS_SHOWN:
            say(f"... and {len(shared) - PARTS_SHOWN} more that are shared")
        say(f"{parts} partitions: {total['accounts'][0]} accounts (longest chain {total['accounts'][1]}), {sessions} sessions, "
            f"{total['refs'][0]} refs (longest chain {total['refs'][1]})")
        if refs:
            say("refs wait for: " + ", ".join(f"{n} {name}" for name, n in sorted(refs.items(), key=lambda r: -r[1])[:SHOWN]))

    @staticmethod
    def row(name, addr):
        m = Map(int(addr))
        longest, used, met = m.stat()
        return (name, "", "", m.count, m.buckets, used, longest, "" if met == m.count else f"corrupt: {met} entries met")


# --- locks, events, stacks ----------------------------------------------------------------------------------------------------------------------
class Locks(Look):
    """Lists locks: who holds each, who waits for it, and the counts; of one name also by the place in the source: murre locks [NAME]."""
    name, most, usage = "locks", 1, " [NAME]"

    def look(self, node, only=None):
        s, rows, places, names = node.value["locks"], [], {}, set()
        at, per_usec = int(s["head"]), cycles_per_usec(node)
        by_tid = {t.tid: t for t in node.threads}
        while at and len(rows) < COUNT_MAX:
            l = load("lock", at)
            name = cstring(l["name"])
            names.add(name)
            if only not in (None, name):
                at = l["next"]
                continue
            tid = l["m.__data.__owner"]
            holder = "" if not tid else f"{by_tid[tid].name or 'thread'} ({tid})" if tid in by_tid else str(tid)
            waits = [t for t in node.threads if (t.shows("lock_take_at") or t.shows("take_late")) and t.has("lock", at) and t.tid != tid]
            counts = self.counts(l["sites"], places)
            rows.append((name, l["id"], short(struct_enum("lock_rank"), l["rank"]), holder,
                         ", ".join(f"{t.name or 'thread'} ({t.tid})" for t in waits), counts[0], counts[1], counts[2] // per_usec))
            at = l["next"]
        if only is not None and not rows:
            raise Trouble(f"no lock has the name {only}; there are: {', '.join(sorted(names))}")
        rows.sort(key=lambda r: (not r[3] and not r[4], -r[5], -r[7], r[0], r[1]))  # held ones, then the most used
        used = rows if only is not None else [r for r in rows if r[3] or r[4] or r[5]]
        shown = used[:LOCKS_SHOWN]
        if shown:
            table(("lock", "id", "rank", "held by", "waited for by", "tries", "collisions", "wait usec"), shown, left=(0, 2, 3, 4))
        if len(used) > len(shown):
            say(f"... and {len(used) - len(shown)} more")
        if len(rows) > len(used):  # of tables' stripes there are many
            unused = collections.Counter(r[0] for r in rows if r not in used)
            say(f"{len(rows) - len(used)} not shown, which nobody holds and of which no take was counted: "
                + ", ".join(f"{name} {n}" for name, n in sorted(unused.items())))
        if only is not None and places:
            found = sorted(places.items(), key=lambda p: (-p[1][2], -p[1][0], p[0]))
            table(("place", "tries", "collisions", "wait usec"), [(place, c[0], c[1], c[2] // per_usec) for place, c in found[:SHOWN]], left=(0,))
        say(f"{len(rows)} locks{f' of the name {only}' if only else ''}, counting is {'on' if int(s['counting']) else 'off (murrectl locks on)'}")

    @staticmethod
    def counts(at, places):
        """Tries, collisions and waiting cycles of a list of sites, summed; and added to those of their places."""
        sums = [0, 0, 0]
        for _ in range(COUNT_MAX):
            if not at:
                break
            site = load("lock_site", at)
            at_place = places.setdefault(cstring(site["place"]), [0, 0, 0])
            for i, field in enumerate(("tries", "collisions", "wait_cycles")):
                sums[i] += site[field]
                at_place[i] += site[field]
            at = site["next"]
        return sums


class Recorder(Look):
    """Shows the last events of the flight recorder: murre recorder [COUNT]."""
    name, most, usage = "recorder", 1, " [COUNT]"

    def look(self, node, count=None):
        count = number(count, "COUNT", SHOWN)
        rec = node.value["recorder"]
        if not int(rec):
            raise Trouble("this node has no flight recorder (recorder.bytes is 0)")
        rec = rec.cast(struct("rt_recorder").pointer())
        ring = target(struct("rt_recorder")["ring"].type)
        first, per_ring, found = int(rec["ring"].address), int(rec["per_ring"]), []
        for i in range(int(rec["n_rings"])):
            r = load(ring, first + i * ring.sizeof)
            newest = r["seq"]
            for seq in range(newest, max(0, newest - min(count, per_ring)), -1):
                e = load("rt_record", r["at"] + (seq - 1) % per_ring * layout("rt_record").size)
                if e["seq"] == seq:
                    found.append((e["wall_usec"], i, seq, e))
                elif seq == newest:
                    path = cstring(int(node.value["recorder_path"]))
                    raise Trouble(f"{path} is gone, or not the file that this node wrote: a node that starts moves it to {path}.1")
        found.sort(key=lambda f: f[:3])
        descs = gdb.lookup_global_symbol("rt_event_descs").value()
        for wall, i, _, e in found[-count:]:
            d = descs[e["event"]]
            when = datetime.datetime.fromtimestamp(wall / 1e6, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            where = f"shard {i}" if i < len(node.shards) else "outside"
            say(f"{when} {where} {cstring(int(d['name']))}{self.args(node, e, d)}"
                + (f" in {e['slot'] >> node.pid_bits}.{e['slot'] & (1 << node.pid_bits) - 1}" if e["slot"] else "")
                + (f" trace {e['trace']}" if e["trace"] else ""))
        say(f"{min(len(found), count)} of {sum(load(ring, first + i * ring.sizeof)['seq'] for i in range(int(rec['n_rings'])))} events")

    @staticmethod
    def args(node, e, d):
        out, n = "", d["arg"].type.range()[1] + 1
        words = [int.from_bytes(e.bytes("arg")[i * 8:i * 8 + 8], "little") for i in range(n)]
        for i in range(n):
            name = cstring(int(d["arg"][i]))
            if name == "text":
                whole = e.bytes("text")
                out += f' text="{printable(whole[:words[i]])}{"..." if words[i] > len(whole) else ""}"'
            elif name.endswith("slot"):
                out += f" {name}={words[i] >> node.pid_bits}.{words[i] & (1 << node.pid_bits) - 1}"
            elif name:
                out += f" {name}={words[i]}"
        return out


class Backtrace(Look):
    """Shows what each shard is at: its actor, the message, since when it is stuck, its stack: murre backtrace [SHARD]."""
    name, most, usage = "backtrace", 1, " [SHARD]"

    def look(self, node, shard=None):
        if shard is not None and (not shard.isdecimal() or int(shard) >= len(node.shards)):
            raise Trouble(f"SHARD: {shard} is not a shard's number, 0 to {len(node.shards) - 1}")
        for s in node.shards if shard is None else [node.shards[int(shard)]]:
            what, at = doing(node, s)
            stuck = stuck_usec(node, s.index)
            t = s.thread()
            say(f"shard {s.index}{f', thread {t.num} (LWP {t.tid})' if t else ''}: {what}" + (f", STUCK for {span(stuck)}" if stuck else ""))
            if at:
                say(f"  message {node.message(at)}")
            if not t:
                say("  no thread has it in its frames")
                continue
            for i, (name, where) in enumerate(t.frames):
                say(f"  #{i:<2} {name} at {where}")
                if name == "shard_main":
                    break


Murre()
for command in (NodeLook, Actors, Actor, Mailbox, Links, Timers, Names, Tables, Locks, Recorder, Backtrace):
    command()
