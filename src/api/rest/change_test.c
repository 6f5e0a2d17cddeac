/* Several keys at once, with a machine behind the door: what curl shows is in tests/server. */
#include "api/rest/drive.h"
#include "base/test.h"

static int ask(struct drive *d, const char *method, const char *target, const char *body)
{
    struct http_request r = { .method = span_text(method), .body = span_text(body) };
    http_target(span_text(target), &r.path, &r.query);
    return drive_request(d, &r);
}

static bool told(const struct drive *d, const char *text)
{
    return memmem(d->answer.body.data, d->answer.body.len, text, strlen(text)) != NULL;
}

TEST(change_txn_and_rollback)
{
    struct drive d;
    drive_open(&d);
    EXPECT(ask(&d, "POST", "/v1/txn",
               "[{\"key\":\"b\",\"value\":1},{\"key\":\"a\",\"value\":2}]") == 200);
    EXPECT(told(&d, "\"changed\":2") && told(&d, "\"revision\":2"));
    EXPECT(ask(&d, "POST", "/v1/txn", "{\"changes\":[{\"op\":\"delete\",\"key\":\"a\"}],"
                                      "\"change_log\":\"gone\"}") == 200);
    EXPECT(ask(&d, "GET", "/v1/history/a", "") == 200 && told(&d, "\"change_log\":\"gone\""));
    EXPECT(ask(&d, "GET", "/v1/diff?prefix=&from=2", "") == 200 && told(&d, "\"removed\""));
    EXPECT(ask(&d, "POST", "/v1/rollback", "{\"revision\":2,\"prefix\":\"\"}") == 200);
    EXPECT(told(&d, "\"added\"") && ask(&d, "GET", "/v1/config/a", "") == 200);
    EXPECT(ask(&d, "POST", "/v1/rollback", "{\"revision\":99,\"key\":\"a\"}") == 400);
    EXPECT(ask(&d, "POST", "/v1/txn", "[{\"key\":\"a\",\"value\":3,\"if_version\":7}]") == 412);
    EXPECT(told(&d, "\"errors\"") && told(&d, "\"version\":1"));
    EXPECT(drive_close(&d));
}

TEST(change_drafts)
{
    struct drive d;
    drive_open(&d);
    EXPECT(ask(&d, "POST", "/v1/drafts", "{\"changes\":[{\"key\":\"k\",\"value\":1}]}") == 201);
    EXPECT(told(&d, "\"id\":2") && told(&d, "\"state\":\"open\""));
    EXPECT(ask(&d, "POST", "/v1/drafts/2:approve", "") == 200 && told(&d, "\"anonymous\""));
    EXPECT(ask(&d, "POST", "/v1/drafts/2:publish", "") == 200 && told(&d, "\"published\""));
    EXPECT(ask(&d, "GET", "/v1/config/k", "") == 200);
    EXPECT(ask(&d, "POST", "/v1/drafts/2:publish", "") == 409);
    EXPECT(ask(&d, "GET", "/v1/drafts", "") == 200 && told(&d, "\"published_revision\""));
    EXPECT(ask(&d, "DELETE", "/v1/drafts/2", "") == 200);
    EXPECT(ask(&d, "GET", "/v1/drafts/2", "") == 404);
    EXPECT(drive_close(&d));
}

TEST(change_files)
{
    struct drive d;
    drive_open(&d);
    EXPECT(ask(&d, "POST", "/v1/import?format=yaml&prefix=y/&nested=true",
               "a: {b: 1}\nc: [x]\n") == 200);
    EXPECT(ask(&d, "GET", "/v1/config/y/a/b", "") == 200 && told(&d, "\"value\":1,"));
    EXPECT(ask(&d, "GET", "/v1/export?format=yaml&prefix=y/", "") == 200);
    EXPECT(span_is(d.answer.body, "a/b: 1\nc:\n  - \"x\"\n"));
    EXPECT(ask(&d, "GET", "/v1/export?format=env&prefix=y/", "") == 200);
    EXPECT(span_is(d.answer.body, "A_B=\"1\"\nC=\"[\\\"x\\\"]\"\n"));
    EXPECT(ask(&d, "POST", "/v1/import?format=json&prefix=y/&replace=true",
               "{\"a/b\":1.0}") == 200);
    EXPECT(told(&d, "\"changed\":1,\"unchanged\":1"));
    EXPECT(ask(&d, "GET", "/v1/config/y/c", "") == 404);
    EXPECT(drive_close(&d));
}
