#include "base/check.h"
#include <stdio.h>
#include <stdlib.h>

void (*check_hook)(void);

void check_failed(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: bug: expected %s\n", file, line, what);
    if (check_hook) {
        void (*hook)(void) = check_hook;
        check_hook = NULL;
        hook();
    }
    abort();
}
