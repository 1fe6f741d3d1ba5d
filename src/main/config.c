/* config: see config.h. A value is text until the table says what it is; every way in (defaults, file, command line) goes through set_text,
 * so that a default out of range would fail the first test. */
#include "main/config.h"

#include "base/codec.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "proto/xmpp/sasl.h"
#include "rt/event.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <yaml.h>

typedef enum kind { STR, LIST, BOOL, NUM, TIME, BYTES } kind;
typedef struct key {
    const char *name;
    kind kind;
    const char *def;
    int64_t min, max;
    const char *unit, *doc;
    size_t offset;
} key;
static const key KEYS[] = {
#define KEY(member, name, KIND, def, min, max, unit, doc) {name, KIND, def, min, max, unit, doc, offsetof(config, member)},
#include "main/config.def"
#undef KEY
};
static const char *const WANTS[] =
    {/* by kind: what is said when something else is given */
     "text", "a list", "true or false", "a number", "a time such as 500ms, 30s or 5m", "bytes such as 4096, 256k or 64M"};
#define LIST_MAX   1024u /* values in one list */
#define NAME_BYTES 128u  /* of a key as written */
#define SHOWN      60u   /* bytes of a wrong value that are repeated */

err config_why(char why[CONFIG_WHY_MAX], err e, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(why, CONFIG_WHY_MAX, fmt, ap); /* a long one is cut */
    va_end(ap);
    return e;
}

static void *member(config *c, const key *k) { return (char *)c + k->offset; }

static void list_clear(config_list *l) {
    for (size_t i = 0; i < l->n; i++) mem_free(l->v[i]);
    mem_free(l->v);
    *l = (config_list){NULL, 0};
}

static void list_add(config_list *l, slice s) {
    l->v = mem_realloc(l->v, (l->n + 1) * sizeof *l->v);
    l->v[l->n++] = slice_dup_str(s);
}

/* --- numbers with suffixes */
typedef struct suffix {
    const char *text;
    int64_t factor;
} suffix;
static const suffix TIME_SUFFIX[] = {
    {"us", 1}, {"ms", 1000}, {"s", 1000000}, {"m", 60000000}, {"h", INT64_C(3600000000)}, {"d", INT64_C(86400000000)}, {NULL, 0}};
static const suffix BYTES_SUFFIX[] = {{"", 1}, {"k", 1 << 10}, {"M", 1 << 20}, {"G", 1 << 30}, {NULL, 0}};
static const suffix NO_SUFFIX[] = {{"", 1}, {NULL, 0}};

static bool number(slice text, const suffix *table, int64_t *out) {
    size_t digits = 0;
    while (digits < text.len && text.p[digits] >= '0' && text.p[digits] <= '9') digits++;
    uint64_t v;
    if (dec_parse_u64(slice_sub(text, 0, digits), INT64_MAX, &v) != ERR_OK) return false;
    if (v == 0 && digits == text.len) table = NO_SUFFIX; /* none of anything needs no unit */
    for (; table->text; table++)
        if (slice_is(slice_from(text, digits), table->text)) return !__builtin_mul_overflow((int64_t)v, table->factor, out);
    return false;
}

static void number_text(const key *k, int64_t v, char out[32]) { /* as the user would write it */
    const suffix *best = k->kind == TIME ? TIME_SUFFIX : k->kind == BYTES ? BYTES_SUFFIX : NO_SUFFIX;
    for (const suffix *s = best; s->text; s++)
        if (v % s->factor == 0) best = s;
    (void)snprintf(out, 32, "%lld%s", (long long)(v / best->factor), v ? best->text : "");
}

/* --- one value */
static err refuse_value(const key *k, slice text, char why[CONFIG_WHY_MAX]) {
    char shown[4 * SHOWN + 1];
    (void)utf8_escape(slice_sub(text, 0, SHOWN), shown, sizeof shown);
    return config_why(why, ERR_CONFIG, "%s wants %s, not '%s'", k->name, WANTS[k->kind], shown);
}

