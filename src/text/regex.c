/* text/regex.c: pre-tokenizer patterns, through PCRE2.
 *
 * Patterns are written for Oniguruma (Ruby syntax, Unicode classes), which Hugging Face tokenizers uses;
 * where the two engines read an escape differently the pattern is rewritten. Two programs are compiled:
 * one as PCRE2's own Unicode tables have it, and, for texts with code points of unicode_gap.inc, one whose
 * classes carry the missing ranges (slower, and rarely needed).
 * Patterns come from files that nobody vouches for: match, depth and heap are limited.
 * Left out: set operations inside classes ([a[^bc]], &&), \b by Oniguruma's idea of a word.
 */
#include "text/text_internal.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <string.h>

#define MAX_PATTERN_BYTES 65536u
#define HEAP_LIMIT_KIB    65536u

/* What PCRE2 gets as its memory; lives as long as anything made with it. */
struct memory {
    const struct nb_allocator *a;
    bool failed; /* a NULL was returned: the just-in-time compiler does not say so */
};

/* Owns: both programs. exact == NULL: the same as plain. */
struct nb_regex {
    struct memory memory;
    pcre2_code *plain, *exact;
};

struct nb_regex_run {
    struct memory memory;
    pcre2_match_data *data;
    pcre2_match_context *context;
};

static void *pcre_alloc(size_t n, void *ctx)
{
    struct memory *m = ctx;
    void *p = nb_alloc(m->a, n, 1);
    m->failed = m->failed || p == NULL;
    return p;
}

static void pcre_free(void *ptr, void *ctx)
{
    struct memory *m = ctx;
    nb_free(m->a, ptr);
}

/* ---- Oniguruma to PCRE2 ---- */
#define WORD_ITEMS                                                                                 \
    "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{24B6}-\\x{24E9}\\x{1F130}-\\x{1F149}\\x{1F150}-\\x{"     \
    "1F169}"                                                                                       \
    "\\x{1F170}-\\x{1F189}"
#define SPACE_ITEMS                                                                                \
    "\\t-\\r "                                                                                     \
    "\\x{85}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}\\x{205F}\\x{3000}"
#define HEX_ITEMS "0-9A-Fa-f"

static void gap_items(struct nb_str *out, const char *category, size_t n)
{
    for (const struct nb_uc_gap *g = nb_uc_gaps; g->first != 0; g++)
        if (memcmp(g->category, category, n) == 0)
            nb_str_printf(out, "\\x{%X}-\\x{%X}", (unsigned)g->first, (unsigned)g->last);
}

/* Reads \p{X} or \p{^X}, X one or two letters. Returns its bytes; 0: something else. */
static size_t read_property(struct nb_text p, size_t at, struct nb_text *name, bool *negated)
{
    size_t i = at + 2, start;
    if (i >= p.n || p.s[i] != '{' || (p.s[at + 1] != 'p' && p.s[at + 1] != 'P'))
        return 0;
    *negated = p.s[at + 1] == 'P';
    i++;
    if (i < p.n && p.s[i] == '^') {
        *negated = !*negated;
        i++;
    }
    start = i;
    while (i < p.n && p.s[i] != '}')
        i++;
    *name = (struct nb_text){p.s + start, i - start};
    return i < p.n && name->n >= 1 && name->n <= 2 ? i + 1 - at : 0;
}

static void class_of(struct nb_str *out, const char *items, bool negated, bool in_class)
{
    if (in_class)
        nb_str_puts(out, items);
    else
        nb_str_printf(out, "[%s%s]", negated ? "^" : "", items);
}

/* Rewrites the escape at p.s[at]; returns its bytes. */
static size_t rewrite_escape(struct nb_str *out, struct nb_text p, size_t at, bool in_class,
                             bool exact)
{
    struct nb_text name;
    bool negated;
    char c = p.s[at + 1];
    size_t len = exact ? read_property(p, at, &name, &negated) : 0;
    if (len != 0 && !(negated && in_class)) {
        if (!in_class)
            nb_str_puts(out, negated ? "[^" : "[");
        nb_str_printf(out, "\\p{%.*s}", (int)name.n, name.s);
        gap_items(out, name.s, name.n);
        if (!in_class)
            nb_str_puts(out, "]");
        return len;
    }
    if (c == 'h' || (c == 'H' && !in_class))
        class_of(out, HEX_ITEMS, c == 'H', in_class);
    else if (c == 'w' || (c == 'W' && !in_class))
        class_of(out, WORD_ITEMS, c == 'W', in_class);
    else if (exact && (c == 's' || (c == 'S' && !in_class)))
        class_of(out, SPACE_ITEMS, c == 'S', in_class);
    else
        nb_str_append(out, p.s + at, 2);
    return 2;
}

