/* jid: addresses, normalised once at the edge (RFC 7622, with the stringprep profiles of RFC 6122).
 *
 * What: local@domain/resource -> the canonical text, of which two are equal when their bytes are. Why canonical: blocking, routing and
 * access are decided by comparing addresses; an address that has two spellings has two identities (promises.md, blocked user evasion).
 *
 *     text --split at first '/', then first '@'--> part --ASCII? table and copy ----------------------------> canonical part
 *                                                   \---- libidn: map, NFKC, forbid, bidi; to a fixed point --/
 *     domain: '[' IPv6 ']' | label *('.' label), each label by itself: nameprep, xn-- to Unicode, letters-digits-hyphen, at most 63 as ACE
 *
 * Invariants: (1) the output of a profile is a fixed point of it: preparing it again changes nothing. Stringprep does not promise that
 * (libidn's tables and unassigned code points), so it is repeated at most PREP_ROUNDS times and the text refused if it still moves.
 * (2) no part is empty or longer than XMPP_JID_PART_MAX, before or after. (3) ASCII takes no memory but the arena's. (4) out
 * parameters and the arena are touched only when everything was right. */
#include "proto/xmpp/jid.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <arpa/inet.h>
#include <idna.h>
#include <stringprep.h>

#define PREP_ROUNDS    4    /* RFC 8264 section 7 asks for as many before a string is refused */
#define PREP_POINTS    2048 /* code points while a part is mapped; B.2 and NFKC expand */
#define LABEL_MAX      63   /* bytes of a label as ACE, and so at most as many code points */
#define LABEL_POINTS   256  /* code points of one while it is mapped */
#define DOMAIN_ACE_MAX 253

typedef struct part { /* one prepared part, on the stack */
    size_t len;
    uint8_t text[XMPP_JID_PART_MAX];
} part;

/* What ASCII becomes in each profile: 0 is forbidden. */
typedef uint8_t ascii_map(uint8_t c);

