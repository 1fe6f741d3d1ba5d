#!/usr/bin/python3
"""seeds: writes the part of test/fuzz/corpus that is made and not found: test/fuzz/seeds.py [--check] [TARGET ...].

Each target has a function that yields (name, bytes), a few for each production of its grammar: what is allowed, what is at a limit, what is
just past it. Nothing is random, so that the same script writes the same files: "gen-" and the name. --check writes nothing and says whether the
corpus is what this script would write. Files without "gen-" were found by fuzzing or written by hand, and stay."""
import itertools, os, struct, sys

CORPUS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus")
SM, STREAM = "urn:xmpp:sm:3", "http://etherx.jabber.org/streams"
OPEN = f"<?xml version='1.0'?><stream:stream to='localhost' version='1.0' xmlns='jabber:client' xmlns:stream='{STREAM}'>"


def framer():
    """First byte: bit 0, a stream header is to come; the rest, where to cut."""
    units = {
        "empty": "<a/>", "pair": "<a></a>", "nested": "<a><b><c/></b><b/></a>", "text": "<a>x &amp; y &#65; > ]] \"'</a>",
        "attrs": "<a b='1' c=\"2\" d = '>' e='/>'/>",
        "space": " \r\n\t<a />\n \n<b\n/>  ", "cdata": "<a><![CDATA[]]></a><a><![CDATA[<a>]]]]]]></a>", "pi": "<?xml version='1.0'?><a/>",
        "late_pi": "<a/><?x y?>",
        "comment": "<!-- - -- --><a/>", "doctype": "<!DOCTYPE a><a/>", "close": "</stream:stream>", "close_space": "</stream:stream >\n",
        "bad_close": "</>",
        "close_attr": "<a></a b='1'>", "unclosed": "<a b='", "less": "<a <b/>", "no_name": "< a/>", "digit": "<1/>", "slash": "<a/ >",
        "naked": "text", "nul": "<a>\0</a>",
        "amp": "&amp;<a/>", "cr": "<a>\r\r\n</a>", "sm": f"<r xmlns='{SM}'/><a xmlns='{SM}' h='1'/>", "two": "<a/><b/><c></c>",
        "end_cdata": "<a>]]></a>", "part_cdata": "<a><![CD</a>",
        "quote_mix": "<a b='\"' c=\"'\"/>", "utf8": "<é>→</é>", "long": "<a>" + "x" * 5000 + "</a>", "long_attr": "<a b='" + "y" * 4200 + "'/>",
        "fits": "<a>" + "x" * 4089 + "</a>",
    }
    for name, text in units.items():
        for cut in (0, 2, 126):
            yield f"{name}-{cut}", bytes([cut]) + text.encode()
    for depth in (63, 64, 65, 66, 200):
        yield f"depth-{depth}", b"\6" + b"<a>" * depth + b"</a>" * depth
    for name, head in (("open", OPEN), ("open_only", OPEN[21:]), ("open_bare", "<stream>"), ("open_empty", "<stream:stream/>"), ("open_pi",
        "<?xml version='1.0' encoding='UTF-8'?>\n<s>")):
        yield name, b"\5" + head.encode() + b" <iq/><message><body/></message></stream:stream>"


def xml():
    yield from ((k, v if isinstance(v, bytes) else v.encode()) for k, v in {
        "refs": "<a b='&lt;&gt;&amp;&quot;&apos;&#9;&#10;&#13;'>&lt;&gt;&amp;&quot;&apos;&#xA;&#x10FFFF;&#38;</a>", "ref_empty": "<a>&;</a>",
        "ref_num": "<a>&#;</a>", "ref_hex": "<a>&#x;</a>",
        "ref_big": "<a>&#x110000;</a>", "ref_huge": "<a>&#99999999999999999999;</a>", "ref_fffe": "<a>&#xFFFE;</a>", "ref_one": "<a>&#1;</a>",
        "ref_name": "<a>&nbsp;</a>", "ref_cut": "<a>&amp</a>",
        "ns_undeclared": "<p:a/>", "ns_attr_undeclared": "<a p:b='1'/>", "ns_empty_prefix": "<a xmlns:p=''/>", "ns_xmlns": "<a xmlns:xmlns='u'/>",
        "ns_xml_other": "<a xmlns:xml='u'/>",
        "ns_xml_as_default": "<a xmlns='http://www.w3.org/XML/1998/namespace'/>", "ns_xmlns_uri": "<a xmlns:p='http://www.w3.org/2000/xmlns/'/>",
        "ns_redeclared": "<a xmlns='u'><b xmlns='v'><c xmlns='u'/></b></a>",
        "ns_twice": "<a xmlns='u' xmlns='v'/>", "ns_prefix_twice": "<a xmlns:p='u' xmlns:p='v'/>", "ns_after": "<p:a b='1' xmlns:p='u'/>",
        "ns_colon": "<a:b:c xmlns:a='u'/>", "ns_colon_first": "<:a/>",
        "ns_colon_last": "<a: xmlns:a='u'/>", "ns_mixed": "<p:a xmlns:p='u'></p:a>", "ns_other_end": "<p:a xmlns:p='u' xmlns:q='u'></q:a>",
        "ns_many": "<a " + " ".join(f"xmlns:p{i}='u{i}' p{i}:x=''" for i in range(16)) + "/>",
        "ns_too_many": "<a " + " ".join(f"xmlns:p{i}='u{i}'" for i in range(200)) + "/>",
        "attr_many": "<a " + " ".join(f"b{i}='{i}'" for i in range(64)) + "/>", "attr_twice": "<a b='1' b='1'/>",
        "attr_less": "<a b='<'/>", "attr_no_value": "<a b/>", "attr_no_quote": "<a b=1/>", "attr_no_space": "<a b='1'c='2'/>",
        "attr_space": "<a\tb\r=\n'1' />", "attr_norm": "<a b='\t\r\n x &#9;'/>",
        "attr_lang": "<a xml:lang='en' xml:space='preserve' xml:base='u'/>", "end_other": "<a></b>", "end_space": "<a></a >",
        "end_missing": "<a><b></a>", "end_extra": "<a/></a>", "after": "<a/>x", "two": "<a/><b/>",
        "empty": "", "space": " <a/>", "cdata": "<a><![CDATA[<&>]]>]]&gt;<![CDATA[]]></a>", "cdata_two": "<a>x<![CDATA[y]]>z<b/><![CDATA[w]]></a>",
        "cdata_end": "<a>]]></a>", "cdata_cut": "<a><![CDATA[x]]</a>",
        "cdata_case": "<a><![cdata[x]]></a>", "comment": "<a><!-- x --></a>", "pi": "<a><?x?></a>", "doctype": "<!DOCTYPE a><a/>",
        "entity": "<!DOCTYPE a [<!ENTITY e 'x'>]><a>&e;</a>",
        "decl": "<?xml version='1.0'?><a/>", "decl_11": "<?xml version='1.1'?><a>",
        "decl_all": "<?xml version=\"1.0\" encoding='utf-8' standalone='yes' ?><a>",
        "decl_latin": "<?xml version='1.0' encoding='ISO-8859-1'?><a>",
        "decl_none": "<?xml?><a>", "decl_order": "<?xml encoding='UTF-8' version='1.0'?><a>", "decl_case": "<?XML version='1.0'?><a>",
        "open_self": "<a/>", "open_ns": "<s:s xmlns:s='" + STREAM + "' xmlns='jabber:client' xml:lang='de'>",
        "name_start": "<_a-.1 -b=''/>", "name_dash": "<-a/>", "name_dot": "<.a/>", "name_2": "<é à='x'/>", "name_3": "<日 本='x'/>", "name_4": "<𐀀/>",
        "name_mul": "<a×/>", "name_div": "<÷/>", "name_mid": "<a·b/>", "name_comb": "<a\u0301/>",
        "text_2": "<a>\u0080\u07ff</a>", "text_3": "<a>\u0800\ud7ff\ue000\ufffd</a>", "text_4": "<a>\U00010000\U0010ffff</a>",
        "text_fffe": "<a>\ufffe</a>", "text_ffff": "<a>\uffff</a>", "text_del": "<a>\x7f\x85\u2028</a>",
        "text_ctl": "<a>\x01</a>", "text_tab": "<a>\t\n\r\r\n\n\r</a>", "utf8_c0": b"<a>\xc0\x80</a>", "utf8_e0": b"<a>\xe0\x80\x80</a>",
        "utf8_f0": b"<a>\xf0\x80\x80\x80</a>", "utf8_f4": b"<a>\xf4\x90\x80\x80</a>", "utf8_f5": b"<a>\xf5\x80\x80\x80</a>",
        "utf8_cut2": b"<a>\xc3</a>", "utf8_cut3": b"<a>\xe2\x82</a>", "utf8_cut4": b"<a>\xf0\x9f\x98</a>", "utf8_cont": b"<a>\x80</a>",
        "utf8_surr": b"<a>\xed\xbf\xbf</a>", "utf8_name": b"<a\xff/>", "utf8_attr": b"<a b='\xff'/>",
        "bom": "\ufeff<a/>", "utf16": "<a/>".encode("utf-16"), "depth_64": "<a>" * 64 + "</a>" * 64, "depth_65": "<a>" * 65 + "</a>" * 65,
        "depth_400": "<a>" * 400, "mixed": "<a>x<b>y</b>z<b/>&lt;<c d='e'/></a>",
        "xhtml": "<html xmlns='http://jabber.org/protocol/xhtml-im'><body xmlns='http://www.w3.org/1999/xhtml'><p style='color:red'>x <a href='http://h/?a&amp;b'>y</a></p></body></html>"}.items())


