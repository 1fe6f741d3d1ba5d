#ifndef BENCH_H
#define BENCH_H
/* bench: what the parts of murre-bench share: a clock, what a server process costs, and figures printed for people or as JSON. */
#include "base/slice.h"

#include <stdio.h>

/* --- clock and processes (bench_proc.c) */
uint64_t bench_nsec(void);     /* monotonic */
uint64_t bench_cpu_nsec(void); /* that this process has used, all threads */

typedef struct bench_cost { /* of a process and all its descendants */
    uint64_t cpu_usec;      /* user and system */
    uint64_t rss_kb;        /* resident, all kinds */
    uint64_t anon_kb;       /* resident and anonymous: what it has allocated */
    unsigned processes;     /* 0: there is no such process */
} bench_cost;
bench_cost bench_cost_of(int pid);
uint64_t bench_cpu_nsec_of(int pid); /* that one process has used, all its threads, to the nanosecond; 0: there is none */
/* Raises the limit of open files as far as it goes; returns it. */
uint64_t bench_files_max(void);

/* --- figures (bench_report.c) */
void bench_report_begin(bool json, const char *name);
void bench_report_num(const char *key, const char *unit, double value);
void bench_report_text(const char *key, const char *value);
void bench_report_end(void);

/* --- options of the form --name value or --flag (bench_main.c) */
typedef enum bench_kind { BENCH_STR, BENCH_NUM, BENCH_FLAG } bench_kind;
typedef struct bench_option {
    const char *name; /* without the dashes */
    bench_kind kind;
    void *to; /* const char **, int64_t * or bool * */
    const char *doc;
    int64_t min, max; /* of a number; max 0: no limit */
} bench_option;
/* False after a complaint on standard error. */
bool bench_options(int argc, char **argv, const bench_option *o, size_t n);

/* --- subcommands: exit statuses */
int bench_xmpp(int argc, char **argv);    /* bench_xmpp.c */
int bench_micro(int argc, char **argv);   /* micro.c */
int bench_fill(int argc, char **argv);    /* micro_log.c */
int bench_profile(int argc, char **argv); /* profile.c */

#endif
