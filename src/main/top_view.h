#ifndef MAIN_TOP_VIEW_H
#define MAIN_TOP_VIEW_H
/* top_view: two looks at a node become lines of text: what has changed between them, a second. It calls nothing and waits for nothing. */
#include "base/buf.h"
#include "base/time.h"

#include <jansson.h>

typedef enum main_top_column {
    MAIN_TOP_CPU,
    MAIN_TOP_HANDLED,
    MAIN_TOP_QUEUED,
    MAIN_TOP_LONGEST,
    MAIN_TOP_MEMORY,
    MAIN_TOP_RELATIONS,
    MAIN_TOP_COLUMNS
} main_top_column;
/* The order in which the server is asked for actors, as `actors by` takes it, so that the first ones by this column are among them. */
const char *main_top_order(main_top_column c);

typedef struct main_top_look { /* at a node */
    json_t *load;              /* the result of "load"; NULL: there was no look yet */
    json_t *actors;            /* pid -> row of "actors"; NULL: none */
    usec actors_at;            /* when, on the client's monotonic clock */
} main_top_look;

typedef struct main_top_view {
    main_top_look now, before;
    unsigned rows, columns; /* of the screen; 0: no limit, and plain text */
    usec interval;
    main_top_column sort; /* of the actors */
    bool paused;
    const char *trouble; /* why the last look failed; "" */
    const char *typed;   /* the answer so far to "which interval?"; NULL: it is not asked */
} main_top_view;

/* Appends the lines, each with its end. For a screen each also clears the rest of its line. */
void main_top_draw(const main_top_view *v, buf *out);

#endif
