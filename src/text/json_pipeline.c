/* text/json_pipeline.c: pre_tokenizer and post_processor of a tokenizer.json, and its pipeline as a
 * whole.
 */
#include "text/json_internal.h"

/* ---- pre-tokenizer ---- */
static enum nb_status add_pre(struct nb_part *p, struct nb_pre_step step)
{
    struct nb_pipeline *pipe = &p->tok->pipe;
    if (pipe->n_pre == NB_TEXT_MAX_STEPS)
        NB_FAIL(p->err, NB_ERR_LIMIT, "tokenizer.json: pre_tokenizer has more than %d steps",
                NB_TEXT_MAX_STEPS);
    if (p->tok->bpe.byte_level) {
        if (step.kind != NB_PRE_SPLIT && step.kind != NB_PRE_DIGITS)
            NB_FAIL(p->err, NB_ERR_UNSUPPORTED,
                    "tokenizer.json: pre_tokenizer: behind ByteLevel only Split and Digits are "
                    "supported");
        pipe->byte_letters = true;
    }
    pipe->pre[pipe->n_pre++] = step;
    return NB_OK;
}

static enum nb_status pre_byte_level(struct nb_part *p, const nb_json *v)
{
    bool space, regex;
    if (p->tok->vocab.kind != NB_VOCAB_BPE)
        NB_FAIL(p->err, NB_ERR_UNSUPPORTED,
                "tokenizer.json: pre_tokenizer: ByteLevel is supported for BPE only");
    NB_TRY(nb_part_flag(p, &space, v, "add_prefix_space", true));
    NB_TRY(nb_part_flag(p, &regex, v, "use_regex", true));
    NB_TRY(add_pre(p, (struct nb_pre_step){.kind = NB_PRE_BYTE_LEVEL,
                                           .prepend = space ? NB_PREPEND_ALWAYS : NB_PREPEND_NEVER,
                                           .use_regex = regex}));
    p->tok->bpe.byte_level = true;
    return NB_OK;
}

static enum nb_status behavior_of(struct nb_part *p, enum nb_split_behavior *out, const nb_json *v,
                                  bool may_lack)
{
    static const struct {
        const char *name;
        enum nb_split_behavior behavior;
    } names[] = {{"Isolated", NB_SPLIT_ISOLATED},
                 {"Removed", NB_SPLIT_REMOVED},
                 {"MergedWithPrevious", NB_SPLIT_MERGED_PREVIOUS},
                 {"MergedWithNext", NB_SPLIT_MERGED_NEXT},
                 {"Contiguous", NB_SPLIT_CONTIGUOUS}};
    const nb_json *behavior = nb_json_get(v, "behavior");
    const char *name = nb_json_string(behavior, NULL);
    *out = NB_SPLIT_ISOLATED;
    if (may_lack && nb_json_absent(behavior))
        return NB_OK;
    for (size_t i = 0; i < NB_COUNTOF(names); i++)
        if (name != NULL && nb_str_eq(name, names[i].name)) {
            *out = names[i].behavior;
            return NB_OK;
        }
    return nb_part_unsupported(p, "behavior", behavior);
}

static enum nb_status pre_split(struct nb_part *p, const nb_json *v)
{
    struct nb_pre_step step = {.kind = NB_PRE_SPLIT};
    NB_TRY(nb_part_pattern(p, &step.pattern, &step.literal, v));
    NB_TRY(nb_part_flag(p, &step.invert, v, "invert", false));
    NB_TRY(behavior_of(p, &step.behavior, v, false));
    return add_pre(p, step);
}

static enum nb_status pre_digits(struct nb_part *p, const nb_json *v)
{
    bool individual;
    NB_TRY(nb_part_flag(p, &individual, v, "individual_digits", false));
    return add_pre(
        p, (struct nb_pre_step){.kind = NB_PRE_DIGITS,
                                .behavior = individual ? NB_SPLIT_ISOLATED : NB_SPLIT_CONTIGUOUS});
}

static enum nb_status pre_metaspace(struct nb_part *p, const nb_json *v)
{
    struct nb_pre_step step = {.kind = NB_PRE_METASPACE};
    NB_TRY(nb_part_metaspace(p, &step.prepend, &step.replacement, v));
    NB_TRY(nb_part_flag(p, &step.use_regex, v, "split", true));
    return add_pre(p, step);
}

static enum nb_status pre_whitespace_split(struct nb_part *p, const nb_json *v)
{
    (void)v;
    return add_pre(p,
                   (struct nb_pre_step){.kind = NB_PRE_WHITESPACE, .behavior = NB_SPLIT_REMOVED});
}

/* White space goes, each punctuation mark is a word. */
static enum nb_status pre_bert(struct nb_part *p, const nb_json *v)
{
    NB_TRY(pre_whitespace_split(p, v));
    return add_pre(p,
                   (struct nb_pre_step){.kind = NB_PRE_PUNCTUATION, .behavior = NB_SPLIT_ISOLATED});
}

static enum nb_status pre_whitespace(struct nb_part *p, const nb_json *v)
{
    (void)v;
    return add_pre(p, (struct nb_pre_step){.kind = NB_PRE_SPLIT,
                                           .pattern = NB_TEXT_LIT("\\w+|[^\\w\\s]+"),
                                           .invert = true,
                                           .behavior = NB_SPLIT_REMOVED});
}

static enum nb_status pre_punctuation(struct nb_part *p, const nb_json *v)
{
    struct nb_pre_step step = {.kind = NB_PRE_PUNCTUATION};
    NB_TRY(behavior_of(p, &step.behavior, v, true));
    return add_pre(p, step);
}

