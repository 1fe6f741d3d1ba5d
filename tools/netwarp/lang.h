#ifndef NETWARP_LANG_H
#define NETWARP_LANG_H
/* lang: the language of schedules and of the control socket, one statement a line (or between semicolons):
 *
 *   [at TIME | every TIME[..TIME] | after N bytes [c2s|s2c]] ACTION
 *   set [c2s|s2c|both] KEY VALUE ...     clear [DIR]
 *   cut [DIR] [conn N] [for TIME]        half-open [DIR] [conn N] [for TIME]     heal [DIR] [conn N]
 *   reset [client|server] [conn N]       flip [DIR] [conn N] [COUNT]
 *   refuse [for TIME]                    slow-accept TIME                        stats | conns | watch
 *
 * Pure: it knows no clock and no connection. */
#include "warp.h"

#define LANG_WHY_MAX 200

/* Reads one statement (no newline, no semicolon, no comment). ERR_INVALID, with a sentence in why (LANG_WHY_MAX bytes), for anything
 * that is not one; out is then untouched. */
NODISCARD err lang_parse(slice line, stmt *out, char *why);
/* Cuts the next statement off text: skips blanks, comments (# to the end of the line) and empty statements. False at the end. *line counts
 * newlines passed, so that a message can say where. */
bool lang_next(slice *text, slice *out, unsigned *line);
/* The changes of a `set` or `clear`, applied. */
void lang_apply(const action *a, warp_set *s);
/* The settings as a JSON object. */
void lang_settings_json(const warp_set *s, buf *out);
/* "250us", "50ms", "2s", "1.5s", "3m", "1h", or "0". ERR_INVALID for anything else, or beyond WARP_TIME_MAX. */
NODISCARD err lang_time(slice s, usec *out);
const char *lang_verb_name(verb v);

#endif