static err set_number(config *c, const key *k, slice text, char why[CONFIG_WHY_MAX]) {
    int64_t v;
    char lo[32], hi[32];
    if (!number(text, k->kind == TIME ? TIME_SUFFIX : k->kind == BYTES ? BYTES_SUFFIX : NO_SUFFIX, &v)) return refuse_value(k, text, why);
    if (v >= k->min && v <= k->max) {
        *(int64_t *)member(c, k) = v;
        return ERR_OK;
    }
    number_text(k, k->min, lo);
    number_text(k, k->max, hi);
    return config_why(why, ERR_CONFIG, "%s must be between %s and %s, not " SLICE_FMT, k->name, lo, hi,
                      SLICE_ARG(slice_sub(text, 0, SHOWN))); /* digits and a unit: nothing to escape */
}

static err append(config *c, const key *k, slice text, char why[CONFIG_WHY_MAX]) {
    config_list *l = member(c, k);
    if (text.len == 0) return refuse_value(k, text, why);
    if (l->n == LIST_MAX) return config_why(why, ERR_CONFIG, "%s has more than %u values", k->name, LIST_MAX);
    list_add(l, text);
    return ERR_OK;
}

static slice trim(slice s) {
    while (s.len && (s.p[0] == ' ' || s.p[0] == '\t')) s = slice_from(s, 1);
    while (s.len && (s.p[s.len - 1] == ' ' || s.p[s.len - 1] == '\t')) s.len--;
    return s;
}

/* A list is comma-separated here, as --set and the defaults write it. */
static err set_text(config *c, const key *k, slice text, char why[CONFIG_WHY_MAX]) {
    void *m = member(c, k);
    if (slice_find(text, 0) != text.len) return refuse_value(k, text, why); /* the value would end there */
    switch (k->kind) {
    case STR:
        mem_free(*(char **)m);
        *(char **)m = slice_dup_str(text);
        return ERR_OK;
    case LIST:
        list_clear(m);
        while (text.len) {
            size_t end = slice_find(text, ',');
            slice one = trim(slice_sub(text, 0, end));
            err e = one.len ? append(c, k, one, why) : ERR_OK;
            if (e != ERR_OK) return e;
            text = slice_from(text, end + 1);
        }
        return ERR_OK;
    case BOOL:
        if (!slice_is(text, "true") && !slice_is(text, "false")) return refuse_value(k, text, why);
        *(bool *)m = slice_is(text, "true");
        return ERR_OK;
    case NUM:
    case TIME:
    case BYTES: return set_number(c, k, text, why);
    }
    return ERR_BUG;
}

/* --- keys and suggestions */
static unsigned distance(const char *a, const char *b) { /* Levenshtein, for short names */
    enum { MAX = 64 };
    unsigned row[MAX + 1];
    size_t n = strlen(b);
    if (n > MAX || strlen(a) > MAX) return MAX;
    for (unsigned j = 0; j <= n; j++) row[j] = j;
    for (unsigned i = 1; a[i - 1]; i++) {
        unsigned diagonal = row[0];
        row[0] = i;
        for (unsigned j = 1; j <= n; j++) {
            unsigned up = row[j], best = diagonal + (a[i - 1] != b[j - 1]);
            if (up + 1 < best) best = up + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            row[j] = best;
            diagonal = up;
        }
    }
    return row[n];
}

/* How far a word is from a key: as a whole, or from its last part ("listen" for "xmpp.listen"). */
static unsigned key_distance(const char *word, const char *name) {
    const char *dot = strrchr(name, '.');
    unsigned whole = distance(word, name), part = dot ? distance(word, dot + 1) + 1 : whole;
    return whole < part ? whole : part;
}

