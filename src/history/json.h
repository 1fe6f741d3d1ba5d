#ifndef HISTORY_JSON_H
#define HISTORY_JSON_H
/* json: one line that is one flat JSON object (RFC 8259): strings, numbers, true, false, null; no value inside a value. */
#include "base/buf.h"

#define HISTORY_JSON_MEMBERS_MAX 32u

typedef enum history_json_kind {
    HISTORY_JSON_STRING,
    HISTORY_JSON_NUMBER,
    HISTORY_JSON_TRUE,
    HISTORY_JSON_FALSE,
    HISTORY_JSON_NULL
} history_json_kind;

typedef struct history_json_member {
    slice name, value; /* value: of a string its text, otherwise as written. They point into the buffer of the parse */
    history_json_kind kind;
} history_json_member;

typedef struct history_json {
    history_json_member m[HISTORY_JSON_MEMBERS_MAX];
    size_t n;
    const char *why; /* what is wrong, when it could not be parsed */
} history_json;

/* text is reset and then holds what was unescaped; it must live as long as *out. ERR_INVALID: out->why says what is wrong. ERR_LIMIT: more
 * than HISTORY_JSON_MEMBERS_MAX members, or text is full; out->why too. */
NODISCARD err history_json_parse(slice line, buf *text, history_json *out);
/* NULL: there is no such member. */
const history_json_member *history_json_get(const history_json *j, const char *name);
void history_json_string(buf *out, slice s); /* quoted; invalid UTF-8 becomes U+FFFD */

#endif
