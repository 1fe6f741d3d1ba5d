/* warp: the defaults of the settings; docs/netwarp.md has them as a table. */
#include "warp.h"

const char *warp_dir_name(dir d) { return d == C2S ? "c2s" : "s2c"; }

void warp_set_defaults(warp_set *s) {
    *s = (warp_set){.rto = 200 * USEC_PER_MSEC,
                    .rto_max = 120 * USEC_PER_SEC, /* Linux: TCP_RTO_MIN and TCP_RTO_MAX */
                    .gap = 10 * USEC_PER_MSEC,
                    .burst = 16384,
                    .queue = 1 << 20,
                    .segment = 1460};
}
