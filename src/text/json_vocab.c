/* text/json_vocab.c: the "model" of a tokenizer.json: tokens, merges, scores. BPE, Unigram and WordPiece.
 * Left out: dropout, prefixes and suffixes of BPE's subwords (no model that nibble runs has them).
 */
#include "text/json_internal.h"

#include <string.h>

enum nb_status nb_json_wrong(const char *what, const char *expected, struct nb_error *err)
{
    NB_FAIL(err, NB_ERR_FORMAT, "tokenizer.json: %s: expected %s", what, expected);
}

enum nb_status nb_json_copy_text(struct nb_tokenizer *tok, struct nb_text *out, const nb_json *v,
                                 const char *what, struct nb_error *err)
{
    size_t n;
    const char *s = nb_json_string(v, &n);
    if (s == NULL)
        return nb_json_wrong(what, "a string", err);
    *out = nb_tok_copy(tok, (struct nb_text){s, n});
    if (out->s == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "tokenizer.json: %s: out of memory", what);
    return NB_OK;
}

bool nb_json_absent(const nb_json *v)
{
    enum nb_json_type t = nb_json_type(v);
    return t == NB_JSON_NULL || t == NB_JSON_MISSING;
}

/* A boolean that may be absent. */
enum nb_status nb_json_flag(bool *out, const nb_json *object, const char *key, struct nb_error *err)
{
    const nb_json *v = nb_json_get(object, key);
    *out = false;
    if (!nb_json_absent(v) && !nb_json_bool(v, out))
        return nb_json_wrong(key, "true or false", err);
    return NB_OK;
}

/* ---- how many tokens ---- */
enum nb_status nb_json_token_id(const nb_json *v, int64_t *id, const char *name, size_t n,
                                struct nb_error *err)
{
    char shown[80];
    if (nb_json_int(v, id) && *id >= 0 && *id < (int64_t)NB_TEXT_MAX_IDS)
        return NB_OK;
    NB_FAIL(err, NB_ERR_FORMAT, "tokenizer.json: the id of '%s' is not an integer from 0 to %u",
            nb_printable(shown, sizeof(shown), name, n), NB_TEXT_MAX_IDS - 1u);
}

