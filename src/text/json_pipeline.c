/* text/json_pipeline.c: normalizer, pre_tokenizer, post_processor and decoder of a tokenizer.json.
 *
 * Each part is an object with a type, or a Sequence of them. What is not in the tables below is refused by
 * name: text must not come out as other ids than the model was trained on.
 */
#include "text/text_internal.h"

#include <string.h>

/* One part of the file while it is read. */
struct part {
    struct nb_tokenizer *tok;
    const char *what; /* "normalizer" … for messages */
    struct nb_error *err;
};
struct part_type {
    const char *name;
    enum nb_status (*read)(struct part *p, const nb_json *v);
};

static enum nb_status wrong(struct part *p, const char *key, const char *expected)
{
    NB_FAIL(p->err, NB_ERR_FORMAT, "tokenizer.json: %s.%s: expected %s", p->what, key, expected);
}

static enum nb_status unsupported(struct part *p, const char *key, const nb_json *v)
{
    char name[60];
    size_t n = 0;
    const char *s = nb_json_string(v, &n);
    NB_FAIL(p->err, NB_ERR_UNSUPPORTED, "tokenizer.json: %s.%s '%s' is not supported", p->what, key,
            nb_printable(name, sizeof(name), s == NULL ? "?" : s, s == NULL ? 1 : n));
}

static bool is_null(const nb_json *v)
{
    enum nb_json_type t = nb_json_type(v);
    return t == NB_JSON_NULL || t == NB_JSON_MISSING;
}

static enum nb_status text_of(struct part *p, struct nb_text *out, const nb_json *v,
                              const char *key)
{
    return nb_json_copy_text(p->tok, out, nb_json_get(v, key), key, p->err);
}

static enum nb_status flag_of(struct part *p, bool *out, const nb_json *v, const char *key,
                              bool absent)
{
    const nb_json *item = nb_json_get(v, key);
    *out = absent;
    return is_null(item) || nb_json_bool(item, out) ? NB_OK : wrong(p, key, "true or false");
}

/* {"String": "x"} or {"Regex": "x"} */
static enum nb_status pattern_of(struct part *p, struct nb_text *out, bool *literal,
                                 const nb_json *v)
{
    const nb_json *pattern = nb_json_get(v, "pattern");
    *literal = nb_json_string(nb_json_get(pattern, "String"), NULL) != NULL;
    NB_TRY(text_of(p, out, pattern, *literal ? "String" : "Regex"));
    return out->n == 0 ? wrong(p, "pattern", "a pattern that is not empty") : NB_OK;
}

static enum nb_status read_part(struct part *p, const nb_json *v, const struct part_type *types,
                                size_t n_types, const char *list, int depth)
{
    const nb_json *type = nb_json_get(v, "type");
    const char *name = nb_json_string(type, NULL);
    if (is_null(v))
        return NB_OK;
    if (name == NULL)
        return wrong(p, "type", "a string");
    if (nb_str_eq(name, "Sequence")) {
        const nb_json *items = nb_json_get(v, list);
        if (nb_json_type(items) != NB_JSON_ARRAY || depth > 4)
            return wrong(p, list, "an array, nested at most four times");
        for (size_t i = 0; i < nb_json_size(items); i++)
            NB_TRY(read_part(p, nb_json_at(items, i), types, n_types, list, depth + 1));
        return NB_OK;
    }
    for (size_t i = 0; i < n_types; i++)
        if (nb_str_eq(name, types[i].name))
            return types[i].read(p, v);
    return unsupported(p, "type", type);
}

/* ---- normalizer ---- */
static enum nb_status add_norm(struct part *p, struct nb_norm_step step)
{
    struct nb_pipeline *pipe = &p->tok->pipe;
    if (pipe->n_norm == NB_TEXT_MAX_STEPS)
        NB_FAIL(p->err, NB_ERR_LIMIT, "tokenizer.json: normalizer has more than %d steps",
                NB_TEXT_MAX_STEPS);
    pipe->norm[pipe->n_norm++] = step;
    return NB_OK;
}

static enum nb_status norm_nfc(struct part *p, const nb_json *v)
{
    (void)v;
    return add_norm(p, (struct nb_norm_step){.kind = NB_NORM_NFC});
}

static enum nb_status norm_prepend(struct part *p, const nb_json *v)
{
    struct nb_norm_step step = {.kind = NB_NORM_PREPEND};
    NB_TRY(text_of(p, &step.content, v, "prepend"));
    return add_norm(p, step);
}

