#ifndef PROTO_ETF_TEXT_H
#define PROTO_ETF_TEXT_H
/* text: what format.c writes and parse.c reads alike: characters and names. Private to etf. */
#include "base/slice.h"

/* A character that stands for itself in a text (OTP: io_lib, printable_unicode_list), or has an escape of one letter. */
static inline bool etf_is_printable(uint32_t c) {
    return (c >= 0x20 && c <= 0x7e) || (c >= 8 && c <= 13) || c == 27 || (c >= 0xa0 && c <= 0xd7ff) || (c >= 0xe000 && c <= 0xfffd) ||
           (c >= 0x10000 && c <= 0x10ffff);
}
/* Turns the direction of the text that follows (UAX #9), or ends a line: shown as it is, it could show another text than there is. */
static inline bool etf_is_turning(uint32_t c) {
    return c == 0x61c || c == 0x200e || c == 0x200f || (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}
/* The first character of an atom that needs no quotes, and any later one: letters are those of Latin-1 (OTP: io_lib, quote_atom). */
static inline bool etf_is_lower(uint32_t c) { return (c >= 'a' && c <= 'z') || (c >= 0xdf && c <= 0xff && c != 0xf7); }
static inline bool etf_is_name(uint32_t c) {
    return etf_is_lower(c) || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c >= 0xc0 && c <= 0xde && c != 0xd7) || c == '_' ||
           c == '@';
}
bool etf_is_reserved(slice word);

#endif
