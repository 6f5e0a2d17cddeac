/* test: our whole unit test framework. TEST(name) { EXPECT(cond); } registers itself. */
#pragma once
#include <stdio.h>

struct test {
    const char *name, *file;
    void (*run)(void);
    struct test *next;
};

extern struct test *tests_all;
extern int test_failed;

#define TEST(n)                                                                                    \
    static void n(void);                                                                           \
    __attribute__((constructor)) static void n##_add(void)                                         \
    {                                                                                              \
        static struct test t = { #n, __FILE__, n, NULL };                                          \
        t.next = tests_all;                                                                        \
        tests_all = &t;                                                                            \
    }                                                                                              \
    static void n(void)

#define EXPECT(x)                                                                                  \
    do {                                                                                           \
        if (!(x)) {                                                                                \
            printf("%s:%d: expected %s\n", __FILE__, __LINE__, #x);                                \
            test_failed = 1;                                                                       \
            return;                                                                                \
        }                                                                                          \
    } while (0)
