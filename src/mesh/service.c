/* service: the actors that other nodes reach by name (services.def). Elsewhere nothing depends on which there are. */
#include "mesh/int.h"
#include "mesh/pg.h"

#define RESTARTS       10
#define RESTART_PERIOD (10 * USEC_PER_SEC)

static const struct {
    const char *name;
    const rt_class *cls;
} table[] = {
#define SERVICE(class, name, doc) {name, &mesh_##class##_class},
#include "mesh/services.def"
#undef SERVICE
};
_Static_assert(ARRAY_LEN(table) == MESH_SERVICES, "both are made of services.def");

bool mesh_service_is_name(slice name) {
    for (size_t i = 0; i < MESH_SERVICES; i++)
        if (slice_is(name, table[i].name)) return true;
    return false;
}

err mesh_service_boot(mesh *m, rt_ctx *cx) {
    rt_pid pid;
    for (size_t i = 0; i < MESH_SERVICES; i++)
        m->services[i] = (rt_child){.id = table[i].name, .cls = table[i].cls, .arg = &m->itself, .restart = RT_PERMANENT};
    m->global_class = mesh_global_class;
    m->global_class.count = &m->global_count;
    m->services[MESH_SERVICE_global].cls = &m->global_class;
    m->services_spec = (rt_sup_spec){.strategy = RT_ONE_FOR_ONE,
                                     .intensity = RESTARTS,
                                     .period = RESTART_PERIOD,
                                     .children = m->services,
                                     .n_children = MESH_SERVICES,
                                     .vital = true};
    return rt_spawn(cx, &rt_sup_class, &m->services_spec, 0, &pid, NULL);
}

rt_pid mesh_service_find(rt_ctx *cx, slice name) {
    return mesh_service_is_name(name) ? rt_name_find_slice(cx, name) : mesh_pg_find(cx, name);
}

bool mesh_service_is(rt_ctx *cx, rt_pid p) {
    for (size_t i = 0; i < MESH_SERVICES; i++)
        if (rt_pid_eq(rt_name_find(cx, table[i].name), p)) return true;
    return mesh_pg_is(cx, p);
}

void mesh_service_tell_one(rt_ctx *cx, rt_pid to, const mesh_node_msg *n) {
    if (!rt_pid_ok(to)) return;
    rt_msg *m = rt_msg_new(cx, MESH_NODE, sizeof *n);
    *mesh_node_msg_of(m) = *n;
    (void)rt_blob_ref(n->name); /* each message has its own */
    rt_send(cx, to, &m);
}

void mesh_service_tell(rt_ctx *cx, const mesh_node_msg *n) {
    for (size_t i = 0; i < MESH_SERVICES; i++) mesh_service_tell_one(cx, rt_name_find(cx, table[i].name), n);
    mesh_pg_tell(cx, n);
}
