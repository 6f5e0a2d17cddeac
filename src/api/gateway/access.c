/* Who may call over HTTP at all. A browser lets any page send simple requests anywhere and only
 * keeps the answers from it, so a page of another place is refused here, before it changes
 * anything; etcd answers it and leaves out the headers. A name of another's that was made to lead
 * to this machine makes the browser believe that it is the same place: etcd CVE-2018-5702. */
#include "api/gateway/gateway.h"

static bool is_same(struct span a, struct span b) /* but for the case of letters */
{
    for (size_t i = 0; a.len == b.len && i < a.len; i++)
        if (http_lower(a.data[i]) != http_lower(b.data[i]))
            return false;
    return a.len == b.len;
}

static bool is_listed(const char *list, struct span word)
{
    while (*list) {
        size_t n = strcspn(list, ",");
        struct span one = http_trim(span_of(list, n));
        if (span_is(one, "*") || (one.len && is_same(one, word)))
            return true;
        list += n + (list[n] == ',');
    }
    return false;
}

/* "host:port", "[::1]:port": the host, without brackets. */
static struct span host_of(struct span authority)
{
    if (authority.len && authority.data[0] == '[') {
        const uint8_t *end = memchr(authority.data, ']', authority.len);
        size_t n = end ? (size_t)(end - authority.data) : 0;
        bool whole = n && (n + 1 == authority.len || end[1] == ':');
        return whole ? span_of(authority.data + 1, n - 1) : authority;
    }
    const uint8_t *colon = authority.len ? memchr(authority.data, ':', authority.len) : NULL;
    return colon ? span_of(authority.data, (size_t)(colon - authority.data)) : authority;
}

/* What nobody on the internet can make lead here: an address (digits and dots, or with a colon
 * hexadecimal digits), or a name of one word, such as localhost, which is ours to give. */
static bool is_near(struct span host)
{
    if (!host.len || !memchr(host.data, '.', host.len))
        return true;
    bool v6 = memchr(host.data, ':', host.len);
    for (size_t i = 0; i < host.len; i++) {
        uint8_t c = http_lower(host.data[i]);
        if (!((c >= '0' && c <= '9') || c == '.' || (v6 && (c == ':' || (c >= 'a' && c <= 'f')))))
            return false;
    }
    return true;
}

/* "https://host:port" is of the place that the request was sent to. */
static bool is_same_place(struct span origin, struct span authority, bool secure)
{
    struct span scheme = secure ? SPAN("https://") : SPAN("http://");
    return span_starts(origin, scheme) && is_same(span_from(origin, scheme.len), authority);
}

enum err gateway_access(const struct gateway_access *a, const struct http_request *http,
                        bool secure, struct http_header headers[GATEWAY_CORS_HEADERS], size_t *n)
{
    struct span origin, host = host_of(http->authority);
    bool any = is_listed(a->cors, SPAN_NONE);
    *n = 0;
    if (!secure && !is_near(host) && !is_listed(a->hosts, host))
        return ERR_HOST;
    bool asks = http_header_find(http, "origin", &origin);
    if (!any && !asks)
        return ERR_OK;
    if (!any && !is_listed(a->cors, origin))
        return is_same_place(origin, http->authority, secure) ? ERR_OK : ERR_ORIGIN;
    headers[0] = (struct http_header){ SPAN("access-control-allow-methods"),
                                       SPAN("POST, GET, OPTIONS, PUT, DELETE") };
    headers[1] = (struct http_header){ SPAN("access-control-allow-origin"),
                                       any ? SPAN("*") : origin };
    headers[2] = (struct http_header){ SPAN("access-control-allow-headers"),
                                       SPAN("accept, content-type, authorization") };
    *n = GATEWAY_CORS_HEADERS;
    return ERR_OK;
}

/* Fetch Metadata: browsers that know it say more than Origin does, which reads do not have. */
bool gateway_same_place(const struct http_request *http, bool secure)
{
    struct span origin, site;
    if (http_header_find(http, "sec-fetch-site", &site) && !span_is(site, "same-origin") &&
        !span_is(site, "none"))
        return false;
    return !http_header_find(http, "origin", &origin) ||
           is_same_place(origin, http->authority, secure);
}
