/* Configs and secrets as what a program takes: variables and files. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include "cli/cli_int.h"
#include "confman/confman.h"
#include "io/file/file.h"
#include "io/process/process.h"

enum { NAME_MAX_BYTES = 256, VARIABLE_MAX = 128 << 10 /* execve(2): MAX_ARG_STRLEN */ };

extern char **environ;

void rendered_open(struct rendered *r)
{
    buf_open(&r->variables, &cli_heap);
    buf_open(&r->files, &cli_heap);
    r->n_variables = 0;
}

void rendered_close(struct rendered *r)
{
    struct buf *bufs[] = { &r->variables, &r->files };
    for (int i = 0; i < 2; i++) {
        if (bufs[i]->cap)
            explicit_bzero(bufs[i]->data, bufs[i]->cap);
        buf_close(bufs[i]);
    }
}

bool rendered_same(const struct rendered *a, const struct rendered *b)
{
    return span_equal(buf_all(&a->variables), buf_all(&b->variables)) &&
           span_equal(buf_all(&a->files), buf_all(&b->files));
}

/* What stands behind "KEY=", or NULL. */
static const char *given(const struct option_list *list, const char *key)
{
    size_t n = strlen(key);
    for (int i = 0; i < list->n; i++)
        if (strncmp(list->items[i], key, n) == 0 && list->items[i][n] == '=')
            return list->items[i] + n + 1;
    return NULL;
}

/* DB_HOST of db-host, as shells have names. */
static void usual_name(const char *key, char *out)
{
    size_t n = 0;
    if (isdigit((unsigned char)key[0]))
        out[n++] = '_';
    for (; *key && n < NAME_MAX_BYTES - 1; key++)
        out[n++] = isalnum((unsigned char)*key) ? (char)toupper((unsigned char)*key) : '_';
    out[n] = 0;
}

static bool is_name(const char *text)
{
    bool good = text[0] && !isdigit((unsigned char)text[0]);
    for (; *text && good; text++)
        good = isalnum((unsigned char)*text) || *text == '_';
    return good;
}

static const char *find_variable(const struct rendered *r, const char *name, size_t len)
{
    const char *at = (const char *)r->variables.data;
    for (size_t i = 0; i < r->n_variables; i++, at += strlen(at) + 1)
        if (strncmp(at, name, len) == 0 && at[len] == '=')
            return at;
    return NULL;
}

static int add_variable(struct rendered *r, const char *name, const char *what, struct span value)
{
    size_t len = strlen(name);
    if (!is_name(name))
        return cli_complain(EXIT_USAGE, "run: \"%s\" of %s is no name of a variable", name, what);
    if (find_variable(r, name, len))
        return cli_complain(EXIT_USAGE, "run: %s and another would both be the variable %s: give "
                                        "one another name with --map", what, name);
    if ((value.len && memchr(value.data, 0, value.len)) || value.len + len + 2 > VARIABLE_MAX)
        return cli_complain(EXIT_USAGE, "run: %s cannot be a variable, for it has a zero byte or "
                                        "is too long: use --file, or leave it out with --map KEY=",
                            what);
    buf_text(&r->variables, name);
    buf_u8(&r->variables, '=');
    buf_span(&r->variables, value);
    buf_u8(&r->variables, 0);
    r->n_variables++;
    return EXIT_DONE;
}

static void add_file(struct rendered *r, const char *path, struct span value)
{
    buf_put(&r->files, path, strlen(path) + 1);
    buf_u64(&r->files, value.len);
    buf_span(&r->files, value);
}

int render_configs(const struct options *o, const struct confman_list *list, struct rendered *r)
{
    int status = EXIT_DONE;
    size_t skip = o->below ? strlen(o->below) : 0;
    for (size_t i = 0; i < list->count && status == EXIT_DONE; i++) {
        const struct confman_config *k = list->configs[i];
        struct span value = span_of(k->value, k->value_size);
        const char *file = given(&o->file, k->key), *name = given(&o->map, k->key);
        char usual[NAME_MAX_BYTES];
        if (file)
            add_file(r, file, value);
        if (name ? !name[0] : file != NULL)
            continue;
        usual_name(k->key + skip, usual);
        if (name || usual[0])
            status = add_variable(r, name ? name : usual, k->key, value);
    }
    return status;
}

/* ---- secrets ---- */

static void put_path(struct buf *b, const char *text, size_t len)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./";
    for (size_t i = 0; i < len; i++)
        buf_format(b, text[i] && strchr(plain, text[i]) ? "%c" : "%%%02X",
                   (unsigned char)text[i]);
}

static int put_text(const char *text, size_t len, void *out)
{
    buf_put(out, text, len);
    return 0;
}

