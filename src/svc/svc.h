#ifndef SVC_SVC_H
#define SVC_SVC_H
/* svc: the messaging services of a node, as partitions: every account belongs to one partition actor (store_partition), which alone holds
 * its sessions, roster, blocklist and queue of kept messages, so that no operation on an account needs a lock or a transaction with
 * another one.
 *
 *   client A            S(A)              P(A)               P(B)               log            S(B)            client B
 *     message  ------->  SVC_STANZA -----> SVC_ROUTE -------> STORE_PUT -------> fsync
 *                                          (sent carbons)                 <----- COMMITTED
 *     <a h/>   <-------  SVC_DONE  <---------------------------- |
 *                                                                | SVC_DELIVER keep=n -------------->  message ------> <a h/>
 *                                          STORE_DEL <---------- |                  <---- SVC_ACKED n
 *
 * The promise (docs/promises.md) is kept here: (1) SVC_DONE for a kept message is sent only after STORE_COMMITTED OK, or after the sender
 * was answered with an error. (2) Which messages are kept: xmpp_env_is_kept. (3) A message leaves the queue when any resource has acked it.
 * (4) stanza-id is stamped from the id; the same sender, recipient, origin-id within 10 minutes is acked, not stored again. (5) FIFO per
 * (sender's resource, recipient's account). (6) A crash between leaves it in the log. */
#include "proto/xmpp/env.h"
#include "proto/xmpp/jid.h"
#include "proto/xmpp/scram.h"
#include "rt/node.h"

#define MSG RT_MSG_DECLARE
#include "svc/svc.def"
#undef MSG
enum {
    SVC_TAG_FIRST_ = RT_TAG_SVC - 1,
#define MSG(T, n, d) T,
#include "svc/svc.def"
#undef MSG
    SVC_TAG_END_
};
extern const rt_msg_desc svc_msgs[];
extern const size_t svc_msgs_count;

typedef enum svc_admin_op {
    SVC_ADMIN_USER_ADD,    /* arg: saslprepped password; keys are derived on the crypto pool */
    SVC_ADMIN_USER_DEL,    /* sessions are kicked, kept messages deleted */
    SVC_ADMIN_USER_PASSWD, /* arg: password; present sessions stay */
    SVC_ADMIN_USER_KEYS, /* arg: packed keys (svc_keys_pack): add the account with ready keys (import with one PBKDF2 elsewhere, simulator)
                          */
    SVC_ADMIN_ROSTER,    /* list of items */
    SVC_ADMIN_OFFLINE,   /* count, bytes, oldest of the account's queue */
    SVC_ADMIN_SESSIONS,  /* user NULL: all sessions of the partition */
    SVC_ADMIN_KICK,      /* user: bare or full JID; arg: text */
    SVC_ADMIN_STATUS,    /* of the partition: sessions, cached accounts, queue, dedup entries */
} svc_admin_op;

/* Where a session comes from, for tools; what SVC_BIND carries as `about`. */
typedef struct svc_about {
    uint8_t ip[16]; /* as in sys_addr */
    uint16_t port;
    uint8_t family; /* sys_family */
    uint8_t tls;    /* 0: none; else the minor version of TLS 1.x */
    uint8_t mech;   /* xmpp_mech */
} svc_about;

typedef struct svc_result { /* what SVC_ADMIN_REPLY carries */
    rt_box box;
    arena arena;
    val *value; /* in the arena */
} svc_result;

typedef struct svc_domain {
    slice name;     /* canonical */
    bool anonymous; /* SASL ANONYMOUS: accounts without roster, store, or keys */
} svc_domain;

typedef struct svc_cfg { /* immutable after boot; outlives the node */
    const svc_domain *domains;
    size_t n_domains;
    const slice *domain_names;     /* the same names, for xmpp_env_rules */
    uint32_t partitions;           /* 1 to 1,024 (STORE_PARTITIONS_MAX) */
    uint32_t resources_max;        /* per account (10); one more replaces the oldest that is not resumable... see SVC_BIND: refused with
                                      resource-constraint */
    uint32_t roster_max;           /* items per account (1,000) */
    uint32_t blocks_max;           /* (1,000) */
    uint32_t offline_messages_max; /* kept per account (100,000); one more is answered resource-constraint */
    uint64_t offline_bytes_max;    /* (256 MiB) */
    uint32_t window_messages;      /* kept messages in flight to one session (256) */
    uint64_t window_bytes;         /* (256 KiB) */
    uint32_t directed_max;         /* directed presences remembered per session (100) */
    uint32_t scram_iterations;     /* for new keys (10,000) */
    uint32_t idle_accounts_max;    /* accounts per node kept in memory for a minute after their last use, unknown addresses too (100,000) */
    uint64_t dedup_max;            /* remembered origin-ids per node (8 M, 32 B each); the oldest go first */
    uint8_t fake_salt_secret[32];  /* random, persisted in the data directory: the same fake salt after a restart */
    const char *version;           /* XEP-0092 */
} svc_cfg;
void svc_cfg_default(svc_cfg *c);
const svc_domain *svc_cfg_domain(const svc_cfg *c, slice domain); /* NULL: not ours */

/* Starts a supervisor with this node's partitions on every shard: partition i lives on shard i % shards. Call once, at boot, after the
 * store actors. *out_services is freed after the node. */
typedef struct svc_services svc_services;
NODISCARD err svc_boot(rt_node *n, const svc_cfg *c, svc_services **out_services);
void svc_services_free(svc_services *s);
/* The partition of an account, any thread; RT_PID_NONE while it restarts. bare: canonical bare JID. */
rt_pid svc_partition(rt_node *n, const svc_cfg *c, slice bare);
rt_pid svc_partition_at(rt_node *n, unsigned i);
/* Entity capabilities of the server (XEP-0115): node, and the ver hash over its disco#info, base64; out needs 64 bytes. */
#define SVC_CAPS_NODE "urn:murre:server"
size_t svc_iq_caps_ver(const svc_cfg *c, char *out);
bool svc_ready(rt_node *n, const svc_cfg *c); /* every partition has its index; any thread */

/* Keys as SVC_KEYS and SVC_ADMIN_USER_KEYS carry them: SHA-1 and SHA-256 verifiers in one piece of bytes. pack: NULL for one that the
 * account lacks. unpack: NOT_FOUND when it is lacking, CORRUPT, VERSION. */
void svc_keys_pack(buf *out, const xmpp_scram_keys *sha1, const xmpp_scram_keys *sha256);
NODISCARD err svc_keys_unpack(slice packed, digest_alg alg, xmpp_scram_keys *out);

/* The environment of a node with these verbs (rt_node_set_env) begins with one. */
typedef struct svc_env {
    const svc_cfg *cfg;
} svc_env;
extern const rt_verb svc_verbs[]; /* user add, import, del, passwd, list; sessions; kick; roster; offline; drain; status parts */
extern const size_t svc_verbs_count;

#endif
