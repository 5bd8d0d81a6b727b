/* text/jinja_lex.c: a template's source to tokens, with Jinja's rules of white space.
 *
 * A trailing newline of the source is dropped; "-" at a tag eats white space on that side; a block or
 * comment eats the newline behind it (trim_blocks) and the blanks between it and the start of its line
 * (lstrip_blocks), unless it has a "+" there.
 */
#include "text/jinja.h"

#include <string.h>

struct lexer {
    struct nb_arena *arena;
    struct nb_jtokens *out;
    const char *s; /* (n) newlines are "\n" */
    size_t n, at;
    uint32_t line;
    bool line_start; /* the last token ended a line */
    struct nb_error *err;
};

bool nb_jinja_is_space(uint32_t cp)
{
    return (cp >= 0x1c && cp <= 0x1f) || nb_uc_is_space(cp);
}

struct nb_text nb_jinja_trim(struct nb_text t, bool left, bool right)
{
    size_t len;
    while (left && t.n > 0 && nb_jinja_is_space(nb_utf8_take(t.s, t.n, &len))) {
        t.s += len;
        t.n -= len;
    }
    while (right && t.n > 0) {
        size_t at = t.n - 1;
        while (at > 0 && ((uint8_t)t.s[at] & 0xc0) == 0x80)
            at--;
        if (!nb_jinja_is_space(nb_utf8_take(t.s + at, t.n - at, &len)))
            break;
        t.n = at;
    }
    return t;
}

static enum nb_status push(struct lexer *x, struct nb_jtoken t)
{
    struct nb_jtokens *o = x->out;
    if (o->n == o->cap) {
        const size_t cap = 2 * o->cap + 64;
        struct nb_jtoken *items = nb_arena_alloc(x->arena, cap, sizeof *items);
        if (items == NULL)
            NB_FAIL(x->err, NB_ERR_NOMEM, "chat template: out of memory");
        if (o->n > 0)
            memcpy(items, o->items, o->n * sizeof *items);
        o->items = items;
        o->cap = cap;
    }
    t.line = x->line;
    o->items[o->n++] = t;
    return NB_OK;
}

static void advance(struct lexer *x, size_t to)
{
    for (; x->at < to; x->at++)
        x->line += x->s[x->at] == '\n';
}

static bool looking_at(const struct lexer *x, size_t at, const char *what)
{
    const size_t n = strlen(what);
    return x->n - at >= n && memcmp(x->s + at, what, n) == 0;
}

/* Behind a tag: "-" eats all white space; a block or comment without "+" one newline. */
static void after_tag(struct lexer *x, char sign, bool block)
{
    const size_t from = x->at;
    size_t to = from;
    if (sign == '-')
        to = x->n - nb_jinja_trim((struct nb_text){x->s + from, x->n - from}, true, false).n;
    else if (block && sign != '+' && from < x->n && x->s[from] == '\n')
        to = from + 1;
    advance(x, to);
    x->line_start = to > from && x->s[to - 1] == '\n';
}

/* Text before a tag, by the tag's first sign. */
static struct nb_text before_tag(const struct lexer *x, struct nb_text t, char sign, bool block)
{
    if (sign == '-')
        return nb_jinja_trim(t, false, true);
    if (sign == '+' || !block)
        return t;
    size_t start = t.n;
    while (start > 0 && t.s[start - 1] != '\n')
        start--;
    if ((start > 0 || x->line_start) &&
        nb_jinja_trim((struct nb_text){t.s + start, t.n - start}, true, false).n == 0)
        t.n = start;
    return t;
}

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static int hex_value(const char *s, size_t n, uint32_t *out)
{
    *out = 0;
    for (size_t i = 0; i < n; i++) {
        const char c = s[i];
        const uint32_t d = is_digit(c)              ? (uint32_t)(c - '0')
                           : (c >= 'a' && c <= 'f') ? (uint32_t)(c - 'a' + 10)
                           : (c >= 'A' && c <= 'F') ? (uint32_t)(c - 'A' + 10)
                                                    : 16;
        if (d == 16)
            return 0;
        *out = *out << 4 | d;
    }
    return 1;
}