def stanza():
    subs = ("subscribe", "subscribed", "unsubscribe", "unsubscribed", "unavailable", "probe", "error", "nonsense", "")
    for t in subs:
        yield f"presence-{t or 'empty'}", f"<presence type='{t}' to='juliet@localhost'/>".encode()
    for i, p in enumerate(("127", "-128", "128", "-129", "x", "", "+1", "1</priority><priority>2")):
        yield f"priority-{i}", f"<presence><priority>{p}</priority></presence>".encode()
    for s in ("away", "chat", "dnd", "xa", "none", ""):
        yield f"show-{s or 'empty'}", f"<presence><show>{s}</show><status xml:lang='de'>x</status></presence>".encode()
    for t in ("chat", "normal", "groupchat", "headline", "error", "other", ""):
        yield f"message-{t or 'empty'}", f"<message to='juliet@localhost/r' type='{t}' id='m' xml:lang='en'><subject>s</subject><body>b</body><thread parent='p'>t</thread></message>".encode()
    for t in ("get", "set", "result", "error", "other", ""):
        yield f"iq-{t or 'empty'}", f"<iq to='example.org' type='{t}' id='i'><ping xmlns='urn:xmpp:ping'/></iq>".encode()
    for i, to in enumerate(("@", "a@", "@b", "a@b/", "localhost", "localhost/r", "a@localhost", "a@localhost/r", "A@LOCALHOST/R", "ä@bücher.example",
                            "a@[::1]", "a@1.2.3.4", "a b@c", "romeo@localhost", "romeo@localhost/orchard", "a" * 1024 + "@b", "a@b/" + "c" * 1024)):
        yield f"to-{i:02}", f"<message to='{to}' id='t'><body>x</body></message>".encode()
    payloads = {
        "empty": "", "body_empty": "<body/>", "states": "".join(f"<{s} xmlns='http://jabber.org/protocol/chatstates'/>" for s in ("active",
        "composing")), "paused": "<paused xmlns='http://jabber.org/protocol/chatstates'/>",
        "request": "<body>x</body><request xmlns='urn:xmpp:receipts'/>", "received": "<received xmlns='urn:xmpp:receipts' id='1'/>",
        "marker": "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>",
        "no_store": "<body>x</body><no-store xmlns='urn:xmpp:hints'/>", "no_perm": "<body>x</body><no-permanent-store xmlns='urn:xmpp:hints'/>",
        "store": "<x xmlns='y'/><store xmlns='urn:xmpp:hints'/>", "no_copy": "<body>x</body><no-copy xmlns='urn:xmpp:hints'/>",
        "private": "<body>x</body><private xmlns='urn:xmpp:carbons:2'/>",
        "carbon": "<sent xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'><body>x</body></message></forwarded></sent>",
        "origin": "<body>x</body><origin-id xmlns='urn:xmpp:sid:0' id='o'/>", "origin_none": "<body>x</body><origin-id xmlns='urn:xmpp:sid:0'/>",
        "origin_two": "<origin-id xmlns='urn:xmpp:sid:0' id='o'/><origin-id xmlns='urn:xmpp:sid:0' id='p'/>",
        "origin_long": "<body>x</body><origin-id xmlns='urn:xmpp:sid:0' id='" + "o" * 2000 + "'/>",
        "sid_ours": "<body>x</body><stanza-id xmlns='urn:xmpp:sid:0' by='juliet@localhost' id='f'/>",
        "sid_theirs": "<body>x</body><stanza-id xmlns='urn:xmpp:sid:0' by='a@example.net' id='f'/>",
        "sid_bare": "<stanza-id xmlns='urn:xmpp:sid:0'/>",
        "delay": "<body>x</body><delay xmlns='urn:xmpp:delay' stamp='2002-09-10T23:08:25Z' from='localhost'/>",
        "delay_other": "<delay xmlns='urn:xmpp:delay' stamp='x' from='a@example.net'/>",
        "delay_old": "<x xmlns='jabber:x:delay' stamp='20020910T23:08:25' from='localhost'/>",
        "forward": "<forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' from='localhost'/></forwarded>",
        "muc": "<x xmlns='http://jabber.org/protocol/muc#user'><invite to='a@b'/></x>",
        "mam": "<result xmlns='urn:xmpp:mam:2' id='1'><forwarded xmlns='urn:xmpp:forward:0'/></result>",
        "many": "".join(f"<x xmlns='u{i}'/>" for i in range(40)), "text": "words <b xmlns='u'/> between",
        "error": "<error type='cancel' by='x'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/><text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas' xml:lang='en'>t</text></error>", "prefix": "<p:x xmlns:p='u' p:y='1'><p:z/><w/></p:x>",
    }
    for kind, (name, p) in itertools.product(("message", "presence", "iq type='set' id='1'"), payloads.items()):
        if kind == "message" or name in ("error", "many", "text", "caps", "private", "prefix", "empty", "delay"):
            yield f"{kind.split()[0]}-{name}", f"<{kind} to='juliet@localhost'>{p}</{kind.split()[0]}>".encode()
    for name, p in (("roster-get", "<query xmlns='jabber:iq:roster' ver=''/>"), ("roster-set",
        "<query xmlns='jabber:iq:roster'><item jid='a@b' name='n'><group>g</group><group/></item></query>"), ("roster-del",
        "<query xmlns='jabber:iq:roster'><item jid='a@b' subscription='remove'/></query>"),
                    ("bind", "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>r</resource></bind>"), ("bind-none",
                        "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"), ("session", "<session xmlns='urn:ietf:params:xml:ns:xmpp-session'/>"),
                    ("block", "<block xmlns='urn:xmpp:blocking'><item jid='a@b'/><item jid='c'/></block>"), ("carbons",
                        "<enable xmlns='urn:xmpp:carbons:2'/>"), ("disco", "<query xmlns='http://jabber.org/protocol/disco#info' node='n'/>"), ("two",
                        "<a xmlns='u'/><b xmlns='u'/>"), ("none", "")):
        yield f"set-{name}", f"<iq type='set' id='1'>{p}</iq>".encode()
    for i, a in enumerate(("id=''", "id='" + "i" * 5000 + "'", "from='romeo@localhost/orchard' id='1'", "from='romeo@localhost' id='1'",
                           "from='eve@localhost' id='1'", "from='@' id='1'", "xml:lang='x' id='1'", "xml:lang='' id='1'", "other='1' id='1'",
                           "to='' id='1'")):
        yield f"attr-{i}", f"<iq type='get' {a}><query xmlns='jabber:iq:version'/></iq>".encode()
    for i, text in enumerate((f"<r xmlns='{SM}'/>", f"<a xmlns='{SM}' h='4294967295'/>", f"<a xmlns='{SM}' h='4294967296'/>",
                              f"<a xmlns='{SM}' h='-1'/>", f"<a xmlns='{SM}'/>", f"<enable xmlns='{SM}' resume='true' max='60'/>",
                              f"<enable xmlns='{SM}' resume='1'/>",
                              f"<enable xmlns='{SM}' resume='x'/>", f"<enable xmlns='{SM}'/>", f"<resume xmlns='{SM}' previd='abc' h='0'/>",
                              f"<resume xmlns='{SM}' previd='' h='0'/>", f"<resume xmlns='{SM}' h='0'/>", f"<resume xmlns='{SM}' previd='a' h='x'/>",
                              f"<other xmlns='{SM}'/>", "<r xmlns='urn:xmpp:sm:2'/>", f"<r xmlns='{SM}'><x/></r>")):
        yield f"sm-{i:02}", text.encode()
    for i, text in enumerate(("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AA==</auth>",
                              "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", "</stream:stream>",
                              "<stream:error><not-well-formed xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
                              "<message xmlns='jabber:server'/>", "<x/>", "<iq/>", " ", "<message", "<message><body></message>")):
        yield f"other-{i}", text.encode()
    for name, unit in xml():  # each of them as a payload
        yield f"payload-{name}", b"<message to='juliet@localhost' id='p'><body>b</body>" + unit + b"</message>"
    with open(f"{CORPUS}/stanza/packed", "rb") as f:
        whole = f.read()  # a stanza as the log keeps it: cut short, with each byte of its head changed, with more behind it
    for n in range(0, len(whole), 3):
        yield f"packed-cut-{n:02}", whole[:n]
    for n in range(24):
        yield f"packed-byte-{n:02}", whole[:n] + bytes([whole[n] ^ 0x81]) + whole[n + 1:]
    yield "packed-more", whole + b"x"


