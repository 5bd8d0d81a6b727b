/* text/normalize.c: the normalizer steps of a tokenizer.json: NFC, Prepend, Replace (of a plain string). */
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

enum nb_status nb_normalize_step(const struct nb_norm_step *step, struct nb_text *out,
                                 struct nb_text s, struct nb_arena *arena, struct nb_error *err)
{
    if (step->kind == NB_NORM_NFC)
        return nb_uc_nfc(out, s, arena, err);
    if (step->kind == NB_NORM_PREPEND)
        return prepend(out, s, step->content, arena, err);
    return replace(out, s, step->pattern, step->content, arena, err);
}

enum nb_status nb_normalize(const struct nb_pipeline *p, struct nb_text *out, struct nb_text s,
                            struct nb_arena *arena, struct nb_error *err)
{
    *out = s;
    for (size_t i = 0; i < p->n_norm; i++)
        NB_TRY(nb_normalize_step(&p->norm[i], out, *out, arena, err));
    return NB_OK;
}
