/* sys_addr: text forms of addresses, for configuration, logs and `status`. Pure: no name is looked up.
 *
 *     127.0.0.1:5222      [::1]:5222      unix:/run/murre.sock
 *
 * Invariant: what sys_addr_format writes, sys_addr_parse reads back to the same address (a Unix path longer than the text is cut). */
#include "base/codec.h"
#include "rt/sys.h"

#include <arpa/inet.h>
#include <stdio.h>

#define UNIX_PREFIX "unix:"

void sys_addr_format(const sys_addr *a, char *out) {
    char ip[INET6_ADDRSTRLEN] = "?";
    switch ((sys_family)a->family) {
    case SYS_INET4:
        (void)inet_ntop(AF_INET, a->ip, ip, sizeof ip); /* cannot fail: the room is enough */
        (void)snprintf(out, SYS_ADDR_TEXT, "%s:%u", ip, a->port);
        return;
    case SYS_INET6:
        (void)inet_ntop(AF_INET6, a->ip, ip, sizeof ip);
        (void)snprintf(out, SYS_ADDR_TEXT, "[%s]:%u", ip, a->port);
        return;
    case SYS_UNIX: (void)snprintf(out, SYS_ADDR_TEXT, UNIX_PREFIX "%s", a->path ? a->path : ""); return;
    }
    (void)snprintf(out, SYS_ADDR_TEXT, "?");
}

static bool parse_ip(int family, slice text, uint8_t *out) {
    char z[INET6_ADDRSTRLEN];
    if (text.len == 0 || text.len >= sizeof z || memchr(text.p, 0, text.len)) return false;
    memcpy(z, text.p, text.len);
    z[text.len] = 0;
    return inet_pton(family, z, out) == 1;
}

err sys_addr_parse(slice text, sys_addr *out) {
    sys_addr a = {.path = NULL};
    slice prefix = SLICE(UNIX_PREFIX);
    if (slice_starts(text, prefix)) {
        if (text.len == prefix.len) return ERR_INVALID;
        a.family = SYS_UNIX;
        a.path = (const char *)text.p + prefix.len;
        *out = a;
        return ERR_OK;
    }
    size_t colon = text.len; /* the last one: what follows is the port */
    for (size_t i = 0; i < text.len; i++)
        if (text.p[i] == ':') colon = i;
    if (colon == text.len) return ERR_INVALID;
    slice host = slice_sub(text, 0, colon);
    uint64_t port;
    err e = dec_parse_u64(slice_from(text, colon + 1), UINT16_MAX, &port);
    if (e) return e;
    a.port = (uint16_t)port;
    if (host.len > 2 && host.p[0] == '[' && host.p[host.len - 1] == ']') {
        a.family = SYS_INET6;
        if (!parse_ip(AF_INET6, slice_sub(host, 1, host.len - 2), a.ip)) return ERR_INVALID;
    } else {
        a.family = SYS_INET4;
        if (!parse_ip(AF_INET, host, a.ip)) return ERR_INVALID;
    }
    *out = a;
    return ERR_OK;
}

bool sys_addr_is_loopback(const sys_addr *a) {
    static const uint8_t one[16] = {[15] = 1}, mapped[12] = {[10] = 0xff, [11] = 0xff};
    switch ((sys_family)a->family) {
    case SYS_INET4: return a->ip[0] == 127;
    case SYS_INET6: return memcmp(a->ip, one, sizeof one) == 0 || (memcmp(a->ip, mapped, sizeof mapped) == 0 && a->ip[12] == 127);
    case SYS_UNIX: return false;
    }
    return false;
}
