#include "io/key/key.h"
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/test.h"

static struct alloc heap;
static struct buf out;
static char folder[64], private[128], public[128], why[KEY_WHY_MAX];

static void begin(void)
{
    alloc_heap(&heap);
    buf_open(&out, &heap);
    snprintf(folder, sizeof(folder), "/tmp/confman-key-XXXXXX");
    if (!mkdtemp(folder))
        folder[0] = 0;
    snprintf(private, sizeof(private), "%s/private", folder);
    snprintf(public, sizeof(public), "%s/public", folder);
}

static bool end(void)
{
    unlink(private);
    unlink(public);
    buf_close(&out);
    return rmdir(folder) == 0 && heap.used == 0;
}

static bool write_pair(EVP_PKEY *pkey)
{
    FILE *f = fopen(private, "w"), *g = fopen(public, "w");
    bool ok = pkey && f && g && PEM_write_PrivateKey(f, pkey, NULL, NULL, 0, NULL, NULL) == 1 &&
              PEM_write_PUBKEY(g, pkey) == 1;
    EVP_PKEY_free(pkey);
    return ok && fclose(f) == 0 && fclose(g) == 0;
}

static bool write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    return f && fputs(text, f) >= 0 && fclose(f) == 0;
}

static EVP_PKEY *make(const char *method)
{
    static const char *const curves[] = { "ES256", "P-256", "ES384", "P-384", "ES512", "P-521" };
    for (int i = 0; i < 6; i += 2)
        if (strcmp(method, curves[i]) == 0)
            return EVP_EC_gen(curves[i + 1]);
    return strcmp(method, "EdDSA") == 0 ? EVP_PKEY_Q_keygen(NULL, NULL, "ED25519")
                                        : EVP_RSA_gen(2048);
}

/* Signs with the private key; the public one alone finds it right, and anything else wrong. */
static bool signs(const char *method)
{
    struct key *both, *only;
    struct span data = SPAN("header.claims");
    if (key_open(method, public, private, &both, why) != ERR_OK ||
        key_open(method, public, "", &only, why) != ERR_OK)
        return false;
    buf_reset(&out);
    bool ok = key_can_sign(both) && !key_can_sign(only) && strcmp(key_method(only), method) == 0 &&
              key_sign(both, data, &out) == ERR_OK;
    ok = ok && key_verify(only, data, buf_all(&out)) && key_verify(both, data, buf_all(&out));
    ok = ok && !key_verify(only, SPAN("header.claimz"), buf_all(&out));
    ok = ok && !key_verify(only, data, span_of(out.data, out.len - 1));
    ok = ok && !key_verify(only, data, SPAN_NONE);
    out.data[out.len / 2] ^= 1;
    ok = ok && !key_verify(only, data, buf_all(&out));
    key_close(both);
    key_close(only);
    return ok;
}

TEST(key_signs_with_every_method)
{
    static const char *const methods[] = { "ES256", "ES384", "ES512", "EdDSA", "RS256",
                                           "RS384", "RS512", "PS256", "PS384", "PS512" };
    begin();
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        if (i < 5)
            EXPECT(write_pair(make(methods[i]))); /* the RSA methods share one */
        EXPECT(signs(methods[i]));
    }
    EXPECT(end());
}

/* RFC 7515 A.1: the secret there and its signature. */
TEST(key_hmac_of_the_rfc)
{
    static const uint8_t secret[64] = { 3,   35,  53,  75,  43,  15,  165, 188, 131, 126, 6,
                                        101, 119, 123, 166, 143, 90,  179, 40,  230, 240, 84,
                                        201, 40,  169, 15,  132, 178, 210, 80,  46,  191, 211,
                                        251, 90,  146, 210, 6,   71,  239, 150, 138, 180, 195,
                                        119, 98,  61,  34,  61,  46,  33,  114, 5,   46,  79,
                                        8,   192, 205, 154, 245, 103, 208, 128, 163 };
    static const uint8_t mac[32] = { 116, 24,  223, 180, 151, 153, 224, 37,  79,  250, 96,
                                     125, 216, 173, 187, 186, 22,  212, 37,  77,  105, 214,
                                     191, 240, 91,  88,  5,   88,  83,  132, 141, 121 };
    struct span data = SPAN("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9."
                            "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt"
                            "cGxlLmNvbS9pc19yb290Ijp0cnVlfQ");
    struct key *k;
    begin();
    FILE *f = fopen(private, "w");
    EXPECT(f && fwrite(secret, sizeof(secret), 1, f) == 1 && fclose(f) == 0);
    EXPECT(key_open("HS256", "", private, &k, why) == ERR_OK);
    EXPECT(key_sign(k, data, &out) == ERR_OK && span_equal(buf_all(&out), span_of(mac, 32)));
    EXPECT(key_verify(k, data, buf_all(&out)) && !key_verify(k, data, SPAN("")));
    key_close(k);
    EXPECT(end());
}

