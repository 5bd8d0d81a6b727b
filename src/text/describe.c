/* text/describe.c: merges and scores in the form in which GGUF stores them. */
#include "text/text_internal.h"

#include <string.h>

static enum nb_status no_memory(struct nb_error *err)
{
    NB_FAIL(err, NB_ERR_NOMEM, "tokenizer: out of memory");
}

/* "left right", one after the other in one block. */
static enum nb_status merge_texts(struct nb_tokenizer *tok, struct nb_error *err)
{
    size_t bytes = 0;
    for (size_t i = 0; i < tok->n_merges; i++) {
        size_t n = tok->tokens[tok->merges[i].id].n + 2; /* a space, a zero */
        if (!nb_add_size(&bytes, bytes, n))
            return no_memory(err);
    }
    struct nb_text *texts = nb_arena_alloc(&tok->arena, tok->n_merges, sizeof(*texts));
    char *block = nb_arena_alloc(&tok->arena, bytes, 1);
    if (texts == NULL || block == NULL)
        return no_memory(err);
    for (size_t i = 0; i < tok->n_merges; i++) {
        struct nb_text l = tok->tokens[tok->merges[i].left], r = tok->tokens[tok->merges[i].right];
        memcpy(block, l.s, l.n);
        block[l.n] = ' ';
        memcpy(block + l.n + 1, r.s, r.n);
        texts[i] = (struct nb_text){block, l.n + r.n + 1};
        block += l.n + r.n + 2;
    }
    tok->vocab.merges = texts;
    tok->vocab.n_merges = tok->n_merges;
    return NB_OK;
}

/* A token's score is minus the rank of its first merge; one that no merge makes comes behind all others
 * (a single character needs no merge, and its score is never read). */
static enum nb_status scores_of_ranks(struct nb_tokenizer *tok, struct nb_error *err)
{
    tok->scores = nb_arena_alloc(&tok->arena, tok->vocab.n, sizeof(*tok->scores));
    if (tok->scores == NULL)
        return no_memory(err);
    for (uint32_t i = 0; i < tok->vocab.n; i++)
        if (tok->types[i] == NB_TOKEN_NORMAL || tok->types[i] == NB_TOKEN_USER)
            tok->scores[i] = -(float)tok->n_merges - 1.0f;
    for (size_t i = tok->n_merges; i-- > 0;)
        tok->scores[tok->merges[i].id] = -(float)tok->merges[i].rank;
    return NB_OK;
}

enum nb_status nb_tok_describe_merges(struct nb_tokenizer *tok, struct nb_error *err)
{
    if (tok->from_scores || tok->n_merges == 0)
        return NB_OK;
    if (tok->vocab.kind == NB_VOCAB_SPM && tok->vocab.scores == NULL)
        NB_TRY(scores_of_ranks(tok, err));
    return merge_texts(tok, err);
}
