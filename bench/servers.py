"""servers: murre, prosody and ejabberd, each started on loopback with a temporary directory of its own and free ports, for the bench.

All three offer SCRAM and PLAIN, without TLS or with (STARTTLS), one domain, no limits on rates. prosody runs with the generational collector
(its default is up to five times slower). Users of the peers are made through in-band registration.

The peers are those of this system (Debian 12), or those of Debian unstable in a root that `bench/peers-install unstable` has made: started by
chroot, in a mount namespace of their own that has their /proc, and their temporary directory as /mnt, and that ends with them."""
import os, re, shutil, signal, socket, subprocess, sys, tempfile, time

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
BUILD = os.path.abspath(os.environ.get("MURRE_BUILD", os.path.join(ROOT, "build")))
BENCH = BUILD + "/murre-bench"
ROOTS = {"12": "", "unstable": BUILD + "/peers-unstable"}  # of Debian, by release; "": this system
LIMIT = 60
# $1 the root, $2 the directory, then the command.
IN_ROOT = 'root=$1; mount -t proc proc "$root/proc"; mount --bind "$2" "$root/mnt"; shift 2; exec chroot "$root" "$@"'


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_port(port, proc, what):
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        if proc.poll() is not None:
            raise RuntimeError(f"{what} ended with status {proc.returncode}")
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"{what} does not listen")


def descendants(pid):
    parents = {}
    for d in os.listdir("/proc"):
        try:
            parents[int(d)] = int(open(f"/proc/{d}/stat").read().rsplit(")", 1)[1].split()[1])
        except (ValueError, OSError):
            pass
    found = {pid}
    while True:
        more = {p for p, q in parents.items() if q in found} - found
        if not more:
            return found
        found |= more


class Server:
    name, root = "", ""

    def __init__(self, **options):
        self.options = options
        self.dir = tempfile.mkdtemp(prefix="murre-bench-")
        os.chmod(self.dir, 0o755)
        self.port, self.proc, self.users = free_port(), None, 0

    @property
    def seen_dir(self):
        """Where the server itself sees self.dir."""
        return "/mnt" if self.root else self.dir

    def spawn(self, args, env=None):
        if self.root:  # each of these execs the next: the process id is that of the server
            args = ["unshare", "--mount", "--propagation", "private", "sh", "-euc", IN_ROOT, "sh", self.root, self.dir, *args]
        self.log = open(self.dir + "/output", "ab")
        self.proc = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, env=dict(os.environ, **(env or {})),
                                     cwd=self.dir, start_new_session=True)  # ejabberd leaves a dump where it stands when it is ended early
        wait_port(self.port, self.proc, self.name)

    def output(self):
        return open(self.dir + "/output", errors="replace").read()

    def bench(self, *args):
        """Runs murre-bench xmpp against this server; its figures as a dictionary. Adds 'failed' when it was not satisfied."""
        import json
        r = subprocess.run([BENCH, "xmpp", "--port", str(self.port), "--server-pid", str(self.proc.pid), "--json", *map(str, args)],
                           capture_output=True, text=True, timeout=300)
        lines = r.stdout.strip().splitlines()
        out = json.loads(lines[-1]) if lines else {}
        if r.returncode:
            out["failed"] = r.stderr.strip() or f"status {r.returncode}"
        return out

    def register(self, n):
        if n > self.users:
            r = self.bench("--mode", "register", "--count", n - self.users, "--first", self.users, "--parallel", 8)
            if r.get("failed"):
                raise RuntimeError(f"{self.name}: {r['failed']}\n{self.output()[-2000:]}")
            self.users = n

    def end(self):
        """By process id, with everything that descends from it."""
        if self.proc:
            ids = descendants(self.proc.pid) if self.proc.poll() is None else set()
            for sig in (signal.SIGTERM, signal.SIGKILL):
                for p in ids:
                    try:
                        os.kill(p, sig)
                    except ProcessLookupError:
                        pass
                try:
                    self.proc.wait(10)
                except subprocess.TimeoutExpired:
                    continue
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_):
        self.end()


class Murre(Server):
    name = "murre"

    def start(self, data=None):
        settings = {"data": data or self.dir + "/data", "domains": "localhost", "xmpp.listen": f"127.0.0.1:{self.port}",
                    "xmpp.tls_listen": "127.0.0.1:0", "sasl.iterations": 4096, "tls.required": "false", "xmpp.per_ip_max": 0,
                    "xmpp.accept_rate": 0, "xmpp.accept_rate_ip": 0,  # all clients come from one address
                    "sasl.mechanisms": "SCRAM-SHA-256,SCRAM-SHA-1,PLAIN", "xmpp.idle_ping": "1h"}
        settings.update(self.options)
        self.data = settings["data"]
        args = [BUILD + "/murre", "run"]
        for k, v in settings.items():
            args += ["--set", f"{k}={v}"]
        t = time.monotonic()
        self.log = open(self.dir + "/output", "ab")
        self.proc = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log)
        text = b""
        while b"\nready\n" not in text:
            piece = os.read(self.proc.stdout.fileno(), 65536)
            if not piece:
                raise RuntimeError("murre ended: " + self.output()[-2000:])
            text += piece
        self.to_ready = time.monotonic() - t

    def ctl(self, *words):
        return subprocess.run([BUILD + "/murrectl", "--socket", self.data + "/ctl.sock", *words], capture_output=True, text=True, timeout=300)

    def register(self, n):
        if n <= self.users:
            return
        with open(self.dir + "/users", "w") as f:
            for i in range(self.users, n):
                f.write(f"u{i}@localhost secret\n")
        r = self.ctl("user", "import", f.name)
        if r.returncode:
            raise RuntimeError(r.stdout + r.stderr)
        self.users = n


