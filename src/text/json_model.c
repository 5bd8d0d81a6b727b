/* text/json_model.c: a tokenizer from tokenizer.json and tokenizer_config.json: model, added tokens, ids
 * of bos and eos. The file format is that of Hugging Face tokenizers, version "1.0"; the model must be
 * BPE. Left out: dropout, prefixes and suffixes of subwords (no model that nibble runs has them).
 */
#include "text/text_internal.h"

#include <string.h>

static enum nb_status wrong(const char *what, const char *expected, struct nb_error *err)
{
    NB_FAIL(err, NB_ERR_FORMAT, "tokenizer.json: %s: expected %s", what, expected);
}

enum nb_status nb_json_copy_text(struct nb_tokenizer *tok, struct nb_text *out, const nb_json *v,
                                 const char *what, struct nb_error *err)
{
    size_t n;
    const char *s = nb_json_string(v, &n);
    if (s == NULL)
        return wrong(what, "a string", err);
    *out = nb_tok_copy(tok, (struct nb_text){s, n});
    if (out->s == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "tokenizer.json: %s: out of memory", what);
    return NB_OK;
}

static bool is_null(const nb_json *v)
{
    enum nb_json_type t = nb_json_type(v);
    return t == NB_JSON_NULL || t == NB_JSON_MISSING;
}

/* A boolean that may be absent. */
static enum nb_status read_flag(bool *out, const nb_json *object, const char *key,
                                struct nb_error *err)
{
    const nb_json *v = nb_json_get(object, key);
    *out = false;
    if (!is_null(v) && !nb_json_bool(v, out))
        return wrong(key, "true or false", err);
    return NB_OK;
}

/* ---- how many tokens ---- */
static enum nb_status check_token_id(const nb_json *v, int64_t *id, const char *name, size_t n,
                                     struct nb_error *err)
{
    char shown[80];
    if (nb_json_int(v, id) && *id >= 0 && *id < (int64_t)NB_TEXT_MAX_IDS)
        return NB_OK;
    NB_FAIL(err, NB_ERR_FORMAT, "tokenizer.json: the id of '%s' is not an integer from 0 to %u",
            nb_printable(shown, sizeof(shown), name, n), NB_TEXT_MAX_IDS - 1u);
}

static enum nb_status count_tokens(uint32_t *n, const nb_json *vocab, const nb_json *added,
                                   struct nb_error *err)
{
    int64_t top = -1, id;
    size_t len;
    for (void *it = nb_json_iter(vocab); it != NULL; it = nb_json_next(vocab, it)) {
        const char *key = nb_json_key(it, &len);
        NB_TRY(check_token_id(nb_json_value(it), &id, key, len, err));
        top = NB_MAX(top, id);
    }
    for (size_t i = 0; i < nb_json_size(added); i++) {
        const nb_json *item = nb_json_at(added, i);
        const char *content = nb_json_string(nb_json_get(item, "content"), &len);
        if (content == NULL)
            return wrong("added_tokens", "objects with id and content", err);
        NB_TRY(check_token_id(nb_json_get(item, "id"), &id, content, len, err));
        top = NB_MAX(top, id);
    }
    /* A hole costs memory: few are normal, mostly holes is an attack. */
    uint64_t total = (uint64_t)nb_json_size(vocab) + nb_json_size(added);
    if ((uint64_t)(top + 1) > 2 * total + 65536)
        NB_FAIL(err, NB_ERR_FORMAT, "tokenizer.json: id %lld, but there are only %llu tokens",
                (long long)top, (unsigned long long)total);
    *n = (uint32_t)(top + 1);
    return NB_OK;
}

/* ---- tokens ---- */
static enum nb_status put_token(struct nb_tokenizer *tok, int64_t id, const char *s, size_t n,
                                struct nb_error *err)
{
    char a[60], b[60];
    struct nb_text *t = &tok->tokens[id];
    if (n == 0)
        NB_FAIL(err, NB_ERR_FORMAT, "tokenizer.json: token %lld is empty", (long long)id);
    if (t->s != NULL && (t->n != n || memcmp(t->s, s, n) != 0))
        NB_FAIL(err, NB_ERR_FORMAT, "tokenizer.json: id %lld is both '%s' and '%s'", (long long)id,
                nb_printable(a, sizeof(a), t->s, t->n), nb_printable(b, sizeof(b), s, n));
    if (t->s == NULL)
        *t = nb_tok_copy(tok, (struct nb_text){s, n});
    if (t->s == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "tokenizer.json: token %lld: out of memory", (long long)id);
    return NB_OK;
}

