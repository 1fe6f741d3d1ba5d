/* peer: see peer.h.
 *
 * Invariants: (1) the line belongs to the one thread once that runs; others wake it by a byte in a pipe. (2) Nothing else of the process
 * writes to standard output while that is the line. (3) What comes is taken in order, a call at a time. */
#include "main/peer.h"

#include "base/codec.h"
#include "base/mem.h"
#include "main/compose.h"
#include "mesh/origin.h"
#include "proto/etf/etf.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define MESSAGE_MAX (64u << 20) /* bytes of a message of the line */
#define PIECE       65536u
#define ADDRS_MAX   64u
#define HOST_MAX    256u

typedef enum line_kind {
    LINE_NONE, /* the cluster */
    LINE_TCP,
    LINE_STDIO, /* each byte as two, of which the upper and lower two bits are set, with the four in between of it; behind the message its
                   CRC-32 */
} line_kind;

struct main_peer {
    line_kind kind;
    bool detached;
    slice addrs; /* of the origin, with commas between them; borrowed from argv */
    uint16_t port;
    buf origin;   /* LINE_NONE: its process, a term */
    int in, out;  /* of the line; -1 */
    int wake[2];  /* a byte: 'r' the node serves, 's' end */
    buf pending;  /* read, and not a whole message yet */
    uint8_t half; /* STDIO: the upper half of a byte whose lower half has not come */
    bool has_half;
    mesh *m;
    sys *s;
    sys_thread *thread;
    char dir[PATH_MAX], cookie[PATH_MAX], ctl[PATH_MAX];
};

/* --- erl's arguments -------------------------------------------------------------------------------------------------------------------
 */
static err set(config *f, const char *key, const char *value, char *why) {
    char text[PATH_MAX + 64];
    (void)snprintf(text, sizeof text, "%.60s=%.4095s", key, value);
    return config_set(f, text, why);
}

/* alive@host: the host is that of the machine if it is not said, up to its first dot in a short name. */
static err set_name(config *f, const char *name, bool is_short, char *why) {
    char host[HOST_MAX] = "", full[2 * HOST_MAX];
    if (strchr(name, '@')) return set(f, "node.name", name, why);
    if (gethostname(host, sizeof host - 1)) return config_why(why, ERR_IO, "the host's name is not known: %s", strerror(errno));
    if (is_short) host[strcspn(host, ".")] = 0;
    if (!is_short && !strchr(host, '.'))
        return config_why(why, ERR_INVALID, "-name %.80s: this host has no full name; say %.80s@HOST, or use -sname", name, name);
    (void)snprintf(full, sizeof full, "%.255s@%s", name, host);
    return set(f, "node.name", full, why);
}

/* Where others find the node by its name: if the host stands for an address of loopback other than 127.0.0.1, that is listened on. */
static err set_listen(config *f, sys *s, char *why) {
    const char *host = strchr(f->node_name, '@');
    sys_addr a[8];
    size_t n = 0;
    if (!host || s->resolve(s, host + 1, a, ARRAY_LEN(a), &n)) return ERR_OK; /* whoever dials it will be told */
    for (size_t i = 0; i < n; i++) {
        char text[SYS_ADDR_TEXT];
        if (!sys_addr_is_loopback(&a[i])) continue;
        a[i].port = 0;
        sys_addr_format(&a[i], text);
        return set(f, "node.listen", text, why);
    }
    return ERR_OK;
}

