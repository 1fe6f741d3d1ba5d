/* netwarp: a relay that damages what it relays, for tests. docs/netwarp.md is its manual.
 *
 * Exit status: 0 ended by SIGTERM or SIGINT; 1 it could not listen, enter a namespace, write the trace or the like; 2 the command line or
 * a schedule is wrong. */
#include "base/codec.h"
#include "base/mem.h"
#include "control.h"
#include "lang.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define SCHEDULE_MAX (1u << 20) /* bytes of a schedule file */
#define TEXTS_MAX    64         /* --do and --schedule together */

enum { EXIT_FAILED = 1, EXIT_USAGE = 2 };

static const char USAGE[] =
    "usage: netwarp --listen ADDRESS:PORT --to ADDRESS:PORT [OPTION ...]\n"
    "  --listen A:P        where clients connect; port 0: any, which is printed\n"
    "  --to A:P            where the server is\n"
    "  --listen-ns NS      the network namespace to listen in: a name of ip-netns(8), or a path\n"
    "  --to-ns NS          the network namespace to connect in\n"
    "  --udp               datagrams instead of streams\n"
    "  --seed N            what all decisions are drawn from (1)\n"
    "  --do TEXT           statements, done or planned at the start; may be repeated\n"
    "  --schedule FILE     a file of statements; may be repeated\n"
    "  --control PATH      a Unix socket that takes statements while it runs\n"
    "  --trace FILE        every decision as a line of JSON\n"
    "  --max-conns N       connections at a time (10000); more wait\n"
    "  --idle TIME         with --udp: a flow ends when nothing came for so long (60s)\n"
    "statements: [at TIME | every TIME[..TIME] | after N bytes [c2s|s2c]] ACTION, separated by newlines or ';'\n"
    "  set [c2s|s2c|both] KEY VALUE ...    clear [DIR]    cut [DIR] [conn N] [for TIME]    half-open [DIR] [conn N] [for TIME]\n"
    "  heal [DIR] [conn N]    reset [client|server] [conn N]    flip [DIR] [conn N] [COUNT]    refuse [for TIME]    slow-accept TIME\n"
    "  keys: delay jitter spread loss rto rto-max duplicate reorder gap rate burst queue segment chunk pace flip\n";

typedef struct text {
    const char *name; /* of the file, or "--do" */
    const char *text; /* NULL: in the file */
} text;

typedef struct options {
    const char *listen, *to, *listen_ns, *to_ns, *control, *trace;
    text texts[TEXTS_MAX];
    size_t text_count;
} options;

static int usage(const char *fmt, ...) PRINTF_LIKE(1, 2);
static int usage(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    (void)fputs("netwarp: ", stderr); /* nothing can be done if this fails, here and below */
    (void)vfprintf(stderr, fmt, ap);
    (void)fputs("\n", stderr);
    va_end(ap);
    return EXIT_USAGE;
}

static int failed(const char *why) {
    (void)fprintf(stderr, "netwarp: %s\n", why);
    return EXIT_FAILED;
}

