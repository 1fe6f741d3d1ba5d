#ifndef PROTO_ETF_TERM_H
#define PROTO_ETF_TERM_H
/* term: a whole term as a tree in an arena, for those who look at it from all sides: rpc, global, pg, tools. The messages that only pass by
 * are read with etf.h alone.
 *
 * Everything is in the arena, or is a slice of the input, as etf.h has it. The tree of a term takes at most ETF_TERM_COST times its bytes.
 * Nothing here recurses over what a peer sent; a tree is at most ETF_DEPTH_MAX deep, the tails of lists not counted. */
#include "base/val.h"
#include "proto/etf/etf.h"

#define ETF_TERM_COST 64u

typedef struct etf_term etf_term;
struct etf_term {
    etf_item item;
    const etf_term *in; /* etf_item_terms(&item) of them, in the order of etf_kind; a map's pairs in the order of its keys */
};
_Static_assert(sizeof(etf_term) <= ETF_TERM_COST, "the smallest term is one byte");

/* Reads one term. ERR_INVALID: not one, or a map has a key twice; ERR_LIMIT: past the arena (or r->text); the reader then has not moved,
 * and what was taken of the arena stays taken. */
NODISCARD err etf_term_read(etf_reader *r, arena *a, const etf_term **out);
void etf_term_write(const etf_term *t, buf *out);
/* Term i inside it; NULL past the end. For the elements of a list see etf_list. */
const etf_term *etf_term_at(const etf_term *t, uint64_t i);
bool etf_term_is_atom(const etf_term *t, slice text);
/* The value of an atom as a key; NULL: t is no map, or has no such key. */
const etf_term *etf_term_get(const etf_term *map, slice key);

/* The elements of a list, however it was written: as one row, as several, as ETF_STRING. What is no list has none. */
typedef struct etf_list {
    const etf_term *rest; /* where the next element is; once there is none, the tail: ETF_NIL if the list was a proper one */
    uint64_t i;           /* element of rest */
} etf_list;
static inline etf_list etf_list_of(const etf_term *t) { return (etf_list){t, 0}; }
NODISCARD bool etf_list_next(etf_list *l, const etf_term **out);

/* Erlang's order of all terms (OTP: "Term Comparisons" in the reference manual; EEP 79 for records): number < atom < reference < fun < port
 * < pid < tuple < record < map < nil < list < bit string. Less than 0, 0, more than 0. 1 and 1.0 are the same here and different in
 * etf_equal (=:=), and so are 0.0 and -0.0, as in OTP 27 and later. The fields of records count in the order of the definition. */
int etf_compare(const etf_term *a, const etf_term *b);
bool etf_equal(const etf_term *a, const etf_term *b);

/* As io:format("~0tp") prints it in a shell with +pc unicode, but for three things: a pid, a port or a reference has the name of its node
 * where the shell has the number of a connection; characters that turn the direction of text are escaped; and an integer of more than
 * ETF_DECIMAL_BYTES bytes has base 16, because decimal digits cost the square of their number. Past the limit of out, it fails. */
#define ETF_DECIMAL_BYTES 1024u
void etf_format(const etf_term *t, buf *out);
/* The term that a text stands for, in the external format, without the version byte: what etf_format writes, but pids, ports, references,
 * local funs and records; and what people write: white space, _ between digits, $c, escapes, bases, <<N:Size>>. ERR_INVALID: *out_at is the
 * byte of text where it ceased to make sense, or its end for a map with a key twice. ERR_LIMIT: deeper than ETF_DEPTH_MAX, an integer of
 * more than ETF_DECIMAL_BYTES in a base other than 16, a float of more than 400 digits, or past the limit of out. On failure out is as it
 * was. */
NODISCARD err etf_parse(slice text, buf *out, size_t *out_at);

/* What verbs answer (base/val.h). Null, and a number that is not finite, is the atom undefined; a string is a binary; the keys of a map are
 * atoms. Out fails for NULL, for a tree with a hole or deeper than VAL_DEPTH_MAX, and for a key that is no atom. */
void etf_put_val(buf *out, const val *v);

#endif
