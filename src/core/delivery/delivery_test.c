#include "base/test.h"
#include "core/delivery/delivery.h"

struct drive {
    struct alloc heap;
    struct arena arena;
    struct delivery_table *t;
    struct delivery_page page;
};

static void drive_open(struct drive *d, size_t max, int64_t keep_ms)
{
    alloc_heap(&d->heap);
    arena_open(&d->arena, &d->heap);
    d->t = delivery_open(&d->heap, max, keep_ms);
}

static bool drive_close(struct drive *d)
{
    delivery_close(d->t);
    arena_close(&d->arena);
    return d->heap.used == 0;
}

/* A connection with one subscription to a prefix of an environment. */
struct one {
    struct delivery_client *client;
    struct delivery_sub *sub;
    struct delivery_scope *scope;
};

static struct one come(struct drive *d, const char *client, const char *instance,
                       const char *prefix, int64_t now_ms)
{
    struct one o;
    void *before;
    o.client = delivery_hello(d->t, span_text(client), span_text(instance), SPAN("{}"), d, now_ms,
                              &before);
    o.scope = delivery_scope(d->t, DELIVERY_PREFIX, false, SPAN("prod"), span_text(prefix));
    if (!o.scope->n_levels) {
        const struct span levels[] = { SPAN("prod"), SPAN("base") };
        delivery_scope_levels(d->t, o.scope, levels, 2);
    }
    o.sub = o.client ? delivery_subscribe(d->t, o.client, o.scope) : NULL;
    return o;
}

/* As a connection that ends. */
static void go(struct drive *d, struct one *o, int64_t now_ms)
{
    delivery_gone(d->t, o->client, now_ms);
    delivery_scope_drop(d->t, o->scope);
}

/* The page that this asks for, by way of its bytes. */
static size_t ask(struct drive *d, struct delivery_query q)
{
    struct delivery_query again;
    struct buf b, page;
    buf_open(&b, &d->heap);
    buf_open(&page, &d->heap);
    if (!q.limit)
        q.limit = DELIVERY_PAGE_MAX;
    delivery_query_write(&q, &b);
    bool good = delivery_query_read(buf_all(&b), &again) == ERR_OK;
    if (good)
        delivery_page_write(d->t, &again, &page);
    good = good &&
           delivery_page_read(arena_copy(&d->arena, buf_all(&page)), &d->arena, &d->page) == ERR_OK;
    buf_close(&b);
    buf_close(&page);
    return good ? d->page.n : SIZE_MAX;
}

static size_t ask_text(struct drive *d, uint8_t kind, const char *environment, const char *text)
{
    return ask(d, (struct delivery_query){ .has_environment = true,
                                           .environment = span_text(environment),
                                           .has_text = true,
                                           .kind = kind,
                                           .text = span_text(text) });
}

TEST(delivery_states)
{
    struct drive d;
    drive_open(&d, 10, 1000);
    struct one a = come(&d, "app", "1", "web/", 5);
    EXPECT(ask(&d, (struct delivery_query){ 0 }) == 1 && d.page.counts[DELIVERY_SILENT] == 1);
    EXPECT(d.page.entries[0].since_ms == 5 && d.page.entries[0].connected);
    delivery_acknowledge(d.t, a.sub, 7, SPAN_NONE, 20);
    EXPECT(ask(&d, (struct delivery_query){ 0 }) == 1 && d.page.counts[DELIVERY_RUNNING] == 1);
    a.scope->due = 9;
    EXPECT(ask(&d, (struct delivery_query){ 0 }) == 1 && d.page.counts[DELIVERY_BEHIND] == 1);
    delivery_acknowledge(d.t, a.sub, 9, SPAN("too small"), 30);
    EXPECT(ask(&d, (struct delivery_query){ 0 }) == 1 && d.page.counts[DELIVERY_FAILED] == 1);
    const struct delivery_item *i = &d.page.entries[0].items[0];
    EXPECT(i->revision == 7 && i->revision_ms == 20 && i->failed == 9 && i->due == 9);
    EXPECT(span_is(i->error, "too small") && i->state == DELIVERY_FAILED);
    delivery_acknowledge(d.t, a.sub, 8, SPAN_NONE, 40); /* late: it was said before */
    EXPECT(ask(&d, (struct delivery_query){ 0 }) == 1 && d.page.counts[DELIVERY_FAILED] == 1);
    delivery_acknowledge(d.t, a.sub, 9, SPAN_NONE, 50);
    delivery_acknowledge(d.t, a.sub, 9, SPAN_NONE, 60);
    EXPECT(ask(&d, (struct delivery_query){ 0 }) == 1 && d.page.counts[DELIVERY_RUNNING] == 1);
    EXPECT(d.page.entries[0].items[0].revision_ms == 50);
    go(&d, &a, 70);
    EXPECT(ask(&d, (struct delivery_query){ 0 }) == 1 && !d.page.entries[0].connected);
    EXPECT(d.page.entries[0].items[0].state == DELIVERY_GONE);
    EXPECT(drive_close(&d));
}

