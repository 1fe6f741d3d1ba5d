#ifndef RT_MSG_H
#define RT_MSG_H
/* msg: what actors send. One block: a 32-byte header and the payload struct. Sending transfers ownership; the runtime releases what the
 * receiver did not keep, with everything its fields own.
 *
 * A message is declared once, in a layer's .def file:
 *
 *     #define SVC_PING_FIELDS(F) F(U32, ticket, "echoed in the reply") F(BLOB, body, "anything")
 *     MSG(SVC_PING, svc_ping, "asks a partition whether it is there")
 *
 * and RT_MSG_DECLARE-ing that file (see the end) makes the struct svc_ping, the tag, svc_ping_new(), the field table (from which printing,
 * release and encoding to other nodes are derived) and its documentation. */
#include "base/slice.h"
#include "base/time.h"

typedef struct rt_ctx rt_ctx;
typedef struct rt_node rt_node;

/* pid: names an actor for ever; never reused within a node's life for another actor. node 0 is this node; any other is one that the mesh
 * has numbered, in one of its lives (its creation). */
typedef struct rt_pid {
    uint32_t node; /* index of a node; 0: here */
    uint32_t slot; /* shard << 24 | index; elsewhere the id that its node gave */
    uint32_t gen;  /* generation of the slot; here 0 only in RT_PID_NONE; elsewhere the serial that its node gave, and may be 0 */
} rt_pid;
#define RT_PID_NONE ((rt_pid){0, 0, 0})
static inline bool rt_pid_eq(rt_pid a, rt_pid b) { return a.node == b.node && a.slot == b.slot && a.gen == b.gen; }
static inline bool rt_pid_ok(rt_pid p) { return (p.gen | p.node) != 0; }
static inline unsigned rt_pid_shard(rt_pid p) { return p.slot >> 24; }
#define RT_PID_TEXT 40
void rt_pid_format(rt_pid p, char *out); /* "<0.1.2345.7>": node.shard.index.generation; "<3.91.0>" of another node: node.id.serial */
NODISCARD bool rt_pid_parse(slice text, rt_pid *out);

typedef struct rt_msg rt_msg;
struct rt_msg {
    rt_msg *next;       /* in a mailbox or ring */
    uint16_t tag;       /* RT_MSG_REFUSED | tag */
    uint8_t size_class; /* of its block */
    uint8_t home;       /* shard whose slab it came from; RT_HOME_HEAP */
    uint32_t deadline;  /* milliseconds since the node started, 0: none; tested when it is taken out */
    rt_pid sender;      /* RT_PID_NONE from outside */
    uint32_t trace;     /* trace id, handed on to what is sent while handling it; 0: none */
};
_Static_assert(sizeof(rt_msg) == 32, "message header");
#define RT_HOME_HEAP   255
#define RT_MSG_REFUSED 0x8000u /* comes back to its sender because the receiver's mailbox was full (policy refuse) */
#define RT_TAG(m)      ((uint16_t)((m)->tag & 0x0fffu))
static inline void *rt_msg_payload(rt_msg *m) { return m + 1; }

/* blob: immutable shared bytes with an atomic count. */
typedef struct rt_blob {
    _Atomic uint32_t refs; /* unref is acq_rel, pairs with itself: the last one frees */
    uint32_t len;
    uint8_t data[];
} rt_blob;
rt_blob *rt_blob_new(slice s);
rt_blob *rt_blob_alloc(size_t len);          /* to be filled before it is shared */
rt_blob *rt_blob_of(uint8_t *p, size_t len); /* takes a block of mem_alloc's; the len bytes follow on the first sizeof(rt_blob) */
rt_blob *rt_blob_ref(rt_blob *b);            /* NULL is fine */
void rt_blob_unref(rt_blob *b);              /* NULL is fine */
static inline slice rt_blob_slice(const rt_blob *b) { return b ? slice_of(b->data, b->len) : SLICE_NULL; }

/* box: an owned object in a message that cannot leave the node. */
typedef struct rt_box rt_box;
struct rt_box {
    void (*free)(rt_box *b); /* called when the message is dropped with the box still in it */
};

