/* file_fault: a disk in memory behind io/file/file.h, that fails, dies and forgets on command.
 *
 * What was written and not synced is in the cache only, by sectors. A kill leaves the cache as it
 * is; a power failure loses, keeps or tears what was not synced, and loses or keeps every name that
 * was made, moved or removed since the directory's last sync, each for itself. A sync that fails
 * marks its sectors clean all the same, as Linux does: nothing but a write brings them to disk. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum fault {
    FAULT_NONE,
    FAULT_ERROR,  /* one call fails */
    FAULT_ERRORS, /* it and all that follow */
    FAULT_FULL,   /* one call that wants room finds none */
    FAULT_FULLS,  /* it and all that follow */
    FAULT_KILL,   /* the process ends in the middle of the call */
    FAULT_POWER,  /* the machine does */
    FAULT_COUNT,
};

void disk_wipe(uint64_t seed);
/* From now on: the at-th call (from 1) meets the fault. FAULT_NONE: no more faults. */
void disk_arm(enum fault fault, uint64_t at);
bool disk_hit(void);  /* the fault has been met */
bool disk_dead(void); /* and it was the end of the process: every call fails */
/* The next process begins; after FAULT_POWER, or when told so, with what the disk remembers. */
void disk_restart(bool power);

/* For bit rot: what is there, file by file; and everything put aside and brought back. */
enum { DISK_FILES_MAX = 64 };
const char *disk_name(size_t i); /* NULL: no more */
uint8_t *disk_bytes(const char *name, size_t *len);
void disk_cut(const char *name, size_t len);
void disk_remove(const char *name);
void disk_keep(void);
void disk_bring_back(void);
