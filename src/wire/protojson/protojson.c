#include "wire/protojson/protojson.h"
#include "base/check.h"

/* ---- from JSON ---- */

struct reading {
    struct buf *out;
    char *why;
    int depth;
};

static enum err refuse(struct reading *r, const char *name, const char *text)
{
    CHECK(strlen(name) + strlen(text) + 2 < JSONR_WHY_MAX);
    strcpy(r->why, name);
    strcat(r->why, ": ");
    strcat(r->why, text);
    return ERR_BODY_NOT_JSON;
}

/* The name as it is, or as lowerCamelCase: an underscore gone, what follows it upper case. */
static bool is_named(const char *proto, const char *given)
{
    if (strcmp(proto, given) == 0)
        return true;
    while (*proto && *given) {
        bool up = *proto == '_';
        proto += up;
        char c = *proto;
        if (*given != (up && c >= 'a' && c <= 'z' ? (char)(c - 32) : c) || !c)
            return false;
        proto++;
        given++;
    }
    return *proto == *given;
}

static const struct pb_shape_field *field_named(const struct pb_shape *shape, const char *name)
{
    for (size_t i = 0; i < shape->n; i++)
        if (is_named(shape->fields[i].name, name))
            return &shape->fields[i];
    return NULL;
}

struct whole {
    uint64_t size;
    bool negative;
};

static bool read_digits(const json_t *v, struct whole *out)
{
    const char *p = json_string_value(v);
    size_t n = json_string_length(v);
    if (n && *p == '-') {
        out->negative = true;
        p++;
        n--;
    }
    for (size_t i = 0; i < n; i++)
        if (p[i] < '0' || p[i] > '9' || __builtin_mul_overflow(out->size, 10, &out->size) ||
            __builtin_add_overflow(out->size, (uint64_t)(p[i] - '0'), &out->size))
            return false;
    return n > 0;
}

/* JSON knows one kind of number: 1.0 and 1e3 are whole, too. */
static bool read_whole(const json_t *v, struct whole *out)
{
    *out = (struct whole){ 0 };
    if (json_is_string(v))
        return read_digits(v, out);
    if (json_is_integer(v)) {
        json_int_t n = json_integer_value(v);
        out->negative = n < 0;
        out->size = n < 0 ? -(uint64_t)n : (uint64_t)n;
        return true;
    }
    if (!json_is_real(v))
        return false;
    double d = json_real_value(v);
    out->negative = d < 0;
    d = d < 0 ? -d : d;
    if (d >= 18446744073709551616.0)
        return false;
    out->size = (uint64_t)d;
    return (double)out->size == d;
}

/* As it stands in a varint: negative ones in 64 bits of two's complement. */
static bool read_number(const json_t *v, enum pb_type type, uint64_t *out)
{
    static const struct {
        uint64_t low, high; /* low: how far below zero */
    } limits[] = { [PB_IS_INT32] = { (uint64_t)INT32_MAX + 1, INT32_MAX },
                   [PB_IS_INT64] = { (uint64_t)INT64_MAX + 1, INT64_MAX },
                   [PB_IS_UINT32] = { 0, UINT32_MAX },
                   [PB_IS_UINT64] = { 0, UINT64_MAX } };
    struct whole w;
    if (!read_whole(v, &w) || w.size > (w.negative ? limits[type].low : limits[type].high))
        return false;
    *out = w.negative ? -w.size : w.size;
    return true;
}

static bool read_enum(const json_t *v, const struct pb_enum *e, uint64_t *out)
{
    if (json_is_number(v))
        return read_number(v, PB_IS_INT32, out);
    for (size_t i = 0; json_is_string(v) && i < e->n; i++)
        if (strcmp(json_string_value(v), e->names[i].name) == 0) {
            *out = (uint64_t)(int64_t)e->names[i].number;
            return true;
        }
    return false;
}

/* Where the bytes of a field begin, until their number is known and put before them. */
static size_t begin_bytes(struct reading *r, const struct pb_shape_field *f)
{
    buf_varint(r->out, f->number << 3 | PB_BYTES);
    return r->out->len;
}

static void end_bytes(struct reading *r, size_t start)
{
    size_t len = r->out->len - start, n = pb_varint_size(len);
    buf_room(r->out, n);
    memmove(r->out->data + start + n, r->out->data + start, len);
    pb_put_varint(r->out->data + start, len);
    r->out->len += n;
}

