#include "wire/json/json.h"
#include "base/check.h"

static struct alloc *memory;

static void *give(size_t size)
{
    return mem_sized_alloc(memory, size);
}

static void take_back(void *ptr)
{
    mem_sized_free(memory, ptr);
}

void jsonr_use(struct alloc *alloc)
{
    memory = alloc;
    json_set_alloc_funcs(give, take_back);
}

/* No text has more values than this: one, and one behind each of [ { , : outside of strings. */
static size_t values_at_most(struct span text)
{
    size_t n = 1;
    bool in_string = false;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c == '"')
            in_string = !in_string;
        else if (in_string)
            i += c == '\\';
        else
            n += c == '[' || c == '{' || c == ',' || c == ':';
    }
    return n;
}

static void tell(char *why, int line, int column, const char *text)
{
    struct buf b;
    buf_open(&b, memory);
    buf_format(&b, "line %d, column %d: %.120s", line, column, text);
    size_t n = b.len < JSONR_WHY_MAX - 1 ? b.len : JSONR_WHY_MAX - 1;
    memcpy(why, b.data, n);
    why[n] = 0;
    buf_close(&b);
}

/* The bounds are kept by looking first: jansson does not survive every refusal of memory. It also
 * overlooks a NUL byte behind a number or a word (2.14), which has no place in JSON anywhere. */