/* One escape at s (n bytes left behind the backslash); returns how many it takes, 0: not known. */
static size_t unescape(const char *s, size_t n, char out[4], size_t *n_out)
{
    static const char from[] = "ntr\\'\"abfv", to[] = "\n\t\r\\'\"\a\b\f\v";
    const char *known = memchr(from, s[0], sizeof from - 1);
    uint32_t cp = 0;
    size_t used = s[0] == 'x' ? 3 : s[0] == 'u' ? 5 : s[0] == 'U' ? 9 : 0;
    *n_out = 1;
    if (known != NULL) {
        out[0] = to[known - from];
        return 1;
    }
    if (s[0] == '\n') {
        *n_out = 0;
        return 1;
    }
    if (used > 0) {
        if (n < used || !hex_value(s + 1, used - 1, &cp))
            return 0;
    } else if (s[0] >= '0' && s[0] <= '7') {
        for (; used < 3 && used < n && s[used] >= '0' && s[used] <= '7'; used++)
            cp = cp * 8 + (uint32_t)(s[used] - '0');
    } else {
        return 0;
    }
    if (cp > 0x10ffff || (cp >= 0xd800 && cp <= 0xdfff))
        return 0;
    *n_out = nb_utf8_put(out, cp);
    return used;
}

static enum nb_status lex_string(struct lexer *x)
{
    const char quote = x->s[x->at];
    const size_t start = x->at + 1;
    size_t end = start, n = 0, n_one;
    char one[4];
    while (end < x->n && x->s[end] != quote)
        end += x->s[end] == '\\' ? 2 : 1;
    if (end >= x->n)
        NB_FAIL(x->err, NB_ERR_FORMAT, "chat template, line %u: a text without its closing %c",
                x->line, quote);
    char *text = nb_arena_alloc(x->arena, end - start + 1, 1);
    if (text == NULL)
        NB_FAIL(x->err, NB_ERR_NOMEM, "chat template: out of memory");
    for (size_t i = start; i < end;) {
        if (x->s[i] != '\\') {
            text[n++] = x->s[i++];
            continue;
        }
        const size_t used = unescape(x->s + i + 1, end - i - 1, one, &n_one);
        if (used == 0 && memchr("xuUN", x->s[i + 1], 4) != NULL)
            NB_FAIL(x->err, NB_ERR_UNSUPPORTED,
                    "chat template, line %u: an escape that nibble does not know, \\%c", x->line,
                    x->s[i + 1]);
        if (used == 0) { /* not an escape: the backslash stays */
            text[n++] = x->s[i++];
            continue;
        }
        memcpy(text + n, one, n_one);
        n += n_one;
        i += 1 + used;
    }
    NB_TRY(push(x, (struct nb_jtoken){.kind = NB_JT_STRING, .text = {text, n}}));
    advance(x, end + 1);
    return NB_OK;
}

static enum nb_status lex_number(struct lexer *x)
{
    const bool index = x->out->n > 0 && x->out->items[x->out->n - 1].kind == NB_JT_OP &&
                       x->out->items[x->out->n - 1].op == '.';
    size_t end = x->at;
    bool real = false;
    while (end < x->n && is_digit(x->s[end]))
        end++;
    if (!index && x->n - end > 1 && x->s[end] == '.' && is_digit(x->s[end + 1])) {
        real = true;
        for (end++; end < x->n && is_digit(x->s[end]);)
            end++;
    }
    if (end < x->n && is_name_char(x->s[end])) /* 1e5, 0x10, 1_000 */
        NB_FAIL(x->err, NB_ERR_UNSUPPORTED,
                "chat template, line %u: a number that is not written in plain digits", x->line);
    NB_TRY(push(x, (struct nb_jtoken){.kind = real ? NB_JT_FLOAT : NB_JT_INT,
                                      .text = {x->s + x->at, end - x->at}}));
    advance(x, end);
    return NB_OK;
}

static enum nb_status lex_operator(struct lexer *x)
{
    static const char *const two[] = {"//", "**", "==", "!=", ">=", "<="};
    const char c = x->s[x->at];
    for (size_t i = 0; i < NB_COUNTOF(two); i++)
        if (looking_at(x, x->at, two[i])) {
            NB_TRY(
                push(x, (struct nb_jtoken){.kind = NB_JT_OP, .op = NB_JOP2(two[i][0], two[i][1])}));
            advance(x, x->at + 2);
            return NB_OK;
        }
    if (c == '\0' || strchr("+-/*%~[](){}><=.:|,", c) == NULL)
        NB_FAIL(x->err, NB_ERR_FORMAT, "chat template, line %u: byte 0x%02x is no part of Jinja",
                x->line, (unsigned)(uint8_t)c);
    NB_TRY(push(x, (struct nb_jtoken){.kind = NB_JT_OP, .op = (unsigned)c}));
    advance(x, x->at + 1);
    return NB_OK;
}

