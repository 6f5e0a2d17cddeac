/* slog: log lines: key=value or a JSON object, one a line, on standard error or elsewhere. Error:
 * an operator must act. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

enum slog_level { SLOG_DEBUG, SLOG_INFO, SLOG_WARN, SLOG_ERROR };

/* "debug", "info", "warn", "error"; -1 for another word. */
int slog_level_of(const char *word);
void slog_level_set(enum slog_level least);

/* format: "text" or "json", in the shape of zap, which etcd logs with; outputs: "stderr", "stdout"
 * or paths, with commas, at most SLOG_OUTPUTS_MAX. False with the reason, SLOG_WHY_MAX bytes. */
enum { SLOG_OUTPUTS_MAX = 4, SLOG_WHY_MAX = 400 };
bool slog_open(const char *format, const char *outputs, char *why);
/* "a=1 b=\"x y\"" as ,"a":1,"b":"x y": at most room - 1 bytes and a zero, cut between two fields;
 * how many. For slog and its test. */
size_t slog_json(const char *fields, char *out, size_t room);

/* message is a fixed text; format gives the rest: "revision=%ld file=%s". Values with spaces or
 * quotes come out quoted when passed through slog_quote. Never a secret, never a value of a key. */
__attribute__((format(printf, 3, 4))) void slog(enum slog_level level, const char *message,
                                                const char *format, ...);

/* Quotes text into one of a few rotating buffers: for a handful of uses within one slog call. */
const char *slog_quote(const char *text);
