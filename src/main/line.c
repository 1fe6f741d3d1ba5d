/* line: see line.h. */
#include "main/line.h"

#include "base/mem.h"
#include "main/command.h"

int main_line_split(char *line, char **words, int max, size_t *out_last) {
    int n = 0;
    bool open = false;
    char *out = line; /* never past what was read: a word is followed by white space or the end */
    size_t len = strlen(line);
    for (const char *p = line;;) {
        while (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r') p++;
        *out_last = len;
        if (!*p || *p == '#') break;
        if (n == max) return -2;
        *out_last = (size_t)(p - line);
        words[n++] = out;
        char quote = 0;
        for (; *p && (quote || !strchr(" \t\n\r", *p)); p++) {
            bool escape = *p == '\\' && quote != '\'';
            if (escape && !p[1]) {
                open = true;
            } else if (escape) {
                *out++ = *++p;
            } else if (quote ? *p == quote : (*p == '\'' || *p == '"')) {
                quote = quote ? 0 : *p;
            } else {
                *out++ = *p;
            }
        }
        open = open || quote;
        bool more = *p != 0;
        *out++ = 0;
        if (!more) break;
        p++;
    }
    return open ? -1 : n;
}

bool main_line_may_be_kept(const char *line) {
    char *copy = slice_dup_str(slice_str(line)), *words[2 * MAIN_WORDS_MAX];
    size_t last;
    int n = main_line_split(copy, words, ARRAY_LEN(words), &last), arguments = 0;
    bool user = false, sets_password = false;
    for (int i = 0; i < n; i++) {
        if (strncmp(words[i], "--", 2) == 0) continue;
        arguments += sets_password;
        sets_password = sets_password || (user && (strcmp(words[i], "add") == 0 || strcmp(words[i], "passwd") == 0));
        user = user || strcmp(words[i], "user") == 0;
    }
    mem_wipe(copy, strlen(line));
    mem_free(copy);
    return n > 0 && *line != ' ' && arguments <= 1;
}
