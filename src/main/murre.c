/* murre: the server. `murre run` composes a node, says where it listens and how to use it, and waits for signals: SIGTERM and SIGINT drain
 * and end, SIGHUP reads certificates again. Stopping is no more than kill -9 with good manners: everything that was promised is on stable
 * storage at every moment. A service manager that wants to know is told when it serves and when it stops (notify.h). Exit status by kind,
 * as in sysexits(3). */
#include "base/codec.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "main/compose.h"
#include "main/notify.h"
#include "main/peer.h"
#include "rt/event.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <time.h>

#define LOOK_READY   USEC_PER_MSEC         /* the main thread looks this often whether the node is ready, */
#define LOOK_DRAINED (100 * USEC_PER_MSEC) /* and then whether it has drained; a signal wakes it */
#define LOOK_REST    USEC_PER_SEC          /* between: certificates; an idle node must cost next to nothing */

static int exit_status(err e) {
    switch ((int)e) {
    case ERR_OK: return EX_OK;
    case ERR_INVALID: return EX_USAGE; /* of the command line; a wrong setting is CONFIG */
    case ERR_CONFIG: return EX_CONFIG;
    case ERR_NOCONN:
    case ERR_ADDR_IN_USE: return EX_UNAVAILABLE;
    case ERR_BUSY: return EX_TEMPFAIL;
    case ERR_PERM: return EX_NOPERM;
    case ERR_NOT_FOUND: return EX_NOINPUT;
    case ERR_EXISTS: /* in the way */
    case ERR_NOSPC: return EX_CANTCREAT;
    case ERR_CORRUPT:
    case ERR_TLS: /* a key or certificate that is none */
    case ERR_VERSION: return EX_DATAERR;
    case ERR_IO: return EX_IOERR;
    default: return EX_SOFTWARE;
    }
}

static int usage(FILE *to) {
    (void)fputs("usage: murre run [-c FILE] [--set key=value ...]   starts a node\n"
                "       murre peer [erl's arguments] [--set ...]    a node that OTP's module peer starts and controls: docs/interop.md\n"
                "       murre check [-c FILE] [--set key=value ...] checks the settings and says nothing if they are right\n"
                "       murre config                                prints every setting with unit, range and default\n"
                "       murre version\n",
                to);
    return to == stderr ? EX_USAGE : EX_OK;
}

static int complain(int status, const char *why) {
    char shown[4 * CONFIG_WHY_MAX]; /* an argument or a path may hold what would move the cursor */
    (void)utf8_escape(slice_str(why), shown, sizeof shown);
    (void)fprintf(stderr, "murre: %s\n", shown);
    return status;
}

static err read_settings(config *c, int argc, char **argv, char *why) {
    config_init(c);
    for (int pass = 0; pass < 2; pass++) /* files first, then --set, wherever they stand */
        for (int i = 0; i < argc; i++) {
            bool file = strcmp(argv[i], "-c") == 0, set = strcmp(argv[i], "--set") == 0;
            if (!file && !set) {
                (void)snprintf(why, CONFIG_WHY_MAX, "unknown argument '%.80s'; `murre help` lists them", argv[i]);
                return ERR_INVALID;
            }
            if (++i == argc) {
                (void)snprintf(why, CONFIG_WHY_MAX, "%s wants a value", argv[i - 1]);
                return ERR_INVALID;
            }
            err e = file && pass == 0 ? config_read(c, argv[i], why) : set && pass == 1 ? config_set(c, argv[i], why) : ERR_OK;
            if (e != ERR_OK) return e;
        }
    return config_check(c, why);
}

static void print_messaging(compose *c) {
    size_t n;
    const compose_bound *b = compose_bounds(c, &n), *first = NULL; /* to connect to by hand: STARTTLS if there is one */
    for (size_t i = 0; i < n; i++) {
        if (!first || (first->transport != EDGE_STARTTLS && b[i].transport == EDGE_STARTTLS)) first = &b[i];
        char text[SYS_ADDR_TEXT];
        sys_addr_format(&b[i].addr, text);
        (void)printf("listening  %-10s %s\n", b[i].transport == EDGE_STARTTLS ? "STARTTLS" : "direct TLS", text);
    }
    const char *domain, *path;
    uint8_t print[32];
    for (size_t i = 0; compose_fingerprint(c, i, &domain, &path, print); i++) {
        (void)printf("certificate of %s (self-signed, %s), SHA-256:\n  ", domain, path);
        for (size_t j = 0; j < sizeof print; j++) (void)printf("%02X%s", print[j], j + 1 < sizeof print ? ":" : "\n");
        if (i == 0 && first)
            (void)printf("  profanity: /connect USER@%s server 127.0.0.1 port %u%s, then /tls allow (once) or /tls always\n"
                         "  (it shows the SHA-1 fingerprint: openssl x509 -noout -fingerprint -sha1 -in %s)\n"
                         "  gajim: connect, compare the fingerprint in the dialogue, 'Add certificate to trusted'\n",
                         domain, first->addr.port, first->transport == EDGE_STARTTLS ? "" : " tls legacy", path);
    }
}

static void print_banner(compose *c, const config *f, const char *program) {
    const char *ctl = rt_node_config(compose_node(c))->ctl_path;
    const char *slash = strrchr(program, '/'); /* murrectl lies beside us, so that the line can be copied */
    int path = slash ? (int)(slash - program) + 1 : 0;
    print_messaging(c);
    if (config_has_role(f, "messaging"))
        (void)printf("add a user   %.*smurrectl --socket %s user add alice@%s\n", path, program, ctl, f->domains.v[0]);
    else
        (void)printf("member only  %s; who is connected: %.*smurrectl --socket %s nodes\n", f->node_name, path, program, ctl);
    (void)printf("ready\n");
    (void)fflush(stdout);
}