TEST(delivery_who_hears_of_what)
{
    struct drive d;
    drive_open(&d, 10, 1000);
    struct one a = come(&d, "app", "1", "web/", 5);
    EXPECT(ask_text(&d, DELIVERY_KEY, "prod", "web/x") == 1);
    EXPECT(ask_text(&d, DELIVERY_KEY, "base", "web/x") == 1); /* inherited */
    EXPECT(ask_text(&d, DELIVERY_KEY, "dev", "web/x") == 0);
    EXPECT(ask_text(&d, DELIVERY_KEY, "prod", "web") == 0);
    EXPECT(ask_text(&d, DELIVERY_PREFIX, "prod", "web") == 1);
    EXPECT(ask_text(&d, DELIVERY_PREFIX, "prod", "web/x/") == 1);
    EXPECT(ask_text(&d, DELIVERY_PREFIX, "prod", "x") == 0);
    EXPECT(ask_text(&d, DELIVERY_FLAGS, "prod", "") == 0);
    struct delivery_scope *key = delivery_scope(d.t, DELIVERY_KEY, true, SPAN("prod"), SPAN("one"));
    delivery_scope_levels(d.t, key, &key->environment, 1);
    struct delivery_sub *sub = delivery_subscribe(d.t, a.client, key);
    EXPECT(ask_text(&d, DELIVERY_KEY, "prod", "one") == 1 && d.page.entries[0].n == 1);
    EXPECT(ask_text(&d, DELIVERY_KEY, "prod", "one/more") == 0);
    EXPECT(ask_text(&d, DELIVERY_PREFIX, "prod", "o") == 1);
    EXPECT(ask_text(&d, DELIVERY_PREFIX, "prod", "") == 1 && d.page.entries[0].n == 2);
    delivery_unsubscribe(d.t, a.client, sub);
    EXPECT(ask_text(&d, DELIVERY_KEY, "prod", "one") == 0);
    delivery_scope_drop(d.t, key);
    struct delivery_query q = { .has_client = true, .client = SPAN("other") };
    EXPECT(ask(&d, q) == 0);
    q.client = SPAN("app");
    EXPECT(ask(&d, q) == 1);
    go(&d, &a, 9);
    EXPECT(drive_close(&d));
}

TEST(delivery_clients_are_bounded)
{
    struct drive d;
    struct delivery_stats stats;
    drive_open(&d, 2, 100);
    struct one a = come(&d, "a", "", "", 1), b = come(&d, "b", "", "", 2);
    struct one c = come(&d, "c", "", "", 3);
    EXPECT(!c.client);
    delivery_scope_drop(d.t, c.scope);
    go(&d, &a, 10);
    c = come(&d, "c", "", "", 11); /* who is gone makes room */
    EXPECT(c.client);
    go(&d, &b, 20);
    delivery_sweep(d.t, 119);
    EXPECT(ask(&d, (struct delivery_query){ 0 }) == 2);
    b = come(&d, "b", "", "", 119); /* and comes back */
    delivery_sweep(d.t, 500);
    EXPECT(ask(&d, (struct delivery_query){ 0 }) == 2 && d.page.entries[0].since_ms == 119);
    go(&d, &b, 600);
    delivery_sweep(d.t, 700);
    delivery_stats(d.t, &stats);
    EXPECT(stats.clients == 1 && stats.connected == 1 && stats.refused == 1 && stats.scopes == 1);
    go(&d, &c, 800);
    EXPECT(drive_close(&d));
}

TEST(delivery_a_name_is_taken_over)
{
    struct drive d;
    void *before;
    int other;
    drive_open(&d, 2, 100);
    struct one a = come(&d, "a", "", "x", 1);
    EXPECT(delivery_hello(d.t, SPAN("a"), SPAN(""), SPAN(""), &other, 2, &before) == a.client);
    EXPECT(before == &d && ask(&d, (struct delivery_query){ 0 }) == 0); /* it subscribes anew */
    go(&d, &a, 3);
    EXPECT(drive_close(&d));
}

