#ifndef PROTO_DIST_CTL_TABLE_H
#define PROTO_DIST_CTL_TABLE_H
/* ctl_table: ctl.def as a table by op, for the files ctl*.c. */
#include "proto/dist/ctl.h"

typedef enum dist_payload {
    DIST_PAYLOAD_NONE,
    DIST_PAYLOAD_MESSAGE,
    DIST_PAYLOAD_REASON,
    DIST_PAYLOAD_ARGS,
    DIST_PAYLOAD_BY_FLAG
} dist_payload;
typedef enum dist_way { DIST_WAY_BOTH, DIST_WAY_READ } dist_way;
typedef struct dist_ctl_row {
    const char *name;      /* NULL: no such op */
    const char *malformed; /* the sentence */
    const char *fields;    /* letters of ctl.def */
    uint64_t needs;
    uint8_t arity; /* of the tuple */
    uint8_t signal, payload, way;
} dist_ctl_row;
extern const dist_ctl_row dist_ctl_rows[DIST_OP_MAX + 1];

/* Flags of op 37 (erl_dist_protocol, ALTACT_SIG_SEND). */
#define DIST_ALTACT_PRIO  1u
#define DIST_ALTACT_TOKEN 2u
#define DIST_ALTACT_ALIAS 4u
#define DIST_ALTACT_NAME  8u
#define DIST_ALTACT_EXIT  16u

#endif