enum nb_status nb_json_count_tokens(uint32_t *n, const nb_json *vocab, const nb_json *added,
                                    struct nb_error *err)
{
    int64_t top = -1, id;
    size_t len;
    if (nb_json_type(vocab) == NB_JSON_ARRAY) /* Unigram: the place is the id */
        top = (int64_t)nb_json_size(vocab) - 1;
    for (void *it = nb_json_iter(vocab); it != NULL; it = nb_json_next(vocab, it)) {
        const char *key = nb_json_key(it, &len);
        NB_TRY(nb_json_token_id(nb_json_value(it), &id, key, len, err));
        top = NB_MAX(top, id);
    }
    for (size_t i = 0; i < nb_json_size(added); i++) {
        const nb_json *item = nb_json_at(added, i);
        const char *content = nb_json_string(nb_json_get(item, "content"), &len);
        if (content == NULL)
            return nb_json_wrong("added_tokens", "objects with id and content", err);
        NB_TRY(nb_json_token_id(nb_json_get(item, "id"), &id, content, len, err));
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
enum nb_status nb_json_put_token(struct nb_tokenizer *tok, int64_t id, const char *s, size_t n,
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

static enum nb_status read_ids(struct nb_tokenizer *tok, const nb_json *vocab, struct nb_error *err)
{
    for (void *it = nb_json_iter(vocab); it != NULL; it = nb_json_next(vocab, it)) {
        size_t len;
        int64_t id = 0;
        const char *key = nb_json_key(it, &len);
        NB_TRY(nb_json_token_id(nb_json_value(it), &id, key, len, err));
        NB_TRY(nb_json_put_token(tok, id, key, len,
                                 err)); /* keys differ: a second one of this id fails */
        tok->types[id] = NB_TOKEN_NORMAL;
        tok->in_model[id] = 1;
    }
    return NB_OK;
}

/* [["▁the", -3.5], ...] */
static enum nb_status read_scored(struct nb_tokenizer *tok, const nb_json *vocab,
                                  struct nb_error *err)
{
    tok->pieces_model.scores = nb_arena_alloc(&tok->arena, tok->vocab.n, sizeof(double));
    tok->scores = nb_arena_alloc(&tok->arena, tok->vocab.n, sizeof(*tok->scores));
    if (tok->pieces_model.scores == NULL || tok->scores == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "tokenizer.json: %u scores: out of memory",
                (unsigned)tok->vocab.n);
    for (size_t i = 0; i < nb_json_size(vocab); i++) {
        const nb_json *item = nb_json_at(vocab, i);
        size_t len;
        double score = 0;
        const char *piece = nb_json_string(nb_json_at(item, 0), &len);
        if (nb_json_type(item) != NB_JSON_ARRAY || piece == NULL ||
            !nb_json_real(nb_json_at(item, 1), &score) || !(score > -1e30 && score < 1e30))
            return nb_json_wrong("model.vocab", "[\"token\", score]", err);
        NB_TRY(nb_json_put_token(tok, (int64_t)i, piece, len, err));
        tok->types[i] = NB_TOKEN_NORMAL;
        tok->in_model[i] = 1;
        tok->pieces_model.scores[i] = score;
        tok->scores[i] = (float)score;
    }
    return NB_OK;
}

enum nb_status nb_json_read_vocab(struct nb_tokenizer *tok, const nb_json *model,
                                  struct nb_error *err)
{
    const nb_json *vocab = nb_json_get(model, "vocab");
    return tok->vocab.kind == NB_VOCAB_UNIGRAM ? read_scored(tok, vocab, err)
                                               : read_ids(tok, vocab, err);
}

static enum nb_status read_merges(struct nb_tokenizer *tok, const nb_json *merges,
                                  struct nb_error *err)
{
    if (nb_json_type(merges) != NB_JSON_ARRAY)
        return nb_json_wrong("model.merges", "an array", err);
    for (size_t i = 0; i < nb_json_size(merges); i++) {
        const nb_json *item = nb_json_at(merges, i);
        struct nb_text l, r;
        const char *s = nb_json_string(item, &l.n);
        if (s != NULL) { /* "left right": the older form */
            const char *space = l.n < 2 ? NULL : memchr(s + 1, ' ', l.n - 1);
            if (space == NULL)
                return nb_json_wrong("model.merges", "\"left right\"", err);
            r = (struct nb_text){space + 1, (size_t)(s + l.n - space - 1)};
            l = (struct nb_text){s, (size_t)(space - s)};
        } else {
            l.s = nb_json_string(nb_json_at(item, 0), &l.n);
            r.s = nb_json_string(nb_json_at(item, 1), &r.n);
            if (nb_json_type(item) != NB_JSON_ARRAY || nb_json_size(item) != 2 || l.s == NULL ||
                r.s == NULL)
                return nb_json_wrong("model.merges", "[\"left\", \"right\"]", err);
        }
        NB_TRY(nb_tok_add_merge(tok, l, r, err));
    }
    return NB_OK;
}

/* ---- the model ---- */
static const char *const kind_names[] = {
    [NB_VOCAB_BPE] = "BPE", [NB_VOCAB_UNIGRAM] = "Unigram", [NB_VOCAB_WORDPIECE] = "WordPiece"};

static enum nb_status check_bpe(const nb_json *model, struct nb_error *err)
{
    static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    double dropout = 0;
    for (size_t i = 0; i < NB_COUNTOF(affixes); i++) {
        size_t n;
        const nb_json *v = nb_json_get(model, affixes[i]);
        const char *s = nb_json_string(v, &n);
        if (!nb_json_absent(v) && (s == NULL || n != 0))
            NB_FAIL(err, NB_ERR_UNSUPPORTED, "tokenizer.json: model.%s is not supported",
                    affixes[i]);
    }
    const nb_json *v = nb_json_get(model, "dropout");
    if (!nb_json_absent(v) && (!nb_json_real(v, &dropout) || dropout > 0 || dropout < 0))
        NB_FAIL(err, NB_ERR_UNSUPPORTED, "tokenizer.json: model.dropout is not supported");
    return NB_OK;
}

enum nb_status nb_json_check_model(enum nb_vocab_kind *kind, const nb_json *model,
                                   struct nb_error *err)
{
    char name[60];
    size_t n, k;
    const char *type = nb_json_string(nb_json_get(model, "type"), &n);
    const enum nb_json_type vocab = nb_json_type(nb_json_get(model, "vocab"));
    if (nb_json_type(model) != NB_JSON_OBJECT)
        return nb_json_wrong("model", "an object", err);
    if (type == NULL) { /* older files leave it out */
        if (nb_json_type(nb_json_get(model, "merges")) == NB_JSON_ARRAY)
            type = kind_names[NB_VOCAB_BPE];
        else if (nb_json_type(nb_json_get(model, "max_input_chars_per_word")) == NB_JSON_INT)
            type = kind_names[NB_VOCAB_WORDPIECE];
        else if (vocab == NB_JSON_ARRAY)
            type = kind_names[NB_VOCAB_UNIGRAM];
        else
            return nb_json_wrong("model.type", "a string", err);
    }
    for (k = 0; k < NB_COUNTOF(kind_names); k++)
        if (kind_names[k] != NULL && nb_str_eq(type, kind_names[k]))
            break;
    if (k == NB_COUNTOF(kind_names))
        NB_FAIL(err, NB_ERR_UNSUPPORTED,
                "tokenizer.json: model '%s' is not supported, BPE, Unigram and WordPiece are",
                nb_printable(name, sizeof(name), type, n));
    *kind = (enum nb_vocab_kind)k;
    if (*kind == NB_VOCAB_UNIGRAM)
        return vocab == NB_JSON_ARRAY ? NB_OK
                                      : nb_json_wrong("model.vocab", "an array of pairs", err);
    if (vocab != NB_JSON_OBJECT)
        return nb_json_wrong("model.vocab", "an object", err);
    return *kind == NB_VOCAB_BPE ? check_bpe(model, err) : NB_OK;
}

static enum nb_status read_unknown(struct nb_tokenizer *tok, const nb_json *model,
                                   struct nb_error *err)
{
    const nb_json *v = nb_json_get(model, "unk_token");
    size_t n;
    const char *s = nb_json_string(v, &n);
    tok->vocab.unk = tok->bpe.unk = -1;
    if (nb_json_absent(v))
        return NB_OK;
    if (s == NULL)
        return nb_json_wrong("model.unk_token", "a string", err);
    int32_t id = nb_tokenizer_find(tok, s, n);
    if (id < 0)
        NB_FAIL(err, NB_ERR_FORMAT, "tokenizer.json: model.unk_token is not in the vocabulary");
    tok->vocab.unk = tok->bpe.unk = id;
    return NB_OK;
}

/* ---- what each model says besides its tokens ---- */
static enum nb_status read_bpe(struct nb_tokenizer *tok, const nb_json *model, struct nb_error *err)
{
    NB_TRY(nb_json_flag(&tok->bpe.byte_fallback, model, "byte_fallback", err));
    NB_TRY(nb_json_flag(&tok->bpe.fuse_unk, model, "fuse_unk", err));
    NB_TRY(nb_json_flag(&tok->bpe.ignore_merges, model, "ignore_merges", err));
    tok->vocab.ignore_merges = tok->bpe.ignore_merges;
    NB_TRY(read_unknown(tok, model, err));
    return read_merges(tok, nb_json_get(model, "merges"), err);
}

static enum nb_status read_unigram(struct nb_tokenizer *tok, const nb_json *model,
                                   struct nb_error *err)
{
    const nb_json *unk = nb_json_get(model, "unk_id");
    int64_t id = -1;
    if (!nb_json_absent(unk) && (!nb_json_int(unk, &id) || id < 0 ||
                                 id >= (int64_t)nb_json_size(nb_json_get(model, "vocab"))))
        return nb_json_wrong("model.unk_id", "an id of the vocabulary", err);
    tok->vocab.unk = tok->bpe.unk = (int32_t)id;
    NB_TRY(nb_json_flag(&tok->bpe.byte_fallback, model, "byte_fallback", err));
    tok->vocab.byte_fallback = tok->bpe.byte_fallback;
    return NB_OK;
}

static enum nb_status read_wordpiece(struct nb_tokenizer *tok, const nb_json *model,
                                     struct nb_error *err)
{
    const nb_json *prefix = nb_json_get(model, "continuing_subword_prefix");
    const nb_json *max = nb_json_get(model, "max_input_chars_per_word");
    int64_t chars = NB_TEXT_WORDPIECE_CHARS;
    if (!nb_json_absent(max) && (!nb_json_int(max, &chars) || chars < 0 || chars > UINT32_MAX))
        return nb_json_wrong("model.max_input_chars_per_word", "a number of characters", err);
    tok->pieces_model.max_chars = (uint32_t)chars;
    tok->pieces_model.prefix = NB_TEXT_LIT("##");
    if (!nb_json_absent(prefix))
        NB_TRY(nb_json_copy_text(tok, &tok->pieces_model.prefix, prefix,
                                 "model.continuing_subword_prefix", err));
    return read_unknown(tok, model, err);
}

enum nb_status nb_json_read_model(struct nb_tokenizer *tok, const nb_json *model,
                                  struct nb_error *err)
{
    if (tok->vocab.kind == NB_VOCAB_UNIGRAM)
        return read_unigram(tok, model, err);
    if (tok->vocab.kind == NB_VOCAB_WORDPIECE)
        return read_wordpiece(tok, model, err);
    return read_bpe(tok, model, err);
}

/* GGUF marks the bytes and the unknown token of SentencePiece vocabularies, and WordPiece's. */
void nb_json_mark_types(struct nb_tokenizer *tok)
{
    const struct nb_vocab *v = &tok->vocab;
    if (v->kind == NB_VOCAB_BPE)
        return;
    for (uint32_t i = 0; i < v->n && v->kind != NB_VOCAB_WORDPIECE; i++)
        if (tok->bpe.byte_fallback && tok->types[i] == NB_TOKEN_NORMAL &&
            nb_byte_token_value(tok->tokens[i]) >= 0)
            tok->types[i] = NB_TOKEN_BYTE;
    if (v->unk >= 0 && tok->types[v->unk] == NB_TOKEN_CONTROL)
        tok->types[v->unk] = NB_TOKEN_UNKNOWN;
}