typedef struct flags {
    bool printed;
    bool draining;
    usec drain_until;
} flags;

static usec next_look(const flags *st, const main_notify *manager) {
    usec wait = !st->printed ? LOOK_READY : st->draining ? LOOK_DRAINED : LOOK_REST;
    return manager->watchdog ? usec_min(wait, usec_max(manager->watchdog / 4, LOOK_READY)) : wait; /* a sign of life is due at half */
}

/* Returns when the node is to end. p: NULL, or who has started it. */
static err serve(compose *c, const config *f, sys *s, const sigset_t *signals, const char *program, main_peer *p) {
    flags st = {0};
    usec looked = 0;
    main_notify manager;
    char why[200];
    if (!main_notify_init(&manager, why)) (void)fprintf(stderr, "murre: %s; it is not told\n", why); /* no reason not to serve */
    for (;;) {
        usec wait = next_look(&st, &manager);
        const struct timespec tick = {.tv_sec = wait / USEC_PER_SEC, .tv_nsec = wait % USEC_PER_SEC * 1000};
        int sig = sigtimedwait(signals, NULL, &tick);
        if (sig == SIGTERM || sig == SIGINT) {
            if (st.draining) return ERR_OK; /* asked twice */
            st.draining = true;
            main_notify_send(&manager, "STOPPING=1\nSTATUS=draining");
            st.drain_until = s->mono(s) + f->drain_timeout;
            compose_drain(c, "the server is going down for a moment");
        }
        if (!st.printed && compose_ready(c)) {
            if (p)
                main_peer_ready(p);
            else
                print_banner(c, f, program);
            main_notify_send(&manager, "READY=1\nSTATUS=serving");
            st.printed = true;
        }
        usec now = s->mono(s);
        main_notify_alive(&manager, now);
        if (sig == SIGHUP || now - looked >= USEC_PER_SEC) {
            compose_watch_certificates(c);
            looked = now;
        }
        if (st.draining && (compose_settled(c) || now >= st.drain_until)) return ERR_OK;
    }
}

static err start(compose *c, main_peer *p, char why[CONFIG_WHY_MAX]) {
    err e = p ? main_peer_boot(p, compose_mesh(c), why) : ERR_OK;
    if (e) return e;
    e = rt_node_start(compose_node(c));
    if (e) return config_why(why, e, "the node cannot start: %s", err_text(e));
    return p ? main_peer_start(p, why) : ERR_OK;
}

/* controlled: OTP's module peer has started it, with these arguments. */
static int run(const char *program, int argc, char **argv, bool controlled) {
    config f;
    char why[CONFIG_WHY_MAX] = "";
    sys *s = NULL;
    tls *t = NULL;
    compose *c = NULL;
    main_peer *p = NULL;
    err e = sys_linux_new(&s);
    if (e) return complain(exit_status(e), "cannot start");
    e = controlled ? main_peer_new(argc, argv, s, &f, &p, why) : read_settings(&f, argc, argv, why);
    sigset_t signals;
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGTERM);
    (void)sigaddset(&signals, SIGINT);
    (void)sigaddset(&signals, SIGHUP);
    (void)sigprocmask(SIG_BLOCK, &signals, NULL); /* before any thread: all inherit it */
    if (e == ERR_OK) {
        e = tls_openssl_new(&t);
        if (e) (void)snprintf(why, sizeof why, "cannot start: %s", err_text(e));
    }
    if (e == ERR_OK) e = compose_new(&f, s, t, &c, why);
    if (e == ERR_OK) e = start(c, p, why);
    if (e == ERR_OK) e = serve(c, &f, s, &signals, program, p);
    int status = e == ERR_OK ? EX_OK : complain(exit_status(e), why);
    if (p) main_peer_stop(p);
    if (c) rt_node_stop(compose_node(c));
    compose_free(c);
    main_peer_free(p);
    if (t) tls_openssl_free(t);
    sys_linux_free(s);
    config_fini(&f);
    return status;
}

static int check_only(int argc, char **argv) {
    config f;
    char why[CONFIG_WHY_MAX] = "";
    tls *t = NULL;
    err e = read_settings(&f, argc, argv, why);
    if (e == ERR_OK) e = tls_openssl_new(&t);
    if (e == ERR_OK) e = compose_check(&f, t, why);
    if (t) tls_openssl_free(t);
    config_fini(&f);
    return e == ERR_OK ? EX_OK : complain(exit_status(e), why);
}

static int print_config(void) {
    buf b;
    buf_init(&b, 1u << 20);
    config_document(&b);
    (void)fwrite(b.p, 1, b.len, stdout);
    buf_fini(&b);
    return EX_OK;
}

int main(int argc, char **argv) {
    if (argc < 2) return usage(stderr);
    mem_keep();
    if (strcmp(argv[1], "run") == 0) return run(argv[0], argc - 2, argv + 2, false);
    if (strcmp(argv[1], "peer") == 0) return run(argv[0], argc - 2, argv + 2, true);
    if (strcmp(argv[1], "check") == 0) return check_only(argc - 2, argv + 2);
    if (strcmp(argv[1], "config") == 0) return print_config();
    if (strcmp(argv[1], "version") == 0) return puts("murre " MURRE_VERSION) < 0 ? EX_IOERR : EX_OK;
    if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0) return usage(stdout);
    return usage(stderr);
}