TEST(delivery_pages)
{
    struct drive d;
    struct one all[25];
    char name[8];
    drive_open(&d, 100, 100);
    for (int i = 0; i < 25; i++) {
        snprintf(name, sizeof(name), "%02d", i * 7 % 25);
        all[i] = come(&d, "app", name, "", i);
    }
    struct delivery_query q = { .limit = 10 };
    size_t seen = 0;
    do {
        EXPECT(ask(&d, q) > 0 && d.page.counts[DELIVERY_SILENT] == 25);
        for (size_t i = 0; i < d.page.n; i++, seen++) {
            snprintf(name, sizeof(name), "%02d", (int)seen);
            EXPECT(span_is(d.page.entries[i].instance, name));
        }
        q.has_after = true;
        q.after_client = d.page.entries[d.page.n - 1].client;
        q.after_instance = d.page.entries[d.page.n - 1].instance;
    } while (d.page.more);
    EXPECT(seen == 25);
    for (int i = 0; i < 25; i++)
        go(&d, &all[i], 50);
    EXPECT(drive_close(&d));
}

TEST(delivery_pages_of_members_become_one)
{
    struct drive a, b;
    struct delivery_page pages[2], out;
    drive_open(&a, 100, 1000);
    drive_open(&b, 100, 1000);
    struct one moved = come(&a, "app", "1", "", 1), stays = come(&a, "app", "3", "", 1);
    go(&a, &moved, 10);
    struct one back = come(&b, "app", "1", "", 11), last = come(&b, "app", "2", "", 11);
    ask(&a, (struct delivery_query){ 0 });
    pages[0] = a.page;
    ask(&b, (struct delivery_query){ 0 });
    pages[1] = b.page;
    delivery_merge(pages, 2, 10, &a.arena, &out);
    EXPECT(out.n == 3 && !out.more && out.counts[DELIVERY_SILENT] == 3);
    EXPECT(out.entries[0].connected && out.entries[0].since_ms == 11);
    EXPECT(span_is(out.entries[1].instance, "2") && span_is(out.entries[2].instance, "3"));
    delivery_merge(pages, 2, 2, &a.arena, &out);
    EXPECT(out.n == 2 && out.more);
    ask(&b, (struct delivery_query){ .limit = 1 });
    pages[1] = b.page; /* behind it there may be some before those of the other page */
    delivery_merge(pages, 2, 10, &a.arena, &out);
    EXPECT(out.n == 1 && out.more && span_is(out.entries[0].instance, "1"));
    go(&a, &stays, 50);
    go(&b, &back, 50);
    go(&b, &last, 50);
    EXPECT(drive_close(&a) && drive_close(&b));
}

TEST(delivery_a_summary_changes_its_mark)
{
    struct drive d;
    struct delivery_query q = { .summary = true };
    drive_open(&d, 10, 1000);
    EXPECT(ask(&d, q) == 0);
    struct one a = come(&d, "app", "1", "web/", 5);
    EXPECT(ask(&d, q) == 0 && d.page.counts[DELIVERY_SILENT] == 1);
    uint64_t mark = d.page.mark;
    EXPECT(ask(&d, q) == 0 && d.page.mark == mark);
    delivery_acknowledge(d.t, a.sub, 7, SPAN_NONE, 20);
    EXPECT(ask(&d, q) == 0 && d.page.mark != mark);
    mark = d.page.mark;
    a.scope->due = 9;
    delivery_acknowledge(d.t, a.sub, 9, SPAN_NONE, 20); /* the counts are as before */
    EXPECT(ask(&d, q) == 0 && d.page.counts[DELIVERY_RUNNING] == 1 && d.page.mark != mark);
    mark = d.page.mark;
    struct one b = come(&d, "other", "1", "", 5);
    q.has_client = true;
    q.client = SPAN("other");
    EXPECT(ask(&d, q) == 0 && d.page.counts[DELIVERY_RUNNING] == 0);
    q.client = SPAN("app");
    EXPECT(ask(&d, q) == 0 && d.page.mark == mark); /* it is about that one alone */
    go(&d, &b, 8);
    go(&d, &a, 8);
    EXPECT(drive_close(&d));
}

TEST(delivery_bytes_of_others_are_checked)
{
    struct drive d;
    struct delivery_query q;
    struct delivery_page page;
    struct buf b;
    drive_open(&d, 2, 100);
    struct one a = come(&d, "a", "b", "c", 1);
    buf_open(&b, &d.heap);
    delivery_page_write(d.t, &(struct delivery_query){ .limit = 5 }, &b);
    for (size_t i = 0; i < b.len; i++)
        EXPECT(delivery_page_read(span_of(b.data, i), &d.arena, &page) == ERR_CORRUPT);
    buf_u8(&b, 0);
    EXPECT(delivery_page_read(buf_all(&b), &d.arena, &page) == ERR_CORRUPT);
    buf_reset(&b);
    delivery_query_write(&(struct delivery_query){ .limit = 5 }, &b);
    for (size_t i = 0; i < b.len; i++)
        EXPECT(delivery_query_read(span_of(b.data, i), &q) == ERR_CORRUPT);
    buf_close(&b);
    go(&d, &a, 2);
    EXPECT(drive_close(&d));
}
