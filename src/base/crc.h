/* crc: CRC-32C (Castagnoli, RFC 3720 appendix B.4), with the processor's instruction where it
 * has one. */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* Continues from crc (0 to start). */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);
