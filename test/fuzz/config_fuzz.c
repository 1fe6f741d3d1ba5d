/* config_fuzz: any bytes as a settings file and, line by line, as --set. Oracle: an error has one line for the terminal, with no control
 * bytes and, for the file, its name and a line; what is accepted is within the ranges of the table, and giving a number again as it was
 * understood changes nothing. */
#include "base/mem.h"
#include "main/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool ok) {
    if (!ok) abort();
}

static void printable(const char *why) {
    demand(*why && strlen(why) < CONFIG_WHY_MAX);
    for (const char *p = why; *p; p++) demand((unsigned char)*p >= ' ' && *p != 0x7f);
}

#define RANGE_STR(c, m, lo, hi)
#define RANGE_LIST(c, m, lo, hi)
#define RANGE_BOOL(c, m, lo, hi)
#define RANGE_NUM(c, m, lo, hi)   demand((c)->m >= (lo) && (c)->m <= (hi))
#define RANGE_TIME(c, m, lo, hi)  RANGE_NUM(c, m, lo, hi)
#define RANGE_BYTES(c, m, lo, hi) RANGE_NUM(c, m, lo, hi)
static void in_range(const config *c) {
#define KEY(member, name, KIND, def, min, max, unit, doc) RANGE_##KIND(c, member, min, max);
#include "main/config.def"
#undef KEY
}

static void again(config *c, const char *key, int64_t value, const char *unit) {
    char text[64], why[CONFIG_WHY_MAX];
    (void)snprintf(text, sizeof text, "%s=%lld%s", key, (long long)value, unit);
    demand(config_set(c, text, why) == ERR_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char why[CONFIG_WHY_MAX] = "";
    config c;
    config_init(&c);
    err e = config_read_text(&c, "f", slice_of(data, size), why);
    demand(e == ERR_OK || (e == ERR_CONFIG && strncmp(why, "f:", 2) == 0));
    if (e != ERR_OK) printable(why);
    for (slice rest = slice_of(data, size); rest.len;) {
        size_t n = slice_find(rest, '\n');
        char *line = slice_dup_str(slice_sub(rest, 0, n));
        e = config_set(&c, line, why);
        demand(e == ERR_OK || (e == ERR_CONFIG && strncmp(why, "--set: ", 7) == 0));
        if (e != ERR_OK) printable(why);
        mem_free(line);
        rest = slice_from(rest, n + 1);
    }
    in_range(&c);
    int64_t idle = c.idle_ping, bytes = c.recorder_bytes, shards = c.shards;
    again(&c, "xmpp.idle_ping", idle, "us");
    again(&c, "recorder.bytes", bytes, "");
    again(&c, "shards", shards, "");
    demand(c.idle_ping == idle && c.recorder_bytes == bytes && c.shards == shards);
    e = config_check(&c, why);
    demand(e == ERR_OK || (e == ERR_CONFIG && *why));
    config_fini(&c);
    return 0;
}
