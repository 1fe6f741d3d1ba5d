#ifndef MESH_GLOBAL_STATE_H
#define MESH_GLOBAL_STATE_H
/* global_state: what the machine of global_machine.h keeps, and its limits. */
#include "base/list.h"
#include "mesh/global_machine.h"
#include "mesh/global_msg.h"

#define MESH_GLOBAL_NAMES_MAX   1000000u              /* some 400 bytes each */
#define MESH_GLOBAL_NAMES_BYTES ((size_t)512 << 20)   /* of what stands in them: a resolver may be a fun with a large environment */
#define MESH_GLOBAL_HOLDS_MAX   100000u               /* locks, counted by who holds them */
#define MESH_GLOBAL_LOCKS_BYTES ((size_t)64 << 20)    /* of resources and requesters */
#define MESH_GLOBAL_NODES_MAX   65536u                /* known or connected */
#define MESH_GLOBAL_LOST_MAX    65536u                /* reports of lost connections that are remembered */
#define MESH_GLOBAL_LOST_KEEP   (3600 * USEC_PER_SEC) /* OTP: an hour */
#define MESH_GLOBAL_SYNCS_MAX   1000u                 /* callers that wait for sync */
#define MESH_GLOBAL_TALES_MAX   10000u                /* what processes of nodes that are not connected yet are to be told */
#define MESH_GLOBAL_NAMINGS_MAX 100000u               /* names that actors here want, and wait for */
#define MESH_GLOBAL_WAIT_FIRST  (200 * USEC_PER_MSEC) /* before a node that knows nobody begins to join; OTP */
#define MESH_GLOBAL_WAIT_OTHERS (15 * USEC_PER_SEC)   /* for a node to be connected, or to be gone: MESH_SETUP_TIME */

typedef struct mesh_global_node mesh_global_node;

/* --- nodes */
struct mesh_global_node {
    hmap_node by_name;
    slice name;         /* owned, behind the struct */
    hmap_node by_index; /* connected */
    uint32_t index;     /* connected; 0: it is not */
    uint64_t conn;      /* which connection it is: the same node may have a new one before the end of the old one is told */
    uint32_t creation;
    bool hidden; /* connected, and takes no part */
    mesh_global_kin kin;
    bool known;   /* in our part of the cluster */
    bool pending; /* it has said init_connect to us, and we to it */
    bool joining; /* we have said init_connect, and are not done */
    bool synced;
    bool removing;   /* the end of its connection is no news */
    bool introduced; /* in_sync is due when it is connected */
    bool in_line;    /* joining: with the locker */
    bool locked;     /* joining: both parts are locked, and his names are awaited */
    bool lock_asked; /* it has locked its part, and waits for ours */
    int64_t vsn;     /* of a node that is known or pending */
    int64_t my_tag;  /* joining */
    list in_wait;    /* linked: not connected, and to be by wait_until; or removing, and to be gone by then */
    usec wait_until;
    list later;                    /* names whose process is there, while it is not connected */
    list tales;                    /* what processes there are to be told, likewise */
    uint64_t attempt;              /* the last one of the locker that it is part of */
    uint64_t asked_for;            /* the last caller of sync that wants it */
    slice his_tag, locker;         /* owned terms; empty: not said yet */
    slice early_tag, early_locker; /* owned: of an init_connect that came before we were told of the node; empty: none */
    int64_t early_vsn;
    slice names;                        /* owned: his exchange, while the lock is not there yet */
    slice requester;                    /* owned: of the lock */
    slice his_ops, his_nodes, his_exts; /* owned: his resolved, while ours is not done */
    buf ops;                            /* elements of a list: ours, once done */
    uint32_t n_ops;
    bool ops_done, his_done;
};

/* --- watches: whom a down is about */
typedef enum mesh_global_watched { MESH_GLOBAL_OF_NAME, MESH_GLOBAL_OF_HOLD } mesh_global_watched;
typedef struct mesh_global_watch {
    hmap_node node;
    uint64_t id; /* 0: none; MESH_GLOBAL_LATER: its node is not connected yet */
    mesh_global_watched what;
} mesh_global_watch;
#define MESH_GLOBAL_LATER UINT64_MAX

typedef struct mesh_global_name {
    hmap_node by_name;
    mesh_global_watch watch;
    list in_later;                          /* watch.id is MESH_GLOBAL_LATER */
    size_t bytes;                           /* of what is behind the struct */
    slice name, pid_term, method, reg_node; /* behind the struct; reg_node: of an external one, else empty */
    etf_pid pid;                            /* its node is in pid_term's copy */
} mesh_global_name;