static enum nb_status norm_replace(struct part *p, const nb_json *v)
{
    struct nb_norm_step step = {.kind = NB_NORM_REPLACE};
    bool literal;
    NB_TRY(pattern_of(p, &step.pattern, &literal, v));
    if (!literal)
        return unsupported(p, "pattern", nb_json_get(nb_json_get(v, "pattern"), "Regex"));
    NB_TRY(text_of(p, &step.content, v, "content"));
    return add_norm(p, step);
}

static const struct part_type norm_types[] = {
    {"NFC", norm_nfc}, {"Prepend", norm_prepend}, {"Replace", norm_replace}};

/* ---- pre-tokenizer ---- */
static enum nb_status add_pre(struct part *p, struct nb_pre_step step)
{
    struct nb_pipeline *pipe = &p->tok->pipe;
    if (pipe->n_pre == NB_TEXT_MAX_STEPS)
        NB_FAIL(p->err, NB_ERR_LIMIT, "tokenizer.json: pre_tokenizer has more than %d steps",
                NB_TEXT_MAX_STEPS);
    if (p->tok->bpe.byte_level)
        NB_FAIL(p->err, NB_ERR_UNSUPPORTED,
                "tokenizer.json: pre_tokenizer: ByteLevel is supported as the last step only");
    pipe->pre[pipe->n_pre++] = step;
    return NB_OK;
}

static enum nb_status pre_byte_level(struct part *p, const nb_json *v)
{
    bool space, regex;
    NB_TRY(flag_of(p, &space, v, "add_prefix_space", true));
    NB_TRY(flag_of(p, &regex, v, "use_regex", true));
    NB_TRY(add_pre(p, (struct nb_pre_step){.kind = NB_PRE_BYTE_LEVEL,
                                           .prepend = space ? NB_PREPEND_ALWAYS : NB_PREPEND_NEVER,
                                           .use_regex = regex}));
    p->tok->bpe.byte_level = true;
    return NB_OK;
}

static enum nb_status pre_split(struct part *p, const nb_json *v)
{
    static const struct {
        const char *name;
        enum nb_split_behavior behavior;
    } names[] = {{"Isolated", NB_SPLIT_ISOLATED},
                 {"Removed", NB_SPLIT_REMOVED},
                 {"MergedWithPrevious", NB_SPLIT_MERGED_PREVIOUS},
                 {"MergedWithNext", NB_SPLIT_MERGED_NEXT},
                 {"Contiguous", NB_SPLIT_CONTIGUOUS}};
    struct nb_pre_step step = {.kind = NB_PRE_SPLIT};
    const nb_json *behavior = nb_json_get(v, "behavior");
    const char *name = nb_json_string(behavior, NULL);
    NB_TRY(pattern_of(p, &step.pattern, &step.literal, v));
    NB_TRY(flag_of(p, &step.invert, v, "invert", false));
    for (size_t i = 0; i < NB_COUNTOF(names); i++)
        if (name != NULL && nb_str_eq(name, names[i].name)) {
            step.behavior = names[i].behavior;
            return add_pre(p, step);
        }
    return unsupported(p, "behavior", behavior);
}

static enum nb_status pre_digits(struct part *p, const nb_json *v)
{
    bool individual;
    NB_TRY(flag_of(p, &individual, v, "individual_digits", false));
    return add_pre(
        p, (struct nb_pre_step){.kind = NB_PRE_DIGITS,
                                .behavior = individual ? NB_SPLIT_ISOLATED : NB_SPLIT_CONTIGUOUS});
}

/* Also of the Metaspace decoder. Older files say add_prefix_space instead of prepend_scheme. */
static enum nb_status metaspace_scheme(struct part *p, enum nb_prepend *out, struct nb_text *mark,
                                       const nb_json *v)
{
    const nb_json *scheme = nb_json_get(v, "prepend_scheme");
    const char *name = nb_json_string(scheme, NULL);
    bool prefix;
    size_t len;
    NB_TRY(text_of(p, mark, v, "replacement"));
    if (mark->n == 0 || (nb_utf8_take(mark->s, mark->n, &len), len != mark->n))
        return wrong(p, "replacement", "one character");
    NB_TRY(flag_of(p, &prefix, v, "add_prefix_space", true));
    *out = prefix ? NB_PREPEND_ALWAYS : NB_PREPEND_NEVER;
    if (is_null(scheme))
        return NB_OK;
    if (nb_str_eq(name, "always"))
        *out = NB_PREPEND_ALWAYS;
    else if (nb_str_eq(name, "first"))
        *out = NB_PREPEND_FIRST;
    else if (nb_str_eq(name, "never"))
        *out = NB_PREPEND_NEVER;
    else
        return unsupported(p, "prepend_scheme", scheme);
    return NB_OK;
}

