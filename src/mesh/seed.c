/* seed: how a node to be dialled is written. Nothing is looked up here: link_dial.c does, at each attempt. */
#include "base/codec.h"
#include "base/utf8.h"
#include "mesh/dial.h"

#include <stdio.h>

static err wrong(slice text, err e, const char *matter, char *why) {
    char safe[120]; /* enough to know it by */
    (void)utf8_escape(text, safe, sizeof safe);
    (void)snprintf(why, MESH_WHY_MAX, "'%s' %s", safe, matter);
    return e;
}

/* host, host:port, [host]:port; a host with two colons and no brackets is an IPv6 address without a port. *out_port: 0 if there is none. */
static bool split(slice s, slice *out_host, uint16_t *out_port) {
    bool brackets = s.len > 0 && s.p[0] == '[';
    size_t end = brackets ? slice_find(s, ']') : slice_find(s, ':');
    slice host = brackets ? slice_sub(s, 1, end > 0 ? end - 1 : 0) : slice_sub(s, 0, end), rest = slice_from(s, end + brackets);
    uint64_t port = 0;
    if (brackets && end == s.len) return false;
    if (!brackets && rest.len > 1 && slice_find(slice_from(rest, 1), ':') < rest.len - 1) {
        host = s;
        rest = SLICE_NULL;
    }
    if (rest.len > 0 && (rest.p[0] != ':' || dec_parse_u64(slice_from(rest, 1), UINT16_MAX, &port) || port == 0)) return false;
    *out_host = host;
    *out_port = (uint16_t)port;
    return host.len > 0;
}

/* What is known without looking it up. Nodes that have no certificates are on this machine, so its name can only mean loopback to them. */
static void address(slice host, slice own_host, bool secure, uint16_t port, mesh_seed *out) {
    char text[DIST_NAME_MAX + 16];
    bool v6 = slice_find(host, ':') < host.len;
    (void)snprintf(text, sizeof text, v6 ? "[" SLICE_FMT "]:%u" : SLICE_FMT ":%u", SLICE_ARG(host), port);
    if (host.len <= DIST_NAME_MAX && sys_addr_parse(slice_str(text), &out->addr) == ERR_OK && out->addr.family != SYS_UNIX) return;
    out->addr = (sys_addr){.family = SYS_INET4, .port = port, .ip = {127, 0, 0, 1}};
    out->named = !slice_is(host, "localhost") && (secure || !slice_eq(host, own_host));
}

static bool read_name(slice text, mesh_seed *out, slice *out_host, uint16_t *out_port) {
    size_t at = slice_find(text, '@');
    slice host;
    dist_name name;
    if (text.len > MESH_SEED_MAX || at == text.len || !split(slice_from(text, at + 1), &host, out_port) ||
        at + 1 + host.len > DIST_NAME_MAX)
        return false;
    memcpy(out->name, text.p, at + 1);
    memcpy(out->name + at + 1, host.p, host.len);
    out->name_len = (uint8_t)(at + 1 + host.len);
    *out_host = host;
    return dist_name_parse(mesh_seed_name(out), &name) == ERR_OK;
}

err mesh_seed_parse(slice own, bool secure, slice text, mesh_seed *out, char why[MESH_WHY_MAX]) {
    slice host;
    uint16_t port;
    dist_name me, name;
    mesh_seed s = {.name_len = 0};
    if (!check(dist_name_parse_own(own, &me) == ERR_OK)) return ERR_BUG;
    if (!read_name(text, &s, &host, &port))
        return wrong(text, ERR_INVALID, "is not a node such as b@127.0.0.1, or b@127.0.0.1:9100 with its port", why);
    if (!check(dist_name_parse(mesh_seed_name(&s), &name) == ERR_OK)) return ERR_BUG;
    if (slice_eq(name.full, own)) return wrong(text, ERR_INVALID, "is this node itself", why);
    address(host, me.host, secure, port, &s);
    if (!secure && s.named)
        return wrong(text, ERR_PERM, "is not known to be on this machine; nodes elsewhere need certificates (node.tls.cert)", why);
    if (!secure && !sys_addr_is_loopback(&s.addr))
        return wrong(text, ERR_PERM, "is not on a loopback address; nodes elsewhere need certificates (node.tls.cert)", why);
    if (!dist_name_same_style(&me, &name))
        return wrong(text, ERR_INVALID, "cannot be dialled: of this node and that one one has a dot in its host and the other has none",
                     why);
    *out = s;
    return ERR_OK;
}

err mesh_seed_check(slice own, bool secure, slice text, char why[MESH_WHY_MAX]) {
    mesh_seed s;
    return mesh_seed_parse(own, secure, text, &s, why);
}

err mesh_dns_parse(slice text, mesh_query *out, char why[MESH_WHY_MAX]) {
    mesh_seed s = {.name_len = 0};
    slice host;
    sys_addr none;
    char numeric[DIST_NAME_MAX + 4];
    uint16_t port = 0;
    bool fine = read_name(text, &s, &host, &port) && slice_find(host, ':') == host.len;
    if (fine) (void)snprintf(numeric, sizeof numeric, SLICE_FMT ":0", SLICE_ARG(host));
    if (!fine || sys_addr_parse(slice_str(numeric), &none) == ERR_OK)
        return wrong(text, ERR_INVALID, "is not a name to be looked up, such as b@cluster.example, or b@cluster.example:9100", why);
    *out = (mesh_query){.alive = slice_sub(text, 0, slice_find(text, '@')), .host = host, .port = port};
    return ERR_OK;
}

err mesh_dns_check(slice text, char why[MESH_WHY_MAX]) {
    mesh_query q;
    return mesh_dns_parse(text, &q, why);
}