static enum err read_message(struct reading *r, const struct pb_shape *shape, json_t *value);

static enum err read_bytes(struct reading *r, const struct pb_shape_field *f, json_t *v)
{
    size_t start = begin_bytes(r, f);
    struct span text = span_of(json_string_value(v), json_string_length(v));
    if (f->type == PB_IS_MESSAGE) {
        enum err e = read_message(r, f->message, v);
        if (e != ERR_OK)
            return e;
    } else if (!json_is_string(v)) {
        return refuse(r, f->name, "must be a string");
    } else if (f->type == PB_IS_STRING) {
        buf_span(r->out, text);
    } else if (!jsonr_base64_any(text, r->out)) {
        return refuse(r, f->name, "must be bytes in base64");
    }
    end_bytes(r, start);
    return ERR_OK;
}

static enum err read_one(struct reading *r, const struct pb_shape_field *f, json_t *v)
{
    uint64_t number = 0;
    switch (f->type) {
    case PB_IS_BYTES:
    case PB_IS_STRING:
    case PB_IS_MESSAGE:
        return read_bytes(r, f, v);
    case PB_IS_BOOL:
        if (!json_is_boolean(v))
            return refuse(r, f->name, "must be true or false");
        number = json_is_true(v);
        break;
    case PB_IS_ENUM:
        if (!read_enum(v, f->names, &number))
            return refuse(r, f->name, "must be one of its names or a number");
        break;
    case PB_IS_INT32:
    case PB_IS_INT64:
    case PB_IS_UINT32:
    case PB_IS_UINT64:
        if (!read_number(v, f->type, &number))
            return refuse(r, f->name, "must be a whole number that fits, or one in a string");
    }
    buf_varint(r->out, f->number << 3 | PB_VARINT);
    buf_varint(r->out, number);
    return ERR_OK;
}

static enum err read_field(struct reading *r, const struct pb_shape_field *f, json_t *v)
{
    size_t i;
    json_t *item;
    enum err e = ERR_OK;
    if (!f->repeated)
        return read_one(r, f, v);
    if (!json_is_array(v))
        return refuse(r, f->name, "must be an array");
    json_array_foreach (v, i, item)
        if (e == ERR_OK)
            e = read_one(r, f, item);
    return e;
}

static enum err read_message(struct reading *r, const struct pb_shape *shape, json_t *value)
{
    const char *name;
    json_t *item;
    uint64_t given = 0, chosen = 0;
    if (!json_is_object(value))
        return refuse(r, shape->name, "must be an object");
    if (r->depth == PROTOJSON_DEPTH_MAX)
        return refuse(r, shape->name, "is nested too deep");
    CHECK(shape->n <= 64);
    r->depth++;
    json_object_foreach (value, name, item) {
        const struct pb_shape_field *f = field_named(shape, name);
        if (!f || json_is_null(item))
            continue;
        uint64_t bit = (uint64_t)1 << (f - shape->fields);
        uint64_t one = f->oneof ? (uint64_t)1 << f->oneof : 0;
        if (given & bit)
            return refuse(r, f->name, "is there under both of its names");
        if (chosen & one)
            return refuse(r, f->name, "only one of these may be there, and another one is");
        given |= bit;
        chosen |= one;
        enum err e = read_field(r, f, item);
        if (e != ERR_OK)
            return e;
    }
    r->depth--;
    return ERR_OK;
}

/* jansson keeps whole numbers in 64 bits with a sign and refuses larger ones, but an id may need
 * them all: long numbers are put into quotes, in which they mean the same here. */
enum { DIGITS_SAFE = 18 };

static bool in_number(uint8_t c)
{
    return (c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E';
}

static bool is_long(struct span number)
{
    size_t sign = number.data[0] == '-';
    for (size_t i = sign; i < number.len; i++)
        if (number.data[i] < '0' || number.data[i] > '9')
            return false;
    return number.len - sign > DIGITS_SAFE;
}

static void quote_long(struct span text, struct buf *out)
{
    bool in_string = false;
    size_t copied = 0;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c == '"') {
            in_string = !in_string;
        } else if (in_string) {
            i += c == '\\';
        } else if (c == '-' || (c >= '0' && c <= '9')) {
            size_t n = 1;
            while (i + n < text.len && in_number(text.data[i + n]))
                n++;
            struct span number = span_of(text.data + i, n);
            if (is_long(number)) {
                buf_put(out, text.data + copied, i - copied);
                buf_u8(out, '"');
                buf_span(out, number);
                buf_u8(out, '"');
                copied = i + n;
            }
            i += n - 1;
        }
    }
    if (copied)
        buf_span(out, span_from(text, copied));
}

