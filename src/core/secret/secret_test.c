#include "base/check.h"
#include "base/test.h"
#include "core/secret/secret.h"

static uint8_t box[SECRET_WRAPPED_BYTES];
static const struct secret_settings none;

static void add(struct secret *s, int64_t now_ms)
{
    struct secret_version v = { .number = s->current + 1,
                                .created_ms = now_ms,
                                .key = 1,
                                .wrapped = span_of(box, sizeof(box)),
                                .sealed = span_of(box, SECRET_BOX_MORE + 2) };
    CHECK(secret_add(s, &none, &v) == ERR_OK);
}

TEST(secret_versions_are_kept_up_to_a_bound)
{
    static struct secret s, again;
    struct alloc heap;
    struct buf b;
    s = (struct secret){ 0 };
    for (int i = 1; i <= SECRET_VERSIONS_DEFAULT + 3; i++)
        add(&s, i);
    EXPECT(s.n == SECRET_VERSIONS_DEFAULT && s.current == 13 && s.versions[0].number == 4);
    EXPECT(!secret_find(&s, 3) && secret_find(&s, 0)->number == 13 && s.created_ms == 1);
    struct secret_ask fewer = { .verb = SECRET_CONFIGURE,
                                .versions_max = 2,
                                .check_required = 1,
                                .delete_after_ms = 5,
                                .custom = SPAN("{\"a\":\"b\"}") };
    secret_change(&s, &fewer, 20);
    EXPECT(s.n == 2 && s.versions[0].number == 12 && s.check_required && s.updated_ms == 20);
    alloc_heap(&heap);
    buf_open(&b, &heap);
    secret_write(&s, &b);
    EXPECT(secret_read(buf_all(&b), &again) == ERR_OK && again.n == 2 && again.check_required);
    EXPECT(again.delete_after_ms == 5 && span_equal(again.custom, fewer.custom));
    EXPECT(span_equal(again.versions[1].sealed, s.versions[1].sealed));
    for (size_t i = 0; i < b.len; i++) /* none but the whole */
        EXPECT(secret_read(span_of(b.data, i), &again) == ERR_CORRUPT);
    b.data[0]++;
    EXPECT(secret_read(buf_all(&b), &again) == ERR_FORMAT);
    buf_close(&b);
    EXPECT(heap.used == 0);
}

TEST(secret_delete_undelete_destroy)
{
    static struct secret s;
    s = (struct secret){ 0 };
    struct secret_ask a = { .verb = SECRET_DELETE };
    add(&s, 1);
    add(&s, 2);
    secret_change(&s, &a, 5);
    EXPECT(secret_find(&s, 2)->deleted_ms == 5 && !secret_find(&s, 1)->deleted_ms);
    a = (struct secret_ask){ .verb = SECRET_UNDELETE, .numbers = { 2, 77 }, .n_numbers = 2 };
    secret_change(&s, &a, 6);
    EXPECT(!secret_find(&s, 2)->deleted_ms);
    a.verb = SECRET_DESTROY;
    secret_change(&s, &a, 7);
    EXPECT(secret_find(&s, 2)->destroyed && !secret_find(&s, 2)->sealed.len);
    a.verb = SECRET_UNDELETE;
    secret_change(&s, &a, 8);
    EXPECT(secret_find(&s, 2)->destroyed);
}

TEST(secret_check_and_set)
{
    static struct secret s;
    s = (struct secret){ 0 };
    struct secret_ask a = { .verb = SECRET_PUT };
    EXPECT(secret_check(&s, &none, &a) == ERR_OK);
    s.check_required = true;
    EXPECT(secret_check(&s, &none, &a) == ERR_SECRET_VERSION);
    a.has_check = true;
    EXPECT(secret_check(&s, &none, &a) == ERR_OK);
    add(&s, 1);
    EXPECT(secret_check(&s, &none, &a) == ERR_SECRET_VERSION);
    a.check = 1;
    EXPECT(secret_check(&s, &none, &a) == ERR_OK);
}