static enum nb_status read_vocab(struct nb_tokenizer *tok, const nb_json *vocab,
                                 struct nb_error *err)
{
    for (void *it = nb_json_iter(vocab); it != NULL; it = nb_json_next(vocab, it)) {
        size_t len;
        int64_t id = 0;
        const char *key = nb_json_key(it, &len);
        NB_TRY(check_token_id(nb_json_value(it), &id, key, len, err));
        NB_TRY(put_token(tok, id, key, len, err)); /* keys differ: a second one of this id fails */
        tok->types[id] = NB_TOKEN_NORMAL;
        tok->in_model[id] = 1;
    }
    return NB_OK;
}

static enum nb_status read_added(struct nb_tokenizer *tok, const nb_json *added,
                                 struct nb_error *err)
{
    for (size_t i = 0; i < nb_json_size(added); i++) {
        const nb_json *item = nb_json_at(added, i);
        size_t len;
        int64_t id = 0;
        bool special, single_word, lstrip, rstrip, normalized;
        const char *content = nb_json_string(nb_json_get(item, "content"), &len);
        NB_TRY(check_token_id(nb_json_get(item, "id"), &id, content, len, err));
        NB_TRY(put_token(tok, id, content, len, err));
        NB_TRY(read_flag(&special, item, "special", err));
        NB_TRY(read_flag(&single_word, item, "single_word", err));
        NB_TRY(read_flag(&lstrip, item, "lstrip", err));
        NB_TRY(read_flag(&rstrip, item, "rstrip", err));
        NB_TRY(read_flag(&normalized, item, "normalized", err));
        tok->types[id] = special ? NB_TOKEN_CONTROL : NB_TOKEN_USER;
        tok->flags[id] = (uint8_t)((lstrip ? NB_TOKEN_LSTRIP : 0) | (rstrip ? NB_TOKEN_RSTRIP : 0) |
                                   (normalized ? NB_TOKEN_NORMALIZED : 0) |
                                   (single_word ? NB_TOKEN_SINGLE_WORD : 0));
    }
    return NB_OK;
}

static enum nb_status read_merges(struct nb_tokenizer *tok, const nb_json *merges,
                                  struct nb_error *err)
{
    if (nb_json_type(merges) != NB_JSON_ARRAY)
        return wrong("model.merges", "an array", err);
    for (size_t i = 0; i < nb_json_size(merges); i++) {
        const nb_json *item = nb_json_at(merges, i);
        struct nb_text l, r;
        const char *s = nb_json_string(item, &l.n);
        if (s != NULL) { /* "left right": the older form */
            const char *space = l.n < 2 ? NULL : memchr(s + 1, ' ', l.n - 1);
            if (space == NULL)
                return wrong("model.merges", "\"left right\"", err);
            r = (struct nb_text){space + 1, (size_t)(s + l.n - space - 1)};
            l = (struct nb_text){s, (size_t)(space - s)};
        } else {
            l.s = nb_json_string(nb_json_at(item, 0), &l.n);
            r.s = nb_json_string(nb_json_at(item, 1), &r.n);
            if (nb_json_type(item) != NB_JSON_ARRAY || nb_json_size(item) != 2 || l.s == NULL ||
                r.s == NULL)
                return wrong("model.merges", "[\"left\", \"right\"]", err);
        }
        NB_TRY(nb_tok_add_merge(tok, l, r, err));
    }
    return NB_OK;
}

