#ifndef MAIN_TRACE_H
#define MAIN_TRACE_H
/* trace: murrectl trace [--count N] [--seconds N] JID|PID|NAME: the steps of each request as a tree, with their times. A request is shown
 * when nothing has been heard of it for half a second; what comes later is shown under its number again. --json: the answer, then each
 * step when it comes, a line each. Ends after N seconds, or when N requests have been shown, or when the server or the reader of our
 * output has gone. Returns the exit status. */
#include "main/ask.h"

int main_trace(const main_ask *o, char **words, int n);

#endif
