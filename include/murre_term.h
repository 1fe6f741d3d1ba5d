#ifndef MURRE_TERM_H
#define MURRE_TERM_H
/* murre_term: the terms of Erlang, built and read. A part of murre.h, which programs include.
 *
 * Read: a reader goes over the items of a term in their order. A tuple, list or map is an item that says how many terms of it follow:
 *
 *     murre_reader r = murre_read(m->term);
 *     if (murre_get_tuple(&r, &n) && n == 2 && murre_get_atom_is(&r, "add") && murre_get_int(&r, &i)) ...
 *
 * Each murre_get_* is one test and one step: on false nothing has moved, and out is as it was. What it finds are slices of the message.
 * Built: the same items are put, in the same order. What goes wrong is kept, and told by who takes the builder: INVALID. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif

#define MURRE_TERM_MAX (128u << 20) /* bytes of a term in Erlang's external format */

typedef struct murre_ctx murre_ctx;
typedef struct murre_bytes { /* borrowed; p may be NULL only if len is 0 */
    const uint8_t *p;
    size_t len;
} murre_bytes;
typedef struct murre_term { /* borrowed: one whole term in the external format, without the version byte */
    const uint8_t *p;
    size_t len;
} murre_term;
/* A process of this node or of one that is connected. Never another one's later; compare with murre_pid_eq, keep it, copy it. */
typedef struct murre_pid {
    uint32_t node, id, serial; /* not to be looked at */
} murre_pid;
static inline bool murre_pid_eq(murre_pid a, murre_pid b) { return a.node == b.node && a.id == b.id && a.serial == b.serial; }
static inline bool murre_pid_ok(murre_pid p) { return (p.serial | p.node) != 0; } /* false: all zero, no process */

/* --- reading. A copied reader is a place to come back to. */
typedef struct murre_reader {
    const uint8_t *p, *end; /* not to be looked at, as all of it */
    const uint8_t *text, *text_end;
    uint64_t in_text;
} murre_reader;
typedef enum murre_type {
    MURRE_T_NONE, /* no term follows */
    MURRE_T_INT,  /* that fits int64_t */
    MURRE_T_BIG,  /* any other integer */
    MURRE_T_FLOAT,
    MURRE_T_ATOM,
    MURRE_T_PID,
    MURRE_T_REF,
    MURRE_T_BINARY,
    MURRE_T_NIL,  /* [], also where the elements of a proper list end */
    MURRE_T_LIST, /* with at least one element */
    MURRE_T_TUPLE,
    MURRE_T_MAP,
    MURRE_T_OTHER, /* ports, funs, bit strings, records: to be passed on (murre_get_term), or past */
} murre_type;
murre_reader murre_read(murre_term t);
murre_type murre_peek(const murre_reader *r); /* what follows */
bool murre_get_int(murre_reader *r, int64_t *out);
bool murre_get_big(murre_reader *r, bool *out_negative, murre_bytes *out_magnitude); /* BIG alone; little-endian */
bool murre_get_float(murre_reader *r, double *out);
bool murre_get_atom(murre_reader *r, murre_bytes *out);    /* UTF-8 */
bool murre_get_atom_is(murre_reader *r, const char *atom); /* true: it was that one */
bool murre_get_binary(murre_reader *r, murre_bytes *out);
bool murre_get_string(murre_reader *r, murre_bytes *out); /* [] and lists of 1 to 65,535 bytes as Erlang sends them: "abc" */
bool murre_get_tuple(murre_reader *r, uint32_t *out_n);   /* n terms follow */
bool murre_get_list(murre_reader *r, uint32_t *out_n);    /* n elements follow, at least 1, then the tail: mostly murre_get_nil */
bool murre_get_nil(murre_reader *r);
bool murre_get_map(murre_reader *r, uint32_t *out_n);               /* n times a key and its value follow */
bool murre_get_pid(murre_ctx *cx, murre_reader *r, murre_pid *out); /* false too: its node is not connected, or not in that life */
bool murre_get_ref(murre_reader *r, murre_term *out);               /* equal references have equal bytes, if they came from one node */
bool murre_get_term(murre_reader *r, murre_term *out);              /* any one term; out may be NULL: past it */
/* The value of an atom as a key; false: t is no map, or has no such key. */
bool murre_map_find(murre_term map, const char *key, murre_term *out);
/* As io:format("~0tp") writes it, cut at size bytes with its NUL. Returns the bytes that it has in full, as snprintf. */
size_t murre_term_text(murre_term t, char *out, size_t size);

/* --- building: of one term, or, as any builder is consumed by who sends it, of none. Any thread, one at a time. */
typedef struct murre_builder murre_builder;
murre_builder *murre_build(void);                               /* never NULL: without memory the process ends */
void murre_build_free(murre_builder *b);                        /* what was not sent; NULL is fine */
bool murre_build_term(const murre_builder *b, murre_term *out); /* what was built, until b changes; false: not one whole term */
void murre_put_int(murre_builder *b, int64_t v);
void murre_put_big(murre_builder *b, bool negative, murre_bytes magnitude); /* little-endian; any integer, also one that would fit an int */
void murre_put_float(murre_builder *b, double v);                           /* finite */
void murre_put_bool(murre_builder *b, bool v);
void murre_put_atom(murre_builder *b, const char *atom); /* UTF-8, at most 255 characters */
void murre_put_binary(murre_builder *b, const void *p, size_t len);
void murre_put_string(murre_builder *b, const char *text); /* a list of its bytes */
void murre_put_tuple(murre_builder *b, uint32_t n);        /* n terms follow */
void murre_put_list(murre_builder *b, uint32_t n);         /* n elements follow, then the tail: mostly murre_put_nil */
void murre_put_nil(murre_builder *b);
void murre_put_map(murre_builder *b, uint32_t n);                   /* n times a key and its value follow; no key twice */
void murre_put_pid(murre_ctx *cx, murre_builder *b, murre_pid pid); /* wrong: its node is not connected any more */
void murre_put_term(murre_builder *b, murre_term t);                /* as it was read */
void murre_put_text(murre_builder *b, const char *text);            /* what people write: "{ok, [1, foo, <<\"x\">>]}", without a dot */

#ifdef __cplusplus
}
#endif
#endif
