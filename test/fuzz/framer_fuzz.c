/* framer_fuzz: the first byte says where the input is cut. Oracle: the same units as in one piece (white space apart), and every whole
 * stanza that the framer finds is either refused by the tokenizer or read to its end. */
#include "base/buf.h"
#include "proto/xmpp/framer.h"
#include "proto/xmpp/xml.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX 4096

static void run(buf *log, slice in, bool open, size_t step) {
    xmpp_framer f;
    xmpp_framer_init(&f, open);
    size_t have = step < in.len ? step : in.len, at = 0;
    for (;;) {
        size_t len = 0;
        xmpp_stream_error e = STREAM_OK;
        xmpp_unit u = xmpp_framer_next(&f, slice_sub(in, at, have - at), MAX, XMPP_XML_DEPTH_MAX, &len, &e);
        if (e != STREAM_OK) {
            buf_addf(log, "E%d", e);
            return;
        }
        if (len > have - at || (u == XMPP_UNIT_NONE) != (len == 0)) abort();
        if (u != XMPP_UNIT_NONE) {
            if (u != XMPP_UNIT_SPACE) buf_addf(log, "%d@%zu+%zu ", u, at, len);
            at += len;
        } else if (have < in.len) {
            have = have + step < in.len ? have + step : in.len;
        } else {
            return;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    slice in = slice_of(data + 1, size - 1);
    buf whole, cut;
    buf_init(&whole, 1 << 20);
    buf_init(&cut, 1 << 20);
    run(&whole, in, data[0] & 1, size);
    run(&cut, in, data[0] & 1, 1 + (size_t)(data[0] >> 1));
    if (!slice_eq(buf_slice(&whole), buf_slice(&cut))) abort();
    buf_fini(&whole);
    buf_fini(&cut);
    return 0;
}
