#include "io/key/key.h"
#include <openssl/crypto.h>
#include <openssl/decoder.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/check.h"

enum kind { RSA_PKCS1, RSA_PSS, EC, ED, HMAC_SECRET };
enum { SECRET_MAX = 65536, SIGNATURE_MAX = 2048 /* RSA of 16,384 bits */ };

static const struct method {
    const char *name;
    enum kind kind;
    const char *digest; /* NULL: the method has its own */
    int curve;          /* EC */
    size_t number;      /* EC: bytes of each half of a signature (RFC 7518 3.4) */
} methods[] = {
    { "RS256", RSA_PKCS1, "SHA256", 0, 0 },
    { "RS384", RSA_PKCS1, "SHA384", 0, 0 },
    { "RS512", RSA_PKCS1, "SHA512", 0, 0 },
    { "PS256", RSA_PSS, "SHA256", 0, 0 },
    { "PS384", RSA_PSS, "SHA384", 0, 0 },
    { "PS512", RSA_PSS, "SHA512", 0, 0 },
    { "ES256", EC, "SHA256", NID_X9_62_prime256v1, 32 },
    { "ES384", EC, "SHA384", NID_secp384r1, 48 },
    { "ES512", EC, "SHA512", NID_secp521r1, 66 },
    { "EdDSA", ED, NULL, 0, 0 },
    { "HS256", HMAC_SECRET, "SHA256", 0, 0 },
    { "HS384", HMAC_SECRET, "SHA384", 0, 0 },
    { "HS512", HMAC_SECRET, "SHA512", 0, 0 },
};

struct key {
    const struct method *method;
    const EVP_MD *digest; /* NULL for ED */
    EVP_PKEY *pkey;       /* NULL for HMAC */
    bool private;
    uint8_t *secret; /* HMAC */
    size_t secret_len;
};

static const struct method *find(const char *name)
{
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
        if (strcmp(methods[i].name, name) == 0)
            return &methods[i];
    return NULL;
}

static enum err refuse(char *why, const char *what, const char *file)
{
    snprintf(why, KEY_WHY_MAX, "%s %.200s", what, file);
    ERR_clear_error();
    return ERR_BAD_REQUEST;
}

/* ---- files ---- */

static enum err read_secret(struct key *k, const char *file, char *why)
{
    FILE *f = fopen(file, "rb");
    if (!f)
        return refuse(why, "cannot open", file);
    k->secret = malloc(SECRET_MAX);
    CHECK(k->secret != NULL);
    k->secret_len = fread(k->secret, 1, SECRET_MAX, f);
    bool ok = !ferror(f) && k->secret_len > 0 && fgetc(f) == EOF;
    fclose(f);
    return ok ? ERR_OK : refuse(why, "empty, too long or unreadable:", file);
}

/* Never asks anybody for a passphrase. */
static int no_passphrase(char *out, int size, int writing, void *context)
{
    (void)out, (void)size, (void)writing, (void)context;
    return 0;
}

static EVP_PKEY *decode(BIO *in, int selection)
{
    EVP_PKEY *pkey = NULL;
    OSSL_DECODER_CTX *ctx =
        OSSL_DECODER_CTX_new_for_pkey(&pkey, "PEM", NULL, NULL, selection, NULL, NULL);
    CHECK(ctx != NULL);
    OSSL_DECODER_CTX_set_pem_password_cb(ctx, no_passphrase, NULL);
    if (OSSL_DECODER_from_bio(ctx, in) != 1)
        pkey = NULL;
    OSSL_DECODER_CTX_free(ctx);
    return pkey;
}

/* A public key, or a certificate that has one. */
static EVP_PKEY *read_public(BIO *in)
{
    EVP_PKEY *pkey = decode(in, EVP_PKEY_PUBLIC_KEY);
    if (pkey || BIO_reset(in) != 0)
        return pkey;
    X509 *cert = PEM_read_bio_X509(in, NULL, no_passphrase, NULL);
    pkey = cert ? X509_get_pubkey(cert) : NULL;
    X509_free(cert);
    return pkey;
}

