"""murre_mem: what the commands know of C: types, enums, macros and memory, all from the debug information of the program at hand.

Nothing of the C source is repeated here: offsets and enums come from DWARF, macros from the macro section that gcc -g3 writes. Structs that come
by the thousand are read in one piece each (Rec), the few big ones are left as gdb.Value."""
import re
import gdb

TEXT_MAX = 256  # bytes of a C string that are read
ANCHOR = "rt_spawn"  # a function whose file sees all of the runtime's private headers: its macros are the ones that are asked for


class Trouble(gdb.GdbError):
    """One line for the person at the prompt."""


def require_process():
    if not gdb.selected_inferior().threads():
        raise Trouble("no process and no core: gdb -p PID, or gdb PROGRAM CORE")


# --- types ------------------------------------------------------------------------------------------------------------------------------------
def struct(name):
    """The struct of that name, by typedef or tag."""
    for n in (name, "struct " + name):
        try:
            t = gdb.lookup_type(n).strip_typedefs()
        except gdb.error:
            continue
        if t.code == gdb.TYPE_CODE_STRUCT and t.fields():
            return t
    program = gdb.current_progspace().filename
    if not program:
        raise Trouble("no program: start gdb with the murre that runs, or that left the core")
    raise Trouble(f"{program} has no debug information on {name}: it is no murre, or is stripped; the Makefile builds with -g3")


def target(pointer_type):
    return pointer_type.strip_typedefs().target().strip_typedefs()


def pointed(t):
    """("rt_msg", 2) of an rt_msg **, whatever is const and by whatever name; None: no pointer to a struct."""
    t, depth = t.strip_typedefs(), 0
    while t.code == gdb.TYPE_CODE_PTR:
        t, depth = t.target().strip_typedefs(), depth + 1
    return (t.tag, depth) if depth and t.code == gdb.TYPE_CODE_STRUCT else None


def name_of(enum_type, value):
    """ERR_TIMEOUT and the like; the number itself if no such name is there."""
    for f in enum_type.strip_typedefs().fields():
        if f.enumval == value:
            return f.name
    return str(value)


def short(enum_type, value):
    """Without what all names of the enum begin with, in lower case: "mute" of RT_BOUND_MUTE."""
    names = [f.name for f in enum_type.strip_typedefs().fields()]
    common = names[0]
    for n in names[1:]:
        while not n.startswith(common):
            common = common[:-1]
    cut = common.rfind("_") + 1
    name = name_of(enum_type, value)
    return name[cut:].lower() if name in names else name


class Macros:
    """The object-like macros that are in effect at ANCHOR."""

    def __init__(self):
        try:
            lines = gdb.execute(f"info macros {ANCHOR}", to_string=True).splitlines()
        except gdb.error:
            raise Trouble(f"{gdb.current_progspace().filename} has no function {ANCHOR}: it is no murre, or is stripped")
        self.text = {}
        for line in lines:
            m = re.match(r"#define (\w+) (.*)", line)
            if m:
                self.text[m[1]] = m[2].strip()
        if not self.text:
            raise Trouble("the debug information has no macros: it takes gcc -g3, as the Makefile has it (clang leaves them out)")

    def body(self, name):
        if name not in self.text:
            raise Trouble(f"macro {name} is not in the debug information: these commands are of another version than the program")
        return self.text[name]

    def value(self, name):
        expand = lambda m: f"({self.value(m[0])})" if m[0] in self.text else m[0]
        return int(gdb.parse_and_eval(re.sub(r"\b[A-Za-z_]\w*\b", expand, self.body(name))))

    def flags(self, prefix):
        """{bit: name} of the macros PREFIX_X that are one bit each."""
        found = {}
        for n in self.text:
            if n.startswith(prefix) and re.fullmatch(r"\d+u?", self.text[n]):
                found[self.value(n)] = n[len(prefix):].lower()
        return dict(sorted(found.items()))


_macros = []


def macros():
    """Read once a program."""
    if not _macros:
        _macros.append(Macros())
    return _macros[0]


# --- memory -----------------------------------------------------------------------------------------------------------------------------------
def read(addr, size):
    return bytes(gdb.selected_inferior().read_memory(addr, size))


