/* text/json_internal.h: what the readers of tokenizer.json share. */
#ifndef NB_TEXT_JSON_INTERNAL_H
#define NB_TEXT_JSON_INTERNAL_H

#include "text/text_internal.h"

/* ---- json_vocab.c ---- */
enum nb_status nb_json_wrong(const char *what, const char *expected, struct nb_error *err);
bool nb_json_absent(const nb_json *v); /* or null */
/* A boolean that may be absent. */
NB_CHECKED enum nb_status nb_json_flag(bool *out, const nb_json *object, const char *key,
                                       struct nb_error *err);
NB_CHECKED enum nb_status nb_json_token_id(const nb_json *v, int64_t *id, const char *name,
                                           size_t n, struct nb_error *err);
NB_CHECKED enum nb_status nb_json_put_token(struct nb_tokenizer *tok, int64_t id, const char *s,
                                            size_t n, struct nb_error *err);
/* Which model it is; refuses what nibble has not. */
NB_CHECKED enum nb_status nb_json_check_model(enum nb_vocab_kind *kind, const nb_json *model,
                                              struct nb_error *err);
NB_CHECKED enum nb_status nb_json_count_tokens(uint32_t *n, const nb_json *vocab,
                                               const nb_json *added, struct nb_error *err);
NB_CHECKED enum nb_status nb_json_read_vocab(struct nb_tokenizer *tok, const nb_json *model,
                                             struct nb_error *err);
/* After nb_tok_index. */
NB_CHECKED enum nb_status nb_json_read_model(struct nb_tokenizer *tok, const nb_json *model,
                                             struct nb_error *err);
void nb_json_mark_types(struct nb_tokenizer *tok);

/* ---- json_part.c: parts of a pipeline ---- */
/* One part of the file while it is read. */
struct nb_part {
    struct nb_tokenizer *tok;
    const char *what; /* "normalizer" … for messages */
    struct nb_error *err;
};
struct nb_part_type {
    const char *name;
    enum nb_status (*read)(struct nb_part *p, const nb_json *v);
};
enum nb_status nb_part_wrong(struct nb_part *p, const char *key, const char *expected);
enum nb_status nb_part_unsupported(struct nb_part *p, const char *key, const nb_json *v);
NB_CHECKED enum nb_status nb_part_text(struct nb_part *p, struct nb_text *out, const nb_json *v,
                                       const char *key);
NB_CHECKED enum nb_status nb_part_flag(struct nb_part *p, bool *out, const nb_json *v,
                                       const char *key, bool absent);
/* {"String": "x"} or {"Regex": "x"} */
NB_CHECKED enum nb_status nb_part_pattern(struct nb_part *p, struct nb_text *out, bool *literal,
                                          const nb_json *v);
/* A part, or a Sequence of them under the key `list`. */
NB_CHECKED enum nb_status nb_part_read(struct nb_part *p, const nb_json *v,
                                       const struct nb_part_type *types, size_t n_types,
                                       const char *list);
/* Also of the Metaspace decoder. */
NB_CHECKED enum nb_status nb_part_metaspace(struct nb_part *p, enum nb_prepend *out,
                                            struct nb_text *mark, const nb_json *v);

/* ---- json_normalizer.c, json_pipeline.c, json_decoder.c ---- */
NB_CHECKED enum nb_status nb_json_read_normalizer(struct nb_tokenizer *tok, const nb_json *v,
                                                  struct nb_error *err);
NB_CHECKED enum nb_status nb_json_read_decoder(struct nb_tokenizer *tok, const nb_json *v,
                                               struct nb_error *err);

#endif