static enum err read_pem(const char *file, bool private, EVP_PKEY **out, char *why)
{
    BIO *in = BIO_new_file(file, "r");
    *out = NULL;
    if (!in)
        return refuse(why, "cannot open", file);
    *out = private ? decode(in, EVP_PKEY_KEYPAIR) : read_public(in);
    BIO_free(in);
    return *out ? ERR_OK
                : refuse(why,
                         private ? "no private key (PEM, without a passphrase) in"
                                 : "no public key or certificate (PEM) in",
                         file);
}

/* ---- opening ---- */

/* RFC 7518 3.3 and 3.4, RFC 8037 3.1: what keys a method may have. */
static bool fits(const struct method *m, EVP_PKEY *pkey)
{
    char group[64];
    switch (m->kind) {
    case RSA_PKCS1:
        return EVP_PKEY_is_a(pkey, "RSA") && EVP_PKEY_get_bits(pkey) >= KEY_RSA_BITS_MIN;
    case RSA_PSS:
        return (EVP_PKEY_is_a(pkey, "RSA") || EVP_PKEY_is_a(pkey, "RSA-PSS")) &&
               EVP_PKEY_get_bits(pkey) >= KEY_RSA_BITS_MIN;
    case EC:
        return EVP_PKEY_is_a(pkey, "EC") &&
               EVP_PKEY_get_group_name(pkey, group, sizeof(group), NULL) == 1 &&
               OBJ_txt2nid(group) == m->curve;
    case ED:
        return EVP_PKEY_is_a(pkey, "ED25519");
    case HMAC_SECRET:
        return false;
    }
    return false;
}

static enum err read_pair(struct key *k, const char *public_file, const char *private_file,
                          char *why)
{
    EVP_PKEY *public = NULL;
    enum err e = ERR_OK;
    if (!public_file[0] && !private_file[0])
        return refuse(why, "give pub-key, priv-key or both for", k->method->name);
    if (private_file[0])
        e = read_pem(private_file, true, &k->pkey, why);
    if (e == ERR_OK && public_file[0])
        e = read_pem(public_file, false, &public, why);
    k->private = k->pkey != NULL;
    if (e == ERR_OK && k->private && public && EVP_PKEY_eq(k->pkey, public) != 1)
        e = refuse(why, "the public key is not that of", private_file);
    if (!k->private)
        k->pkey = public;
    else
        EVP_PKEY_free(public);
    if (e == ERR_OK && !fits(k->method, k->pkey))
        e = refuse(why, "not a key (RSA from 2048 bits, or the method's own curve) for",
                   k->method->name);
    return e;
}

enum err key_open(const char *method, const char *public_file, const char *private_file,
                  struct key **out, char *why)
{
    const struct method *m = find(method);
    if (!m)
        return refuse(why,
                      "sign-method must be one of RS256 RS384 RS512 PS256 PS384 PS512 ES256 "
                      "ES384 ES512 EdDSA HS256 HS384 HS512, not",
                      method);
    struct key *k = calloc(1, sizeof(*k));
    CHECK(k != NULL);
    k->method = m;
    k->digest = m->digest ? EVP_get_digestbyname(m->digest) : NULL;
    CHECK(!m->digest || k->digest);
    enum err e;
    if (m->kind != HMAC_SECRET)
        e = read_pair(k, public_file, private_file, why);
    else if (!private_file[0])
        e = refuse(why, "priv-key must name the file of the secret for", method);
    else
        e = read_secret(k, private_file, why);
    k->private = k->private || m->kind == HMAC_SECRET;
    if (e == ERR_OK)
        *out = k;
    else
        key_close(k);
    return e;
}

/* ---- by numbers ---- */

static const struct {
    const char *type, *curve;
    const char *methods[7];
} families[] = {
    { "RSA", NULL, { "RS256", "RS384", "RS512", "PS256", "PS384", "PS512" } },
    { "EC", "P-256", { "ES256" } },
    { "EC", "P-384", { "ES384" } },
    { "EC", "P-521", { "ES512" } },
    { "OKP", "Ed25519", { "EdDSA" } },
};

