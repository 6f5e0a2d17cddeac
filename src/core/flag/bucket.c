/* Hashes that decide who is in a split, and flagd's own operations. */
#define OPENSSL_SUPPRESS_DEPRECATED /* SHA1_*: what has taken their place takes memory */
#include "core/flag/flag_int.h"
#include <openssl/sha.h>
#include <zlib.h>

/* ---- hashes ---- */

static uint32_t rotate(uint32_t x, int by)
{
    return x << by | x >> (32 - by);
}

/* MurmurHash3_x86_32 (A. Appleby, public domain). */
uint32_t flag_murmur3(struct span s, uint32_t seed)
{
    uint32_t h = seed, k = 0;
    size_t i = 0;
    for (; i + 4 <= s.len; i += 4) {
        k = (uint32_t)s.data[i] | (uint32_t)s.data[i + 1] << 8 | (uint32_t)s.data[i + 2] << 16 |
            (uint32_t)s.data[i + 3] << 24;
        h ^= rotate(k * 0xcc9e2d51u, 15) * 0x1b873593u;
        h = rotate(h, 13) * 5 + 0xe6546b64u;
    }
    k = 0;
    for (size_t left = s.len - i; left > 0; left--)
        k = k << 8 | s.data[i + left - 1];
    h ^= rotate(k * 0xcc9e2d51u, 15) * 0x1b873593u;
    h ^= (uint32_t)s.len;
    h = (h ^ h >> 16) * 0x85ebca6bu;
    h = (h ^ h >> 13) * 0xc2b2ae35u;
    return h ^ h >> 16;
}

static uint32_t fnv1a(struct span s, uint32_t h)
{
    for (size_t i = 0; i < s.len; i++)
        h = (h ^ s.data[i]) * 16777619u;
    return h;
}

enum { JOINED_MAX = 1024 };
#define FNV1A_START 2166136261u

/* Several parts as one text; what is longer than out is cut, for every caller alike. */
static struct span join(char *out, struct span a, const char *between, struct span b)
{
    struct span parts[3] = { a, span_text(between), b };
    size_t n = 0;
    for (int i = 0; i < 3; i++) {
        size_t len = parts[i].len < JOINED_MAX - n ? parts[i].len : JOINED_MAX - n;
        if (len)
            memcpy(out + n, parts[i].data, len);
        n += len;
    }
    return span_of(out, n);
}

/* LaunchDarkly: the first 60 bits of SHA-1, as a float of [0, 1]. */
static double sha_unit(struct span s)
{
    uint8_t hash[SHA_DIGEST_LENGTH];
    uint64_t bits = 0;
    SHA_CTX sha;
    if (!SHA1_Init(&sha) || !SHA1_Update(&sha, s.data, s.len) || !SHA1_Final(hash, &sha))
        return 0;
    for (int i = 0; i < 8; i++)
        bits = bits << 8 | hash[i];
    return (double)((float)(bits >> 4) / (float)0xFFFFFFFFFFFFFFFull);
}

/* Multiplied first: where total is the modulus, or divides it, nothing is rounded. */
static double share(uint32_t hash, uint32_t modulus, double total)
{
    return hash % modulus * total / modulus;
}

/* GrowthBook's weights are shares of one, and GO Feature Flag's of 100,000, however floating point
 * adds them up. */
static double near(double total, double whole)
{
    return total > 0.99 * whole && total < 1.01 * whole ? whole : total;
}