static const struct option LONG[] = {
    {"listen", required_argument, NULL, 'l'},
    {"to", required_argument, NULL, 't'},
    {"listen-ns", required_argument, NULL, 'L'},
    {"to-ns", required_argument, NULL, 'T'},
    {"udp", no_argument, NULL, 'u'},
    {"seed", required_argument, NULL, 's'},
    {"do", required_argument, NULL, 'd'},
    {"schedule", required_argument, NULL, 'f'},
    {"control", required_argument, NULL, 'c'},
    {"trace", required_argument, NULL, 'r'},
    {"max-conns", required_argument, NULL, 'm'},
    {"idle", required_argument, NULL, 'i'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

/* One option. 0, or the exit status. */
static int option(int c, relay *r, options *o) {
    slice arg = slice_str(optarg);
    switch (c) {
    case 'l': o->listen = optarg; return 0;
    case 't': o->to = optarg; return 0;
    case 'L': o->listen_ns = optarg; return 0;
    case 'T': o->to_ns = optarg; return 0;
    case 'c': o->control = optarg; return 0;
    case 'r': o->trace = optarg; return 0;
    case 'u': r->udp = true; return 0;
    case 's': return dec_parse_u64(arg, UINT64_MAX, &r->seed) ? usage("--seed: '%s' is not a number", optarg) : 0;
    case 'm':
        if (dec_parse_u64(arg, 1000000, &r->conns_max) || r->conns_max == 0) return usage("--max-conns: '%s' is not 1 to 1000000", optarg);
        return 0;
    case 'i': return lang_time(arg, &r->idle) || r->idle == 0 ? usage("--idle: '%s' is not a time such as 60s", optarg) : 0;
    case 'd':
    case 'f':
        if (o->text_count == TEXTS_MAX) return usage("--do and --schedule: more than %d", TEXTS_MAX);
        o->texts[o->text_count++] = c == 'd' ? (text){"--do", optarg} : (text){optarg, NULL};
        return 0;
    default: return usage("see netwarp --help"); /* getopt has said what is wrong */
    }
}

/* -1 to go on, or the exit status. */
static int options_parse(int argc, char **argv, relay *r, options *o) {
    for (int c; (c = getopt_long(argc, argv, "", LONG, NULL)) != -1;) {
        if (c == 'h') return fputs(USAGE, stdout) < 0 ? EXIT_FAILED : 0;
        int status = option(c, r, o);
        if (status) return status;
    }
    if (optind < argc) return usage("'%s' is not expected", argv[optind]);
    if (!o->listen || !o->to) return usage("--listen and --to are needed; see netwarp --help");
    if (net_parse(o->listen, &r->listen_at))
        return usage("--listen: '%s' is not an address such as 127.0.0.1:5222 or [::1]:5222", o->listen);
    if (net_parse(o->to, &r->to)) return usage("--to: '%s' is not an address such as 127.0.0.1:5222 or [::1]:5222", o->to);
    if (net_port(&r->to) == 0) return usage("--to: port 0 leads nowhere");
    return -1;
}

static int statements(relay *r, const char *name, slice all) {
    unsigned line = 1;
    slice one;
    for (unsigned at = line; lang_next(&all, &one, &line); at = line) {
        stmt s;
        char why[LANG_WHY_MAX] = "";
        err e = lang_parse(one, &s, why);
        if (!e) e = plan_add(r, &s, why);
        if (e) return usage("%s: line %u: " SLICE_FMT ": %s", name, at, SLICE_ARG(slice_sub(one, 0, 100)), why);
    }
    return 0;
}

static int read_text(const char *path, buf *out) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = -1;
    uint8_t *p = NULL;
    while (fd >= 0 && (p = buf_reserve(out, 65536)) && (n = read(fd, p, 65536)) > 0) buf_added(out, (size_t)n);
    int saved = errno;
    if (fd >= 0) close(fd);
    if (fd >= 0 && !p) return usage("%s: longer than %u bytes", path, SCHEDULE_MAX);
    return fd < 0 || n < 0 ? usage("%s: %s", path, strerror(saved)) : 0;
}

static int texts(relay *r, const options *o) {
    int status = 0;
    for (size_t i = 0; i < o->text_count && !status; i++) {
        const text *t = &o->texts[i];
        buf b;
        buf_init(&b, SCHEDULE_MAX + 65536);
        if (!t->text) status = read_text(t->name, &b);
        if (!status) status = statements(r, t->name, t->text ? slice_str(t->text) : buf_slice(&b));
        buf_fini(&b);
    }
    return status;
}

typedef struct signals {
    loop_io io;
    loop *loop;
} signals;

static void on_signal(loop_io *io, uint32_t events) {
    (void)events; /* whatever came, it is time to go */
    container_of(io, signals, io)->loop->stop = true;
}

static err signals_start(signals *s, loop *l) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    if (sigprocmask(SIG_BLOCK, &set, NULL)) return ERR_IO;
    *s = (signals){{signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC), on_signal}, l};
    return s->io.fd < 0 ? ERR_IO : loop_watch(l, &s->io, EPOLLIN);
}

/* Two descriptors a connection: as many as this process may have. */
static void descriptors(void) {
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l)) return;
    l.rlim_cur = l.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &l); /* fewer connections, then */
}

static int serve(relay *r, control *c, const options *o) {
    char why[NET_TEXT] = "", from[NET_TEXT];
    if (o->listen_ns && net_ns(o->listen_ns, &r->listen_at, why)) return failed(why);
    if (o->to_ns && net_ns(o->to_ns, &r->to, why)) return failed(why);
    if (o->trace && trace_open(&r->trace, o->trace)) return failed("cannot write the trace file");
    int status = texts(r, o);
    if (status) return status;
    if (o->control && control_start(c, o->control, why)) return failed(why);
    if (relay_start(r, why)) return failed(why);
    net_format(&r->listen_at.addr, r->listen_at.len, from);
    if (printf("listening %s %s\nready\n", r->udp ? "udp" : "tcp", from) < 0 || fflush(stdout)) return failed("standard output is closed");
    if (loop_run(&r->loop)) return failed("epoll failed");
    return 0;
}

int main(int argc, char **argv) {
    relay r;
    control c;
    options o = {.listen = NULL};
    signals s;
    relay_init(&r);
    int status = options_parse(argc, argv, &r, &o);
    if (status >= 0) return status;
    descriptors();
    if (loop_init(&r.loop)) return failed("cannot use epoll");
    (void)signal(SIGPIPE, SIG_IGN); /* a splice to a broken connection has no MSG_NOSIGNAL; it cannot fail */
    if (signals_start(&s, &r.loop)) return failed("cannot wait for signals");
    trace_init(&r.trace, &r.loop);
    control_init(&c, &r);
    status = serve(&r, &c, &o);
    control_fini(&c);
    relay_fini(&r);
    r.loop.stop = true;
    if (loop_run(&r.loop) && !status) status = EXIT_FAILED; /* only its jobs: what the ends above left to be freed */
    trace_fini(&r.trace);
    if (r.trace.failed && !status) status = EXIT_FAILED;
    close(s.io.fd);
    loop_fini(&r.loop);
    return status;
}
