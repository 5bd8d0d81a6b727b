/* dialect/tokenizer_meta.c: tokenizers from GGUF metadata (docs/formats/gguf.md). */
#include "dialect/dialect_internal.h"

#include <string.h>

#define PRE_BYTES 64

static bool text_is(struct nb_text t, const char *s)
{
    return t.n == strlen(s) && memcmp(t.s, s, t.n) == 0;
}

/* Strings under `key`, NULL if absent. */
static enum nb_status get_texts(const struct nb_meta *meta, const char *key,
                                const struct nb_text **items, size_t *n, struct nb_error *err)
{
    const struct nb_meta_kv *kv = nb_meta_find(meta, key);
    *items = NULL;
    *n = 0;
    if (kv == NULL)
        return NB_OK;
    if (kv->type != NB_META_ARRAY || kv->item != NB_META_STRING || kv->n > UINT32_MAX)
        NB_FAIL(err, NB_ERR_FORMAT, "metadata: %s is no array of strings", key);
    *items = kv->v.items;
    *n = (size_t)kv->n;
    return NB_OK;
}

/* A number per token under `key`, NULL if absent. */
static enum nb_status get_array(const struct nb_meta *meta, const char *key, uint32_t n_tokens,
                                const struct nb_meta_kv **kv, struct nb_error *err)
{
    *kv = nb_meta_find(meta, key);
    if (*kv == NULL)
        return NB_OK;
    if ((*kv)->type != NB_META_ARRAY || (*kv)->item == NB_META_STRING)
        NB_FAIL(err, NB_ERR_FORMAT, "metadata: %s is no array of numbers", key);
    if ((*kv)->n != n_tokens)
        NB_FAIL(err, NB_ERR_FORMAT, "metadata: %s has %llu items, expected %u, one per token", key,
                (unsigned long long)(*kv)->n, n_tokens);
    return NB_OK;
}

