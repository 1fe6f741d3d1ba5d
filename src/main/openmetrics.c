/* openmetrics: see openmetrics.h. Written from OpenMetrics 1.0, sections "Text Format" and "Canonical Numbers".
 *
 * Invariant: what stands in a label value or HELP is UTF-8 without control bytes, with backslash and quote escaped. */
#include "main/openmetrics.h"

#include "base/plant.h"
#include "base/utf8.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define NAME_MAX_  128
#define TEXT_MAX   512
#define BOUND_MAX  32
#define GO_BIG     1e6 /* Go writes numbers from here on with an exponent, and so does the specification */
#define DIGITS_MIN 6   /* %g with less would round whole numbers below GO_BIG */
#define DIGITS_MAX 17  /* enough for every double */

static void add_escaped(buf *out, const char *text) {
    char shown[TEXT_MAX];
    size_t n = utf8_escape(slice_str(text), shown, sizeof shown);
    for (size_t i = 0; i < n; i++) {
        if (!plant(LABEL_NOT_ESCAPED) && (shown[i] == '\\' || shown[i] == '"')) buf_add_byte(out, '\\');
        buf_add_byte(out, (uint8_t)shown[i]);
    }
}

void main_om_family(buf *out, const char *name, const char *type, const char *unit, const char *help) {
    buf_addf(out, "# TYPE %s %s\n", name, type);
    if (*unit) buf_addf(out, "# UNIT %s %s\n", name, unit);
    buf_addf(out, "# HELP %s ", name);
    add_escaped(out, help);
    buf_add_byte(out, '\n');
}

static void add_labels(buf *out, main_om_label a, main_om_label b) {
    const main_om_label all[] = {a, b};
    char before = '{';
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        if (!*all[i].name) continue;
        buf_addf(out, "%c%s=\"", before, all[i].name);
        add_escaped(out, all[i].value);
        buf_add_byte(out, '"');
        before = ',';
    }
    if (before == ',') buf_add_byte(out, '}');
}

void main_om_sample(buf *out, const char *name, main_om_label a, main_om_label b, uint64_t value) {
    buf_add_str(out, name);
    add_labels(out, a, b);
    buf_addf(out, " %" PRIu64 "\n", value);
}

void main_om_seconds(buf *out, const char *name, main_om_label a, main_om_label b, usec value) {
    buf_add_str(out, name);
    add_labels(out, a, b);
    usec v = value > 0 ? value : 0; /* clocks of two CPUs may differ by a little */
    buf_addf(out, " %" PRId64 ".%06" PRId64 "\n", v / USEC_PER_SEC, v % USEC_PER_SEC);
}

void main_om_gauge(buf *out, const char *name, const char *unit, const char *help, uint64_t value) {
    main_om_family(out, name, "gauge", unit, help);
    main_om_sample(out, name, MAIN_OM_NO_LABEL, MAIN_OM_NO_LABEL, value);
}

void main_om_counter(buf *out, const char *family, const char *unit, const char *help, uint64_t value) {
    char name[NAME_MAX_];
    main_om_family(out, family, "counter", unit, help);
    (void)snprintf(name, sizeof name, "%s_total", family);
    main_om_sample(out, name, MAIN_OM_NO_LABEL, MAIN_OM_NO_LABEL, value);
}

/* --- histograms ------------------------------------------------------------------------------------------------------------------ */
/* The fewest digits that say v exactly, as Go writes it: readers compare the text of "le", not its value. */
static void bound_text(double v, char text[BOUND_MAX]) {
    for (int digits = v < GO_BIG ? DIGITS_MIN : 1; digits <= DIGITS_MAX; digits++) {
        (void)snprintf(text, BOUND_MAX, v < GO_BIG ? "%.*g" : "%.*e", v < GO_BIG ? digits : digits - 1, v);
        if (strtod(text, NULL) == v) break;
    }
    size_t n = strlen(text);
    if (!strpbrk(text, ".e") && n + 2 < BOUND_MAX) memcpy(text + n, ".0", 3);
}

static void add_sum(buf *out, uint64_t sum, uint64_t per) {
    buf_addf(out, " %" PRIu64, sum / per);
    if (per > 1) {
        int digits = 0;
        for (uint64_t p = per; p > 1; p /= 10) digits++;
        buf_addf(out, ".%0*" PRIu64, digits, sum % per);
    }
    buf_add_byte(out, '\n');
}

void main_om_histogram(buf *out, const char *family, main_om_label a, uint64_t per, const rt_tally_sum *t) {
    char name[NAME_MAX_], bound[BOUND_MAX] = "+Inf";
    uint64_t so_far = 0;
    (void)snprintf(name, sizeof name, "%s_bucket", family);
    for (unsigned k = 0; k < RT_TALLY_BUCKETS; k++) {
        so_far += t->b[k];
        if (k < RT_TALLY_BUCKETS - 1)
            bound_text((double)(UINT64_C(1) << k) / (double)per, bound);
        else
            memcpy(bound, "+Inf", sizeof "+Inf");
        main_om_sample(out, name, a, (main_om_label){"le", bound}, so_far);
    }
    (void)snprintf(name, sizeof name, "%s_count", family);
    main_om_sample(out, name, a, MAIN_OM_NO_LABEL, so_far);
    (void)snprintf(name, sizeof name, "%s_sum", family);
    buf_add_str(out, name);
    add_labels(out, a, MAIN_OM_NO_LABEL);
    add_sum(out, t->sum, per);
}
