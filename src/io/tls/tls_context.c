/* Certificates and rules: read from files, and read again when the files change. */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/check.h"
#include "io/tls/tls_int.h"

/* HTTP/2 wants forward secrecy and authenticated ciphers (RFC 9113 9.2.2). */
static const char own_ciphers[] = "ECDHE+AESGCM:ECDHE+CHACHA20";

/* Server's choice of protocol, best first (RFC 7301). */
static const unsigned char protocols[] = { 2, 'h', '2', 8, 'h', 't', 't', 'p', '/', '1', '.', '1' };

/* What is asked of the peer's certificate beyond its chain. Belongs to its SSL_CTX. */
struct rules {
    STACK_OF(X509_CRL) * revoked;
    char *cn, *hostname; /* comma-separated; NULL: any */
};

static bool given(const char *text)
{
    return text && text[0];
}

static char *copy_of(const char *text)
{
    char *copy = given(text) ? strdup(text) : NULL;
    CHECK(copy || !given(text));
    return copy;
}

enum err tls_refuse(const char *what, const char *which, char *why)
{
    /* The cause comes first; what OpenSSL makes of it behind that is more and more general. */
    unsigned long first = ERR_peek_error();
    const char *text =
        ERR_SYSTEM_ERROR(first) ? strerror(ERR_GET_REASON(first)) : ERR_reason_error_string(first);
    snprintf(why, TLS_WHY_MAX, "%s %.120s: %s", what, which,
             text ? text : "it is not as it should be");
    ERR_clear_error();
    return ERR_BAD_REQUEST;
}

/* ---- protocols ---- */

static int choose(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                  const unsigned char *in, unsigned in_len, void *context)
{
    unsigned char *chosen;
    CHECK(ssl != NULL && context == NULL);
    if (SSL_select_next_proto(&chosen, out_len, protocols, sizeof(protocols), in, in_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* ---- rules ---- */

static void free_rules(void *parent, void *data, CRYPTO_EX_DATA *all, int index, long n, void *p)
{
    struct rules *r = data;
    (void)parent, (void)all, (void)index, (void)n, (void)p;
    if (!r)
        return;
    sk_X509_CRL_pop_free(r->revoked, X509_CRL_free);
    free(r->cn);
    free(r->hostname);
    free(r);
}

static int rules_index(void)
{
    static int index = -1; /* contexts are opened by one thread */
    if (index < 0)
        index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, free_rules);
    CHECK(index >= 0);
    return index;
}

static bool is_revoked(const struct rules *r, X509 *cert)
{
    for (int i = 0; i < sk_X509_CRL_num(r->revoked); i++) {
        X509_CRL *crl = sk_X509_CRL_value(r->revoked, i);
        X509_REVOKED *found;
        if (X509_NAME_cmp(X509_CRL_get_issuer(crl), X509_get_issuer_name(cert)) == 0 &&
            X509_CRL_get0_by_cert(crl, &found, cert) == 1)
            return true;
    }
    return false;
}

static bool has_cn(X509 *cert, const char *name, size_t len)
{
    const X509_NAME *subject = X509_get_subject_name(cert);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    unsigned char *text = NULL;
    if (at < 0)
        return false;
    int n = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    bool same = n >= 0 && (size_t)n == len && memcmp(text, name, len) == 0;
    OPENSSL_free(text);
    return same;
}

static bool is_for(X509 *cert, const char *name, size_t len)
{
    char host[TLS_NAME_MAX];
    if (len == 0 || len >= sizeof(host))
        return false;
    memcpy(host, name, len);
    host[len] = 0;
    return X509_check_ip_asc(cert, host, 0) == 1 ||
           X509_check_host(cert, host, len, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT, NULL) == 1;
}

static bool any(const char *list, X509 *cert,
                bool (*fits)(X509 *cert, const char *name, size_t len))
{
    for (const char *at = list;; at++) {
        size_t len = strcspn(at, ",");
        if (len && fits(cert, at, len))
            return true;
        at += len;
        if (!*at)
            return false;
    }
}

/* For each certificate of the chain, the peer's own at depth 0. */
static int verify(int good, X509_STORE_CTX *store)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    const struct rules *r = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), rules_index());
    X509 *cert = X509_STORE_CTX_get_current_cert(store);
    if (!good || !cert || !r)
        return good;
    int error = X509_V_OK;
    if (is_revoked(r, cert))
        error = X509_V_ERR_CERT_REVOKED;
    else if (X509_STORE_CTX_get_error_depth(store) == 0 &&
             ((r->cn && !any(r->cn, cert, has_cn)) ||
              (r->hostname && !any(r->hostname, cert, is_for))))
        error = X509_V_ERR_APPLICATION_VERIFICATION;
    if (error != X509_V_OK)
        X509_STORE_CTX_set_error(store, error);
    return error == X509_V_OK;
}

