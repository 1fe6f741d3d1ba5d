/* ask: see ask.h. Invariants: (1) every request has its own connection, so that a server that was started again is simply met again. (2) No
 * wait is longer than the caller chose. (3) SIGPIPE is never caused by the socket. */
#include "main/ask.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "rt/ctl.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

#define STATUS_INTERRUPTED 130

main_word main_ask_word(const char *typed) {
    main_word w;
    char more[MAIN_WORD_MAX + 1 + 4 * 4]; /* room for one more character, however it is shown */
    size_t n = utf8_escape(slice_str(typed), w.text, MAIN_WORD_MAX + 1);
    bool cut = utf8_escape(slice_str(typed), more, sizeof more) > n;
    (void)snprintf(w.text + n, sizeof w.text - n, "%s", cut ? "..." : "");
    return w;
}

int main_complain(const main_ask *o, main_trouble t, const char *fmt, ...) {
    static const struct {
        const char *name;
        int status;
    } kinds[] = {[MAIN_NO_SERVER] = {"unavailable", EX_UNAVAILABLE},
                 [MAIN_BAD_USAGE] = {"usage", EX_USAGE},
                 [MAIN_NO_INPUT] = {"input", EX_NOINPUT},
                 [MAIN_REFUSED] = {NULL, EX_DATAERR},
                 [MAIN_BAD_DATA] = {"data", EX_DATAERR},
                 [MAIN_CUT_SHORT] = {"io", EX_IOERR},
                 [MAIN_INTERRUPTED] = {"interrupted", STATUS_INTERRUPTED}};
    char told[MAIN_WHY_MAX], text[MAIN_WHY_MAX];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(told, sizeof told, fmt, ap);
    va_end(ap);
    (void)utf8_escape(slice_str(told), text, sizeof text); /* a path, an argument, what a server said: anything may be in it */
    if (o->why) {
        memcpy(o->why, text, sizeof text);
        return kinds[t].status;
    }
    (void)fprintf(stderr, "murrectl: %s\n", text);
    if (o->json && kinds[t].name) {
        json_t *v = json_pack("{s:b,s:s,s:s}", "ok", 0, "error", kinds[t].name, "why", text);
        (void)json_dumpf(v, stdout, JSON_COMPACT);
        json_decref(v);
        (void)putchar('\n');
    }
    return kinds[t].status;
}

/* --- the connection */
static int connect_to(const main_ask *o, int *out_status) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    size_t len = strlen(o->socket);
    if (len >= sizeof a.sun_path) {
        *out_status = main_complain(o, MAIN_NO_SERVER, "the socket path is longer than %zu bytes: %s", sizeof a.sun_path - 1, o->socket);
        return -1;
    }
    memcpy(a.sun_path, o->socket, len + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && o->timeout_msec >= 0) { /* a full backlog makes connect wait; a server that reads slowly, send */
        const struct timeval limit = {o->timeout_msec / 1000, o->timeout_msec % 1000 * 1000};
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit); /* without it we wait longer */
    }
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&a, sizeof a) == 0) return fd;
    *out_status = main_complain(o, MAIN_NO_SERVER, "no server answers on %s: %s (is it running? --socket PATH names another)", o->socket,
                                strerror(errno));
    if (fd >= 0) (void)close(fd);
    return -1;
}