static enum nb_status get_types(const struct nb_meta *meta, struct nb_vocab *v,
                                struct nb_arena *scratch, struct nb_error *err)
{
    const struct nb_meta_kv *kv;
    NB_TRY(get_array(meta, "tokenizer.ggml.token_type", v->n, &kv, err));
    if (kv == NULL)
        return NB_OK;
    int32_t *types = nb_arena_alloc(scratch, v->n, sizeof *types);
    if (types == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    for (uint32_t i = 0; i < v->n; i++) {
        int64_t t;
        if (!nb_meta_item_i64(kv, i, &t) || t < 0 || t > NB_TOKEN_BYTE)
            NB_FAIL(err, NB_ERR_FORMAT,
                    "metadata: tokenizer.ggml.token_type of token %u is out of 0..%d", i,
                    NB_TOKEN_BYTE);
        types[i] = t == 0 ? NB_TOKEN_NORMAL : (int32_t)t;
    }
    v->types = types;
    return NB_OK;
}

static enum nb_status get_scores(const struct nb_meta *meta, struct nb_vocab *v,
                                 struct nb_arena *scratch, struct nb_error *err)
{
    const struct nb_meta_kv *kv;
    NB_TRY(get_array(meta, "tokenizer.ggml.scores", v->n, &kv, err));
    if (kv == NULL)
        return NB_OK;
    float *scores = nb_arena_alloc(scratch, v->n, sizeof *scores);
    if (scores == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    for (uint32_t i = 0; i < v->n; i++) {
        double s;
        if (!nb_meta_item_f64(kv, i, &s) || s != s)
            NB_FAIL(err, NB_ERR_FORMAT, "metadata: tokenizer.ggml.scores of token %u is no number",
                    i);
        scores[i] = (float)s;
    }
    v->scores = scores;
    return NB_OK;
}

const struct nb_tokenizer_id_key nb_tokenizer_id_keys[] = {
    {"tokenizer.ggml.bos_token_id", offsetof(struct nb_vocab, bos)},
    {"tokenizer.ggml.eos_token_id", offsetof(struct nb_vocab, eos)},
    {"tokenizer.ggml.eot_token_id", offsetof(struct nb_vocab, eot)},
    {"tokenizer.ggml.unknown_token_id", offsetof(struct nb_vocab, unk)},
    {"tokenizer.ggml.padding_token_id", offsetof(struct nb_vocab, pad)},
    {"tokenizer.ggml.seperator_token_id", offsetof(struct nb_vocab, sep)}, /* sic */
    {"tokenizer.ggml.mask_token_id", offsetof(struct nb_vocab, mask)},
    {"tokenizer.ggml.cls_token_id", offsetof(struct nb_vocab, bos)}, /* another name of bos */
    {NULL, 0}};

static const struct nb_tokenizer_model models[] = {{"gpt2", NB_VOCAB_BPE},
                                                   {"llama", NB_VOCAB_SPM},
                                                   {"t5", NB_VOCAB_UNIGRAM},
                                                   {"bert", NB_VOCAB_WORDPIECE}};

const char *nb_tokenizer_model_name(enum nb_vocab_kind kind)
{
    for (size_t i = 0; i < NB_COUNTOF(models); i++)
        if (models[i].kind == kind)
            return models[i].name;
    return NULL;
}

static enum nb_status get_ids(const struct nb_meta *meta, struct nb_vocab *v, struct nb_error *err)
{
    for (const struct nb_tokenizer_id_key *k = nb_tokenizer_id_keys; k->key != NULL; k++) {
        const struct nb_meta_kv *kv = nb_meta_find(meta, k->key);
        int64_t id;
        if (kv == NULL)
            continue;
        if (kv->type == NB_META_ARRAY || !nb_meta_item_i64(kv, 0, &id))
            NB_FAIL(err, NB_ERR_FORMAT, "metadata: %s is no whole number", kv->key);
        if (id < -1 || (id >= (int64_t)v->n && id != UINT32_MAX))
            NB_FAIL(err, NB_ERR_FORMAT, "metadata: %s is %lld, expected 0..%u", kv->key,
                    (long long)id, v->n - 1);
        const int32_t value = id == UINT32_MAX ? -1 : (int32_t)id;
        memcpy((char *)v + k->offset, &value, sizeof value);
    }
    return NB_OK;
}

/* ---- what Unigram and WordPiece have besides ---- */

static enum nb_status get_charsmap(const struct nb_meta *meta, struct nb_vocab *v,
                                   struct nb_arena *scratch, struct nb_error *err)
{
    const char *key = "tokenizer.ggml.precompiled_charsmap";
    const struct nb_meta_kv *kv = nb_meta_find(meta, key);
    if (kv == NULL)
        return NB_OK;
    if (kv->type != NB_META_ARRAY || (kv->item != NB_META_U8 && kv->item != NB_META_I8))
        NB_FAIL(err, NB_ERR_FORMAT, "metadata: %s is no array of bytes", key);
    char *bytes = nb_arena_alloc(scratch, (size_t)kv->n + 1, 1);
    if (bytes == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    for (uint64_t i = 0; i < kv->n; i++) {
        int64_t b;
        if (!nb_meta_item_i64(kv, i, &b))
            NB_FAIL(err, NB_ERR_FORMAT, "metadata: %s is no array of bytes", key);
        bytes[i] = (char)(uint8_t)(b & 0xff);
    }
    v->charsmap = (struct nb_text){bytes, (size_t)kv->n};
    return NB_OK;
}

static bool has_bytes(const struct nb_vocab *v)
{
    for (uint32_t i = 0; v->types != NULL && i < v->n; i++)
        if (v->types[i] == NB_TOKEN_BYTE)
            return true;
    return false;
}

/* "▁the" -> "the", "ing" -> "##ing"; "[CLS]" and other special tokens stay. */
static enum nb_status spell_wordpiece(struct nb_vocab *v, struct nb_arena *scratch,
                                      struct nb_error *err)
{
    static const char mark[] = "\xe2\x96\x81";
    struct nb_text *tokens = nb_arena_alloc(scratch, v->n, sizeof *tokens);
    if (tokens == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    for (uint32_t i = 0; i < v->n; i++) {
        const struct nb_text t = v->tokens[i];
        tokens[i] = t;
        if (t.n > 3 && memcmp(t.s, mark, 3) == 0) {
            tokens[i] = (struct nb_text){t.s + 3, t.n - 3};
        } else if (!nb_wordpiece_is_special(t) && t.n > 0) {
            char *s = nb_arena_alloc(scratch, t.n + 2, 1);
            if (s == NULL)
                NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
            memcpy(s, "##", 2);
            memcpy(s + 2, t.s, t.n);
            tokens[i] = (struct nb_text){s, t.n + 2};
        }
    }
    v->tokens = tokens;
    return NB_OK;
}

bool nb_wordpiece_is_special(struct nb_text t)
{
    return t.n > 2 && t.s[0] == '[' && t.s[t.n - 1] == ']';
}

/* A file without the key: a vocabulary with capital letters is of a model that knows them. */
static bool seems_lowercase(const struct nb_vocab *v)
{
    for (uint32_t i = 0; i < v->n; i++)
        for (size_t k = 0; k < v->tokens[i].n && !nb_wordpiece_is_special(v->tokens[i]); k++)
            if (v->tokens[i].s[k] >= 'A' && v->tokens[i].s[k] <= 'Z' &&
                (v->types == NULL || v->types[i] == NB_TOKEN_NORMAL))
                return false;
    return true;
}

static enum nb_status get_wordpiece(const struct nb_meta *meta, struct nb_vocab *v,
                                    struct nb_arena *scratch, struct nb_error *err)
{
    v->add_eos = true; /* llama.cpp adds [SEP] whatever the file says */
    v->lowercase = seems_lowercase(v);
    (void)nb_meta_bool(meta, "tokenizer.ggml.normalizer.lowercase", &v->lowercase);
    v->strip_accents = v->lowercase;
    (void)nb_meta_bool(meta, "tokenizer.ggml.normalizer.strip_accents", &v->strip_accents);
    return spell_wordpiece(v, scratch, err);
}

static enum nb_status get_vocab(const struct nb_meta *meta, struct nb_vocab *v,
                                struct nb_arena *scratch, struct nb_error *err)
{
    size_t n;
    NB_TRY(get_texts(meta, "tokenizer.ggml.tokens", &v->tokens, &n, err));
    if (n == 0)
        NB_FAIL(err, NB_ERR_FORMAT, "metadata: tokenizer.ggml.tokens is missing or empty");
    v->n = (uint32_t)n;
    NB_TRY(get_types(meta, v, scratch, err));
    NB_TRY(get_scores(meta, v, scratch, err));
    NB_TRY(get_texts(meta, "tokenizer.ggml.merges", &v->merges, &v->n_merges, err));
    NB_TRY(get_ids(meta, v, err));
    (void)nb_meta_bool(meta, "tokenizer.ggml.add_bos_token", &v->add_bos);
    (void)nb_meta_bool(meta, "tokenizer.ggml.add_eos_token", &v->add_eos);
    (void)nb_meta_bool(meta, "tokenizer.ggml.add_space_prefix", &v->add_space_prefix);
    (void)nb_meta_bool(meta, "tokenizer.ggml.remove_extra_whitespaces",
                       &v->remove_extra_whitespaces);
    (void)nb_meta_text(meta, "tokenizer.chat_template", &v->chat_template);
    v->byte_fallback = has_bytes(v);
    if (v->kind == NB_VOCAB_UNIGRAM || v->kind == NB_VOCAB_SPM)
        NB_TRY(get_charsmap(meta, v, scratch, err));
    return v->kind == NB_VOCAB_WORDPIECE ? get_wordpiece(meta, v, scratch, err) : NB_OK;
}

enum nb_status nb_model_without_tokenizer(struct nb_model *m, const char *why)
{
    (void)nb_printable(m->tokenizer_problem, sizeof m->tokenizer_problem, why, strlen(why));
    nb_log_msg(m->log, NB_LOG_WARN, "%s: no tokenizer: %s", m->path, m->tokenizer_problem);
    return NB_OK;
}

enum nb_status nb_tokenizer_fits(const struct nb_model *m, struct nb_error *err)
{
    if (m->tokenizer == NULL)
        return NB_OK;
    const uint32_t n = nb_tokenizer_n_vocab(m->tokenizer);
    if (n > m->w.hp.n_vocab)
        NB_FAIL(err, NB_ERR_FORMAT, "%s: the tokenizer has %u tokens, the embedding %u rows",
                m->path, n, m->w.hp.n_vocab);
    return NB_OK;
}

/* GGUF has no key for it: the special tokens of Phi-3 eat the white space behind them, in the file that
 * the model comes with, but for these three. Phi-4 of the same architecture has another tokenizer. */
static enum nb_status set_phi3_flags(const struct nb_model *m, struct nb_vocab *v,
                                     struct nb_arena *scratch, struct nb_error *err)
{
    struct nb_text arch;
    if (v->kind != NB_VOCAB_SPM || v->types == NULL ||
        !nb_meta_text(&m->meta, "general.architecture", &arch) || !text_is(arch, "phi3"))
        return NB_OK;
    uint8_t *flags = nb_arena_alloc(scratch, v->n, 1);
    if (flags == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory");
    for (uint32_t i = 0; i < v->n; i++) {
        const struct nb_text t = v->tokens[i];
        const bool added = v->types[i] == NB_TOKEN_CONTROL || v->types[i] == NB_TOKEN_USER;
        if (added && !text_is(t, "<unk>") && !text_is(t, "<s>") && !text_is(t, "<|endoftext|>"))
            flags[i] = NB_TOKEN_RSTRIP;
    }
    v->flags = flags;
    return NB_OK;
}

static const struct nb_tokenizer_model *find_model(struct nb_text name)
{
    for (size_t i = 0; i < NB_COUNTOF(models); i++)
        if (text_is(name, models[i].name))
            return &models[i];
    return NULL;
}

/* Ids that a file does not name must not point behind its tokens. */
static void drop_defaults(struct nb_vocab *v)
{
    for (const struct nb_tokenizer_id_key *k = nb_tokenizer_id_keys; k->key != NULL; k++) {
        int32_t id;
        memcpy(&id, (const char *)v + k->offset, sizeof id);
        if (id >= (int32_t)v->n) {
            id = -1;
            memcpy((char *)v + k->offset, &id, sizeof id);
        }
    }
}

enum nb_status nb_tokenizer_from_meta(struct nb_model *m, struct nb_error *err)
{
    const struct nb_meta *meta = &m->tokenizer_meta;
    struct nb_text name, pre = {"", 0};
    char pre_name[PRE_BYTES] = "";
    struct nb_error why;
    if (!nb_meta_text(meta, "tokenizer.ggml.model", &name))
        return nb_model_without_tokenizer(m, "the file has none");
    if (text_is(name, "no_vocab") || text_is(name, "none"))
        return nb_model_without_tokenizer(m, "the file says it has none");
    const struct nb_tokenizer_model *model = find_model(name);
    if (model == NULL)
        return nb_model_without_tokenizer(
            m, "tokenizer.ggml.model is none of 'gpt2', 'llama', 't5', 'bert'");
    const bool bpe = model->kind == NB_VOCAB_BPE;
    if (bpe && nb_meta_text(meta, "tokenizer.ggml.pre", &pre) && pre.n < sizeof pre_name)
        memcpy(pre_name, pre.s, pre.n);
    struct nb_vocab v;
    struct nb_arena scratch;
    nb_vocab_init(&v, model->kind, bpe ? pre_name : NULL);
    nb_arena_init(&scratch, m->a, 65536);
    nb_error_clear(&why);
    enum nb_status st = get_vocab(meta, &v, &scratch, err);
    if (st == NB_OK)
        st = set_phi3_flags(m, &v, &scratch, err);
    if (st == NB_OK) {
        if (model->kind == NB_VOCAB_UNIGRAM || model->kind == NB_VOCAB_WORDPIECE)
            drop_defaults(&v);
        st = nb_tokenizer_from_vocab(&m->tokenizer, &v, m->a, &why);
        if (st == NB_ERR_UNSUPPORTED)
            st = nb_model_without_tokenizer(m, why.message);
        else if (st != NB_OK && err != NULL)
            *err = why;
    }
    nb_arena_fini(&scratch);
    return st;
}
