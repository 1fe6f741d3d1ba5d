#ifndef PROTO_DIST_EPMD_SERVER_H
#define PROTO_DIST_EPMD_SERVER_H
/* epmd_server: the port mapper's side of its protocol (erl_dist_protocol, "EPMD Protocol"), for a node that runs its own when none does.
 *
 *   a connection's bytes --> dist_epmd_conn_next --> answer, event
 *                                  | registers, looks up
 *                                  v
 *                         dist_epmd_table: names, one for all connections
 *
 * What OTP's port mapper does and this one too: a name belongs to the connection that registered it and ends with it; each registration
 * gets a new creation; kill and stop are refused while names live. Stricter: only who is told to be local may register or dump, names are
 * graphic ASCII, and there is a limit on their number. One connection carries one request.
 * Not thread-safe: one owner for a table and all of its connections. */
#include "base/hash.h"
#include "base/list.h"
#include "proto/dist/epmd.h"

#define DIST_EPMD_CHUNK     16384u /* a call writes at most this and one line more; lists of names come in pieces */
#define DIST_EPMD_NAMES_MAX 65536u /* largest limit on names that a table takes: ports are 16 bits */

typedef struct dist_epmd_table {
    hmap by_name;
    list by_age;            /* dist_epmd_entry, oldest first */
    hash_key key;           /* of by_name; the caller drew it, since peers choose names */
    uint64_t registrations; /* so far; numbers the entries */
    uint32_t creation;      /* of the next registration */
    uint32_t names_max;     /* limit on entries */
    uint16_t port;          /* this port mapper's own, which it tells with a list of names */
} dist_epmd_table;

typedef struct dist_epmd_entry dist_epmd_entry;

typedef struct dist_epmd_conn {
    dist_epmd_table *table;
    dist_epmd_entry *entry; /* what it has registered, or NULL */
    uint64_t listed;        /* number of the last entry that a list has told */
    uint32_t id;            /* shown by a dump, where OTP shows a descriptor */
    uint8_t state;          /* enum state in epmd_server.c */
    bool local;
} dist_epmd_conn;

typedef enum dist_epmd_served_kind {
    DIST_EPMD_SERVED_NONE,       /* more bytes are needed */
    DIST_EPMD_SERVED_REGISTERED, /* name; flush, keep the connection open; when it ends the name is free */
    DIST_EPMD_SERVED_MORE,       /* flush, then call again */
    DIST_EPMD_SERVED_DONE,       /* answered: flush, then close */
    DIST_EPMD_SERVED_REFUSED,    /* the same, and fail and what say what for the log. There may be nothing to flush */
} dist_epmd_served_kind;

typedef struct dist_epmd_served {
    dist_epmd_served_kind kind;
    dist_epmd_fail fail; /* REFUSED */
    slice name;          /* REGISTERED; valid as long as the registration */
    slice what;          /* REFUSED: the peer's bytes, to be escaped; a part of the input; empty if none */
} dist_epmd_served;

/* names_max: 1 to DIST_EPMD_NAMES_MAX. seed: random; where creations begin. */
void dist_epmd_table_init(dist_epmd_table *t, uint16_t port, uint32_t names_max, const hash_key *key, uint32_t seed);
void dist_epmd_table_fini(dist_epmd_table *t); /* every connection must have ended before */
static inline size_t dist_epmd_table_count(const dist_epmd_table *t) { return t->by_name.count; }
/* Where a name listens. False: nobody has it. The slices of *out are valid until the table changes. */
NODISCARD bool dist_epmd_table_find(const dist_epmd_table *t, slice alive, dist_epmd_node *out);

/* local: the peer may register and dump: it is on this machine. */
void dist_epmd_conn_init(dist_epmd_conn *c, dist_epmd_table *t, bool local, uint32_t id);
void dist_epmd_conn_fini(dist_epmd_conn *c); /* frees the name */
/* Reads a request off the front of in, or goes on with a list. *out_used bytes are done with, also when the event is NONE; at most
 * DIST_EPMD_REQUEST_MAX + 2 are ever waited for. */
void dist_epmd_conn_next(dist_epmd_conn *c, slice in, buf *out, size_t *out_used, dist_epmd_served *ev);

#endif
