#ifndef LIB_SAY_H
#define LIB_SAY_H
/* say: what a call is answered with. Private to lib: class.c makes it of a message, say.c uses it. */
#include "lib/int.h"

typedef struct lib_call { /* murre_msg.inner of a CALL; slices of the message */
    rt_pid to;
    slice tag, alias; /* terms; alias empty: none */
} lib_call;
#endif