static enum err read_revoked(const char *path, struct rules *r, char *why)
{
    BIO *file = BIO_new_file(path, "rb");
    if (!file)
        return tls_refuse("revocation list", path, why);
    for (X509_CRL *one; (one = PEM_read_bio_X509_CRL(file, NULL, NULL, NULL)) != NULL;)
        CHECK(sk_X509_CRL_push(r->revoked, one) > 0);
    X509_CRL *der = NULL;
    if (sk_X509_CRL_num(r->revoked) == 0 && BIO_seek(file, 0) == 0)
        der = d2i_X509_CRL_bio(file, NULL);
    if (der)
        CHECK(sk_X509_CRL_push(r->revoked, der) > 0);
    BIO_free(file);
    if (sk_X509_CRL_num(r->revoked) == 0)
        return tls_refuse("revocation list", path, why);
    ERR_clear_error(); /* PEM's end is told as an error */
    return ERR_OK;
}

static enum err set_rules(SSL_CTX *ctx, const struct tls_options *o, char *why)
{
    struct rules *r = calloc(1, sizeof(*r));
    CHECK(r != NULL);
    r->revoked = sk_X509_CRL_new_null();
    r->cn = copy_of(o->allowed_cn);
    r->hostname = copy_of(o->allowed_hostname);
    CHECK(r->revoked != NULL && SSL_CTX_set_ex_data(ctx, rules_index(), r) == 1);
    if (r->cn && r->hostname) {
        snprintf(why, TLS_WHY_MAX, "allowed common names and allowed host names: give one list");
        return ERR_BAD_REQUEST;
    }
    return given(o->crl_file) ? read_revoked(o->crl_file, r, why) : ERR_OK;
}

/* ---- ciphers and versions ---- */

/* OpenSSL's names are other ones; and TLS 1.3 has a list of its own. */
static enum err set_ciphers(SSL_CTX *ctx, const char *names, char *why)
{
    char old[2048] = "", new[512] = "", one[128];
    for (const char *at = names; *at;) {
        size_t len = strcspn(at, ",");
        snprintf(one, sizeof(one), "%.*s", (int)len, at);
        size_t end = strlen(one);
        if (end > 9 && strcmp(one + end - 9, "_POLY1305") == 0) /* an older name of Go's */
            snprintf(one + end, sizeof(one) - end, "_SHA256");
        const char *found = OPENSSL_cipher_name(one);
        bool of_13 = strstr(one, "_WITH_") == NULL;
        char *list = of_13 ? new : old;
        size_t room = of_13 ? sizeof(new) : sizeof(old), used = strlen(list);
        if (!found || strcmp(found, "(NONE)") == 0 || used + strlen(found) + 2 > room)
            return tls_refuse("cipher-suites: not known:", one, why);
        snprintf(list + used, room - used, "%s%s", used ? ":" : "", found);
        at += len + (at[len] == ',');
    }
    if (old[0] && SSL_CTX_set_cipher_list(ctx, old) != 1)
        return tls_refuse("cipher-suites", old, why);
    if (new[0] && SSL_CTX_set_ciphersuites(ctx, new) != 1)
        return tls_refuse("cipher-suites", new, why);
    if (old[0])
        SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE);
    return ERR_OK;
}

static int version_of(const char *text, int otherwise)
{
    return !given(text)                  ? otherwise
           : strcmp(text, "TLS1.2") == 0 ? TLS1_2_VERSION
           : strcmp(text, "TLS1.3") == 0 ? TLS1_3_VERSION
                                         : -1;
}

static enum err set_versions(SSL_CTX *ctx, const struct tls_options *o, char *why)
{
    int low = version_of(o->version_min, TLS1_2_VERSION), high = version_of(o->version_max, 0);
    if (low < 0 || high < 0) {
        snprintf(why, TLS_WHY_MAX, "TLS version \"%.40s\": there are TLS1.2 and TLS1.3",
                 low < 0 ? o->version_min : o->version_max);
        return ERR_BAD_REQUEST;
    }
    if (high && high < low) {
        snprintf(why, TLS_WHY_MAX, "the least TLS version is above the newest that is allowed");
        return ERR_BAD_REQUEST;
    }
    CHECK(SSL_CTX_set_min_proto_version(ctx, low) == 1);
    CHECK(SSL_CTX_set_max_proto_version(ctx, high) == 1);
    return ERR_OK;
}

/* ---- certificates ---- */

static enum err load_own(SSL_CTX *ctx, const struct tls_options *o, char *why)
{
    if (given(o->cert_file) && SSL_CTX_use_certificate_chain_file(ctx, o->cert_file) != 1)
        return tls_refuse("certificate", o->cert_file, why);
    if (given(o->key_file) && SSL_CTX_use_PrivateKey_file(ctx, o->key_file, SSL_FILETYPE_PEM) != 1)
        return tls_refuse("private key", o->key_file, why);
    if (given(o->key_file) && SSL_CTX_check_private_key(ctx) != 1)
        return tls_refuse("private key does not fit the certificate:", o->key_file, why);
    return ERR_OK;
}

int64_t tls_context_ends_s(const struct tls_context *c)
{
    struct tm t;
    X509 *own = SSL_CTX_get0_certificate(c->ctx);
    return own && ASN1_TIME_to_tm(X509_get0_notAfter(own), &t) == 1 ? timegm(&t) : 0;
}

