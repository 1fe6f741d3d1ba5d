/* boot: starts the partitions of a node, a pool of workers by key (rt/workers.h), and finds them again, without locks: their place is their
 * number, which is the hash of the account that store_partition makes.
 *
 * A partition that crashes is restarted by its shard's supervisor and reads its index again from the log; its sessions see it go (they
 * monitor it) and reconnect. Partitions fail alone: one_for_one. */
#include "rt/workers.h"
#include "svc/part.h"

#include <stdio.h>

#define INTENSITY 100u                /* restarts ... */
#define PERIOD    (10 * USEC_PER_SEC) /* ... within this end the shard's supervisor, which is permanent in the root */

struct svc_services {
    svc_part_arg *args;
    svc_part_ids *ids;
};
#define POOL "svc.part"

#define MSG RT_MSG_FIELDS
#include "svc/svc.def"
#undef MSG
const rt_msg_desc svc_msgs[] = {
#define MSG RT_MSG_DESC
#include "svc/svc.def"
#undef MSG
};
const size_t svc_msgs_count = ARRAY_LEN(svc_msgs);

err svc_boot(rt_node *n, const svc_cfg *c, svc_services **out_services) {
    if (!check(c->partitions >= 1 && c->partitions <= STORE_PARTITIONS_MAX)) return ERR_BUG;
    svc_services *s = mem_zalloc(sizeof *s);
    s->args = mem_zalloc(c->partitions * sizeof *s->args);
    s->ids = mem_zalloc(c->partitions * sizeof *s->ids);
    for (unsigned i = 0; i < c->partitions; i++) {
        svc_part_arg *a = &s->args[i];
        a->cfg = c;
        a->ids = &s->ids[i];
        a->index = i;
        (void)snprintf(a->name, sizeof a->name, "svc.part.%u", i);
        (void)snprintf(a->ready_name, sizeof a->ready_name, "svc.ready.%u", i);
    }
    rt_workers_cfg pool = {.name = POOL,
                           .cls = &svc_part_class,
                           .arg = s->args,
                           .arg_size = sizeof s->args[0],
                           .mode = RT_WORKERS_BY_KEY,
                           .workers = c->partitions,
                           .stuck = rt_node_config(n)->stuck_report,
                           .intensity = INTENSITY + c->partitions / rt_node_shards(n) + 1, /* all end at once when a store does */
                           .period = PERIOD,
                           .vital = true};
    rt_workers *workers;
    err e = rt_workers_boot(n, &pool, &workers);
    *out_services = s; /* also on failure: actors may hold on to it until the node is freed */
    return e;
}

void svc_services_free(svc_services *s) {
    if (!s) return;
    mem_free(s->args);
    mem_free(s->ids);
    mem_free(s);
}

rt_pid svc_partition_at(rt_node *n, unsigned i) {
    const rt_workers *pool = rt_workers_find(n, POOL);
    return pool && i < rt_workers_count(pool) ? rt_workers_at(pool, i) : RT_PID_NONE;
}

rt_pid svc_partition(rt_node *n, const svc_cfg *c, slice bare) { return svc_partition_at(n, store_partition(bare, c->partitions)); }

bool svc_ready(rt_node *n, const svc_cfg *c) {
    for (unsigned i = 0; i < c->partitions; i++) {
        char name[24];
        (void)snprintf(name, sizeof name, "svc.ready.%u", i);
        if (!rt_pid_ok(rt_name_whereis(n, name))) return false;
    }
    return true;
}

void svc_cfg_default(svc_cfg *c) {
    *c = (svc_cfg){
        .partitions = 64,
        .resources_max = 10,
        .roster_max = 1000,
        .blocks_max = 1000,
        .offline_messages_max = 100000,
        .offline_bytes_max = UINT64_C(256) << 20,
        .window_messages = 256,
        .window_bytes = 256 << 10,
        .directed_max = 100,
        .scram_iterations = 10000,
        .idle_accounts_max = 100000,
        .dedup_max = UINT64_C(8) << 20,
        .version = "0",
    };
}

const svc_domain *svc_cfg_domain(const svc_cfg *c, slice domain) {
    for (size_t i = 0; i < c->n_domains; i++)
        if (slice_eq(c->domains[i].name, domain)) return &c->domains[i];
    return NULL;
}
