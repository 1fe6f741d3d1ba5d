#ifndef MAIN_COMPLETE_H
#define MAIN_COMPLETE_H
/* complete: what may stand at a place of a command line. Nothing is written down twice: names and arguments come from the usages of the
 * server's verbs and of murrectl's own commands, what stands for an argument (JID, PID, NAME, CLASS) from the running server. */
#include "main/ask.h"

#define MAIN_CANDIDATES_MAX 500u
/* What may stand in place of words[n - 1], which may be empty: an array of strings, sorted, each once; at most MAIN_CANDIDATES_MAX. n > 0.
 * Without a server only what murrectl itself knows. Nothing is told of what goes wrong, and no answer is waited for longer than a second.
 */
NODISCARD json_t *main_complete_words(const main_ask *o, char *const *words, int n);
/* The command: prints them; words[0] is its name. */
int main_complete(const main_ask *o, char **words, int n);

#endif