static const key *find(const char *name, char why[CONFIG_WHY_MAX]) {
    const key *near = NULL;
    unsigned best = 4; /* further away is no misspelling */
    for (size_t i = 0; i < ARRAY_LEN(KEYS); i++) {
        if (strcmp(name, KEYS[i].name) == 0) return &KEYS[i];
        unsigned d = key_distance(name, KEYS[i].name);
        if (d < best && 2 * d <= strlen(name) + 1) {
            best = d;
            near = &KEYS[i];
        }
    }
    char shown[4 * SHOWN + 1];
    (void)utf8_escape(slice_sub(slice_str(name), 0, SHOWN), shown, sizeof shown);
    if (near)
        (void)snprintf(why, CONFIG_WHY_MAX, "unknown key '%s'; did you mean '%s'?", shown, near->name);
    else
        (void)snprintf(why, CONFIG_WHY_MAX, "unknown key '%s'; `murre config` lists them", shown);
    return NULL;
}

void config_init(config *c) {
    memset(c, 0, sizeof *c);
    char why[CONFIG_WHY_MAX];
    for (size_t i = 0; i < ARRAY_LEN(KEYS); i++)
        if (set_text(c, &KEYS[i], slice_str(KEYS[i].def), why) != ERR_OK) panic("config.def: %s", why);
}

void config_fini(config *c) {
    for (size_t i = 0; i < ARRAY_LEN(KEYS); i++) {
        if (KEYS[i].kind == STR) mem_free(*(char **)member(c, &KEYS[i]));
        if (KEYS[i].kind == LIST) list_clear(member(c, &KEYS[i]));
    }
    memset(c, 0, sizeof *c);
}

err config_set(config *c, const char *assignment, char why[CONFIG_WHY_MAX]) {
    const char *eq = strchr(assignment, '=');
    char name[NAME_BYTES], text[CONFIG_WHY_MAX - 16] = "";
    err e = ERR_CONFIG;
    if (!eq || (size_t)(eq - assignment) >= sizeof name) {
        char shown[4 * SHOWN + 1];
        (void)utf8_escape(slice_sub(slice_str(assignment), 0, SHOWN), shown, sizeof shown);
        (void)snprintf(text, sizeof text, "wants key=value, not '%s'", shown);
    } else {
        memcpy(name, assignment, (size_t)(eq - assignment));
        name[eq - assignment] = 0;
        const key *k = find(name, why);
        if (k) e = set_text(c, k, slice_str(eq + 1), why);
        if (e != ERR_OK) (void)snprintf(text, sizeof text, "%s", why);
    }
    if (e != ERR_OK) (void)snprintf(why, CONFIG_WHY_MAX, "--set: %s", text);
    return e;
}

/* --- YAML */
typedef struct reader {
    config *c;
    yaml_document_t doc;
    const char *path;
    char *why;
    bool seen[ARRAY_LEN(KEYS)];
} reader;

static err refuse(reader *r, const yaml_node_t *at, const char *why) {
    char text[CONFIG_WHY_MAX - 128];
    (void)snprintf(text, sizeof text, "%s", why);
    (void)snprintf(r->why, CONFIG_WHY_MAX, "%.100s:%zu: %s", r->path, at->start_mark.line + 1, text);
    return ERR_CONFIG;
}

static slice scalar(const yaml_node_t *n) { return slice_of(n->data.scalar.value, n->data.scalar.length); }

static err read_sequence(reader *r, const key *k, const yaml_node_t *list, char why[CONFIG_WHY_MAX]) {
    list_clear(member(r->c, k));
    for (const yaml_node_item_t *i = list->data.sequence.items.start; i < list->data.sequence.items.top; i++) {
        const yaml_node_t *item = yaml_document_get_node(&r->doc, *i);
        if (item->type != YAML_SCALAR_NODE) return refuse(r, item, "a list holds plain values");
        slice text = scalar(item);
        err e = slice_find(text, 0) == text.len ? append(r->c, k, text, why) : refuse_value(k, text, why);
        if (e != ERR_OK) return refuse(r, item, why);
    }
    return ERR_OK;
}

