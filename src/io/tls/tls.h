/* tls: TLS 1.2 and later on OpenSSL, in memory: bytes in, bytes out; sockets are the caller's. */
#pragma once
#include <stdbool.h>
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

struct tls_context; /* certificates and rules; for many connections of one thread */
struct tls;         /* one connection */

enum { TLS_WHY_MAX = 400, TLS_NAME_MAX = 256 };
enum tls_name { TLS_NAME_CN, TLS_NAME_URI, TLS_NAME_DNS, TLS_NAME_EMAIL, TLS_NAMES };

/* Any text may be NULL, which is "". They are copied. */
struct tls_options {
    const char *cert_file, *key_file; /* PEM; a server needs both, a client may have both */
    /* Server: clients must show a certificate that it signed. Client: whom to trust. "": the
     * system's authorities. */
    const char *ca_file;
    const char
        *crl_file; /* PEM or DER: what was revoked is refused, as its issuer and number say */
    /* "a,b": the peer's certificate must have one of these common names; must be for one of these
     * names or addresses. At most one of the two lists. */
    const char *allowed_cn, *allowed_hostname;
    /* "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,...": names of the IANA registry, best first; "": what
     * HTTP/2 allows (RFC 9113 9.2.2). */
    const char *ciphers;
    const char *version_min, *version_max; /* "TLS1.2", "TLS1.3"; "": 1.2, and the newest */
    bool client;
    bool ask;         /* server: clients must show a certificate, also without ca_file */
    enum tls_name named_by; /* which of a certificate's names tls_peer_name tells */
    bool skip_verify; /* client: trust anybody */
};

/* ERR_BAD_REQUEST with the reason, TLS_WHY_MAX bytes. */
enum err tls_context_open(const struct tls_options *o, struct tls_context **out,
                          char *why) MUST_CHECK;
void tls_context_close(struct tls_context *c);

/* Looks whether the files have changed since they were read, and if so reads them: *again, and
 * connections opened from now on follow them. ERR_BAD_REQUEST with the reason: they cannot be
 * used, all stays as it was, and the next change is tried. */
enum err tls_context_refresh(struct tls_context *c, bool *again, char *why) MUST_CHECK;

/* When the certificate that is shown ends, in seconds since 1970; 0: there is none. */
int64_t tls_context_ends_s(const struct tls_context *c);

/* Leaves alone a pair of files that is good for another day; else makes a key and a certificate
 * that signs itself, for these names and addresses and for localhost. The key is its owner's alone
 * to read. The directory is there. ERR_BAD_REQUEST, ERR_IO with the reason. */
enum err tls_self_signed(const char *cert_file, const char *key_file, const char *const *hosts,
                         size_t n, int64_t days, char *why) MUST_CHECK;

/* host: for a client, what the certificate must name; NULL for a server. */
struct tls *tls_open(struct tls_context *c, const char *host);
void tls_close(struct tls *t);

/* Takes what came from the peer, appends what it says in plain, and to wire what must be sent.
 * ERR_IO: broken (send what is in wire, then close). *ended: the peer has said goodbye. */
enum err tls_feed(struct tls *t, struct span in, struct buf *plain, struct buf *wire,
                  bool *ended) MUST_CHECK;
/* Encrypts; only once the handshake is over. */
enum err tls_write(struct tls *t, struct span plain, struct buf *wire) MUST_CHECK;
/* A client's first bytes; nothing on a server. */
enum err tls_start(struct tls *t, struct buf *wire) MUST_CHECK;
void tls_goodbye(struct tls *t, struct buf *wire);

bool tls_ready(const struct tls *t);      /* the handshake is over */
bool tls_is_h2(const struct tls *t);      /* ALPN chose HTTP/2 */
const char *tls_why(const struct tls *t); /* after an error: OpenSSL's words */
/* The name of the peer's certificate, in UTF-8: its common name, or, of its alternative names, the
 * one of the kind named_by. Nothing when there is none, or several of that kind (which of them was
 * meant?), or it has zero bytes or more than TLS_NAME_MAX. */
void tls_peer_name(const struct tls *t, struct buf *out);