static enum nb_status pre_delimiter(struct nb_part *p, const nb_json *v)
{
    struct nb_pre_step step = {.kind = NB_PRE_SPLIT, .literal = true, .behavior = NB_SPLIT_REMOVED};
    NB_TRY(nb_part_text(p, &step.pattern, v, "delimiter"));
    return step.pattern.n == 0 ? nb_part_wrong(p, "delimiter", "one character") : add_pre(p, step);
}

static const struct nb_part_type pre_types[] = {{"ByteLevel", pre_byte_level},
                                                {"Split", pre_split},
                                                {"Digits", pre_digits},
                                                {"Metaspace", pre_metaspace},
                                                {"BertPreTokenizer", pre_bert},
                                                {"WhitespaceSplit", pre_whitespace_split},
                                                {"Whitespace", pre_whitespace},
                                                {"Punctuation", pre_punctuation},
                                                {"CharDelimiterSplit", pre_delimiter}};

/* ---- post-processor ---- */
static enum nb_status post_byte_level(struct nb_part *p, const nb_json *v)
{
    (void)p; /* moves offsets only */
    (void)v;
    return NB_OK;
}

static enum nb_status add_affix(struct nb_part *p, const nb_json *special, int32_t *ids, size_t *n)
{
    const nb_json *list = nb_json_get(special, "ids");
    if (nb_json_type(list) != NB_JSON_ARRAY)
        return nb_part_wrong(p, "special_tokens",
                             "an entry with ids for each token of the template");
    for (size_t i = 0; i < nb_json_size(list); i++) {
        int64_t id;
        if (!nb_json_int(nb_json_at(list, i), &id) || id < 0 || id >= (int64_t)p->tok->vocab.n)
            return nb_part_wrong(p, "special_tokens", "ids of the vocabulary");
        if (*n == NB_TEXT_MAX_AFFIX)
            NB_FAIL(p->err, NB_ERR_LIMIT, "tokenizer.json: template adds more than %d ids",
                    NB_TEXT_MAX_AFFIX);
        ids[(*n)++] = (int32_t)id;
    }
    return NB_OK;
}

static enum nb_status post_template(struct nb_part *p, const nb_json *v)
{
    const nb_json *single = nb_json_get(v, "single"), *specials = nb_json_get(v, "special_tokens");
    struct nb_pipeline *pipe = &p->tok->pipe;
    bool behind = false;
    if (nb_json_type(single) != NB_JSON_ARRAY)
        return nb_part_wrong(p, "single", "an array");
    for (size_t i = 0; i < nb_json_size(single); i++) {
        const nb_json *item = nb_json_at(single, i);
        const nb_json *special = nb_json_get(item, "SpecialToken");
        const char *name = nb_json_string(nb_json_get(special, "id"), NULL);
        if (special == NULL) {
            const char *which =
                nb_json_string(nb_json_get(nb_json_get(item, "Sequence"), "id"), NULL);
            if (which == NULL || !nb_str_eq(which, "A") || behind)
                return nb_part_wrong(p, "single", "special tokens around one sequence A");
            behind = true;
            continue;
        }
        if (name == NULL)
            return nb_part_wrong(p, "single", "special tokens with an id");
        NB_TRY(add_affix(p, nb_json_get(specials, name), behind ? pipe->suffix : pipe->prefix,
                         behind ? &pipe->n_suffix : &pipe->n_prefix));
    }
    return behind ? NB_OK : nb_part_wrong(p, "single", "a sequence A");
}

/* ["[SEP]", 102] */
static enum nb_status pair_id(struct nb_part *p, const nb_json *v, const char *key, int32_t *ids,
                              size_t *n)
{
    const nb_json *item = nb_json_at(nb_json_get(v, key), 1);
    int64_t id;
    if (!nb_json_int(item, &id) || id < 0 || id >= (int64_t)p->tok->vocab.n)
        return nb_part_wrong(p, key, "a token and its id");
    if (*n == NB_TEXT_MAX_AFFIX)
        NB_FAIL(p->err, NB_ERR_LIMIT, "tokenizer.json: template adds more than %d ids",
                NB_TEXT_MAX_AFFIX);
    ids[(*n)++] = (int32_t)id;
    return NB_OK;
}

/* BertProcessing and RobertaProcessing: cls before the text, sep behind it. */
static enum nb_status post_around(struct nb_part *p, const nb_json *v)
{
    struct nb_pipeline *pipe = &p->tok->pipe;
    NB_TRY(pair_id(p, v, "cls", pipe->prefix, &pipe->n_prefix));
    return pair_id(p, v, "sep", pipe->suffix, &pipe->n_suffix);
}

static const struct nb_part_type post_types[] = {{"ByteLevel", post_byte_level},
                                                 {"TemplateProcessing", post_template},
                                                 {"BertProcessing", post_around},
                                                 {"RobertaProcessing", post_around}};

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
    struct nb_part p = {tok, "pre_tokenizer", err};
    NB_TRY(nb_json_read_normalizer(tok, nb_json_get(root, "normalizer"), err));
    NB_TRY(nb_part_read(&p, nb_json_get(root, "pre_tokenizer"), pre_types, NB_COUNTOF(pre_types),
                        "pretokenizers"));
    p.what = "post_processor";
    NB_TRY(nb_part_read(&p, nb_json_get(root, "post_processor"), post_types, NB_COUNTOF(post_types),
                        "processors"));
    NB_TRY(nb_json_read_decoder(tok, nb_json_get(root, "decoder"), err));
    if (tok->vocab.kind != NB_VOCAB_BPE) {
        nb_tok_describe_pieces(tok);
    } else if (tok->bpe.byte_level) {
        tok->vocab.pre = nb_family_name(&tok->pipe, tok->bpe.ignore_merges);
    } else {
        tok->vocab.kind = NB_VOCAB_SPM;
        describe_spaces(tok);
    }
    return NB_OK;
}
