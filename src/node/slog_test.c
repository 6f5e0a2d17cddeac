#include "node/slog.h"
#include <string.h>
#include "base/check.h"
#include "base/test.h"

static const char *json_of(const char *fields, size_t room)
{
    static char out[512];
    size_t n = slog_json(fields, out, room);
    CHECK(n == strlen(out) && n < room);
    return out;
}

TEST(slog_json_fields)
{
    EXPECT(strcmp(json_of("", 512), "") == 0);
    EXPECT(strcmp(json_of("a=1 b=true  c=x-y d=", 512),
                  ",\"a\":1,\"b\":true,\"c\":\"x-y\",\"d\":\"\"") == 0);
    /* ids stay texts: they may be longer than what a reader of JSON keeps of a number */
    EXPECT(strcmp(json_of("m=1234567890123456 z=007", 512),
                  ",\"m\":\"1234567890123456\",\"z\":\"007\"") == 0);
    EXPECT(strcmp(json_of("p=\"a b=c\" q=\"say \\\"x\\\" \\\\\" r=2", 512),
                  ",\"p\":\"a b=c\",\"q\":\"say \\\"x\\\" \\\\\",\"r\":2") == 0);
}

TEST(slog_json_is_always_whole)
{
    EXPECT(strcmp(json_of("a=1 long=\"0123456789\" b=2", 24), ",\"a\":1") == 0);
    EXPECT(strcmp(json_of("a=\"\xc3\xa4\xff\xe2\x82\"", 512), ",\"a\":\"\xc3\xa4???\"") == 0);
    EXPECT(strcmp(json_of("a=\"not ended", 512), ",\"a\":\"not ended\"") == 0);
    EXPECT(strcmp(json_of("no field here", 512), "") == 0);
}

TEST(slog_open_refuses)
{
    char why[SLOG_WHY_MAX];
    EXPECT(!slog_open("xml", "stderr", why) && strstr(why, "text or json"));
    EXPECT(!slog_open("text", "/nowhere/at/all", why) && strstr(why, "No such file"));
    EXPECT(slog_open("text", "stderr", why));
}