def sasl():
    """Byte 0: the mechanism; byte 1: 1 raw base64, 2 the bytes are a server's; then lines."""
    plus, scram, plain, anonymous = (0, 1), (2, 3), 4, 5
    proof, cb = b"p=" + b"A" * 43 + b"=", b"cD10bHMtZXhwb3J0ZXIsLDAxMjM0NTY3ODlhYmNkZWYwMTIzNDU2Nzg5YWJjZGVm"
    nonce = b"r=abcABCDEFGHIJKLMNOPQRSTUVWXYZ"
    firsts = {"n": b"n,,", "y": b"y,,", "p": b"p=tls-exporter,,", "p_unique": b"p=tls-unique,,", "p_end_point": b"p=tls-server-end-point,,",
              "p_other": b"p=x,,", "p_none": b"p=,,", "authzid": b"n,a=user,", "authzid_other": b"n,a=eve@example.com,",
              "authzid_esc": b"n,a=us=2Cer=3D,", "authzid_bad": b"n,a=us=2c,", "authzid_none": b"n,a=,", "bad": b"x,,", "short": b"n,", "none": b""}
    for m, (name, gs2) in itertools.product(plus + scram, firsts.items()):
        yield f"gs2-{name}-{m}", bytes([m,
                                        0]) + gs2 + b"n=user,r=abc\nc=" + (cb if gs2[:2] == b"p=" else b"biws") + b"," + nonce + b"," + proof + b"\n"
    bares = {"no_nonce": b"n=user", "empty_nonce": b"n=user,r=", "nonce_comma": b"n=user,r=a,b", "nonce_ext": b"n=user,r=a,x=1,y=2",
             "nonce_ctl": b"n=user,r=a\x01", "nonce_long": b"n=user,r=" + b"a" * 2000, "no_name": b"r=abc", "empty_name": b"n=,r=abc",
             "name_esc": b"n=a=2Cb=3Dc,r=abc", "name_bad_esc": b"n=a=2,r=abc", "name_esc_other": b"n=a=41,r=abc",
             "name_utf8": "n=é\u212b,r=abc".encode(), "name_bad_utf8": b"n=\xc3,r=abc", "name_prohibited": "n=a\u0007b,r=abc".encode(),
             "name_bidi": "n=\u0627\u0031,r=abc".encode(),
             "name_nbsp": "n=a\u00a0b,r=abc".encode(), "name_soft": "n=I\u00adX,r=abc".encode(), "name_long": b"n=" + b"u" * 1100 + b",r=abc",
             "m": b"m=1,n=user,r=abc", "order": b"r=abc,n=user"}
    for name, bare in bares.items():
        yield f"first-{name}", b"\2\0n,," + bare + b"\nc=biws," + nonce + b"," + proof + b"\n"
    finals = {"no_proof": b"c=biws," + nonce, "short_proof": b"c=biws," + nonce + b",p=AAAA", "bad_proof": b"c=biws," + nonce + b",p=!",
              "no_binding": nonce + b"," + proof, "binding_y": b"c=eSws," + nonce + b"," + proof, "binding_bad": b"c=!," + nonce + b"," + proof,
              "nonce_other": b"c=biws,r=abcX," + proof, "nonce_client": b"c=biws,r=abc," + proof, "ext": b"c=biws," + nonce + b",x=1," + proof,
              "after": b"c=biws," + nonce + b"," + proof + b",x=1", "m": b"m=1,c=biws," + nonce + b"," + proof, "empty": b""}
    for m, (name, final) in itertools.product(scram, finals.items()):
        yield f"final-{name}-{m}", bytes([m, 0]) + b"n,,n=user,r=abc\n" + final + b"\nmore\n"
    for name, p in {"all": b"z\0user\0pencil", "own": b"user\0user\0p", "no_authzid": b"\0user\0pencil", "no_name": b"\0\0p",
                    "no_password": b"\0user\0", "one_nul": b"user\0p", "three": b"\0u\0p\0", "utf8": "\0é\0ß".encode(), "bad_utf8": b"\0\xff\0p",
                    "long": b"\0" + b"u" * 1100 + b"\0p", "long_password": b"\0u\0" + b"p" * 1100, "empty": b""}.items():
        yield f"plain-{name}", bytes([plain, 0]) + p + b"\n"
    for name, p in {"empty": b"", "trace": b"me@example.com", "long": b"t" * 300, "bad": b"\xff"}.items():
        yield f"anonymous-{name}", bytes([anonymous, 0]) + p + b"\n"
    for i, p in enumerate((b"", b"=", b"==", b"A", b"AA", b"AAA", b"AAA=", b"AA==AA==", b"A A=", b"AB==", b"biwsbj11c2VyLHI9YWJj\nYg==", b"!!!!",
                           b"-_-_")):
        for m in (scram[0], plain):
            yield f"raw-{i:02}-{m}", bytes([m, 1]) + p + b"\n"
    for i, s in enumerate((b"r=nonceX,s=QSXCR+Q6sek8bf92,i=4096", b"r=nonce,s=QSXCR+Q6sek8bf92,i=4096", b"r=otherX,s=QSXCR+Q6sek8bf92,i=4096",
                           b"r=nonceX,s=,i=4096", b"r=nonceX,s=!,i=4096", b"r=nonceX,s=QUJD,i=0", b"r=nonceX,s=QUJD,i=x",
                           b"r=nonceX,s=QUJD,i=99999999999",
                           b"r=nonceX,s=QUJD", b"s=QUJD,r=nonceX,i=4096", b"m=1,r=nonceX,s=QUJD,i=4096", b"r=nonceX,s=QUJD,i=4096,x=y",
                           b"e=other-error", b"")):
        for m, v in ((0, b"v=AAAA"), (1, b"e=invalid-proof")):
            yield f"server-{i:02}-{m}", bytes([m, 2]) + s + b"\n" + v + b"\n"


def sm():
    """Bytes 0-3: where tickets start; then pairs of operation and argument: 0 receive, 1 complete the first, 2 one, 3 enable, 4 send, 5 ack."""
    recv, first, enable, send = b"\0\0", b"\1\0", b"\3\0", b"\4\0"
    some = lambda n: bytes([2, n])
    ack = lambda n: bytes([5, n])
    back = lambda n: bytes([5, 128 | n])
    for base in (0, 1, 2**31 - 2, 2**32 - 3, 2**32 - 300):
        b = struct.pack("<I", base)
        yield f"in_order-{base}", b + enable + (recv + first) * 10
        yield f"window-{base}", b + recv * 300 + first * 300 + enable + recv * 4
        yield f"backwards-{base}", b + enable + recv * 20 + b"".join(some(i) for i in range(19, -1, -1))
        yield f"holes-{base}", b + recv * 9 + some(1) + some(3) + some(5) + enable + first + some(1) + some(0) + first * 9
        yield f"all_but_first-{base}", b + enable + recv * 256 + b"".join(some(255 - i) for i in range(255)) + recv + first
        yield f"acks-{base}", b + enable + send * 5 + ack(2) + ack(0) + ack(4) + ack(3) + ack(0) + back(0) + back(1) + send + ack(1)
        yield f"early-{base}", b + send + ack(0) + ack(1) + recv + enable + first + enable + send + ack(127) + ack(1)


