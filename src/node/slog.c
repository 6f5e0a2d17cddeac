#include "node/slog.h"
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "base/check.h"

enum { LINE_MAX_BYTES = 4096, QUOTES = 4, QUOTE_MAX = 512 };

enum { FILE_FLAGS = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC };

static enum slog_level least_level = SLOG_INFO;
static bool json;
static int fds[SLOG_OUTPUTS_MAX] = { STDERR_FILENO };
static size_t n_fds = 1;
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

bool slog_open(const char *format, const char *outputs, char *why)
{
    json = strcmp(format, "json") == 0;
    if (!json && strcmp(format, "text") != 0) {
        snprintf(why, SLOG_WHY_MAX, "log-format must be text or json, not \"%.100s\"", format);
        return false;
    }
    int found[SLOG_OUTPUTS_MAX];
    size_t n = 0;
    for (const char *at = outputs; *at && n < SLOG_OUTPUTS_MAX;) {
        char path[LINE_MAX_BYTES];
        size_t len = strcspn(at, ",");
        snprintf(path, sizeof(path), "%.*s", (int)len, at);
        at += len + (at[len] == ',');
        found[n] = strcmp(path, "stderr") == 0   ? STDERR_FILENO
                   : strcmp(path, "stdout") == 0 ? STDOUT_FILENO
                                                 : open(path, FILE_FLAGS, 0640);
        if (found[n++] < 0) {
            snprintf(why, SLOG_WHY_MAX, "log-outputs: %.200s: %s", path, strerror(errno));
            return false;
        }
    }
    if (n) {
        memcpy(fds, found, sizeof(fds));
        n_fds = n;
    }
    return true;
}

/* ---- JSON ---- */

/* Bytes of one character of UTF-8; 0: it is none. */
static size_t character(const char *at)
{
    unsigned char c = (unsigned char)*at;
    size_t n = c < 0x80                ? 1
               : c >= 0xc2 && c < 0xe0 ? 2
               : c >= 0xe0 && c < 0xf0 ? 3
               : c == 0xf0             ? 4
                                       : 0;
    for (size_t i = 1; i < n; i++)
        if (((unsigned char)at[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

/* escaped: quotes and backslashes in it are so already, as slog_quote leaves them. */
static size_t put_text(const char *from, size_t len, bool escaped, char *out)
{
    size_t n = 0;
    out[n++] = '"';
    for (size_t i = 0; i < len;) {
        size_t step = character(from + i);
        bool special = from[i] == '"' || from[i] == '\\';
        if (escaped && special)
            step = from[i] == '\\' && i + 1 < len && (from[i + 1] == '"' || from[i + 1] == '\\')
                       ? 2
                       : 0;
        else if (special)
            out[n++] = '\\';
        if (step == 0 || i + step > len || (unsigned char)from[i] < 0x20) {
            out[n++] = '?';
            i++;
        } else {
            memcpy(out + n, from + i, step);
            n += step;
            i += step;
        }
    }
    out[n++] = '"';
    return n;
}

static bool is_plain(const char *text, size_t len)
{
    bool number =
        len > 0 && len <= 15 && (text[0] != '0' || len == 1) && strspn(text, "0123456789") >= len;
    return number || (len == 4 && strncmp(text, "true", 4) == 0) ||
           (len == 5 && strncmp(text, "false", 5) == 0);
}

/* Of a quoted value, what stands between the quotes. */
static size_t quoted_len(const char *at)
{
    size_t n = 0;
    while (at[n] && at[n] != '"')
        n += at[n] == '\\' && at[n + 1] ? 2 : 1;
    return n;
}

size_t slog_json(const char *fields, char *out, size_t room)
{
    size_t n = 0;
    const char *at = fields;
    CHECK(room > 0);
    for (;;) {
        at += strspn(at, " ");
        size_t key = strcspn(at, "= ");
        if (at[key] != '=')
            break;
        const char *value = at + key + 1;
        bool quoted = *value == '"';
        value += quoted;
        size_t len = quoted ? quoted_len(value) : strcspn(value, " ");
        if (n + 2 * (key + len) + 8 > room)
            break;
        out[n++] = ',';
        n += put_text(at, key, false, out + n);
        out[n++] = ':';
        if (!quoted && is_plain(value, len)) {
            memcpy(out + n, value, len);
            n += len;
        } else {
            n += put_text(value, len, quoted, out + n);
        }
        at = value + len + (quoted && value[len] == '"');
    }
    out[n] = 0;
    return n;
}

/* ---- lines ---- */

static void emit(const char *line, size_t n)
{
    /* One write a line, so lines of several processes do not mix; a full pipe loses a line. */
    for (size_t i = 0; i < n_fds; i++)
        if (write(fds[i], line, n) < 0)
            continue;
}

static size_t text_line(char line[LINE_MAX_BYTES], const char *when, enum slog_level level,
                        const char *message, const char *fields)
{
    int n = snprintf(line, LINE_MAX_BYTES - 1, "time=%s level=%s message=\"%s\" %s", when,
                     words[level], message, fields);
    CHECK(n > 0);
    size_t len = n > LINE_MAX_BYTES - 2 ? LINE_MAX_BYTES - 2 : (size_t)n;
    while (line[len - 1] == ' ')
        len--;
    line[len++] = '\n';
    return len;
}

static size_t json_line(char line[LINE_MAX_BYTES], const char *when, enum slog_level level,
                        const char *message, const char *fields)
{
    int n = snprintf(line, LINE_MAX_BYTES, "{\"level\":\"%s\",\"ts\":\"%s\",\"caller\":\"confman\"",
                     words[level], when);
    CHECK(n > 0 && strlen(message) * 2 + 64 < (size_t)(LINE_MAX_BYTES - n));
    size_t len = (size_t)n;
    len += (size_t)snprintf(line + len, LINE_MAX_BYTES - len, ",\"msg\":");
    len += put_text(message, strlen(message), false, line + len);
    len += slog_json(fields, line + len, LINE_MAX_BYTES - len - 2);
    line[len++] = '}';
    line[len++] = '\n';
    return len;
}

void slog(enum slog_level level, const char *message, const char *format, ...)
{
    if (level < least_level)
        return;
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    char line[LINE_MAX_BYTES], fields[LINE_MAX_BYTES], seconds[32], when[48];
    strftime(seconds, sizeof(seconds), "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(when, sizeof(when), "%s.%03ldZ", seconds, now.tv_nsec / 1000000);
    va_list args;
    va_start(args, format);
    CHECK(vsnprintf(fields, sizeof(fields), format, args) >= 0); /* one that is too long is cut */
    va_end(args);
    emit(line, (json ? json_line : text_line)(line, when, level, message, fields));
}
