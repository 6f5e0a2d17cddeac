#include "base/check.h"
#include <stdio.h>
#include <stdlib.h>

void (*check_hook)(void);
static _Thread_local struct check_catch *catching;

void check_failed(const char *file, int line, const char *what)
{
    if (catching) {
        snprintf(catching->what, sizeof(catching->what), "%s:%d: expected %s", file, line, what);
        longjmp(catching->back, 1);
    }
    fprintf(stderr, "%s:%d: bug: expected %s\n", file, line, what);
    if (check_hook) {
        void (*hook)(void) = check_hook;
        check_hook = NULL;
        hook();
    }
    abort();
}

bool check_caught(void (*run)(void *context), void *context, struct check_catch *c)
{
    if (setjmp(c->back) != 0) {
        catching = c->outer;
        return true;
    }
    c->outer = catching;
    catching = c;
    run(context);
    catching = c->outer;
    return false;
}
