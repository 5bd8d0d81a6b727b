/* text/normalize.c: the normalizer steps of a tokenizer.json, as Hugging Face tokenizers does them:
 * normal forms, Prepend, Replace, Strip, Lowercase, StripAccents, Nmt, BertNormalizer, Precompiled.
 */
#include "text/text_internal.h"

#include <string.h>

static bool starts_at(struct nb_text s, size_t at, struct nb_text pattern)
{
    return s.n - at >= pattern.n && memcmp(s.s + at, pattern.s, pattern.n) == 0;
}

static enum nb_status no_memory(size_t n, struct nb_error *err)
{
    NB_FAIL(err, NB_ERR_NOMEM, "normalizing %zu bytes: out of memory", n);
}

/* ---- strings in place of strings ---- */
static enum nb_status prepend(struct nb_text *out, struct nb_text s, struct nb_text what,
                              struct nb_arena *arena, struct nb_error *err)
{
    *out = s;
    if (s.n == 0 || what.n == 0)
        return NB_OK;
    char *text = nb_arena_alloc(arena, s.n + what.n, 1);
    if (text == NULL)
        return no_memory(s.n, err);
    memcpy(text, what.s, what.n);
    memcpy(text + what.n, s.s, s.n);
    *out = (struct nb_text){text, s.n + what.n};
    return NB_OK;
}

static enum nb_status replace(struct nb_text *out, struct nb_text s, struct nb_text pattern,
                              struct nb_text content, struct nb_arena *arena, struct nb_error *err)
{
    size_t hits = 0, bytes, at = 0;
    *out = s;
    for (size_t i = 0; pattern.n != 0 && i < s.n; i++)
        if (starts_at(s, i, pattern)) {
            hits++;
            i += pattern.n - 1;
        }
    if (hits == 0)
        return NB_OK;
    char *text = NULL;
    if (nb_mul_size(&bytes, hits, content.n) && nb_add_size(&bytes, bytes, s.n + 1))
        text = nb_arena_alloc(arena, bytes, 1);
    if (text == NULL)
        return no_memory(s.n, err);
    for (size_t i = 0; i < s.n;) {
        bool hit = starts_at(s, i, pattern);
        struct nb_text from = hit ? content : (struct nb_text){s.s + i, 1};
        if (from.n != 0)
            memcpy(text + at, from.s, from.n);
        at += from.n;
        i += hit ? pattern.n : 1;
    }
    *out = (struct nb_text){text, at};
    return NB_OK;
}

/* What a growing text holds, as a text of the arena. */
static enum nb_status keep(struct nb_text *out, const struct nb_str *text, struct nb_arena *arena,
                           struct nb_error *err)
{
    char *s = text->failed ? NULL : nb_arena_alloc(arena, text->len + 1, 1);
    if (s == NULL)
        return no_memory(text->len, err);
    if (text->len != 0)
        memcpy(s, text->data, text->len);
    *out = (struct nb_text){s, text->len};
    return NB_OK;
}

/* An empty match puts the content in and goes on behind the next character. */
static enum nb_status replace_regex(const struct nb_norm_step *step, struct nb_text *out,
                                    struct nb_text s, struct nb_arena *arena,
                                    struct nb_regex_run *run, struct nb_error *err)
{
    struct nb_regex_match m;
    struct nb_str text;
    size_t done = 0, len;
    enum nb_status st = NB_OK;
    *out = s;
    nb_str_init(&text, arena->a);
    for (size_t at = 0; at <= s.n;) {
        NB_TRY_TO(end, nb_regex_find(step->re, run, s, at, true, &m, err));
        if (!m.found)
            break;
        nb_str_append(&text, s.s + done, m.start - done);
        nb_str_append(&text, step->content.s, step->content.n);
        done = at = m.end;
        if (m.end == m.start) {
            if (at == s.n)
                break;
            (void)nb_utf8_take(s.s + at, s.n - at, &len);
            at += len;
        }
    }
    if (text.len != 0 || done != 0) {
        nb_str_append(&text, s.s + done, s.n - done);
        st = keep(out, &text, arena, err);
    }
end:
    nb_str_fini(&text);
    return st;
}

/* ---- characters in place of characters ---- */
typedef size_t char_fn(uint32_t cp, uint32_t out[3]); /* returns how many come out */

static enum nb_status map_chars(struct nb_text *out, struct nb_text s, char_fn *fn,
                                struct nb_arena *arena, struct nb_error *err)
{
    char *text = NULL, bytes[4];
    uint32_t to[3];
    size_t at, len;
    *out = s;
    for (int pass = 0; pass < 2; pass++) { /* count, then write */
        at = 0;
        for (size_t i = 0; i < s.n; i += len) {
            const size_t k = fn(nb_utf8_take(s.s + i, s.n - i, &len), to);
            for (size_t j = 0; j < k; j++)
                at += nb_utf8_put(text == NULL ? bytes : text + at, to[j]);
        }
        if (pass == 1)
            break;
        if (!nb_add_size(&len, at, 4)) /* nb_utf8_put may touch four bytes */
            return no_memory(s.n, err);
        text = nb_arena_alloc(arena, len, 1);
        if (text == NULL)
            return no_memory(s.n, err);
    }
    *out = (struct nb_text){text, at};
    return NB_OK;
}