def cstring(addr, most=TEXT_MAX):
    """A C string, escaped and cut; "?" for what cannot be read."""
    if not addr:
        return ""
    out = b""
    try:
        while len(out) < most and b"\0" not in out:
            step = min(16 - (addr + len(out)) % 16, most - len(out))  # never past the page in which the string ends
            out += read(addr + len(out), step)
    except gdb.MemoryError:
        if not out:
            return "?"
    return printable(out.split(b"\0")[0])


def printable(data):
    return "".join(chr(c) if 0x20 <= c < 0x7F and c not in b'"\\' else f"\\x{c:02x}" for c in data)


class Layout:
    """Where the numbers, enums and pointers of a struct lie: name -> (offset, size, signed, bits, shift); nested ones as "outer.inner"."""

    def __init__(self, t):
        self.type, self.size, self.at, self.array = t, t.sizeof, {}, {}
        self._add(t, "", 0)

    def _add(self, t, prefix, base):
        for f in t.fields():
            if not hasattr(f, "bitpos"):
                continue
            ft, at = f.type.strip_typedefs(), base + f.bitpos // 8
            name = prefix + (f.name or "")
            if ft.code in (gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_UNION):
                self.at[name] = (at, 0, False, 0, 0)
                self._add(ft, name + "." if f.name else prefix, at)
            elif ft.code == gdb.TYPE_CODE_ARRAY:
                self.at[name], self.array[name] = (at, 0, False, 0, 0), ft
            else:
                signed = ft.code == gdb.TYPE_CODE_INT and ft.is_signed
                self.at[name] = (at, ft.sizeof, signed, f.bitsize, f.bitpos % 8)

    def offset(self, name):
        if name not in self.at:
            raise Trouble(f"{self.type} has no field {name}: these commands are of another version than the program")
        return self.at[name][0]


class Rec:
    """A struct as it was when it was read; rec["field"] is a number, rec["outer.inner"] too."""

    def __init__(self, layout, addr, data=None):
        self.layout, self.addr = layout, addr
        self.data = read(addr, layout.size) if data is None else data

    def __getitem__(self, name):
        self.layout.offset(name)
        at, size, signed, bits, shift = self.layout.at[name]
        v = int.from_bytes(self.data[at:at + size], "little", signed=signed)  # as every machine that murre is built for
        return v >> shift & (1 << bits) - 1 if bits else v

    def address(self, name):
        return self.addr + self.layout.offset(name)

    def bytes(self, name):
        at = self.layout.offset(name)
        return self.data[at:at + self.layout.array[name].sizeof]


_layouts = {}


def layout(t):
    """t: a struct's name or its gdb.Type."""
    key = t if isinstance(t, str) else (str(t), t.sizeof)
    if key not in _layouts:
        _layouts[key] = Layout(struct(t) if isinstance(t, str) else t.strip_typedefs())
    return _layouts[key]


def load(t, addr):
    return Rec(layout(t), addr)


def forget(_event=None):
    """The program has changed: what was learnt from its debug information is void."""
    _layouts.clear()
    _macros.clear()


# --- hmap (base/hash.h) -------------------------------------------------------------------------------------------------------------------------
class Map:
    """An hmap: its entries, and how long its chains are."""

    def __init__(self, addr, entry=None, member="node"):
        self.rec = load("hmap", addr)
        self.count, self.buckets = self.rec["count"], self.rec["mask"] + 1 if self.rec["buckets"] else 0
        self.entry, self.member = entry and layout(entry), member

    def chains(self):
        word = layout("hmap_node").at["next"][1]
        data = read(self.rec["buckets"], self.buckets * word) if self.buckets else b""
        for i in range(0, len(data), word):
            first = int.from_bytes(data[i:i + word], "little")
            if first:
                yield first

    def chain(self, first):
        """Ends also where a chain has become a circle: no more entries than the map says."""
        at, n = first, 0
        while at and n <= self.count:
            yield at
            at, n = load("hmap_node", at)["next"], n + 1

    def stat(self):
        """(longest chain, chains that are not empty, entries met)"""
        longest = used = met = 0
        for first in self.chains():
            n = sum(1 for _ in self.chain(first))
            longest, used, met = max(longest, n), used + 1, met + n
        return longest, used, met

    def entries(self):
        for first in self.chains():
            for at in self.chain(first):
                yield Rec(self.entry, at - self.entry.offset(self.member))


