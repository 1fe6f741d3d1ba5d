#ifndef MAIN_CONSOLE_H
#define MAIN_CONSOLE_H
/* console: murrectl as a shell. On a terminal with line editing, history and completion; otherwise a command a line from standard input,
 * without a prompt. Each line is what could follow murrectl on a command line. */
#include "main/ask.h"

/* Until the end of input, exit or quit. On a terminal 0; otherwise the exit status of the first command that failed. */
int main_console(const main_ask *defaults);

#endif
