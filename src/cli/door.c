/* Requests of the REST door, for the commands that speak to it. */
#include <string.h>
#include "cli/cli_int.h"

void path_add(struct buf *b, const char *text, const char *plain_too)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    for (; *text; text++) {
        bool as_is = strchr(plain, *text) || strchr(plain_too, *text);
        buf_format(b, as_is ? "%c" : "%%%02X", (unsigned char)*text);
    }
}

void path_query(struct buf *b, const char *name, const char *value)
{
    if (!value)
        return;
    buf_format(b, "%c%s=", b->data && memchr(b->data, '?', b->len) ? '&' : '?', name);
    path_add(b, value, "");
}

void path_number(struct buf *b, const char *name, int64_t value)
{
    if (value)
        buf_format(b, "%c%s=%lld", b->data && memchr(b->data, '?', b->len) ? '&' : '?', name,
                   (long long)value);
}

/* The answer is the client's until that is closed. */
static int request(const struct options *o, const char *method, struct buf *path, struct span body,
                   struct client **c, struct span *answer)
{
    buf_u8(path, 0);
    *c = client_open(o);
    return *c ? client_http(*c, method, (const char *)path->data, body, answer) : EXIT_UNREACHABLE;
}

int door_text(const struct options *o, const char *method, struct buf *path, struct span body,
              struct arena *arena, struct span *out)
{
    struct client *c;
    int status = request(o, method, path, body, &c, out);
    if (status == EXIT_DONE)
        *out = arena_copy(arena, *out);
    if (c)
        client_close(c);
    return status;
}

static int read_answer(const struct options *o, const char *method, struct buf *path,
                       struct span body, bool print, json_t **out)
{
    char why[JSONR_WHY_MAX];
    struct span answer;
    struct client *c;
    int status = request(o, method, path, body, &c, &answer);
    *out = NULL;
    if (status == EXIT_DONE && print)
        printf("%.*s\n", (int)answer.len, (const char *)answer.data);
    else if (status == EXIT_DONE && answer.len && jsonr_read(answer, out, why) != ERR_OK)
        status = cli_complain(EXIT_UNREACHABLE, "the answer makes no sense");
    if (c)
        client_close(c);
    return status;
}

int door_ask(const struct options *o, const char *method, struct buf *path, struct span body,
             json_t **out)
{
    return read_answer(o, method, path, body, o->json, out);
}

int door_read(const struct options *o, const char *method, struct buf *path, struct span body,
              json_t **out)
{
    return read_answer(o, method, path, body, false, out);
}

int door_file(const char *name, struct buf *out)
{
    size_t n;
    FILE *f = strcmp(name, "-") == 0 ? stdin : fopen(name, "rb");
    if (!f)
        return cli_complain(EXIT_USAGE, "%s cannot be read", name);
    while (out->len <= DOOR_FILE_MAX && (n = fread(buf_room(out, 65536), 1, 65536, f)) > 0)
        out->len += n;
    if (f != stdin)
        fclose(f);
    return out->len > DOOR_FILE_MAX ? cli_complain(EXIT_USAGE, "%s is too long", name) : EXIT_DONE;
}

static int put_text(const char *text, size_t len, void *out)
{
    buf_put(out, text, len);
    return 0;
}

void door_json(struct buf *b, const json_t *value)
{
    json_dump_callback(value, put_text, b, JSON_COMPACT | JSON_ENCODE_ANY);
}
