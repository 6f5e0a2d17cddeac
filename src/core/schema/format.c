/* The formats that can be asserted (draft-bhutton-json-schema-validation-01, 7.3). */
#include "base/check.h"
#include "core/schema/schema_int.h"

static bool digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool letter(uint8_t c)
{
    return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
}

static bool hex(uint8_t c)
{
    return digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

/* n digits from the front as a number from low to high. */
static bool number(struct span *s, size_t n, int low, int high, int *out)
{
    int v = 0;
    if (s->len < n)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (!digit(s->data[i]))
            return false;
        v = v * 10 + (s->data[i] - '0');
    }
    *s = span_from(*s, n);
    *out = v;
    return v >= low && v <= high;
}

static bool literal(struct span *s, const char *one_of)
{
    if (!s->len || !s->data[0] || !strchr(one_of, s->data[0]))
        return false;
    *s = span_from(*s, 1);
    return true;
}

/* ---- RFC 3339 ---- */

static bool full_date(struct span *s)
{
    static const int lengths[] = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    int year, month, day;
    if (!number(s, 4, 0, 9999, &year) || !literal(s, "-") || !number(s, 2, 1, 12, &month) ||
        !literal(s, "-") || !number(s, 2, 1, lengths[month - 1], &day))
        return false;
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month != 2 || day < 29 || leap;
}

static bool full_time(struct span *s)
{
    int hour, minute, second, off_hour = 0, off_minute = 0, sign = 0;
    if (!number(s, 2, 0, 23, &hour) || !literal(s, ":") || !number(s, 2, 0, 59, &minute) ||
        !literal(s, ":") || !number(s, 2, 0, 60, &second))
        return false;
    if (literal(s, ".")) {
        if (!s->len || !digit(s->data[0]))
            return false;
        while (s->len && digit(s->data[0]))
            *s = span_from(*s, 1);
    }
    if (!literal(s, "zZ")) {
        if (!s->len)
            return false;
        sign = s->data[0] == '-' ? -1 : 1;
        if (!literal(s, "+-") || !number(s, 2, 0, 23, &off_hour) || !literal(s, ":") ||
            !number(s, 2, 0, 59, &off_minute))
            return false;
    }
    int utc = hour * 60 + minute - sign * (off_hour * 60 + off_minute);
    return second < 60 || (utc + 1440) % 1440 == 1439; /* leap seconds come at 23:59:60 UTC */
}

static bool is_date(struct span s)
{
    return full_date(&s) && !s.len;
}

static bool is_time(struct span s)
{
    return full_time(&s) && !s.len;
}

static bool is_date_time(struct span s)
{
    return full_date(&s) && literal(&s, "tT") && full_time(&s) && !s.len;
}

/* Parts in order, each once: "letters" of units. */
static bool units(struct span *s, const char *letters, size_t *count)
{
    size_t from = 0;
    while (s->len && digit(s->data[0])) {
        while (s->len && digit(s->data[0]))
            *s = span_from(*s, 1);
        const char *found = s->len && s->data[0] ? strchr(letters + from, s->data[0]) : NULL;
        /* A unit between two others may not be left out (RFC 3339 appendix A). */
        if (!found || (*count && found != letters + from))
            return false;
        from = (size_t)(found - letters) + 1;
        *s = span_from(*s, 1);
        (*count)++;
    }
    return true;
}

static bool is_duration(struct span s)
{
    size_t dates = 0, times = 0, weeks = 0;
    if (!literal(&s, "P"))
        return false;
    struct span week = s;
    if (units(&week, "W", &weeks) && weeks == 1 && !week.len)
        return true;
    if (!units(&s, "YMD", &dates))
        return false;
    if (!s.len)
        return dates > 0;
    return literal(&s, "T") && units(&s, "HMS", &times) && times > 0 && !s.len;
}

/* ---- addresses ---- */

static bool is_ipv4(struct span s)
{
    for (int part = 0; part < 4; part++) {
        size_t n = 0;
        int v;
        while (n < s.len && n < 4 && digit(s.data[n]))
            n++;
        if (!n || n > 3 || (n > 1 && s.data[0] == '0') || !number(&s, n, 0, 255, &v) ||
            (part < 3 && !literal(&s, ".")))
            return false;
    }
    return !s.len;
}