static enum nb_status lex_one(struct lexer *x)
{
    const char c = x->s[x->at];
    size_t end = x->at;
    if (c == '\'' || c == '"')
        return lex_string(x);
    if (is_digit(c))
        return lex_number(x);
    if (!is_name_char(c))
        return lex_operator(x);
    while (end < x->n && is_name_char(x->s[end]))
        end++;
    NB_TRY(push(x, (struct nb_jtoken){.kind = NB_JT_NAME, .text = {x->s + x->at, end - x->at}}));
    advance(x, end);
    return NB_OK;
}

/* What stands between the marks of a tag, and its end. */
static enum nb_status lex_inside(struct lexer *x, bool block)
{
    const char *close = block ? "%}" : "}}";
    const uint32_t line = x->line;
    size_t brackets = 0;
    while (x->at < x->n) {
        const struct nb_text rest = {x->s + x->at, x->n - x->at};
        advance(x, x->n - nb_jinja_trim(rest, true, false).n);
        if (x->at == x->n)
            break;
        const char c = x->s[x->at];
        const bool sign = c == '-' || (block && c == '+');
        if (brackets == 0 && looking_at(x, x->at + sign, close)) {
            NB_TRY(push(x, (struct nb_jtoken){.kind = block ? NB_JT_BLOCK_END : NB_JT_VAR_END}));
            advance(x, x->at + sign + 2);
            after_tag(x, sign ? c : '\0', block);
            return NB_OK;
        }
        if (strchr("([{", c) != NULL)
            brackets++;
        else if (strchr(")]}", c) != NULL && brackets > 0)
            brackets--;
        NB_TRY(lex_one(x));
    }
    NB_FAIL(x->err, NB_ERR_FORMAT, "chat template, line %u: a tag without its closing %s", line,
            close);
}

static enum nb_status skip_comment(struct lexer *x)
{
    const uint32_t line = x->line;
    const size_t start = x->at;
    size_t end = start;
    while (end < x->n && !looking_at(x, end, "#}"))
        end++;
    if (end >= x->n)
        NB_FAIL(x->err, NB_ERR_FORMAT, "chat template, line %u: a comment without its end", line);
    advance(x, end + 2);
    after_tag(x, end > start ? x->s[end - 1] : '\0', true);
    return NB_OK;
}

static enum nb_status lex_all(struct lexer *x)
{
    while (x->at < x->n) {
        size_t tag = x->at;
        while (tag < x->n && !(x->s[tag] == '{' && x->n - tag > 1 && x->s[tag + 1] != '\0' &&
                               strchr("{%#", x->s[tag + 1]) != NULL))
            tag++;
        struct nb_text data = {x->s + x->at, tag - x->at};
        const char kind = tag < x->n ? x->s[tag + 1] : '\0';
        const char next = x->n - tag > 2 ? x->s[tag + 2] : '\0';
        const char sign = next == '-' || next == '+' ? next : '\0';
        if (kind != '\0')
            data = before_tag(x, data, sign, kind != '{');
        if (data.n > 0)
            NB_TRY(push(x, (struct nb_jtoken){.kind = NB_JT_DATA, .text = data}));
        if (kind == '\0')
            break;
        advance(x, tag + 2 + (sign != '\0'));
        x->line_start = false;
        if (kind == '#') {
            NB_TRY(skip_comment(x));
            continue;
        }
        NB_TRY(
            push(x, (struct nb_jtoken){.kind = kind == '%' ? NB_JT_BLOCK_BEGIN : NB_JT_VAR_BEGIN}));
        NB_TRY(lex_inside(x, kind == '%'));
    }
    return push(x, (struct nb_jtoken){.kind = NB_JT_END});
}

enum nb_status nb_jinja_lex(struct nb_jtokens *out, struct nb_text source, struct nb_arena *arena,
                            struct nb_error *err)
{
    *out = (struct nb_jtokens){.n = 0};
    if (source.n > NB_JINJA_MAX_SOURCE)
        NB_FAIL(err, NB_ERR_LIMIT, "the chat template has %zu bytes, at most %u are read", source.n,
                NB_JINJA_MAX_SOURCE);
    if (nb_utf8_valid_prefix(source.s, source.n) != source.n)
        NB_FAIL(err, NB_ERR_FORMAT, "the chat template is not UTF-8");
    char *s = nb_arena_alloc(arena, source.n + 1, 1);
    size_t n = 0;
    if (s == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "chat template: out of memory");
    for (size_t i = 0; i < source.n; i++) {
        if (source.s[i] == '\r' && i + 1 < source.n && source.s[i + 1] == '\n')
            continue;
        s[n++] = source.s[i] == '\r' ? '\n' : source.s[i];
    }
    if (n > 0 && s[n - 1] == '\n')
        n--;
    struct lexer x = {
        .arena = arena, .out = out, .s = s, .n = n, .line = 1, .line_start = true, .err = err};
    return lex_all(&x);
}