const char *const *key_methods(const struct key_numbers *k)
{
    static const char *const none[] = { NULL };
    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++)
        if (span_is(k->type, families[i].type) &&
            (!families[i].curve || span_is(k->curve, families[i].curve)))
            return families[i].methods;
    return none;
}

static EVP_PKEY *from_params(const char *type, OSSL_PARAM_BLD *bld)
{
    EVP_PKEY *pkey = NULL;
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(bld);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    CHECK(params && ctx);
    if (EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1)
        pkey = NULL;
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    return pkey;
}

static EVP_PKEY *rsa_of(struct span n, struct span e)
{
    if (n.len > KEY_RSA_BITS_MAX / 8 + 1 || e.len > 8)
        return NULL;
    OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    BIGNUM *modulus = BN_bin2bn(n.data, (int)n.len, NULL);
    BIGNUM *exponent = BN_bin2bn(e.data, (int)e.len, NULL);
    CHECK(bld && modulus && exponent && OSSL_PARAM_BLD_push_BN(bld, "n", modulus) == 1 &&
          OSSL_PARAM_BLD_push_BN(bld, "e", exponent) == 1);
    EVP_PKEY *pkey = from_params("RSA", bld);
    OSSL_PARAM_BLD_free(bld);
    BN_free(modulus);
    BN_free(exponent);
    return pkey;
}

/* OpenSSL refuses a point that is not on the curve. */
static EVP_PKEY *ec_of(const struct method *m, struct span x, struct span y)
{
    uint8_t point[1 + 2 * 66] = { 4 }; /* not compressed (SEC 1 2.3.3) */
    if (x.len != m->number || y.len != m->number)
        return NULL;
    memcpy(point + 1, x.data, x.len);
    memcpy(point + 1 + x.len, y.data, y.len);
    OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    CHECK(bld && OSSL_PARAM_BLD_push_utf8_string(bld, "group", OBJ_nid2sn(m->curve), 0) == 1 &&
          OSSL_PARAM_BLD_push_octet_string(bld, "pub", point, 1 + 2 * x.len) == 1);
    EVP_PKEY *pkey = from_params("EC", bld);
    OSSL_PARAM_BLD_free(bld);
    return pkey;
}

static EVP_PKEY *pkey_of(const struct method *m, const struct key_numbers *k)
{
    if (m->kind == RSA_PKCS1 || m->kind == RSA_PSS)
        return rsa_of(k->first, k->second);
    if (m->kind == EC)
        return ec_of(m, k->first, k->second);
    return k->first.len == 32
               ? EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, k->first.data, 32)
               : NULL;
}

enum err key_open_numbers(const char *method, const struct key_numbers *numbers, struct key **out)
{
    const char *const *names = key_methods(numbers);
    const struct method *m = find(method);
    while (*names && strcmp(*names, method) != 0)
        names++;
    if (!*names)
        return ERR_BAD_REQUEST;
    CHECK(m && m->kind != HMAC_SECRET);
    EVP_PKEY *pkey = pkey_of(m, numbers);
    bool ok = pkey && fits(m, pkey) && EVP_PKEY_get_bits(pkey) <= KEY_RSA_BITS_MAX;
    ERR_clear_error();
    if (!ok) {
        EVP_PKEY_free(pkey);
        return ERR_BAD_REQUEST;
    }
    struct key *k = calloc(1, sizeof(*k));
    CHECK(k != NULL);
    *k = (struct key){ .method = m, .pkey = pkey };
    k->digest = m->digest ? EVP_get_digestbyname(m->digest) : NULL;
    *out = k;
    return ERR_OK;
}

void key_close(struct key *k)
{
    EVP_PKEY_free(k->pkey);
    if (k->secret) {
        OPENSSL_cleanse(k->secret, SECRET_MAX);
        free(k->secret);
    }
    free(k);
}

