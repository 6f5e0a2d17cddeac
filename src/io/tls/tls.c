#include "io/tls/tls.h"
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/check.h"
#include "io/tls/tls_int.h"

struct tls {
    SSL *ssl;
    BIO *in, *out; /* owned by ssl */
    enum tls_name named_by;
    char why[256];
};

struct tls *tls_open(struct tls_context *c, const char *host)
{
    struct tls *t = calloc(1, sizeof(*t));
    CHECK(t != NULL);
    t->named_by = c->o.named_by;
    t->ssl = SSL_new(c->ctx);
    t->in = BIO_new(BIO_s_mem());
    t->out = BIO_new(BIO_s_mem());
    CHECK(t->ssl && t->in && t->out);
    SSL_set_bio(t->ssl, t->in, t->out);
    if (!c->o.client) {
        SSL_set_accept_state(t->ssl);
        return t;
    }
    SSL_set_connect_state(t->ssl);
    if (host && !c->o.skip_verify) {
        X509_VERIFY_PARAM *param = SSL_get0_param(t->ssl);
        if (X509_VERIFY_PARAM_set1_ip_asc(param, host) != 1)
            CHECK(X509_VERIFY_PARAM_set1_host(param, host, 0) == 1);
    }
    if (host)
        SSL_set_tlsext_host_name(t->ssl, host);
    return t;
}

void tls_close(struct tls *t)
{
    SSL_free(t->ssl);
    free(t);
}

static void take_output(struct tls *t, struct buf *wire)
{
    for (size_t waiting; (waiting = BIO_ctrl_pending(t->out)) > 0;) {
        uint8_t *room = buf_room(wire, waiting);
        int n = BIO_read(t->out, room, (int)waiting);
        CHECK(n > 0);
        wire->len += (size_t)n;
    }
}

static enum err broken(struct tls *t, struct buf *wire)
{
    unsigned long code = ERR_peek_last_error();
    if (code)
        ERR_error_string_n(code, t->why, sizeof(t->why));
    else
        snprintf(t->why, sizeof(t->why), "the peer closed in the middle");
    ERR_clear_error();
    take_output(t, wire);
    return ERR_IO;
}

static enum err handshake(struct tls *t, struct buf *wire)
{
    if (SSL_is_init_finished(t->ssl))
        return ERR_OK;
    int n = SSL_do_handshake(t->ssl);
    if (n != 1 && SSL_get_error(t->ssl, n) != SSL_ERROR_WANT_READ)
        return broken(t, wire);
    take_output(t, wire);
    return ERR_OK;
}

enum err tls_start(struct tls *t, struct buf *wire)
{
    return SSL_is_server(t->ssl) ? ERR_OK : handshake(t, wire);
}

static enum err read_plain(struct tls *t, struct buf *plain, struct buf *wire, bool *ended)
{
    for (;;) {
        uint8_t *room = buf_room(plain, 16384);
        int n = SSL_read(t->ssl, room, 16384);
        if (n > 0) {
            plain->len += (size_t)n;
            continue;
        }
        int why = SSL_get_error(t->ssl, n);
        if (why == SSL_ERROR_ZERO_RETURN)
            *ended = true;
        else if (why != SSL_ERROR_WANT_READ)
            return broken(t, wire);
        take_output(t, wire);
        return ERR_OK;
    }
}

enum err tls_feed(struct tls *t, struct span in, struct buf *plain, struct buf *wire, bool *ended)
{
    *ended = false;
    if (in.len)
        CHECK(BIO_write(t->in, in.data, (int)in.len) == (int)in.len);
    ERR_clear_error();
    enum err e = handshake(t, wire);
    if (e != ERR_OK || !SSL_is_init_finished(t->ssl))
        return e;
    return read_plain(t, plain, wire, ended);
}

enum err tls_write(struct tls *t, struct span plain, struct buf *wire)
{
    CHECK(SSL_is_init_finished(t->ssl));
    ERR_clear_error();
    while (plain.len) {
        int most = plain.len > (1 << 20) ? 1 << 20 : (int)plain.len;
        int n = SSL_write(t->ssl, plain.data, most);
        if (n <= 0)
            return broken(t, wire);
        plain = span_from(plain, (size_t)n);
    }
    take_output(t, wire);
    return ERR_OK;
}

void tls_goodbye(struct tls *t, struct buf *wire)
{
    if (SSL_is_init_finished(t->ssl))
        SSL_shutdown(t->ssl);
    ERR_clear_error();
    take_output(t, wire);
}

bool tls_ready(const struct tls *t)
{
    return SSL_is_init_finished(t->ssl);
}

bool tls_is_h2(const struct tls *t)
{
    const unsigned char *name;
    unsigned len;
    SSL_get0_alpn_selected(t->ssl, &name, &len);
    return len == 2 && memcmp(name, "h2", 2) == 0;
}

const char *tls_why(const struct tls *t)
{
    return t->why;
}

/* "root" and "root", a zero byte, "@evil" are two names. */
static void tell_name(const unsigned char *text, int len, struct buf *out)
{
    if (len > 0 && len <= TLS_NAME_MAX && !memchr(text, 0, (size_t)len))
        buf_put(out, text, (size_t)len);
}

static void common_name(const X509 *cert, struct buf *out)
{
    const X509_NAME *subject = X509_get_subject_name(cert);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    unsigned char *text = NULL;
    if (at < 0)
        return;
    const ASN1_STRING *name = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
    int len = ASN1_STRING_to_UTF8(&text, name);
    tell_name(text, len, out);
    OPENSSL_free(text);
}

/* All three kinds are IA5Strings (RFC 5280 4.2.1.6): ASCII. */
static void alternative_name(X509 *cert, int kind, struct buf *out)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    const ASN1_IA5STRING *one = NULL;
    int found = 0;
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        int type;
        const void *value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &type);
        if (type == kind) {
            one = value;
            found++;
        }
    }
    const unsigned char *text = one ? ASN1_STRING_get0_data(one) : NULL;
    int len = one ? ASN1_STRING_length(one) : 0, ascii = 0;
    while (ascii < len && text[ascii] < 0x80)
        ascii++;
    if (found == 1 && ascii == len)
        tell_name(text, len, out);
    GENERAL_NAMES_free(names);
}

void tls_peer_name(const struct tls *t, struct buf *out)
{
    static const int kinds[TLS_NAMES] = { [TLS_NAME_URI] = GEN_URI,
                                          [TLS_NAME_DNS] = GEN_DNS,
                                          [TLS_NAME_EMAIL] = GEN_EMAIL };
    X509 *cert = SSL_get0_peer_certificate(t->ssl);
    if (cert && t->named_by == TLS_NAME_CN)
        common_name(cert, out);
    else if (cert)
        alternative_name(cert, kinds[t->named_by], out);
}
