/* check: what only a bug can break. CHECK stays on in production: it prints and aborts. */
#pragma once
#include <setjmp.h>
#include <stdbool.h>

#define CHECK(x) ((x) ? (void)0 : check_failed(__FILE__, __LINE__, #x))
#define UNREACHABLE(why) check_failed(__FILE__, __LINE__, why)

/* Prints the place and what was expected on standard error, then what the hook adds, and aborts. */
__attribute__((noreturn)) void check_failed(const char *file, int line, const char *what);

/* Called once before the abort, to add the recent trace; NULL for none. */
extern void (*check_hook)(void);

/* For a library, which must not end its caller's process: runs, and answers true when a CHECK
 * failed on this thread meanwhile; what then tells which. All that run was at is left as it is,
 * locks and memory too: whoever catches must not use it again. */
struct check_catch {
    jmp_buf back;
    struct check_catch *outer;
    char what[200];
};
bool check_caught(void (*run)(void *context), void *context, struct check_catch *c);
