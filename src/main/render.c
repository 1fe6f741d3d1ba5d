/* render: see render.h. */
#include "main/render.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <wchar.h>

#define COLUMNS_MAX 64u
#define NAME_WIDTH  20

/* --- numbers */
static bool ends_with(const char *s, const char *end) {
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

static void bytes_text(double v, char out[MAIN_NUMBER_MAX]) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    size_t u = 0;
    for (; fabs(v) >= 1024 && u + 1 < ARRAY_LEN(units); u++) v /= 1024;
    (void)snprintf(out, MAIN_NUMBER_MAX, u ? "%.1f %s" : "%.0f %s", v, units[u]);
}

static void duration_text(double usec, char out[MAIN_NUMBER_MAX]) {
    double sec = usec / 1e6;
    uint64_t whole = sec > 0 && sec < 1e15 ? (uint64_t)sec : 0;
    if (usec > -1 && usec < 1)
        (void)snprintf(out, MAIN_NUMBER_MAX, "0 s");
    else if (usec < 1000)
        (void)snprintf(out, MAIN_NUMBER_MAX, "%.0f us", usec);
    else if (sec < 1)
        (void)snprintf(out, MAIN_NUMBER_MAX, "%.1f ms", usec / 1000);
    else if (sec < 60)
        (void)snprintf(out, MAIN_NUMBER_MAX, "%.1f s", sec);
    else if (sec < 3600)
        (void)snprintf(out, MAIN_NUMBER_MAX, "%" PRIu64 " min %02" PRIu64 " s", whole / 60, whole % 60);
    else if (sec < 86400)
        (void)snprintf(out, MAIN_NUMBER_MAX, "%" PRIu64 " h %02" PRIu64 " min", whole / 3600, whole / 60 % 60);
    else
        (void)snprintf(out, MAIN_NUMBER_MAX, "%" PRIu64 " d %02" PRIu64 " h", whole / 86400, whole / 3600 % 24);
}

void main_render_number(const char *name, double value, char out[MAIN_NUMBER_MAX]) {
    if (ends_with(name, "bytes") || ends_with(name, "bytes_max"))
        bytes_text(value, out);
    else if (ends_with(name, "usec"))
        duration_text(value, out);
    else if (ends_with(name, "_sec"))
        duration_text(value * 1e6, out);
    else if (ends_with(name, "_percent"))
        (void)snprintf(out, MAIN_NUMBER_MAX, "%.2f %%", value);
    else if (value == rint(value))
        (void)snprintf(out, MAIN_NUMBER_MAX, "%.0f", value);
    else
        (void)snprintf(out, MAIN_NUMBER_MAX, "%.2f", value);
}

/* --- text */
static char *escaped(const char *s) {
    size_t max = 4 * strlen(s) + 1;
    char *text = mem_alloc(max);
    (void)utf8_escape(slice_str(s), text, max);
    return text;
}

size_t main_render_columns(const char *s) {
    size_t columns = 0;
    for (slice rest = slice_str(s); rest.len;) {
        uint32_t cp;
        size_t n = utf8_decode(rest, &cp);
        int w = n ? wcwidth((wchar_t)cp) : 1;
        columns += w < 0 ? 1 : (size_t)w; /* what the locale does not know */
        rest = slice_from(rest, n ? n : 1);
    }
    return columns;
}

static bool has_unit(const char *name) {
    if (strcmp(name, "mono_usec") == 0) return false; /* a clock's reading: only differences of it mean anything, to the last digit */
    return ends_with(name, "bytes") || ends_with(name, "bytes_max") || ends_with(name, "usec") || ends_with(name, "_sec") ||
           ends_with(name, "_percent");
}