TEST(secret_all_versions_together_are_bounded)
{
    static struct secret s;
    static uint8_t large[SECRET_DATA_MAX];
    enum err e = ERR_OK;
    s = (struct secret){ .versions_max = SECRET_VERSIONS_MAX };
    int64_t n = 0;
    while (e == ERR_OK && n++ < SECRET_VERSIONS_MAX) {
        struct secret_version v = { .number = n,
                                    .wrapped = span_of(box, sizeof(box)),
                                    .sealed = span_of(large, sizeof(large)) };
        e = secret_add(&s, &none, &v);
    }
    EXPECT(e == ERR_SECRET_FULL && n == SECRET_RECORD_MAX / SECRET_DATA_MAX + 1);
}

TEST(secret_names)
{
    EXPECT(secret_path_good(SPAN("a/b")) && secret_path_good(SPAN("a")));
    EXPECT(!secret_path_good(SPAN("")) && !secret_path_good(SPAN("/a")));
    EXPECT(!secret_path_good(SPAN("a/")) && !secret_path_good(SPAN("a//b")));
    EXPECT(!secret_path_good(SPAN("a\n")) && !secret_namespace_good(SPAN("a/b")));
    EXPECT(secret_namespace_good(SPAN("team")) && !secret_namespace_good(SPAN("")));
}

TEST(secret_keys_round)
{
    struct alloc heap;
    struct arena arena;
    struct buf b;
    struct secret_key items[2] = {
        { .number = 1, .box = span_of(box, sizeof(box)) },
        { .number = 2, .by = "abcdefg", .box = span_of(box, sizeof(box)) }
    };
    struct secret_keys keys = { items, 2 }, again;
    alloc_heap(&heap);
    arena_open(&arena, &heap);
    buf_open(&b, &heap);
    secret_keys_write(&keys, &b);
    EXPECT(secret_keys_read(buf_all(&b), &arena, &again) == ERR_OK && again.n == 2);
    EXPECT(again.items[1].number == 2 && again.items[1].by[0] == 'a');
    for (size_t i = 0; i < b.len; i++)
        EXPECT(secret_keys_read(span_of(b.data, i), &arena, &again) == ERR_CORRUPT);
    buf_close(&b);
    arena_close(&arena);
    EXPECT(heap.used == 0);
}

/* What format 1 had: one secret without versions. */
TEST(secret_first_format_is_read)
{
    static struct secret s;
    static const uint8_t old[] = { 1, 1, 7, 10, 20, 3, 0 };
    EXPECT(secret_read(span_of(old, sizeof(old)), &s) == ERR_OK);
    EXPECT(s.check_required && s.current == 7 && s.created_ms == 10 && s.versions_max == 3);
    EXPECT(!s.delete_after_ms && !s.custom.len);
}

TEST(secret_settings_of_a_namespace_hold_where_the_secret_says_nothing)
{
    static struct secret s;
    struct secret_settings all = { .versions_max = 2,
                                   .delete_after_ms = 1000,
                                   .check_required = true,
                                   .reason_required = true },
                           again;
    struct secret_ask a = { .verb = SECRET_PUT };
    struct alloc heap;
    struct buf b;
    s = (struct secret){ 0 };
    EXPECT(secret_check(&s, &all, &a) == ERR_SECRET_VERSION);
    EXPECT(secret_deleted_then(&s, &all, 5) == 1005 && !secret_deleted_then(&s, &none, 5));
    for (int64_t i = 1; i <= 4; i++) {
        struct secret_version v = { .number = i, .wrapped = span_of(box, sizeof(box)) };
        EXPECT(secret_add(&s, &all, &v) == ERR_OK);
    }
    EXPECT(s.n == 2 && s.versions[0].number == 3);
    s.versions[0].deleted_ms = 100;
    EXPECT(!secret_deleted(&s.versions[0], 99) && secret_deleted(&s.versions[0], 100));
    alloc_heap(&heap);
    buf_open(&b, &heap);
    secret_settings_write(&all, &b);
    EXPECT(secret_settings_read(buf_all(&b), &again) == ERR_OK && again.reason_required);
    EXPECT(again.versions_max == 2 && again.delete_after_ms == 1000 && again.check_required);
    for (size_t i = 0; i < b.len; i++)
        EXPECT(secret_settings_read(span_of(b.data, i), &again) == ERR_CORRUPT);
    b.data[0]++;
    EXPECT(secret_settings_read(buf_all(&b), &again) == ERR_FORMAT);
    buf_close(&b);
    EXPECT(heap.used == 0);
}
