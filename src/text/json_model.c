/* text/json_model.c: a tokenizer from tokenizer.json and tokenizer_config.json: model, added tokens, ids
 * of bos and eos. The file format is that of Hugging Face tokenizers, version "1.0".
 */
#include "text/json_internal.h"

#include <string.h>

/* ---- tokens ---- */
static enum nb_status read_added(struct nb_tokenizer *tok, const nb_json *added,
                                 struct nb_error *err)
{
    for (size_t i = 0; i < nb_json_size(added); i++) {
        const nb_json *item = nb_json_at(added, i);
        size_t len;
        int64_t id = 0;
        bool special, single_word, lstrip, rstrip, normalized;
        const char *content = nb_json_string(nb_json_get(item, "content"), &len);
        NB_TRY(nb_json_token_id(nb_json_get(item, "id"), &id, content, len, err));
        NB_TRY(nb_json_put_token(tok, id, content, len, err));
        NB_TRY(nb_json_flag(&special, item, "special", err));
        NB_TRY(nb_json_flag(&single_word, item, "single_word", err));
        NB_TRY(nb_json_flag(&lstrip, item, "lstrip", err));
        NB_TRY(nb_json_flag(&rstrip, item, "rstrip", err));
        NB_TRY(nb_json_flag(&normalized, item, "normalized", err));
        tok->types[id] = special ? NB_TOKEN_CONTROL : NB_TOKEN_USER;
        tok->flags[id] = (uint8_t)((lstrip ? NB_TOKEN_LSTRIP : 0) | (rstrip ? NB_TOKEN_RSTRIP : 0) |
                                   (normalized ? NB_TOKEN_NORMALIZED : 0) |
                                   (single_word ? NB_TOKEN_SINGLE_WORD : 0));
    }
    return NB_OK;
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
    NB_TRY(config_token(tok, &v->sep, config, "sep_token", err));
    NB_TRY(config_token(tok, &v->mask, config, "mask_token", err));
    if (v->bos < 0)
        NB_TRY(config_token(tok, &v->bos, config, "cls_token", err));
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
    int32_t *end = v->kind == NB_VOCAB_WORDPIECE ? &v->sep : &v->eos;
    if (p->n_suffix != 0 && *end < 0)
        *end = p->suffix[0];
    v->add_bos = p->n_prefix != 0;
    v->add_eos = p->n_suffix != 0 && p->suffix[0] == *end;
    return NB_OK;
}

/* ---- all of it ---- */
static enum nb_status fill_from_json(struct nb_tokenizer *tok, const nb_json *root,
                                     const nb_json *config, struct nb_error *err)
{
    const nb_json *model = nb_json_get(root, "model");
    struct nb_vocab *v = &tok->vocab;
    v->bos = v->eos = v->eot = v->pad = v->sep = v->mask = -1;
    NB_TRY(nb_json_read_vocab(tok, model, err));
    NB_TRY(read_added(tok, nb_json_get(root, "added_tokens"), err));
    NB_TRY(nb_tok_index(tok, err));
    NB_TRY(nb_json_read_model(tok, model, err));
    NB_TRY(nb_json_read_pipeline(tok, root, err));
    NB_TRY(read_config(tok, config, err));
    nb_json_mark_types(tok);
    NB_TRY(nb_tok_describe_merges(tok, err));
    return nb_tok_finish(tok, err);
}

static enum nb_status from_roots(struct nb_tokenizer **out, const nb_json *root,
                                 const nb_json *config, const struct nb_allocator *a,
                                 struct nb_error *err)
{
    uint32_t n = 0;
    enum nb_vocab_kind kind = NB_VOCAB_BPE;
    struct nb_tokenizer *tok;
    const nb_json *model = nb_json_get(root, "model"), *added = nb_json_get(root, "added_tokens");
    if (nb_json_type(root) != NB_JSON_OBJECT)
        return nb_json_wrong("the file", "an object", err);
    if (!nb_json_absent(added) && nb_json_type(added) != NB_JSON_ARRAY)
        return nb_json_wrong("added_tokens", "an array", err);
    NB_TRY(nb_json_check_model(&kind, model, err));
    NB_TRY(nb_json_count_tokens(&n, nb_json_get(model, "vocab"), added, err));
    NB_TRY(nb_tok_create(&tok, n, a, err));
    tok->vocab.kind = kind;
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
