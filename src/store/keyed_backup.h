#ifndef STORE_KEYED_BACKUP_H
#define STORE_KEYED_BACKUP_H
/* keyed_backup: the backups of the account database, one after the other, beside its reads and writes; private to the keyed actor, whose
 * jobs freeze and thaw the database (keyed_sql.h) as this asks. */
#include "store/again.h"
#include "store/copy.h"

#define STORE_BACKUPS_MAX 16u /* asked for at once; more are answered OVERLOAD */

typedef enum keyed_backup_state {
    BACKUP_IDLE,    /* nothing is asked for */
    BACKUP_WAITS,   /* the first of the list is; the database is to be frozen */
    BACKUP_FREEZES, /* the actor's job is at it */
    BACKUP_COPIES,  /* the database is frozen; steps run on the disk pool */
    BACKUP_COPIED,  /* to the end, or to an error; the database is to be thawed */
    BACKUP_THAWS,   /* the actor's job is at it */
    BACKUP_ENDS     /* the copy is synced, or removed */
} keyed_backup_state;
typedef struct keyed_backup_job keyed_backup_job;
typedef struct keyed_backup {
    rt_node *node;
    const char *path; /* of the database; borrowed */
    keyed_backup_state state;
    rt_msg *head, **tail;  /* STORE_BACKUP, owned; the first is the one at work */
    keyed_backup_job *job; /* between two of its steps; NULL while the pool has it */
    uint32_t n;            /* in the list */
    bool lost;             /* the database has changed meanwhile */
    usec since;
    store_again again;
} keyed_backup;

void store_keyed_backup_init(keyed_backup *b, rt_node *n, const char *path);
void store_keyed_backup_fini(keyed_backup *b);                        /* nobody is answered: their calls end with the actor */
void store_keyed_backup_add(rt_ctx *cx, keyed_backup *b, rt_msg **m); /* a STORE_BACKUP */
/* For the actor's next job: is it to freeze, to thaw? Then it must, and say so by the next two. */
bool store_keyed_backup_freezes(keyed_backup *b);
bool store_keyed_backup_thaws(keyed_backup *b);
void store_keyed_backup_frozen(rt_ctx *cx, keyed_backup *b, err e, const char *why);
void store_keyed_backup_thawed(rt_ctx *cx, keyed_backup *b);
bool store_keyed_backup_holds(const keyed_backup *b);                           /* the database is frozen, or about to be: no checkpoint */
static inline void store_keyed_backup_lost(keyed_backup *b) { b->lost = true; } /* the frozen database has changed */
bool store_keyed_backup_owns(const rt_job *j);
void store_keyed_backup_done(rt_ctx *cx, keyed_backup *b, rt_job_done *d); /* one of its jobs came home */
/* Sends STORE_BACKED_UP to who asked. */
void store_keyed_backup_answer(rt_ctx *cx, const rt_msg *q, err status, const char *why);
#endif