static bool write_all(int fd, slice s) {
    while (s.len) {
        ssize_t n = send(fd, s.p, s.len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        s = slice_from(s, (size_t)n);
    }
    return true;
}

/* False: nothing came within the time limit. */
static bool wait_readable(const main_ask *o, int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int n;
    do n = poll(&p, 1, o->timeout_msec);
    while (n < 0 && errno == EINTR);
    return n != 0;
}

static bool read_all(const main_ask *o, int fd, uint8_t *p, size_t len, bool *out_late) {
    while (len) {
        *out_late = !wait_readable(o, fd);
        if (*out_late) return false;
        ssize_t n = read(fd, p, len);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        p += n;
        len -= (size_t)n;
    }
    return true;
}

static json_t *read_answer(const main_ask *o, int fd, bool *out_late) {
    uint8_t head[4];
    json_t *v = NULL;
    if (!read_all(o, fd, head, sizeof head, out_late)) return NULL;
    uint32_t len = (uint32_t)head[0] | (uint32_t)head[1] << 8 | (uint32_t)head[2] << 16 | (uint32_t)head[3] << 24;
    uint8_t *text = len <= RT_CTL_REPLY_MAX ? mem_alloc(len + 1) : NULL;
    if (text && read_all(o, fd, text, len, out_late)) v = json_loadb((const char *)text, len, JSON_DECODE_ANY, NULL);
    mem_free(text);
    return v;
}

static int no_answer(const main_ask *o, bool late) {
    if (late) return main_complain(o, MAIN_NO_SERVER, "the server does not answer on %s", o->socket);
    return main_complain(o, MAIN_CUT_SHORT, "the server's answer was cut short: it may have ended, or may have done what was asked");
}

json_t *main_ask_open(const main_ask *o, const slice *parts, size_t n, int *out_fd, int *out_status) {
    buf b;
    buf_init(&b, RT_CTL_REQUEST_MAX);
    buf_add_u32le(&b, 0);
    for (size_t i = 0; i < n; i++) buf_add_lslice(&b, parts[i]);
    json_t *v = NULL;
    int fd = -1;
    if (!buf_ok(&b)) {
        *out_status = main_complain(o, MAIN_NO_INPUT, "the input is larger than %u bytes", RT_CTL_REQUEST_MAX);
    } else if ((fd = connect_to(o, out_status)) >= 0) {
        bool late = false;
        uint32_t len = (uint32_t)(b.len - 4);
        for (unsigned i = 0; i < 4; i++) b.p[i] = (uint8_t)(len >> (8 * i));
        if (write_all(fd, buf_slice(&b))) v = read_answer(o, fd, &late);
        if (!v) *out_status = no_answer(o, late);
        if (!v) (void)close(fd);
    }
    if (b.p) mem_wipe(b.p, b.cap);
    buf_fini(&b);
    if (v) *out_fd = fd;
    return v;
}

main_next main_ask_next(const main_ask *o, int fd, int wait_msec, json_t **out) {
    struct pollfd p[] = {{.fd = fd, .events = POLLIN}, {.fd = STDOUT_FILENO}}; /* of a pipe: POLLERR when its reader has gone */
    bool late = false;
    int n = poll(p, ARRAY_LEN(p), wait_msec);
    if (n < 0 && errno == EINTR) return MAIN_NEXT_LATE;
    if (n > 0 && p[1].revents & POLLERR) return MAIN_NEXT_LEFT;
    if (n == 0 || !p[0].revents) return MAIN_NEXT_LATE;
    *out = read_answer(o, fd, &late);
    return *out ? MAIN_NEXT_FRAME : MAIN_NEXT_END;
}

/* --- answers */
const char *main_ask_text(const json_t *map, const char *name) {
    const char *s = json_string_value(json_object_get(map, name));
    return s ? s : "";
}

json_int_t main_ask_int(const json_t *map, const char *name) { return json_integer_value(json_object_get(map, name)); }

json_t *main_ask_verb(const main_ask *o, const char *module, const char *function, const char *arg, int *out_status) {
    const slice parts[] = {slice_str(module), slice_str(function), SLICE(""), slice_str(arg)};
    int fd;
    json_t *answer = main_ask_open(o, parts, arg ? 4 : 3, &fd, out_status), *result = NULL;
    if (answer) (void)close(fd);
    if (answer && json_is_true(json_object_get(answer, "ok"))) {
        result = json_incref(json_object_get(answer, "result"));
    } else if (answer) {
        const char *why = main_ask_text(answer, "why");
        *out_status = main_complain(o, MAIN_REFUSED, "%s", *why ? why : "this is no answer of a murre server");
        if (o->json && !o->why) (void)json_dumpf(answer, stdout, JSON_ENCODE_ANY), (void)putchar('\n');
    }
    json_decref(answer);
    return result;
}

json_t *main_ask_verbs(const main_ask *o, int *out_status) {
    json_t *verbs = main_ask_verb(o, "help", "verbs", NULL, out_status);
    if (!verbs || json_is_array(verbs)) return verbs;
    json_decref(verbs);
    *out_status = main_complain(o, MAIN_CUT_SHORT, "this is no answer of a murre server");
    return NULL;
}
