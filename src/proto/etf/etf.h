#ifndef PROTO_ETF_ETF_H
#define PROTO_ETF_ETF_H
/* etf: Erlang's external term format (OTP: "Erlang External Term Format", erl_ext_dist), read where it lies and written into a buf.
 *
 * A term is read as a row of items in the order of its bytes, each with the number of terms inside it that follow. Nothing is allocated and
 * nothing recurses, whatever the sender wrote: an item that promises more terms than there are bytes left is refused when it is met.
 * Texts, bytes and node names are slices of the input (or of the atom table); they live as long as it does.
 *
 * Atoms are bytes here, never numbers: nothing that a peer sends stays in a table of the node. */
#include "base/arena.h"
#include "base/buf.h"
#include "base/cursor.h"

#define ETF_VERSION    131u  /* the byte before a term that stands alone */
#define ETF_DEPTH_MAX  1024u /* terms within terms; the tail of a list is not deeper than the list */
#define ETF_ATOM_CHARS 255u
#define ETF_ATOM_BYTES 1020u /* 255 characters of UTF-8 */
#define ETF_REF_WORDS  5u
#define ETF_UNIQ_BYTES 16u

typedef enum etf_kind {
    ETF_INT,    /* i: an integer that fits int64_t, whatever its tag was */
    ETF_BIG,    /* big: any other */
    ETF_FLOAT,  /* f: finite */
    ETF_ATOM,   /* text: UTF-8 */
    ETF_PID,    /* pid */
    ETF_PORT,   /* port */
    ETF_REF,    /* ref */
    ETF_BITS,   /* bits: a binary, or any number of bits */
    ETF_NIL,    /* [] */
    ETF_STRING, /* text: a list of bytes (tag 107), at least one; the same value as the list of these integers */
    ETF_LIST,   /* n elements and the tail follow; n > 0 */
    ETF_TUPLE,  /* n elements follow */
    ETF_MAP,    /* n keys, each followed by its value */
    ETF_EXPORT, /* fn: fun M:F/A */
    ETF_FUN,    /* fun; module (atom), old index (integer), old uniq (integer), creator (pid), then n free variables follow (tag 112) */
    ETF_RECORD, /* record: a native record (OTP 29, tag 67); module, name, n names of fields (all atoms), then n values follow */
} etf_kind;

typedef struct etf_pid {
    slice node;
    uint32_t id, serial, creation;
} etf_pid;
typedef struct etf_port {
    slice node;
    uint64_t id;
    uint32_t creation;
} etf_port;
typedef struct etf_ref {
    slice node;
    uint32_t creation;
    uint32_t n; /* words: 1 to ETF_REF_WORDS */
    uint32_t word[ETF_REF_WORDS];
} etf_ref;
typedef struct etf_big {
    slice magnitude; /* little-endian; the last byte is not 0 */
    bool negative;
} etf_big;
typedef struct etf_bits {
    slice bytes;
    uint8_t last; /* bits used of the last byte, from the top: 1 to 8; 8 in a binary, and where there are no bytes */
} etf_bits;
typedef struct etf_export {
    slice module, function;
    uint8_t arity;
} etf_export;
typedef struct etf_fun {
    const uint8_t *uniq; /* ETF_UNIQ_BYTES of them: the checksum of the module */
    uint32_t index;      /* among the funs of the module */
    uint32_t n;          /* free variables */
    uint32_t size;       /* bytes after the tag, as they were read; etf_put_fun does not look at it */
    uint8_t arity;
} etf_fun;
#define ETF_RECORD_EXPORTED 1u
typedef struct etf_record {
    uint32_t n;    /* fields */
    uint8_t flags; /* ETF_RECORD_EXPORTED, and what later releases may add */
} etf_record;

typedef struct etf_item {
    etf_kind kind;
    union {
        int64_t i;
        double f;
        etf_big big;
        slice text;
        uint32_t n;
        etf_bits bits;
        etf_pid pid;
        etf_port port;
        etf_ref ref;
        etf_export fn;
        etf_fun fun;
        etf_record record;
    };
} etf_item;

/* Terms that follow an item and belong to it: 0 for all that hold none. */
static inline uint64_t etf_item_terms(const etf_item *it) {
    switch (it->kind) {
    case ETF_INT:
    case ETF_BIG:
    case ETF_FLOAT:
    case ETF_ATOM:
    case ETF_PID:
    case ETF_PORT:
    case ETF_REF:
    case ETF_BITS:
    case ETF_NIL:
    case ETF_STRING:
    case ETF_EXPORT: return 0;
    case ETF_LIST: return (uint64_t)it->n + 1;
    case ETF_TUPLE: return it->n;
    case ETF_MAP: return (uint64_t)it->n * 2;
    case ETF_FUN: return (uint64_t)it->fun.n + 4;
    case ETF_RECORD: return (uint64_t)it->record.n * 2 + 2;
    }
    return 0;
}
/* Whether a text can be an atom: UTF-8, at most ETF_ATOM_CHARS characters. */
bool etf_is_atom(slice text);
/* The same identity; a word that a reference does not have counts as 0 (OTP: erts utils.c, references in erts_cmp). */
bool etf_pid_eq(const etf_pid *a, const etf_pid *b);
bool etf_ref_eq(const etf_ref *a, const etf_ref *b);