/* The class that begins at p.s[i], inside another one, only adds items to it. */
static bool plain_inside(struct nb_text p, size_t i)
{
    return i + 1 < p.n && p.s[i + 1] != '^' && p.s[i + 1] != ']' && p.s[i + 1] != '-' &&
           p.s[i - 1] != '-';
}

static enum nb_status rewrite(struct nb_str *out, struct nb_text p, bool exact,
                              struct nb_error *err)
{
    bool in_class = false;
    size_t class_start = 0; /* where a ']' would be a literal */
    unsigned nested = 0;    /* classes inside the class: their items are items of it */
    for (size_t i = 0; i < p.n;) {
        char c = p.s[i];
        if (c == '\\' && i + 1 < p.n) {
            i += rewrite_escape(out, p, i, in_class, exact);
            continue;
        }
        if (in_class) {
            bool posix = c == '[' && i + 1 < p.n && p.s[i + 1] == ':';
            if (c == '[' && !posix && plain_inside(p, i)) {
                nested++;
                i++;
                continue;
            }
            if (c == ']' && nested > 0) {
                nested--;
                i++;
                continue;
            }
            if ((c == '[' && !posix) || (c == '&' && i + 1 < p.n && p.s[i + 1] == '&'))
                NB_FAIL(err, NB_ERR_UNSUPPORTED,
                        "pattern: set operation inside a class at byte %zu", i);
            if (posix) { /* copy to its ":]" */
                do
                    nb_str_append(out, p.s + i++, 1);
                while (i < p.n && p.s[i] != ']');
                if (i < p.n)
                    nb_str_append(out, p.s + i++, 1);
                continue;
            }
            in_class = c != ']' || i == class_start;
        } else if (c == '[') {
            in_class = true;
            class_start = i + 1;
            if (i + 1 < p.n && p.s[i + 1] == '^')
                class_start++;
        }
        nb_str_append(out, &c, 1);
        i++;
    }
    return nb_str_check(out, err);
}

static enum nb_status compile(pcre2_code **out, struct nb_text p, bool literal,
                              struct memory *memory, struct nb_error *err)
{
    int code = 0;
    size_t at = 0;
    char text[120], shown[80];
    pcre2_general_context *g = pcre2_general_context_create(pcre_alloc, pcre_free, memory);
    pcre2_compile_context *c = g == NULL ? NULL : pcre2_compile_context_create(g);
    *out = NULL;
    if (c != NULL) {
        uint32_t options =
            PCRE2_UTF | PCRE2_NO_UTF_CHECK |
            (literal ? PCRE2_LITERAL : PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C);
        (void)pcre2_set_newline(c, PCRE2_NEWLINE_LF);
        *out = pcre2_compile((PCRE2_SPTR)(const void *)p.s, p.n, options, &code, &at, c);
    }
    pcre2_compile_context_free(c);
    pcre2_general_context_free(g);
    if (*out != NULL)
        (void)pcre2_jit_compile(*out, PCRE2_JIT_COMPLETE); /* without it: slower, that is all */
    if (*out != NULL && !memory->failed)
        return NB_OK;
    if (memory->failed)
        NB_FAIL(err, NB_ERR_NOMEM, "pattern of %zu bytes: out of memory", p.n);
    if (pcre2_get_error_message(code, (PCRE2_UCHAR *)(void *)text, sizeof(text)) < 0)
        text[0] = '\0';
    NB_FAIL(err, NB_ERR_FORMAT, "pattern '%s': %s at byte %zu",
            nb_printable(shown, sizeof(shown), p.s, p.n), text, at);
}