enum err protojson_read(const struct pb_shape *shape, struct span text, struct buf *out, char *why)
{
    struct reading r = { out, why, 0 };
    struct buf quoted;
    json_t *value;
    if (text.len > JSONR_BYTES_MAX)
        return ERR_BODY_TOO_LARGE;
    buf_open(&quoted, out->alloc);
    quote_long(text, &quoted);
    enum err e = jsonr_read(quoted.len ? buf_all(&quoted) : text, &value, why);
    buf_close(&quoted);
    if (e != ERR_OK)
        return e;
    e = read_message(&r, shape, value);
    json_decref(value);
    return e;
}

/* ---- to JSON ---- */

static void write_digits(struct jsonw *w, uint64_t v, bool negative)
{
    uint8_t text[24];
    size_t at = sizeof(text);
    do {
        text[--at] = (uint8_t)('0' + v % 10);
        v /= 10;
    } while (v);
    if (negative)
        text[--at] = '-';
    jsonw_text(w, span_of(text + at, sizeof(text) - at));
}

static void write_enum(struct jsonw *w, const struct pb_enum *e, int32_t number)
{
    for (size_t i = 0; i < e->n; i++)
        if (e->names[i].number == number) {
            jsonw_text(w, span_text(e->names[i].name));
            return;
        }
    jsonw_number(w, number);
}

static void write_one(struct jsonw *w, const struct pb_shape_field *f, uint64_t number,
                      struct span bytes)
{
    int64_t with_sign = (int64_t)number;
    switch (f->type) {
    case PB_IS_INT32:
    case PB_IS_UINT32:
        jsonw_number(w, f->type == PB_IS_INT32 ? (int32_t)number : (int64_t)(uint32_t)number);
        return;
    case PB_IS_INT64:
        write_digits(w, with_sign < 0 ? -number : number, with_sign < 0);
        return;
    case PB_IS_UINT64:
        write_digits(w, number, false);
        return;
    case PB_IS_BOOL:
        jsonw_bool(w, number != 0);
        return;
    case PB_IS_ENUM:
        write_enum(w, f->names, (int32_t)number);
        return;
    case PB_IS_BYTES:
        jsonw_raw(w, SPAN("\""));
        jsonw_base64(bytes, false, w->out);
        buf_u8(w->out, '"');
        return;
    case PB_IS_STRING:
        jsonw_text(w, bytes);
        return;
    case PB_IS_MESSAGE:
        protojson_write(f->message, bytes, w);
        return;
    }
}

static const struct pb_shape_field *field_numbered(const struct pb_shape *shape, uint32_t number)
{
    for (size_t i = 0; i < shape->n; i++)
        if (shape->fields[i].number == number)
            return &shape->fields[i];
    UNREACHABLE("a message of another shape");
}

static void write_packed(struct jsonw *w, const struct pb_shape_field *f, struct span bytes)
{
    uint64_t number;
    while (bytes.len) {
        CHECK(span_varint(&bytes, &number));
        write_one(w, f, number, SPAN_NONE);
    }
}

void protojson_write(const struct pb_shape *shape, struct span message, struct jsonw *w)
{
    const struct pb_shape_field *list = NULL; /* the array that is open */
    jsonw_object(w);
    while (message.len) {
        struct pb_field got;
        CHECK(pb_next(&message, &got));
        const struct pb_shape_field *f = field_numbered(shape, got.tag >> 3);
        if (list && list != f) {
            jsonw_array_end(w);
            list = NULL;
        }
        if (!list)
            jsonw_name(w, f->name);
        if (f->repeated && !list) {
            jsonw_array(w);
            list = f;
        }
        if (f->repeated && f->type < PB_IS_BYTES && (got.tag & 7) == PB_BYTES)
            write_packed(w, f, got.bytes);
        else
            write_one(w, f, got.number, got.bytes);
    }
    if (list)
        jsonw_array_end(w);
    jsonw_object_end(w);
}
