/* A certificate that signs itself. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/check.h"
#include "io/tls/tls_int.h"

enum { SERIAL_BYTES = 16, DAY_S = 86400, HOSTS_BYTES = 4096, PATH_BYTES = 4096 };

/* A pair that can be read, fits, and does not end within a day. */
static bool is_good(const char *cert_file, const char *key_file)
{
    FILE *c = fopen(cert_file, "rb"), *k = fopen(key_file, "rb");
    X509 *cert = c ? PEM_read_X509(c, NULL, NULL, NULL) : NULL;
    EVP_PKEY *key = k ? PEM_read_PrivateKey(k, NULL, NULL, NULL) : NULL;
    time_t tomorrow = time(NULL) + DAY_S;
    bool good = cert && key && X509_check_private_key(cert, key) == 1 &&
                X509_cmp_time(X509_get0_notAfter(cert), &tomorrow) > 0;
    X509_free(cert);
    EVP_PKEY_free(key);
    if (c)
        fclose(c);
    if (k)
        fclose(k);
    return good;
}

static void extend(X509 *cert, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, cert, cert, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    CHECK(e != NULL && X509_add_ext(cert, e, -1) == 1);
    X509_EXTENSION_free(e);
}

/* "DNS:localhost,IP:10.0.0.1": what has other letters than a name may have is left out. */
static void name_hosts(X509 *cert, const char *const *hosts, size_t n)
{
    char list[HOSTS_BYTES] = "DNS:localhost";
    for (size_t i = 0; i < n; i++) {
        size_t used = strlen(list);
        ASN1_OCTET_STRING *ip = a2i_IPADDRESS(hosts[i]);
        bool name =
            strspn(hosts[i], "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                             ".-") == strlen(hosts[i]);
        if (hosts[i][0] && (ip || name) && used + strlen(hosts[i]) + 8 < sizeof(list))
            snprintf(list + used, sizeof(list) - used, ",%s:%s", ip ? "IP" : "DNS", hosts[i]);
        ASN1_OCTET_STRING_free(ip);
    }
    extend(cert, NID_subject_alt_name, list);
}

static X509 *make_cert(EVP_PKEY *key, const char *const *hosts, size_t n, int64_t days)
{
    unsigned char serial[SERIAL_BYTES];
    X509 *cert = X509_new();
    CHECK(cert && RAND_bytes(serial, sizeof(serial)) == 1);
    serial[0] &= 0x7f;
    BIGNUM *number = BN_bin2bn(serial, sizeof(serial), NULL);
    CHECK(number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert)));
    BN_free(number);
    CHECK(X509_set_version(cert, X509_VERSION_3) == 1);
    CHECK(X509_gmtime_adj(X509_getm_notBefore(cert), -60)); /* clocks differ */
    CHECK(X509_time_adj_ex(X509_getm_notAfter(cert), (int)days, 0, NULL));
    CHECK(X509_set_pubkey(cert, key) == 1);
    X509_NAME *name = X509_get_subject_name(cert);
    CHECK(X509_NAME_add_entry_by_txt(name, "O", MBSTRING_ASC, (const unsigned char *)"confman", -1,
                                     -1, 0) == 1);
    CHECK(X509_set_issuer_name(cert, name) == 1);
    extend(cert, NID_basic_constraints, "critical,CA:TRUE");
    extend(cert, NID_key_usage, "critical,digitalSignature,keyCertSign,cRLSign");
    extend(cert, NID_ext_key_usage, "serverAuth,clientAuth");
    name_hosts(cert, hosts, n);
    CHECK(X509_sign(cert, key, EVP_sha256()) > 0);
    return cert;
}

/* Whole or not at all: written beside it, then renamed. */
static enum err write_file(const char *path, BIO *text, char *why)
{
    char part[PATH_BYTES], *data;
    long len = BIO_get_mem_data(text, &data);
    snprintf(part, sizeof(part), "%.4000s.part", path);
    int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool done = fd >= 0 && write(fd, data, (size_t)len) == len && fsync(fd) == 0;
    done = (fd < 0 || close(fd) == 0) && done && rename(part, path) == 0;
    if (done)
        return ERR_OK;
    snprintf(why, TLS_WHY_MAX, "%.200s: %s", path, strerror(errno));
    return ERR_IO;
}

enum err tls_self_signed(const char *cert_file, const char *key_file, const char *const *hosts,
                         size_t n, int64_t days, char *why)
{
    CHECK(days > 0 && days < 100000);
    if (is_good(cert_file, key_file)) {
        ERR_clear_error();
        return ERR_OK;
    }
    ERR_clear_error();
    EVP_PKEY *key = EVP_EC_gen("P-256");
    CHECK(key != NULL);
    X509 *cert = make_cert(key, hosts, n, days);
    BIO *cert_text = BIO_new(BIO_s_mem()), *key_text = BIO_new(BIO_s_secmem());
    CHECK(cert_text && key_text && PEM_write_bio_X509(cert_text, cert) == 1);
    CHECK(PEM_write_bio_PrivateKey(key_text, key, NULL, NULL, 0, NULL, NULL) == 1);
    enum err e = write_file(key_file, key_text, why);
    if (e == ERR_OK)
        e = write_file(cert_file, cert_text, why);
    BIO_free(cert_text);
    BIO_free(key_text);
    X509_free(cert);
    EVP_PKEY_free(key);
    return e;
}
