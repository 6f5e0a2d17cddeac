#include "io/fetch/fetch.h"
#include <curl/curl.h>
#include <stdio.h>
#include "base/check.h"
#include "base/version.h"

void fetch_prepare(void)
{
    CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
}

static bool is_near(const char *host)
{
    return strcmp(host, "localhost") == 0 || strcmp(host, "127.0.0.1") == 0 ||
           strcmp(host, "[::1]") == 0;
}

bool fetch_allows(const char *url)
{
    char *scheme = NULL, *host = NULL;
    CURLU *u = curl_url();
    CHECK(u != NULL);
    bool ok = curl_url_set(u, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK &&
              curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
              curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK;
    ok = ok && (strcmp(scheme, "https") == 0 || (strcmp(scheme, "http") == 0 && is_near(host)));
    curl_free(scheme);
    curl_free(host);
    curl_url_cleanup(u);
    return ok;
}

/* Fewer bytes taken than came is an error to curl. */
static size_t take(char *data, size_t one, size_t n, void *context)
{
    struct fetch *f = context;
    if (f->body->len + one * n > f->bytes_max)
        return 0;
    buf_put(f->body, data, one * n);
    return one * n;
}

static void set_up(CURL *c, struct fetch *f, char *error)
{
    curl_easy_setopt(c, CURLOPT_URL, f->url);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)f->timeout_ms);
    curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "confman/" CONFMAN_VERSION);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, f);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, error);
    curl_easy_setopt(c, CURLOPT_FORBID_REUSE, 1L);
    if (f->ca_file && f->ca_file[0])
        curl_easy_setopt(c, CURLOPT_CAINFO, f->ca_file);
    if (f->form)
        curl_easy_setopt(c, CURLOPT_POSTFIELDS, f->form);
}

enum err fetch_do(struct fetch *f)
{
    char error[CURL_ERROR_SIZE] = "";
    long status = 0;
    buf_reset(f->body);
    if (!fetch_allows(f->url)) {
        snprintf(f->why, FETCH_WHY_MAX, "%.200s: only https: is asked", f->url);
        return ERR_BAD_REQUEST;
    }
    CURL *c = curl_easy_init();
    CHECK(c != NULL);
    set_up(c, f, error);
    CURLcode e = curl_easy_perform(c);
    curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_cleanup(c);
    f->status = (int)status;
    if (e == CURLE_OK)
        return ERR_OK;
    if (e == CURLE_WRITE_ERROR) {
        snprintf(f->why, FETCH_WHY_MAX, "the answer has more than %zu bytes", f->bytes_max);
        return ERR_BODY_TOO_LARGE;
    }
    snprintf(f->why, FETCH_WHY_MAX, "%.250s", error[0] ? error : curl_easy_strerror(e));
    return ERR_IO;
}

void fetch_escape(struct span text, struct buf *out)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] && strchr(plain, text.data[i]))
            buf_u8(out, text.data[i]);
        else
            buf_format(out, "%%%02X", text.data[i]);
    }
}
