#include "base/test.h"
#include "link/transit/transit.h"

struct world {
    struct alloc heap;
    struct arena arena;
    struct transit_answer a;
    char why[TRANSIT_WHY_MAX];
};

static void open_world(struct world *w)
{
    alloc_heap(&w->heap);
    arena_open(&w->arena, &w->heap);
}

static void close_world(struct world *w)
{
    arena_close(&w->arena);
    EXPECT(w->heap.used == 0);
}

static enum err read(struct world *w, enum transit_op op, int status, const char *body)
{
    w->why[0] = 0;
    return transit_read(op, status, span_text(body), &w->arena, &w->a, w->why);
}

TEST(transit_names)
{
    EXPECT(transit_key_good(SPAN("confman-1.x")) && !transit_key_good(SPAN("a/b")));
    EXPECT(!transit_key_good(SPAN("")) && !transit_key_good(SPAN("..")));
    EXPECT(!transit_key_good(SPAN("a b")) && !transit_key_good(SPAN("a?b")));
    EXPECT(transit_mount_good(SPAN("transit")) && transit_mount_good(SPAN("team/a/transit")));
    EXPECT(!transit_mount_good(SPAN("/transit")) && !transit_mount_good(SPAN("transit/")));
    EXPECT(!transit_mount_good(SPAN("a/../b")) && !transit_mount_good(SPAN("a//b")));
    EXPECT(transit_token_good(SPAN("hvs.abc")) && !transit_token_good(SPAN("a\r\nb")));
    EXPECT(!transit_token_good(SPAN("")));
    EXPECT(transit_ciphertext_good(SPAN("vault:v12:abc=")));
    EXPECT(transit_version(SPAN("vault:v12:abc=")) == 12);
    EXPECT(!transit_ciphertext_good(SPAN("vault:v0:abc")));
    EXPECT(!transit_ciphertext_good(SPAN("vault:v1:")));
    EXPECT(!transit_ciphertext_good(SPAN("vault:vx:abc")));
    EXPECT(!transit_ciphertext_good(SPAN("vault:v12345678901:abc")));
    EXPECT(!transit_ciphertext_good(SPAN("vault:v1:a\nb")));
}

TEST(transit_requests)
{
    struct alloc heap;
    struct buf b;
    uint8_t key[TRANSIT_KEY_BYTES] = { 0xff };
    alloc_heap(&heap);
    buf_open(&b, &heap);
    transit_url(TRANSIT_ENCRYPT, "https://v:8200/", "team/transit", "k", &b);
    EXPECT(span_is(buf_all(&b), "https://v:8200/v1/team/transit/encrypt/k"));
    buf_reset(&b);
    transit_url(TRANSIT_LOOKUP, "https://v:8200", "transit", "k", &b);
    EXPECT(span_is(buf_all(&b), "https://v:8200/v1/auth/token/lookup-self"));
    EXPECT(transit_posts(TRANSIT_RENEW) && !transit_posts(TRANSIT_LOOKUP));
    buf_reset(&b);
    transit_body(TRANSIT_ENCRYPT, span_of(key, sizeof(key)), SPAN_NONE, &b);
    EXPECT(
        span_is(buf_all(&b), "{\"plaintext\":\"/wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"}"));
    buf_reset(&b);
    transit_body(TRANSIT_DECRYPT, SPAN("vault:v1:x"), SPAN_NONE, &b);
    EXPECT(span_is(buf_all(&b), "{\"ciphertext\":\"vault:v1:x\"}"));
    buf_reset(&b);
    transit_body(TRANSIT_LOGIN, SPAN("r\""), SPAN("s"), &b);
    EXPECT(span_is(buf_all(&b), "{\"role_id\":\"r\\\"\",\"secret_id\":\"s\"}"));
    buf_reset(&b);
    transit_body(TRANSIT_RENEW, SPAN_NONE, SPAN_NONE, &b);
    EXPECT(span_is(buf_all(&b), "{}"));
    buf_close(&b);
    EXPECT(heap.used == 0);
}

TEST(transit_answers)
{
    struct world w;
    open_world(&w);
    EXPECT(read(&w, TRANSIT_ENCRYPT, 200,
                "{\"request_id\":\"x\",\"data\":{\"ciphertext\":\"vault:v3:abc\"}}") == ERR_OK);
    EXPECT(span_is(w.a.text, "vault:v3:abc"));
    EXPECT(read(&w, TRANSIT_DECRYPT, 200,
                "{\"data\":{\"plaintext\":\"/wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"}}") ==
           ERR_OK);
    EXPECT(w.a.key[0] == 0xff && w.a.key[31] == 0);
    EXPECT(read(&w, TRANSIT_LOGIN, 200, "{\"auth\":{\"client_token\":\"hvs.x\"}}") == ERR_OK);
    EXPECT(span_is(w.a.text, "hvs.x"));
    EXPECT(read(&w, TRANSIT_LOOKUP, 200, "{\"data\":{\"ttl\":0,\"expire_time\":null}}") == ERR_OK);
    EXPECT(w.a.ttl_s == 0 && !w.a.renewable);
    EXPECT(read(&w, TRANSIT_RENEW, 200, "{\"auth\":{\"lease_duration\":60,\"renewable\":true}}") ==
           ERR_OK);
    EXPECT(w.a.ttl_s == 60 && w.a.renewable);
    EXPECT(read(&w, TRANSIT_REVOKE, 204, "") == ERR_OK);
    close_world(&w);
}

TEST(transit_wrong_answers)
{
    static const char *const bad[] = { "",
                                       "x",
                                       "[]",
                                       "{}",
                                       "{\"data\":[]}",
                                       "{\"auth\":5}",
                                       "{\"data\":{\"ciphertext\":5,\"plaintext\":\"AA==\"}}",
                                       "{\"data\":{\"ciphertext\":\"abc\",\"plaintext\":\"!\"}}",
                                       "{\"auth\":{\"client_token\":\"a b\"}}" };
    struct world w;
    open_world(&w);
    for (int op = 0; op < TRANSIT_REVOKE; op++)
        for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
            EXPECT(read(&w, (enum transit_op)op, 200, bad[i]) == ERR_TRANSIT && w.why[0]);
            EXPECT(read(&w, (enum transit_op)op, 403, bad[i]) == ERR_TRANSIT);
            EXPECT(strstr(w.why, "HTTP status 403") != NULL);
        }
    EXPECT(read(&w, TRANSIT_DECRYPT, 400, "{\"errors\":[\"bad\\nkey\\u0007\"]}") == ERR_TRANSIT);
    EXPECT(strstr(w.why, ": bad key") && !strchr(w.why, '\n'));
    EXPECT(read(&w, TRANSIT_LOOKUP, 302, "<html>") == ERR_TRANSIT && strstr(w.why, "elsewhere"));
    /* Who echoes what it was sent is not quoted. */
    EXPECT(read(&w, TRANSIT_ENCRYPT, 500, "{\"errors\":[\"/wAAAAAA\"]}") == ERR_TRANSIT);
    EXPECT(!strstr(w.why, "/wAA"));
    close_world(&w);
}