static err write_cookie(main_peer *p, char *cookie, config *f, char *why) {
    size_t n = strlen(cookie);
    (void)snprintf(p->cookie, sizeof p->cookie, "%.4000s/cookie", p->dir);
    int fd = open(p->cookie, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool fine = fd >= 0 && write(fd, cookie, n) == (ssize_t)n;
    if (fd >= 0) (void)close(fd);
    memset(cookie, '*', n); /* what ps shows from now on */
    if (!fine) return config_why(why, ERR_IO, "%s cannot be written: %s", p->cookie, strerror(errno));
    return set(f, "node.cookie_file", p->cookie, why);
}

/* The file that erl reads the cookie from. */
static err default_cookie(config *f, char *why) {
    const char *home = getenv("HOME"), *xdg = getenv("XDG_CONFIG_HOME");
    char path[3][PATH_MAX] = {"", "", ""};
    if (home) (void)snprintf(path[0], sizeof path[0], "%.4000s/.erlang.cookie", home);
    if (xdg) (void)snprintf(path[1], sizeof path[1], "%.4000s/erlang/.erlang.cookie", xdg);
    if (home && !xdg) (void)snprintf(path[2], sizeof path[2], "%.4000s/.config/erlang/.erlang.cookie", home);
    for (size_t i = 0; i < ARRAY_LEN(path); i++)
        if (*path[i] && access(path[i], F_OK) == 0) return set(f, "node.cookie_file", path[i], why);
    return ERR_OK;
}

static err set_origin(main_peer *p, int n, char **value, config *f, char *why) {
    if (n == 2) {
        char *end;
        unsigned long port = strtoul(value[1], &end, 10);
        if (*end || port == 0 || port > UINT16_MAX) return config_why(why, ERR_INVALID, "-origin: '%.80s' is not a port", value[1]);
        p->kind = LINE_TCP;
        p->addrs = slice_str(value[0]);
        p->port = (uint16_t)port;
        return ERR_OK;
    }
    etf_pid pid;
    char seed[HOST_MAX];
    buf_init(&p->origin, MESSAGE_MAX);
    bool fine = n == 1 && base64_decode(&p->origin, slice_str(value[0])) == ERR_OK;
    etf_reader r = etf_reader_of(buf_slice(&p->origin));
    if (!fine || !etf_get_version(&r) || !etf_get_pid(&r, &pid))
        return config_why(why, ERR_INVALID, "-origin: addresses and a port, or a process as peer:start writes it");
    (void)snprintf(seed, sizeof seed, SLICE_FMT, SLICE_ARG(pid.node));
    p->kind = LINE_NONE;
    return set(f, "node.seeds", seed, why);
}

/* One flag, and the n words after it up to the next one. */
static err flag(main_peer *p, const char *name, int n, char **value, config *f, char *why) {
    if (strcmp(name, "-detached") == 0) p->detached = true;
    if (strcmp(name, "-hidden") == 0) return set(f, "node.hidden", "true", why);
    if (strcmp(name, "-origin") == 0) return set_origin(p, n, value, f, why);
    if (n == 1 && strcmp(name, "-name") == 0) return set_name(f, value[0], false, why);
    if (n == 1 && strcmp(name, "-sname") == 0) return set_name(f, value[0], true, why);
    if (n == 1 && strcmp(name, "-setcookie") == 0) return write_cookie(p, value[0], f, why);
    if (n == 2 && strcmp(name, "-kernel") == 0 && strcmp(value[0], "net_ticktime") == 0) {
        char text[64];
        (void)snprintf(text, sizeof text, "%.50ss", value[1]);
        return set(f, "node.ticktime", text, why);
    }
    return ERR_OK;
}

/* erl's flags first, then --set and -c wherever they stand. */
static err read_flags(main_peer *p, int argc, char **argv, config *f, char *why) {
    err e = ERR_OK;
    for (int pass = 0; pass < 2 && !e; pass++) {
        for (int i = 0, n = 0; i < argc && !e; i += n + 1) {
            bool ours = strcmp(argv[i], "--set") == 0 || strcmp(argv[i], "-c") == 0;
            if (ours && i + 1 == argc) return config_why(why, ERR_INVALID, "%s wants a value", argv[i]);
            for (n = ours ? 1 : 0; !ours && i + n + 1 < argc && argv[i + n + 1][0] != '-'; n++) {
            }
            if (ours && pass == 1) e = argv[i][1] == 'c' ? config_read(f, argv[i + 1], why) : config_set(f, argv[i + 1], why);
            if (!ours && pass == 0) e = flag(p, argv[i], n, argv + i + 1, f, why);
        }
        if (!e && pass == 0) e = set_listen(f, p->s, why);
    }
    return e;
}

static err make_dir(main_peer *p, char *why) {
    const char *tmp = getenv("TMPDIR");
    (void)snprintf(p->dir, sizeof p->dir, "%.4000s/murre-peer-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (mkdtemp(p->dir)) {
        (void)snprintf(p->ctl, sizeof p->ctl, "%.4000s/ctl.sock", p->dir);
        return ERR_OK;
    }
    err e = config_why(why, ERR_IO, "no directory like %s can be made: %s", p->dir, strerror(errno));
    p->dir[0] = 0;
    return e;
}

err main_peer_new(int argc, char **argv, sys *s, config *f, main_peer **out, char why[CONFIG_WHY_MAX]) {
    main_peer *p = mem_zalloc(sizeof *p);
    const char *mapper = getenv("ERL_EPMD_PORT");
    p->kind = LINE_STDIO;
    p->s = s;
    config_init(f);
    p->in = p->out = p->wake[0] = p->wake[1] = -1;
    buf_init(&p->pending, MESSAGE_MAX);
    err e = make_dir(p, why);
    if (!e) e = set(f, "roles", "", why);
    if (!e) e = set(f, "recorder.bytes", "0", why);
    if (!e) e = set(f, "ctl.socket", p->ctl, why);
    if (!e && mapper) e = set(f, "node.epmd_port", mapper, why);
    if (!e) e = default_cookie(f, why);
    if (!e) e = read_flags(p, argc, argv, f, why);
    if (!e && !*f->node_name)
        e = config_why(why, ERR_INVALID, "a node that is controlled has a name: -name or -sname (peer:start(#{name => ...}))");
    if (!e) e = config_check(f, why);
    if (e) {
        main_peer_free(p);
        return e;
    }
    *out = p;
    return ERR_OK;
}

/* --- the line ------------------------------------------------------------------------------------------------------------------------- */
/* CRC-32 as zlib and erlang:crc32 have it. */
static uint32_t crc32(slice s) {
    uint32_t c = UINT32_MAX;
    for (size_t i = 0; i < s.len; i++) {
        c ^= s.p[i];
        for (int k = 0; k < 8; k++) c = c >> 1 ^ (0xedb88320u & (0u - (c & 1u)));
    }
    return ~c;
}

static uint32_t get_u32(const uint8_t *p) { return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3]; }