/* --- field kinds -------------------------------------------------------------------------------------------------------------- */
typedef enum rt_kind { RT_K_U8, RT_K_U16, RT_K_U32, RT_K_U64, RT_K_I64, RT_K_BOOL, RT_K_ERR, RT_K_PID, RT_K_BLOB, RT_K_BOX } rt_kind;
#define RT_C_U8   uint8_t
#define RT_C_U16  uint16_t
#define RT_C_U32  uint32_t
#define RT_C_U64  uint64_t
#define RT_C_I64  int64_t
#define RT_C_BOOL bool
#define RT_C_ERR  err
#define RT_C_PID  rt_pid
#define RT_C_BLOB rt_blob *
#define RT_C_BOX  rt_box *

typedef struct rt_field {
    const char *name;
    const char *doc;
    rt_kind kind;
} rt_field; /* offsets follow from the kinds: natural alignment, in order */
typedef struct rt_msg_desc {
    uint16_t tag;
    uint16_t size; /* of the payload */
    const char *name;
    const char *doc;
    const rt_field *fields;
    size_t n_fields;
    bool owns; /* has a BLOB or BOX field */
} rt_msg_desc;

/* Tag ranges: a layer's first tag. */
#define RT_TAG_RT    0x0001
#define RT_TAG_STORE 0x0100
#define RT_TAG_SVC   0x0200
#define RT_TAG_EDGE  0x0300
#define RT_TAG_MESH  0x0400
#define RT_TAG_TEST  0x0f00
#define RT_TAG_MAX   0x1000

/* A zeroed message. size: of the payload. From outside the shards: rt_msg_new_ext. Never NULL. */
rt_msg *rt_msg_new(rt_ctx *cx, uint16_t tag, size_t size);
rt_msg *rt_msg_new_ext(uint16_t tag, size_t size);
/* Releases a message that is not sent, with what it owns; *m becomes NULL; NULL is fine. node knows the descriptors. */
void rt_msg_drop(rt_node *n, rt_msg **m);
/* One line: name{field=value, ...}, at most max bytes with the NUL. For people: foreign bytes are escaped. */
size_t rt_msg_print(rt_node *n, const rt_msg *m, char *out, size_t max);

/* --- declaring ------------------------------------------------------------------------------------------------------------------
 * In a header:   #define MSG RT_MSG_DECLARE  /  #include "x/x.def"  /  #undef MSG
 *                enum { X_FIRST_ = RT_TAG_X - 1,  #define MSG(T, n, d) T,  #include "x/x.def" ... };
 * In one .c:     #define MSG RT_MSG_FIELDS  /  #include "x/x.def"  /  #undef MSG
 *                const rt_msg_desc x_msgs[] = {  #define MSG RT_MSG_DESC  ... include ... };   See rt/rt_msgs.h, rt/rt_msgs.c. */
#define RT_FIELD_MEMBER_(KIND, fname, fdoc) RT_C_##KIND fname;
#define RT_MSG_DECLARE(TAG, name, doc)                                                                                                     \
    typedef struct name {                                                                                                                  \
        TAG##_FIELDS(RT_FIELD_MEMBER_)                                                                                                     \
    } name;                                                                                                                                \
    static inline name *name##_of(rt_msg *m) { return rt_msg_payload(m); }
#define RT_FIELD_OWNS_(KIND, fname, fdoc)  || RT_K_##KIND == RT_K_BLOB || RT_K_##KIND == RT_K_BOX
#define RT_FIELD_ENTRY_(KIND, fname, fdoc) {#fname, fdoc, RT_K_##KIND},
#define RT_MSG_FIELDS(TAG, sname, sdoc)    static const rt_field sname##_fields_[] = {TAG##_FIELDS(RT_FIELD_ENTRY_)};
#define RT_MSG_DESC(TAG, sname, sdoc)                                                                                                      \
    {TAG, sizeof(sname), #sname, sdoc, sname##_fields_, ARRAY_LEN(sname##_fields_), (false TAG##_FIELDS(RT_FIELD_OWNS_))},

#endif