double flag_bucket(enum flag_bucketing how, struct span seed, struct span salt, struct span value,
                   double total)
{
    char text[JOINED_MAX], first[JOINED_MAX], digits[NUMBER_TEXT_MAX];
    struct span both = join(text, seed, "", value);
    switch (how) {
    case BUCKET_FLAGD2:
        return (double)((uint64_t)flag_murmur3(both, 0) * (uint64_t)total >> 32);
    case BUCKET_FLAGD1: {
        int32_t h = (int32_t)flag_murmur3(both, 0);
        double positive = h < 0 ? -(double)h : (double)h;
        return positive / 2147483647.0 * total;
    }
    case BUCKET_UNLEASH:
    case BUCKET_UNLEASH_VARIANT:
        if (total < 1)
            return 0;
        return (double)(flag_murmur3(join(text, seed, ":", value),
                                     how == BUCKET_UNLEASH ? 0 : 86028157u) %
                        (uint32_t)total);
    case BUCKET_LAUNCHDARKLY:
        both = salt.len ? join(first, seed, ".", salt) : join(first, seed, "", salt);
        return sha_unit(join(text, both, ".", value)) * total;
    case BUCKET_GROWTHBOOK1:
        return share(fnv1a(join(text, value, "", seed), FNV1A_START), 1000, near(total, 1));
    case BUCKET_GROWTHBOOK2: {
        uint32_t h = fnv1a(both, FNV1A_START);
        struct span again = span_of(digits, number_text(h, digits));
        return share(fnv1a(again, FNV1A_START), 10000, near(total, 1));
    }
    case BUCKET_GOFF:
        return share(fnv1a(both, FNV1A_START), 100000, near(total, 100000));
    case BUCKET_FLIPT:
        return share((uint32_t)crc32(0, both.data, (unsigned)both.len), 1000, total);
    case BUCKETING_COUNT:
        break;
    }
    return 0;
}

/* ---- fractional ---- */

static bool entry_of(const struct fval *v, struct fval *variant, double *weight)
{
    *variant = *v;
    *weight = 1;
    if (v->type != FVAL_LIST)
        return true;
    if (!v->n)
        return false;
    *variant = v->items[0];
    if (v->n > 1 && (v->items[1].type != FVAL_NUMBER))
        return false;
    if (v->n > 1)
        *weight = v->items[1].number;
    if (*weight < 0)
        *weight = 0;
    return true;
}

/* What to bucket by: the first argument when it is no entry, else the targeting key. */
static bool bucket_by(struct run *r, const struct rule *rule, const struct frame *f,
                      uint32_t *entries, struct span *seed, struct span *value)
{
    struct fval v = { .type = FVAL_NULL };
    const struct rule *first = &rule->args[0];
    bool is_entry = !first->op && (first->dynamic || first->value.type == FVAL_LIST);
    *entries = is_entry ? 0 : 1;
    *seed = SPAN_NONE;
    if (is_entry) {
        const struct fval *key = fval_find(r->values, SPAN("targetingKey"));
        if (!key || key->type != FVAL_TEXT)
            return true;
        *seed = r->seed;
        v = *key;
    } else if (!run_rule(r, first, f, &v)) {
        return false;
    }
    if (v.type == FVAL_NULL || v.type > FVAL_TEXT)
        return true;
    if (r->bucketing != BUCKET_FLAGD2 && r->bucketing != BUCKET_FLAGD1)
        *seed = r->seed; /* theirs always take it */
    *value = run_text(r, &v);
    return value->data != NULL;
}

bool op_fractional(struct run *r, const struct rule *rule, const struct frame *f, struct fval *out)
{
    struct span seed, value = SPAN_NONE;
    double total = 0, weight, at = 0;
    uint32_t start = 0;
    size_t used = r->used;
    *out = (struct fval){ .type = FVAL_NULL };
    if (!rule->n || !bucket_by(r, rule, f, &start, &seed, &value))
        return rule->n == 0;
    uint32_t n = rule->n - start;
    struct fval few[8], *entries = few, variant;
    if (n > 8 && !(entries = run_alloc(r, sizeof(*entries) * n)))
        return false;
    for (uint32_t i = 0; i < n; i++) {
        if (!run_rule(r, &rule->args[start + i], f, &entries[i]))
            return false;
        if (!entry_of(&entries[i], &variant, &weight))
            return true;
        total += weight;
    }
    if (!value.data || total <= 0 || total > 2147483647)
        return true;
    r->split = true;
    bool floats = r->bucketing == BUCKET_LAUNCHDARKLY;
    double bucket = flag_bucket(r->bucketing, seed, r->salt, value, floats ? 1 : total);
    float sum = 0; /* LaunchDarkly adds up shares of one, as floats; at the edges it shows */
    for (uint32_t i = 0; i < n; i++) {
        entry_of(&entries[i], &variant, &weight);
        at += weight;
        sum += (float)weight / (float)total;
        bool below = bucket < (floats ? (double)sum : at);
        if (below || (i == n - 1 && weight > 0)) {
            *out = variant;
            break;
        }
    }
    if (out->type <= FVAL_NUMBER)
        r->used = used;
    return true;
}

/* ---- versions and texts ---- */

struct version {
    double part[3];
    struct span pre;
};

