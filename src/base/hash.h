/* hash: 64-bit hash of bytes with a seed (xxHash). Never stored, never an order. */
#pragma once
#include <stdint.h>
#include "base/span.h"

uint64_t hash_bytes(struct span s, uint64_t seed);