def log():
    """u16 offset, u8 length, bytes; length 0 cuts the file there. 40 records from 4096 on; the segment's file is 32 KiB."""
    lay = lambda at, data: struct.pack("<HB", at, len(data)) + data
    cut = lambda at: struct.pack("<HB", at, 0)
    for at in (0, 1, 2047, 2048, 4095, 4096, 4097, 4115, 4116, 4200, 4608, 5000, 6144, 8191, 8192, 9000, 12288, 20000, 32767):
        yield f"cut-{at:05}", cut(at)
    for at in list(range(0, 64, 7)) + [2048, 2056, 2080]:
        yield f"head-{at:04}", lay(at, b"\xff")
        yield f"heads-{at:04}", lay(at, b"\xff") + lay(at ^ 2048, b"\xff")  # both copies
    for at in range(4096, 4096 + 8 * 40, 8):
        yield f"flip-{at}", lay(at, b"\x01")
    for at in (4096, 4200, 4608, 5120, 6000, 7168, 8000):
        yield f"hole-{at}", lay(at, bytes(255))
        yield f"sector-{at}", lay(at // 512 * 512, bytes(255)) + lay(at // 512 * 512 + 255, bytes(255)) + lay(at // 512 * 512 + 510, bytes(2))
        yield f"garbage-{at}", lay(at, bytes(range(1, 200)))
        yield f"tail-{at}", cut(at) + lay(at, b"\x5a" * 200)
        yield f"hole_then_cut-{at}", lay(at, bytes(64)) + cut(at + 600)
    for field, at, n in (("crc", 0, 4), ("length", 4, 4), ("type", 8, 1), ("flags", 9, 1), ("check", 10, 2), ("id", 12, 8)):
        for v in (0, 1, 0x7f, 0xff):
            yield f"{field}-{v:02x}", lay(4096 + at, bytes([v]) * n)
    for n in (8, 20, 28, 64, 4096, 65535, 0xffffff, 0x7fffffff):
        yield f"long-{n}", lay(4100, struct.pack("<I", n))
    yield "far", lay(30000, b"\x01" * 16)
    yield "far_and_cut", lay(30000, b"\x01" * 16) + cut(40000)
    yield "zeros", b"".join(lay(4096 + i * 255, bytes(255)) for i in range(18))


KEYS = {"NUM": "shards", "TIME": "xmpp.idle_ping", "BYTES": "recorder.bytes", "BOOL": "tls.required", "STR": "name",
        "LIST": "domains"}  # one of each kind
SETTINGS = {"data": "/d", "name": "n", "domains": "[a, b]", "xmpp.listen": "'[::]:5222'", "xmpp.tls_listen": "[]", "xmpp.backlog": "7",
            "xmpp.stanza_max": "256k", "xmpp.per_ip_max": "0", "xmpp.auth_deadline": "30s", "xmpp.resume_timeout": "0s",
            "tls.cert": "[/c1, /c2]", "tls.key": "[/k1, /k2]", "tls.required": "false", "sasl.mechanisms": "[SCRAM-SHA-256, PLAIN]",
            "sasl.iterations": "4096", "offline.bytes_max": "1G", "svc.partitions": "1024", "log.level": "debug", "rt.spin": "50us",
            "drain.timeout": "1m"}


def config():
    values = {"NUM": ("0", "1", "-1", "99999999999999999999", "7x", "", "1.5", "'3'"), "TIME": ("1us", "2ms", "3s", "4m", "5h", "6d", "7", "8w",
        "-1s", "1s2", "999999999d"), "BYTES": ("1", "64k", "2M", "3G", "4T", "k", "-1", "99999999999G"),
        "BOOL": ("true", "false", "yes", "on", "1", "True", ""), "STR": ("x", '"q"', "'q'", "", "~", "a b", "*", '"\\u00e9\\x01"'),
        "LIST": ("a", "[a, b]", "[]", "[[a]]", "{a: b}", "", "'a,b'", "[127.0.0.1:1, '[::1]:2']")}
    yield "many", "".join(f"{k}: {v}\n" for k, v in SETTINGS.items()).encode()
    yield "set-many", "".join(f"{k}={v}\n" for k, v in SETTINGS.items()).encode()
    tree = {}
    for k, v in SETTINGS.items():
        tree.setdefault(k.split(".")[0] if "." in k else "", []).append((k.split(".")[-1], v))
    yield "nested", "".join((f"{top}:\n" if top else "") + "".join(f"{'  ' if top else ''}{k}: {v}\n" for k, v in rows) for top,
                            rows in tree.items()).encode()
    for kind, texts in values.items():
        for i, v in enumerate(texts):
            yield f"{kind.lower()}-{i:02}", f"{KEYS[kind]}: {v}\n".encode()
            yield f"set-{kind.lower()}-{i:02}", f"{KEYS[kind]}={v}\n".encode()
    for i, text in enumerate(("shards: 1\nshards: 2\n", "xmpp: 3\n", "xmpp: {backlog: 3, listen: a}\n", "xmpp:\n  - a\n", "- a\n", "a\n",
                              "shard: 1\n", "xmpp:\n  bcklog: 1\n", "? a\n: b\n", "? [a]\n: b\n", "&x a: *x\n", "a: *x\n", "!!str shards: 1\n",
                              "shards: !!int 1\n", "%YAML 1.1\n---\nshards: 1\n...\n",
                              "---\nshards: 1\n---\nshards: 2\n", "shards: |\n  1\n", "name: >-\n  a\n  b\n", "name: \"a\\\n  b\"\n", "\tshards: 1\n",
                              "shards: 1 # x\n# y\n", "{", "[", "shards: {", "name: 'x", "name: \"\\", "<<: {shards: 1}\n", "\ufeffshards: 1\n",
                              "xmpp: ~\n", "xmpp: {}\n", "data: /x\nname: y\ndomains: [a, b]\ndomains_anonymous: b\n",
                              "tls.cert: a\n", "tls: {cert: [a, b], key: a}\n", "domains: [a, a]\n", "domains_anonymous: c\n",
                              "sasl.mechanisms: [PLAIN, NONSENSE]\n", "log.level: loud\n", "x" * 3000 + ": 1\n", "name: " + "y" * 3000 + "\n", "=\n",
                              "=1\n", "shards\n", "shards=1=2\n", " shards = 1 \n", "a.b.c.d: 1\n", ".: 1\n", "xmpp.: 1\n")):
        yield f"form-{i:02}", text.encode()
    for i, raw in enumerate((b"name: \xff\n", b"name: \x00\n", b"\xfe\xff\x00a", b"name: \x7f\x1b[31m\n", b"a: b: c\n", b"\r\nshards: 1\r\n",
                             b"name: \xc2\x85x\n")):
        yield f"raw-{i}", raw


def jid():
    locals_ = ("a", "A", "é", "e\u0301", "ß", "ſ", "Ａ", "ⅷ", "а", "\u05e9", "\u0627\u0628", "\u06271", "a\u00ad", "\u200d", "a\u0340", "\u1e9b\u0323",
               "\U0001d400", "\U0001f600", "\u0221", "a&b", "a'b", "a\"b", "a:b", "a<b", "a b", "a\u00a0b", "a\\20b", "\ufffd", "\ue000", "\u0007",
               "a" * 1023, "a" * 1024, "é" * 511, "é" * 512)
    for i, x in enumerate(locals_):
        yield f"local-{i:02}", f"{x}@b".encode()
        yield f"resource-{i:02}", f"a@b/{x}".encode()
    domains = ("b", "B.C", "b.", "b..c", ".b", "-b", "b-", "b_c", "xn--", "xn--a", "xn--bcher-kva", "bücher", "faß.de", "日本。jp", "a．b", "\u05e9.com",
               "\u0627\u0628.x", "1.2.3.4", "1.2.3", "256.1.1.1", "[::1]", "[::1", "[::ffff:1.2.3.4]", "[1::2::3]", "[fe80::1%eth0]", "[]", "b:5222",
               "a" * 63, "a" * 64, ".".join(["a" * 63] * 4), "é" * 30, "b c", "b@c", "\u200d", "σς", "İ", "a\u3002")
    for i, x in enumerate(domains):
        yield f"domain-{i:02}", x.encode()
        yield f"host-{i:02}", f"u@{x}/r".encode()
    for i, x in enumerate((b"", b"@", b"/", b"@/", b"a@", b"@b", b"a@b/", b"a/", b"/a", b"a@b@c", b"a@b/c/d", b"a/b@c", b"a@b/c@d/e", b"\xc3@b",
                           b"a@\xff", b"a@b/\xf0\x80\x80\x80", b"a\0@b", b"a@b/\0", b"\xed\xa0\x80", b" a@b", b"a@b ", b"a@b/ ", b"a@b\n")):
        yield f"form-{i:02}", x


def core():
    """u16 offset, u8 length, bytes; length 0 cuts the file there. ELF header at 0, four program headers from 64, the recorder from 8192 on: its
    header page, then 16 records from 12288 on."""
    lay = lambda at, data: struct.pack("<HB", at, len(data)) + data
    cut = lambda at: struct.pack("<HB", at, 0)
    yield "whole", b""
    for at in (0, 3, 4, 15, 63, 64, 65, 119, 120, 287, 288, 4096, 8191, 8192, 8199, 8200, 8223, 8224, 12287, 12288, 12289, 12352, 13000, 13311):
        yield f"cut-{at:05}", cut(at)
    for name, at, fmt, values in (
        ("magic", 0, "<I", (0,)), ("class", 4, "<B", (0, 1, 3)), ("data", 5, "<B", (0, 2)), ("type", 16, "<H", (0, 1, 2, 3, 0xffff)),
        ("phoff", 32, "<Q", (0, 1, 8, 13311, 13312, 1 << 31, 1 << 63, (1 << 64) - 1)), ("shoff", 40, "<Q", (0, 64, 1 << 63)),
        ("phentsize", 54, "<H", (0, 32, 55, 57, 0xffff)), ("phnum", 56, "<H", (0, 1, 3, 5, 64, 65, 0xfffe, 0xffff)),
        ("shentsize", 58, "<H", (0, 64)),
        ("p_type", 64 + 168, "<I", (0, 2, 4, 0x60000000)), ("p_offset", 64 + 168 + 8, "<Q", (0, 8191, 8193, 12288, 13311, 13312, 1 << 63, (1 << 64) - 1)),
        ("p_filesz", 64 + 168 + 32, "<Q", (0, 7, 8, 31, 32, 4096, 4160, 5119, 5121, 1 << 40, (1 << 64) - 1)),
        ("other_offset", 64 + 56 + 8, "<Q", (8192, 1 << 63)), ("other_filesz", 64 + 56 + 32, "<Q", (1 << 63, (1 << 64) - 1)),
        ("recorder_magic", 8192, "<B", (0,)), ("format", 8200, "<I", (0, 2)), ("rings", 8204, "<I", (0, 2, 1024, 1025, 0xffffffff)),
        ("per_ring", 8208, "<I", (0, 1, 15, 17, 1 << 24, 0xffffffff)), ("record_size", 8212, "<I", (0, 32)), ("events", 8216, "<Q", (0,)),
        ("seq", 12288 + 8, "<Q", (0, 1, 18, 1 << 63)), ("check", 12288 + 52, "<I", (0,))):
        for v in values:
            yield f"{name}-{v:x}", lay(at, struct.pack(fmt, v))
    many = lambda n: lay(56, struct.pack("<HHH", 0xffff, 64, 1)) + lay(40, struct.pack("<Q", 4096)) + lay(4096 + 44, struct.pack("<I", n))
    for n in (0, 3, 4, 5, 1 << 24, 0xffffffff):  # PN_XNUM: section header 0 says how many
        yield f"xnum-{n:x}", many(n)
    yield "two_recorders", lay(64 + 56 + 8, struct.pack("<Q", 8192)) + lay(64 + 56 + 32, struct.pack("<Q", 4096 + 64 * 3))

# --- Erlang distribution: after erl_dist_protocol and erl_ext_dist

def handshake():
    """Role and carrier, verdict, size of pieces; then numbers of right messages, or 64 (framed) or 65 (raw), a length and bytes."""
    name, challenge, old, complement, reply, ack, named, ok, simultaneous, nok, not_allowed, alive, true, false = range(14)
    cases = {
        "accept": (0, 0, [name, reply]), "accept_old": (0, 0, [old, complement, reply]), "accept_alive": (0, 4, [name, true, reply]),
        "accept_old_alive": (0, 4, [old, true, complement, reply]), "accept_gives_up": (0, 4, [name, false]), "accept_sim": (0, 1, [name, reply]),
        "accept_nok": (0, 2, [name]), "accept_not": (0, 3, [name]), "accept_close": (0, 5, [name]), "accept_twice": (0, 0, [name, name]),
        "accept_early": (0, 0, [reply]), "dial": (1, 0, [ok, challenge, ack]), "dial_sim": (1, 0, [simultaneous, challenge, ack]),
        "dial_nok": (1, 0, [nok]), "dial_not": (1, 0, [not_allowed]), "dial_alive": (5, 0, [alive, challenge, ack]), "dial_gives_up": (1, 0, [alive]),
        "dial_reflected": (9, 0, [ok, challenge]), "dial_asks": (17, 0, [named, challenge, ack]), "dial_asks_ok": (17, 0, [ok]),
        "dial_named": (1, 0, [named]), "dial_early": (1, 0, [challenge]),
    }
    for case, (flags, verdict, script) in cases.items():
        for carrier in (0, 2):
            yield f"{case}-{2 + carrier}", bytes([flags | carrier, verdict, 1]) + bytes(script)
    after = bytes([65, 8]) + b"\0\0\0\4next"
    yield "accept_after", bytes([0, 0, 3, name, reply]) + after
    yield "dial_after", bytes([1, 0, 3, ok, challenge, ack]) + after
    every, flags = b"\x00\x00\x00\x6d\x07\xdf\x7f\xbd", {"none": bytes(8), "digest": b"\0\0\0\0\4\0\0\0", "all": b"\xff" * 8}
    sent = lambda f, n, more=b"": b"N" + f + b"\0\0\0\5" + struct.pack(">H", len(n)) + n + more
    messages = {"flags_" + k: sent(v, b"p@h.x") for k, v in flags.items()}
    messages.update({"asks": sent(b"\0\0\0\x6f\x07\xdf\x7f\xbd", b"h.x"), "asks_other": sent(b"\0\0\0\x6f\x07\xdf\x7f\xbd", b"i"),
                     "own": sent(every, b"m@h.x"), "trailing": sent(every, b"p@h.x", b"later"), "long": sent(every, b"p@" + b"h" * 253)[:255],
                     "no_at": sent(every, b"p"), "latin": sent(every, b"p\xe5@h.x"), "short": sent(every, b"p@h.x")[:-1], "tag": b"N", "empty": b"",
                     "old_22": b"n\0\5\0\xdf\x7f\xbdp@h.x", "old_short": b"n\0\5", "status": b"sok", "other": b"?"})
    for k, m in messages.items():
        yield f"message_{k}", bytes([0, 0, 2, 64, len(m)]) + m + bytes([reply])
    challenges = {"other": b"q@h.x", "none": b"", "own": b"m@h.x"}
    for k, n in challenges.items():
        m = b"N" + every + b"\1\2\3\4" + b"\0\0\0\5" + struct.pack(">H", len(n)) + n
        yield f"challenge_{k}", bytes([1, 0, 2, ok, 64, len(m)]) + m
    for k, m in {"too_long": b"\2\1", "too_long_tls": b"\0\0\2\1", "huge": b"\xff" * 4, "longest": b"\2\0" + b"N" * 100}.items():
        yield f"length_{k}", bytes([2 if "tls" in k else 0, 0, 1, 65, len(m)]) + m


def epmd():
    """0 to 2: a client that registers, looks up, lists, where to cut, and an answer. 3: connection and what to do, a length, bytes."""
    node = b"\x12\x34M\0\0\6\0\5\0\5murre\0\2xy"
    answers = {
        "registered": (0, b"v\0\x6b\3\xf3\xb6"), "registered_old": (0, b"y\0\0\1"), "in_use": (0, b"v\1\0\0\0\0"), "registered_3": (0, b"v\0\0\0\0\3"),
        "registered_more": (0, b"v\0\x6b\3\xf3\xb6?"), "registered_other": (0, b"w\0"), "registered_cut": (0, b"v\0\0"),
        "found": (1, b"w\0" + node), "not_found": (1, b"w\1"), "found_other": (1, b"w\0" + node.replace(b"murre", b"other")),
        "found_cut": (1, b"w\0" + node[:-1]), "found_extra": (1, b"w\0" + node[:-4] + b"\xff\xff" + b"x" * 1400), "found_http": (1, b"HTTP/1.1"),
        "names": (2, b"\0\0\x11\x11name a at port 1\nname b-c at port 65535\n"), "names_none": (2, b"\0\0\x11\x11"), "names_cut": (2, b"\0\0\x11\x11name a"),
        "names_odd": (2, b"\0\0\x11\x11name \xc3\xa5 at port 1\nname a b at port 2\nname c at port 99999\nname d at port 3\n"),
        "names_other": (2, b"\0\0\x11\x11hello\n"), "names_long": (2, b"\0\0\x11\x11name " + b"x" * 600 + b"\n"),
    }
    for k, (which, answer) in answers.items():
        for cut in (1, 7):
            yield f"client_{k}-{cut}", bytes([which, cut]) + answer
    register = lambda n, high=6, extra=b"": b"x\x12\x34M\0" + struct.pack(">HHH", high, 5, len(n)) + n + struct.pack(">H", len(extra)) + extra
    request = lambda m: struct.pack(">H", len(m)) + m
    say = lambda conn, m: bytes([conn, len(m)]) + m
    a, local = request(register(b"a")), 0x40
    scripts = {
        "register": [say(local, a)], "register_remote": [say(0, a)], "register_old": [say(local, request(register(b"a", 5)))],
        "register_twice": [say(local, a), say(local | 1, a)], "register_again": [say(local | 0x80, a), say(local | 1, a)],
        "register_cut": [say(local, a[:7]), say(local, a[7:])], "register_more": [say(local, a), say(local, b"?")],
        "register_extra": [say(local, request(register(b"a", 6, b"x" * 100)))], "register_full": [say(local | i, request(register(b"n%d" % i))) for i in range(8)],
        "register_name": [say(local, request(register(b"a\n")))], "register_empty": [say(local, request(register(b"")))],
        "register_short": [say(local, request(register(b"a")[:-1]))], "register_long": [say(local, request(register(b"a") + b"?"))],
        "lookup": [say(local, a), say(1, request(b"za")), say(2, request(b"zb")), say(3, request(b"z"))],
        "names": [say(local, a), say(1, request(b"n")), say(2, request(b"nn"))], "dump": [say(local, a), say(local | 1, request(b"d")), say(2, request(b"d"))],
        "kill": [say(local, a), say(local | 1, request(b"k")), say(local | 2, request(b"sa"))], "other": [say(0, request(b"?")), say(0, request(b""))],
        "too_long": [say(0, b"\xff\xff")], "http": [say(0, b"GET / HTTP/1.1\r\n")],
    }
    for k, parts in scripts.items():
        yield f"server_{k}", b"\3" + b"".join(parts)


def _frame(body):
    return struct.pack(">I", len(body)) + body


def _fragment(kind, sequence, number, body=b""):
    return _frame(struct.pack(">BBQQ", 131, kind, sequence, number) + body)


def _atom(text):
    return b"w" + bytes([len(text)]) + text


def _pid(node=b"a@b", number=1):
    return b"X" + _atom(node) + struct.pack(">III", number, 0, 7)


def _ref(node=b"a@b", words=1):
    return b"Z" + struct.pack(">H", words) + _atom(node) + struct.pack(">I", 7) + b"\0\0\0\1" * words


def _tuple(*elements):
    return b"h" + bytes([len(elements)]) + b"".join(elements)


def _int(n):
    return b"a" + bytes([n])


_TOKEN, _REASON, _MESSAGE = b"h\2a\1j", _atom(b"kill"), b"l\0\0\0\1" + _atom(b"hello") + b"j"


def _controls():
    """name, control message, payload: one of each, by op."""
    f, t, name, unused, token = _pid(), _pid(b"us@host"), _atom(b"shard_srv"), _atom(b""), _TOKEN
    mfa = _tuple(_atom(b"lists"), _atom(b"reverse"), _int(1))
    options = b"l\0\0\0\1" + _atom(b"link") + b"j"
    for op, fields, payload in (
            (1, [f, t], 0), (2, [unused, t], 1), (3, [f, t, _REASON], 0), (4, [f, t], 0), (5, [], 0), (6, [f, unused, name], 1), (7, [f, t], 0),
            (8, [f, t, _REASON], 0), (12, [unused, t, token], 1), (13, [f, t, token, _REASON], 0), (16, [f, unused, name, token], 1),
            (18, [f, t, token, _REASON], 0), (19, [f, t, _ref()], 0), (19, [f, name, _ref()], 0), (20, [f, name, _ref()], 0),
            (21, [name, t, _ref(b"us@host"), _REASON], 0), (22, [f, t], 1), (23, [f, t, token], 1), (24, [f, t], 1), (25, [f, t, token], 1),
            (26, [f, t], 1), (27, [f, t, token], 1), (28, [f, t, _ref(b"us@host")], 1), (28, [name, t, _ref(b"us@host", 5)], 1),
            (29, [_ref(), f, f, mfa, options], 1), (30, [_ref(), f, f, mfa, options, token], 1), (31, [_ref(b"us@host"), t, _int(3), f], 0),
            (31, [_ref(b"us@host"), t, _int(0), _atom(b"notsup")], 0), (32, [_ref(b"us@host"), t, _int(1), f, token], 0),
            (33, [f, _ref(b"us@host", 3)], 1), (34, [f, _ref(b"us@host", 3), token], 1), (35, [_int(1), f, t], 0),
            (35, [b"n\x08\0" + b"\xff" * 8, f, t], 0), (36, [_int(9), f, t], 0), (35, [_int(0), f, t], 0), (99, [f, t], 0), (9, [], 0)):
        yield f"{op}-{len(fields)}", _tuple(_int(op), *fields), _MESSAGE if payload else b""
    for flags, to in ((0, t), (1, t), (4, _ref(b"us@host")), (5, _ref(b"us@host")), (8, name), (9, name), (16, t), (17, t), (20, _ref(b"us@host")), (24, name), (12, name)):
        yield f"37-{flags}", _tuple(_int(37), _int(flags), f, to), _MESSAGE
        yield f"37-{flags}-token", _tuple(_int(37), _int(flags | 2), f, to, token), _MESSAGE
    yield "37-grown", _tuple(_int(37), b"n\x09\0\1" + b"\0" * 7 + b"\x40", f, t, token, token), _MESSAGE
    yield "cached", _tuple(_int(6), b"XR\0" + b"\0" * 12, b"R\1", b"R\2"), _MESSAGE
    yield "no_tuple", b"j", b""
    yield "large_tuple", b"i\0\0\0\3a\1" + f + t, b""
    yield "claims", b"i\xff\xff\xff\xffa\1", b""


def dist_ctl():
    """First byte: whether terms have version bytes."""
    for name, control, payload in _controls():
        yield name, b"\0" + control + payload
        yield name + "-versions", b"\1\x83" + control + (b"\x83" + payload if payload else b"")
    yield "cut", b"\0" + _tuple(_int(6), _pid(), _atom(b""), _atom(b"x"))
    yield "payload_two", b"\0" + _tuple(_int(22), _pid(), _pid()) + b"jj"
    yield "payload_compressed", b"\0" + _tuple(_int(22), _pid(), _pid()) + b"\x50\0\0\0\1"


def dist_frame():
    """First byte: how many bytes come at a time, less one."""
    streams = {
        "ticks": b"\0" * 12, "plain": _frame(b"\x70\x83h\1a\5"), "header": _frame(b"\x83\x44\0h\1a\5"),
        "fragments": _fragment(69, 9, 3, b"\0h\1a\5") + _fragment(70, 9, 2, b"x" * 100) + _fragment(70, 9, 1),
        "long": _frame(b"\x70" + b"x" * 4095) + b"\0\0\0\0", "too_long": _frame(b"\x70" + b"x" * 4096), "cut": _frame(b"\x70" + b"x" * 200)[:-1],
        "cut_next": _fragment(70, 9, 2, b"x" * 100)[:-1], "unknown": _frame(b"\x71"), "unknown_2": _frame(b"\x83\x50"), "short": _frame(b"\x83"),
        "short_next": _frame(b"\x83\x46" + b"\0" * 15), "huge": b"\xff\xff\xff\xff", "one": _frame(b"\x70"),
    }
    for name, stream in streams.items():
        for cut in (0, 2, 20):
            yield f"{name}-{cut}", bytes([cut]) + stream + b"\0\0\0\0"


def _header(*refs, long=False):
    """refs: (segment, index) or (segment, index, text)."""
    nibbles = [(8 if len(r) > 2 else 0) | r[0] for r in refs] + [1 if long else 0]
    out = bytes([len(refs)])
    if refs:
        out += bytes(sum(n << 4 * i for i, n in enumerate(pair)) for pair in (nibbles[i:i + 2] for i in range(0, len(refs) + 1, 2)))
    for r in refs:
        out += bytes([r[1]])
        if len(r) > 2:
            out += (struct.pack(">H", len(r[2])) if long else bytes([len(r[2])])) + r[2]
    return out


def dist_cache():
    """Headers, each after a byte of length."""
    yield "none", b"\1\0\1\0"
    for name, headers in {
            "new": [_header((0, 5, b"sink")), _header((0, 5))], "two": [_header((0, 5, b"a"), (7, 255, b"bc")), _header((7, 255), (0, 5))],
            "three": [_header((1, 1, b"x"), (2, 1, b"y"), (3, 1, b"z"))], "segments": [_header(*((s, 9, bytes([65 + s])) for s in range(8)))],
            "replaced": [_header((0, 5, b"old")), _header((0, 5), (0, 5, b"new"), (0, 5)), _header((0, 5))], "empty": [_header((0, 5))],
            "empty_text": [_header((0, 5, b"")), _header((0, 5))], "utf8": [_header((0, 5, "é€".encode()))], "latin1": [_header((0, 5, b"\xe9"))],
            "long": [_header((0, 5, b"x" * 200), long=True)], "many": [_header(*((i % 8, i, b"n") for i in range(60)))],
            "again": [_header((0, i, b"t" * 20)) for i in range(9)] * 2, "cut": [_header((0, 5, b"sink"))[:-1]]}.items():
        yield name, b"".join(bytes([len(h)]) + h for h in headers)


def dist_in():
    """Bytes: what was not agreed (1 fragments, 2 headers), how many bytes come at a time less one, how small the limits are."""
    for name, control, payload in _controls():
        yield name, b"\0\5\x40" + _frame(b"\x83\x44\0" + control + payload)
    for name, control, payload in list(_controls())[:8]:
        yield name + "-plain", b"\2\3\x40" + _frame(b"\x70\x83" + control + (b"\x83" + payload if payload else b""))
    send = _tuple(_int(6), b"XR\0" + b"\0" * 12, b"R\1", b"R\2")
    new, old = _header((7, 1, b"a@b"), (0, 5, b""), (5, 9, b"shard_srv")), _header((7, 1), (0, 5), (5, 9))
    binary = b"m\0\0\0\x14" + b"0123456789" * 2
    yield "cached", b"\0\7\x40" + _frame(b"\x83\x44" + new + send + binary) + b"\0" * 4 + _frame(b"\x83\x44" + old + send + binary)
    for name, parts in {
            "whole": [_fragment(69, 1, 3, new + send + binary[:8]), _fragment(70, 1, 2, binary[8:9]), _fragment(70, 1, 1, binary[9:])],
            "mixed": [_fragment(69, 1, 2, new + send + binary[:8]), _fragment(69, 2, 2, old + send), _frame(b"\x83\x44" + _header((5, 9, b"other")) + _tuple(_int(5))),
                      _fragment(70, 2, 1, binary), _fragment(70, 1, 1, binary[8:])],
            "order": [_fragment(69, 1, 3, new + send), _fragment(70, 1, 1, binary)], "none": [_fragment(70, 1, 1, binary)],
            "twice": [_fragment(69, 1, 2, new + send), _fragment(69, 1, 2, old + send)], "single": [_fragment(69, 1, 1, new + send + binary)],
            "zero": [_fragment(69, 1, 0, new + send)], "no_control": [_fragment(69, 1, 2, new + send[:-1])],
            "many": [_fragment(69, i, 2, b"\0" + _tuple(_int(5))) for i in range(12)],
            "endless": [_fragment(69, 1, 99, b"\0" + send[:0] + _tuple(_int(5)))] + [_fragment(70, 1, n, b"x" * 60) for n in range(98, 80, -1)]}.items():
        for agreed in (0, 1):
            yield f"fragments_{name}-{agreed}", bytes([agreed, 9, 8]) + b"".join(parts)


def etf():
    """First byte: 0, a term of the external format; 1, the text of one."""
    node, small = bytes((119, 3)) + b"a@b", lambda *n: struct.pack(">" + "I" * len(n), *n)
    atom = lambda t: bytes((119, len(t.encode()))) + t.encode()
    free = atom("m") + b"a\1b\xff\0\0\1" + b"X" + node + small(1, 2, 3) + b"a\1"
    fun = lambda size: b"p" + small(size) + b"\2" + bytes(range(16)) + small(7, 1) + free
    terms = {
        "small": b"a\0", "integer": b"b\x80\0\0\0", "big": b"n\x09\1" + bytes(range(1, 10)), "big_fits": b"n\x08\1\0\0\0\0\0\0\0\x80",
        "big_zero": b"n\0\0", "large_big": b"o\0\0\0\x0c\0" + bytes(range(1, 13)), "float": b"F?\xf8\0\0\0\0\0\0", "nan": b"F\x7f\xf8\0\0\0\0\0\0",
        "power": b"F\x3e\x70\0\0\0\0\0\0", "old_float": b"c" + b"1.50000000000000000000e+00".ljust(31, b"\0"), "atom": atom("ok"), "utf8": atom("λ"),
        "atom_none": atom(""), "long_atom": b"v\3\xfc" + "😀".encode() * 255, "latin1": b"s\1\xe5", "latin1_long": b"d\0\2\xe5x", "cache": b"R\0",
        "cache_none": b"R\2", "pid": b"X" + node + small(1, 2, 3), "cache_pid": b"XR\1" + small(1, 2, 3), "old_pid": b"g" + node + small(1, 2) + b"\3",
        "port": b"Y" + node + small(1, 3), "v4_port": b"x" + node + small(1, 0, 3), "old_port": b"f" + node + small(1) + b"\3",
        "ref": b"Z\0\3" + node + small(3, 1, 2, 3), "ref_5": b"Z\0\5" + node + small(3, 1, 2, 3, 4, 5), "ref_0": b"Z\0\0" + node + small(3),
        "old_ref": b"e" + node + small(1) + b"\3", "new_ref": b"r\0\1" + node + b"\3" + small(1), "binary": b"m\0\0\0\2hi", "bits": b"M\0\0\0\1\3\xff",
        "bits_none": b"M\0\0\0\0\0", "nil": b"j", "string": b"k\0\2hi", "bytes": b"k\0\2\0\1", "list": b"l\0\0\0\2a\1jj", "improper": b"l\0\0\0\1a\1a\2",
        "rows": b"l\0\0\0\1a\1l\0\0\0\1a\2k\0\1\3", "no_row": b"l\0\0\0\0j", "tuple": b"h\2a\1h\0", "large_tuple": b"i\0\0\0\1j",
        "map": b"t\0\0\0\2" + atom("b") + b"a\1" + atom("a") + b"a\2", "map_twice": b"t\0\0\0\2jjjj", "map_numbers": b"t\0\0\0\2F?\xf0\0\0\0\0\0\0ja\1j",
        "export": b"q" + atom("m") + atom("f") + b"a\2", "fun": fun(29 + len(free)), "fun_short": fun(28 + len(free)), "fun_long": fun(30 + len(free)) + b"j",
        "record": b"C\0\0\0\1\1" + atom("m") + atom("r") + atom("f") + b"j", "record_0": b"C\0\0\0\0\0" + atom("m") + atom("r"),
        "compressed": b"P\0\0\0\1x\x9c", "private": b"y\0\0\0\0j", "huge_list": b"l\xff\xff\xff\xffj", "huge_map": b"t\xff\xff\xff\xffjj",
        "promises": b"l\0\0\0\x20" * 12, "deep": b"h\1" * 1024 + b"j", "too_deep": b"h\1" * 1025 + b"j", "deep_list": b"l\0\0\0\1" * 1025 + b"j" * 1026,
        "tails": b"l\0\0\0\1j" * 1500 + b"j",
        "call": b"h\3" + atom("$gen_call") + b"h\2X" + node + small(1, 2, 3) + b"l\0\0\0\1" + atom("alias") + b"Z\0\3" + node + small(3, 1, 2, 3) + b"h\1" + atom("get")}
    for name, data in terms.items():
        yield f"term-{name}", b"\0" + data
    for i, text in enumerate((
            "{ok, [1,2|x], #{b=>1, a => \"hi\"}}", "[]", "\"\"", "[104|\"i\"]", "[a|[b|c]]", "\"\\x{3bb}\\101\\n\\\"\\^A\\xFF\"", "<<>>", "<<\"abc\", 1:3, \"λ\"/utf8, -1>>",
            "<<258:16>>", "'hello \\'world'", "''", "'fun'", "fun m:'F'/255", "-12", "1_000", "-16#fF", "36#Zz", "$\\n", "1.5e-3", "-0.0", "1.0e999", "#{a=>1,a=>2}",
            "16#" + "1f" * 600, "9" * 2500, "{" * 1100, "[" * 1024 + "]" * 1024, "<0.1.2>", "#m:r{a = 1}", "a b", "{a,}", "\"\\x{d800}\"", "fun", "[a|b,c]")):
        yield f"text-{i:02}", b"\1" + text.encode()


def _list(*elements):
    return (b"l" + struct.pack(">I", len(elements)) + b"".join(elements) if elements else b"") + b"j"


def global_():
    """Steps: what, a length, a term."""
    me, b, z = _atom(b"m@h"), _atom(b"b@h"), _atom(b"z@h")
    pid = lambda node, n: b"X" + node + struct.pack(">III", n, 0, {me: 3}.get(node, 9))
    step = lambda what, data=b"", n=None: bytes([what]) + struct.pack(">H", len(data) if n is None else n) + data
    cast = lambda tag, *rest: _tuple(_atom(b"$gen_cast"), _tuple(_atom(tag), *rest))
    call = lambda node, request: _tuple(_atom(b"$gen_call"), _tuple(pid(node, 9), _atom(b"tag")), request)
    info = lambda tag, *rest: _tuple(_atom(tag), *rest)
    reply = lambda n, atom=b"true": _tuple(_int(n), _atom(atom))
    locker = lambda node: _tuple(_atom(b"locker"), _atom(b"x"), b"t\0\0\0\0", pid(node, 2))
    init = lambda node, vsn=8: cast(b"init_connect", _tuple(_int(vsn), _int(77)), node, locker(node))
    ack = lambda node, tag=1: info(b"init_connect_ack", node, _int(tag), _int(77))
    lock = lambda tag, requester, node=b: call(node, _tuple(_atom(tag), _tuple(_atom(b"global"), requester)))
    entry = lambda name, p: _tuple(_atom(name), p, _atom(b"m"))
    his = _list(entry(b"x", pid(b, 40)), entry(b"y", pid(z, 41)), entry(b"w", pid(b, 42)))
    known = _list(_tuple(z, _int(8)))
    # b joins: it begins to lock, or we do, and names are exchanged
    meet = [step(2), step(0, init(b)), step(0, ack(b))]
    both = _list(pid(b, 2), b"X" + me + struct.pack(">III", 1, 1, 3))
    passive = meet + [step(0, lock(b"set_lock", both)), step(0, cast(b"lock_set", pid(b, 2), _atom(b"true"), _list(), _int(1)))]
    names = [step(0, cast(b"exchange", b, his, _list(), _int(1))),
             step(0, cast(b"resolved", b, _list(_tuple(_atom(b"insert"), entry(b"v", pid(b, 43))), _tuple(_atom(b"delete"), _atom(b"w"))), known,
                          _atom(b"unused"), _list(_tuple(_atom(b"v"), pid(b, 43), b)), _int(1)))]
    unlock = [step(0, lock(b"del_lock", both))]
    joined = passive + names + unlock
    active = meet + [step(6, n=2), step(0, reply(1)), step(0, reply(2)), step(0, cast(b"lock_set", pid(b, 2), _atom(b"true"), _list(), _int(1)))] + names + [
        step(0, reply(n)) for n in range(1, 9)]
    want = [step(7, _atom(b"q")), step(7, _atom(b"q")), step(7, _atom(b"q"))]
    lost = lambda a, c: info(b"lost_connection", a, _int(1), _int(5), c)
    scripts = {
        "meet": meet, "passive": passive, "joined": joined, "active": active, "joined_lost": joined + [step(4)], "names": want,
        "wanted": joined + want + [step(0, reply(n)) for n in range(1, 20)], "wanted_refused": joined + want[:1] + [step(0, reply(n, b"false")) for n in range(1, 6)] + [step(6, n=9)],
        "early": [step(2), step(0, init(b)), step(0, init(b)), step(0, info(b"cancel_connect", b, _int(2)))],
        "old": [step(2), step(0, init(b, 5)), step(6, n=3), step(0, reply(1)), step(0, reply(2)), step(0, info(b"lock_set", pid(b, 2), _atom(b"true"), _list()))],
        "third": joined + [step(3), step(1, cast(b"in_sync", z, _atom(b"true"))), step(0, lost(b, z)), step(1, info(b"remove_connection", z))],
        "third_late": joined + [step(6, n=160)],
        "about_us": joined + [step(0, lost(b, me)), step(6, n=200)],
        "new": joined + [step(0, cast(b"new_nodes", b, _list(_tuple(_atom(b"insert"), entry(b"u", pid(z, 44)))), _list(), known,
                                      _list(_tuple(_atom(b"vsn"), _int(8)), _tuple(_atom(b"lock"), _tuple(_atom(b"global"), both)))))],
        "clash": passive[:3] + want[:1] + passive[3:] + [step(0, cast(b"exchange", b, _list(entry(b"q", pid(b, 40))), _list(), _int(1)))],
        "calls": joined + [step(0, call(b, r)) for r in (
            _tuple(_atom(b"register"), _atom(b"x"), pid(b, 40), _atom(b"m")), _tuple(_atom(b"register_ext"), _atom(b"x"), pid(me, 40), _atom(b"m"), b),
            _tuple(_atom(b"unregister"), _atom(b"x")), _tuple(_atom(b"sync"), _list(z, b)), *map(_atom, (b"get_known", b"get_synced", b"get_names_ext", b"get_protocol_version")),
            _tuple(_atom(b"set_lock"), _tuple(_atom(b"r"), _atom(b"me"))), _tuple(_atom(b"del_lock"), _tuple(_atom(b"r"), _atom(b"me"))),
            _tuple(_atom(b"call"), _atom(b"global"), _atom(b"resolve_it"), _list(b"q" + _atom(b"global") + _atom(b"notify_all_name") + _int(3), _atom(b"q"), pid(z, 4), pid(me, 50)), pid(b, 1)))],
        "sync": [step(2), step(3), step(0, call(b, _tuple(_atom(b"sync"), _list(z, z, b)))), step(5), step(4)],
        "ends": joined + [step(8, n=1), step(8, n=2), step(8, n=3)],
        "cut": [passive[0], passive[1][:20]], "flood": [step(2), step(0, b"l\xff\xff\xff\xffa\1")],
    }
    for name, steps in scripts.items():
        yield name, b"".join(steps)


TARGETS = {f.__name__.rstrip("_"): f for f in (config, core, dist_cache, dist_ctl, dist_frame, dist_in, epmd, etf, framer, global_, handshake, jid, log, sasl, sm,
                                 stanza, xml)}


def main():
    check = "--check" in sys.argv
    names = [a for a in sys.argv[1:] if a != "--check"] or list(TARGETS)
    wrong = 0
    for t in names:
        want = {"gen-" + name.replace("/", "_"): data for name, data in TARGETS[t]()}
        have = {n for n in os.listdir(f"{CORPUS}/{t}") if n.startswith("gen-")}
        for n in have - set(want):
            wrong += 1
            if not check:
                os.unlink(f"{CORPUS}/{t}/{n}")
        for n, data in want.items():
            path = f"{CORPUS}/{t}/{n}"
            if n in have and open(path, "rb").read() == data:
                continue
            wrong += 1
            if not check:
                with open(path, "wb") as f:
                    f.write(data)
        print(f"{t}: {len(want)} seeds, {sum(map(len, want.values()))} bytes")
    if check and wrong:
        sys.exit(f"{wrong} files of the corpus are not what this script writes")


main()
