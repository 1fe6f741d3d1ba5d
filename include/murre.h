#ifndef MURRE_H
#define MURRE_H
/* murre: a C program as a node of an Erlang cluster. Its actors are processes to Erlang/OTP: they have pids and registered names, get
 * messages, calls and casts, are linked and monitored, and run under supervisors. docs/libmurre.md is the guide, murre(3) the manual.
 *
 * An actor is a state and functions that the node calls, one message at a time, on the thread (shard) where the actor lives. They must not
 * block: other actors live there too. A murre_ctx is good until the callback that was given it returns, and on its thread only.
 * What is not said to copy borrows its arguments for the call. A T ** argument is consumed, whatever is returned, and set to NULL.
 * Times are microseconds. Texts end with a NUL; slices (murre_bytes, murre_term) do not. Terms of up to MURRE_TERM_MAX bytes. */
#include "murre_term.h"
#ifdef __cplusplus
extern "C" {
#endif

#define MURRE_VERSION  0x000100u /* of this header: major << 16 | minor << 8; the same major: the same ABI */
#define MURRE_NAME_MAX 255u      /* bytes of a registered name */
unsigned murre_version(void);    /* of the library that runs */

typedef enum murre_err {
    MURRE_OK = 0,
    MURRE_INVALID = 1,     /* an argument is out of its range, or a builder does not hold exactly one term */
    MURRE_LIMIT = 2,       /* a stated limit was reached */
    MURRE_EXISTS = 3,      /* the name is taken */
    MURRE_NOT_FOUND = 4,   /* no such file or name */
    MURRE_PERM = 5,        /* the system, or a rule, forbids it */
    MURRE_AUTH = 6,        /* the cookie is too weak */
    MURRE_ADDR_IN_USE = 7, /* somebody else listens there */
    MURRE_IO = 8,
    MURRE_TIMEOUT = 9, /* a shard did not answer in time: an actor blocks it */
    MURRE_NOCONN = 10, /* that node is not connected */
    MURRE_SHUTDOWN = 11,
    MURRE_FAILED = 12, /* any other reason */
} murre_err;
const char *murre_err_text(murre_err e); /* a few words; never NULL */

typedef struct murre_node murre_node;

/* --- node: several may run in a process. One installs a handler for SIGUSR2, by which stuck threads show their stack, and ignores SIGPIPE;
 * its threads have the signal mask of who starts it. When a supervisor of the node's own actors gives up, the process ends. */
typedef enum murre_level { MURRE_LOG_DEBUG = 1, MURRE_LOG_INFO, MURRE_LOG_NOTICE, MURRE_LOG_WARNING, MURRE_LOG_ERROR } murre_level;
typedef struct murre_config { /* 0, NULL and false: the default. Copied. */
    size_t size;              /* sizeof(murre_config) */
    const char *name;         /* alive@host; no default */
    const char *cookie;       /* of the cluster: one that is guessed easily is refused, at least 20 random capital letters are not */
    const char *cookie_file;  /* instead: a file with it, that nobody else may read */
    const char *listen;       /* a loopback address and port (a node of this library speaks no TLS); default 127.0.0.1:0, any port */
    const char *control;      /* path of a socket for murrectl(1); default: none */
    uint16_t epmd_port;       /* of the port mapper on this machine; default 4369 */
    bool no_epmd;             /* do not register with it */
    bool hidden;              /* not in nodes() of the others */
    uint32_t ticktime_sec;    /* a node that is silent for so long is gone; default 60, the same in all nodes of a cluster */
    uint32_t shards;          /* threads that run actors, 1 to 64; default 1 */
    murre_level log_level;    /* the log has this and what is above; default MURRE_LOG_NOTICE */
    void (*log)(void *arg, const char *line); /* gets the log, a line at a time without its newline, on a thread of the node; default: */
    void *log_arg;                            /* standard error */
    int64_t spin;                             /* a shard polls for up to this, at most 50, before it sleeps, while that is worth it: */
} murre_config;                               /* answers come sooner, for CPU time; default 0: it sleeps at once */
/* *out runs and answers when this returns. Any thread. why (may be NULL): up to why_size bytes with a sentence if it fails. INVALID, LIMIT,
 * PERM, AUTH, ADDR_IN_USE, NOT_FOUND, EXISTS (control), IO. */
murre_err murre_node_start(const murre_config *c, murre_node **out, char *why, size_t why_size);
void murre_node_stop(murre_node *n); /* ends its actors and frees it; not from an actor. NULL is fine */
uint16_t murre_node_port(const murre_node *n);

/* --- actors */
typedef enum murre_kind {
    MURRE_CALL,      /* gen_server:call: from waits for murre_reply */
    MURRE_CAST,      /* gen_server:cast */
    MURRE_INFO,      /* any other message */
    MURRE_EXIT,      /* a linked process ended, and exits are trapped; term: the reason */
    MURRE_DOWN,      /* a monitored one did, or was not there (noproc), or its node is not connected (noconnection); term: the reason */
    MURRE_NODE_UP,   /* murre_watch_nodes; the same may come twice */
    MURRE_NODE_DOWN, /* after all that came from that node */
    MURRE_ANSWER,    /* to murre_call, murre_rpc, murre_connect: exactly one each */
} murre_kind;        /* later versions may have more: ignore what is not known */
typedef struct murre_msg {
    murre_kind kind;
    murre_pid from;    /* of CALL, CAST, INFO: the sender, not ok from outside; of EXIT, DOWN: who ended */
    murre_term term;   /* the request of CALL and CAST; all of INFO; a reason */
    uint64_t monitor;  /* DOWN: what murre_monitor returned */
    murre_bytes node;  /* NODE_UP, NODE_DOWN: its name */
    const void *inner; /* private */
    uint64_t call;     /* ANSWER: which */
    /* ANSWER: OK: term is the answer. NOT_FOUND: nobody is there (noproc); NOCONN: the node is not connected, or was lost; TIMEOUT; LIMIT;
     * FAILED: who was called ended, term is why; of murre_rpc: what rpc:call has in {badrpc, term}. */
    murre_err status;
} murre_msg;

typedef struct murre_timer { /* in an actor's state, zeroed; stays where it is while it is armed */
    uint64_t inner[4];
} murre_timer;
typedef struct murre_class { /* outlives the node */
    size_t size;             /* sizeof(murre_class) */
    const char *name;        /* for logs and statistics */
    size_t state_size;       /* bytes, up to 2^30; the state is zeroed, and aligned to 16 */
    /* A callback that returns anything but MURRE_OK ends the actor; the reason is an atom such as invalid. NULL: does nothing. */
    murre_err (*init)(murre_ctx *cx, void *st, const void *arg);      /* arg as given to spawn; an error is what spawn returns */
    murre_err (*handle)(murre_ctx *cx, void *st, const murre_msg *m); /* m and what it points to: until it returns */
    murre_err (*timer)(murre_ctx *cx, void *st, murre_timer *t);
    void (*ended)(murre_ctx *cx, void *st); /* always, if init returned OK: cancel timers, free memory */
    uint32_t mailbox_max;                   /* messages that may wait; past it further ones are dropped and counted; default 1,000,000 */
    uint64_t mailbox_bytes_max;             /* and bytes; default 256 MiB */
} murre_class;

#define MURRE_LINK    1u /* linked to the caller from the start */
#define MURRE_MONITOR 2u /* monitored by it: *out_monitor */
/* A new actor, on the caller's shard; init has run. out_pid, out_monitor may be NULL. What init returned; INVALID, LIMIT. */
murre_err murre_spawn(murre_ctx *cx, const murre_class *c, const void *arg, unsigned flags, murre_pid *out_pid, uint64_t *out_monitor);
/* The same from any thread that is no shard; on the shards in turn. TIMEOUT: it may still be spawned, so arg stays valid. */
murre_err murre_node_spawn(murre_node *n, const murre_class *c, const void *arg, murre_pid *out_pid);
murre_pid murre_self(murre_ctx *cx);
murre_node *murre_ctx_node(murre_ctx *cx);
int64_t murre_now(murre_ctx *cx);                                   /* a clock that never goes back; read once per round of the shard */
murre_err murre_register(murre_ctx *cx, const char *name);          /* the caller, here; copied; UTF-8. EXISTS, INVALID, LIMIT */
murre_pid murre_whereis(murre_ctx *cx, const char *name);           /* of this node; not ok: nobody has it */
void murre_timer_set(murre_ctx *cx, murre_timer *t, int64_t after); /* arms or re-arms; never early; resolution 1 ms */
void murre_timer_cancel(murre_ctx *cx, murre_timer *t);             /* fine if it is not armed */
void murre_log(murre_ctx *cx, murre_level level, const char *text); /* at most 256 bytes of it, 20 lines a second and level */

/* --- saying something. What is sent to a process that is gone is dropped, as in Erlang; pairs keep their order. INVALID: *b is not one
 * whole term. */
murre_err murre_send(murre_ctx *cx, murre_pid to, murre_builder **b);
murre_err murre_send_name(murre_ctx *cx, const char *name, const char *node, murre_builder **b); /* {name, node}; NULL: here. NOCONN */
murre_err murre_node_send(murre_node *n, murre_pid to, murre_builder **b); /* any thread; to an actor of this node, from nobody */
murre_err murre_cast(murre_ctx *cx, murre_pid to, murre_builder **b);      /* as gen_server:cast */
/* Answers a CALL, once. Later than in handle: keep the caller first. */
murre_err murre_reply(murre_ctx *cx, const murre_msg *m, murre_builder **b);
typedef struct murre_caller murre_caller;
murre_caller *murre_caller_keep(const murre_msg *m); /* NULL: no CALL; yours until one of: */
murre_err murre_caller_reply(murre_ctx *cx, murre_caller **caller, murre_builder **b);
void murre_caller_free(murre_caller *caller); /* NULL is fine */

/* --- asking others. Nothing waits: a MURRE_ANSWER comes, unless the actor ends. timeout below 0: as long as it takes. At most 65,536 of an
 * actor at a time (LIMIT). *out_call (may be NULL) is unique for the actor. An answer that comes late is dropped. */
/* gen_server:call. INVALID: the actor itself, no pid, a name that is none; NOCONN: that node is not connected. */
murre_err murre_call(murre_ctx *cx, murre_pid to, murre_builder **request, int64_t timeout, uint64_t *out_call);
murre_err murre_call_name(murre_ctx *cx, const char *name, const char *node, murre_builder **request, int64_t timeout, uint64_t *out_call);
/* rpc:call of a function of another node; args: a list. It goes on when the time is up; what it prints is dropped. As above; INVALID also:
 * args is no list, node is this one. */
murre_err murre_rpc(murre_ctx *cx, const char *node, const char *module, const char *function, murre_builder **args, int64_t timeout,
                    uint64_t *out_call);
/* Dials NAME@HOST or NAME@HOST:PORT once, if it is not connected. The answer is a binary: OK with the node's name, or NOCONN with why it is
 * not reached. INVALID, PERM: it cannot be dialled from here, a host that is not loopback for one. */
murre_err murre_connect(murre_ctx *cx, const char *node, uint64_t *out_call);

/* --- ends. Reasons are terms; NULL: normal. */
murre_err murre_stop(murre_ctx *cx, murre_builder **reason);               /* the caller, after this callback. INVALID: nothing happens */
murre_err murre_exit(murre_ctx *cx, murre_pid to, murre_builder **reason); /* as exit/2; the atom kill cannot be trapped. INVALID */
void murre_trap_exit(murre_ctx *cx, bool on);
void murre_link(murre_ctx *cx, murre_pid to); /* to a process that is gone: an exit noproc comes */
void murre_unlink(murre_ctx *cx, murre_pid to);
uint64_t murre_monitor(murre_ctx *cx, murre_pid to);   /* exactly one DOWN comes */
void murre_demonitor(murre_ctx *cx, uint64_t monitor); /* and none of it any more */
void murre_watch_nodes(murre_ctx *cx, bool on);        /* NODE_UP of all that are connected, then what changes; hidden ones too */

/* --- supervisors (OTP: supervisor): children start in order and end in reverse. Any thread until it is started. */
typedef enum murre_strategy { MURRE_ONE_FOR_ONE, MURRE_ONE_FOR_ALL, MURRE_REST_FOR_ONE } murre_strategy;
typedef enum murre_restart { MURRE_PERMANENT, MURRE_TRANSIENT, MURRE_TEMPORARY } murre_restart;
typedef struct murre_sup murre_sup;
/* More than intensity restarts within period end it with reason intensity. NULL: no such strategy. */
murre_sup *murre_sup_new(murre_strategy s, uint32_t intensity, int64_t period);
/* id is copied, unique. arg is given to every start and outlives the supervisor. shutdown: time to end before it is killed, 0: at once.
 * EXISTS, INVALID, LIMIT (4096 children). */
murre_err murre_sup_add(murre_sup *s, const char *id, const murre_class *c, const void *arg, murre_restart r, int64_t shutdown);
murre_err murre_sup_add_sup(murre_sup *s, const char *id, murre_sup **child, murre_restart r); /* a supervisor below it. Likewise */
murre_err murre_sup_start(murre_node *n, murre_sup **s, murre_pid *out_pid); /* as murre_node_spawn: children run when it returns */
void murre_sup_free(murre_sup *s);                                           /* one that was not started; NULL is fine */

#ifdef __cplusplus
}
#endif
#endif