# --- tables that actors share (rt/table.h) ------------------------------------------------------------------------------------------------------
class Shared:
    """One of them: whose it is, its entries, and how long its chains are."""

    def __init__(self, addr):
        self.rec = load("rt_tab", addr)
        self.name = printable(self.rec.bytes("name").split(b"\0")[0])
        self.owner = self.rec["owner"] >> 32, self.rec["owner"] & 0xFFFFFFFF  # slot and generation; 0, 0: the node
        self.count = self.bytes = self.buckets = 0
        self.arrays = []
        size = layout("rt_tab_stripe").size
        for i in range(self.rec["n_stripes"]):
            s = load("rt_tab_stripe", self.rec["stripes"] + i * size)
            self.count, self.bytes = self.count + s["count"], self.bytes + s["bytes"]
            if s["array"]:
                a = load("rt_tab_array", s["array"])
                self.arrays.append(a)
                self.buckets += 1 << 64 - a["shift"]

    @staticmethod
    def all(node):
        """The tables of a node."""
        tables = load("rt_tables", int(node["tables"]))
        places = tables.bytes("at")
        word = len(places) // (tables.layout.array["at"].range()[1] + 1)
        found = (int.from_bytes(places[i:i + word], "little") for i in range(0, len(places), word))
        return [Shared(at) for at in found if at]

    def chains(self):
        """The addresses of entries, a list for each bucket that is not empty. Ends also where a chain has become a circle."""
        node = layout("rt_tab_node")
        for a in self.arrays:
            n, used = 1 << 64 - a["shift"], a["used"]
            first = read(a.address("first"), 4 * n)
            nodes = read(a["node"], used * node.size) if used else b""
            for i in range(n):
                number, chain = int.from_bytes(first[4 * i:4 * i + 4], "little"), []
                while 0 < number <= used and len(chain) <= used:
                    r = Rec(node, a["node"] + (number - 1) * node.size, nodes[(number - 1) * node.size:number * node.size])
                    chain.append(r["entry"])
                    number = r["next"]
                if chain:
                    yield chain

    def stat(self):
        """(longest chain, chains that are not empty, entries met)"""
        lengths = [len(c) for c in self.chains()]
        return max(lengths, default=0), len(lengths), sum(lengths)

    def entries(self):
        """(key, address of the value)"""
        for chain in self.chains():
            for at in chain:
                e = load("rt_tab_entry", at)
                yield read(e.address("bytes"), e["key_len"]), e.address("bytes") + (e["key_len"] + 7 & ~7)


# --- pools of workers (rt/workers.h) ------------------------------------------------------------------------------------------------------------
class Workers:
    """One of them, all shards together: as `murrectl workers`."""
    SHOWN = ("workers", "idle", "busy", "down", "queued", "sent", "begun", "handed", "expired", "refused", "lost")

    def __init__(self, addr, shards):
        r = load("rt_workers", addr)
        self.name = cstring(r["cfg.name"])
        self.mode = short(gdb.lookup_type("rt_workers_mode"), r["cfg.mode"]).replace("_", " ")
        self.of = dict.fromkeys(self.SHOWN, 0)
        places = list(self._array("rt_place", r["places"], r["cfg.workers"]))
        busy, down = sum(p["since"] != 0 for p in places), sum(p["pid"] == 0 for p in places)
        self.of.update(workers=len(places), idle=max(0, len(places) - busy - down), busy=busy, down=down)
        for s in self._array("rt_workers_shard", r["shards"], shards):
            self._add(s, "begun", "refused", "lost")
            self._add(s, "expired", "refused", prefix="count.")
        for d in self._array("rt_desk", r["desks"], r["n_desks"]):
            self._add(d, "queued", "sent", "expired", "refused", "handed")
            self._add(d, "expired", "refused", prefix="count.")
        if not r["n_desks"]:
            self.of["sent"] = "-"  # by key: nobody counts it

    @staticmethod
    def _array(kind, addr, count):
        l = layout(kind)
        data = read(addr, l.size * count) if count else b""
        return (Rec(l, addr + at, data[at:at + l.size]) for at in range(0, len(data), l.size))

    def _add(self, rec, *names, prefix=""):
        for n in names:
            self.of[n] += rec[prefix + n]

    def __getitem__(self, name):
        return self.of[name]

    @staticmethod
    def all(node):
        """The pools of a node, in their order."""
        at, shards = int(node["workers"]), int(node["n_shards"])
        while at:
            yield Workers(at, shards)
            at = load("rt_workers", at)["next"]
