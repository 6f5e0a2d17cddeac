/* nearest: which known word was meant: for messages about unknown commands, flags and settings. */
#pragma once
#include <stddef.h>

/* The known word with the fewest changed letters, if that is at most a third of them; else NULL. */
const char *nearest_word(const char *given, const char *const *known, size_t n);