typedef struct mesh_global_hold { /* one of those who have a lock */
    list in_lock;
    mesh_global_watch watch;
    struct mesh_global_lock *lock;
    etf_pid pid; /* its node is behind the struct */
} mesh_global_hold;
typedef struct mesh_global_lock {
    hmap_node by_resource;
    slice resource, requester; /* behind the struct */
    list holds;
} mesh_global_lock;

typedef struct mesh_global_lost { /* a report of a lost connection */
    hmap_node by_nodes;
    list by_age;
    usec until;
    int64_t op_id;
    slice a, b, creation; /* behind the struct */
} mesh_global_lost;

typedef struct mesh_global_tale { /* to a process */
    list in_tales;
    etf_pid to;    /* its node is behind the struct */
    rt_blob *term; /* NULL: it is killed */
} mesh_global_tale;

typedef struct mesh_global_sync { /* a caller that waits */
    list in_list;
    uint64_t call;
    uint32_t n;
    slice *nodes; /* owned */
} mesh_global_sync;

/* --- calls to several nodes at a time */
typedef struct mesh_global_asked {
    slice node; /* owned */
    bool waits; /* for its answer, or to be connected */
    bool sent;
} mesh_global_asked;
typedef struct mesh_global_multi {
    mesh_global_asked *asked;
    uint32_t n, waiting;
    uint64_t first; /* number of the call to the first of them; the others follow */
    buf request;    /* what they were asked, for those that are not connected yet */
    bool refused;   /* somebody said anything but true */
} mesh_global_multi;

typedef enum mesh_global_phase {
    MESH_GLOBAL_IDLE,
    MESH_GLOBAL_AT_BOSS,   /* the greatest node of our part is asked */
    MESH_GLOBAL_AT_BOTH,   /* this node and, if we began, the other one */
    MESH_GLOBAL_AT_REST,   /* the rest of our part */
    MESH_GLOBAL_AT_HIM,    /* the other node locks its part */
    MESH_GLOBAL_LOCKED,    /* both are; names are exchanged */
    MESH_GLOBAL_NAMING,    /* all of our part has changed a name */
    MESH_GLOBAL_UNLOCKING, /* all but the boss */
    MESH_GLOBAL_UNLOCKING_BOSS,
} mesh_global_phase;
typedef struct mesh_global_locker {
    mesh_global_phase phase;
    uint64_t attempt; /* its number */
    slice him;        /* owned: the node it is about; empty: it is about the first of namings */
    int64_t my_tag;   /* of that attempt */
    bool active;      /* we began */
    bool cancelled;   /* the attempt is over; what is locked is given back */
    bool just_synced; /* the next one begins at once */
    slice requester;  /* owned */
    slice *nodes;     /* owned: where the lock is set, or may be */
    uint32_t n_nodes;
    size_t nodes_cap;
    slice boss;                /* one of nodes */
    mesh_global_phase reached; /* the last one that asked to lock */
    mesh_global_multi multi;
    usec due; /* the next attempt to join; USEC_NEVER */
} mesh_global_locker;

/* --- names that actors here want: one after the other */
typedef struct mesh_global_naming {
    list in_line;
    mesh_global_want want;
    uint64_t ticket;
    slice name, pid_term, method; /* behind the struct; the name is canonical */
    etf_pid pid;
    unsigned tries; /* that somebody refused */
    bool done;      /* with that status */
    err status;
} mesh_global_naming;

typedef struct mesh_global_resolving { /* his names against ours, one clash at a time */
    slice node;                        /* owned: his; empty: nobody is being looked at */
    slice names;                       /* owned: his list */
    mesh_global_rows rows;
    uint64_t call;           /* the clash that a node is asked about; 0: none */
    slice asked;             /* owned: that node */
    mesh_global_entry his;   /* of that clash */
    slice my_pid, my_method; /* owned: ours */
    buf ops, res;            /* elements of lists: what we have to do, and he */
    uint32_t n_ops, n_res;
} mesh_global_resolving;

struct mesh_global {
    mesh_global_io io;
    slice me;     /* borrowed */
    etf_pid self; /* of who runs it: the locker, and the caller of calls */
    hash_key key;
    bool hidden; /* takes no part: others do not tell us anything either */
    usec now;    /* as of the call */
    hmap nodes, by_index, names, locks, watches, lost;
    list lost_by_age, syncs, waits; /* waits: nodes, in the order of wait_until */
    list namings;
    uint32_t n_holds, n_syncs, n_known, n_tales, n_namings;
    size_t names_bytes, locks_bytes;
    uint64_t last_sync;
    usec naming_due; /* the next attempt to name */
    bool lock_down;  /* the last holder of the lock `global` has ended with it */
    int64_t last_tag, last_op;
    uint64_t last_call;
    mesh_global_locker locker;
    mesh_global_resolving resolving;
};
#endif
