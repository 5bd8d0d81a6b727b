/* dialect/tokenizer_meta.c: tokenizers in and out of GGUF metadata (docs/formats/gguf.md).
 *
 * Keys that nibble does not understand travel on from GGUF to GGUF untouched; the arrays too, as long as
 * they have an entry for each row of the embedding. Otherwise they are padded with unused tokens.
 */
#include "dialect/dialect_internal.h"

#include <string.h>

#define PRE_BYTES 64
#define PAD_SCORE (-10000.0F)

/* ---- reading ---- */

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

static const struct {
    const char *key;
    size_t offset; /* of an int32_t in struct nb_vocab */
} id_keys[] = {
    {"tokenizer.ggml.bos_token_id", offsetof(struct nb_vocab, bos)},
    {"tokenizer.ggml.eos_token_id", offsetof(struct nb_vocab, eos)},
    {"tokenizer.ggml.eot_token_id", offsetof(struct nb_vocab, eot)},
    {"tokenizer.ggml.unknown_token_id", offsetof(struct nb_vocab, unk)},
    {"tokenizer.ggml.padding_token_id", offsetof(struct nb_vocab, pad)},
};

static enum nb_status get_ids(const struct nb_meta *meta, struct nb_vocab *v, struct nb_error *err)
{
    for (size_t i = 0; i < NB_COUNTOF(id_keys); i++) {
        const struct nb_meta_kv *kv = nb_meta_find(meta, id_keys[i].key);
        int64_t id;
        if (kv == NULL)
            continue;
        if (kv->type == NB_META_ARRAY || !nb_meta_item_i64(kv, 0, &id))
            NB_FAIL(err, NB_ERR_FORMAT, "metadata: %s is no whole number", kv->key);
        if (id < -1 || (id >= (int64_t)v->n && id != UINT32_MAX))
            NB_FAIL(err, NB_ERR_FORMAT, "metadata: %s is %lld, expected 0..%u", kv->key,
                    (long long)id, v->n - 1);
        const int32_t value = id == UINT32_MAX ? -1 : (int32_t)id;
        memcpy((char *)v + id_keys[i].offset, &value, sizeof value);
    }
    return NB_OK;
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
    (void)nb_meta_text(meta, "tokenizer.chat_template", &v->chat_template);
    return NB_OK;
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

enum nb_status nb_tokenizer_from_meta(struct nb_model *m, struct nb_error *err)
{
    const struct nb_meta *meta = &m->tokenizer_meta;
    struct nb_text model, pre = {"", 0};
    char pre_name[PRE_BYTES] = "";
    struct nb_error why;
    if (!nb_meta_text(meta, "tokenizer.ggml.model", &model))
        return nb_model_without_tokenizer(m, "the file has none");
    if (text_is(model, "no_vocab") || text_is(model, "none"))
        return nb_model_without_tokenizer(m, "the file says it has none");
    const bool bpe = text_is(model, "gpt2");
    if (!bpe && !text_is(model, "llama"))
        return nb_model_without_tokenizer(m, "tokenizer.ggml.model is neither 'gpt2' nor 'llama'");
    if (bpe && nb_meta_text(meta, "tokenizer.ggml.pre", &pre) && pre.n < sizeof pre_name)
        memcpy(pre_name, pre.s, pre.n);
    struct nb_vocab v;
    struct nb_arena scratch;
    nb_vocab_init(&v, bpe ? NB_VOCAB_BPE : NB_VOCAB_SPM, bpe ? pre_name : NULL);
    nb_arena_init(&scratch, m->a, 65536);
    nb_error_clear(&why);
    enum nb_status st = get_vocab(meta, &v, &scratch, err);
    if (st == NB_OK) {
        st = nb_tokenizer_from_vocab(&m->tokenizer, &v, m->a, &why);
        if (st == NB_ERR_UNSUPPORTED)
            st = nb_model_without_tokenizer(m, why.message);
        else if (st != NB_OK && err != NULL)
            *err = why;
    }
    nb_arena_fini(&scratch);
    return st;
}

/* ---- writing ---- */

/* A text that no token has yet. Returns its length. */
static size_t pad_name(const struct nb_tokenizer *tok, char *dst, size_t cap, uint32_t id)
{
    struct nb_str s;
    size_t n;
    nb_str_init(&s, NULL);
    nb_str_printf(&s, "[PAD%u]", id);
    while (!s.failed && nb_tokenizer_find(tok, s.data, s.len) >= 0 && s.len + 1 < cap)
        nb_str_puts(&s, "_");
    n = s.failed ? 0 : NB_MIN(s.len, cap - 1);
    if (n > 0)
        memcpy(dst, s.data, n);
    nb_str_fini(&s);
    return n;
}

/* The arrays of a vocabulary, padded to n tokens. */
struct arrays {
    struct nb_text *tokens;
    int32_t *types;
    float *scores;
};

static enum nb_status pad_arrays(struct arrays *x, const struct nb_tokenizer *tok, uint32_t n,
                                 struct nb_arena *scratch)
{
    const struct nb_vocab *v = nb_tokenizer_vocab(tok);
    x->tokens = nb_arena_alloc(scratch, n, sizeof *x->tokens);
    x->types = nb_arena_alloc(scratch, n, sizeof *x->types);
    x->scores = nb_arena_alloc(scratch, n, sizeof *x->scores);
    if (x->tokens == NULL || x->types == NULL || x->scores == NULL)
        return NB_ERR_NOMEM;
    for (uint32_t i = 0; i < n; i++) {
        if (i < v->n) {
            x->tokens[i] = v->tokens[i];
            x->types[i] = v->types == NULL ? NB_TOKEN_NORMAL : v->types[i];
            x->scores[i] = v->scores == NULL ? 0.0F : v->scores[i];
            continue;
        }
        char *name = nb_arena_alloc(scratch, 32, 1);
        if (name == NULL)
            return NB_ERR_NOMEM;
        x->tokens[i] = (struct nb_text){name, pad_name(tok, name, 32, i)};
        if (x->tokens[i].n == 0)
            return NB_ERR_NOMEM;
        x->types[i] = NB_TOKEN_UNUSED;
        x->scores[i] = PAD_SCORE;
    }
    return NB_OK;
}

static enum nb_status set_arrays(struct nb_meta *meta, const struct nb_vocab *v,
                                 const struct arrays *x, uint32_t n)
{
    NB_TRY(nb_meta_set_texts(meta, "tokenizer.ggml.tokens", x->tokens, n));
    if (v->kind == NB_VOCAB_SPM)
        NB_TRY(nb_meta_set_array(meta, "tokenizer.ggml.scores", NB_META_F32, x->scores, n));
    NB_TRY(nb_meta_set_array(meta, "tokenizer.ggml.token_type", NB_META_I32, x->types, n));
    if (v->kind == NB_VOCAB_BPE)
        NB_TRY(nb_meta_set_texts(meta, "tokenizer.ggml.merges", v->merges, v->n_merges));
    return NB_OK;
}

static enum nb_status set_scalars(struct nb_meta *meta, const struct nb_vocab *v)
{
    for (size_t i = 0; i < NB_COUNTOF(id_keys); i++) {
        int32_t id;
        memcpy(&id, (const char *)v + id_keys[i].offset, sizeof id);
        if (id >= 0)
            NB_TRY(nb_meta_set_u32(meta, id_keys[i].key, (uint32_t)id));
    }
    NB_TRY(nb_meta_set_bool(meta, "tokenizer.ggml.add_bos_token", v->add_bos));
    NB_TRY(nb_meta_set_bool(meta, "tokenizer.ggml.add_eos_token", v->add_eos));
    if (v->kind == NB_VOCAB_SPM)
        NB_TRY(nb_meta_set_bool(meta, "tokenizer.ggml.add_space_prefix", v->add_space_prefix));
    return NB_OK;
}

static enum nb_status set_vocab(const struct nb_model *m, struct nb_meta *meta)
{
    const struct nb_vocab *v = nb_tokenizer_vocab(m->tokenizer);
    const uint32_t n = NB_MAX(m->w.hp.n_vocab, v->n);
    const char *kind = v->kind == NB_VOCAB_BPE ? "gpt2" : "llama";
    struct arrays x;
    struct nb_arena scratch;
    NB_TRY(nb_meta_set_text(meta, "tokenizer.ggml.model", kind, strlen(kind)));
    if (v->kind == NB_VOCAB_BPE)
        NB_TRY(nb_meta_set_text(meta, "tokenizer.ggml.pre", v->pre, strlen(v->pre)));
    nb_arena_init(&scratch, m->a, 65536);
    enum nb_status st = pad_arrays(&x, m->tokenizer, n, &scratch);
    if (st == NB_OK)
        st = set_arrays(meta, v, &x, n);
    nb_arena_fini(&scratch);
    NB_TRY(st);
    NB_TRY(set_scalars(meta, v));
    if (m->chat_template != NULL)
        NB_TRY(nb_meta_set_text(meta, "tokenizer.chat_template", m->chat_template,
                                strlen(m->chat_template)));
    return NB_OK;
}

/* Can the arrays that came from a GGUF file go on as they are? */
static bool arrays_fit(const struct nb_model *m)
{
    const struct nb_meta_kv *kv = nb_meta_find(&m->tokenizer_meta, "tokenizer.ggml.tokens");
    return m->tokenizer == NULL || (kv != NULL && kv->n == m->w.hp.n_vocab);
}

enum nb_status nb_tokenizer_to_meta(const struct nb_model *m, struct nb_meta *meta,
                                    struct nb_error *err)
{
    enum nb_status st = NB_OK;
    for (size_t i = 0; i < m->tokenizer_meta.n && st == NB_OK; i++)
        st = nb_meta_borrow(meta, &m->tokenizer_meta.kv[i]);
    if (st == NB_OK && m->tokenizer_meta.n > 0 && arrays_fit(m))
        return NB_OK;
    if (st == NB_OK && m->tokenizer == NULL)
        st = nb_meta_set_text(meta, "tokenizer.ggml.model", "no_vocab", 8);
    else if (st == NB_OK && nb_tokenizer_vocab(m->tokenizer)->kind == NB_VOCAB_BPE &&
             nb_tokenizer_vocab(m->tokenizer)->pre == NULL)
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "the tokenizer splits text by a pattern that has no name in GGUF");
    else if (st == NB_OK)
        st = set_vocab(m, meta);
    if (st != NB_OK)
        NB_FAIL(err, st, "out of memory for the tokenizer's metadata");
    return NB_OK;
}