static bool is_ipv6(struct span s)
{
    size_t groups = 0;
    bool gap = false;
    if (span_starts(s, SPAN("::"))) {
        gap = true;
        s = span_from(s, 2);
        if (!s.len)
            return true;
    }
    for (;;) {
        size_t n = 0;
        while (n < s.len && hex(s.data[n]))
            n++;
        if (n < s.len && s.data[n] == '.') {
            groups += 2;
            return is_ipv4(s) && (gap ? groups < 8 : groups == 8);
        }
        if (!n || n > 4 || ++groups > 8)
            return false;
        s = span_from(s, n);
        if (!s.len)
            return gap ? groups < 8 : groups == 8;
        if (!literal(&s, ":"))
            return false;
        if (s.len && s.data[0] == ':') {
            if (gap)
                return false;
            gap = true;
            s = span_from(s, 1);
            if (!s.len)
                return groups < 8;
        }
    }
}

static bool is_hostname(struct span s)
{
    size_t label = 0;
    if (!s.len || s.len > 253)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.data[i];
        bool ends = i + 1 == s.len || s.data[i + 1] == '.';
        if (c == '.') {
            if (!label || ends)
                return false;
            label = 0;
            continue;
        }
        if (c == '-' ? label == 0 || ends : !letter(c) && !digit(c))
            return false;
        /* "--" in the third and fourth place is for those of IDNA (RFC 5891 4.2.3.1). */
        if (label == 3 && c == '-' && s.data[i - 1] == '-' && (s.data[i - 3] | 0x20) != 'x')
            return false;
        if (++label > 63)
            return false;
    }
    return true;
}

/* Inside of the quotes. */
static bool quoted_part(struct span s, bool international)
{
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.data[i];
        if (c == '"' || (c == '\\' && ++i == s.len))
            return false;
        if (c < 0x20 || c == 0x7f || (c >= 0x80 && !international))
            return false;
    }
    return true;
}

static bool atom_char(uint8_t c, bool international)
{
    return letter(c) || digit(c) || (c >= 0x80 && international) ||
           (c && strchr("!#$%&'*+-/=?^_`{|}~", c));
}

static bool local_part(struct span s, bool international)
{
    bool dot = true; /* just behind one, or at the start */
    if (s.len >= 2 && s.data[0] == '"' && s.data[s.len - 1] == '"')
        return quoted_part(span_of(s.data + 1, s.len - 2), international);
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.data[i];
        if (c == '.' ? dot : !atom_char(c, international))
            return false;
        dot = c == '.';
    }
    return s.len && !dot;
}

static bool mailbox(struct span s, bool international)
{
    size_t at = s.len;
    while (at && s.data[at - 1] != '@')
        at--;
    if (!at)
        return false;
    struct span domain = span_from(s, at);
    s.len = at - 1;
    if (!local_part(s, international))
        return false;
    if (domain.len > 2 && domain.data[0] == '[' && domain.data[domain.len - 1] == ']') {
        domain = span_of(domain.data + 1, domain.len - 2);
        if (span_starts(domain, SPAN("IPv6:")))
            return is_ipv6(span_from(domain, 5));
        return is_ipv4(domain);
    }
    for (size_t i = 0; international && i < domain.len; i++)
        if (domain.data[i] >= 0x80)
            return true;
    return is_hostname(domain);
}

static bool is_email(struct span s)
{
    return mailbox(s, false);
}

static bool is_idn_email(struct span s)
{
    return mailbox(s, true);
}

/* ---- RFC 3986, and 3987 with characters beyond ASCII ---- */

static bool uri_chars(struct span s, const char *more, bool iri)
{
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.data[i];
        if (c == '%') {
            if (s.len - i < 3 || !hex(s.data[i + 1]) || !hex(s.data[i + 2]))
                return false;
            i += 2;
        } else if (!letter(c) && !digit(c) && !(c && strchr("-._~!$&'()*+,;=", c)) &&
                   !(c && strchr(more, c)) && !(c >= 0x80 && iri)) {
            return false;
        }
    }
    return true;
}

static struct span until(struct span *s, const char *ends)
{
    size_t n = 0;
    while (n < s->len && !(s->data[n] && strchr(ends, s->data[n])))
        n++;
    struct span out = span_of(s->data, n);
    *s = span_from(*s, n);
    return out;
}

static bool authority(struct span s, bool iri)
{
    const uint8_t *at = s.len ? memchr(s.data, '@', s.len) : NULL;
    if (at) {
        size_t n = (size_t)(at - s.data);
        if (!uri_chars(span_of(s.data, n), ":", iri))
            return false;
        s = span_from(s, n + 1);
    }
    if (s.len && s.data[0] == '[') {
        s = span_from(s, 1);
        struct span inside = until(&s, "]");
        if (!literal(&s, "]"))
            return false;
        bool future = inside.len > 3 && (inside.data[0] | 0x20) == 'v' && hex(inside.data[1]);
        if (!future && !is_ipv6(inside))
            return false;
    } else if (!uri_chars(until(&s, ":"), "", iri)) {
        return false;
    }
    if (!s.len)
        return true;
    if (!literal(&s, ":"))
        return false;
    while (s.len && digit(s.data[0]))
        s = span_from(s, 1);
    return !s.len;
}

