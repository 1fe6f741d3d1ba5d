#ifndef MAIN_RENDER_H
#define MAIN_RENDER_H
/* render: answers for people. A list of maps is a table (the union of the maps' members, in order; numbers to the right), a map is a line a
 * member, a list a line an item. The unit is in a member's name (CONVENTIONS.md rule 6), so it is from there: bytes, usec, sec, percent.
 * (mono_usec is no length of time but a clock's reading, and stays a number.) */
#include <jansson.h>
#include <stddef.h>
#include <stdio.h>

#define MAIN_NUMBER_MAX 32
/* v NULL: nothing is printed, as for null. Names that users chose are shown with what could move the cursor as \xNN. */
void main_render(const json_t *v, FILE *to);
/* A number with the unit that its name ends in, as people read it ("1.5 MiB", "12.0 ms", "3 h 02 min"). */
void main_render_number(const char *name, double value, char out[MAIN_NUMBER_MAX]);
/* How many columns a terminal shows s in. */
size_t main_render_columns(const char *s);

#endif
