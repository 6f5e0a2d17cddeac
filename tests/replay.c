/* All fuzz targets without a fuzzer: what tests/corpus holds, then inputs made of it by a fixed
 * seed.
 *
 *     replay --list | replay NAME [INPUTS]
 *
 * The same tree runs the same inputs each time, so a normal check ends the same way each time; new
 * ground is explored by `make fuzz`. The input at work stands in build/fuzz/NAME-crash, and stays
 * there when the process dies of it. */
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/prng.h"

enum { INPUT_MAX = 4096, SEEDS_MAX = 256, INPUTS = 8000, EDITS_MAX = 8 };

#define X(name) int fuzz_##name(const uint8_t *data, size_t size);
TARGETS
#undef X

static const struct target {
    const char *name;
    int (*run)(const uint8_t *data, size_t size);
} targets[] = {
#define X(name) { #name, fuzz_##name },
    TARGETS
#undef X
};

struct input {
    uint8_t bytes[INPUT_MAX];
    size_t n;
};
static struct input seeds[SEEDS_MAX], now;
static size_t n_seeds;
static char crash_path[256];
static int crash_file;
static uint8_t *crash_bytes; /* the file's */

static void show_input(void)
{
    if (ftruncate(crash_file, (off_t)now.n) == 0)
        memcpy(crash_bytes, now.bytes, now.n);
}

static bool open_crash(const char *name)
{
    snprintf(crash_path, sizeof(crash_path), "build/fuzz/%s-crash", name);
    crash_file = open(crash_path, O_RDWR | O_CREAT | O_TRUNC, 0644);
    crash_bytes = mmap(NULL, INPUT_MAX, PROT_READ | PROT_WRITE, MAP_SHARED, crash_file, 0);
    return crash_file >= 0 && crash_bytes != MAP_FAILED;
}

static void read_seeds(const char *name)
{
    char path[512];
    struct dirent *entry;
    snprintf(path, sizeof(path), "tests/corpus/%s", name);
    DIR *dir = opendir(path);
    while (dir && n_seeds < SEEDS_MAX && (entry = readdir(dir)) != NULL) {
        snprintf(path, sizeof(path), "tests/corpus/%s/%s", name, entry->d_name);
        FILE *f = entry->d_name[0] == '.' ? NULL : fopen(path, "rb");
        if (!f)
            continue;
        seeds[n_seeds].n = fread(seeds[n_seeds].bytes, 1, INPUT_MAX, f);
        n_seeds++;
        fclose(f);
    }
    if (dir)
        closedir(dir);
}

/* By their bytes: a folder lists them in any order. */
static int compare(const void *a, const void *b)
{
    const struct input *one = a, *other = b;
    size_t n = one->n < other->n ? one->n : other->n;
    int d = memcmp(one->bytes, other->bytes, n);
    return d ? d : (one->n > other->n) - (one->n < other->n);
}

static void insert(struct prng *p, size_t at)
{
    size_t n = 1 + (size_t)prng_below(p, 8);
    if (now.n + n > INPUT_MAX)
        return;
    memmove(now.bytes + at + n, now.bytes + at, now.n - at);
    for (size_t i = 0; i < n; i++)
        now.bytes[at + i] = (uint8_t)prng_next(p);
    now.n += n;
}

static void cut(struct prng *p, size_t at)
{
    size_t n = 1 + (size_t)prng_below(p, 16);
    n = n < now.n - at ? n : now.n - at;
    memmove(now.bytes + at, now.bytes + at + n, now.n - at - n);
    now.n -= n;
}

/* The end of another seed in place of what follows. */
static void graft(struct prng *p, size_t at)
{
    const struct input *other = &seeds[prng_below(p, n_seeds)];
    size_t from = (size_t)prng_below(p, other->n + 1), n = other->n - from;
    n = n < INPUT_MAX - at ? n : INPUT_MAX - at;
    memcpy(now.bytes + at, other->bytes + from, n);
    now.n = at + n;
}

static void edit(struct prng *p)
{
    static const uint8_t odd[] = { 0, 1, 0x7f, 0x80, 0xff, '"', '/', ',' };
    size_t at = (size_t)prng_below(p, now.n + 1);
    switch (prng_below(p, at < now.n ? 6 : 2)) {
    case 0:
        insert(p, at);
        break;
    case 1:
        if (n_seeds)
            graft(p, at);
        break;
    case 2:
        cut(p, at);
        break;
    case 3:
        now.bytes[at] ^= (uint8_t)(1u << prng_below(p, 8));
        break;
    case 4:
        now.bytes[at] = odd[prng_below(p, sizeof(odd))];
        break;
    default:
        now.bytes[at] = (uint8_t)(now.bytes[at] + prng_below(p, 9) - 4);
    }
}

static void run(const struct target *t, size_t inputs)
{
    struct prng p = { 1 };
    for (size_t i = 0; i < n_seeds; i++) {
        now = seeds[i];
        show_input();
        t->run(now.bytes, now.n);
    }
    for (size_t i = 0; i < inputs; i++) {
        now.n = 0;
        if (n_seeds)
            now = seeds[prng_below(&p, n_seeds)];
        for (uint64_t k = 1 + prng_below(&p, EDITS_MAX); k > 0; k--)
            edit(&p);
        show_input();
        t->run(now.bytes, now.n);
    }
    printf("ok %s: %zu inputs\n", t->name, n_seeds + inputs);
}

int main(int argc, char **argv)
{
    size_t inputs = argc > 2 ? strtoul(argv[2], NULL, 10) : INPUTS;
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        if (argc > 1 && strcmp(argv[1], "--list") == 0)
            printf("%s\n", targets[i].name);
        if (argc <= 1 || strcmp(argv[1], targets[i].name) != 0)
            continue;
        if (!open_crash(argv[1])) {
            perror(crash_path);
            return 1;
        }
        read_seeds(argv[1]);
        qsort(seeds, n_seeds, sizeof(seeds[0]), compare);
        run(&targets[i], inputs);
        unlink(crash_path);
        return 0;
    }
    return argc > 1 && strcmp(argv[1], "--list") == 0 ? 0 : 2;
}
