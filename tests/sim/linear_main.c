/* `linear FILE...`: checks histories in the text form of linear.h, "-" is standard input. Ends with
 * 0 when all are linearizable, 1 when one is not, 2 when one cannot be read or decided. */
#include <stdio.h>
#include <string.h>
#include "linear.h"

enum { STEPS_MAX = 20000000 };

static bool read_all(const char *path, struct buf *out)
{
    FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    if (!f)
        return false;
    for (size_t n = 1; n > 0; out->len += n)
        n = fread(buf_room(out, 65536), 1, 65536, f);
    bool good = !ferror(f);
    if (f != stdin)
        fclose(f);
    return good;
}

static int check(const char *path, struct alloc *heap)
{
    static const char *const words[] = { "linearizable", "NOT linearizable", "undecided" };
    struct linear l;
    struct buf text, why;
    int status = 2;
    linear_open(&l, heap);
    buf_open(&text, heap);
    buf_open(&why, heap);
    if (!read_all(path, &text)) {
        perror(path);
    } else if (linear_read(&l, buf_all(&text), &why) != ERR_OK) {
        fprintf(stderr, "%s: %.*s", path, (int)why.len, (const char *)why.data);
    } else {
        enum linear_verdict v = linear_check(&l, STEPS_MAX, &why);
        printf("%s: %zu operations: %s\n%.*s", path, l.ops.n, words[v], (int)why.len,
               why.len ? (const char *)why.data : "");
        status = v == LINEAR_YES ? 0 : v == LINEAR_NO ? 1 : 2;
    }
    buf_close(&text);
    buf_close(&why);
    linear_close(&l);
    return status;
}

int main(int argc, char **argv)
{
    struct alloc heap;
    int worst = argc < 2 ? 2 : 0;
    alloc_heap(&heap);
    if (argc < 2)
        fprintf(stderr, "usage: linear FILE...\n");
    for (int i = 1; i < argc; i++) {
        int status = check(argv[i], &heap);
        worst = worst == 1 || status == 1 ? 1 : worst > status ? worst : status;
    }
    return worst;
}
