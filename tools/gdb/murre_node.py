"""murre_node: a node in the memory of a process or a core: where it is, its threads, shards, actors and messages."""
import re
import gdb
from murre_mem import Rec, Shared, Trouble, cstring, layout, load, macros, name_of, pointed, printable, read, require_process, short, struct, target

FRAMES_MAX = 64  # looked at in one thread
BLOB_SHOWN = 160  # bytes of a blob in a message


# --- is it the right program? -----------------------------------------------------------------------------------------------------------------
def _auxv(name):
    try:
        m = re.search(rf"\b{name}\b.*?(0x[0-9a-f]+|\d+)\s*$", gdb.execute("info auxv", to_string=True), re.M)
    except gdb.error:
        return None
    return int(m[1], 0) if m else None


def running_build_id():
    """The build id of the program in memory, by its program headers; None if that is not to be had."""
    phdr, count = _auxv("AT_PHDR"), _auxv("AT_PHNUM")
    if not phdr or not count:
        return None
    try:
        heads = [read(phdr + i * 56, 56) for i in range(count)]  # Elf64_Phdr, fixed by the System V ABI
        number = lambda h, at: int.from_bytes(h[at:at + 8], "little")
        kind = lambda h: int.from_bytes(h[:4], "little")
        base = next((phdr - number(h, 16) for h in heads if kind(h) == 6), 0)  # PT_PHDR
        for h in heads:
            if kind(h) != 4:  # PT_NOTE
                continue
            data = read(base + number(h, 16), number(h, 40))
            at = data.find(b"\x14\0\0\0\x03\0\0\0GNU\0")  # 20 bytes of NT_GNU_BUILD_ID
            if at >= 0:
                return data[at + 12:at + 32].hex()
    except gdb.MemoryError:
        pass
    return None


def require_match():
    """A program that is not the one that ran gives nonsense, which looks like a corrupt node: say so first."""
    program = gdb.current_progspace().filename
    mine = next((o.build_id for o in gdb.objfiles() if o.filename == program), None)
    theirs = running_build_id()
    if mine and theirs and mine != theirs:
        raise Trouble(f"{program} (build id {mine[:12]}) is not the program that ran here (build id {theirs[:12]}): give gdb that one")


# --- threads ----------------------------------------------------------------------------------------------------------------------------------
class Thread:
    """A thread with what its frames tell. frames: (function, where); values: (what it points to, gdb.Value), the innermost first."""

    WANTED = {("rt_node", 1), ("rt_shard", 1), ("rt_ctx", 1), ("compose", 1), ("lock", 1), ("rt_msg", 1), ("rt_msg", 2)}

    def __init__(self, t):
        self.num, self.tid, self.name = t.num, t.ptid[1], t.name or ""
        self.frames, self.values = [], []
        if t.is_running():  # non-stop mode: it has no frames to look at
            return
        t.switch()
        frame = gdb.newest_frame()
        while frame is not None and len(self.frames) < FRAMES_MAX:
            self._look(frame)
            try:
                frame = frame.older()
            except gdb.error:
                break

    def _look(self, frame):
        sal = frame.find_sal()
        where = f"{sal.symtab.filename}:{sal.line}" if sal.symtab else f"0x{frame.pc():x}"
        self.frames.append((frame.name() or "??", where))
        try:
            block = frame.block()
        except RuntimeError:
            return
        while block is not None:
            for s in block:
                if (s.is_variable or s.is_argument) and pointed(s.type) in self.WANTED:
                    self._read(frame, s)
            if block.function is not None:
                break
            block = block.superblock

    def _read(self, frame, symbol):
        try:
            v = frame.read_var(symbol)
            if not v.is_optimized_out:
                int(v)
                self.values.append((pointed(symbol.type), v))
        except (gdb.error, ValueError):
            pass  # not there at this point of the function

    def has(self, kind, addr):
        return any(k == (kind, 1) and int(v) == addr for k, v in self.values)

    def shows(self, function):
        return any(name == function for name, _ in self.frames)


def threads():
    """All threads; the selection is put back."""
    selected, frame = gdb.selected_thread(), None
    try:
        frame = gdb.selected_frame()
    except gdb.error:
        pass
    try:
        return [Thread(t) for t in sorted(gdb.selected_inferior().threads(), key=lambda t: t.num)]
    finally:
        if selected:
            selected.switch()
        if frame is not None and frame.is_valid():
            frame.select()


