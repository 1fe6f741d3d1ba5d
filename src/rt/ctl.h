#ifndef RT_CTL_H
#define RT_CTL_H
/* ctl: the listener for murrectl, on a thread of its own, so that it answers while shards are stuck. A Unix socket, mode 0600; peer
 * credentials are checked (same uid, or root). Protocol, one request a connection:
 *   request:  u32le length, then that many bytes: strings, each u32le length + bytes: [module, function, input, arg...]
 *   reply:    u32le length, then JSON: {"ok":true,"result":...} or {"ok":false,"error":"name","why":"sentence"}
 *   frames:   of an answer that goes on ("stream":true), as it has them: u32le length, then a JSON object each, until the client closes.
 *             What a client does not read in time it misses; the next frame says how many, in a member "lost". */
#include "rt/node.h"

#define RT_CTL_REQUEST_MAX (64u << 20) /* user import */
#define RT_CTL_REPLY_MAX   (256u << 20)
typedef struct rt_ctl rt_ctl;
/* Binds. ERR_BUSY if a live server answers there; a stale socket is replaced. */
NODISCARD err rt_ctl_new(rt_node *n, const char *path, rt_ctl **out);
NODISCARD err rt_ctl_start(rt_ctl *c);
void rt_ctl_free(rt_ctl *c); /* stops the thread, removes the socket */
/* Runs one request (without its length word) as the listener would, and appends the JSON (without its length word): for the listener and
 * tests. A verb that mutates is audited by event CTL; those run one at a time on a thread of their own. One that waits
 * runs on one of four threads of their own. */
void rt_ctl_run(rt_node *n, int64_t uid, slice request, buf *out_reply);

#endif
