/* check: what only a bug can break. CHECK stays on in production: it prints and aborts. */
#pragma once
#include <stdbool.h>

#define CHECK(x) ((x) ? (void)0 : check_failed(__FILE__, __LINE__, #x))
#define UNREACHABLE(why) check_failed(__FILE__, __LINE__, why)

/* Prints the place and what was expected on standard error, then what the hook adds, and aborts. */
__attribute__((noreturn)) void check_failed(const char *file, int line, const char *what);

/* Called once before the abort, to add the recent trace; NULL for none. */
extern void (*check_hook)(void);
