/* Patterns: ECMA-262 with the flag u, told to pcre2. What the two write alike but mean otherwise is
 * rewritten, what only pcre2 knows is refused; matching is bounded in steps, depth and memory. */
#include "base/buf.h"
#include "base/check.h"
#include "core/schema/schema_int.h"

enum {
    MATCH_STEPS_FIRST = 1000, /* of pcre2's match limit, then four times as many, ... */
    MATCH_STEPS_MAX = 256000,
    MATCH_DEPTH_MAX = 10000,
    MATCH_HEAP_KIB = 2048,
    PARENTHESES_MAX = 100,
};

/* White space and line ends of ECMA-262; \s of pcre2 without Unicode properties has the ASCII ones
 * alone. */
#define SPACES "\\t-\\r\\x20\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000\\ufeff"

/* Properties by their long names, which pcre2 10.42 does not know. */
static const struct {
    const char *name, *brief;
} properties[] = {
    { "Letter", "L" },
    { "Cased_Letter", "L&" },
    { "LC", "L&" },
    { "Lowercase_Letter", "Ll" },
    { "Uppercase_Letter", "Lu" },
    { "Titlecase_Letter", "Lt" },
    { "Modifier_Letter", "Lm" },
    { "Other_Letter", "Lo" },
    { "Mark", "M" },
    { "Combining_Mark", "M" },
    { "Nonspacing_Mark", "Mn" },
    { "Spacing_Mark", "Mc" },
    { "Enclosing_Mark", "Me" },
    { "Number", "N" },
    { "Decimal_Number", "Nd" },
    { "digit", "Nd" },
    { "Letter_Number", "Nl" },
    { "Other_Number", "No" },
    { "Punctuation", "P" },
    { "punct", "P" },
    { "Connector_Punctuation", "Pc" },
    { "Dash_Punctuation", "Pd" },
    { "Open_Punctuation", "Ps" },
    { "Close_Punctuation", "Pe" },
    { "Initial_Punctuation", "Pi" },
    { "Final_Punctuation", "Pf" },
    { "Other_Punctuation", "Po" },
    { "Symbol", "S" },
    { "Math_Symbol", "Sm" },
    { "Currency_Symbol", "Sc" },
    { "Modifier_Symbol", "Sk" },
    { "Other_Symbol", "So" },
    { "Separator", "Z" },
    { "Space_Separator", "Zs" },
    { "Line_Separator", "Zl" },
    { "Paragraph_Separator", "Zp" },
    { "Other", "C" },
    { "Control", "Cc" },
    { "cntrl", "Cc" },
    { "Format", "Cf" },
    { "Surrogate", "Cs" },
    { "Private_Use", "Co" },
    { "Unassigned", "Cn" },
};

struct rewriting {
    struct span in;
    size_t at;
    struct buf *out;
    const char *why;
    bool in_class;
};

static bool refuse(struct rewriting *r, const char *why)
{
    r->why = why;
    return false;
}

static int peek(const struct rewriting *r, size_t ahead)
{
    return r->at + ahead < r->in.len ? r->in.data[r->at + ahead] : -1;
}

/* \p{...}: r->at is behind the p. */
static bool rewrite_property(struct rewriting *r, uint8_t letter)
{
    size_t end = r->at;
    if (peek(r, 0) != '{')
        return refuse(r, "\\p wants a property in braces");
    while (end < r->in.len && r->in.data[end] != '}')
        end++;
    if (end == r->in.len)
        return refuse(r, "\\p wants a property in braces");
    struct span name = span_of(r->in.data + r->at + 1, end - r->at - 1);
    const uint8_t *equals = name.len ? memchr(name.data, '=', name.len) : NULL;
    bool script = false;
    if (equals) {
        struct span kind = span_of(name.data, (size_t)(equals - name.data));
        name = span_from(name, kind.len + 1);
        script = !span_is(kind, "General_Category") && !span_is(kind, "gc");
        if (script && !span_is(kind, "Script") && !span_is(kind, "sc") &&
            !span_is(kind, "Script_Extensions") && !span_is(kind, "scx"))
            return refuse(r, "there is no such property");
    }
    for (size_t i = 0; !script && i < sizeof(properties) / sizeof(properties[0]); i++)
        if (span_is(name, properties[i].name))
            name = span_text(properties[i].brief);
    if (!name.len || name.data[0] == '^')
        return refuse(r, "there is no such property");
    buf_u8(r->out, '\\');
    buf_u8(r->out, letter);
    buf_u8(r->out, '{');
    buf_span(r->out, name);
    buf_u8(r->out, '}');
    r->at = end + 1;
    return true;
}