TEST(key_refuses_what_does_not_fit)
{
    struct key *k;
    begin();
    EXPECT(write_pair(make("ES256")));
    EXPECT(key_open("none", public, private, &k, why) == ERR_BAD_REQUEST);
    EXPECT(key_open("", public, private, &k, why) == ERR_BAD_REQUEST);
    EXPECT(key_open("ES256", "", "", &k, why) == ERR_BAD_REQUEST);
    EXPECT(key_open("ES384", public, private, &k, why) == ERR_BAD_REQUEST); /* another curve */
    EXPECT(key_open("RS256", public, private, &k, why) == ERR_BAD_REQUEST);
    EXPECT(key_open("EdDSA", public, private, &k, why) == ERR_BAD_REQUEST);
    EXPECT(key_open("HS256", public, "", &k, why) ==
           ERR_BAD_REQUEST); /* a public key is no secret */
    EXPECT(key_open("ES256", private, "", &k, why) == ERR_BAD_REQUEST); /* not a public one */
    char other[128];
    snprintf(other, sizeof(other), "%s/other", folder);
    EXPECT(rename(private, other) == 0 && write_pair(make("ES256")));
    EXPECT(key_open("ES256", public, other, &k, why) == ERR_BAD_REQUEST); /* of two pairs */
    EXPECT(unlink(other) == 0 && write_pair(EVP_RSA_gen(1024)));
    EXPECT(key_open("RS256", public, private, &k, why) == ERR_BAD_REQUEST); /* too short */
    EXPECT(write_text(private, ""));
    EXPECT(key_open("HS512", "", private, &k, why) == ERR_BAD_REQUEST);
    EXPECT(key_open("ES256", "", private, &k, why) == ERR_BAD_REQUEST);
    EXPECT(key_open("ES256", "", "/nowhere", &k, why) == ERR_BAD_REQUEST &&
           strstr(why, "/nowhere"));
    EXPECT(end());
}

static struct span big(EVP_PKEY *pkey, const char *name, size_t len, uint8_t *bytes)
{
    BIGNUM *v = NULL;
    if (EVP_PKEY_get_bn_param(pkey, name, &v) != 1)
        return SPAN_NONE;
    int n = len ? BN_bn2binpad(v, bytes, (int)len) : BN_bn2bin(v, bytes);
    BN_free(v);
    return span_of(bytes, (size_t)n);
}

/* What the private key signed, its public numbers find right. */
static bool checks_by_numbers(const char *method, const char *type, const char *curve, size_t len)
{
    uint8_t a[1024], b[1024];
    size_t raw = 32;
    EVP_PKEY *pkey = make(method);
    struct key_numbers k = { .type = span_text(type), .curve = span_text(curve) };
    struct key *signs_with, *checks_with;
    struct span data = SPAN("header.claims");
    k.first = big(pkey, strcmp(type, "RSA") == 0 ? "n" : "qx", len, a);
    k.second = big(pkey, strcmp(type, "RSA") == 0 ? "e" : "qy", len, b);
    if (strcmp(type, "OKP") == 0 && EVP_PKEY_get_raw_public_key(pkey, a, &raw) == 1)
        k.first = span_of(a, raw);
    if (!write_pair(pkey) || key_open(method, "", private, &signs_with, why) != ERR_OK ||
        key_open_numbers(method, &k, &checks_with) != ERR_OK)
        return false;
    buf_reset(&out);
    bool ok = key_sign(signs_with, data, &out) == ERR_OK && !key_can_sign(checks_with) &&
              key_verify(checks_with, data, buf_all(&out)) &&
              !key_verify(checks_with, SPAN("other"), buf_all(&out));
    struct key *none;
    k.first.len--;
    ok = ok && (strcmp(type, "RSA") == 0 ||
                key_open_numbers(method, &k, &none) == ERR_BAD_REQUEST);
    key_close(signs_with);
    key_close(checks_with);
    return ok;
}

TEST(key_by_its_numbers)
{
    uint8_t one[300] = { 1 };
    struct key *k;
    begin();
    EXPECT(checks_by_numbers("RS256", "RSA", "", 0) && checks_by_numbers("PS512", "RSA", "", 0));
    EXPECT(checks_by_numbers("ES256", "EC", "P-256", 32) &&
           checks_by_numbers("ES384", "EC", "P-384", 48) &&
           checks_by_numbers("ES512", "EC", "P-521", 66));
    EXPECT(checks_by_numbers("EdDSA", "OKP", "Ed25519", 32));
    struct key_numbers n = { SPAN("RSA"), SPAN_NONE, span_of(one, 300), SPAN("\x01\x00\x01") };
    EXPECT(key_open_numbers("HS256", &n, &k) == ERR_BAD_REQUEST); /* never by what is public */
    EXPECT(key_open_numbers("none", &n, &k) == ERR_BAD_REQUEST);
    EXPECT(key_open_numbers("ES256", &n, &k) == ERR_BAD_REQUEST);
    n.first.len = 128;
    EXPECT(key_open_numbers("RS256", &n, &k) == ERR_BAD_REQUEST); /* too short */
    n = (struct key_numbers){ SPAN("EC"), SPAN("P-256"), span_of(one, 32), span_of(one, 32) };
    EXPECT(key_open_numbers("ES256", &n, &k) == ERR_BAD_REQUEST); /* not on the curve */
    n.type = SPAN("oct");
    EXPECT(!*key_methods(&n));
    EXPECT(end());
}
