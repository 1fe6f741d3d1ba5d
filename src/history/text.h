#ifndef HISTORY_TEXT_H
#define HISTORY_TEXT_H
/* text: a chat history (chat.h) as lines, each one flat JSON object; docs/history.md is the format. Line n is record n - 1. */
#include "base/buf.h"
#include "history/chat.h"

#include <stdio.h>

#define HISTORY_TEXT_LINE_MAX 65536u /* bytes, without its end */

typedef struct history_text history_text;

history_text *history_text_new(void);
void history_text_free(history_text *t);
/* One line, without its end. ERR_INVALID: it is no line of a history; ERR_LIMIT: too long, or too many clients. history_text_why says what
 * is wrong, and the line is not part of the history. */
NODISCARD err history_text_add(history_text *t, slice line);
/* All lines of f, to its end; the last one, too, ends with '\n'. Errors as above, at the first wrong line; ERR_IO: f cannot be read. */
NODISCARD err history_text_read(history_text *t, FILE *f);
const char *history_text_why(const history_text *t); /* "line 7: ..." after an error */
const history_chat *history_text_chat(const history_text *t);

/* Appends the line of record i, with its '\n', to out: read back, it is judged as the record was. Hashes stand for texts, "CLIENT #7" for
 * the ids of messages that have none. */
void history_text_write(buf *out, const history_chat *h, size_t i);

#endif
