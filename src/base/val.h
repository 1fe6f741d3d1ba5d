#ifndef BASE_VAL_H
#define BASE_VAL_H
/* val: a small tree of values, the result type of verbs (rt/verbs.h): printed as JSON for murrectl, encoded as an Erlang term (proto/etf).
 * Everything lives in the arena that is passed in; constructors return NULL past its limit and every function accepts NULL, so that a
 * verb checks once, at its end. Map keys keep their order. */
#include "base/arena.h"
#include "base/buf.h"

#define VAL_DEPTH_MAX 64 /* containers in containers; a tree that is deeper has no written form */

typedef enum val_kind { VAL_NULL, VAL_BOOL, VAL_INT, VAL_REAL, VAL_STR, VAL_LIST, VAL_MAP } val_kind;
typedef struct val val;

val *val_null(arena *a);
val *val_bool(arena *a, bool b);
val *val_int(arena *a, int64_t i);
val *val_real(arena *a, double d);
val *val_str(arena *a, slice s); /* copies */
val *val_strf(arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);
val *val_list(arena *a);
val *val_map(arena *a);
void val_push(arena *a, val *list, val *item);
void val_set(arena *a, val *map, const char *key, val *item); /* key: a literal, kept */
/* A copy of v in another arena; keys stay the literals that they are. */
val *val_dup(arena *a, const val *v);
/* Moves the items of list from (same arena) to the end of list to. */
void val_concat(arena *a, val *to, val *from);
/* One line of JSON (RFC 8259), strings escaped, invalid UTF-8 as U+FFFD. v NULL, or anything in v that was NULL when it was pushed or
 * set, marks out as failed: a tree with a hole is never shown as whole. */
void val_json(const val *v, buf *out);
val_kind val_kind_of(const val *v);
/* The strings of a list, a line each: what a verb has laid out for people. What is no string is left out. */
void val_lines(const val *list, buf *out);
/* An integer of a map. False: there is none of that name, or v is no map. */
NODISCARD bool val_get_int(const val *v, const char *key, int64_t *out);
/* What is in v, for who writes it in another form. Of another kind: false, 0, empty, NULL. */
bool val_bool_of(const val *v);
int64_t val_int_of(const val *v);
double val_real_of(const val *v);
slice val_str_of(const val *v);
/* The items of a list or map in their order, and the key of an item of a map. False from val_is_whole: an item is missing, because it was
 * NULL. */
const val *val_first(const val *v);
const val *val_next(const val *item);
const char *val_key(const val *item);
bool val_is_whole(const val *v);

#endif