static int take_member(const char *body, size_t size, const char *spec, const char *member,
                       size_t member_len, const char *to, struct rendered *r)
{
    char why[JSONR_WHY_MAX], name[NAME_MAX_BYTES];
    json_t *json = NULL;
    const json_t *v = NULL;
    if (member_len < sizeof(name) && jsonr_read(span_of(body, size), &json, why) == ERR_OK) {
        memcpy(name, member, member_len);
        name[member_len] = 0;
        v = json_object_get(json_object_get(json, "data"), name);
    }
    struct buf other;
    buf_open(&other, &cli_heap);
    if (v && !json_is_string(v))
        json_dump_callback(v, put_text, &other, JSON_ENCODE_ANY | JSON_COMPACT);
    struct span value = json_is_string(v) ? span_of(json_string_value(v), json_string_length(v))
                                          : buf_all(&other);
    int status = EXIT_DONE;
    if (!v)
        status = cli_complain(EXIT_REFUSED, "run: the secret of \"%s\" has no such member", spec);
    else if (strchr(to, '/'))
        add_file(r, to, value);
    else
        status = add_variable(r, to, spec, value);
    if (other.cap)
        explicit_bzero(other.data, other.cap);
    buf_close(&other);
    json_decref(json);
    return status;
}

/* PATH#NAME=VARIABLE or PATH#NAME=/FILE */
static int render_secret(const struct options *o, struct confman *c, const char *spec,
                         struct rendered *r)
{
    const char *hash = strrchr(spec, '#'), *equals = hash ? strchr(hash, '=') : NULL;
    struct confman_answer *answer = NULL;
    struct confman_error e;
    struct buf path;
    if (!equals || hash == spec || equals == hash + 1 || !equals[1])
        return cli_complain(EXIT_USAGE, "run: --secret wants PATH#NAME=VARIABLE, not \"%s\"", spec);
    if (strchr(equals, '/') && !process_in_memory(equals + 1))
        return cli_complain(EXIT_USAGE, "run: %s is not on a file system in memory (tmpfs, such as "
                                        "/run or /dev/shm): a secret would stay on the disk",
                            equals + 1);
    buf_open(&path, &cli_heap);
    buf_text(&path, "/v1/secrets/");
    put_path(&path, spec, (size_t)(hash - spec));
    buf_text(&path, "?reason=confman%20run&namespace=");
    put_path(&path, o->name_space ? o->name_space : "secret",
             strlen(o->name_space ? o->name_space : "secret"));
    buf_u8(&path, 0);
    enum confman_code code =
        confman_request(c, "GET", (const char *)path.data, NULL, 0, 1, &answer, &e);
    buf_close(&path);
    if (code != CONFMAN_OK)
        return cli_complain(code == CONFMAN_UNAVAILABLE ? EXIT_UNREACHABLE : EXIT_REFUSED,
                            "run: secret %.*s: %s", (int)(hash - spec), spec, e.text);
    int status = take_member(answer->body, answer->body_size, spec, hash + 1,
                             (size_t)(equals - hash) - 1, equals + 1, r);
    confman_answer_free(answer);
    return status;
}

int render_secrets(const struct options *o, struct confman *c, struct rendered *r)
{
    int status = EXIT_DONE;
    for (int i = 0; i < o->secret.n && status == EXIT_DONE; i++)
        status = render_secret(o, c, o->secret.items[i], r);
    return status;
}

/* ---- to the program ---- */

char **rendered_environment(const struct rendered *r, struct arena *arena)
{
    size_t n = 0, k = 0;
    while (environ[n])
        n++;
    char **out = ARENA_ARRAY(arena, char *, n + r->n_variables + 1);
    for (size_t i = 0; i < n; i++)
        if (!find_variable(r, environ[i], strcspn(environ[i], "=")))
            out[k++] = environ[i];
    char *at = (char *)r->variables.data;
    for (size_t i = 0; i < r->n_variables; i++, at += strlen(at) + 1)
        out[k++] = at;
    return out;
}

/* Whole or not at all, and ours alone to read. */
static enum err write_one(const char *path, struct span value)
{
    struct file *f;
    struct buf name;
    buf_open(&name, &cli_heap);
    buf_format(&name, "%s.confman-new", path);
    buf_u8(&name, 0);
    const char *beside = (const char *)name.data;
    enum err e = file_remove(beside); /* whoever made it has no say in ours */
    e = file_open(beside, FILE_CREATE, &f);
    if (e == ERR_OK) {
        e = file_write(f, 0, value);
        file_close(f);
    }
    if (e == ERR_OK)
        e = file_rename(beside, path);
    buf_close(&name);
    return e;
}

int rendered_write(const struct rendered *r)
{
    struct span rest = buf_all(&r->files);
    while (rest.len) {
        const char *path = (const char *)rest.data;
        struct span value;
        uint64_t len;
        rest = span_from(rest, strlen(path) + 1);
        if (!span_u64(&rest, &len) || !span_take(&rest, len, &value))
            break;
        if (write_one(path, value) != ERR_OK)
            return cli_complain(EXIT_REFUSED, "run: %s", file_why());
    }
    return EXIT_DONE;
}