static bool read_version(struct span s, struct version *out)
{
    *out = (struct version){ .pre = SPAN_NONE };
    if (s.len && (s.data[0] == 'v' || s.data[0] == 'V'))
        s = span_from(s, 1);
    for (int i = 0; i < 3; i++) {
        size_t n = 0;
        for (; n < s.len && s.data[n] >= '0' && s.data[n] <= '9'; n++)
            out->part[i] = out->part[i] * 10 + (s.data[n] - '0');
        if (!n || n > 15)
            return false;
        s = span_from(s, n);
        if (!s.len || s.data[0] != '.')
            break;
        s = span_from(s, 1);
        if (i == 2)
            return false;
    }
    const uint8_t *plus = s.len ? memchr(s.data, '+', s.len) : NULL;
    if (plus)
        s.len = (size_t)(plus - s.data); /* builds do not count (semver 10) */
    if (s.len && s.data[0] != '-')
        return false;
    out->pre = s.len ? span_from(s, 1) : SPAN_NONE;
    return s.len != 1;
}

static bool is_digits(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] < '0' || s.data[i] > '9')
            return false;
    return s.len > 0;
}

/* semver 11: identifiers one by one, numbers below texts, fewer below more; none is the highest. */
static int compare_pre(struct span a, struct span b)
{
    if (!a.len || !b.len)
        return (a.len == 0) - (b.len == 0);
    while (a.len && b.len) {
        const uint8_t *ea = memchr(a.data, '.', a.len), *eb = memchr(b.data, '.', b.len);
        struct span x = span_of(a.data, ea ? (size_t)(ea - a.data) : a.len);
        struct span y = span_of(b.data, eb ? (size_t)(eb - b.data) : b.len);
        bool nx = is_digits(x), ny = is_digits(y);
        int c = nx != ny               ? (ny ? 1 : -1)
                : nx && x.len != y.len ? (x.len > y.len ? 1 : -1)
                                       : span_compare(x, y);
        if (c)
            return c;
        a = span_from(a, x.len + (ea != NULL));
        b = span_from(b, y.len + (eb != NULL));
    }
    return (a.len > 0) - (b.len > 0);
}

static int compare_versions(const struct version *a, const struct version *b)
{
    for (int i = 0; i < 3; i++)
        if (a->part[i] != b->part[i])
            return a->part[i] < b->part[i] ? -1 : 1;
    return compare_pre(a->pre, b->pre);
}

EAGER(sem_ver)
{
    struct version v, w;
    (void)f;
    *out = (struct fval){ .type = FVAL_NULL };
    if (n != 3)
        return true;
    struct span left = run_text(r, &a[0]), op = fval_span(&a[1]), right = run_text(r, &a[2]);
    if (!left.data || !right.data)
        return false;
    if (!read_version(left, &v) || !read_version(right, &w))
        return true;
    int c = compare_versions(&v, &w);
    bool major = v.part[0] == w.part[0];
    if (span_is(op, "=") || span_is(op, "!="))
        *out = fval_bool((c == 0) == (op.len == 1));
    else if (span_is(op, "<") || span_is(op, "<="))
        *out = fval_bool(c < 0 || (c == 0 && op.len == 2));
    else if (span_is(op, ">") || span_is(op, ">="))
        *out = fval_bool(c > 0 || (c == 0 && op.len == 2));
    else if (span_is(op, "^"))
        *out = fval_bool(major);
    else if (span_is(op, "~"))
        *out = fval_bool(major && v.part[1] == w.part[1]);
    return true;
}

/* flagd: of what is no text, or not two of them, nothing is said. */
static bool edge(const struct fval *a, uint32_t n, bool start, struct fval *out)
{
    *out = (struct fval){ .type = FVAL_NULL };
    if (n != 2 || a[0].type != FVAL_TEXT || a[1].type != FVAL_TEXT)
        return true;
    *out = fval_bool(false);
    if (a[1].n > a[0].n)
        return true;
    const uint8_t *at = start ? a[0].text : a[0].text + (a[0].n - a[1].n);
    *out = fval_bool(a[1].n == 0 || memcmp(at, a[1].text, a[1].n) == 0);
    return true;
}
EAGER(starts_with)
{
    (void)r, (void)f;
    return edge(a, n, true, out);
}
EAGER(ends_with)
{
    (void)r, (void)f;
    return edge(a, n, false, out);
}
