#include "io/fetch/fetch.h"
#include <curl/curl.h>
#include <malloc.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/check.h"
#include "base/version.h"

/* ---- memory: requests and answers pass through libcurl, and there are keys in them ---- */

static void wiping_free(void *p)
{
    if (p)
        mem_wipe(p, malloc_usable_size(p));
    free(p);
}

static void *wiping_realloc(void *p, size_t size)
{
    size_t old = p ? malloc_usable_size(p) : 0;
    void *out = malloc(size);
    if (out && p) {
        memcpy(out, p, old < size ? old : size);
        wiping_free(p);
    }
    return out;
}

void fetch_prepare(void)
{
    CHECK(curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, wiping_free, wiping_realloc, strdup,
                               calloc) == CURLE_OK);
}

/* OpenSSL keeps what it has decrypted last, unless it is told not to. */
static CURLcode on_tls(CURL *c, void *context, void *unused)
{
    (void)c, (void)unused;
    SSL_CTX_set_options(context, SSL_OP_CLEANSE_PLAINTEXT);
    return CURLE_OK;
}

/* ---- requests ---- */

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

static int goes_on(void *context, curl_off_t a, curl_off_t b, curl_off_t d, curl_off_t e)
{
    const struct fetch *f = context;
    (void)a, (void)b, (void)d, (void)e;
    return atomic_load(f->stop);
}

/* The list is to be given back. */
static struct curl_slist *set_headers(CURL *c, const struct fetch *f)
{
    struct curl_slist *list = f->json ? curl_slist_append(NULL, "Content-Type: application/json")
                                      : NULL;
    for (size_t i = 0; i < f->n_headers; i++)
        list = curl_slist_append(list, f->headers[i]);
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, list);
    return list;
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
    if (f->form || f->json)
        curl_easy_setopt(c, CURLOPT_POSTFIELDS, f->json ? f->json : f->form);
    curl_easy_setopt(c, CURLOPT_SSL_CTX_FUNCTION, on_tls);
    if (strncmp(f->url, "http:", 5) == 0)
        curl_easy_setopt(c, CURLOPT_PROXY, ""); /* what goes to this machine stays on it */
    if (f->stop) {
        curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
        curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, goes_on);
        curl_easy_setopt(c, CURLOPT_XFERINFODATA, f);
    }
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
    struct curl_slist *headers = set_headers(c, f);
    CURLcode e = curl_easy_perform(c);
    curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_cleanup(c);
    curl_slist_free_all(headers);
    f->status = (int)status;
    if (e == CURLE_OK)
        return ERR_OK;
    if (e == CURLE_WRITE_ERROR) {
        snprintf(f->why, FETCH_WHY_MAX, "the answer has more than %zu bytes", f->bytes_max);
        return ERR_BODY_TOO_LARGE;
    }
    if (e == CURLE_ABORTED_BY_CALLBACK)
        return ERR_STOPPED;
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