/* What a cell or a line shows; mem_free it. A count is shown to its last digit, other numbers without a unit with two after the point. */
static char *scalar_text(const char *name, const json_t *v) {
    char number[MAIN_NUMBER_MAX];
    switch (json_typeof(v)) {
    case JSON_STRING: return escaped(json_string_value(v));
    case JSON_INTEGER:
        if (has_unit(name))
            main_render_number(name, (double)json_integer_value(v), number);
        else
            (void)snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
        return slice_dup_str(slice_str(number));
    case JSON_REAL:
        if (has_unit(name))
            main_render_number(name, json_real_value(v), number);
        else
            (void)snprintf(number, sizeof number, "%.2f", json_real_value(v));
        return slice_dup_str(slice_str(number));
    case JSON_TRUE: return slice_dup_str(SLICE("yes"));
    case JSON_FALSE: return slice_dup_str(SLICE("no"));
    case JSON_NULL: return slice_dup_str(SLICE("-"));
    case JSON_OBJECT:
    case JSON_ARRAY: break;
    }
    char *json = json_dumps(v, JSON_COMPACT), *text = escaped(json ? json : "?");
    free(json);
    return text;
}

/* --- tables */
typedef struct column {
    const char *name;
    size_t width;
    bool right; /* every cell is a number */
} column;

static size_t find_columns(const json_t *rows, column *out) {
    size_t i, n = 0;
    json_t *row, *cell;
    const char *name;
    json_array_foreach(rows, i, row) json_object_foreach(row, name, cell) {
        size_t c = 0;
        while (c < n && strcmp(out[c].name, name) != 0) c++;
        if (c == COLUMNS_MAX) continue;
        if (c == n) out[n++] = (column){.name = name, .width = main_render_columns(name), .right = true};
        char *text = scalar_text(name, cell);
        size_t w = main_render_columns(text);
        mem_free(text);
        if (w > out[c].width) out[c].width = w;
        out[c].right = out[c].right && json_is_number(cell);
    }
    return n;
}

static void put_cell(const column *c, const char *text, bool last, FILE *to) {
    int pad = (int)(c->width - main_render_columns(text));
    if (c->right)
        (void)fprintf(to, "%*s%s", pad, "", text);
    else
        (void)fprintf(to, "%s%*s", text, last ? 0 : pad, ""); /* no blanks at the end of a line */
    (void)fputs(last ? "\n" : "  ", to);
}

static void print_table(const json_t *rows, int indent, FILE *to) {
    column columns[COLUMNS_MAX];
    size_t n = find_columns(rows, columns), i;
    const json_t *row;
    (void)fprintf(to, "%*s", indent, "");
    for (size_t c = 0; c < n; c++) put_cell(&columns[c], columns[c].name, c + 1 == n, to);
    json_array_foreach(rows, i, row) {
        (void)fprintf(to, "%*s", indent, "");
        for (size_t c = 0; c < n; c++) {
            const json_t *cell = json_object_get(row, columns[c].name);
            char *text = cell ? scalar_text(columns[c].name, cell) : slice_dup_str(SLICE(""));
            put_cell(&columns[c], text, c + 1 == n, to);
            mem_free(text);
        }
    }
}

/* --- values */
static bool is_table(const json_t *v) { return json_is_array(v) && json_is_object(json_array_get(v, 0)); }

static void print_line(const char *name, const json_t *v, FILE *to) {
    char *text = scalar_text(name, v);
    (void)fprintf(to, "%s\n", text);
    mem_free(text);
}

static void print_value(const json_t *v, int indent, FILE *to) {
    size_t i;
    json_t *item;
    const char *name;
    if (is_table(v)) {
        print_table(v, indent, to);
    } else if (json_is_array(v)) {
        json_array_foreach(v, i, item) {
            (void)fprintf(to, "%*s", indent, "");
            print_line("", item, to);
        }
    } else if (json_is_object(v)) {
        json_object_foreach((json_t *)(uintptr_t)v, name, item) {
            bool nested = json_is_object(item) || is_table(item);
            (void)fprintf(to, "%*s%-*s%s", indent, "", nested ? 0 : NAME_WIDTH - 1, name, nested ? "\n" : " ");
            if (nested)
                print_value(item, indent + 2, to);
            else
                print_line(name, item, to);
        }
    } else if (v && !json_is_null(v)) {
        print_line("", v, to);
    }
}

void main_render(const json_t *v, FILE *to) { print_value(v, 0, to); }
