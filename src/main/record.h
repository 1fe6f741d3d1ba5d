#ifndef MAIN_RECORD_H
#define MAIN_RECORD_H
/* record: the flight recorder (rt/recorder.h) for people: a line an event, of the running node or of a file that one has left. */
#include "main/ask.h"

/* The command; words[0] is its name. */
int main_record(const main_ask *o, char **words, int n);

#endif