static enum nb_status pre_metaspace(struct part *p, const nb_json *v)
{
    struct nb_pre_step step = {.kind = NB_PRE_METASPACE};
    NB_TRY(metaspace_scheme(p, &step.prepend, &step.replacement, v));
    NB_TRY(flag_of(p, &step.use_regex, v, "split", true));
    return add_pre(p, step);
}

static const struct part_type pre_types[] = {{"ByteLevel", pre_byte_level},
                                             {"Split", pre_split},
                                             {"Digits", pre_digits},
                                             {"Metaspace", pre_metaspace}};

/* ---- post-processor ---- */
static enum nb_status post_byte_level(struct part *p, const nb_json *v)
{
    (void)p; /* moves offsets only */
    (void)v;
    return NB_OK;
}

static enum nb_status add_affix(struct part *p, const nb_json *special, int32_t *ids, size_t *n)
{
    const nb_json *list = nb_json_get(special, "ids");
    if (nb_json_type(list) != NB_JSON_ARRAY)
        return wrong(p, "special_tokens", "an entry with ids for each token of the template");
    for (size_t i = 0; i < nb_json_size(list); i++) {
        int64_t id;
        if (!nb_json_int(nb_json_at(list, i), &id) || id < 0 || id >= (int64_t)p->tok->vocab.n)
            return wrong(p, "special_tokens", "ids of the vocabulary");
        if (*n == NB_TEXT_MAX_AFFIX)
            NB_FAIL(p->err, NB_ERR_LIMIT, "tokenizer.json: template adds more than %d ids",
                    NB_TEXT_MAX_AFFIX);
        ids[(*n)++] = (int32_t)id;
    }
    return NB_OK;
}

static enum nb_status post_template(struct part *p, const nb_json *v)
{
    const nb_json *single = nb_json_get(v, "single"), *specials = nb_json_get(v, "special_tokens");
    struct nb_pipeline *pipe = &p->tok->pipe;
    bool behind = false;
    if (nb_json_type(single) != NB_JSON_ARRAY)
        return wrong(p, "single", "an array");
    for (size_t i = 0; i < nb_json_size(single); i++) {
        const nb_json *item = nb_json_at(single, i);
        const nb_json *special = nb_json_get(item, "SpecialToken");
        const char *name = nb_json_string(nb_json_get(special, "id"), NULL);
        if (special == NULL) {
            const char *which =
                nb_json_string(nb_json_get(nb_json_get(item, "Sequence"), "id"), NULL);
            if (which == NULL || !nb_str_eq(which, "A") || behind)
                return wrong(p, "single", "special tokens around one sequence A");
            behind = true;
            continue;
        }
        if (name == NULL)
            return wrong(p, "single", "special tokens with an id");
        NB_TRY(add_affix(p, nb_json_get(specials, name), behind ? pipe->suffix : pipe->prefix,
                         behind ? &pipe->n_suffix : &pipe->n_prefix));
    }
    return behind ? NB_OK : wrong(p, "single", "a sequence A");
}

static const struct part_type post_types[] = {{"ByteLevel", post_byte_level},
                                              {"TemplateProcessing", post_template}};

/* ---- decoder ---- */
/* Steps come in this order or not at all. */
static enum nb_status decoder_step(struct part *p, enum nb_decoder_kind kind, bool first)
{
    struct nb_decoder *d = &p->tok->pipe.decoder;
    if ((d->kind != NB_DECODER_NONE && d->kind != kind) || (first && d->kind != NB_DECODER_NONE))
        NB_FAIL(p->err, NB_ERR_UNSUPPORTED,
                "tokenizer.json: decoder: this order of steps is not "
                "supported (Replace, ByteFallback, Fuse, Strip is)");
    d->kind = kind;
    return NB_OK;
}

static enum nb_status dec_byte_level(struct part *p, const nb_json *v)
{
    (void)v;
    return decoder_step(p, NB_DECODER_BYTE_LEVEL, true);
}