static size_t lower(uint32_t cp, uint32_t out[3])
{
    return nb_uc_lower(cp, out);
}

static size_t without_marks(uint32_t cp, uint32_t out[3])
{
    out[0] = cp;
    return nb_uc_is(cp, NB_UC_MARK) ? 0 : 1;
}

static size_t without_nonspacing(uint32_t cp, uint32_t out[3])
{
    out[0] = cp;
    return nb_uc_is(cp, NB_UC_NONSPACING) ? 0 : 1;
}

static size_t clean(uint32_t cp, uint32_t out[3])
{
    out[0] = nb_uc_is_space(cp) ? ' ' : cp;
    return cp == 0 || nb_uc_is(cp, NB_UC_CONTROL) ? 0 : 1;
}

static size_t space_han(uint32_t cp, uint32_t out[3])
{
    const bool han = nb_uc_is_han(cp);
    out[0] = han ? ' ' : cp;
    out[1] = cp;
    out[2] = ' ';
    return han ? 3 : 1;
}

/* The rules of SentencePiece's nmt. */
static size_t nmt(uint32_t cp, uint32_t out[3])
{
    if ((cp >= 0x01 && cp <= 0x08) || cp == 0x0b || (cp >= 0x0e && cp <= 0x1f) || cp == 0x7f ||
        cp == 0x8f || cp == 0x9f)
        return 0;
    const bool space = cp == 0x09 || cp == 0x0a || cp == 0x0c || cp == 0x0d || cp == 0x1680 ||
                       (cp >= 0x200b && cp <= 0x200f) || cp == 0x2028 || cp == 0x2029 ||
                       cp == 0x2581 || cp == 0xfeff || cp == 0xfffd;
    out[0] = space ? ' ' : cp;
    return 1;
}

static struct nb_text strip(struct nb_text s, bool left, bool right)
{
    size_t len;
    while (left && s.n != 0 && nb_uc_is_space(nb_utf8_take(s.s, s.n, &len))) {
        s.s += len;
        s.n -= len;
    }
    while (right && s.n != 0) {
        size_t at = s.n - 1;
        while (at > 0 && ((uint8_t)s.s[at] & 0xc0) == 0x80)
            at--;
        if (!nb_uc_is_space(nb_utf8_take(s.s + at, s.n - at, &len)))
            break;
        s.n = at;
    }
    return s;
}

/* clean_text, handle_chinese_chars, strip_accents, lowercase: in this order. */
static enum nb_status bert(const struct nb_norm_step *step, struct nb_text *out, struct nb_text s,
                           struct nb_arena *arena, struct nb_error *err)
{
    *out = s;
    if (step->clean)
        NB_TRY(map_chars(out, *out, clean, arena, err));
    if (step->han)
        NB_TRY(map_chars(out, *out, space_han, arena, err));
    if (step->accents) {
        NB_TRY(nb_uc_normal(out, *out, 0, arena, err));
        NB_TRY(map_chars(out, *out, without_nonspacing, arena, err));
    }
    return step->lower ? map_chars(out, *out, lower, arena, err) : NB_OK;
}

enum nb_status nb_normalize_step(const struct nb_norm_step *step, struct nb_text *out,
                                 struct nb_text s, struct nb_arena *arena, struct nb_regex_run *run,
                                 struct nb_error *err)
{
    switch (step->kind) {
    case NB_NORM_NFC:
        return nb_uc_normal(out, s, NB_UC_COMPOSE, arena, err);
    case NB_NORM_NFD:
        return nb_uc_normal(out, s, 0, arena, err);
    case NB_NORM_NFKC:
        return nb_uc_normal(out, s, NB_UC_COMPOSE | NB_UC_COMPAT, arena, err);
    case NB_NORM_NFKD:
        return nb_uc_normal(out, s, NB_UC_COMPAT, arena, err);
    case NB_NORM_PREPEND:
        return prepend(out, s, step->content, arena, err);
    case NB_NORM_LOWERCASE:
        return map_chars(out, s, lower, arena, err);
    case NB_NORM_STRIP_ACCENTS:
        return map_chars(out, s, without_marks, arena, err);
    case NB_NORM_NMT:
        return map_chars(out, s, nmt, arena, err);
    case NB_NORM_STRIP:
        *out = strip(s, step->left, step->right);
        return NB_OK;
    case NB_NORM_BERT:
        return bert(step, out, s, arena, err);
    case NB_NORM_PRECOMPILED:
        return nb_charsmap_apply(&step->map, out, s, arena, err);
    case NB_NORM_REPLACE:
        break;
    }
    if (step->re != NULL)
        return replace_regex(step, out, s, arena, run, err);
    return replace(out, s, step->pattern, step->content, arena, err);
}

enum nb_status nb_normalize(const struct nb_pipeline *p, struct nb_text *out, struct nb_text s,
                            struct nb_arena *arena, struct nb_regex_run *run, struct nb_error *err)
{
    *out = s;
    for (size_t i = 0; i < p->n_norm; i++)
        NB_TRY(nb_normalize_step(&p->norm[i], out, *out, arena, run, err));
    return NB_OK;
}
