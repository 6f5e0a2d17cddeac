/* number: doubles as text. */
#pragma once
#include <stddef.h>

enum { NUMBER_TEXT_MAX = 40 };
/* The shortest decimal that reads back as v, whole numbers below 1e21 without a point or exponent;
 * how many bytes, without a closing NUL. Not for NaN and infinities. */
size_t number_text(double v, char *out);