/* --- reading */

/* What the atoms of a distribution header stand for: tag 82 and a byte i mean atom[i], which the filler has checked (UTF-8, 255
 * characters). */
typedef struct etf_atoms {
    const slice *atom;
    size_t n;
} etf_atoms;

typedef struct etf_reader {
    cursor in;
    const etf_atoms *atoms; /* NULL: tag 82 is refused */
    arena *text;            /* where atoms in Latin-1 that are not ASCII become UTF-8; NULL: they are refused */
    size_t more;            /* bytes that may follow those of `in`, which is then the beginning of a term only (rewrite.h); else 0 */
} etf_reader;

static inline etf_reader etf_reader_of(slice in) { return (etf_reader){.in = cursor_of(in)}; }
/* Past the version byte; false: it is another, or none. */
NODISCARD bool etf_get_version(etf_reader *r);
/* The next item; false: the bytes are not the beginning of an item that could be whole. Refused are a reference to an atom that is not
 * there, text that is not UTF-8, an atom of more than 255 characters, a float that is not finite, 2^32 terms or more in one item, and the
 * tags 80 (compressed), 121 (private to who wrote it) and all that are unknown. */
NODISCARD bool etf_next(etf_reader *r, etf_item *out);
/* Past one whole term. False: it is not one, or deeper than ETF_DEPTH_MAX. This is also how a term is checked: what was skipped once can be
 * read again and will not fail, but for an arena r->text that is full. out (may be NULL): its bytes. */
NODISCARD bool etf_skip(etf_reader *r, slice *out);
/* The next item if it is of that kind: one test and one read in a hand-written matcher. */
NODISCARD bool etf_get_int(etf_reader *r, int64_t *out);
NODISCARD bool etf_get_atom(etf_reader *r, slice *out);
NODISCARD bool etf_get_tuple(etf_reader *r, uint32_t *out_n);
NODISCARD bool etf_get_pid(etf_reader *r, etf_pid *out);
NODISCARD bool etf_get_ref(etf_reader *r, etf_ref *out);
NODISCARD bool etf_get_binary(etf_reader *r, slice *out);
/* The next item if it is this atom. */
NODISCARD bool etf_get_atom_is(etf_reader *r, slice text);
/* All of these: on false nothing is consumed and out is as it was. */

/* --- writing: no version byte unless said; past the limit of out, or for an argument that has no encoding, out fails (buf_ok) */

void etf_put_version(buf *out);
void etf_put_int(buf *out, int64_t v);
void etf_put_uint(buf *out, uint64_t v);
void etf_put_big(buf *out, const etf_big *v);
void etf_put_float(buf *out, double v);  /* finite */
void etf_put_atom(buf *out, slice text); /* as etf_is_atom has it */
void etf_put_bool(buf *out, bool v);
void etf_put_binary(buf *out, slice bytes);
void etf_put_bits(buf *out, const etf_bits *v); /* the bits of the last byte that are not used are written as 0 */
void etf_put_string(buf *out, slice bytes);     /* the list of these bytes: nil, tag 107, or tag 108 past 65,535 */
void etf_put_tuple(buf *out, uint32_t n);
void etf_put_list(buf *out, uint32_t n); /* n elements follow, then the tail, mostly etf_put_nil; n 0: the tail alone follows */
void etf_put_nil(buf *out);
void etf_put_map(buf *out, uint32_t n);
void etf_put_pid(buf *out, const etf_pid *p);
void etf_put_port(buf *out, const etf_port *p); /* tag 89 where 28 bits are enough for the id, else 120 */
void etf_put_ref(buf *out, const etf_ref *r);
void etf_put_export(buf *out, const etf_export *f);
void etf_put_record(buf *out,
                    const etf_record *r); /* only for a peer that set DFLAG_NATIVE_RECORDS (OTP 29): others close the connection */
/* The head of a fun; its n + 4 terms follow, then etf_put_fun_end with what this returned, which puts in the size. */
size_t etf_put_fun(buf *out, const etf_fun *f);
void etf_put_fun_end(buf *out, size_t fun);
/* Any item as it was read, in its shortest form; a fun is not one (out fails): see etf_copy. */
void etf_put_item(buf *out, const etf_item *it);
/* One whole term from a reader, rewritten without references to atoms and without old tags: what may be kept or passed on. False: as
 * etf_skip; out is then as it was. */
NODISCARD bool etf_copy(etf_reader *r, buf *out);

/* A peer without DFLAG_V4_NC (OTP 23) closes the connection on numbers past these (OTP: erts external.c of that release). */
bool etf_pid_is_small(const etf_pid *p);   /* id < 2^15, serial < 2^13 */
bool etf_port_is_small(const etf_port *p); /* id < 2^28 */
bool etf_ref_is_small(const etf_ref *r);   /* 3 words at most, the first < 2^18 */

#endif
