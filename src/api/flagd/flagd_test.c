#include "api/flagd/flagd_int.h"
#include "base/check.h"
#include "base/test.h"

static struct alloc heap;

static struct arena *fresh(void)
{
    static struct arena a;
    alloc_heap(&heap);
    arena_open(&a, &heap);
    return &a;
}

static bool encodes(const struct pb_v2_resolve_float_response *m, struct span bytes)
{
    struct buf out;
    buf_open(&out, &heap);
    pb_v2_resolve_float_response_encode(m, &out);
    bool same = span_equal(buf_all(&out), bytes);
    buf_close(&out);
    return same;
}

/* What protoc --encode writes. */
TEST(flagd_doubles_and_presence)
{
    struct arena *a = fresh();
    struct pb_v2_resolve_float_response m = { .has_value = true, .value = 0.5 }, back;
    struct span half = SPAN("\x09\0\0\0\0\0\0\xe0\x3f"), zero = SPAN("\x09\0\0\0\0\0\0\0\0");
    EXPECT(encodes(&m, half));
    m.value = 0;
    EXPECT(encodes(&m, zero));
    m.has_value = false;
    EXPECT(encodes(&m, SPAN_NONE));
    m.has_variant = true;
    EXPECT(encodes(&m, SPAN("\x1a\0")));
    EXPECT(pb_v2_resolve_float_response_decode(half, a, &back) == ERR_OK);
    EXPECT(back.has_value && back.value >= 0.5 && back.value <= 0.5 && !back.has_variant);
    EXPECT(pb_v2_resolve_float_response_decode(SPAN("\x08\1"), a, &back) == ERR_MESSAGE_MALFORMED);
    arena_close(a);
    EXPECT(heap.used == 0);
}

TEST(flagd_struct_comes_back)
{
    static const char json[] = "{\"a\":[1,-0.25,null,true,{\"b\":\"\xc3\xa4\"}],\"\":{},\"c\":[]}";
    struct arena *a = fresh();
    struct fval v, again;
    char why[FLAG_WHY_MAX];
    struct buf out;
    struct pb_struct m;
    CHECK(fval_read(span_text(json), a, &v, why) == ERR_OK);
    buf_open(&out, &heap);
    pb_struct_encode(struct_of(&v, a), &out);
    EXPECT(pb_struct_decode(buf_all(&out), a, &m) == ERR_OK);
    EXPECT(struct_read(&m, a, &again) == ERR_OK && fval_same(&v, &again));
    EXPECT(struct_read(NULL, a, &again) == ERR_OK && again.type == FVAL_OBJECT && !again.n);
    buf_close(&out);
    arena_close(a);
    EXPECT(heap.used == 0);
}

TEST(flagd_struct_bounds)
{
    struct arena *a = fresh();
    struct pb_value one = { .which_kind = 2, .number_value = 1.0 / 0.0 };
    struct pb_value *many = ARENA_ARRAY(a, struct pb_value, FLAG_VALUES_MAX);
    struct pb_list_value list = { many, FLAG_VALUES_MAX };
    struct pb_value value = { .which_kind = 6, .list_value = &list };
    struct pb_struct_fields_entry fields[2] = { { SPAN("a"), &one }, { SPAN("b"), NULL } };
    struct pb_struct m = { fields, 2 };
    struct fval v;
    EXPECT(struct_read(&m, a, &v) == ERR_OK && v.n == 2);
    EXPECT(v.members[0].value.type == FVAL_NULL && v.members[1].value.type == FVAL_NULL);
    fields[1].value = &value;
    EXPECT(struct_read(&m, a, &v) == ERR_MESSAGE_TOO_LARGE);
    arena_close(a);
    EXPECT(heap.used == 0);
}

/* ---- selectors ---- */

static enum err asked(struct arena *a, const char *header, const char *own, struct flagd_call *c)
{
    struct http_header h = { SPAN("flagd-selector"), span_text(header) };
    struct http_request head = { .headers = &h, .header_count = *header != 0 };
    struct pb_sync_flags_request m = { .selector = span_text(own) };
    struct buf b;
    buf_open(&b, &heap);
    pb_sync_flags_request_encode(&m, &b);
    flagd_head(&head, a, c);
    const struct etcd_method *sync =
        etcd_method_find(SPAN("/flagd.sync.v1.FlagSyncService/SyncFlags"));
    enum err e = flagd_decode(sync, buf_all(&b), a, c);
    buf_close(&b);
    return e;
}

TEST(flagd_selectors)
{
    static const struct {
        const char *header, *own, *environment; /* NULL: refused */
    } table[] = {
        { "", "", "default" },
        { "prod", "", "prod" },
        { "flagSetId=prod", "", "prod" },
        { "", "flagSetId=test", "test" },
        { "prod", "test", "prod" },
        { "source=file", "", NULL },
        { "flagSetId=a/b", "", NULL },
        { "flagSetId=", "", NULL },
        { "a=b=c", "", NULL },
    };
    struct arena *a = fresh();
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct flagd_call c;
        enum err e = asked(a, table[i].header, table[i].own, &c);
        EXPECT((e == ERR_OK) == (table[i].environment != NULL));
        EXPECT(e != ERR_OK ||
               (c.ask == FLAGD_SYNC && span_is(c.environment, table[i].environment)));
        EXPECT(e != ERR_OK || (c.request.type == REQUEST_WATCH_ADD &&
                               span_starts(c.request.watch.key, SPAN("confman/flag/"))));
    }
    arena_close(a);
    EXPECT(heap.used == 0);
}