static bool write_all(int fd, slice s) {
    while (s.len) {
        ssize_t n = write(fd, s.p, s.len);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        s = slice_from(s, (size_t)n);
    }
    return true;
}

/* False: the other side has gone, or the message is longer than any. */
static bool say(main_peer *p, slice message) {
    buf plain, coded;
    buf_init(&plain, UINT32_MAX);
    buf_init(&coded, UINT32_MAX);
    buf_add_u32be(&plain, (uint32_t)message.len);
    buf_add(&plain, message);
    if (p->kind == LINE_STDIO) {
        buf_add_u32be(&plain, crc32(message));
        for (size_t i = 0; i < plain.len; i++) {
            uint8_t two[2] = {(uint8_t)(0xc3 | (plain.p[i] >> 4) << 2), (uint8_t)(0xc3 | (plain.p[i] & 15) << 2)};
            buf_add(&coded, slice_of(two, sizeof two));
        }
    }
    bool fine =
        message.len <= UINT32_MAX / 4 && buf_ok(&plain) && buf_ok(&coded) && write_all(p->out, buf_slice(coded.len ? &coded : &plain));
    buf_fini(&plain);
    buf_fini(&coded);
    return fine;
}

/* What was read, as the bytes of messages. What is not coded on standard input means nothing. */
static void take(main_peer *p, slice s) {
    if (p->kind == LINE_TCP) buf_add(&p->pending, s);
    for (size_t i = 0; p->kind == LINE_STDIO && i < s.len; i++) {
        if ((s.p[i] & 0xc3) != 0xc3) continue;
        uint8_t quad = s.p[i] >> 2 & 15;
        uint8_t whole = (uint8_t)(p->half << 4 | quad);
        if (p->has_half) buf_add(&p->pending, slice_of(&whole, 1));
        p->half = quad;
        p->has_half = !p->has_half;
    }
}

/* The messages that are whole. False: one of them is none, or cannot be answered. */
static bool handle(main_peer *p) {
    size_t used = 0, extra = p->kind == LINE_STDIO ? 4 : 0;
    bool fine = buf_ok(&p->pending);
    while (fine && p->pending.len - used >= 4) {
        const uint8_t *at = p->pending.p + used;
        size_t len = get_u32(at);
        if (len > MESSAGE_MAX) return false;
        if (p->pending.len - used < 4 + len + extra) break;
        slice message = slice_of(at + 4, len);
        buf reply;
        buf_init(&reply, UINT32_MAX);
        fine = (!extra || get_u32(at + 4 + len) == crc32(message)) && mesh_origin_message(p->m, message, &reply) == ERR_OK;
        if (fine && reply.len) fine = buf_ok(&reply) && say(p, buf_slice(&reply));
        buf_fini(&reply);
        used += 4 + len + extra;
    }
    buf_consume(&p->pending, used);
    return fine;
}

static bool read_line(main_peer *p) {
    uint8_t piece[PIECE];
    ssize_t n = read(p->in, piece, sizeof piece);
    if (n < 0) return errno == EINTR || errno == EAGAIN;
    take(p, slice_of(piece, (size_t)n));
    return n > 0 && handle(p);
}

static bool say_started(main_peer *p) {
    buf b;
    buf_init(&b, 4096);
    mesh_origin_started(p->m, &b);
    bool fine = say(p, buf_slice(&b));
    buf_fini(&b);
    return fine;
}

/* As OTP's peer does, the node ends with its line, and when something comes that is no message. */
static void run(void *arg) {
    main_peer *p = arg;
    for (bool on = true; on;) {
        struct pollfd fds[2] = {{.fd = p->in, .events = POLLIN}, {.fd = p->wake[0], .events = POLLIN}};
        char why = 0;
        if (poll(fds, 2, -1) < 0) continue; /* a signal */
        if (fds[1].revents && read(p->wake[0], &why, 1) == 1 && why == 's') return;
        if (why == 'r') on = say_started(p);
        if (on && fds[0].revents) on = read_line(p);
    }
    (void)kill(getpid(), SIGTERM);
}