/* ---- the model ---- */
static enum nb_status check_model(const nb_json *model, struct nb_error *err)
{
    static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    char name[60];
    size_t n;
    double dropout = 0;
    const char *type = nb_json_string(nb_json_get(model, "type"), &n);
    if (nb_json_type(model) != NB_JSON_OBJECT)
        return wrong("model", "an object", err);
    if (type == NULL && nb_json_type(nb_json_get(model, "merges")) != NB_JSON_ARRAY)
        return wrong("model.type", "a string", err);
    if (type != NULL && !nb_str_eq(type, "BPE"))
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "tokenizer.json: model '%s' is not supported, only BPE is",
                nb_printable(name, sizeof(name), type, n));
    for (size_t i = 0; i < NB_COUNTOF(affixes); i++) {
        const nb_json *v = nb_json_get(model, affixes[i]);
        const char *s = nb_json_string(v, &n);
        if (!is_null(v) && (s == NULL || n != 0))
            NB_FAIL(err, NB_ERR_UNSUPPORTED, "tokenizer.json: model.%s is not supported",
                    affixes[i]);
    }
    const nb_json *v = nb_json_get(model, "dropout");
    if (!is_null(v) && (!nb_json_real(v, &dropout) || dropout > 0 || dropout < 0))
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "tokenizer.json: model.dropout is not supported");
    if (nb_json_type(nb_json_get(model, "vocab")) != NB_JSON_OBJECT)
        return wrong("model.vocab", "an object", err);
    return NB_OK;
}

static enum nb_status read_unknown(struct nb_tokenizer *tok, const nb_json *model,
                                   struct nb_error *err)
{
    const nb_json *v = nb_json_get(model, "unk_token");
    size_t n;
    const char *s = nb_json_string(v, &n);
    tok->vocab.unk = tok->bpe.unk = -1;
    if (is_null(v))
        return NB_OK;
    if (s == NULL)
        return wrong("model.unk_token", "a string", err);
    int32_t id = nb_tokenizer_find(tok, s, n);
    if (id < 0)
        NB_FAIL(err, NB_ERR_FORMAT, "tokenizer.json: model.unk_token is not in the vocabulary");
    tok->vocab.unk = tok->bpe.unk = id;
    return NB_OK;
}

/* GGUF marks the bytes and the unknown token of SentencePiece vocabularies. */
static void mark_types(struct nb_tokenizer *tok)
{
    if (tok->vocab.kind != NB_VOCAB_SPM)
        return;
    for (uint32_t i = 0; i < tok->vocab.n; i++)
        if (tok->bpe.byte_fallback && tok->types[i] == NB_TOKEN_NORMAL &&
            nb_byte_token_value(tok->tokens[i]) >= 0)
            tok->types[i] = NB_TOKEN_BYTE;
    if (tok->vocab.unk >= 0 && tok->types[tok->vocab.unk] == NB_TOKEN_CONTROL)
        tok->types[tok->vocab.unk] = NB_TOKEN_UNKNOWN;
}

/* ---- tokenizer_config.json ---- */
static enum nb_status config_token(struct nb_tokenizer *tok, int32_t *id, const nb_json *config,
                                   const char *key, struct nb_error *err)
{
    const nb_json *v = nb_json_get(config, key);
    char name[60];
    size_t n;
    if (nb_json_type(v) == NB_JSON_OBJECT)
        v = nb_json_get(v, "content");
    const char *s = nb_json_string(v, &n);
    if (s == NULL)
        return NB_OK;
    *id = nb_tokenizer_find(tok, s, n);
    if (*id < 0)
        NB_FAIL(err, NB_ERR_FORMAT,
                "tokenizer_config.json: %s is '%s', which is not in the vocabulary", key,
                nb_printable(name, sizeof(name), s, n));
    return NB_OK;
}

static enum nb_status read_template(struct nb_tokenizer *tok, const nb_json *config,
                                    struct nb_error *err)
{
    const nb_json *v = nb_json_get(config, "chat_template");
    if (nb_json_type(v) == NB_JSON_ARRAY) { /* several, by name */
        const nb_json *found = nb_json_get(nb_json_at(v, 0), "template");
        for (size_t i = 0; i < nb_json_size(v); i++) {
            const char *name = nb_json_string(nb_json_get(nb_json_at(v, i), "name"), NULL);
            if (name != NULL && nb_str_eq(name, "default"))
                found = nb_json_get(nb_json_at(v, i), "template");
        }
        v = found;
    }
    if (nb_json_string(v, NULL) == NULL)
        return NB_OK;
    return nb_json_copy_text(tok, &tok->vocab.chat_template, v, "chat_template", err);
}