enum err jsonr_read(struct span text, json_t **out, char *why)
{
    json_error_t error;
    CHECK(memory != NULL);
    if (text.len > JSONR_BYTES_MAX || values_at_most(text) > JSONR_VALUES_MAX)
        return ERR_BODY_TOO_LARGE;
    if (text.len && memchr(text.data, 0, text.len)) {
        tell(why, 1, 1, "there is a NUL byte in the text");
        return ERR_BODY_NOT_JSON;
    }
    if (!text.len) {
        tell(why, 1, 1, "there is no text");
        return ERR_BODY_NOT_JSON;
    }
    *out = json_loadb((const char *)text.data, text.len,
                      JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    if (*out)
        return ERR_OK;
    tell(why, error.line, error.column, error.text);
    return ERR_BODY_NOT_JSON;
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

struct span jsonr_first(struct span *text)
{
    size_t depth = 0, n = 0;
    bool in_string = false, over = false;
    while (text->len && is_blank(text->data[0]))
        *text = span_from(*text, 1);
    if (text->len && text->data[0] != '{')
        n = text->len;
    for (; n < text->len && !over; n++) {
        uint8_t c = text->data[n];
        if (c == '"')
            in_string = !in_string;
        else if (in_string)
            n += c == '\\' && n + 1 < text->len;
        else if (c == '{')
            depth++;
        else if (c == '}')
            over = --depth == 0;
    }
    struct span first = span_of(text->data, n);
    *text = span_from(*text, n);
    return first;
}

/* ---- writing ---- */

void jsonw_open(struct jsonw *w, struct buf *out)
{
    *w = (struct jsonw){ out, false };
}

static void before(struct jsonw *w)
{
    if (w->comma)
        buf_u8(w->out, ',');
    w->comma = true;
}

static void opens(struct jsonw *w, uint8_t c)
{
    before(w);
    buf_u8(w->out, c);
    w->comma = false;
}

static void closes(struct jsonw *w, uint8_t c)
{
    buf_u8(w->out, c);
    w->comma = true;
}

void jsonw_object(struct jsonw *w)
{
    opens(w, '{');
}

void jsonw_object_end(struct jsonw *w)
{
    closes(w, '}');
}

void jsonw_array(struct jsonw *w)
{
    opens(w, '[');
}

void jsonw_array_end(struct jsonw *w)
{
    closes(w, ']');
}

/* Length of the well-formed UTF-8 sequence at s, 0 for none (Unicode 15, table 3-7). */
static size_t sequence(struct span s)
{
    uint8_t c = s.data[0], low = 0x80, high = 0xbf;
    size_t n = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
    if (n == 0 || s.len < n)
        return 0;
    low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : low;
    high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : high;
    for (size_t i = 1; i < n; i++, low = 0x80, high = 0xbf)
        if (s.data[i] < low || s.data[i] > high)
            return 0;
    return n;
}

/* One character that cannot be copied without a look; tells how many bytes it had. */
static size_t quote_one(struct buf *out, struct span s)
{
    static const char short_escapes[] = "\bb\ff\nn\rr\tt\"\"\\\\";
    uint8_t c = s.data[0];
    size_t n = sequence(s);
    for (size_t i = 0; i + 1 < sizeof(short_escapes); i += 2)
        if ((uint8_t)short_escapes[i] == c) {
            buf_u8(out, '\\');
            buf_u8(out, (uint8_t)short_escapes[i + 1]);
            return 1;
        }
    if (c < 0x20 || c == 0x7f)
        buf_format(out, "\\u%04x", c);
    else if (n)
        buf_put(out, s.data, n);
    else
        buf_text(out, "\xef\xbf\xbd");
    return n ? n : 1;
}

static void quoted(struct buf *out, struct span s)
{
    buf_u8(out, '"');
    while (s.len) {
        size_t n = 0;
        while (n < s.len && s.data[n] >= 0x20 && s.data[n] < 0x7f && s.data[n] != '"' &&
               s.data[n] != '\\')
            n++;
        buf_put(out, s.data, n);
        s = span_from(s, n);
        if (s.len)
            s = span_from(s, quote_one(out, s));
    }
    buf_u8(out, '"');
}

void jsonw_key(struct jsonw *w, struct span name)
{
    before(w);
    quoted(w->out, name);
    buf_u8(w->out, ':');
    w->comma = false;
}

void jsonw_name(struct jsonw *w, const char *name)
{
    jsonw_key(w, span_text(name));
}

void jsonw_text(struct jsonw *w, struct span s)
{
    before(w);
    quoted(w->out, s);
}

void jsonw_number(struct jsonw *w, int64_t v)
{
    before(w);
    buf_format(w->out, "%lld", (long long)v);
}

void jsonw_bool(struct jsonw *w, bool v)
{
    before(w);
    buf_text(w->out, v ? "true" : "false");
}

void jsonw_raw(struct jsonw *w, struct span json)
{
    before(w);
    buf_span(w->out, json);
}

/* Days since 1970 to a date (Gregorian, proleptic; years 1970 to 9999 here). */
static void date_of(int64_t days, int *year, int *month, int *day)
{
    static const int lengths[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    *year = 1970;
    for (;; (*year)++) {
        bool leap = (*year % 4 == 0 && *year % 100 != 0) || *year % 400 == 0;
        if (days < 365 + leap) {
            for (*month = 0; days >= lengths[*month] + (leap && *month == 1); (*month)++)
                days -= lengths[*month] + (leap && *month == 1);
            *day = (int)days + 1;
            *month += 1;
            return;
        }
        days -= 365 + leap;
    }
}

void jsonw_time(struct jsonw *w, int64_t ms)
{
    uint8_t room[64];
    struct buf b = { .data = room, .cap = sizeof(room) };
    int year, month, day;
    date_of(ms / 86400000, &year, &month, &day);
    int rest = (int)(ms % 86400000);
    buf_format(&b, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", year, month, day, rest / 3600000,
               rest / 60000 % 60, rest / 1000 % 60, rest % 1000);
    jsonw_text(w, buf_all(&b));
}

/* ---- base64 ---- */

static const char alphabets[2][65] = {
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
};

/* The last quantum of 3 bytes may be short; then it is padded, but not in the URL's alphabet. */
void jsonw_base64(struct span s, bool url, struct buf *out)
{
    const char *alphabet = alphabets[url];
    uint8_t *p = buf_room(out, (s.len + 2) / 3 * 4), *start = p;
    for (size_t i = 0; i < s.len; i += 3) {
        size_t left = s.len - i;
        uint32_t v = (uint32_t)s.data[i] << 16 | (left > 1 ? (uint32_t)s.data[i + 1] << 8 : 0) |
                     (left > 2 ? s.data[i + 2] : 0);
        size_t n = left > 2 ? 4 : left + 1;
        for (size_t k = 0; k < 4; k++)
            if (k < n)
                *p++ = (uint8_t)alphabet[v >> (18 - 6 * k) & 63];
            else if (!url)
                *p++ = '=';
    }
    out->len += (size_t)(p - start);
}

static int sextet(uint8_t c, bool url)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == (url ? '-' : '+') ? 62 : c == (url ? '_' : '/') ? 63 : -1;
}

/* Without padding. Bits that are left over must be zero: one way to say it. */
static bool unpadded(struct span s, bool url, struct buf *out)
{
    uint32_t bits = 0;
    unsigned have = 0;
    if (s.len % 4 == 1)
        return false;
    uint8_t *p = buf_room(out, s.len / 4 * 3 + 3), *start = p;
    for (size_t i = 0; i < s.len; i++) {
        int value = sextet(s.data[i], url);
        if (value < 0)
            return false;
        bits = bits << 6 | (uint32_t)value;
        have += 6;
        if (have >= 8) {
            have -= 8;
            *p++ = (uint8_t)(bits >> have);
        }
    }
    out->len += (size_t)(p - start);
    return (bits & ((1u << have) - 1)) == 0;
}

static struct span without_padding(struct span s)
{
    for (int i = 0; i < 2 && s.len && s.data[s.len - 1] == '='; i++)
        s.len--;
    return s;
}

bool jsonr_base64(struct span s, bool url, struct buf *out)
{
    if (!url && s.len % 4)
        return false;
    return unpadded(url ? s : without_padding(s), url, out);
}

bool jsonr_base64_any(struct span s, struct buf *out)
{
    bool url = s.len && (memchr(s.data, '-', s.len) || memchr(s.data, '_', s.len));
    return unpadded(s.len % 4 ? s : without_padding(s), url, out);
}
