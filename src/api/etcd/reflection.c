#include "api/etcd/etcd_int.h"
#include "wire/protobuf/flagd_pb.h"

static const struct pb_file *const texts[] = { etcd_pb_files, flagd_pb_files };
enum { TEXTS = sizeof(texts) / sizeof(texts[0]) };

static const struct pb_file *file_by_name(struct span name)
{
    for (int i = 0; i < TEXTS; i++)
        for (const struct pb_file *f = texts[i]; f->name; f++)
            if (span_is(name, f->name))
                return f;
    return NULL;
}

static bool has_symbol(const struct pb_file *f, struct span symbol)
{
    for (const char *const *name = f->names; *name; name++)
        if (span_is(symbol, *name))
            return true;
    return false;
}

static const struct pb_file *file_with(struct span symbol)
{
    for (int i = 0; i < TEXTS; i++)
        for (const struct pb_file *f = texts[i]; f->name; f++)
            if (has_symbol(f, symbol))
                return f;
    return NULL;
}

static size_t add_file(struct pb_file_descriptor_response *m, const struct pb_file *f)
{
    for (size_t i = 0; i < m->n_file_descriptor_proto; i++)
        if (m->file_descriptor_proto[i].data == f->bytes)
            return 0;
    m->file_descriptor_proto[m->n_file_descriptor_proto++] = span_of(f->bytes, f->len);
    return 1;
}

/* A file and all that it uses, for whoever asks one question alone. */
static struct pb_file_descriptor_response *with_all_it_uses(const struct pb_file *file,
                                                            struct arena *arena)
{
    struct pb_file_descriptor_response *m = ARENA_NEW(arena, struct pb_file_descriptor_response);
    size_t count = 0;
    for (int i = 0; i < TEXTS; i++)
        for (const struct pb_file *f = texts[i]; f->name; f++)
            count++;
    m->file_descriptor_proto = ARENA_ARRAY(arena, struct span, count + 1);
    const struct pb_file **todo = ARENA_ARRAY(arena, const struct pb_file *, count + 1);
    size_t n = add_file(m, file);
    todo[0] = file;
    for (size_t i = 0; i < n; i++)
        for (const char *const *use = todo[i]->uses; *use; use++) {
            const struct pb_file *f = file_by_name(span_text(*use));
            if (f && add_file(m, f))
                todo[n++] = f;
        }
    return m;
}

static struct pb_list_service_response *all_services(struct arena *arena)
{
    struct pb_list_service_response *m = ARENA_NEW(arena, struct pb_list_service_response);
    int count = etcd_method_count();
    m->service = ARENA_ARRAY(arena, struct pb_service_response, (size_t)count + 1);
    for (int i = 0; i < count; i++) {
        const char *service = etcd_method_at(i)->service;
        if (i == 0 || strcmp(service, etcd_method_at(i - 1)->service) != 0)
            m->service[m->n_service++].name = span_text(service);
    }
    return m;
}

enum { ASK_FILE = 3, ASK_SYMBOL, ASK_EXTENSION, ASK_EXTENSIONS, ASK_SERVICES };
enum { TELL_FILES = 4, TELL_EXTENSIONS, TELL_SERVICES, TELL_ERROR };

static void answer(const struct pb_server_reflection_request *q, struct arena *arena,
                   struct pb_server_reflection_response *m)
{
    uint32_t what = q->which_message_request;
    const struct pb_file *file = what == ASK_FILE     ? file_by_name(q->file_by_filename)
                                 : what == ASK_SYMBOL ? file_with(q->file_containing_symbol)
                                                      : NULL;
    if (file) {
        m->which_message_response = TELL_FILES;
        m->file_descriptor_response = with_all_it_uses(file, arena);
    } else if (what == ASK_EXTENSIONS && file_with(q->all_extension_numbers_of_type)) {
        m->which_message_response = TELL_EXTENSIONS; /* there are none */
        m->all_extension_numbers_response = ARENA_NEW(arena, struct pb_extension_number_response);
        m->all_extension_numbers_response->base_type_name = q->all_extension_numbers_of_type;
    } else if (what == ASK_SERVICES) {
        m->which_message_response = TELL_SERVICES;
        m->list_services_response = all_services(arena);
    } else {
        bool question = what >= ASK_FILE && what <= ASK_EXTENSIONS;
        m->which_message_response = TELL_ERROR;
        m->error_response = ARENA_NEW(arena, struct pb_error_response);
        m->error_response->error_code = err_grpc(question ? ERR_NOT_FOUND : ERR_BAD_REQUEST);
        m->error_response->error_message =
            span_text(err_text(question ? ERR_NOT_FOUND : ERR_BAD_REQUEST));
    }
}

enum err etcd_reflect(struct span message, struct arena *arena, struct buf *out)
{
    struct pb_server_reflection_request q;
    struct pb_server_reflection_response m = { .original_request = &q };
    enum err e = pb_server_reflection_request_decode(message, arena, &q);
    if (e != ERR_OK)
        return e;
    m.valid_host = q.host;
    answer(&q, arena, &m);
    pb_server_reflection_response_encode(&m, out);
    return ERR_OK;
}
