/* epmd_server: names in a table, and one request per connection against it.
 *
 * Why a list comes in pieces: ten thousand peers that ask for a thousand names and do not read must not cost a copy of the list each. A
 * connection remembers the number of the last entry that it has told; entries are numbered by registration and kept in that order, so that
 * what registers or ends meanwhile neither repeats nor hides another.
 *
 * Invariants: (1) an entry belongs to one connection, whose entry it is. (2) by_age is in order of numbers. (3) A name is in the table at
 * most once, and at most names_max are. (4) No two registrations of a table have the same creation before 2^32 - 4 of them.
 * (5) Memory for a request is bounded by its own length: nothing is kept but an entry's name and extra data. */
#include "proto/dist/epmd_server.h"

#include "base/mem.h"
#include "proto/dist/epmd_wire.h"
#include "proto/dist/name.h"

#define CREATION_FIRST 4u /* 0 to 3 could be mistaken for creations of two bits */
#define CREATIONS_OLD  3u /* 1 to 3: what a node gets that knows only those */
#define VERSION_NEW    6u /* nodes that speak it get a creation of 32 bits */

struct dist_epmd_entry {
    hmap_node in_map;
    list in_age;
    uint64_t number;     /* the how-many-eth registration of the table */
    dist_epmd_node node; /* its slices lie behind the entry */
    uint32_t conn_id;
};

/* What has happened on a connection. */
typedef enum state {
    OPEN,       /* nothing whole was read */
    REGISTERED, /* its name is in the table */
    NAMING,     /* a list of names is being told */
    DUMPING,    /* a dump is */
    OVER,
} state;

/* --- the table ---------------------------------------------------------------------------------------------------------------------- */
void dist_epmd_table_init(dist_epmd_table *t, uint16_t port, uint32_t names_max, const hash_key *key, uint32_t seed) {
    if (!check(names_max >= 1 && names_max <= DIST_EPMD_NAMES_MAX)) names_max = DIST_EPMD_NAMES_MAX;
    *t = (dist_epmd_table){.key = *key, .creation = seed < CREATION_FIRST ? CREATION_FIRST : seed, .names_max = names_max, .port = port};
    hmap_init(&t->by_name);
    list_init(&t->by_age);
}

void dist_epmd_table_fini(dist_epmd_table *t) {
    if (!check(t->by_name.count == 0)) return;
    hmap_fini(&t->by_name);
}

static dist_epmd_entry *find(const dist_epmd_table *t, slice alive) {
    for (hmap_node *n = hmap_find(&t->by_name, hash_bytes(&t->key, alive)); n; n = hmap_find_next(n)) {
        dist_epmd_entry *e = container_of(n, dist_epmd_entry, in_map);
        if (slice_eq(e->node.name, alive)) return e;
    }
    return NULL;
}

bool dist_epmd_table_find(const dist_epmd_table *t, slice alive, dist_epmd_node *out) {
    const dist_epmd_entry *e = find(t, alive);
    if (e) *out = e->node;
    return e != NULL;
}

static dist_epmd_entry *add(dist_epmd_table *t, const dist_epmd_node *n, uint32_t conn_id) {
    dist_epmd_entry *e = mem_alloc(sizeof *e + n->name.len + n->extra.len);
    uint8_t *bytes = (uint8_t *)(e + 1);
    *e = (dist_epmd_entry){.number = ++t->registrations, .node = *n, .conn_id = conn_id};
    memcpy(bytes, n->name.p, n->name.len);
    if (n->extra.len) memcpy(bytes + n->name.len, n->extra.p, n->extra.len);
    e->node.name = slice_of(bytes, n->name.len);
    e->node.extra = slice_of(bytes + n->name.len, n->extra.len);
    hmap_insert(&t->by_name, &e->in_map, hash_bytes(&t->key, e->node.name));
    list_push_back(&t->by_age, &e->in_age);
    return e;
}

static void drop(dist_epmd_table *t, dist_epmd_entry *e) {
    hmap_remove(&t->by_name, &e->in_map);
    list_remove(&e->in_age);
    mem_free(e);
}

static uint32_t next_creation(dist_epmd_table *t) {
    uint32_t creation = t->creation++;
    if (t->creation < CREATION_FIRST) t->creation = CREATION_FIRST;
    return creation;
}

/* --- a connection ------------------------------------------------------------------------------------------------------------------- */
void dist_epmd_conn_init(dist_epmd_conn *c, dist_epmd_table *t, bool local, uint32_t id) {
    *c = (dist_epmd_conn){.table = t, .id = id, .state = OPEN, .local = local};
}

void dist_epmd_conn_fini(dist_epmd_conn *c) {
    if (c->entry) drop(c->table, c->entry);
    c->entry = NULL;
    c->state = OVER;
}

static void done(dist_epmd_conn *c, dist_epmd_served *ev) {
    c->state = OVER;
    ev->kind = DIST_EPMD_SERVED_DONE;
}

static void refuse(dist_epmd_conn *c, dist_epmd_served *ev, dist_epmd_fail f, slice what) {
    c->state = OVER;
    *ev = (dist_epmd_served){.kind = DIST_EPMD_SERVED_REFUSED, .fail = f, .what = what};
}

/* 'v' and 32 bits, or 'y' and 16 for a node that does not know more. */
static void write_registered(buf *out, const dist_epmd_node *n, bool ok, uint32_t creation) {
    bool wide = n->high >= VERSION_NEW;
    buf_add_byte(out, wide ? EPMD_ALIVE2_X : EPMD_ALIVE2_RESP);
    buf_add_byte(out, ok ? 0 : 1);
    if (wide)
        buf_add_u32be(out, creation);
    else
        buf_add_u16be(out, (uint16_t)(creation % CREATIONS_OLD + 1));
}

