/* msg: blocks, blobs, pids and what follows from a message's field table: release, offsets, printing.
 *
 * A message from a shard is a slab block of that shard; one from outside is a heap block. Where it is freed decides how it gets home:
 *
 *     on its own shard     -> free list                         rt_msg_release
 *     on another shard     -> chain -> reverse ring -> home     rt_msg_release, ring.c
 *     anywhere, no context -> stack of its slab                 rt_msg_drop, slab.c
 *
 * Invariants: (1) a field of kind BLOB or BOX that is not NULL is owned by the message; who takes it sets it to NULL; (2) the refused mark
 * and the travel bits never change which descriptor describes the payload; (3) a message whose tag has no descriptor owns nothing. */
#include "base/buf.h"
#include "base/codec.h"
#include "base/mem.h"
#include "rt/core.h"

#include <inttypes.h>
#include <stdio.h>

#define MSG_TAG_MASK  0x0fffu
#define MSG_BLOCK_MIN (sizeof(rt_msg) + sizeof(rt_msg *)) /* a chain on its way home keeps its end in the payload (ring.c) */

/* --- pids ------------------------------------------------------------------------------------------------------------------------ */
void rt_pid_format(rt_pid p, char *out) {
    if (p.node)
        (void)snprintf(out, RT_PID_TEXT, "<%" PRIu32 ".%" PRIu32 ".%" PRIu32 ">", p.node, p.slot, p.gen);
    else
        (void)snprintf(out, RT_PID_TEXT, "<0.%u.%" PRIu32 ".%" PRIu32 ">", rt_pid_shard(p), rt_slot_index(p.slot), p.gen);
}

bool rt_pid_parse(slice text, rt_pid *out) {
    uint64_t part[4] = {0};
    if (text.len < 2 || text.p[0] != '<' || text.p[text.len - 1] != '>') return false;
    slice s = slice_sub(text, 1, text.len - 2);
    size_t n = 0;
    for (bool more = true; more; n++) {
        size_t end = slice_find(s, '.');
        if (n == ARRAY_LEN(part) || dec_parse_u64(slice_sub(s, 0, end), UINT32_MAX, &part[n]) != ERR_OK) return false;
        more = end < s.len;
        s = slice_from(s, end + 1);
    }
    if (n != (part[0] ? 3 : 4) || (!part[0] && (part[1] > 255 || part[2] > 0xffffff))) return false;
    *out = part[0] ? (rt_pid){(uint32_t)part[0], (uint32_t)part[1], (uint32_t)part[2]}
                   : (rt_pid){0, (uint32_t)(part[1] << 24 | part[2]), (uint32_t)part[3]};
    return rt_pid_ok(*out);
}

/* --- blobs ----------------------------------------------------------------------------------------------------------------------- */
rt_blob *rt_blob_of(uint8_t *p, size_t len) {
    rt_blob *b = (rt_blob *)(void *)p;
    atomic_init(&b->refs, 1);
    b->len = (uint32_t)len;
    return b;
}

rt_blob *rt_blob_alloc(size_t len) { return rt_blob_of(mem_alloc(sizeof(rt_blob) + len), len); }

rt_blob *rt_blob_new(slice s) {
    rt_blob *b = rt_blob_alloc(s.len);
    if (s.len) memcpy(b->data, s.p, s.len);
    return b;
}

rt_blob *rt_blob_ref(rt_blob *b) {
    /* relaxed: whoever adds a reference holds one already, so nothing has to be seen. */
    if (b) (void)atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    return b;
}

void rt_blob_unref(rt_blob *b) {
    /* acq_rel: partner is itself; the last one sees every other thread's use before it frees. */
    if (b && atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) == 1) mem_free(b);
}

