#include "node/slog.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "base/check.h"

enum { LINE_MAX_BYTES = 2048, QUOTES = 4, QUOTE_MAX = 512 };

static enum slog_level least_level = SLOG_INFO;
static const char *const words[] = { "debug", "info", "warn", "error" };

int slog_level_of(const char *word)
{
    for (int i = 0; i < 4; i++)
        if (strcmp(word, words[i]) == 0)
            return i;
    return -1;
}

void slog_level_set(enum slog_level least)
{
    least_level = least;
}

const char *slog_quote(const char *text)
{
    static char buffers[QUOTES][QUOTE_MAX];
    static unsigned next;
    char *out = buffers[next++ % QUOTES];
    size_t n = 0;
    out[n++] = '"';
    for (; *text && n < QUOTE_MAX - 4; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            out[n++] = '\\';
        out[n++] = c < 0x20 || c == 0x7f ? '.' : (char)c;
    }
    out[n++] = '"';
    out[n] = 0;
    return out;
}

void slog(enum slog_level level, const char *message, const char *format, ...)
{
    if (level < least_level)
        return;
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    char line[LINE_MAX_BYTES];
    size_t n = strftime(line, sizeof(line), "time=%Y-%m-%dT%H:%M:%S", &utc);
    int more = snprintf(line + n, sizeof(line) - n, ".%03ldZ level=%s message=\"%s\" ",
                        now.tv_nsec / 1000000, words[level], message);
    CHECK(more > 0 && n + (size_t)more < sizeof(line));
    n += (size_t)more;
    va_list args;
    va_start(args, format);
    more = vsnprintf(line + n, sizeof(line) - n - 1, format, args);
    va_end(args);
    CHECK(more >= 0);
    n += (size_t)more;
    if (n > sizeof(line) - 2)
        n = sizeof(line) - 2; /* cut a line that is too long */
    while (line[n - 1] == ' ')
        n--;
    line[n++] = '\n';
    /* One write a line, so lines of several processes do not mix; a full pipe loses a line. */
    if (write(STDERR_FILENO, line, n) < 0)
        return;
}
