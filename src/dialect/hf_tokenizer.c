/* dialect/hf_tokenizer.c: the tokenizer of a Hugging Face folder: tokenizer.json, or tokenizer.model of
 * SentencePiece or vocab.txt of BERT where a folder has no other, and the chat template.
 */
#include "dialect/dialect_internal.h"

#include <string.h>

#define HF_TEMPLATE     "chat_template.jinja"
#define HF_ADDED_TOKENS "added_tokens.json"

/* What cannot be used is no error of the model's; what is malformed is. */
static enum nb_status made(struct nb_model *m, enum nb_status st, const struct nb_error *why,
                           struct nb_error *err)
{
    if (st == NB_ERR_UNSUPPORTED)
        return nb_model_without_tokenizer(m, why->message);
    if (st != NB_OK && err != NULL)
        *err = *why;
    return st;
}

static enum nb_status make_tokenizer(struct nb_model *m, const struct nb_str *text,
                                     const struct nb_str *config, struct nb_error *err)
{
    struct nb_error why;
    nb_error_clear(&why);
    const bool has_config = config->data != NULL;
    const enum nb_status st = nb_tokenizer_from_json(&m->tokenizer, text->data, text->len,
                                                     has_config ? config->data : NULL,
                                                     has_config ? config->len : 0, m->a, &why);
    return made(m, st, &why, err);
}

/* The file of its own comes first, as in transformers. */
static enum nb_status read_template(struct nb_model *m, struct nb_error *err)
{
    struct nb_str text;
    struct nb_text t = nb_tokenizer_vocab(m->tokenizer)->chat_template;
    enum nb_status st = nb_hf_read_text(&text, m, HF_TEMPLATE, err);
    if (st == NB_OK)
        t = (struct nb_text){text.len > 0 ? text.data : "", text.len};
    else if (st == NB_ERR_NOT_FOUND)
        st = NB_OK;
    if (st == NB_OK && t.s != NULL) {
        m->chat_template = nb_arena_strndup(&m->arena, t.s, t.n);
        if (m->chat_template == NULL)
            st = NB_ERROR(err, NB_ERR_NOMEM, "out of memory");
    }
    nb_str_fini(&text);
    return st;
}

/* vocab.txt, or none. */
static enum nb_status make_from_words(struct nb_model *m, const struct nb_str *config,
                                      struct nb_error *err)
{
    struct nb_str text;
    struct nb_error why;
    nb_error_clear(&why);
    enum nb_status st = nb_hf_read_text(&text, m, NB_HF_WORDS, err);
    if (st == NB_OK) {
        st = nb_tokenizer_from_word_list(&m->tokenizer, (struct nb_text){text.data, text.len},
                                         (struct nb_text){config->data, config->len}, m->a, &why);
        st = made(m, st, &why, err);
    } else if (st == NB_ERR_NOT_FOUND) {
        st = nb_model_without_tokenizer(
            m, "the folder has neither tokenizer.json nor tokenizer.model nor vocab.txt");
    }
    nb_str_fini(&text);
    return st;
}

/* tokenizer.model, or vocab.txt, or none. */
static enum nb_status make_from_pieces(struct nb_model *m, const struct nb_str *config,
                                       struct nb_error *err)
{
    struct nb_str model, added;
    struct nb_error why;
    nb_error_clear(&why);
    enum nb_status st = nb_hf_read_text(&model, m, NB_HF_PIECES, err);
    if (st != NB_OK) {
        nb_str_fini(&model);
        return st == NB_ERR_NOT_FOUND ? make_from_words(m, config, err) : st;
    }
    st = nb_hf_read_text(&added, m, HF_ADDED_TOKENS, err);
    if (st == NB_OK || st == NB_ERR_NOT_FOUND) {
        const struct nb_spm_files files = {
            {model.data, model.len}, {config->data, config->len}, {added.data, added.len}};
        st = nb_tokenizer_from_spm(&m->tokenizer, &files, m->a, &why);
        st = made(m, st, &why, err);
    }
    nb_str_fini(&added);
    nb_str_fini(&model);
    return st;
}

enum nb_status nb_hf_read_tokenizer(struct nb_model *m, struct nb_error *err)
{
    struct nb_str text, config;
    nb_str_init(&text, m->a);
    enum nb_status st = nb_hf_read_text(&config, m, NB_HF_TOKENIZER_CONFIG, err);
    if (st == NB_OK || st == NB_ERR_NOT_FOUND) {
        st = nb_hf_read_text(&text, m, NB_HF_TOKENIZER, err);
        if (st == NB_OK)
            st = make_tokenizer(m, &text, &config, err);
        else if (st == NB_ERR_NOT_FOUND)
            st = make_from_pieces(m, &config, err);
    }
    nb_str_fini(&config);
    nb_str_fini(&text);
    if (st == NB_OK && m->tokenizer != NULL)
        st = read_template(m, err);
    return st;
}