static void on_register(dist_epmd_conn *c, slice body, buf *out, dist_epmd_served *ev) {
    dist_epmd_table *t = c->table;
    cursor at = cursor_of(body);
    dist_epmd_node n;
    if (!c->local) {
        refuse(c, ev, DIST_EPMD_FAIL_PEER, body);
    } else if (!dist_epmd_read_node(&at, &n) || cursor_left(&at) != 0 || n.extra.len > DIST_EPMD_EXTRA_MAX) {
        refuse(c, ev, DIST_EPMD_FAIL_MALFORMED, body);
    } else if (dist_name_parse_alive(n.name) != ERR_OK) {
        refuse(c, ev, DIST_EPMD_FAIL_NAME, n.name);
    } else if (find(t, n.name) || t->by_name.count >= t->names_max) {
        write_registered(out, &n, false, 0);
        refuse(c, ev, find(t, n.name) ? DIST_EPMD_FAIL_IN_USE : DIST_EPMD_FAIL_FULL, n.name);
    } else {
        c->entry = add(t, &n, c->id);
        c->state = REGISTERED;
        write_registered(out, &n, true, next_creation(t));
        *ev = (dist_epmd_served){.kind = DIST_EPMD_SERVED_REGISTERED, .name = c->entry->node.name};
    }
}

static void on_lookup(dist_epmd_conn *c, slice name, buf *out, dist_epmd_served *ev) {
    if (dist_name_parse_alive(name) != ERR_OK) {
        refuse(c, ev, DIST_EPMD_FAIL_NAME, name);
        return;
    }
    const dist_epmd_entry *e = find(c->table, name);
    buf_add_byte(out, EPMD_PORT2_RESP);
    buf_add_byte(out, e ? 0 : 1);
    if (e) dist_epmd_write_node(out, &e->node);
    done(c, ev);
}

/* The entries after the last one that was told, as many as a piece holds. */
static void tell(dist_epmd_conn *c, buf *out, dist_epmd_served *ev) {
    const dist_epmd_table *t = c->table;
    size_t begin = out->len;
    ev->kind = DIST_EPMD_SERVED_MORE;
    for (list *l = list_first(&t->by_age); l; l = list_next(&t->by_age, l)) {
        const dist_epmd_entry *e = container_of(l, dist_epmd_entry, in_age);
        if (e->number <= c->listed) continue;
        if (out->len - begin >= DIST_EPMD_CHUNK) return;
        if (c->state == NAMING) {
            buf_addf(out, "name " SLICE_FMT " at port %u\n", SLICE_ARG(e->node.name), e->node.port);
        } else {
            buf_addf(out, "active name     <" SLICE_FMT "> at port %u, fd = %u\n", SLICE_ARG(e->node.name), e->node.port, e->conn_id);
            buf_add_byte(out, 0);
        }
        c->listed = e->number;
    }
    done(c, ev);
}

static void on_list(dist_epmd_conn *c, state s, slice body, buf *out, dist_epmd_served *ev) {
    if (body.len != 0) {
        refuse(c, ev, DIST_EPMD_FAIL_MALFORMED, body);
    } else if (s == DUMPING && !c->local) {
        refuse(c, ev, DIST_EPMD_FAIL_PEER, body);
    } else {
        c->state = (uint8_t)s;
        buf_add_u32be(out, c->table->port);
        tell(c, out, ev);
    }
}

static void on_request(dist_epmd_conn *c, slice m, buf *out, dist_epmd_served *ev) {
    slice body = slice_from(m, 1);
    switch (m.len ? m.p[0] : 0) {
    case EPMD_ALIVE2: on_register(c, body, out, ev); break;
    case EPMD_PORT2: on_lookup(c, body, out, ev); break;
    case EPMD_NAMES: on_list(c, NAMING, body, out, ev); break;
    case EPMD_DUMP: on_list(c, DUMPING, body, out, ev); break;
    case EPMD_KILL: /* it lives as long as its node; "NO" is what OTP's says while names live */
        buf_add_str(out, "NO");
        refuse(c, ev, DIST_EPMD_FAIL_STOP, SLICE_NULL);
        break;
    case EPMD_STOP: refuse(c, ev, DIST_EPMD_FAIL_STOP, body); break;
    default: refuse(c, ev, DIST_EPMD_FAIL_REQUEST, m); break;
    }
}

static void on_bytes(dist_epmd_conn *c, slice in, buf *out, size_t *out_used, dist_epmd_served *ev) {
    cursor at = cursor_of(in);
    uint16_t len;
    slice m;
    if (!cursor_u16be(&at, &len)) return;
    if (len > DIST_EPMD_REQUEST_MAX) {
        refuse(c, ev, DIST_EPMD_FAIL_TOO_LONG, slice_sub(in, 0, DIST_EPMD_REQUEST_MAX));
    } else if (cursor_bytes(&at, len, &m)) {
        *out_used = 2u + len;
        on_request(c, m, out, ev);
    }
}

void dist_epmd_conn_next(dist_epmd_conn *c, slice in, buf *out, size_t *out_used, dist_epmd_served *ev) {
    *ev = (dist_epmd_served){.kind = DIST_EPMD_SERVED_NONE};
    *out_used = 0;
    switch ((state)c->state) {
    case OPEN: on_bytes(c, in, out, out_used, ev); break;
    case NAMING:
    case DUMPING: tell(c, out, ev); break;
    case REGISTERED:
        if (in.len) refuse(c, ev, DIST_EPMD_FAIL_AFTER, slice_sub(in, 0, DIST_EPMD_REQUEST_MAX));
        break;
    case OVER: *out_used = in.len; break;
    }
}
