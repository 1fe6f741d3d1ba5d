#ifndef MAIN_INPUT_H
#define MAIN_INPUT_H
/* input: what a verb takes beside its arguments: a password, from a terminal without echo, from standard input or from a file; or a file.
 * Each returns false after complaining. */
#include "base/buf.h"
#include "main/ask.h"

#define MAIN_PASSWORD_MAX 1024u
/* A file's bytes, or standard input's for "-". out's limit is the file's. */
NODISCARD bool main_input_file(const main_ask *o, const char *path, buf *out);
/* From o->password_file; else from standard input (all of it, or a line as o says), twice from a terminal. The caller wipes out. */
NODISCARD bool main_input_password(const main_ask *o, buf *out);

#endif
