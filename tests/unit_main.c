/* Runs every TEST of the tree, or those whose name begins with the first argument. */
#include <string.h>
#include <time.h>
#include "base/test.h"

struct test *tests_all;
int test_failed;

int main(int argc, char **argv)
{
    int passed = 0, failed = 0;
    for (struct test *t = tests_all; t; t = t->next) {
        if (argc > 1 && strncmp(t->name, argv[1], strlen(argv[1])) != 0)
            continue;
        test_failed = 0;
        t->run();
        if (test_failed) {
            failed++;
            printf("FAIL %s (%s)\n", t->name, t->file);
        } else {
            passed++;
        }
    }
    printf("%d passed, %d failed\n", passed, failed);
    fflush(stdout);
    return failed || !passed;
}
