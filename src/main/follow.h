#ifndef MAIN_FOLLOW_H
#define MAIN_FOLLOW_H
/* follow: answers of the server that go on (rt/ctl.h, frames), shown as they come: an event a line. */
#include "main/ask.h"

/* Shows what follows an answer, until the server or the reader of our output has gone. With --json the answer first, then a frame a line.
 * Returns the exit status. */
int main_follow_frames(const main_ask *o, const json_t *answer, int fd);
/* How it ended, as an exit status; told. */
int main_follow_end(const main_ask *o, main_next how);

#endif
