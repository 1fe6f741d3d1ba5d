"""TLS as a stranger, a client and somebody in the middle see it: versions and suites (openssl s_client), certificates that change while the
server runs, server names, key formats, ALPN, and channel binding with libgsasl and by hand."""
import base64, hashlib, hmac, os, re, select, shutil, signal, socket, ssl, subprocess, sys, tempfile, threading
from rig import BUILD, LIMIT, ROOT, Raw, Server, login, main, until

DIR = tempfile.mkdtemp(prefix="murre-test-")
S = None


def run(*words, input=None):
    return subprocess.run(words, check=True, capture_output=True, input=input).stdout


def certificate(name, domain, *how):
    """A self-signed certificate NAME.crt and its PKCS8 key NAME.key."""
    run("openssl", "req", "-x509", "-nodes", "-days", "30", "-subj", "/CN=" + domain, "-addext", "subjectAltName=DNS:" + domain,
        "-keyout", f"{DIR}/{name}.key", "-out", f"{DIR}/{name}.crt", *(how or ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")))
    return open(f"{DIR}/{name}.crt").read()


def server():
    """Two domains: one with an ECDSA certificate, one with RSA signed with SHA-384."""
    global S
    if S is None:
        certificate("ec", "one.example")
        certificate("rsa", "two.example", "-newkey", "rsa:2048", "-sha384")
        S = Server({"domains": "one.example,two.example", "tls.cert": f"{DIR}/ec.crt,{DIR}/rsa.crt", "tls.key": f"{DIR}/ec.key,{DIR}/rsa.key",
                    "auth.account_failures": "0"}).start()  # many logins of one account fail here on purpose
        S.user("alice@one.example")
        S.user("alice@two.example")
    return S


def s_client(s, *args, name="one.example", starttls=False):
    """openssl s_client; what it prints, and whether a handshake was made."""
    cmd = ["openssl", "s_client", "-connect", f"127.0.0.1:{s.port if starttls else s.tls_port}"] + (["-servername", name] if name else ["-noservername"])
    if starttls:
        cmd += ["-starttls", "xmpp", "-xmpphost", name]
    r = subprocess.run(cmd + list(args), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT)
    return r.stdout, "Cipher is (NONE)" not in r.stdout and "New, " in r.stdout


def presented(s, name="one.example"):
    """The certificate that a new connection gets, DER."""
    c = ssl.create_default_context()
    c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", s.tls_port), timeout=LIMIT) as k, c.wrap_socket(k, server_hostname=name) as t:
        return t.getpeercert(True)


def der(pem):
    return ssl.PEM_cert_to_DER_cert(pem[:pem.index("-----END CERTIFICATE-----") + 26])


# --- what is spoken
def test_versions():
    "TLS 1.0 and 1.1 are refused, 1.2 and 1.3 spoken, on direct TLS and after STARTTLS; no compression, no early data."
    s = server()
    for starttls in (False, True):
        for version, want in (("-tls1", False), ("-tls1_1", False), ("-tls1_2", True), ("-tls1_3", True)):
            out, ok = s_client(s, version, "-cipher", "ALL:@SECLEVEL=0", starttls=starttls)
            assert ok == want, (version, starttls, out)
            assert not ok or ("Compression: NONE" in out and not re.search(r"Max Early Data: [1-9]", out)), out


def test_suites_of_tls_1_2_are_ecdhe_with_aead():
    "Of every suite that OpenSSL has for TLS 1.2, those with ECDHE and an AEAD that we list are accepted with the certificate that fits, all others refused."
    s = server()
    want = {"one.example": {f"ECDHE-ECDSA-{c}" for c in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")},
            "two.example": {f"ECDHE-RSA-{c}" for c in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")}}
    every = [c for c in run("openssl", "ciphers", "ALL:COMPLEMENTOFALL:@SECLEVEL=0").decode().strip().split(":") if not c.startswith("TLS_")]
    assert len(every) > 50
    for name, good in want.items():
        taken = set()
        c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
        c.minimum_version = c.maximum_version = ssl.TLSVersion.TLSv1_2
        for suite in every:
            try:
                c.set_ciphers(suite + ":@SECLEVEL=0")
                with socket.create_connection(("127.0.0.1", s.tls_port), timeout=LIMIT) as k, c.wrap_socket(k, server_hostname=name) as t:
                    taken.add(t.cipher()[0])
            except (ssl.SSLError, ConnectionResetError):
                pass
        assert taken == good, (name, taken)
    for suite, ok in (("ECDHE-ECDSA-AES128-GCM-SHA256", True), ("ECDHE-ECDSA-AES128-SHA256", False), ("AES128-GCM-SHA256", False), ("ECDHE-ECDSA-AES128-CCM", False)):
        out, made = s_client(s, "-tls1_2", "-cipher", suite)
        assert made == ok, (suite, out)


def test_suites_and_groups_of_tls_1_3():
    "TLS 1.3: AES-GCM and ChaCha20 are accepted, CCM refused; X25519, P-256 and P-384 are accepted, finite-field groups and P-521 refused."
    s = server()
    for suite, want in (("TLS_AES_128_GCM_SHA256", True), ("TLS_AES_256_GCM_SHA384", True), ("TLS_CHACHA20_POLY1305_SHA256", True), ("TLS_AES_128_CCM_SHA256", False),
                        ("TLS_AES_128_CCM_8_SHA256", False)):
        out, ok = s_client(s, "-tls1_3", "-ciphersuites", suite)
        assert ok == want and (not ok or suite in out), (suite, out)
    for group, want in (("X25519", True), ("P-256", True), ("P-384", True), ("P-521", False), ("ffdhe2048", False)):
        for version in ("-tls1_2", "-tls1_3"):
            if version == "-tls1_2" and group.startswith("ffdhe"):
                continue
            out, ok = s_client(s, version, "-groups", group, name="two.example")  # an ECDSA certificate has a group of its own
            assert ok == want, (group, version, out)


def test_alpn():
    "ALPN: xmpp-client is selected when offered, alone or among others; without ALPN the handshake is made; only others: refused."
    s = server()
    for offer, want in (("xmpp-client", True), ("http/1.1,xmpp-client", True), ("http/1.1", False), ("xmpp-server", False)):
        out, ok = s_client(s, "-alpn", offer)
        assert ok == want and ("ALPN protocol: xmpp-client" in out) == want, (offer, out)
    out, ok = s_client(s)
    assert ok and "No ALPN negotiated" in out, out


def test_server_name_chooses_the_certificate():
    "SNI: each domain has its own certificate; no name, or one that is not ours, gets the first. Self-signed ones too, with the printed fingerprint."
    s = server()
    ec, rsa = der(open(DIR + "/ec.crt").read()), der(open(DIR + "/rsa.crt").read())
    assert presented(s, "one.example") == ec and presented(s, "TWO.example") == rsa
    assert presented(s, None) == ec and presented(s, "elsewhere.example") == ec
    with Server({"domains": "a.example,b.example"}) as t:
        prints = dict(re.findall(r"certificate of (\S+) .*\n  ([0-9A-F:]{95})\n", t.banner.decode()))
        for name in ("a.example", "b.example"):
            got = presented(t, name)
            assert hashlib.sha256(got).hexdigest().upper() == prints[name].replace(":", ""), (name, prints)
        text = run("openssl", "x509", "-inform", "DER", "-noout", "-text", input=presented(t, "b.example")).decode()
        assert "DNS:b.example" in text, text
    with Server({"domains": "localhost,b\u00fccher.example"}) as t:
        text = run("openssl", "x509", "-inform", "DER", "-noout", "-text", input=presented(t, "xn--bcher-kva.example")).decode()
        assert "DNS:xn--bcher-kva.example" in text, text
        t.user("alice@b\u00fccher.example")
        c = Raw(t.tls_port)
        c.wrap(name="xn--bcher-kva.example")
        c.open("b\u00fccher.example")
        assert c.plain("alice")


def test_key_formats_and_chains():
    "Keys in PKCS8 and in the traditional formats, ECDSA and RSA; the whole chain of a file is sent, leaf first."
    certificate("k1", "one.example")
    certificate("k2", "one.example", "-newkey", "rsa:2048")
    run("openssl", "ec", "-in", DIR + "/k1.key", "-out", DIR + "/k1.old")
    run("openssl", "rsa", "-traditional", "-in", DIR + "/k2.key", "-out", DIR + "/k2.old")
    assert "BEGIN EC PRIVATE KEY" in open(DIR + "/k1.old").read() and "BEGIN RSA PRIVATE KEY" in open(DIR + "/k2.old").read()
    assert "BEGIN PRIVATE KEY" in open(DIR + "/k1.key").read()
    with open(DIR + "/chain", "w") as f:
        f.write(open(DIR + "/k1.crt").read() + open(DIR + "/k2.crt").read())
    for cert, key in (("k1.crt", "k1.key"), ("k1.crt", "k1.old"), ("k2.crt", "k2.key"), ("k2.crt", "k2.old"), ("chain", "k1.old")):
        with Server({"domains": "one.example", "tls.cert": f"{DIR}/{cert}", "tls.key": f"{DIR}/{key}"}) as s:
            assert presented(s) == der(open(f"{DIR}/{cert}").read()), (cert, key)
            out, ok = s_client(s, "-showcerts")
            assert out.count("BEGIN CERTIFICATE") == (2 if cert == "chain" else 1), out


def test_a_changed_certificate_is_read_without_restart():
    "A changed file: new connections get it, old sessions live on; a broken one is named in the log and the old one stays; mended, it is taken. SIGHUP looks at once."
    first, second = certificate("r1", "localhost"), certificate("r2", "localhost")

    def put(crt, key):
        for name, text in (("live.key", key), ("live.crt", crt)):
            with open(f"{DIR}/{name}.new", "w") as f:
                f.write(text)
            os.rename(f"{DIR}/{name}.new", f"{DIR}/{name}")

    key = lambda n: open(f"{DIR}/{n}.key").read()
    put(first, key("r1"))
    with Server({"tls.cert": DIR + "/live.crt", "tls.key": DIR + "/live.key"}) as s:
        s.user("alice@localhost")
        old = login(s, "alice", resource="old")
        assert presented(s) == der(first)
        put(second, key("r2"))
        until("the new certificate is presented", lambda: presented(s) == der(second))
        old.send("<iq type='get' id='p' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>")
        old.expect(r"<iq[^>]*id='p'")
        with open(DIR + "/live.crt", "w") as f:
            f.write(second[:200])
        s.proc.send_signal(signal.SIGHUP)
        until("the broken file is named", lambda: re.search(r"error tls_reload_fail.*live\.crt", s.stderr()))
        assert presented(s) == der(second)
        old.send("<iq type='get' id='q' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>")
        old.expect(r"<iq[^>]*id='q'")
        new = login(s, "alice", resource="new")
        assert new.jid == "alice@localhost/new"
        new.close()
        put(first, key("r2"))
        s.proc.send_signal(signal.SIGHUP)
        pair = rf"error tls_reload_fail.*the key in \S*/live\.key is not that of the certificate in \S*/live\.crt"
        until("the pair that does not fit is named", lambda: re.search(pair, s.stderr()))
        os.unlink(DIR + "/live.key")
        put(first, key("r1"))
        s.proc.send_signal(signal.SIGHUP)
        until("the mended certificate is presented", lambda: presented(s) == der(first))
        old.close()
        assert s.stop() == 0


# --- channel binding
def gsasl(port, *words):
    """The C client: exit status and its line."""
    r = subprocess.run([BUILD + "/gsasl-login", str(port), *words], capture_output=True, text=True, timeout=LIMIT)
    return r.returncode, r.stdout + r.stderr


def build_client():
    env = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
    path = os.path.relpath(BUILD, ROOT)
    subprocess.run(["make", "-s", "-C", ROOT, "B=" + path, path + "/gsasl-login"], check=True, capture_output=True, env=env)


def test_libgsasl_logs_in_with_plus():
    "libgsasl logs in with SCRAM-SHA-256-PLUS and SCRAM-SHA-1-PLUS and tls-exporter, over STARTTLS and direct TLS, TLS 1.2 and 1.3, ECDSA and RSA; a wrong binding or password fails."
    build_client()
    s = server()
    for how, port in (("starttls", s.port), ("direct", s.tls_port)):
        for version in ("1.2", "1.3"):
            for mech in ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS"):
                for domain in ("one.example", "two.example"):
                    st, out = gsasl(port, how, version, domain, "alice", "secret", mech)
                    assert st == 0 and out == f"TLSv{version} {mech} offered in\n", (how, version, mech, st, out)
                st, out = gsasl(port, how, version, domain, "alice", "secret", mech, "wrong")
                assert st == 1 and "refused" in out, (how, version, mech, st, out)
            st, out = gsasl(port, how, version, domain, "alice", "Secret", mech)
            assert st == 1 and "refused" in out, (st, out)


def scram(c, mech, gs2, binding, user="alice", password="secret"):
    """SCRAM by hand with any gs2 header and binding data; whether the server took it."""
    alg = "sha256" if "256" in mech else "sha1"
    nonce = base64.b64encode(os.urandom(18)).decode()
    bare = f"n={user},r={nonce}"
    c.send(f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='{mech}'>{base64.b64encode((gs2 + bare).encode()).decode()}</auth>")
    m = c.expect(r"<(challenge|failure)[^>]*>(.*?)</\1>")
    if m[1] == b"failure":
        return False
    first = base64.b64decode(m[2]).decode()
    f = dict(p.split("=", 1) for p in first.split(","))
    key = hmac.digest(hashlib.pbkdf2_hmac(alg, password.encode(), base64.b64decode(f["s"]), int(f["i"])), b"Client Key", alg)
    final = "c=" + base64.b64encode(gs2.encode() + binding).decode() + ",r=" + f["r"]
    sig = hmac.digest(hashlib.new(alg, key).digest(), f"{bare},{first},{final}".encode(), alg)
    proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, sig))).decode()
    c.send(f"<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{base64.b64encode((final + ',p=' + proof).encode()).decode()}</response>")
    return c.expect(r"<(success|failure)").group(1) == b"success"


def raw(port, domain):
    c = Raw(port)
    c.wrap(name=domain)
    return c, c.open(domain)


def test_tls_server_end_point_by_hand():
    "tls-server-end-point: the hash of the certificate by its signature's algorithm (SHA-256, SHA-384) logs in; another hash, another certificate and unknown binding types fail."
    s = server()
    for domain, alg in (("one.example", "sha256"), ("two.example", "sha384")):
        for mech in ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS"):
            c, features = raw(s.tls_port, domain)
            assert "<channel-binding type='tls-server-end-point'/>" in features and "<channel-binding type='tls-exporter'/>" in features, features
            cert = c.sock.getpeercert(True)
            assert scram(c, mech, "p=tls-server-end-point,,", hashlib.new(alg, cert).digest()), (domain, mech)
            for gs2, binding in (("p=tls-server-end-point,,", hashlib.new("sha384" if alg == "sha256" else "sha256", cert).digest()),
                                 ("p=tls-server-end-point,,", hashlib.new(alg, cert + b"x").digest()), ("p=tls-server-end-point,,", b""),
                                 ("p=tls-exporter,,", hashlib.new(alg, cert).digest()), ("p=tls-magic,,", b"x"), ("n,,", b"")):
                c, _ = raw(s.tls_port, domain)
                assert not scram(c, mech, gs2, binding), (domain, mech, gs2)


def test_plus_cannot_be_stripped():
    "A client that could bind and was told that the server cannot ('y') is refused: somebody took -PLUS out of the list. 'n' is fine."
    s = server()
    c, _ = raw(s.tls_port, "one.example")
    assert not scram(c, "SCRAM-SHA-256", "y,,", b"")
    c, _ = raw(s.tls_port, "one.example")
    assert scram(c, "SCRAM-SHA-256", "n,,", b"")


class Middle:
    """Somebody in the middle with a certificate of the same name: TLS on both sides, and every byte passed on."""

    def __init__(self, port, domain):
        certificate("mitm", domain)
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.server.load_cert_chain(DIR + "/mitm.crt", DIR + "/mitm.key")
        self.client = ssl.create_default_context()
        self.client.check_hostname, self.client.verify_mode = False, ssl.CERT_NONE
        self.to, self.domain = port, domain
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.seen = b""
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                k, _ = self.listener.accept()
                a = self.server.wrap_socket(k, server_side=True)
                b = self.client.wrap_socket(socket.create_connection(("127.0.0.1", self.to)), server_hostname=self.domain)
            except OSError:
                return
            threading.Thread(target=self.pump, args=(a, b), daemon=True).start()

    def pump(self, a, b):
        """One thread for both directions: a TLS connection is not for two threads at once."""
        try:
            while True:
                select.select([a, b], [], [])
                for x, y in ((a, b), (b, a)):
                    x.setblocking(False)
                    try:
                        while True:
                            piece = x.recv(65536)
                            if not piece:
                                raise ConnectionResetError
                            self.seen += piece
                            y.setblocking(True)
                            y.sendall(piece)
                    except ssl.SSLWantReadError:
                        pass
        except OSError:
            pass
        for k in (a, b):
            try:
                k.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def test_somebody_in_the_middle_with_a_valid_certificate_fails():
    "A proxy with its own certificate for the domain: the login fails with both bindings and both TLS versions, whatever the client thinks of the certificate."
    build_client()
    s = server()
    m = Middle(s.tls_port, "one.example")
    for version in ("1.2", "1.3"):
        st, out = gsasl(m.port, "direct", version, "one.example", "alice", "secret", "SCRAM-SHA-256-PLUS")
        assert st == 1 and "offered refused" in out, (version, st, out)
    c, _ = raw(m.port, "one.example")
    cert = c.sock.getpeercert(True)
    assert cert == der(open(DIR + "/mitm.crt").read())
    assert not scram(c, "SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,", hashlib.sha256(cert).digest())
    c, _ = raw(m.port, "one.example")
    assert scram(c, "SCRAM-SHA-256", "n,,", b""), "the proxy itself works: only the binding notices it"
    assert b"urn:xmpp:sasl-cb:0" in m.seen or b"tls-exporter" in m.seen
    m.listener.close()


def test_wrong_cipher_settings_are_refused_at_start():
    "tls.ciphers_1_2 cannot weaken: a suite without ECDHE or AEAD is refused at start; a narrower list is obeyed."
    server()
    for suite in ("AES128-SHA", "ECDHE-ECDSA-AES128-SHA", "NONSENSE"):
        r = subprocess.run([BUILD + "/murre", "run", "--set", f"data={DIR}/d", "--set", "xmpp.listen=127.0.0.1:0", "--set", "xmpp.tls_listen=", "--set",
                            "tls.ciphers_1_2=" + suite], capture_output=True, text=True, timeout=LIMIT)
        assert r.returncode == 65 and suite in r.stderr and len(r.stderr.splitlines()) == 1, r
    with Server({"tls.ciphers_1_2": "ECDHE-ECDSA-AES256-GCM-SHA384"}) as s:
        assert s_client(s, "-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384")[1]
        assert not s_client(s, "-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256")[1]


if __name__ == "__main__":
    try:
        main(sys.modules[__name__])
    finally:
        if S:
            S.__exit__()
        shutil.rmtree(DIR, ignore_errors=True)