/* --- life ----------------------------------------------------------------------------------------------------------------------------- */
static void wake(main_peer *p, char why) {
    if (p->wake[1] >= 0) (void)!write(p->wake[1], &why, 1); /* two bytes in its life: there is room */
}

static void remove_dir(main_peer *p) {
    if (!p->dir[0]) return;
    if (*p->cookie) (void)unlink(p->cookie);
    (void)unlink(p->ctl);
    (void)rmdir(p->dir);
    p->dir[0] = 0;
}

static void on_stop(void *arg, bool now, int status) {
    main_peer *p = arg;
    if (!now) {
        (void)kill(getpid(), SIGTERM);
        return;
    }
    remove_dir(p);
    _exit(status);
}

err main_peer_boot(main_peer *p, mesh *m, char why[CONFIG_WHY_MAX]) {
    slice node;
    p->m = m;
    mesh_origin_allow(m, on_stop, p);
    if (p->kind == LINE_NONE && mesh_origin_follow(m, buf_slice(&p->origin), &node))
        return config_why(why, ERR_INVALID, "-origin: it is no process");
    return ERR_OK;
}

/* The first address of loopback that answers. */
static err connect_line(main_peer *p, char *why) {
    slice rest = p->addrs;
    bool any = false;
    for (unsigned i = 0; rest.len && i < ADDRS_MAX && p->in < 0; i++) {
        const uint8_t *comma = memchr(rest.p, ',', rest.len);
        slice one = slice_sub(rest, 0, comma ? (size_t)(comma - rest.p) : rest.len);
        char text[SYS_ADDR_TEXT + 16];
        sys_addr a;
        rest = slice_from(rest, one.len + (comma ? 1 : 0));
        (void)snprintf(text, sizeof text, memchr(one.p, ':', one.len) ? "[" SLICE_FMT "]:%u" : SLICE_FMT ":%u", SLICE_ARG(one), p->port);
        if (sys_addr_parse(slice_str(text), &a) || !sys_addr_is_loopback(&a)) continue;
        any = true;
        struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(p->port)};
        struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(p->port)};
        memcpy(&v4.sin_addr, a.ip, sizeof v4.sin_addr);
        memcpy(&v6.sin6_addr, a.ip, sizeof v6.sin6_addr);
        int fd = socket(a.family == SYS_INET4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
        bool up = a.family == SYS_INET4 ? !connect(fd, (struct sockaddr *)&v4, sizeof v4) : !connect(fd, (struct sockaddr *)&v6, sizeof v6);
        if (up)
            p->in = p->out = fd;
        else if (fd >= 0)
            (void)close(fd);
    }
    if (!any) return config_why(why, ERR_PERM, "-origin: no address of it is loopback, and this line is not encrypted");
    if (p->in < 0) return config_why(why, ERR_NOCONN, "-origin: nobody takes a connection there");
    return ERR_OK;
}

/* Without a terminal: what is printed goes nowhere. */
static void detach(void) {
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int i = 0; fd >= 0 && i < 3; i++) (void)dup2(fd, i);
    if (fd > 2) (void)close(fd);
    (void)setsid();
}

err main_peer_start(main_peer *p, char why[CONFIG_WHY_MAX]) {
    err e = p->kind == LINE_TCP ? connect_line(p, why) : ERR_OK;
    if (p->kind == LINE_STDIO) {
        p->in = STDIN_FILENO;
        p->out = STDOUT_FILENO;
    }
    if (!e && p->detached && p->kind != LINE_STDIO) detach();
    if (e || p->kind == LINE_NONE) return e;
    if (pipe2(p->wake, O_CLOEXEC)) return config_why(why, ERR_IO, "no pipe: %s", strerror(errno));
    e = p->s->thread_start(p->s, "peer", run, p, &p->thread);
    return e ? config_why(why, e, "the thread of the line cannot start: %s", err_text(e)) : ERR_OK;
}

void main_peer_ready(main_peer *p) { wake(p, 'r'); }

void main_peer_stop(main_peer *p) {
    if (!p->thread) return;
    wake(p, 's');
    p->s->thread_join(p->s, p->thread);
    p->thread = NULL;
}

void main_peer_free(main_peer *p) {
    if (!p) return;
    remove_dir(p);
    for (int i = 0; i < 2; i++)
        if (p->wake[i] >= 0) (void)close(p->wake[i]);
    if (p->kind == LINE_TCP && p->in >= 0) (void)close(p->in);
    buf_fini(&p->origin);
    buf_fini(&p->pending);
    mem_free(p);
}