enum nb_status nb_regex_create(struct nb_regex **out, struct nb_text pattern, bool literal,
                               const struct nb_allocator *a, struct nb_error *err)
{
    struct nb_str plain, exact;
    struct nb_regex *re = NULL;
    enum nb_status st = NB_OK;
    *out = NULL;
    if (pattern.n > MAX_PATTERN_BYTES)
        NB_FAIL(err, NB_ERR_LIMIT, "pattern has %zu bytes, at most %u are supported", pattern.n,
                MAX_PATTERN_BYTES);
    if (nb_utf8_valid_prefix(pattern.s, pattern.n) != pattern.n)
        NB_FAIL(err, NB_ERR_FORMAT, "pattern is not UTF-8");
    nb_str_init(&plain, a);
    nb_str_init(&exact, a);
    re = nb_alloc_zero(a, 1, sizeof(*re));
    if (re == NULL) {
        st = NB_ERROR(err, NB_ERR_NOMEM, "pattern: out of memory");
        goto done;
    }
    re->memory.a = a;
    if (literal) {
        NB_TRY_TO(done, compile(&re->plain, pattern, true, &re->memory, err));
    } else {
        NB_TRY_TO(done, rewrite(&plain, pattern, false, err));
        NB_TRY_TO(done, rewrite(&exact, pattern, true, err));
        NB_TRY_TO(done, compile(&re->plain, (struct nb_text){plain.data, plain.len}, false,
                                &re->memory, err));
        if (plain.len != exact.len || memcmp(plain.data, exact.data, plain.len) != 0)
            NB_TRY_TO(done, compile(&re->exact, (struct nb_text){exact.data, exact.len}, false,
                                    &re->memory, err));
    }
    *out = re;
    re = NULL;
done:
    nb_regex_destroy(re);
    nb_str_fini(&plain);
    nb_str_fini(&exact);
    return st;
}

void nb_regex_destroy(struct nb_regex *re)
{
    if (re == NULL)
        return;
    pcre2_code_free(re->plain);
    pcre2_code_free(re->exact);
    nb_free(re->memory.a, re);
}

struct nb_regex_run *nb_regex_run_create(const struct nb_allocator *a)
{
    struct nb_regex_run *run = nb_alloc_zero(a, 1, sizeof(*run));
    if (run == NULL)
        return NULL;
    run->memory.a = a;
    pcre2_general_context *g = pcre2_general_context_create(pcre_alloc, pcre_free, &run->memory);
    if (g != NULL) {
        run->data = pcre2_match_data_create(1, g);
        run->context = pcre2_match_context_create(g);
    }
    pcre2_general_context_free(g);
    if (run->data == NULL || run->context == NULL) {
        nb_regex_run_destroy(run);
        return NULL;
    }
    (void)pcre2_set_heap_limit(run->context, HEAP_LIMIT_KIB);
    return run;
}

void nb_regex_run_destroy(struct nb_regex_run *run)
{
    if (run == NULL)
        return;
    pcre2_match_data_free(run->data);
    pcre2_match_context_free(run->context);
    nb_free(run->memory.a, run);
}

enum nb_status nb_regex_find(const struct nb_regex *re, struct nb_regex_run *run, struct nb_text s,
                             size_t at, bool gap, struct nb_regex_match *m, struct nb_error *err)
{
    const pcre2_code *code = gap && re->exact != NULL ? re->exact : re->plain;
    /* A sane pattern needs a few steps per byte of the longest run it tries. */
    uint32_t limit = 100000u + 16u * (uint32_t)NB_MIN(s.n, 16u << 20);
    char text[120];
    *m = (struct nb_regex_match){0, 0, false};
    (void)pcre2_set_match_limit(run->context, limit);
    (void)pcre2_set_depth_limit(run->context, limit);
    int rc = pcre2_match(code, (PCRE2_SPTR)(const void *)s.s, s.n, at, PCRE2_NO_UTF_CHECK,
                         run->data, run->context);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT) /* the interpreter keeps its stack on the heap */
        rc = pcre2_match(code, (PCRE2_SPTR)(const void *)s.s, s.n, at,
                         PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, run->data, run->context);
    if (rc == PCRE2_ERROR_NOMATCH)
        return NB_OK;
    if (rc < 0) {
        if (pcre2_get_error_message(rc, (PCRE2_UCHAR *)(void *)text, sizeof(text)) < 0)
            text[0] = '\0';
        NB_FAIL(err, rc == PCRE2_ERROR_NOMEMORY ? NB_ERR_NOMEM : NB_ERR_LIMIT,
                "pre-tokenizer pattern at byte %zu of %zu: %s", at, s.n, text);
    }
    const size_t *where = pcre2_get_ovector_pointer(run->data);
    if (where[0] < at || where[1] < where[0])
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "pre-tokenizer pattern: a match ends before it begins");
    *m = (struct nb_regex_match){where[0], where[1], true};
    return NB_OK;
}