/* --- blocks ---------------------------------------------------------------------------------------------------------------------- */
rt_msg *rt_msg_new(rt_ctx *cx, uint16_t tag, size_t size) {
    rt_shard *sh = cx->sh;
    size_t whole = sizeof(rt_msg) + size;
    if (UNLIKELY(whole > RT_SLAB_MAX)) return rt_msg_new_ext(tag, size);
    unsigned c = rt_slab_class(whole < MSG_BLOCK_MIN ? MSG_BLOCK_MIN : whole);
    rt_msg *m = rt_slab_alloc(&sh->slab, c);
    *m = (rt_msg){.tag = tag, .size_class = (uint8_t)c, .home = (uint8_t)sh->id};
    memset(m + 1, 0, size);
    return m;
}

#define MSG_CLASS_BIG 255u /* size_class of a heap block larger than any slab class */
rt_msg *rt_msg_new_ext(uint16_t tag, size_t size) {
    size_t whole = sizeof(rt_msg) + size;
    rt_msg *m = mem_zalloc(whole);
    m->tag = tag;
    m->size_class = whole > RT_SLAB_MAX ? MSG_CLASS_BIG : (uint8_t)rt_slab_class(whole);
    m->home = RT_HOME_HEAP;
    return m;
}

uint32_t rt_msg_bytes(const rt_node *n, const rt_msg *m) {
    if (LIKELY(m->size_class < RT_SLAB_CLASSES)) return rt_slab_sizes[m->size_class] - (uint32_t)sizeof(rt_msg);
    const rt_msg_desc *d = rt_node_desc(n, m->tag);
    return d ? d->size : RT_SLAB_MAX;
}

void rt_msg_free_block(rt_shard *sh, rt_msg *m) {
    if (LIKELY(m->home == sh->id))
        rt_slab_free(&sh->slab, m->size_class, m);
    else if (m->home == RT_HOME_HEAP)
        mem_free(m);
    else
        rt_out_home(sh, m);
}

static size_t kind_size(rt_kind k) {
    switch (k) {
    case RT_K_U8: return sizeof(uint8_t);
    case RT_K_U16: return sizeof(uint16_t);
    case RT_K_U32: return sizeof(uint32_t);
    case RT_K_U64: return sizeof(uint64_t);
    case RT_K_I64: return sizeof(int64_t);
    case RT_K_BOOL: return sizeof(bool);
    case RT_K_ERR: return sizeof(err);
    case RT_K_PID: return sizeof(rt_pid);
    case RT_K_BLOB: return sizeof(rt_blob *);
    case RT_K_BOX: return sizeof(rt_box *);
    }
    return 0;
}

static size_t kind_align(rt_kind k) { return k == RT_K_PID ? _Alignof(rt_pid) : kind_size(k); }

static size_t next_offset(size_t at, rt_kind k) {
    size_t align = kind_align(k); /* a power of two: this is done for every field of every message, and dividing takes ten times as long */
    return (at + align - 1) & ~(align - 1);
}

uint64_t rt_msg_blobs(const rt_node *n, const rt_msg *m) {
    const rt_msg_desc *d = rt_node_desc(n, m->tag);
    if (!d || !d->owns) return 0;
    const uint8_t *p = (const uint8_t *)(m + 1);
    uint64_t sum = 0;
    size_t at = 0;
    for (size_t i = 0; i < d->n_fields; i++) {
        rt_kind k = d->fields[i].kind;
        at = next_offset(at, k);
        if (k == RT_K_BLOB) {
            const rt_blob *b;
            memcpy(&b, p + at, sizeof b);
            sum += b ? b->len : 0;
        }
        at += kind_size(k);
    }
    return sum;
}

static void release_fields(const rt_msg_desc *d, rt_msg *m) {
    uint8_t *p = rt_msg_payload(m);
    size_t at = 0;
    for (size_t i = 0; i < d->n_fields; i++) {
        rt_kind k = d->fields[i].kind;
        at = next_offset(at, k);
        if (k == RT_K_BLOB) {
            rt_blob *b;
            memcpy(&b, p + at, sizeof b);
            rt_blob_unref(b);
        } else if (k == RT_K_BOX) {
            rt_box *b;
            memcpy(&b, p + at, sizeof b);
            if (b) b->free(b);
        }
        at += kind_size(k);
    }
}

