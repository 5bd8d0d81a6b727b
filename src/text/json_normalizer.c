/* text/json_normalizer.c: the normalizer of a tokenizer.json. */
#include "text/json_internal.h"

static enum nb_status add_norm(struct nb_part *p, struct nb_norm_step step)
{
    struct nb_pipeline *pipe = &p->tok->pipe;
    if (pipe->n_norm == NB_TEXT_MAX_STEPS)
        NB_FAIL(p->err, NB_ERR_LIMIT, "tokenizer.json: normalizer has more than %d steps",
                NB_TEXT_MAX_STEPS);
    pipe->norm[pipe->n_norm++] = step;
    return NB_OK;
}

#define PLAIN(name, value)                                                                         \
    static enum nb_status name(struct nb_part *p, const nb_json *v)                                \
    {                                                                                              \
        (void)v;                                                                                   \
        return add_norm(p, (struct nb_norm_step){.kind = value});                                  \
    }
PLAIN(norm_nfc, NB_NORM_NFC)
PLAIN(norm_nfd, NB_NORM_NFD)
PLAIN(norm_nfkc, NB_NORM_NFKC)
PLAIN(norm_nfkd, NB_NORM_NFKD)
PLAIN(norm_lowercase, NB_NORM_LOWERCASE)
PLAIN(norm_strip_accents, NB_NORM_STRIP_ACCENTS)
PLAIN(norm_nmt, NB_NORM_NMT)

static enum nb_status norm_prepend(struct nb_part *p, const nb_json *v)
{
    struct nb_norm_step step = {.kind = NB_NORM_PREPEND};
    NB_TRY(nb_part_text(p, &step.content, v, "prepend"));
    return add_norm(p, step);
}

static enum nb_status norm_replace(struct nb_part *p, const nb_json *v)
{
    struct nb_norm_step step = {.kind = NB_NORM_REPLACE};
    bool literal;
    NB_TRY(nb_part_pattern(p, &step.pattern, &literal, v));
    step.regex = !literal;
    NB_TRY(nb_part_text(p, &step.content, v, "content"));
    return add_norm(p, step);
}

static enum nb_status norm_strip(struct nb_part *p, const nb_json *v)
{
    struct nb_norm_step step = {.kind = NB_NORM_STRIP};
    NB_TRY(nb_part_flag(p, &step.left, v, "strip_left", true));
    NB_TRY(nb_part_flag(p, &step.right, v, "strip_right", true));
    return add_norm(p, step);
}

static enum nb_status norm_bert(struct nb_part *p, const nb_json *v)
{
    struct nb_norm_step step = {.kind = NB_NORM_BERT};
    NB_TRY(nb_part_flag(p, &step.clean, v, "clean_text", true));
    NB_TRY(nb_part_flag(p, &step.han, v, "handle_chinese_chars", true));
    NB_TRY(nb_part_flag(p, &step.lower, v, "lowercase", true));
    NB_TRY(nb_part_flag(p, &step.accents, v, "strip_accents", step.lower));
    return add_norm(p, step);
}

static enum nb_status norm_precompiled(struct nb_part *p, const nb_json *v)
{
    struct nb_norm_step step = {.kind = NB_NORM_PRECOMPILED};
    const nb_json *map = nb_json_get(v, "precompiled_charsmap");
    size_t n;
    const char *text = nb_json_string(map, &n);
    if (nb_json_absent(map) || (text != NULL && n == 0)) /* an empty map changes nothing */
        return NB_OK;
    if (text == NULL)
        return nb_part_wrong(p, "precompiled_charsmap", "base64");
    struct nb_text blob;
    NB_TRY(nb_base64_decode(&blob, (struct nb_text){text, n}, &p->tok->arena, p->err));
    NB_TRY(nb_charsmap_open(&step.map, blob, p->err));
    p->tok->vocab.charsmap = blob;
    return add_norm(p, step);
}

static const struct nb_part_type types[] = {{"NFC", norm_nfc},
                                            {"NFD", norm_nfd},
                                            {"NFKC", norm_nfkc},
                                            {"NFKD", norm_nfkd},
                                            {"Prepend", norm_prepend},
                                            {"Replace", norm_replace},
                                            {"Strip", norm_strip},
                                            {"Lowercase", norm_lowercase},
                                            {"StripAccents", norm_strip_accents},
                                            {"Nmt", norm_nmt},
                                            {"BertNormalizer", norm_bert},
                                            {"Precompiled", norm_precompiled}};

enum nb_status nb_json_read_normalizer(struct nb_tokenizer *tok, const nb_json *v,
                                       struct nb_error *err)
{
    struct nb_part p = {tok, "normalizer", err};
    return nb_part_read(&p, v, types, NB_COUNTOF(types), "normalizers");
}