static enum nb_status dec_replace(struct part *p, const nb_json *v)
{
    struct nb_decoder *d = &p->tok->pipe.decoder;
    bool literal;
    NB_TRY(decoder_step(p, NB_DECODER_SPM, true));
    NB_TRY(pattern_of(p, &d->pattern, &literal, v));
    if (!literal)
        return unsupported(p, "pattern", nb_json_get(nb_json_get(v, "pattern"), "Regex"));
    return text_of(p, &d->content, v, "content");
}

static enum nb_status dec_byte_fallback(struct part *p, const nb_json *v)
{
    struct nb_decoder *d = &p->tok->pipe.decoder;
    (void)v;
    if (d->strip.n != 0)
        return decoder_step(p, NB_DECODER_BYTE_LEVEL, true); /* refuses */
    NB_TRY(decoder_step(p, NB_DECODER_SPM, false));
    d->byte_fallback = true;
    return NB_OK;
}

static enum nb_status dec_fuse(struct part *p, const nb_json *v)
{
    (void)v;
    return decoder_step(p, NB_DECODER_SPM, false);
}

static enum nb_status dec_strip(struct part *p, const nb_json *v)
{
    struct nb_decoder *d = &p->tok->pipe.decoder;
    int64_t start = 0, stop = 0;
    NB_TRY(decoder_step(p, NB_DECODER_SPM, false));
    NB_TRY(text_of(p, &d->strip, v, "content"));
    if (!nb_json_int(nb_json_get(v, "start"), &start) ||
        !nb_json_int(nb_json_get(v, "stop"), &stop))
        return wrong(p, "start, stop", "integers");
    if (start < 0 || start > 1 || stop != 0 || d->strip.n == 0)
        NB_FAIL(p->err, NB_ERR_UNSUPPORTED,
                "tokenizer.json: decoder: Strip of more than one character at the start");
    d->strip_start = (uint32_t)start;
    return NB_OK;
}

static enum nb_status dec_metaspace(struct part *p, const nb_json *v)
{
    struct nb_decoder *d = &p->tok->pipe.decoder;
    NB_TRY(decoder_step(p, NB_DECODER_METASPACE, true));
    d->content = NB_TEXT_LIT(" ");
    return metaspace_scheme(p, &d->prepend, &d->pattern, v);
}

static const struct part_type dec_types[] = {{"ByteLevel", dec_byte_level},
                                             {"Replace", dec_replace},
                                             {"ByteFallback", dec_byte_fallback},
                                             {"Fuse", dec_fuse},
                                             {"Strip", dec_strip},
                                             {"Metaspace", dec_metaspace}};

/* ---- all of it ---- */
/* What GGUF can say about the spaces of a SentencePiece pipeline. */
static void describe_spaces(struct nb_tokenizer *tok)
{
    const struct nb_pipeline *p = &tok->pipe;
    for (size_t i = 0; i < p->n_norm; i++)
        if (p->norm[i].kind == NB_NORM_PREPEND)
            tok->vocab.add_space_prefix = true;
    for (size_t i = 0; i < p->n_pre; i++)
        if (p->pre[i].kind == NB_PRE_METASPACE && p->pre[i].prepend != NB_PREPEND_NEVER) {
            tok->vocab.add_space_prefix = true;
            tok->vocab.space_prefix_first_only = p->pre[i].prepend == NB_PREPEND_FIRST;
        }
}

enum nb_status nb_json_read_pipeline(struct nb_tokenizer *tok, const nb_json *root,
                                     struct nb_error *err)
{
    struct part p = {tok, "normalizer", err};
    NB_TRY(read_part(&p, nb_json_get(root, "normalizer"), norm_types, NB_COUNTOF(norm_types),
                     "normalizers", 0));
    p.what = "pre_tokenizer";
    NB_TRY(read_part(&p, nb_json_get(root, "pre_tokenizer"), pre_types, NB_COUNTOF(pre_types),
                     "pretokenizers", 0));
    p.what = "post_processor";
    NB_TRY(read_part(&p, nb_json_get(root, "post_processor"), post_types, NB_COUNTOF(post_types),
                     "processors", 0));
    p.what = "decoder";
    NB_TRY(read_part(&p, nb_json_get(root, "decoder"), dec_types, NB_COUNTOF(dec_types), "decoders",
                     0));
    tok->vocab.kind = tok->bpe.byte_level ? NB_VOCAB_BPE : NB_VOCAB_SPM;
    if (tok->bpe.byte_level)
        tok->vocab.pre = nb_family_name(&tok->pipe, tok->bpe.ignore_merges);
    else
        describe_spaces(tok);
    return NB_OK;
}