static err read_value(reader *r, const key *k, const yaml_node_t *name, yaml_node_t *value) {
    char why[CONFIG_WHY_MAX] = "";
    if (r->seen[k - KEYS]) return refuse(r, name, "this key was given before");
    r->seen[k - KEYS] = true;
    if (value->type == YAML_SEQUENCE_NODE && k->kind == LIST) return read_sequence(r, k, value, why);
    if (value->type == YAML_SCALAR_NODE) return set_text(r->c, k, scalar(value), why) == ERR_OK ? ERR_OK : refuse(r, value, why);
    (void)snprintf(why, sizeof why, "%s wants %s, not a %s", k->name, WANTS[k->kind],
                   value->type == YAML_MAPPING_NODE ? "section" : "list");
    return refuse(r, value, why);
}

static bool is_section(const char *name) {
    size_t n = strlen(name);
    for (size_t i = 0; i < ARRAY_LEN(KEYS); i++)
        if (strncmp(KEYS[i].name, name, n) == 0 && KEYS[i].name[n] == '.') return true;
    return false;
}

static err read_map(reader *r, const yaml_node_t *map, const char *prefix);

static err read_pair(reader *r, const yaml_node_t *k, yaml_node_t *v, const char *prefix) {
    char name[NAME_BYTES], why[CONFIG_WHY_MAX] = "";
    if (k->type != YAML_SCALAR_NODE || scalar(k).len + strlen(prefix) + 2 > sizeof name || slice_find(scalar(k), 0) != scalar(k).len)
        return refuse(r, k, "not the name of a setting");
    (void)snprintf(name, sizeof name, "%s%s" SLICE_FMT, prefix, *prefix ? "." : "", SLICE_ARG(scalar(k)));
    if (is_section(name)) { /* no section has the name of a key: config_test.c */
        if (v->type == YAML_MAPPING_NODE) return read_map(r, v, name);
        if (v->type == YAML_SCALAR_NODE && scalar(v).len == 0) return ERR_OK; /* all below it is commented out */
        (void)snprintf(why, sizeof why, "%s is a section: it wants keys below it", name);
        return refuse(r, v, why);
    }
    const key *found = find(name, why);
    return found ? read_value(r, found, k, v) : refuse(r, k, why);
}

/* Recursion ends: a section below a section has a longer name, and only names in the table are entered. */
static err read_map(reader *r, const yaml_node_t *map, const char *prefix) {
    for (const yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top; p++) {
        err e = read_pair(r, yaml_document_get_node(&r->doc, p->key), yaml_document_get_node(&r->doc, p->value), prefix);
        if (e != ERR_OK) return e;
    }
    return ERR_OK;
}

static err not_yaml(const yaml_parser_t *p, const char *path, char why[CONFIG_WHY_MAX]) {
    return config_why(why, ERR_CONFIG, "%.200s:%zu: %.200s", path, p->problem_mark.line + 1, p->problem ? p->problem : "not YAML");
}

static err read_document(reader *r, yaml_parser_t *parser) {
    if (!yaml_parser_load(parser, &r->doc)) return not_yaml(parser, r->path, r->why);
    const yaml_node_t *root = yaml_document_get_root_node(&r->doc);
    bool any = root != NULL;
    err e = ERR_OK;
    if (root && root->type == YAML_MAPPING_NODE)
        e = read_map(r, root, "");
    else if (root && (root->type != YAML_SCALAR_NODE || scalar(root).len)) /* a lone "---" is empty */
        e = refuse(r, root, "the file must be a map of settings");
    yaml_document_delete(&r->doc);
    if (e != ERR_OK || !any) return e;
    if (!yaml_parser_load(parser, &r->doc)) return not_yaml(parser, r->path, r->why);
    root = yaml_document_get_root_node(&r->doc);
    if (root) e = refuse(r, root, "a second document: its settings would be ignored");
    yaml_document_delete(&r->doc);
    return e;
}

