#ifndef MAIN_LINE_H
#define MAIN_LINE_H
/* line: a line of the shell (console.h) as words, and whether the history may have it. */
#include <stdbool.h>
#include <stddef.h>

/* Splits a line into words, in place: at white space, but not within '...' and "..." or after a backslash; # at the start of a word ends
 * the line. *out_last is where in the line as it was the word begins that its end belongs to; the line's length if a new word begins there.
 * Returns the number of words, or -1: a quote or a backslash is not closed, or -2: more than max words. */
int main_line_split(char *line, char **words, int max, size_t *out_last);
/* False for what the history must not have: a line that may hold a password (user add or user passwd with more than the JID), one that
 * begins with a space, as in other shells, and one that is none. */
bool main_line_may_be_kept(const char *line);

#endif
