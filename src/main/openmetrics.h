#ifndef MAIN_OPENMETRICS_H
#define MAIN_OPENMETRICS_H
/* openmetrics: lines of OpenMetrics text 1.0. The caller keeps the specification's order: a family's metadata once, then all its samples,
 * and no other family's between them. */
#include "base/buf.h"
#include "base/time.h"
#include "rt/tally.h"

typedef struct main_om_label {
    const char *name, *value; /* name "": none */
} main_om_label;
#define MAIN_OM_NO_LABEL ((main_om_label){"", ""})

/* The lines before the samples of a family. unit "": none; otherwise name ends in it. */
void main_om_family(buf *out, const char *name, const char *type, const char *unit, const char *help);
/* One sample with up to two labels; name is the family's name with the sample's suffix. Seconds have six digits after the point. */
void main_om_sample(buf *out, const char *name, main_om_label a, main_om_label b, uint64_t value);
void main_om_seconds(buf *out, const char *name, main_om_label a, main_om_label b, usec value);
/* A family with one sample without labels. */
void main_om_gauge(buf *out, const char *name, const char *unit, const char *help, uint64_t value);
void main_om_counter(buf *out, const char *family, const char *unit, const char *help, uint64_t value);

/* A histogram of values that were counted in whole units, of which `per` are one of what is shown: 1000000 for microseconds shown as
 * seconds. per: a power of ten up to 10^9. */
void main_om_histogram(buf *out, const char *family, main_om_label a, uint64_t per, const rt_tally_sum *t);

#endif
