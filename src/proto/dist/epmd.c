/* epmd: asks a port mapper one thing on one connection.
 *
 *   register: WAIT_REGISTERED --> HELD (until the connection ends)
 *   lookup:   WAIT_NODE ---------> OVER
 *   names:    WAIT_PORT --> WAIT_LINES (a line an event) --> OVER at the end of input
 *
 * Why one state for each answer: answers carry no length and mostly no name of what they answer, so that only the order tells what they
 * are.
 *
 * Invariants: (1) an event takes the bytes that it tells about, and no more. (2) Nothing waits for more than DIST_EPMD_ANSWER_MAX bytes.
 * (3) FOUND has the name that was asked for. */
#include "proto/dist/epmd.h"

#include "base/codec.h"
#include "proto/dist/epmd_wire.h"
#include "proto/dist/name.h"

#define CREATION_FIRST 4u   /* below: creations of two bits, or none */
#define LINE_MAX       512u /* bytes of a line of names; the longest that can be has 281 */

typedef enum state { WAIT_REGISTERED, HELD, WAIT_NODE, WAIT_PORT, WAIT_LINES, OVER } state;

static const struct {
    const char *name, *text;
} fails[] = {
#define DIST_EPMD_FAIL_DEF(name, text) {#name, text},
#include "proto/dist/epmd.def"
#undef DIST_EPMD_FAIL_DEF
};

const char *dist_epmd_fail_name(dist_epmd_fail f) { return (size_t)f < ARRAY_LEN(fails) ? fails[f].name : "?"; }
const char *dist_epmd_fail_text(dist_epmd_fail f) { return (size_t)f < ARRAY_LEN(fails) ? fails[f].text : "?"; }

/* --- the record of a node ---------------------------------------------------------------------------------------------------------- */
void dist_epmd_write_node(buf *out, const dist_epmd_node *n) {
    buf_add_u16be(out, n->port);
    buf_add_byte(out, n->type);
    buf_add_byte(out, n->proto);
    buf_add_u16be(out, n->high);
    buf_add_u16be(out, n->low);
    buf_add_u16be(out, (uint16_t)n->name.len);
    buf_add(out, n->name);
    buf_add_u16be(out, (uint16_t)n->extra.len);
    buf_add(out, n->extra);
}

bool dist_epmd_read_node(cursor *c, dist_epmd_node *out) {
    cursor at = *c;
    dist_epmd_node n;
    uint16_t len;
    if (!cursor_u16be(&at, &n.port) || !cursor_u8(&at, &n.type) || !cursor_u8(&at, &n.proto) || !cursor_u16be(&at, &n.high) ||
        !cursor_u16be(&at, &n.low))
        return false;
    if (!cursor_u16be(&at, &len) || !cursor_bytes(&at, len, &n.name)) return false;
    if (!cursor_u16be(&at, &len) || !cursor_bytes(&at, len, &n.extra)) return false;
    *c = at;
    *out = n;
    return true;
}

/* --- asking ------------------------------------------------------------------------------------------------------------------------ */
err dist_epmd_register(dist_epmd_client *c, const dist_epmd_node *n, buf *out) {
    err e = dist_name_parse_alive(n->name);
    if (e != ERR_OK) return e;
    if (n->extra.len > DIST_EPMD_EXTRA_MAX) return ERR_LIMIT;
    *c = (dist_epmd_client){.state = WAIT_REGISTERED};
    buf_add_u16be(out, (uint16_t)(1 + 2 + 1 + 1 + 2 + 2 + 2 + n->name.len + 2 + n->extra.len));
    buf_add_byte(out, EPMD_ALIVE2);
    dist_epmd_write_node(out, n);
    return ERR_OK;
}

err dist_epmd_lookup(dist_epmd_client *c, slice alive, buf *out) {
    err e = dist_name_parse_alive(alive);
    if (e != ERR_OK) return e;
    *c = (dist_epmd_client){.state = WAIT_NODE, .name = alive};
    buf_add_u16be(out, (uint16_t)(1 + alive.len));
    buf_add_byte(out, EPMD_PORT2);
    buf_add(out, alive);
    return ERR_OK;
}

void dist_epmd_names(dist_epmd_client *c, buf *out) {
    *c = (dist_epmd_client){.state = WAIT_PORT};
    buf_add_u16be(out, 1);
    buf_add_byte(out, EPMD_NAMES);
}

/* --- the answers ------------------------------------------------------------------------------------------------------------------- */
static void over(dist_epmd_client *c, dist_epmd_event *ev, dist_epmd_event_kind kind) {
    c->state = OVER;
    ev->kind = kind;
}

static void fail(dist_epmd_client *c, dist_epmd_event *ev, dist_epmd_fail f, slice what) {
    over(c, ev, DIST_EPMD_FAIL);
    ev->fail = f;
    ev->what = slice_sub(what, 0, LINE_MAX);
}

