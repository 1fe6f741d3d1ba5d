/* name: checking and comparing names of nodes.
 *
 * Why graphic ASCII only: a name reaches logs, the port mapper's list of lines, metrics and file names. OTP's own nodes cannot have
 * another (net_kernel checks what it is started with), so that nothing that exists is locked out.
 *
 * Invariants: (1) full is alive, '@' and host, without gaps. (2) An invented name passes dist_name_parse_own if its host passes
 * dist_name_parse_host. */
#include "proto/dist/name.h"

#define HOST_MAX (DIST_NAME_MAX - DIST_NAME_INVENT_LEN - 1)

_Static_assert(HOST_MAX == 241, "as the header says");

/* 1 to max bytes, graphic, no '@'. */
static err part_ok(slice s, size_t max) {
    if (s.len == 0) return ERR_INVALID;
    if (s.len > max) return ERR_LIMIT;
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] <= ' ' || s.p[i] > '~' || s.p[i] == '@') return ERR_INVALID;
    return ERR_OK;
}

err dist_name_parse_host(slice s) { return part_ok(s, HOST_MAX); }

err dist_name_parse_alive(slice s) { return part_ok(s, DIST_NAME_MAX); }

err dist_name_parse(slice s, dist_name *out) {
    if (s.len > DIST_NAME_MAX) return ERR_LIMIT;
    size_t at = slice_find(s, '@');
    dist_name n = {.full = s, .alive = slice_sub(s, 0, at), .host = slice_from(s, at + 1)};
    if (part_ok(n.alive, DIST_NAME_MAX) != ERR_OK || part_ok(n.host, DIST_NAME_MAX) != ERR_OK) return ERR_INVALID;
    n.is_long = slice_find(n.host, '.') < n.host.len || slice_find(n.host, ':') < n.host.len;
    *out = n;
    return ERR_OK;
}

static bool is_own_byte(uint8_t c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' || c == '-';
}

err dist_name_parse_own(slice s, dist_name *out) {
    dist_name n;
    err e = dist_name_parse(s, &n);
    if (e != ERR_OK) return e;
    for (size_t i = 0; i < n.alive.len; i++)
        if (!is_own_byte(n.alive.p[i])) return ERR_INVALID;
    *out = n;
    return ERR_OK;
}

int dist_name_cmp(slice a, slice b) { return slice_cmp(a, b); }

void dist_name_invent(buf *out, uint64_t random, slice host) {
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    uint8_t alive[DIST_NAME_INVENT_LEN];
    for (size_t i = sizeof alive; i > 0; i--, random /= 36) alive[i - 1] = (uint8_t)digits[random % 36];
    buf_add(out, slice_of(alive, sizeof alive));
    buf_add_byte(out, '@');
    buf_add(out, host);
}