err config_read_text(config *c, const char *path, slice text, char why[CONFIG_WHY_MAX]) {
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser)) panic("libyaml: out of memory");
    yaml_parser_set_input_string(&parser, text.p, text.len);
    reader r = {.c = c, .path = path, .why = why};
    err e = read_document(&r, &parser);
    yaml_parser_delete(&parser);
    return e;
}

static err cannot_read(const char *path, int error, char why[CONFIG_WHY_MAX]) {
    (void)snprintf(why, CONFIG_WHY_MAX, "%.200s: %s", path, strerror(error));
    return error == EACCES || error == EPERM ? ERR_PERM : ERR_NOT_FOUND;
}

err config_read(config *c, const char *path, char why[CONFIG_WHY_MAX]) {
    FILE *f = fopen(path, "rbe");
    if (!f) return cannot_read(path, errno, why);
    buf b;
    buf_init(&b, CONFIG_FILE_MAX);
    uint8_t chunk[4096];
    size_t n;
    while (buf_ok(&b) && (n = fread(chunk, 1, sizeof chunk, f)) > 0) buf_add(&b, slice_of(chunk, n));
    err e;
    if (ferror(f)) {
        e = cannot_read(path, errno, why); /* a directory, for one */
    } else if (!buf_ok(&b)) {
        (void)snprintf(why, CONFIG_WHY_MAX, "%.200s: larger than %u bytes", path, CONFIG_FILE_MAX);
        e = ERR_CONFIG;
    } else {
        e = config_read_text(c, path, buf_slice(&b), why);
    }
    buf_fini(&b);
    (void)fclose(f);
    return e;
}

/* --- what no single key can tell */
static bool contains(const config_list *l, const char *s) {
    for (size_t i = 0; i < l->n; i++)
        if (strcmp(l->v[i], s) == 0) return true;
    return false;
}

/* Kept messages in flight to a client must fit into what is held for it; else a client that is slow, not dead, would be closed. */
static err check_delivery(const config *c, char why[CONFIG_WHY_MAX]) {
    if (c->window_messages > c->unacked_max)
        return config_why(why, ERR_CONFIG, "delivery.window_messages (%lld) must not be more than xmpp.unacked_max (%lld)",
                          (long long)c->window_messages, (long long)c->unacked_max);
    if (c->window_bytes + c->stanza_max > c->out_max)
        return config_why(why, ERR_CONFIG, "xmpp.out_max (%lld) must hold delivery.window_bytes and one stanza of xmpp.stanza_max (%lld)",
                          (long long)c->out_max, (long long)(c->window_bytes + c->stanza_max));
    return ERR_OK;
}

/* A key chooses its stripe by some of its hash's bits. */
static err check_tables(const config *c, char why[CONFIG_WHY_MAX]) {
    if ((c->table_stripes & (c->table_stripes - 1)) == 0) return ERR_OK;
    return config_why(why, ERR_CONFIG, "rt.table_stripes must be a power of two, not %lld", (long long)c->table_stripes);
}

/* The metrics name no user, but say how busy the node is and what fails: not for everybody unless the operator says so. */
static err check_metrics(const config *c, char why[CONFIG_WHY_MAX]) {
    sys_addr a;
    if (!*c->metrics_listen) return ERR_OK;
    if (sys_addr_parse(slice_str(c->metrics_listen), &a) != ERR_OK || a.family == SYS_UNIX)
        return config_why(why, ERR_CONFIG, "metrics.listen: '%.80s' is not an address such as 127.0.0.1:9100 or [::1]:9100",
                          c->metrics_listen);
    if (!sys_addr_is_loopback(&a) && !c->metrics_public)
        return config_why(why, ERR_CONFIG, "metrics.listen: %.80s is not loopback; metrics.public: true allows it", c->metrics_listen);
    return ERR_OK;
}

bool config_has_role(const config *c, const char *role) { return contains(&c->roles, role); }

