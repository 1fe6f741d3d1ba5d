#ifndef RT_REMOTE_H
#define RT_REMOTE_H
/* remote: the plug for actors that are not here: main fills it with the mesh's functions. Without one, a send to another node's pid is
 * dropped, and a link or monitor answers NOCONN. */
#include "rt/actor.h"

typedef enum rt_signal { RT_SIG_LINK, RT_SIG_UNLINK, RT_SIG_MONITOR, RT_SIG_DEMONITOR, RT_SIG_EXIT, RT_SIG_DOWN } rt_signal;
typedef struct rt_remote {
    void *self;
    void (*send)(struct rt_remote *r, rt_ctx *cx, rt_pid to, rt_msg **m);
    void (*signal)(struct rt_remote *r, rt_ctx *cx, rt_pid to, rt_signal sig, uint64_t ref, err reason);
} rt_remote;
void rt_node_set_remote(rt_node *n, rt_remote *r); /* before start */
#endif
