/* follow: see follow.h. Each line is written out at once: who reads it wants to see it now. */
#include "main/follow.h"

#include "base/utf8.h"

#include <stdio.h>
#include <sysexits.h>

#define TEXT_SHOWN 512

/* What a line begins with; the rest is name=value. */
static bool leads(const char *name) {
    static const char *const first[] = {"time", "level", "event", "at_usec", "lost"};
    for (size_t i = 0; i < ARRAY_LEN(first); i++)
        if (strcmp(first[i], name) == 0) return true;
    return false;
}

static void print_member(const char *name, const json_t *v) {
    char text[TEXT_SHOWN];
    if (json_is_integer(v)) {
        (void)printf(" %s=%lld", name, (long long)json_integer_value(v));
    } else if (json_is_string(v)) {
        (void)utf8_escape(slice_str(json_string_value(v)), text, sizeof text); /* a peer may have chosen it */
        bool plain = strcmp(name, "text") != 0;
        (void)printf(plain ? " %s=%s" : " %s=\"%s\"", name, text);
    }
}

/* One event: its time, level and name, then what else is known of it. */
static void print_frame(const json_t *frame) {
    json_int_t lost = main_ask_int(frame, "lost");
    const char *name;
    json_t *v;
    if (lost > 0) (void)printf("(%lld events were lost here)\n", (long long)lost);
    if (!*main_ask_text(frame, "event")) return;
    (void)printf("%s %s %s", main_ask_text(frame, "time"), main_ask_text(frame, "level"), main_ask_text(frame, "event"));
    json_object_foreach((json_t *)(uintptr_t)frame, name, v) if (!leads(name)) print_member(name, v);
    (void)putchar('\n');
}

int main_follow_end(const main_ask *o, main_next how) {
    if (how == MAIN_NEXT_END) return main_complain(o, MAIN_CUT_SHORT, "the server has ended, or was too slow to be followed");
    return how == MAIN_NEXT_LEFT ? EX_IOERR : EX_OK;
}

int main_follow_frames(const main_ask *o, const json_t *answer, int fd) {
    json_t *frame;
    main_next how;
    if (o->json) {
        (void)json_dumpf(answer, stdout, JSON_COMPACT);
        (void)putchar('\n');
    } else {
        size_t n = json_array_size(json_object_get(json_object_get(answer, "result"), "events"));
        if (n) (void)fprintf(stderr, "murrectl: %zu kinds of events are followed; Ctrl-C ends it\n", n);
    }
    (void)fflush(stdout);
    while ((how = main_ask_next(o, fd, -1, &frame)) == MAIN_NEXT_FRAME || how == MAIN_NEXT_LATE) {
        if (how == MAIN_NEXT_LATE) continue; /* a signal */
        if (o->json) {
            (void)json_dumpf(frame, stdout, JSON_COMPACT);
            (void)putchar('\n');
        } else {
            print_frame(frame);
        }
        json_decref(frame);
        if (fflush(stdout) != 0) return EX_IOERR;
    }
    return main_follow_end(o, how);
}
