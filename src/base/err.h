#ifndef BASE_ERR_H
#define BASE_ERR_H
/* err: the one type for operating errors and for exit reasons.
 *
 * A function that can fail for reasons outside the program returns err and is NODISCARD; out_ parameters come last and are untouched
 * on failure. Our own mistakes are `if (!check(x)) return ERR_BUG;`, which ends the actor, or panic(), which ends the node. Both stay
 * on in production. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NODISCARD                       __attribute__((warn_unused_result))
#define PRINTF_LIKE(f, a)               __attribute__((format(printf, f, a)))
#define COLD                            __attribute__((cold))
#define ALWAYS_INLINE                   inline __attribute__((always_inline)) /* for what a measurement says the compiler gets wrong */
#define LIKELY(x)                       __builtin_expect(!!(x), 1)
#define UNLIKELY(x)                     __builtin_expect(!!(x), 0)
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
#define ARRAY_LEN(a)                    (sizeof(a) / sizeof((a)[0]))

typedef enum err {
#define E(name, text) ERR_##name,
#include "base/err.def"
#undef E
    ERR_COUNT_ /* not an error: how many there are */
} err;

/* The symbolic name ("ERR_TIMEOUT" without the prefix, lower case: "timeout") and the sentence of an error. Never NULL. */
const char *err_name(err e);
const char *err_text(err e);

/* check(x): true if x. If not, reports "file:line: expression" through the panic hook's reporter and returns false; the caller then
 * returns ERR_BUG. */
#define check(x) (LIKELY(x) ? true : err_check_failed(__FILE__, __LINE__, #x))
bool err_check_failed(const char *file, int line, const char *expr) COLD;

/* panic(...): prints one line to the reporter and ends the process (abort), because going on would corrupt. */
#define panic(...) err_panic(__FILE__, __LINE__, __VA_ARGS__)
_Noreturn void err_panic(const char *file, int line, const char *fmt, ...) PRINTF_LIKE(3, 4) COLD;

/* The reporter that check and panic print through: per thread, so that a simulator run can add its seed and a node its name.
 * fn NULL restores the default, which writes one line to standard error. */
typedef void err_reporter(void *arg, const char *line);
void err_set_reporter(err_reporter *fn, void *arg);

#endif
