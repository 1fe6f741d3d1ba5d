#ifndef PROTO_XMPP_XML_SCAN_H
#define PROTO_XMPP_XML_SCAN_H
/* xml_scan: eight bytes at a time in a 64-bit register, and the class of a byte. Private to framer.c and xml*.c.
 *
 * A mask has the top bit set in each byte that matches; bytes above the first true match may be set falsely (a borrow runs upward), so
 * only the lowest set bit counts. The load is little-endian by construction: the same on every machine, one instruction on ours. */
#include "base/load.h"
#include "base/slice.h"
#include "proto/xmpp/error.h"

#define SCAN_ONES UINT64_C(0x0101010101010101)
#define SCAN_HIGH UINT64_C(0x8080808080808080)

/* Bytes for which (byte & keep) == c. */
static inline uint64_t scan_match(uint64_t x, uint8_t keep, uint8_t c) {
    x = (x & SCAN_ONES * keep) ^ SCAN_ONES * c;
    return (x - SCAN_ONES) & ~x & SCAN_HIGH;
}
static inline size_t scan_first(uint64_t mask) { return (size_t)__builtin_ctzll(mask) >> 3; }

/* The first '<' in [p, end), or end. */
static inline const uint8_t *scan_lt(const uint8_t *p, const uint8_t *end) {
    for (; end - p >= 8; p += 8) {
        uint64_t m = scan_match(load_u64le(p), 0xff, '<');
        if (m) return p + scan_first(m);
    }
    while (p < end && *p != '<') p++;
    return p;
}
/* The first of < > & in [p, end), or end. '<' and '>' differ in one bit. */
static inline const uint8_t *scan_text(const uint8_t *p, const uint8_t *end) {
    for (; end - p >= 8; p += 8) {
        uint64_t x = load_u64le(p), m = scan_match(x, 0xfd, '<') | scan_match(x, 0xff, '&');
        if (m) return p + scan_first(m);
    }
    while (p < end && *p != '<' && *p != '>' && *p != '&') p++;
    return p;
}
/* The first quote q (' or "), '<' or '&' in [p, end), or end. ' differs from & in one bit, and so does ". */
static inline const uint8_t *scan_value(const uint8_t *p, const uint8_t *end, uint8_t q) {
    uint8_t keep = (uint8_t) ~(q ^ '&');
    for (; end - p >= 8; p += 8) {
        uint64_t x = load_u64le(p), m = scan_match(x, keep, q & keep) | scan_match(x, 0xff, '<');
        if (m) return p + scan_first(m);
    }
    while (p < end && *p != q && *p != '<' && *p != '&') p++;
    return p;
}
/* The first quote q or '<' in [p, end), or end. */
static inline const uint8_t *scan_quote(const uint8_t *p, const uint8_t *end, uint8_t q) {
    for (; end - p >= 8; p += 8) {
        uint64_t x = load_u64le(p), m = scan_match(x, 0xff, q) | scan_match(x, 0xff, '<');
        if (m) return p + scan_first(m);
    }
    while (p < end && *p != q && *p != '<') p++;
    return p;
}
/* The first of < > ' " (also # and &, which share their bits and are rare here) in [p, end), or end. */
static inline const uint8_t *scan_tag(const uint8_t *p, const uint8_t *end) {
    for (; end - p >= 8; p += 8) {
        uint64_t x = load_u64le(p), m = scan_match(x, 0xfd, '<') | scan_match(x, 0xfa, '"');
        if (m) return p + scan_first(m);
    }
    while (p < end && (*p & 0xfd) != '<' && (*p & 0xfa) != '"') p++;
    return p;
}

/* Classes of bytes. Bytes from 0x80 are decided by their code point (xmpp_xml_name_char). */
#define XML_C_START 1u /* may begin a name */
#define XML_C_NAME  2u /* may stand in a name; not the colon */
#define XML_C_SPACE 4u
#define XML_C_HIGH  8u  /* part of a multi-byte character */
#define XML_C_ESC   16u /* must be escaped in text */
#define XML_C_ATTR  32u /* must be escaped in an attribute value only */
extern const uint8_t xmpp_xml_class[256];

/* Is cp (>= 0x80) a NameStartChar, or with start false a NameChar (XML 1.0, fifth edition)? */
bool xmpp_xml_name_char(uint32_t cp, bool start);
/* Every character of s is a Char of XML 1.0 in strict UTF-8: STREAM_OK, UNSUPPORTED_ENCODING or NOT_WELL_FORMED. *out_space: what s
 * holds that may have to be normalised, XML_HAS_*. */
#define XML_HAS_TAB 1u /* a tab or newline: a space in attribute values */
#define XML_HAS_CR  2u /* a carriage return: a line end everywhere */
xmpp_stream_error xmpp_xml_check_chars(slice s, unsigned *out_space);
/* Unescapes a run of character data, of an attribute value (attr true), or of text with CDATA sections, into out, which has room for
 * s.len bytes; *out_len <= s.len. NOT_WELL_FORMED, or RESTRICTED_XML for an entity that is not one of the five. */
xmpp_stream_error xmpp_xml_unescape(slice s, bool attr, uint8_t *out, size_t *out_len);

#endif
