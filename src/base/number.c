#include "base/number.h"
#include <stdio.h>
#include <stdlib.h>

size_t number_text(double v, char *out)
{
    int n = 0;
    if (v == 0)
        v = 0; /* -0 is 0 */
    if (v < 1e21 && v > -1e21) {
        n = snprintf(out, NUMBER_TEXT_MAX, "%.0f", v);
        if (strtod(out, NULL) == v)
            return (size_t)n;
    }
    for (int precision = 1; precision <= 17; precision++) {
        n = snprintf(out, NUMBER_TEXT_MAX, "%.*g", precision, v);
        if (strtod(out, NULL) == v)
            break;
    }
    return (size_t)n;
}
