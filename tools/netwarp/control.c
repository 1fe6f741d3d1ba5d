/* control: see control.h. */
#include "control.h"

#include "base/mem.h"
#include "lang.h"

#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define READ_ROUNDS 16

typedef struct client {
    list node;
    control *c;
    loop_io io;
    buf in, out;
    bool watches, over;
    bool blocked;   /* it does not read as fast as there is to say; EPOLLOUT is watched too */
    loop_job write; /* answers and what it watches go out at the end of the round */
} client;

static void rewatch(control *c);

static void client_end(client *cl) {
    control *c = cl->c;
    loop_unwatch(&c->r->loop, &cl->io);
    close(cl->io.fd);
    cl->io.fd = -1;
    cl->over = true;
    list_remove(&cl->node);
    c->count--;
    rewatch(c);
    loop_later(&c->r->loop, &cl->write); /* which frees it */
}

static void flush(client *cl) {
    while (cl->out.len > 0) {
        ssize_t n = send(cl->io.fd, cl->out.p, cl->out.len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
        if (n <= 0) {
            client_end(cl);
            return;
        }
        buf_consume(&cl->out, (size_t)n);
    }
    if (cl->blocked == (cl->out.len > 0)) return;
    cl->blocked = cl->out.len > 0;
    loop_rewatch(&cl->c->r->loop, &cl->io, cl->blocked ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void write_job(loop_job *j) {
    client *cl = container_of(j, client, write);
    if (!cl->over && !buf_ok(&cl->out))
        client_end(cl); /* it does not read */
    else if (!cl->over)
        flush(cl);
    else {
        buf_fini(&cl->in);
        buf_fini(&cl->out);
        mem_free(cl);
    }
}

static void on_line(void *arg, slice line) {
    control *c = arg;
    for (list *n = list_first(&c->clients); n; n = list_next(&c->clients, n)) {
        client *cl = container_of(n, client, node);
        if (!cl->watches) continue;
        buf_add(&cl->out, line);
        loop_later(&c->r->loop, &cl->write);
    }
}

/* The trace calls only while somebody watches. */
static void rewatch(control *c) {
    bool any = false;
    for (list *n = list_first(&c->clients); n; n = list_next(&c->clients, n)) any = any || container_of(n, client, node)->watches;
    c->r->trace.watch = any ? on_line : NULL;
    c->r->trace.watch_arg = c;
}

static void statement(client *cl, slice text) {
    stmt s;
    char why[LANG_WHY_MAX] = "";
    err e = lang_parse(text, &s, why);
    if (!e && s.act.verb == VERB_STATS)
        relay_stats(cl->c->r, &cl->out);
    else if (!e && s.act.verb == VERB_CONNS)
        relay_conns(cl->c->r, &cl->out);
    else if (!e && s.act.verb == VERB_WATCH) {
        cl->watches = true;
        rewatch(cl->c);
        buf_add_str(&cl->out, "ok");
    } else {
        if (!e) e = plan_add(cl->c->r, &s, why);
        if (e)
            buf_addf(&cl->out, "error: %s", why);
        else
            buf_add_str(&cl->out, "ok");
    }
    buf_add_str(&cl->out, "\n");
}

static void lines(client *cl) {
    for (;;) {
        size_t n = slice_find(buf_slice(&cl->in), '\n');
        if (n == cl->in.len) break;
        slice line = slice_sub(buf_slice(&cl->in), 0, n), text;
        unsigned number = 0;
        while (lang_next(&line, &text, &number)) statement(cl, text);
        buf_consume(&cl->in, n + 1);
    }
    loop_later(&cl->c->r->loop, &cl->write);
}

static void on_client(loop_io *io, uint32_t events) {
    client *cl = container_of(io, client, io);
    if (events & EPOLLOUT) flush(cl);
    for (int i = 0; i < READ_ROUNDS && !cl->over; i++) {
        uint8_t *p = buf_reserve(&cl->in, 4096);
        ssize_t n = p ? recv(io->fd, p, 4096, MSG_DONTWAIT) : 0; /* a line without end ends the client */
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
        if (n <= 0) {
            if (!cl->over) client_end(cl);
            return;
        }
        buf_added(&cl->in, (size_t)n);
        lines(cl);
    }
}

static void on_accept(loop_io *io, uint32_t events) {
    control *c = container_of(io, control, io);
    (void)events; /* it is watched for one thing */
    int fd = accept4(io->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    if (c->count == CONTROL_MAX) {
        close(fd);
        return;
    }
    client *cl = mem_zalloc(sizeof *cl);
    cl->c = c;
    cl->io = (loop_io){fd, on_client};
    cl->write.fn = write_job;
    buf_init(&cl->in, CONTROL_LINE_MAX);
    buf_init(&cl->out, CONTROL_OUT_MAX);
    list_push_back(&c->clients, &cl->node);
    c->count++;
    if (loop_watch(&c->r->loop, &cl->io, EPOLLIN)) client_end(cl);
}

void control_init(control *c, relay *r) {
    *c = (control){.r = r, .io = {-1, on_accept}};
    list_init(&c->clients);
}

/* True if the path is a socket that nobody serves. */
static bool abandoned(const struct sockaddr_un *a) {
    struct stat st;
    if (lstat(a->sun_path, &st) || !S_ISSOCK(st.st_mode)) return false;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool dead = fd >= 0 && connect(fd, (const struct sockaddr *)a, sizeof *a) && errno == ECONNREFUSED;
    if (fd >= 0) close(fd);
    return dead;
}

err control_start(control *c, const char *path, char why[NET_TEXT]) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof a.sun_path) {
        (void)snprintf(why, NET_TEXT, "the path of the control socket has 1 to %zu bytes", sizeof a.sun_path - 1);
        return ERR_INVALID;
    }
    memcpy(a.sun_path, path, len);
    c->io.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->io.fd >= 0 && abandoned(&a)) (void)unlink(path); /* if it stays, bind says so */
    mode_t old = umask(0177);
    bool ok = c->io.fd >= 0 && bind(c->io.fd, (const struct sockaddr *)&a, sizeof a) == 0;
    (void)umask(old); /* it cannot fail */
    if (ok) memcpy(c->path, path, len + 1);
    if (ok && listen(c->io.fd, CONTROL_MAX) == 0 && loop_watch(&c->r->loop, &c->io, EPOLLIN) == ERR_OK) return ERR_OK;
    (void)snprintf(why, NET_TEXT, "cannot make the control socket: %s", strerror(errno));
    return ERR_IO;
}

void control_fini(control *c) {
    for (list *n; (n = list_first(&c->clients));) client_end(container_of(n, client, node));
    if (c->io.fd >= 0) {
        loop_unwatch(&c->r->loop, &c->io);
        close(c->io.fd);
        c->io.fd = -1;
    }
    if (c->path[0]) (void)unlink(c->path); /* somebody may have removed it */
}