static enum nb_status read_config(struct nb_tokenizer *tok, const nb_json *config,
                                  struct nb_error *err)
{
    struct nb_vocab *v = &tok->vocab;
    struct nb_pipeline *p = &tok->pipe;
    bool add_bos = false, add_eos = false;
    NB_TRY(config_token(tok, &v->bos, config, "bos_token", err));
    NB_TRY(config_token(tok, &v->eos, config, "eos_token", err));
    NB_TRY(config_token(tok, &v->pad, config, "pad_token", err));
    NB_TRY(read_template(tok, config, err));
    (void)nb_json_bool(nb_json_get(config, "add_bos_token"), &add_bos);
    (void)nb_json_bool(nb_json_get(config, "add_eos_token"), &add_eos);
    if (p->n_prefix == 0 && p->n_suffix == 0) { /* no template in tokenizer.json */
        if (add_bos && v->bos >= 0)
            p->prefix[p->n_prefix++] = v->bos;
        if (add_eos && v->eos >= 0)
            p->suffix[p->n_suffix++] = v->eos;
    }
    /* What the template puts in front is what a GGUF has to call bos. */
    if (p->n_prefix != 0)
        v->bos = p->prefix[0];
    if (p->n_suffix != 0 && v->eos < 0)
        v->eos = p->suffix[0];
    v->add_bos = p->n_prefix != 0;
    v->add_eos = p->n_suffix != 0 && p->suffix[0] == v->eos;
    return NB_OK;
}

/* ---- all of it ---- */
static enum nb_status fill_from_json(struct nb_tokenizer *tok, const nb_json *root,
                                     const nb_json *config, struct nb_error *err)
{
    const nb_json *model = nb_json_get(root, "model");
    struct nb_vocab *v = &tok->vocab;
    v->bos = v->eos = v->eot = v->pad = -1;
    NB_TRY(read_vocab(tok, nb_json_get(model, "vocab"), err));
    NB_TRY(read_added(tok, nb_json_get(root, "added_tokens"), err));
    NB_TRY(nb_tok_index(tok, err));
    NB_TRY(read_flag(&tok->bpe.byte_fallback, model, "byte_fallback", err));
    NB_TRY(read_flag(&tok->bpe.fuse_unk, model, "fuse_unk", err));
    NB_TRY(read_flag(&tok->bpe.ignore_merges, model, "ignore_merges", err));
    NB_TRY(read_unknown(tok, model, err));
    NB_TRY(read_merges(tok, nb_json_get(model, "merges"), err));
    NB_TRY(nb_json_read_pipeline(tok, root, err));
    NB_TRY(read_config(tok, config, err));
    v->ignore_merges = tok->bpe.ignore_merges;
    mark_types(tok);
    NB_TRY(nb_tok_describe_merges(tok, err));
    return nb_tok_finish(tok, err);
}

static enum nb_status from_roots(struct nb_tokenizer **out, const nb_json *root,
                                 const nb_json *config, const struct nb_allocator *a,
                                 struct nb_error *err)
{
    uint32_t n = 0;
    struct nb_tokenizer *tok;
    const nb_json *model = nb_json_get(root, "model"), *added = nb_json_get(root, "added_tokens");
    if (nb_json_type(root) != NB_JSON_OBJECT)
        return wrong("the file", "an object", err);
    if (!is_null(added) && nb_json_type(added) != NB_JSON_ARRAY)
        return wrong("added_tokens", "an array", err);
    NB_TRY(check_model(model, err));
    NB_TRY(count_tokens(&n, nb_json_get(model, "vocab"), added, err));
    NB_TRY(nb_tok_create(&tok, n, a, err));
    enum nb_status st = fill_from_json(tok, root, config, err);
    if (st != NB_OK) {
        nb_tokenizer_destroy(tok);
        return st;
    }
    *out = tok;
    return NB_OK;
}

enum nb_status nb_tokenizer_from_json(struct nb_tokenizer **out, const char *text, size_t n,
                                      const char *config_text, size_t n_config,
                                      const struct nb_allocator *a, struct nb_error *err)
{
    nb_json *root = NULL, *config = NULL;
    enum nb_status st;
    *out = NULL;
    NB_TRY_TO(done, nb_json_parse(&root, text, n, "tokenizer.json", err));
    if (config_text != NULL)
        NB_TRY_TO(done,
                  nb_json_parse(&config, config_text, n_config, "tokenizer_config.json", err));
    st = from_roots(out, root, config, a, err);
done:
    nb_json_free(root);
    nb_json_free(config);
    return st;
}
