#ifndef MAIN_SCRAPE_H
#define MAIN_SCRAPE_H
/* scrape: the HTTP door of the metrics: one thread beside the shards that answers GET and HEAD /metrics (RFC 9110, RFC 9112; requests are
 * parsed by http-parser). What the text says is the business of who makes it (metrics.h). */
#include "base/buf.h"
#include "rt/sys.h"

typedef enum main_scrape_status { /* of an answer */
                                  MAIN_SCRAPE_OK,
                                  MAIN_SCRAPE_BAD_REQUEST,
                                  MAIN_SCRAPE_NOT_FOUND,
                                  MAIN_SCRAPE_METHOD,
                                  MAIN_SCRAPE_TIMEOUT,
                                  MAIN_SCRAPE_BODY,
                                  MAIN_SCRAPE_HEADERS,
                                  MAIN_SCRAPE_FAILED,
                                  MAIN_SCRAPE_VERSION,
                                  MAIN_SCRAPE_STATUSES
} main_scrape_status;
unsigned main_scrape_code(main_scrape_status s); /* 200, 400 ... */

typedef struct main_scrape_stat {
    uint64_t answers[MAIN_SCRAPE_STATUSES]; /* since start */
    uint32_t clients;                       /* connections that are open now */
} main_scrape_stat;

/* Appends the text of one answer; called on the door's thread, one call at a time, and may take its time: other clients wait meanwhile. A
 * text that does not fit into out is answered with 500. */
typedef void main_scrape_text(void *arg, const main_scrape_stat *st, buf *out);

#define MAIN_SCRAPE_TEXT_MAX    (4u << 20) /* bytes of an answer's text */
#define MAIN_SCRAPE_REQUEST_MAX 8192u      /* bytes of a request: 431 past this */
#define MAIN_SCRAPE_CLIENTS_MAX                                                                                                            \
    32u /* connections at a time; one that is idle, or whose request is unfinished, makes room for a new one                               \
         */
#define MAIN_SCRAPE_REQUEST (5 * USEC_PER_SEC)   /* from the connection, or a request's first byte, to its end: 408, or closed */
#define MAIN_SCRAPE_WRITE   (10 * USEC_PER_SEC)  /* for a client to take an answer: closed */
#define MAIN_SCRAPE_IDLE    (120 * USEC_PER_SEC) /* between two requests: closed */
#define MAIN_SCRAPE_LINGER  USEC_PER_SEC         /* after the last answer: for a client to see it before it sees the end */

typedef struct main_scrape main_scrape;
/* Listens; a may have port 0: main_scrape_addr says which it is. ERR_ADDR_IN_USE, ERR_PERM, ERR_INVALID (not an address of this host),
 * ERR_FD_LIMIT. s and arg outlive it. */
NODISCARD err main_scrape_new(sys *s, const sys_addr *a, main_scrape_text *text, void *arg, main_scrape **out);
NODISCARD err main_scrape_start(main_scrape *x); /* starts the thread; once */
void main_scrape_stop(main_scrape *x);           /* ends it, dropping its clients; fine when it does not run */
void main_scrape_free(main_scrape *x);           /* stopped before; NULL is fine */
void main_scrape_addr(const main_scrape *x, sys_addr *out);

#endif