/* Behind a backslash. */
static bool rewrite_escape(struct rewriting *r)
{
    int c = peek(r, 0);
    if (c < 0)
        return refuse(r, "a backslash at the end");
    r->at++;
    if (c == 'p' || c == 'P')
        return rewrite_property(r, (uint8_t)c);
    if (c == 's') {
        buf_text(r->out, r->in_class ? SPACES : "[" SPACES "]");
        return true;
    }
    if (c == 'S' && !r->in_class) {
        buf_text(r->out, "[^" SPACES "]");
        return true;
    }
    bool letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
    if (letter && !strchr("dDwWSbBfnrtvcxuk", c))
        return refuse(r, "ECMA-262 has no such escape");
    if (c == 'c' && !((peek(r, 0) | 0x20) >= 'a' && (peek(r, 0) | 0x20) <= 'z'))
        return refuse(r, "\\c wants a letter");
    if (c >= 0x80)
        return refuse(r, "ECMA-262 has no such escape");
    buf_u8(r->out, '\\');
    buf_u8(r->out, (uint8_t)c);
    return true;
}

/* Behind a parenthesis: groups of ECMA-262 alone, so no verbs, conditions, calls, recursion. */
static bool rewrite_group(struct rewriting *r)
{
    int c = peek(r, 1), d = peek(r, 2);
    if (peek(r, 0) == '*')
        return refuse(r, "nothing to repeat");
    if (peek(r, 0) != '?')
        return true;
    bool named = c == '<' && ((d | 0x20) >= 'a' ? (d | 0x20) <= 'z' : d == '_' || d == '$');
    if (c == ':' || c == '=' || c == '!' || (c == '<' && (d == '=' || d == '!')) || named)
        return true;
    return refuse(r, "ECMA-262 has no such group");
}

static bool rewrite(struct rewriting *r)
{
    while (r->at < r->in.len) {
        uint8_t c = r->in.data[r->at++];
        if (c == '\\') {
            if (!rewrite_escape(r))
                return false;
            continue;
        }
        if (r->in_class && c == '[') { /* no POSIX classes */
            buf_text(r->out, "\\[");
            continue;
        }
        if (c == '[')
            r->in_class = true;
        else if (c == ']')
            r->in_class = false;
        buf_u8(r->out, c);
        if (c == '[' && peek(r, 0) == '^') {
            buf_u8(r->out, '^');
            r->at++;
        }
        if (c == '(' && !r->in_class && !rewrite_group(r))
            return false;
        if (!r->in_class && strchr("*+?}", c) && peek(r, 0) == '+')
            return refuse(r, "nothing to repeat"); /* pcre2's possessive ones */
    }
    return true;
}

/* ---- memory ---- */

static void *take(size_t size, void *context)
{
    struct pattern_memory *m = context;
    return size > m->limit || *m->used + size > m->limit ? NULL : arena_alloc(m->arena, size);
}

static void give_back(void *block, void *context)
{
    (void)block, (void)context; /* the arena goes as a whole */
}

pcre2_general_context *pattern_context(struct pattern_memory *m)
{
    pcre2_general_context *out = pcre2_general_context_create(take, give_back, m);
    CHECK(out);
    return out;
}

/* ---- compiling ---- */

