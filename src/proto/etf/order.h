#ifndef PROTO_ETF_ORDER_H
#define PROTO_ETF_ORDER_H
/* order: the comparison behind etf_compare, etf_equal and the order of the keys in a map. Private to etf. */
#include "proto/etf/term.h"

/* exact: an integer and a float are never the same; the integer is less. */
int etf_order(const etf_term *a, const etf_term *b, bool exact);

#endif