/* How long the scheme is; 0: there is none. */
static size_t scheme_len(struct span s)
{
    size_t n = 0;
    while (n < s.len && (letter(s.data[n]) || (n && (digit(s.data[n]) || s.data[n] == '+' ||
                                                     s.data[n] == '-' || s.data[n] == '.'))))
        n++;
    return n < s.len && s.data[n] == ':' ? n : 0;
}

static bool uri(struct span s, bool relative, bool iri)
{
    size_t scheme = scheme_len(s);
    if (!scheme && !relative)
        return false;
    if (scheme)
        s = span_from(s, scheme + 1);
    bool has_authority = span_starts(s, SPAN("//"));
    if (has_authority) {
        s = span_from(s, 2);
        if (!authority(until(&s, "/?#"), iri))
            return false;
    }
    struct span path = until(&s, "?#");
    if (!uri_chars(path, ":@/", iri))
        return false;
    if (!scheme && !has_authority) { /* a colon in the first segment would end a scheme */
        struct span first = until(&path, "/");
        if (first.len && memchr(first.data, ':', first.len))
            return false;
    }
    if (literal(&s, "?") && !uri_chars(until(&s, "#"), ":@/?", iri))
        return false;
    return !s.len || (literal(&s, "#") && uri_chars(s, ":@/?", iri));
}

static bool is_uri(struct span s)
{
    return uri(s, false, false);
}

static bool is_uri_reference(struct span s)
{
    return uri(s, true, false);
}

static bool is_iri(struct span s)
{
    return uri(s, false, true);
}

static bool is_iri_reference(struct span s)
{
    return uri(s, true, true);
}

/* RFC 6570: {operator names}, names with :length or *. */
static bool expression(struct span s)
{
    literal(&s, "+#./;?&=,!@|");
    for (;;) {
        struct span name = until(&s, ",:*");
        if (!name.len || !uri_chars(name, "", false))
            return false;
        if (literal(&s, ":")) {
            size_t n = 0;
            while (n < s.len && digit(s.data[n]))
                n++;
            if (!n || n > 4 || s.data[0] == '0')
                return false;
            s = span_from(s, n);
        } else {
            literal(&s, "*");
        }
        if (!s.len)
            return true;
        if (!literal(&s, ","))
            return false;
    }
}

static bool is_uri_template(struct span s)
{
    while (s.len) {
        struct span plain = until(&s, "{}");
        for (size_t i = 0; i < plain.len; i++)
            if (plain.data[i] <= 0x20 || strchr("\"'<>\\^`|", plain.data[i]))
                return false;
        if (!s.len)
            return true;
        if (!literal(&s, "{"))
            return false;
        struct span inside = until(&s, "{}");
        if (!literal(&s, "}") || !expression(inside))
            return false;
    }
    return true;
}

/* ---- the rest ---- */

static bool is_uuid(struct span s)
{
    if (s.len != 36)
        return false;
    for (size_t i = 0; i < 36; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? s.data[i] != '-' : !hex(s.data[i]))
            return false;
    }
    return true;
}

static bool is_json_pointer(struct span s)
{
    if (s.len && s.data[0] != '/')
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] == '~' && (i + 1 == s.len || (s.data[i + 1] != '0' && s.data[i + 1] != '1')))
            return false;
    return true;
}

static bool is_relative_json_pointer(struct span s)
{
    size_t n = 0;
    while (n < s.len && digit(s.data[n]))
        n++;
    if (!n || (n > 1 && s.data[0] == '0'))
        return false;
    s = span_from(s, n);
    return span_is(s, "#") || is_json_pointer(s);
}

static const struct {
    const char *name;
    format_check *check;
} formats[] = {
    { "date-time", is_date_time },
    { "date", is_date },
    { "time", is_time },
    { "duration", is_duration },
    { "email", is_email },
    { "idn-email", is_idn_email },
    { "hostname", is_hostname },
    { "ipv4", is_ipv4 },
    { "ip-address", is_ipv4 },
    { "ipv6", is_ipv6 },
    { "uri", is_uri },
    { "uri-reference", is_uri_reference },
    { "iri", is_iri },
    { "iri-reference", is_iri_reference },
    { "uri-template", is_uri_template },
    { "uuid", is_uuid },
    { "json-pointer", is_json_pointer },
    { "relative-json-pointer", is_relative_json_pointer },
};

format_check *format_of(struct span name)
{
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
        if (span_is(name, formats[i].name))
            return formats[i].check;
    return NULL;
}
