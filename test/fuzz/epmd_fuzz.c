/* epmd_fuzz: answers that a port mapper made up, and requests that its clients made up. Oracle for our client: the same events wherever the
 * answer is cut, and whatever is told is within limits. For our server: the names in the table are those of the connections that were told
 * so, all valid and different, and none is left when all have ended; a lookup by our own client finds each.
 *
 * Input: a byte below 3 for a client that registers, looks up or lists, a byte for where to cut, and the answer; or any other byte, and a
 * script for the server: a byte for the connection (low bits) and what is done (bit 7: hang up; bit 6: local when it begins), a length,
 * bytes. */
#include "base/cursor.h"
#include "proto/dist/epmd_server.h"
#include "proto/dist/name.h"

#include <stdlib.h>

#define CONNS     8u
#define NAMES_MAX 5u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool ok) {
    if (!ok) abort();
}

/* --- the client -------------------------------------------------------------------------------------------------------------------- */
static void client_events(uint8_t which, slice answer, size_t cut, buf *log) {
    dist_epmd_client c;
    dist_epmd_event ev = {.kind = DIST_EPMD_NONE};
    const dist_epmd_node n = {.name = SLICE("murre"), .port = 1, .high = 6, .low = 5, .type = 77};
    buf request;
    buf_init(&request, 64);
    if (which == 0) demand(dist_epmd_register(&c, &n, &request) == ERR_OK);
    if (which == 1) demand(dist_epmd_lookup(&c, n.name, &request) == ERR_OK);
    if (which == 2) dist_epmd_names(&c, &request);
    buf_fini(&request);
    size_t at = 0, have = cut < answer.len ? cut : answer.len;
    do {
        size_t used = 0;
        dist_epmd_next(&c, slice_sub(answer, at, have - at), have == answer.len, &used, &ev);
        at += used;
        demand(at <= have);
        demand(ev.kind != DIST_EPMD_REGISTERED || ev.creation == 0 || ev.creation > 3);
        demand(ev.kind != DIST_EPMD_FOUND || (slice_eq(ev.node.name, n.name) && ev.node.extra.len <= DIST_EPMD_EXTRA_MAX));
        demand(ev.kind != DIST_EPMD_NAME || dist_name_parse_alive(ev.node.name) == ERR_OK);
        demand(ev.what.len <= 512);
        if (ev.kind == DIST_EPMD_NONE) {
            demand(have < answer.len); /* at the end of input there is always something to tell */
            have = answer.len;
            continue;
        }
        buf_addf(log, "%d:%u:%d:%u:", ev.kind, ev.creation, ev.fail, ev.node.port);
        buf_add(log, ev.node.name);
    } while (ev.kind == DIST_EPMD_NONE || ev.kind == DIST_EPMD_NAME || ev.kind == DIST_EPMD_REGISTERED);
}

static void fuzz_client(uint8_t which, size_t cut, slice answer) {
    buf whole, pieces;
    buf_init(&whole, 1u << 22);
    buf_init(&pieces, 1u << 22);
    client_events(which, answer, answer.len, &whole);
    client_events(which, answer, cut, &pieces);
    demand(slice_eq(buf_slice(&whole), buf_slice(&pieces)));
    buf_fini(&whole);
    buf_fini(&pieces);
}

/* --- the server -------------------------------------------------------------------------------------------------------------------- */
typedef struct client {
    dist_epmd_conn conn;
    buf in, out;
    slice name; /* what it was told to have registered */
    bool open;
} client;

static void hang_up(client *c) {
    dist_epmd_conn_fini(&c->conn);
    buf_fini(&c->in);
    buf_fini(&c->out);
    *c = (client){.open = false};
}

static void say(client *c, slice bytes) {
    buf_add(&c->in, bytes);
    for (;;) {
        dist_epmd_served ev;
        size_t used = 0;
        dist_epmd_conn_next(&c->conn, buf_slice(&c->in), &c->out, &used, &ev);
        demand(used <= c->in.len && buf_ok(&c->out));
        if (ev.kind == DIST_EPMD_SERVED_REGISTERED) {
            demand(!c->name.p && dist_name_parse_alive(ev.name) == ERR_OK && c->conn.local);
            c->name = ev.name;
        }
        buf_consume(&c->in, used);
        if (ev.kind == DIST_EPMD_SERVED_NONE || ev.kind == DIST_EPMD_SERVED_REGISTERED) return;
        if (ev.kind == DIST_EPMD_SERVED_MORE) continue;
        hang_up(c);
        return;
    }
}

static void look_up(dist_epmd_table *t, slice name) {
    dist_epmd_client c;
    dist_epmd_event ev;
    dist_epmd_conn conn;
    dist_epmd_served served;
    buf request, answer;
    size_t used = 0;
    buf_init(&request, 512);
    buf_init(&answer, 4096);
    demand(dist_epmd_lookup(&c, name, &request) == ERR_OK);
    dist_epmd_conn_init(&conn, t, false, 0);
    dist_epmd_conn_next(&conn, buf_slice(&request), &answer, &used, &served);
    demand(served.kind == DIST_EPMD_SERVED_DONE && used == request.len && answer.len <= DIST_EPMD_ANSWER_MAX);
    dist_epmd_next(&c, buf_slice(&answer), true, &used, &ev);
    demand(ev.kind == DIST_EPMD_FOUND);
    dist_epmd_conn_fini(&conn);
    buf_fini(&request);
    buf_fini(&answer);
}

static void fuzz_server(cursor in) {
    static const hash_key key = {1, 2};
    client clients[CONNS] = {0};
    dist_epmd_table t;
    dist_epmd_table_init(&t, 4369, NAMES_MAX, &key, 4);
    uint8_t op, len;
    slice bytes;
    while (cursor_u8(&in, &op) && cursor_u8(&in, &len)) {
        client *c = &clients[op % CONNS];
        if (!cursor_bytes(&in, len, &bytes) && !cursor_bytes(&in, cursor_left(&in), &bytes)) break;
        if (!c->open) {
            dist_epmd_conn_init(&c->conn, &t, (op & 0x40) != 0, op);
            buf_init(&c->in, DIST_EPMD_REQUEST_MAX + 2 + 255);
            buf_init(&c->out, 1u << 20);
            c->open = true;
        }
        say(c, bytes);
        if (c->open && (op & 0x80)) hang_up(c);
        size_t registered = 0;
        for (size_t i = 0; i < CONNS; i++) {
            if (!clients[i].name.p) continue;
            registered++;
            look_up(&t, clients[i].name);
            for (size_t k = 0; k < i; k++) demand(!clients[k].name.p || !slice_eq(clients[i].name, clients[k].name));
        }
        demand(registered == dist_epmd_table_count(&t) && registered <= NAMES_MAX);
    }
    for (size_t i = 0; i < CONNS; i++)
        if (clients[i].open) hang_up(&clients[i]);
    demand(dist_epmd_table_count(&t) == 0);
    dist_epmd_table_fini(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) return 0;
    if (data[0] < 3)
        fuzz_client(data[0], data[1], slice_of(data + 2, size - 2));
    else
        fuzz_server(cursor_of(slice_of(data + 1, size - 1)));
    return 0;
}