const char *key_method(const struct key *k)
{
    return k->method->name;
}

bool key_can_sign(const struct key *k)
{
    return k->private;
}

/* ---- signatures ---- */

static bool hmac(const struct key *k, struct span data, uint8_t out[EVP_MAX_MD_SIZE], size_t *len)
{
    unsigned n = 0;
    bool ok = HMAC(k->digest, k->secret, (int)k->secret_len, data.data, data.len, out, &n) != NULL;
    *len = n;
    return ok;
}

/* PSS as RFC 7518 3.5 has it: salt as long as the digest, which is also that of the mask. */
static bool padded(const struct key *k, EVP_PKEY_CTX *ctx)
{
    return k->method->kind != RSA_PSS ||
           (EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1 &&
            EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) == 1 &&
            EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, k->digest) == 1);
}

/* From OpenSSL's DER to two numbers of fixed size, and back (RFC 7518 3.4). */
static bool ec_flat(size_t number, const uint8_t *der, size_t len, uint8_t *out)
{
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)len);
    bool ok = sig && BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, (int)number) == (int)number &&
              BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + number, (int)number) == (int)number;
    ECDSA_SIG_free(sig);
    return ok;
}

static int ec_der(size_t number, struct span flat, uint8_t **der)
{
    ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(flat.data, (int)number, NULL);
    BIGNUM *s = BN_bin2bn(flat.data + number, (int)number, NULL);
    CHECK(sig && r && s && ECDSA_SIG_set0(sig, r, s) == 1);
    int len = i2d_ECDSA_SIG(sig, der);
    ECDSA_SIG_free(sig);
    return len;
}

enum err key_sign(const struct key *k, struct span data, struct buf *out)
{
    uint8_t bytes[SIGNATURE_MAX], flat[2 * 66];
    size_t len = sizeof(bytes);
    bool ok;
    CHECK(k->private);
    if (k->method->kind == HMAC_SECRET) {
        ok = hmac(k, data, bytes, &len);
    } else {
        EVP_MD_CTX *md = EVP_MD_CTX_new();
        EVP_PKEY_CTX *ctx;
        CHECK(md != NULL);
        ok = EVP_DigestSignInit(md, &ctx, k->digest, NULL, k->pkey) == 1 && padded(k, ctx) &&
             EVP_DigestSign(md, bytes, &len, data.data, data.len) == 1;
        EVP_MD_CTX_free(md);
    }
    struct span signature = span_of(bytes, len);
    if (ok && k->method->kind == EC) {
        ok = ec_flat(k->method->number, bytes, len, flat);
        signature = span_of(flat, 2 * k->method->number);
    }
    if (ok)
        buf_span(out, signature);
    ERR_clear_error();
    return ok ? ERR_OK : ERR_INTERNAL;
}

static bool verify(const struct key *k, struct span data, struct span signature)
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    EVP_PKEY_CTX *ctx;
    CHECK(md != NULL);
    bool ok = EVP_DigestVerifyInit(md, &ctx, k->digest, NULL, k->pkey) == 1 && padded(k, ctx) &&
              EVP_DigestVerify(md, signature.data, signature.len, data.data, data.len) == 1;
    EVP_MD_CTX_free(md);
    ERR_clear_error();
    return ok;
}

bool key_verify(const struct key *k, struct span data, struct span signature)
{
    uint8_t mac[EVP_MAX_MD_SIZE], *der = NULL;
    size_t len;
    if (k->method->kind == HMAC_SECRET)
        return hmac(k, data, mac, &len) && len == signature.len &&
               CRYPTO_memcmp(mac, signature.data, len) == 0;
    if (k->method->kind != EC)
        return verify(k, data, signature);
    if (signature.len != 2 * k->method->number)
        return false;
    int n = ec_der(k->method->number, signature, &der);
    bool ok = n > 0 && verify(k, data, span_of(der, (size_t)n));
    OPENSSL_free(der);
    return ok;
}