static err check_roles(const config *c, char why[CONFIG_WHY_MAX]) {
    for (size_t i = 0; i < c->roles.n; i++)
        if (strcmp(c->roles.v[i], "messaging") != 0)
            return config_why(why, ERR_CONFIG, "roles: unknown role '%.40s'; there is messaging", c->roles.v[i]);
    if (c->roles.n == 0 && !*c->node_name)
        return config_why(why, ERR_CONFIG, "roles: a node without any is a member of a cluster: node.name names it");
    return ERR_OK;
}

static err check_messaging(const config *c, char why[CONFIG_WHY_MAX]) {
    if (c->domains.n == 0) return config_why(why, ERR_CONFIG, "domains must name at least one domain");
    for (size_t i = 0; i < c->anonymous.n; i++)
        if (!contains(&c->domains, c->anonymous.v[i]))
            return config_why(why, ERR_CONFIG, "domains_anonymous: '%.80s' is not in domains", c->anonymous.v[i]);
    for (size_t i = 0; i < c->mechanisms.n; i++)
        if (xmpp_sasl_mech_find(slice_str(c->mechanisms.v[i])) == XMPP_MECH_NONE)
            return config_why(why, ERR_CONFIG, "sasl.mechanisms: unknown mechanism '%.80s'", c->mechanisms.v[i]);
    if (c->mechanisms.n == 0 && c->anonymous.n == 0) return config_why(why, ERR_CONFIG, "sasl.mechanisms: with none, nobody can log in");
    if (c->tls_cert.n != c->tls_key.n) return config_why(why, ERR_CONFIG, "tls.cert and tls.key must have the same number of files");
    if (c->tls_cert.n > 1 && c->tls_cert.n != c->domains.n)
        return config_why(why, ERR_CONFIG, "tls.cert must have one file, or one per domain (%zu)", c->domains.n);
    return check_delivery(c, why);
}

err config_check(const config *c, char why[CONFIG_WHY_MAX]) {
    rt_level level;
    rt_log_style style;
    err e = check_roles(c, why);
    if (e == ERR_OK && config_has_role(c, "messaging")) e = check_messaging(c, why);
    if (e != ERR_OK) return e;
    if (!rt_log_level_parse(slice_str(c->log_level), &level))
        return config_why(why, ERR_CONFIG, "log.level must be debug, info, notice, warning or error, not '%.40s'", c->log_level);
    if (!rt_log_style_parse(slice_str(c->log_format), &style))
        return config_why(why, ERR_CONFIG, "log.format must be text or json, not '%.40s'", c->log_format);
    e = check_tables(c, why);
    return e == ERR_OK ? check_metrics(c, why) : e;
}

/* --- docs/config.md */
void config_document(buf *out) {
    buf_add_str(
        out, "# Settings\n\n"
             "Made from src/main/config.def by `murre config`; do not edit. A file is YAML, keys nested (`xmpp:` / `listen:`) or dotted\n"
             "(`xmpp.listen:`); `--set key=value` on the command line wins over the file, lists are comma-separated there.\n"
             "A time is a number with us, ms, s, m, h or d; bytes take k, M or G (powers of 1024).\n\n"
             "| key | default | unit | range | meaning |\n|---|---|---|---|---|\n");
    for (size_t i = 0; i < ARRAY_LEN(KEYS); i++) {
        const key *k = &KEYS[i];
        char lo[32], hi[32], range[80] = "";
        if (k->kind == NUM || k->kind == TIME || k->kind == BYTES) {
            number_text(k, k->min, lo);
            number_text(k, k->max, hi);
            (void)snprintf(range, sizeof range, "%s to %s", lo, hi);
        }
        buf_addf(out, "| `%s` | %s%s%s | %s | %s | %s |\n", k->name, *k->def ? "`" : "", *k->def ? k->def : "none", *k->def ? "`" : "",
                 k->unit, range, k->doc);
    }
}
