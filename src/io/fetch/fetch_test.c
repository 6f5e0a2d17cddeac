#include "io/fetch/fetch.h"
#include "base/test.h"

TEST(fetch_asks_only_where_it_is_safe)
{
    EXPECT(fetch_allows("https://login.example/x?y"));
    EXPECT(fetch_allows("http://127.0.0.1:8080/x") && fetch_allows("http://[::1]/"));
    EXPECT(fetch_allows("http://localhost"));
    EXPECT(!fetch_allows("http://login.example/") && !fetch_allows("http://127.0.0.1.example/"));
    EXPECT(!fetch_allows("file:///etc/passwd") && !fetch_allows("ftp://localhost/"));
    EXPECT(!fetch_allows("") && !fetch_allows("localhost"));
    EXPECT(!fetch_allows("http://localhost@login.example/"));
}

TEST(fetch_escapes)
{
    struct alloc heap;
    struct buf b;
    alloc_heap(&heap);
    buf_open(&b, &heap);
    fetch_escape(SPAN("a-Z~ &=%\0\xff"), &b);
    EXPECT(span_is(buf_all(&b), "a-Z~%20%26%3D%25%00%FF"));
    buf_close(&b);
}
