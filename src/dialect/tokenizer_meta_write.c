/* dialect/tokenizer_meta_write.c: tokenizers as GGUF metadata (docs/formats/gguf.md).
 *
 * Keys that nibble does not understand travel on from GGUF to GGUF untouched; the arrays too, as long as
 * they have an entry for each row of the embedding. Otherwise they are padded with unused tokens.
 */
#include "dialect/dialect_internal.h"

#include <string.h>

#define PAD_SCORE (-10000.0F)

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

/* "the" -> "▁the", "##ing" -> "ing"; special tokens and padding stay. */
static enum nb_status spell_phantom(struct arrays *x, uint32_t n, struct nb_arena *scratch)
{
    static const char mark[] = "\xe2\x96\x81";
    for (uint32_t i = 0; i < n; i++) {
        const struct nb_text t = x->tokens[i];
        if (nb_wordpiece_is_special(t))
            continue;
        if (t.n > 2 && memcmp(t.s, "##", 2) == 0) {
            x->tokens[i] = (struct nb_text){t.s + 2, t.n - 2};
            continue;
        }
        char *s = nb_arena_alloc(scratch, t.n + 3, 1);
        if (s == NULL)
            return NB_ERR_NOMEM;
        memcpy(s, mark, 3);
        memcpy(s + 3, t.s, t.n);
        x->tokens[i] = (struct nb_text){s, t.n + 3};
    }
    return NB_OK;
}

/* Added tokens stand as they are found in text: "▁▁" is two spaces there. */
static enum nb_status spell_added(struct arrays *x, uint32_t n, struct nb_arena *scratch)
{
    static const char mark[] = "\xe2\x96\x81";
    for (uint32_t i = 0; i < n; i++) {
        const struct nb_text t = x->tokens[i];
        size_t len = 0;
        if (x->types[i] != NB_TOKEN_USER)
            continue;
        char *s = nb_arena_alloc(scratch, t.n + 1, 1);
        if (s == NULL)
            return NB_ERR_NOMEM;
        for (size_t k = 0; k < t.n;) {
            const bool space = t.n - k >= 3 && memcmp(t.s + k, mark, 3) == 0;
            s[len++] = space ? ' ' : t.s[k];
            k += space ? 3 : 1;
        }
        x->tokens[i] = (struct nb_text){s, len};
    }
    return NB_OK;
}

static enum nb_status set_arrays(struct nb_meta *meta, const struct nb_vocab *v,
                                 const struct arrays *x, uint32_t n)
{
    NB_TRY(nb_meta_set_texts(meta, "tokenizer.ggml.tokens", x->tokens, n));
    if (v->kind == NB_VOCAB_SPM || v->kind == NB_VOCAB_UNIGRAM)
        NB_TRY(nb_meta_set_array(meta, "tokenizer.ggml.scores", NB_META_F32, x->scores, n));
    NB_TRY(nb_meta_set_array(meta, "tokenizer.ggml.token_type", NB_META_I32, x->types, n));
    if (v->kind == NB_VOCAB_BPE)
        NB_TRY(nb_meta_set_texts(meta, "tokenizer.ggml.merges", v->merges, v->n_merges));
    return NB_OK;
}

static enum nb_status set_scalars(struct nb_meta *meta, const struct nb_vocab *v)
{
    for (const struct nb_tokenizer_id_key *k = nb_tokenizer_id_keys; k->key != NULL; k++) {
        int32_t id;
        memcpy(&id, (const char *)v + k->offset, sizeof id);
        if (id >= 0 && (!nb_str_ends(k->key, ".cls_token_id") || v->kind == NB_VOCAB_WORDPIECE))
            NB_TRY(nb_meta_set_u32(meta, k->key, (uint32_t)id));
    }
    NB_TRY(nb_meta_set_bool(meta, "tokenizer.ggml.add_bos_token", v->add_bos));
    if (v->kind == NB_VOCAB_WORDPIECE) {
        NB_TRY(nb_meta_set_bool(meta, "tokenizer.ggml.add_sep_token", v->add_eos));
        NB_TRY(nb_meta_set_bool(meta, "tokenizer.ggml.normalizer.lowercase", v->lowercase));
        return nb_meta_set_bool(meta, "tokenizer.ggml.normalizer.strip_accents", v->strip_accents);
    }
    NB_TRY(nb_meta_set_bool(meta, "tokenizer.ggml.add_eos_token", v->add_eos));
    if (v->kind == NB_VOCAB_BPE)
        return NB_OK;
    NB_TRY(nb_meta_set_bool(meta, "tokenizer.ggml.add_space_prefix", v->add_space_prefix));
    if (v->kind == NB_VOCAB_SPM && !v->remove_extra_whitespaces && v->charsmap.n == 0)
        return NB_OK;
    NB_TRY(nb_meta_set_bool(meta, "tokenizer.ggml.remove_extra_whitespaces",
                            v->remove_extra_whitespaces));
    if (v->charsmap.n == 0)
        return NB_OK;
    return nb_meta_set_array(meta, "tokenizer.ggml.precompiled_charsmap", NB_META_U8, v->charsmap.s,
                             v->charsmap.n);
}

static enum nb_status set_vocab(const struct nb_model *m, struct nb_meta *meta)
{
    const struct nb_vocab *v = nb_tokenizer_vocab(m->tokenizer);
    const uint32_t n = NB_MAX(m->w.hp.n_vocab, v->n);
    const char *kind = nb_tokenizer_model_name(v->kind);
    struct arrays x;
    struct nb_arena scratch;
    NB_TRY(nb_meta_set_text(meta, "tokenizer.ggml.model", kind, strlen(kind)));
    if (v->kind == NB_VOCAB_BPE)
        NB_TRY(nb_meta_set_text(meta, "tokenizer.ggml.pre", v->pre, strlen(v->pre)));
    nb_arena_init(&scratch, m->a, 65536);
    enum nb_status st = pad_arrays(&x, m->tokenizer, n, &scratch);
    if (st == NB_OK && v->kind == NB_VOCAB_WORDPIECE)
        st = spell_phantom(&x, v->n, &scratch);
    if (st == NB_OK && v->kind == NB_VOCAB_SPM)
        st = spell_added(&x, v->n, &scratch);
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
    else if (st == NB_OK && nb_tokenizer_vocab(m->tokenizer)->kind != NB_VOCAB_SPM &&
             nb_tokenizer_vocab(m->tokenizer)->pre == NULL)
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "%s",
                nb_tokenizer_vocab(m->tokenizer)->kind == NB_VOCAB_BPE
                    ? "the tokenizer splits text by a pattern that has no name in GGUF"
                    : "the tokenizer changes text in a way that GGUF has no key for");
    else if (st == NB_OK)
        st = set_vocab(m, meta);
    if (st != NB_OK)
        NB_FAIL(err, st, "out of memory for the tokenizer's metadata");
    return NB_OK;
}
