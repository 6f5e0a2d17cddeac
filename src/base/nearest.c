#include "base/nearest.h"
#include <string.h>

enum { WORD_MAX = 64 };

/* Levenshtein's distance, one row at a time. */
static size_t distance(const char *a, const char *b)
{
    size_t row[WORD_MAX + 1], n = strlen(b);
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 1; *a; a++, i++) {
        size_t corner = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t change = corner + (*a != b[j - 1]);
            corner = row[j];
            size_t least = row[j] < row[j - 1] ? row[j] : row[j - 1];
            row[j] = change < least + 1 ? change : least + 1;
        }
    }
    return row[n];
}

const char *nearest_word(const char *given, const char *const *known, size_t n)
{
    const char *best = NULL;
    size_t least = strlen(given) / 3 + 2;
    if (strlen(given) > WORD_MAX)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        size_t d = strlen(known[i]) > WORD_MAX ? least : distance(given, known[i]);
        if (d < least) {
            least = d;
            best = known[i];
        }
    }
    return best;
}