static uint8_t ascii_local(uint8_t c) {
    if (c <= ' ' || c >= 0x7f || strchr("\"&'/:<>@", c)) return 0;
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

static uint8_t ascii_domain(uint8_t c) {
    if (c >= 'A' && c <= 'Z') return (uint8_t)(c + 32);
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ? c : 0;
}

static uint8_t ascii_printable(uint8_t c) { return c >= ' ' && c < 0x7f ? c : 0; }

static bool is_ascii(slice s) {
    uint8_t all = 0;
    for (size_t i = 0; i < s.len; i++) all |= s.p[i];
    return all < 0x80;
}

static err copy_ascii(slice in, ascii_map *map, part *out) {
    for (size_t i = 0; i < in.len; i++) {
        uint8_t c = map(in.p[i]);
        if (c == 0) return ERR_INVALID;
        out->text[i] = c;
    }
    out->len = in.len;
    return ERR_OK;
}

/* --- code points <-> bytes */
static size_t to_points(slice in, uint32_t *out) { /* in is at most XMPP_JID_PART_MAX bytes; 0 if it is not UTF-8 */
    size_t n = 0;
    while (in.len > 0) {
        size_t step = utf8_decode(in, &out[n]);
        if (step == 0 || out[n] == 0) return 0;
        n++;
        in = slice_from(in, step);
    }
    return n;
}

static bool to_bytes(const uint32_t *in, size_t n, part *out) {
    out->len = 0;
    for (size_t i = 0; i < n; i++) {
        uint8_t c[4];
        size_t len = utf8_encode(in[i], c);
        if (len == 0 || out->len + len > sizeof out->text) return false;
        memcpy(out->text + out->len, c, len);
        out->len += len;
    }
    return out->len > 0;
}

/* One profile over code points in place, until nothing changes. cap: room in points. */
static err prep_points(uint32_t *points, size_t *n, size_t cap, Stringprep_profile_flags flags, const Stringprep_profile *profile) {
    uint32_t before[PREP_POINTS];
    err e = ERR_INVALID;
    for (int round = 0; round < PREP_ROUNDS; round++) {
        size_t len = *n;
        memcpy(before, points, len * sizeof *points);
        if (stringprep_4i(points, n, cap, flags, profile) != STRINGPREP_OK || *n == 0) break;
        if (*n == len && memcmp(before, points, len * sizeof *points) == 0) {
            e = ERR_OK;
            break;
        }
    }
    mem_wipe(before, sizeof before); /* it may have been a password */
    return e;
}

/* A part that is one string: local, resource, password. */
static err prep(slice in, ascii_map *map, Stringprep_profile_flags flags, const Stringprep_profile *profile, part *out) {
    if (in.len == 0 || in.len > XMPP_JID_PART_MAX) return ERR_INVALID;
    if (is_ascii(in)) return copy_ascii(in, map, out);
    uint32_t points[PREP_POINTS];
    size_t n = to_points(in, points);
    err e = n > 0 ? prep_points(points, &n, PREP_POINTS, flags, profile) : ERR_INVALID;
    if (e == ERR_OK && !to_bytes(points, n, out)) e = ERR_INVALID;
    mem_wipe(points, sizeof points);
    return e;
}

/* --- domains */
static bool is_dot(uint32_t c) { return c == '.' || c == 0x3002 || c == 0xff0e || c == 0xff61; } /* RFC 3490 section 3.1 */

/* Letters, digits and hyphens, no hyphen at an end (STD 3); what is not ASCII is libidn's business. */
static bool label_ok(const uint32_t *l, size_t n) {
    if (n == 0 || l[0] == '-' || l[n - 1] == '-') return false;
    for (size_t i = 0; i < n; i++) {
        if (l[i] < 0x80 && (l[i] == '.' || ascii_domain((uint8_t)l[i]) != l[i])) return false;
    }
    return true;
}

/* Appends one label, prepared, to out; ace_len grows by its length as it would go into the DNS. */
static err prep_label(const uint32_t *in, size_t in_len, uint32_t *out, size_t *n, size_t *ace_len) {
    uint32_t label[LABEL_POINTS], unicode[LABEL_POINTS];
    char ace[LABEL_MAX + 1];
    size_t len = in_len, unicode_len = LABEL_POINTS;
    if (len == 0 || len > LABEL_POINTS) return ERR_INVALID;
    memcpy(label, in, len * sizeof *in);
    if (prep_points(label, &len, LABEL_POINTS, (Stringprep_profile_flags)0, stringprep_nameprep) != ERR_OK) return ERR_INVALID;
    /* an A-label becomes its U-label, so that a domain has one spelling; what does not decode stays as it is (RFC 3490 section 4.2) */
    (void)idna_to_unicode_44i(label, len, unicode, &unicode_len, IDNA_ALLOW_UNASSIGNED | IDNA_USE_STD3_ASCII_RULES);
    if (!label_ok(unicode, unicode_len) || *n + unicode_len > PREP_POINTS) return ERR_INVALID;
    if (idna_to_ascii_4i(unicode, unicode_len, ace, IDNA_ALLOW_UNASSIGNED | IDNA_USE_STD3_ASCII_RULES) != IDNA_SUCCESS) return ERR_INVALID;
    *ace_len += strlen(ace);
    memcpy(out + *n, unicode, unicode_len * sizeof *unicode);
    *n += unicode_len;
    return ERR_OK;
}

static err prep_labels(slice in, part *out) {
    uint32_t points[PREP_POINTS], done[PREP_POINTS];
    size_t n = to_points(in, points), n_done = 0, ace_len = 0, start = 0;
    if (n > 1 && is_dot(points[n - 1])) n--;
    if (n == 0) return ERR_INVALID;
    for (size_t i = 0; i <= n; i++) {
        if (i < n && !is_dot(points[i])) continue;
        if (prep_label(points + start, i - start, done, &n_done, &ace_len) != ERR_OK) return ERR_INVALID;
        if (i < n) {
            if (n_done == PREP_POINTS) return ERR_INVALID;
            done[n_done++] = '.';
            ace_len++;
        }
        start = i + 1;
    }
    return ace_len <= DOMAIN_ACE_MAX && to_bytes(done, n_done, out) ? ERR_OK : ERR_INVALID;
}

/* "[::1]", in the one form that inet_ntop writes (RFC 5952). */
static err prep_ipv6(slice in, part *out) {
    char text[INET6_ADDRSTRLEN];
    struct in6_addr a;
    size_t len = in.len - 2;
    if (in.p[in.len - 1] != ']' || len >= sizeof text) return ERR_INVALID;
    memcpy(text, in.p + 1, len);
    text[len] = 0;
    if (slice_find(slice_sub(in, 1, len), 0) != len || inet_pton(AF_INET6, text, &a) != 1) return ERR_INVALID;
    if (!inet_ntop(AF_INET6, &a, text, sizeof text)) return ERR_INVALID;
    len = strlen(text);
    out->text[0] = '[';
    memcpy(out->text + 1, text, len);
    out->text[len + 1] = ']';
    out->len = len + 2;
    return ERR_OK;
}

/* The fast path's check of a whole ASCII domain, prepared: labels of 1 to 63, none of them an A-label. */
static bool plain_domain(slice d) {
    if (d.len > DOMAIN_ACE_MAX) return false;
    while (true) {
        size_t end = slice_find(d, '.');
        if (end == 0 || end > LABEL_MAX || d.p[0] == '-' || d.p[end - 1] == '-') return false;
        if (slice_starts(d, SLICE("xn--"))) return false;
        if (end == d.len) return true;
        d = slice_from(d, end + 1);
        if (d.len == 0) return false;
    }
}

static err prep_domain(slice in, part *out) {
    if (in.len == 0 || in.len > XMPP_JID_PART_MAX) return ERR_INVALID;
    if (in.p[0] == '[') return in.len > 2 ? prep_ipv6(in, out) : ERR_INVALID;
    if (is_ascii(in)) {
        if (copy_ascii(in, ascii_domain, out) != ERR_OK) return ERR_INVALID;
        if (out->len > 1 && out->text[out->len - 1] == '.') out->len--;
        if (plain_domain(slice_of(out->text, out->len))) return ERR_OK;
    }
    return prep_labels(in, out);
}

static err prep_local(slice in, part *out) { return prep(in, ascii_local, (Stringprep_profile_flags)0, stringprep_xmpp_nodeprep, out); }

static err prep_resource(slice in, part *out) {
    return prep(in, ascii_printable, (Stringprep_profile_flags)0, stringprep_xmpp_resourceprep, out);
}

/* --- into the arena */
static err keep(const part *p, arena *a, slice *out) {
    slice s = arena_dup(a, slice_of(p->text, p->len));
    if (!s.p) return ERR_LIMIT;
    *out = s;
    return ERR_OK;
}

err xmpp_jid_prep_local(slice text, arena *a, slice *out) {
    part p;
    err e = prep_local(text, &p);
    return e == ERR_OK ? keep(&p, a, out) : e;
}

err xmpp_jid_prep_domain(slice text, arena *a, slice *out) {
    part p;
    err e = prep_domain(text, &p);
    return e == ERR_OK ? keep(&p, a, out) : e;
}

err xmpp_jid_prep_resource(slice text, arena *a, slice *out) {
    part p;
    err e = prep_resource(text, &p);
    return e == ERR_OK ? keep(&p, a, out) : e;
}

err xmpp_jid_saslprep(slice text, arena *a, slice *out) {
    part p;
    err e = prep(text, ascii_printable, STRINGPREP_NO_UNASSIGNED, stringprep_saslprep, &p);
    if (e == ERR_OK) e = keep(&p, a, out);
    mem_wipe(&p, sizeof p);
    return e;
}

/* The three parts of any text, unchecked; absent parts have p NULL. */
static xmpp_jid cut(slice text) {
    size_t slash = slice_find(text, '/');
    slice bare = slice_sub(text, 0, slash);
    size_t at = slice_find(bare, '@');
    xmpp_jid j = {.local = SLICE_NULL, .domain = bare, .resource = SLICE_NULL};
    if (slash < text.len) j.resource = slice_from(text, slash + 1);
    if (at < bare.len) {
        j.local = slice_sub(bare, 0, at);
        j.domain = slice_from(bare, at + 1);
    }
    return j;
}

err xmpp_jid_parse(slice text, arena *a, xmpp_jid *out, slice *out_full) {
    if (text.len == 0 || text.len > XMPP_JID_MAX) return ERR_INVALID;
    xmpp_jid raw = cut(text);
    part local = {.len = 0}, domain, resource = {.len = 0};
    if (prep_domain(raw.domain, &domain) != ERR_OK) return ERR_INVALID;
    if (raw.local.p && prep_local(raw.local, &local) != ERR_OK) return ERR_INVALID;
    if (raw.resource.p && prep_resource(raw.resource, &resource) != ERR_OK) return ERR_INVALID;

    size_t len = domain.len + (local.len ? local.len + 1 : 0) + (resource.len ? resource.len + 1 : 0);
    uint8_t *full = arena_alloc(a, len + 1), *to = full; /* and a NUL, as arena_dup has */
    if (!full) return ERR_LIMIT;
    xmpp_jid j = {.local = SLICE_NULL, .resource = SLICE_NULL};
    if (local.len) {
        memcpy(to, local.text, local.len);
        j.local = slice_of(to, local.len);
        to += local.len;
        *to++ = '@';
    }
    memcpy(to, domain.text, domain.len);
    j.domain = slice_of(to, domain.len);
    to += domain.len;
    if (resource.len) {
        *to++ = '/';
        memcpy(to, resource.text, resource.len);
        j.resource = slice_of(to, resource.len);
    }
    *out = j;
    if (out_full) *out_full = slice_of(full, len);
    return ERR_OK;
}

bool xmpp_jid_split(slice canonical, xmpp_jid *out) {
    if (canonical.len == 0 || canonical.len > XMPP_JID_MAX) return false;
    xmpp_jid j = cut(canonical);
    if (j.domain.len == 0 || j.domain.len > XMPP_JID_PART_MAX) return false;
    if (j.local.p && (j.local.len == 0 || j.local.len > XMPP_JID_PART_MAX)) return false;
    if (j.resource.p && (j.resource.len == 0 || j.resource.len > XMPP_JID_PART_MAX)) return false;
    *out = j;
    return true;
}

slice xmpp_jid_bare(slice canonical) { return slice_sub(canonical, 0, slice_find(canonical, '/')); }

slice xmpp_jid_resource(slice canonical) { return canonical.len ? cut(canonical).resource : SLICE_NULL; }

bool xmpp_jid_block_match(slice entry, slice address) {
    xmpp_jid e, a;
    if (!xmpp_jid_split(entry, &e) || !xmpp_jid_split(address, &a) || !slice_eq(e.domain, a.domain)) return false;
    if (e.resource.p) return slice_eq(entry, address);             /* user@domain/resource, domain/resource: only that resource */
    if (e.local.p) return a.local.p && slice_eq(e.local, a.local); /* user@domain: any resource of it */
    return true;                                                   /* domain: itself, and everybody and everything there */
}