static const char *reason(int code)
{
    static const struct {
        int code;
        const char *why;
    } reasons[] = {
        { PCRE2_ERROR_MISSING_SQUARE_BRACKET, "a ] is missing" },
        { PCRE2_ERROR_MISSING_CLOSING_PARENTHESIS, "a ) is missing" },
        { PCRE2_ERROR_UNMATCHED_CLOSING_PARENTHESIS, "a ( is missing" },
        { PCRE2_ERROR_QUANTIFIER_INVALID, "nothing to repeat" },
        { PCRE2_ERROR_QUANTIFIER_OUT_OF_ORDER, "the numbers in {} are out of order" },
        { PCRE2_ERROR_QUANTIFIER_TOO_BIG, "a number in {} is too large" },
        { PCRE2_ERROR_CLASS_RANGE_ORDER, "a range in [] is out of order" },
        { PCRE2_ERROR_CLASS_INVALID_RANGE, "a range in [] is not valid" },
        { PCRE2_ERROR_LOOKBEHIND_NOT_FIXED_LENGTH, "lookbehind must have a fixed length here" },
        { PCRE2_ERROR_PATTERN_TOO_LARGE, "it is too large" },
        { PCRE2_ERROR_PARENTHESES_NEST_TOO_DEEP, "its groups stand too deep in one another" },
        { PCRE2_ERROR_UNKNOWN_UNICODE_PROPERTY, "there is no such property" },
        { PCRE2_ERROR_MALFORMED_UNICODE_PROPERTY, "there is no such property" },
    };
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
        if (reasons[i].code == code)
            return reasons[i].why;
    return "it is not a regular expression of ECMA-262";
}

pcre2_code *pattern_compile(struct span pattern, pcre2_general_context *context,
                            struct alloc *scratch, const char **why, bool *too_large)
{
    uint32_t options = PCRE2_UTF | PCRE2_NO_UTF_CHECK | PCRE2_DOLLAR_ENDONLY | PCRE2_ALT_BSUX |
                       PCRE2_MATCH_UNSET_BACKREF | PCRE2_ALLOW_EMPTY_CLASS |
                       PCRE2_NEVER_BACKSLASH_C | PCRE2_NO_AUTO_POSSESS;
    int code = 0;
    size_t place;
    struct buf out;
    struct rewriting r = { .in = pattern, .out = &out };
    *too_large = false;
    *why = "it is longer than 4096 bytes";
    if (pattern.len > SCHEMA_PATTERN_BYTES_MAX)
        return NULL;
    pcre2_compile_context *c = pcre2_compile_context_create(context);
    *too_large = !c;
    if (!c)
        return NULL;
    pcre2_set_compile_extra_options(c, PCRE2_EXTRA_ALT_BSUX);
    pcre2_set_newline(c, PCRE2_NEWLINE_ANYCRLF);
    pcre2_set_parens_nest_limit(c, PARENTHESES_MAX);
    buf_open(&out, scratch);
    pcre2_code *compiled = NULL;
    if (rewrite(&r)) {
        buf_u8(&out, 0);
        compiled = pcre2_compile(out.data, out.len - 1, options, &code, &place, c);
        *why = reason(code);
        *too_large = !compiled && code == PCRE2_ERROR_HEAP_FAILED;
    } else {
        *why = r.why;
    }
    buf_close(&out);
    return compiled;
}

bool schema_pattern_check(struct span pattern, struct alloc *alloc, const char **why)
{
    struct arena arena;
    bool too_large;
    arena_open(&arena, alloc);
    const size_t used = 0;
    struct pattern_memory m = { &arena, &used, SCHEMA_MEMORY_MAX };
    bool ok = pattern_compile(pattern, pattern_context(&m), alloc, why, &too_large) != NULL;
    arena_close(&arena);
    return ok;
}

/* A match does not tell how many steps it took; so it gets few first, and more when those were not
 * enough: what it took is known to a factor of four. */
bool pattern_match(const pcre2_code *code, struct span text, pcre2_match_data *data,
                   pcre2_match_context *context, uint64_t *steps, bool *stopped)
{
    pcre2_set_depth_limit(context, MATCH_DEPTH_MAX);
    pcre2_set_heap_limit(context, MATCH_HEAP_KIB);
    for (uint32_t limit = MATCH_STEPS_FIRST;; limit *= 4) {
        uint32_t options = PCRE2_NO_UTF_CHECK;
        pcre2_set_match_limit(context, limit);
        int n = pcre2_match(code, text.len ? text.data : (const uint8_t *)"", text.len, 0, options,
                            data, context);
        *steps += 1 + text.len / 64;
        if (n >= 0 || n == PCRE2_ERROR_NOMATCH)
            return n >= 0;
        *steps += limit / 10;
        if (n != PCRE2_ERROR_MATCHLIMIT || limit * 4 > MATCH_STEPS_MAX ||
            *steps > SCHEMA_STEPS_MAX) {
            *stopped = true;
            return false;
        }
    }
}
