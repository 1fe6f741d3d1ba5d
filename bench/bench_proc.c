/* bench_proc: what a server costs, read from /proc: processor time and memory of a process and of everything that descends from it
 * (ejabberd is a shell script that starts an Erlang VM, which starts helpers). Times are those of live processes plus what ended children
 * left with their parents, so a difference of two readings loses nothing. */
#include "base/codec.h"
#include "base/mem.h"
#include "bench.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define FILE_BYTES 4096

static uint64_t clock_nsec(clockid_t id) {
    struct timespec t;
    (void)clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
uint64_t bench_nsec(void) { return clock_nsec(CLOCK_MONOTONIC); }
uint64_t bench_cpu_nsec(void) { return clock_nsec(CLOCK_PROCESS_CPUTIME_ID); }
uint64_t bench_cpu_nsec_of(int pid) {
    clockid_t id;
    return pid > 0 && clock_getcpuclockid(pid, &id) == 0 ? clock_nsec(id) : 0;
}

typedef struct proc {
    int pid, parent;
    uint64_t ticks;
    bool ours;
} proc;

static bool read_file(int pid, const char *name, char out[FILE_BYTES]) {
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    ssize_t n = read(fd, out, FILE_BYTES - 1);
    (void)close(fd);
    if (n <= 0) return false;
    out[n] = 0;
    return true;
}

/* /proc/PID/stat: after the name in parentheses come state, ppid, ...; utime stime cutime cstime are the 14th to 17th fields. */
static bool read_stat(int pid, proc *out) {
    char text[FILE_BYTES];
    if (!read_file(pid, "stat", text)) return false;
    const char *p = strrchr(text, ')');
    if (!p) return false;
    *out = (proc){.pid = pid};
    int field = 2;
    for (p++; *p; p++) {
        if (*p != ' ') continue;
        field++;
        if (field == 4) out->parent = (int)strtol(p + 1, NULL, 10);
        if (field >= 14 && field <= 17) out->ticks += strtoull(p + 1, NULL, 10);
        if (field == 17) return true;
    }
    return false;
}

static uint64_t status_kb(const char *text, const char *key) {
    const char *p = strstr(text, key);
    return p ? strtoull(p + strlen(key), NULL, 10) : 0;
}

bench_cost bench_cost_of(int pid) {
    bench_cost c = {0};
    DIR *d = opendir("/proc");
    if (!d) return c;
    proc *all = NULL;
    size_t n = 0, cap = 0;
    for (struct dirent *e; (e = readdir(d));) {
        uint64_t id;
        if (dec_parse_u64(slice_str(e->d_name), INT32_MAX, &id) != ERR_OK) continue;
        mem_grow((void **)&all, &cap, n + 1, sizeof *all);
        if (read_stat((int)id, &all[n])) n++;
    }
    (void)closedir(d);
    for (bool more = true; more;) {
        more = false;
        for (size_t i = 0; i < n; i++) {
            bool in = all[i].pid == pid;
            for (size_t j = 0; j < n && !in; j++) in = all[j].ours && all[j].pid == all[i].parent;
            if (in && !all[i].ours) all[i].ours = more = true;
        }
    }
    uint64_t hz = (uint64_t)sysconf(_SC_CLK_TCK);
    for (size_t i = 0; i < n; i++) {
        char text[FILE_BYTES];
        if (!all[i].ours || !read_file(all[i].pid, "status", text)) continue;
        c.cpu_usec += all[i].ticks * (1000000u / hz);
        c.rss_kb += status_kb(text, "\nVmRSS:");
        c.anon_kb += status_kb(text, "\nRssAnon:");
        c.processes++;
    }
    mem_free(all);
    return c;
}

uint64_t bench_files_max(void) {
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) != 0) return 0;
    r.rlim_cur = r.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &r); /* what was granted is asked next */
    return getrlimit(RLIMIT_NOFILE, &r) == 0 ? r.rlim_cur : 0;
}
