#include "node/token.h"
#include <string.h>
#include "base/test.h"

static struct alloc heap;
static struct tokens table;

static const uint8_t *hash_of(int i)
{
    static uint8_t h[TOKEN_HASH];
    token_hash(span_of(&i, sizeof(i)), h);
    return h;
}

static void begin(size_t max)
{
    alloc_heap(&heap);
    tokens_open(&table, &heap, max);
}

static bool end(void)
{
    tokens_close(&table);
    return heap.used == 0;
}

TEST(token_is_found_until_its_time)
{
    begin(10);
    tokens_add(&table, hash_of(1), SPAN("ann"), 7, 100);
    struct proof *p = tokens_find(&table, hash_of(1), 99);
    EXPECT(p && span_is(identity_name(p->who), "ann") && p->number == 7);
    EXPECT(!tokens_find(&table, hash_of(2), 99));
    p->until_ms = 200;
    EXPECT(tokens_find(&table, hash_of(1), 199) && table.n == 1);
    EXPECT(!tokens_find(&table, hash_of(1), 200) && table.n == 0);
    EXPECT(end());
}

TEST(token_table_is_bounded)
{
    begin(3);
    for (int i = 0; i < 3; i++)
        tokens_add(&table, hash_of(i), SPAN("u"), 0, 100);
    EXPECT(tokens_find(&table, hash_of(0), 0)); /* 1 is the oldest now */
    tokens_add(&table, hash_of(3), SPAN("u"), 0, 100);
    EXPECT(table.n == 3 && table.dropped == 1);
    EXPECT(!tokens_find(&table, hash_of(1), 0) && tokens_find(&table, hash_of(0), 0));
    tokens_add(&table, hash_of(3), SPAN("v"), 5, 100); /* the same again */
    EXPECT(table.n == 3 && table.dropped == 1 && tokens_find(&table, hash_of(3), 0)->number == 5);
    EXPECT(end());
}

TEST(token_table_forgets)
{
    begin(10);
    for (int i = 0; i < 6; i++)
        tokens_add(&table, hash_of(i), i % 2 ? SPAN("odd") : SPAN("even"), 0, 100 + i);
    tokens_drop_user(&table, SPAN("odd"));
    EXPECT(table.n == 3 && tokens_find(&table, hash_of(2), 0) &&
           !tokens_find(&table, hash_of(3), 0));
    tokens_sweep(&table, 100);
    EXPECT(table.n == 2 && !tokens_find(&table, hash_of(0), 0));
    tokens_drop_all(&table);
    EXPECT(table.n == 0 && !tokens_find(&table, hash_of(4), 0));
    EXPECT(end());
}

TEST(token_user_outlives_its_token)
{
    begin(1);
    tokens_add(&table, hash_of(1), SPAN("ann"), 7, 100);
    struct identity *u = identity_hold(tokens_find(&table, hash_of(1), 0)->who);
    tokens_drop_all(&table);
    EXPECT(span_is(identity_name(u), "ann"));
    identity_let_go(u);
    identity_let_go(NULL);
    EXPECT(identity_name(NULL).len == 0);
    EXPECT(end());
}

TEST(token_simple_form)
{
    struct span letters;
    uint64_t index;
    EXPECT(token_simple(SPAN("abcdefghijklmnOP.18446744073709551615"), &letters, &index));
    EXPECT(letters.len == 16 && index == UINT64_MAX);
    EXPECT(!token_simple(SPAN("abcdefghijklmnOP.18446744073709551616"), &letters, &index));
    EXPECT(!token_simple(SPAN("abcdefghijklmnOP."), &letters, &index));
    EXPECT(!token_simple(SPAN("abcdefghijklmnOP.-1"), &letters, &index));
    EXPECT(!token_simple(SPAN("abcdefghijklmnO.1"), &letters, &index));
    EXPECT(!token_simple(SPAN(""), &letters, &index));
}

TEST(token_letters_are_fair)
{
    uint8_t random[TOKEN_RANDOM];
    char text[TOKEN_LETTERS + 1];
    for (int i = 0; i < TOKEN_RANDOM; i++)
        random[i] = (uint8_t)(i % 2 ? 255 : 51);
    EXPECT(token_letters(random, text) && strcmp(text, "ZZZZZZZZZZZZZZZZ") == 0);
    memset(random, 208, sizeof(random));
    EXPECT(!token_letters(random, text));
}
