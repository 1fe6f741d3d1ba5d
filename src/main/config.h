#ifndef MAIN_CONFIG_H
#define MAIN_CONFIG_H
/* config: the settings of a node: one table (config.def) from which come the struct, the defaults, checking, docs/config.md and the
 * suggestion for a misspelt key. From a YAML file (nested or dotted keys) and from --set key=value (lists comma-separated); later wins. */
#include "base/buf.h"
#include "base/time.h"

typedef struct config_list {
    char **v;
    size_t n;
} config_list;

#define CONFIG_C_STR   char *
#define CONFIG_C_LIST  config_list
#define CONFIG_C_BOOL  bool
#define CONFIG_C_NUM   int64_t
#define CONFIG_C_TIME  usec
#define CONFIG_C_BYTES int64_t
typedef struct config {
#define KEY(member, key, KIND, def, min, max, unit, doc) CONFIG_C_##KIND member;
#include "main/config.def"
#undef KEY
} config;

#define CONFIG_WHY_MAX  512
#define CONFIG_FILE_MAX (1u << 20)
/* Writes a sentence into why, cut if it is longer, and returns e: `return config_why(why, ERR_CONFIG, ...)`. Nothing of why may be among
 * its own arguments. */
NODISCARD err config_why(char why[CONFIG_WHY_MAX], err e, const char *fmt, ...) PRINTF_LIKE(3, 4);
void config_init(config *c); /* the defaults */
void config_fini(config *c);
/* Reads a file. why: "FILE:LINE: sentence". ERR_NOT_FOUND (or not readable for another reason than ERR_PERM), ERR_CONFIG; c may be half
 * changed on failure. */
NODISCARD err config_read(config *c, const char *path, char why[CONFIG_WHY_MAX]);
/* The same with what was read; path is for messages. ERR_CONFIG. */
NODISCARD err config_read_text(config *c, const char *path, slice text, char why[CONFIG_WHY_MAX]);
/* One "key=value". */
NODISCARD err config_set(config *c, const char *assignment, char why[CONFIG_WHY_MAX]);
/* What no single key can tell: known mechanisms, domains, numbers of certificates. */
NODISCARD err config_check(const config *c, char why[CONFIG_WHY_MAX]);
bool config_has_role(const config *c, const char *role); /* what a node without it does not do, it needs no settings for */
void config_document(buf *out);                          /* docs/config.md */

#endif