def certificate(directory):
    """A self-signed P-256 certificate for localhost, as murre makes for itself; key and chain in one file each."""
    crt, key = directory + "/localhost.crt", directory + "/localhost.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj",
                    "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", crt], check=True, capture_output=True)
    os.chmod(key, 0o644)  # of a throw-away server; prosody gives up root
    return crt, key


class Prosody(Server):
    name = "prosody"

    def start(self):
        certificate(self.dir)
        here = self.seen_dir
        os.mkdir(self.dir + "/data")
        with open(self.dir + "/prosody.cfg.lua", "w") as f:
            f.write(f"""
run_as_root = true
daemonize = false
pidfile = "{here}/prosody.pid"
data_path = "{here}/data"
log = {{ error = "*console" }}
gc = {{ mode = "generational" }}
network_backend = "epoll"
modules_enabled = {{ "roster", "saslauth", "tls", "disco", "ping", "offline", "smacks", "register_ibr" }}
modules_disabled = {{ "s2s", "limits" }}
allow_registration = true
allow_unencrypted_plain_auth = true
c2s_require_encryption = false
c2s_interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {self.port} }}
s2s_ports = {{ }}
authentication = "internal_hashed"
password_hash = "SHA-256"
storage = "internal"
ssl = {{ certificate = "{here}/localhost.crt"; key = "{here}/localhost.key"; }}
VirtualHost "localhost"
""")
        self.spawn(["prosody", "--config", here + "/prosody.cfg.lua", "-F"])


class Ejabberd(Server):
    name = "ejabberd"

    def start(self):
        crt, key = certificate(self.dir)
        with open(self.dir + "/both.pem", "w") as f:
            f.write(open(crt).read() + open(key).read())
        here = self.seen_dir
        for d in ("spool", "log"):
            os.mkdir(f"{self.dir}/{d}")
        with open(self.dir + "/ejabberd.yml", "w") as f:
            f.write(f"""
hosts: ["localhost"]
loglevel: error
certfiles: ["{here}/both.pem"]
listen:
  - port: {self.port}
    ip: "127.0.0.1"
    module: ejabberd_c2s
    starttls: true
    max_stanza_size: 262144
    shaper: none
    access: all
    backlog: 1024
auth_method: internal
auth_password_format: scram
auth_scram_hash: sha256
registration_timeout: infinity
access_rules:
  register: {{allow: all}}
shaper_rules:
  max_user_sessions: infinity
  max_user_offline_messages: infinity
modules:
  mod_register: {{access: register, ip_access: all, captcha_protected: false}}
  mod_roster: {{}}
  mod_disco: {{}}
  mod_ping: {{}}
  mod_offline: {{access_max_user_messages: max_user_offline_messages}}
  mod_stream_mgmt: {{}}
""")
        # The VM itself, without the shell script around it: no epmd, no distribution, nothing of the machine's own configuration.
        self.spawn(["erl", "-noinput", "-pa", *self.paths(), "-mnesia", "dir", f'"{here}/spool"', "+P", "250000", "-s", "ejabberd"],
                   {"EJABBERD_CONFIG_PATH": here + "/ejabberd.yml", "EJABBERD_LOG_PATH": here + "/log/ejabberd.log",
                    "ERL_CRASH_DUMP": "/dev/null", "HOME": here, "ERL_MAX_PORTS": "32000"})

    def paths(self):
        """Debian has ejabberd itself outside the library directory of Erlang."""
        libs = "/usr/lib/x86_64-linux-gnu"
        return sorted(f"{libs}/{d}/ebin" for d in os.listdir(self.root + libs)
                      if "ejabberd" in d and os.path.isdir(f"{self.root}{libs}/{d}/ebin"))


def version(package, root):
    """Of an installed Debian package, without the revision; None: not installed."""
    r = subprocess.run(["dpkg-query", "--admindir", root + "/var/lib/dpkg", "--show", "--showformat", "${db:Status-Status} ${Version}", package],
                       capture_output=True, text=True)
    state, _, v = r.stdout.partition(" ")
    return v.split("-")[0] if state == "installed" else None


def peers(choice):
    """The peers of a choice (12, unstable, both, none), as classes named by their versions. RuntimeError: a choice that cannot be had."""
    if choice not in (*ROOTS, "both", "none"):
        raise RuntimeError(f"PEERS={choice}: it is 12, unstable, both or none")
    found = []
    for release in [r for r in ROOTS if choice in (r, "both")]:
        root = ROOTS[release]
        if root and not os.path.exists(root + "/.complete"):
            raise RuntimeError(f"there are no peers of Debian {release} in {root}: bench/peers-install {release} puts them there")
        if root and os.geteuid() != 0:
            raise RuntimeError(f"the peers of Debian {release} are started by chroot, which needs root")
        for cls in (Prosody, Ejabberd):
            v = version(cls.name, root)
            if v:
                found.append(type(cls.__name__, (cls,), {"name": f"{cls.name} {v}", "root": root}))
    return found