static enum err load_trusted(SSL_CTX *ctx, const struct tls_options *o, char *why)
{
    bool server_asks = !o->client && (given(o->ca_file) || o->ask);
    if (given(o->ca_file) && SSL_CTX_load_verify_locations(ctx, o->ca_file, NULL) != 1)
        return tls_refuse("authorities", o->ca_file, why);
    if ((o->client || server_asks) && !given(o->ca_file) &&
        SSL_CTX_set_default_verify_paths(ctx) != 1)
        return tls_refuse("authorities", "of the system", why);
    if (server_asks && given(o->ca_file)) {
        STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(o->ca_file);
        if (!names)
            return tls_refuse("authorities", o->ca_file, why);
        SSL_CTX_set_client_CA_list(ctx, names);
    }
    if (server_asks)
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, verify);
    if (o->client && !o->skip_verify)
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, verify);
    return ERR_OK;
}

static enum err make(const struct tls_options *o, SSL_CTX **out, char *why)
{
    SSL_CTX *ctx = SSL_CTX_new(o->client ? TLS_client_method() : TLS_server_method());
    CHECK(ctx != NULL);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_RELEASE_BUFFERS |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    CHECK(SSL_CTX_set_cipher_list(ctx, own_ciphers) == 1);
    if (o->client)
        CHECK(SSL_CTX_set_alpn_protos(ctx, protocols, 3) == 0);
    else
        SSL_CTX_set_alpn_select_cb(ctx, choose, NULL);
    /* Without one, a client that shows a certificate could not resume its session. */
    CHECK(SSL_CTX_set_session_id_context(ctx, protocols, sizeof(protocols)) == 1);
    ERR_clear_error();
    enum err e = set_versions(ctx, o, why);
    if (e == ERR_OK && given(o->ciphers))
        e = set_ciphers(ctx, o->ciphers, why);
    if (e == ERR_OK)
        e = load_own(ctx, o, why);
    if (e == ERR_OK)
        e = load_trusted(ctx, o, why);
    if (e == ERR_OK)
        e = set_rules(ctx, o, why);
    if (e == ERR_OK)
        *out = ctx;
    else
        SSL_CTX_free(ctx);
    return e;
}

/* ---- the context ---- */

/* What is looked at first is never newer than what is read after it. */
static void look(const struct tls_options *o, struct stamp stamps[TLS_FILES])
{
    const char *const files[TLS_FILES] = { o->cert_file, o->key_file, o->ca_file, o->crl_file };
    struct stat s;
    memset(stamps, 0, TLS_FILES * sizeof(*stamps));
    for (int i = 0; i < TLS_FILES; i++)
        if (given(files[i]) && stat(files[i], &s) == 0) {
            stamps[i].changed = s.st_mtim;
            stamps[i].inode = s.st_ino;
            stamps[i].size = s.st_size;
        }
}

enum err tls_context_open(const struct tls_options *o, struct tls_context **out, char *why)
{
    SSL_CTX *ctx;
    struct stamp stamps[TLS_FILES];
    look(o, stamps);
    enum err e = make(o, &ctx, why);
    if (e != ERR_OK)
        return e;
    struct tls_context *c = calloc(1, sizeof(*c));
    CHECK(c != NULL);
    c->ctx = ctx;
    c->o = *o;
    c->o.cert_file = copy_of(o->cert_file);
    c->o.key_file = copy_of(o->key_file);
    c->o.ca_file = copy_of(o->ca_file);
    c->o.crl_file = copy_of(o->crl_file);
    c->o.allowed_cn = copy_of(o->allowed_cn);
    c->o.allowed_hostname = copy_of(o->allowed_hostname);
    c->o.ciphers = copy_of(o->ciphers);
    c->o.version_min = copy_of(o->version_min);
    c->o.version_max = copy_of(o->version_max);
    memcpy(c->stamps, stamps, sizeof(stamps));
    *out = c;
    return ERR_OK;
}

static void drop(const char *text)
{
    free((void *)(uintptr_t)text);
}

void tls_context_close(struct tls_context *c)
{
    SSL_CTX_free(c->ctx);
    drop(c->o.cert_file);
    drop(c->o.key_file);
    drop(c->o.ca_file);
    drop(c->o.crl_file);
    drop(c->o.allowed_cn);
    drop(c->o.allowed_hostname);
    drop(c->o.ciphers);
    drop(c->o.version_min);
    drop(c->o.version_max);
    free(c);
}

enum err tls_context_refresh(struct tls_context *c, bool *again, char *why)
{
    SSL_CTX *ctx;
    struct stamp stamps[TLS_FILES];
    *again = false;
    look(&c->o, stamps);
    if (memcmp(stamps, c->stamps, sizeof(stamps)) == 0)
        return ERR_OK;
    memcpy(c->stamps, stamps, sizeof(stamps));
    enum err e = make(&c->o, &ctx, why);
    if (e != ERR_OK)
        return e;
    SSL_CTX_free(c->ctx);
    c->ctx = ctx;
    *again = true;
    return ERR_OK;
}
