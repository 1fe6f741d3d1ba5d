#ifndef RT_TABLE_H
#define RT_TABLE_H
/* table: hash tables that many actors share and that outlive the actor that keeps them (the ETS of OTP's stdlib: ets.erl).
 *
 *     rt_table_cfg c = {.name = "rooms", .writers = RT_TABLE_ALL_WRITE};
 *     err e = rt_table_create(cx, &c, &rooms);                               in the owner's init
 *     if (e == ERR_EXISTS) rooms = rt_table_whereis(rt_epoch_reader(cx), SLICE("rooms"));   and in that of its successor
 *     e = rt_table_insert(rt_epoch_reader(cx), rooms, key, value);           anywhere
 *     e = rt_table_lookup(rt_epoch_reader(cx), rooms, key, &value);          anywhere, any number at once, no lock
 *
 * Keys and values are bytes. An entry never changes: it is replaced whole, so that a reader sees the one or the other. Whoever looks up
 * reads the entry where it lies, for as long as rt/epoch.h says.
 *
 * Writers take one of `stripes` locks, which the key chooses; `murrectl locks instances table` shows them. More stripes: writers of
 * different keys wait less for each other; each costs 200 bytes.
 *
 * When the owner ends, for whatever reason, the table passes to its heir, who gets RT_TRANSFER (before an EXIT or DOWN of the same actor);
 * with it go its name, its entries and who may write; readers notice nothing. If the heir has ended, or there is none, or an actor whose
 * init fails had made it, it is freed as soon as the last reader is out: calls with its rt_tid then return ERR_NO_TABLE, as they do for
 * one that never was. The heir of a supervisor's child that has rt_child.tables_kept is the supervisor, unless another one is named; it
 * gives the table to the child's successor, which gets RT_TRANSFER too. */
#include "base/hash.h"
#include "rt/actor.h"
#include "rt/epoch.h"

typedef uint64_t rt_tid; /* names a table for ever; 0: none */

#define RT_TABLES_MAX      4096u /* in a node */
#define RT_TABLE_NAME_MAX  63u
#define RT_TABLE_KEY_MAX   4096u /* bytes */
#define RT_STRIPES_MAX     1024u
#define RT_TABLE_BYTES_MAX (256u << 20) /* of a table whose configuration says nothing */
typedef enum rt_table_writers { RT_TABLE_OWNER_WRITES, RT_TABLE_ALL_WRITE } rt_table_writers;
typedef struct rt_table_cfg {
    const char *name; /* unique in the node, 1 to RT_TABLE_NAME_MAX bytes; copied. NULL: none */
    rt_table_writers writers;
    unsigned stripes;   /* a power of two, 1 to RT_STRIPES_MAX; 0: as the node is configured (rt.table_stripes) */
    uint64_t bytes_max; /* of entries and buckets; writers at the same time may pass it by an entry each. 0: RT_TABLE_BYTES_MAX */
    rt_pid heir;        /* RT_PID_NONE: the supervisor that keeps it, or nobody */
    rt_blob *heir_data; /* for the heir's RT_TRANSFER; borrowed; NULL: none */
} rt_table_cfg;

/* --- life. By the owner; outside an actor (boot) by the node, whose tables live as long as it does.
 * ERR_INVALID: a name, number or pid that cannot be; ERR_EXISTS: the name is taken; ERR_LIMIT: RT_TABLES_MAX. */
NODISCARD err rt_table_create(rt_ctx *cx, const rt_table_cfg *c, rt_tid *out);
NODISCARD err rt_table_drop(rt_ctx *cx, rt_tid t); /* ERR_NO_TABLE, ERR_PERM: not its owner */
/* From now on `to`, an actor of this node, is the owner, and gets RT_TRANSFER with data (borrowed; NULL: none). ERR_NO_TABLE; ERR_PERM;
 * ERR_INVALID: to is this actor or cannot be; ERR_NOPROC: it has ended. If that turns out on another shard only, it is as if `to` had
 * had the table and ended: the heir gets it. The heir stays the same. */
NODISCARD err rt_table_give_away(rt_ctx *cx, rt_tid t, rt_pid to, rt_blob *data);
NODISCARD err rt_table_set_heir(rt_ctx *cx, rt_tid t, rt_pid heir, rt_blob *data); /* RT_PID_NONE: nobody. Errors as give_away */
/* 0: no table has that name. Registration and the end of a table are seen at once by whoever enters later. */
rt_tid rt_table_whereis(rt_reader *r, slice name);

/* --- reading: no lock. ERR_NO_TABLE; ERR_NOT_FOUND: no such key. */
NODISCARD err rt_table_lookup(rt_reader *r, rt_tid t, slice key, slice *out_value); /* aligned to 8 bytes; good as long as r is inside */
/* Calls fn for entries, in no order, until about max were seen or fn returns false; again with the same *at goes on where it stopped, also
 * much later. An entry that is there all the while is seen exactly once, others at most once. fn may write to the table. */
typedef struct rt_table_at { /* zeroed: from the start */
    uint64_t hash;           /* of the stripe: where its walk goes on */
    uint32_t stripe;
    bool done; /* all were seen, or fn said false */
} rt_table_at;
NODISCARD err rt_table_fold(rt_reader *r, rt_tid t, rt_table_at *at, size_t max, bool (*fn)(void *arg, slice key, slice value), void *arg);

/* --- writing: takes the lock of the key's stripe. ERR_NO_TABLE; ERR_PERM: only its owner may; ERR_INVALID: the key is too long;
 * ERR_LIMIT: the table's bytes_max; ERR_FULL: too much waits to be freed, because some reader does not come out (table_wait_max).
 * What becomes smaller or goes is never refused for a limit. */
NODISCARD err rt_table_insert(rt_reader *r, rt_tid t, slice key, slice value);     /* or replaces */
NODISCARD err rt_table_insert_new(rt_reader *r, rt_tid t, slice key, slice value); /* ERR_EXISTS */
NODISCARD err rt_table_delete(rt_reader *r, rt_tid t, slice key);                  /* ERR_NOT_FOUND */
/* Reads and writes in one step: nobody else writes the key between. fn runs with the lock held: it computes, and nothing else. */
typedef enum rt_table_verdict { RT_TABLE_KEEP, RT_TABLE_PUT, RT_TABLE_REMOVE } rt_table_verdict;
/* old.p is NULL if there is none; *value is set for RT_TABLE_PUT and copied before the call returns. */
typedef rt_table_verdict rt_table_change(void *arg, slice old, slice *value);
NODISCARD err rt_table_update(rt_reader *r, rt_tid t, slice key, rt_table_change *fn, void *arg);

/* --- looking, for tools. Any thread. */
typedef struct rt_table_info {
    rt_tid id;
    char name[RT_TABLE_NAME_MAX + 1]; /* "": none */
    rt_pid owner, heir;               /* RT_PID_NONE: the node; nobody */
    rt_table_writers writers;
    unsigned stripes;
    uint32_t first_lock; /* id of its first stripe's lock, of class "table"; the others follow */
    uint64_t entries, bytes, bytes_max;
} rt_table_info;
size_t rt_table_list(rt_reader *r, rt_tid *out, size_t max); /* tables, the oldest place first */
NODISCARD err rt_table_info_of(rt_reader *r, rt_tid t, rt_table_info *out);
/* Chain lengths, a part at a time: adds those of max buckets to *s, or of all that are left, and how many there were to *out_buckets. */
NODISCARD err rt_table_chains(rt_reader *r, rt_tid t, rt_table_at *at, size_t max, hmap_chains *s, size_t *out_buckets);

#endif
