/* node/slog for many nodes: lines go to the trace, with the world's time; the last error of each
 * host is kept. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "base/check.h"
#include "node/slog.h"
#include "world.h"

enum { QUOTES = 4, QUOTE_MAX = 512 };

int slog_level_of(const char *word)
{
    static const char *const words[] = { "debug", "info", "warn", "error" };
    for (int i = 0; i < 4; i++)
        if (strcmp(word, words[i]) == 0)
            return i;
    return -1;
}

bool slog_open(const char *format, const char *outputs, char *why)
{
    (void)format, (void)outputs, (void)why;
    return true;
}

void slog_level_set(enum slog_level least)
{
    (void)least;
}

const char *slog_quote(const char *text)
{
    static char buffers[QUOTES][QUOTE_MAX];
    static unsigned next;
    char *out = buffers[next++ % QUOTES];
    snprintf(out, QUOTE_MAX, "\"%.500s\"", text);
    return out;
}

void slog(enum slog_level level, const char *message, const char *format, ...)
{
    char rest[WHY_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(rest, sizeof(rest), format, args);
    va_end(args);
    if (host_here && level == SLOG_ERROR)
        snprintf(host_here->why, sizeof(host_here->why), "%.300s: %.700s", message, rest);
    if (strcmp(message, "checkpoint") == 0)
        counts[COUNT_CHECKPOINTS]++;
    if (strcmp(message, "installed a checkpoint") == 0)
        counts[COUNT_INSTALLED]++;
    trace("%s %s: %s", level == SLOG_ERROR ? "ERROR" : "log", message, rest);
}
