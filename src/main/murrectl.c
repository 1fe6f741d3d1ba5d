/* murrectl: the operator's tool. It asks the server which verbs there are (module, function, arity, usage), finds the one that the command
 * line names, sends it over the Unix socket and prints the answer for people (render.h), or as it came with --json; without a command it is
 * a shell (console.h). What goes wrong on this side of the socket is told in the same form. Exit status as in sysexits(3). Passwords are
 * read from a terminal without echo, from standard input or from a file; never from the command line. */
#include "main/command.h"
#include "main/console.h"

#include <locale.h>
#include <sysexits.h>

int main(int argc, char **argv) {
    const main_ask defaults = {.socket = MAIN_DEFAULT_SOCKET, .timeout_msec = -1};
    main_command c;
    int status = EX_USAGE;
    (void)setlocale(LC_CTYPE, ""); /* for the width of what a terminal shows; without it each character has one column */
    if (argc < 1 || !main_command_parse(&c, &defaults, argv + 1, argc - 1, &status)) return status;
    return c.n ? main_command_run(&c) : main_console(&c.ask);
}