/* 'v', result, creation:32; or from a port mapper that took us for older, 'y', result, creation:16. */
static void on_registered(dist_epmd_client *c, cursor *in, dist_epmd_event *ev) {
    slice all = slice_of(in->p, cursor_left(in));
    cursor at = *in;
    uint8_t tag, result;
    uint16_t creation16 = 0;
    uint32_t creation = 0;
    if (!cursor_u8(&at, &tag)) return;
    if (tag != EPMD_ALIVE2_X && tag != EPMD_ALIVE2_RESP) {
        fail(c, ev, DIST_EPMD_FAIL_ANSWER, all);
        return;
    }
    if (!cursor_u8(&at, &result) || (tag == EPMD_ALIVE2_X ? !cursor_u32be(&at, &creation) : !cursor_u16be(&at, &creation16))) return;
    *in = at;
    if (result != 0) {
        over(c, ev, DIST_EPMD_IN_USE);
        return;
    }
    c->state = HELD;
    ev->kind = DIST_EPMD_REGISTERED;
    ev->creation = creation < CREATION_FIRST ? 0 : creation;
}

/* 'w', result, and if that is 0 the node. */
static void on_node(dist_epmd_client *c, cursor *in, dist_epmd_event *ev) {
    slice all = slice_of(in->p, cursor_left(in));
    cursor at = *in;
    uint8_t tag, result;
    if (!cursor_u8(&at, &tag)) return;
    if (tag != EPMD_PORT2_RESP) {
        fail(c, ev, DIST_EPMD_FAIL_ANSWER, all);
        return;
    }
    if (!cursor_u8(&at, &result)) return;
    if (result != 0) {
        *in = at;
        over(c, ev, DIST_EPMD_NOT_FOUND);
    } else if (dist_epmd_read_node(&at, &ev->node)) {
        *in = at;
        if (ev->node.extra.len > DIST_EPMD_EXTRA_MAX)
            fail(c, ev, DIST_EPMD_FAIL_ANSWER, all);
        else if (!slice_eq(ev->node.name, c->name))
            fail(c, ev, DIST_EPMD_FAIL_OTHER_NODE, ev->node.name);
        else
            over(c, ev, DIST_EPMD_FOUND);
    } else if (all.len >= DIST_EPMD_ANSWER_MAX)
        fail(c, ev, DIST_EPMD_FAIL_ANSWER, all);
}

/* "name N at port P" */
static bool parse_line(slice line, dist_epmd_node *out) {
    static const char before[] = "name ", between[] = " at port ";
    if (!slice_starts(line, SLICE(before))) return false;
    slice rest = slice_from(line, sizeof before - 1);
    slice name = slice_sub(rest, 0, slice_find(rest, ' '));
    rest = slice_from(rest, name.len);
    uint64_t port;
    if (dist_name_parse_alive(name) != ERR_OK || !slice_starts(rest, SLICE(between))) return false;
    if (dec_parse_u64(slice_from(rest, sizeof between - 1), UINT16_MAX, &port) != ERR_OK) return false;
    *out = (dist_epmd_node){.name = name, .port = (uint16_t)port};
    return true;
}

/* A name that no node of ours may have is passed over: one odd neighbour must not hide the others. */
static void on_line(dist_epmd_client *c, cursor *in, bool eof, dist_epmd_event *ev) {
    while (ev->kind == DIST_EPMD_NONE) {
        slice all = slice_of(in->p, cursor_left(in)), line;
        size_t len = slice_find(all, '\n');
        if (len > LINE_MAX || (len < all.len && !slice_starts(all, SLICE("name "))))
            fail(c, ev, DIST_EPMD_FAIL_ANSWER, all);
        else if (eof && all.len == 0)
            over(c, ev, DIST_EPMD_DONE);
        else if (len == all.len || !cursor_bytes(in, len + 1, &line))
            return;
        else if (parse_line(slice_sub(line, 0, len), &ev->node))
            ev->kind = DIST_EPMD_NAME;
    }
}

void dist_epmd_next(dist_epmd_client *c, slice in, bool eof, size_t *out_used, dist_epmd_event *ev) {
    *ev = (dist_epmd_event){.kind = DIST_EPMD_NONE};
    cursor at = cursor_of(in);
    uint32_t port;
    switch ((state)c->state) {
    case WAIT_REGISTERED: on_registered(c, &at, ev); break;
    case WAIT_NODE: on_node(c, &at, ev); break;
    case WAIT_PORT: /* the port mapper's own, which whoever asks knows */
        if (!cursor_u32be(&at, &port)) break;
        c->state = WAIT_LINES;
        on_line(c, &at, eof, ev);
        break;
    case WAIT_LINES: on_line(c, &at, eof, ev); break;
    case HELD:
        if (in.len) fail(c, ev, DIST_EPMD_FAIL_ANSWER, in);
        break;
    case OVER: *out_used = in.len; return;
    }
    *out_used = in.len - cursor_left(&at);
    if (eof && ev->kind == DIST_EPMD_NONE) fail(c, ev, c->state == HELD ? DIST_EPMD_FAIL_LOST : DIST_EPMD_FAIL_CUT, in);
}