# --- the node ---------------------------------------------------------------------------------------------------------------------------------
class Node:
    """One node. value: the rt_node as gdb.Value."""

    def __init__(self):
        require_process()
        require_match()
        struct("rt_node")  # is this a murre with debug information at all?
        self.threads = threads()
        self.value = self._find()
        self.macros = macros()
        self.flags = self.macros.flags("RT_A_")
        self.pid_bits = self.macros.value("SLOTS_MAX").bit_length()
        self.slot_page = self.macros.value("RT_SLOT_PAGE")
        self.tags = self.macros.value("RT_TAG_MAX")
        self.shards = [Shard(self, i) for i in range(int(self.value["n_shards"]))]

    @staticmethod
    def _of(kind, v):
        """The node that a variable leads to, or None."""
        if kind == ("rt_node", 1):
            return v
        if kind == ("rt_ctx", 1):
            return v["sh"]["node"]
        return v["node"] if kind in (("rt_shard", 1), ("compose", 1)) else None

    def _sound(self, n):
        """Its shards know it."""
        try:
            count = int(n["n_shards"])
            return 1 <= count <= macros().value("RT_SHARDS_MAX") and all(int(n["shards"][i]["node"]) == int(n) for i in range(count))
        except gdb.MemoryError:
            return False

    def _find(self):
        """From the frames: there is no global. $murre_node, if it is set, comes first; then the selected thread; then the others."""
        wanted = gdb.convenience_variable("murre_node")
        if wanted is not None:
            try:
                wanted = int(wanted)
            except gdb.error:  # text, a struct
                raise Trouble("$murre_node is not an address; `set $murre_node = (void)0` lets the node be found") from None
            node = gdb.Value(wanted).cast(struct("rt_node").pointer())
            if self._sound(node):
                return node.dereference()
            raise Trouble(f"$murre_node is 0x{wanted:x}, where no node is; `set $murre_node = (void)0` lets it be found")
        selected = gdb.selected_thread()
        first = sorted(self.threads, key=lambda t: 0 if selected and t.num == selected.num else 1)
        tried = set()
        for t in first:
            for kind, v in t.values:
                try:
                    node = self._of(kind, v)
                    if node is None or int(node) in tried:
                        continue
                    tried.add(int(node))
                    if self._sound(node):
                        return node.cast(struct("rt_node").pointer()).dereference()
                except gdb.error:
                    continue
        if all(t.is_running() for t in gdb.selected_inferior().threads()):
            raise Trouble("the process runs: interrupt it first")
        raise Trouble("no thread has a node in its frames: it has not started yet, or has ended, or its stacks cannot be read; "
                      "`set $murre_node = ADDRESS` names one")

    # --- pids and names
    def pid(self, slot, gen, node=0):
        return f"<{node}.{slot >> self.pid_bits}.{slot & (1 << self.pid_bits) - 1}.{gen}>" if gen else "none"

    def pid_of(self, rec, prefix=""):
        return self.pid(rec[prefix + "slot"], rec[prefix + "gen"], rec[prefix + "node"])

    def names(self):
        """[(name, slot, gen)]"""
        out = []
        for key, at in Shared(load("rt_tables", int(self.value["tables"]))["actors"]).entries():
            pid = load("rt_pid", at)
            out.append((printable(key), pid["slot"], pid["gen"]))
        return out

    def actor(self, text):
        """The actor of a pid <0.1.2.3>, of a pid without generation 1.2 (as logs have it), or of a name."""
        if re.fullmatch(r"<[1-9]\d*\.\d+\.\d+>", text):
            raise Trouble(f"{text} is an actor of another node")
        m = re.fullmatch(r"<0\.(\d+)\.(\d+)\.(\d+)>", text)
        short_form = re.fullmatch(r"(\d+)\.(\d+)", text)
        if m:
            shard, index, gen = (int(x) for x in m.groups())
        elif short_form:
            shard, index, gen = int(short_form[1]), int(short_form[2]), None
        else:
            named = [(s, g) for n, s, g in self.names() if n == text]
            if not named:
                raise Trouble(f"{text or 'nothing'} is neither a pid like <0.1.2.3> nor the name of an actor (murre names)")
            slot, gen = named[0]
            shard, index = slot >> self.pid_bits, slot & (1 << self.pid_bits) - 1
        if shard >= len(self.shards):
            raise Trouble(f"{text}: there is no shard {shard}, only {len(self.shards)}")
        return self.shards[shard].actor(text, index, gen)

    # --- messages
    def desc(self, tag):
        """The description of a message, or None: as rt_node_desc."""
        pages = self.value["descs"]
        n = pages.type.range()[1] + 1
        tag &= self.tags - 1
        page = pages[tag // (self.tags // n)]
        d = page[tag % (self.tags // n)] if int(page) else None
        return d.dereference() if d is not None and int(d) else None

    def tag_name(self, tag):
        d = self.desc(tag)
        return cstring(int(d["name"])) if d is not None else f"tag_{tag & self.tags - 1:x}"

    def field(self, kind, addr):
        """One field of a payload, by its kind; kinds and their C types are the macros RT_C_*."""
        text = self.macros.body("RT_C_" + kind)
        name = text.replace("*", "").strip()
        t = gdb.lookup_type("_Bool" if name == "bool" else name)  # bool is a macro of stdbool.h, which debug information does not name
        if text.endswith("*"):
            p = int.from_bytes(read(addr, t.pointer().sizeof), "little")
            if not p:
                return "null"
            return self.blob(p) if t.strip_typedefs().tag == target(struct("rt_blob").pointer()).tag else f"box 0x{p:x}"
        t = t.strip_typedefs()
        if t.code == gdb.TYPE_CODE_STRUCT:
            return self.pid_of(load(t, addr))
        v = int.from_bytes(read(addr, t.sizeof), "little", signed=t.code == gdb.TYPE_CODE_INT and t.is_signed)
        return name_of(t, v) if t.code == gdb.TYPE_CODE_ENUM else str(v)

    @staticmethod
    def blob(addr):
        b = load("rt_blob", addr)
        data = read(b.address("data"), min(b["len"], BLOB_SHOWN))
        return f'"{printable(data)}"' + (f"... ({b['len']} bytes)" if b["len"] > BLOB_SHOWN else "")

    def message(self, addr):
        """name{field=value, ...} and what its header says."""
        m = load("rt_msg", addr)
        refused = m["tag"] & self.macros.value("RT_MSG_REFUSED")
        d = self.desc(m["tag"])
        fields, kinds = [], struct("rt_field")
        if d is not None:
            payload = layout(cstring(int(d["name"])))
            for i in range(int(d["n_fields"])):
                f = d["fields"][i]
                name, kind = cstring(int(f["name"])), short(kinds["kind"].type, int(f["kind"])).upper()
                try:
                    fields.append(f"{name}={self.field(kind, addr + m.layout.size + payload.offset(name))}")
                except gdb.MemoryError:
                    fields.append(f"{name}=?")
        text = ("refused " if refused else "") + self.tag_name(m["tag"]) + "{" + ", ".join(fields) + "}"
        text += " from " + self.pid_of(m, "sender.")
        if m["deadline"]:
            text += f" deadline {m['deadline']} ms"
        return text + (f" trace {m['trace']}" if m["trace"] else "")


class Shard:
    def __init__(self, node, index):
        self.node, self.index = node, index
        self.value = node.value["shards"][index]
        self.addr = int(self.value.address)

    def now_msec(self):
        return int(self.value["now_msec"])

    def slot(self, index):
        """(address of the actor or 0, generation)"""
        size = layout("rt_slot").size
        page = int(self.value["pages"][index // self.node.slot_page])
        s = load("rt_slot", page + index % self.node.slot_page * size)
        return s["a"], s["gen"]

    def actors(self):
        """All actors, dead ones that are still pinned too; a page of slots is read at once."""
        slot, n = layout("rt_slot"), int(self.value["n_slots"])
        for first in range(0, n, self.node.slot_page):
            page = int(self.value["pages"][first // self.node.slot_page])
            count = min(self.node.slot_page, n - first)
            data = read(page, count * slot.size)
            for i in range(count):
                a = Rec(slot, page + i * slot.size, data[i * slot.size:(i + 1) * slot.size])["a"]
                if a:
                    yield load("rt_actor", a)

    def actor(self, text, index, gen):
        if index >= int(self.value["n_slots"]):
            raise Trouble(f"{text} never was: shard {self.index} has used slots up to {int(self.value['n_slots']) - 1}")
        addr, now = self.slot(index)
        a = load("rt_actor", addr) if addr else None
        if a is None or gen is not None and a["gen"] != gen:
            there = f"its slot has {self.node.pid(a['slot'], a['gen'])} now" if a else f"its slot is free (next generation {now})"
            raise Trouble(f"{text} is not alive: {there}")
        return a

    def by_slot(self, slot):
        """The actor with that slot, or None."""
        index = slot & (1 << self.node.pid_bits) - 1
        addr = self.slot(index)[0] if index < int(self.value["n_slots"]) else 0
        return load("rt_actor", addr) if addr else None

    def thread(self):
        """The thread that runs it: it has the shard in its outermost frames."""
        mine = [t for t in self.node.threads if t.has("rt_shard", self.addr)]
        return next((t for t in mine if t.shows("shard_main")), None)


def class_name(actor):
    return cstring(load("rt_class", actor["cls"])["name"])


def flags_of(node, actor):
    return " ".join(n for bit, n in node.flags.items() if actor["flags"] & bit)


def class_of(address):
    """The class as its author wrote it, and its address: a pool of workers makes its own of it."""
    cls = load("rt_class", address)
    return (load("rt_class", cls["of"]), cls["of"]) if cls["of"] else (cls, address)


def state_type(cls):
    """The struct of a class's state: a callback has a local pointer to a struct of just that size. None: not to be told."""
    for callback in ("handle", "timer", "ready", "flush", "init"):
        if not cls[callback]:
            continue
        block = gdb.block_for_pc(cls[callback])
        while block is not None and block.function is None:
            block = block.superblock
        for s in block or ():
            t = s.type.strip_typedefs()
            if t.code == gdb.TYPE_CODE_PTR and t.target().strip_typedefs().code == gdb.TYPE_CODE_STRUCT:
                if t.target().strip_typedefs().sizeof == cls["state_size"]:
                    return t.target().unqualified()
    return None


def mailbox(actor):
    """Addresses of the messages in order. Ends early where the list is broken."""
    if not actor["last"]:
        return
    at, n = load("rt_msg", actor["last"])["next"], 0
    while at and n < actor["queued"]:
        yield at
        at, n = load("rt_msg", at)["next"], n + 1