void rt_msg_release(rt_shard *sh, rt_msg *m) {
    const rt_msg_desc *d = rt_node_desc(sh->node, m->tag);
    if (d && d->owns) release_fields(d, m);
    rt_msg_free_block(sh, m);
}

void rt_msg_drop(rt_node *n, rt_msg **mp) {
    rt_msg *m = *mp;
    *mp = NULL;
    if (!m) return;
    const rt_msg_desc *d = rt_node_desc(n, m->tag);
    if (d && d->owns) release_fields(d, m);
    if (m->home == RT_HOME_HEAP)
        mem_free(m);
    else
        rt_slab_return(&n->shards[m->home].slab, m); /* the caller may be on any thread */
}

/* --- printing -------------------------------------------------------------------------------------------------------------------- */
static void print_bytes(buf *b, slice s) {
    buf_add_byte(b, '"');
    for (size_t i = 0; i < s.len && buf_ok(b); i++) {
        uint8_t c = s.p[i];
        if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\')
            buf_add_byte(b, c);
        else
            buf_addf(b, "\\x%02x", c);
    }
    buf_add_byte(b, '"');
}

static void print_field(buf *b, rt_kind k, const uint8_t *p) {
    uint64_t u = 0;
    int64_t i;
    err e;
    rt_pid pid;
    rt_blob *blob;
    rt_box *box;
    char text[RT_PID_TEXT];
    switch (k) {
    case RT_K_U8:
    case RT_K_U16:
    case RT_K_U32:
    case RT_K_U64:
    case RT_K_BOOL:
        for (size_t n = kind_size(k); n > 0; n--) u = u << 8 | p[n - 1]; /* little-endian, as every machine that we build for */
        buf_addf(b, "%" PRIu64, u);
        break;
    case RT_K_I64:
        memcpy(&i, p, sizeof i);
        buf_addf(b, "%" PRId64, i);
        break;
    case RT_K_ERR:
        memcpy(&e, p, sizeof e);
        buf_add_str(b, err_name(e));
        break;
    case RT_K_PID:
        memcpy(&pid, p, sizeof pid);
        rt_pid_format(pid, text);
        buf_add_str(b, text);
        break;
    case RT_K_BLOB:
        memcpy(&blob, p, sizeof blob);
        if (blob)
            print_bytes(b, rt_blob_slice(blob));
        else
            buf_add_str(b, "null");
        break;
    case RT_K_BOX:
        memcpy(&box, p, sizeof box);
        buf_add_str(b, box ? "box" : "null");
        break;
    }
}

size_t rt_msg_print(rt_node *n, const rt_msg *m, char *out, size_t max) {
    if (max == 0) return 0;
    const rt_msg_desc *d = rt_node_desc(n, m->tag);
    buf b;
    buf_init(&b, 1u << 20);
    if (m->tag & RT_MSG_REFUSED) buf_add_str(&b, "refused ");
    if (d)
        buf_add_str(&b, d->name);
    else
        buf_addf(&b, "tag_%x", m->tag & MSG_TAG_MASK);
    buf_add_byte(&b, '{');
    const uint8_t *p = (const uint8_t *)(m + 1);
    for (size_t i = 0, at = 0; d && i < d->n_fields && b.len < max; i++) {
        at = next_offset(at, d->fields[i].kind);
        buf_addf(&b, "%s%s=", i ? ", " : "", d->fields[i].name);
        print_field(&b, d->fields[i].kind, p + at);
        at += kind_size(d->fields[i].kind);
    }
    buf_add_byte(&b, '}');
    size_t len = b.len < max ? b.len : max - 1;
    memcpy(out, b.p, len);
    out[len] = 0;
    buf_fini(&b);
    return len;
}
