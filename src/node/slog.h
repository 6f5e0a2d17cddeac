/* slog: log lines: one line, key=value, on standard error. Error: an operator must act. */
#pragma once

enum slog_level { SLOG_DEBUG, SLOG_INFO, SLOG_WARN, SLOG_ERROR };

/* "debug", "info", "warn", "error"; -1 for another word. */
int slog_level_of(const char *word);
void slog_level_set(enum slog_level least);

/* message is a fixed text; format gives the rest: "revision=%ld file=%s". Values with spaces or
 * quotes come out quoted when passed through slog_quote. Never a secret, never a value of a key. */
__attribute__((format(printf, 3, 4))) void slog(enum slog_level level, const char *message,
                                                const char *format, ...);

/* Quotes text into one of a few rotating buffers: for a handful of uses within one slog call. */
const char *slog_quote(const char *text);
