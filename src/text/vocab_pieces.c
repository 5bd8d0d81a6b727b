/* text/vocab_pieces.c: the pipelines of Unigram and WordPiece vocabularies that come as a plain
 * description (GGUF models "t5" and "bert"), and what such a description can say of a pipeline.
 *
 * Left out of the description: other steps than those below; vocab.pre == NULL says so.
 */
#include "text/text_internal.h"

#include <string.h>

/* ---- from a description ---- */
static enum nb_status copy_scores(struct nb_tokenizer *tok, const struct nb_vocab *v,
                                  struct nb_error *err)
{
    if (v->scores == NULL)
        NB_FAIL(err, NB_ERR_FORMAT, "a Unigram vocabulary has no scores");
    tok->pieces_model.scores = nb_arena_alloc(&tok->arena, v->n, sizeof(double));
    if (tok->pieces_model.scores == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "%u scores: out of memory", (unsigned)v->n);
    for (uint32_t i = 0; i < v->n; i++)
        tok->pieces_model.scores[i] = (double)v->scores[i];
    return NB_OK;
}

enum nb_status nb_tok_copy_charsmap(struct nb_tokenizer *tok, struct nb_text blob,
                                    struct nb_error *err)
{
    struct nb_norm_step step = {.kind = NB_NORM_PRECOMPILED};
    tok->vocab.charsmap = nb_tok_copy(tok, blob);
    if (tok->vocab.charsmap.s == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "precompiled_charsmap: out of memory");
    NB_TRY(nb_charsmap_open(&step.map, tok->vocab.charsmap, err));
    tok->pipe.norm[tok->pipe.n_norm++] = step;
    return NB_OK;
}

static enum nb_status unigram(struct nb_tokenizer *tok, const struct nb_vocab *v,
                              struct nb_error *err)
{
    struct nb_pipeline *p = &tok->pipe;
    const enum nb_prepend prepend = !v->add_space_prefix         ? NB_PREPEND_NEVER
                                    : v->space_prefix_first_only ? NB_PREPEND_FIRST
                                                                 : NB_PREPEND_ALWAYS;
    NB_TRY(copy_scores(tok, v, err));
    if (v->charsmap.n != 0)
        NB_TRY(nb_tok_copy_charsmap(tok, v->charsmap, err));
    if (v->remove_extra_whitespaces)
        p->pre[p->n_pre++] =
            (struct nb_pre_step){.kind = NB_PRE_WHITESPACE, .behavior = NB_SPLIT_REMOVED};
    p->pre[p->n_pre++] = (struct nb_pre_step){.kind = NB_PRE_METASPACE,
                                              .prepend = prepend,
                                              .use_regex = true,
                                              .replacement = NB_TEXT_LIT(NB_TEXT_SPACE_MARK)};
    p->decoder = (struct nb_decoder){.kind = NB_DECODER_METASPACE,
                                     .pattern = NB_TEXT_LIT(NB_TEXT_SPACE_MARK),
                                     .content = NB_TEXT_LIT(" "),
                                     .prepend = prepend};
    if (v->byte_fallback) /* the Metaspace decoder knows no bytes */
        p->decoder = (struct nb_decoder){.kind = NB_DECODER_SPM,
                                         .pattern = NB_TEXT_LIT(NB_TEXT_SPACE_MARK),
                                         .content = NB_TEXT_LIT(" "),
                                         .byte_fallback = true,
                                         .strip = NB_TEXT_LIT(" "),
                                         .strip_start = v->add_space_prefix ? 1 : 0};
    tok->bpe.byte_fallback = v->byte_fallback;
    return NB_OK;
}

static void wordpiece(struct nb_tokenizer *tok, const struct nb_vocab *v)
{
    struct nb_pipeline *p = &tok->pipe;
    p->norm[p->n_norm++] = (struct nb_norm_step){.kind = NB_NORM_BERT,
                                                 .clean = true,
                                                 .han = true,
                                                 .accents = v->strip_accents,
                                                 .lower = v->lowercase};
    p->pre[p->n_pre++] =
        (struct nb_pre_step){.kind = NB_PRE_WHITESPACE, .behavior = NB_SPLIT_REMOVED};
    p->pre[p->n_pre++] =
        (struct nb_pre_step){.kind = NB_PRE_PUNCTUATION, .behavior = NB_SPLIT_ISOLATED};
    p->decoder = (struct nb_decoder){
        .kind = NB_DECODER_WORDPIECE, .pattern = NB_TEXT_LIT("##"), .cleanup = true};
    tok->pieces_model.prefix = NB_TEXT_LIT("##");
    tok->pieces_model.max_chars = NB_TEXT_WORDPIECE_CHARS;
}

enum nb_status nb_tok_pieces_from_vocab(struct nb_tokenizer *tok, const struct nb_vocab *v,
                                        struct nb_error *err)
{
    tok->vocab.pre = "default";
    if (v->kind == NB_VOCAB_UNIGRAM)
        return unigram(tok, v, err);
    wordpiece(tok, v);
    return NB_OK;
}

/* ---- to a description ---- */
static bool is_metaspace(const struct nb_pre_step *s)
{
    return s->kind == NB_PRE_METASPACE && s->use_regex &&
           s->replacement.n == sizeof(NB_TEXT_SPACE_MARK) - 1 &&
           memcmp(s->replacement.s, NB_TEXT_SPACE_MARK, s->replacement.n) == 0;
}

/* Steps that files of SentencePiece models have in place of "remove extra white space". */
static bool squeezes(const struct nb_norm_step *s)
{
    return s->kind == NB_NORM_STRIP || (s->kind == NB_NORM_REPLACE && s->regex &&
                                        s->pattern.n == 5 && memcmp(s->pattern.s, " {2,}", 5) == 0);
}

static bool describe_unigram(struct nb_tokenizer *tok)
{
    const struct nb_pipeline *p = &tok->pipe;
    struct nb_vocab *v = &tok->vocab;
    size_t k = 0, m = 0;
    if (k < p->n_norm && p->norm[k].kind == NB_NORM_PRECOMPILED)
        k++;
    for (; k < p->n_norm && squeezes(&p->norm[k]); k++)
        v->remove_extra_whitespaces = true;
    if (m < p->n_pre && p->pre[m].kind == NB_PRE_WHITESPACE) {
        v->remove_extra_whitespaces = true;
        m++;
    }
    if (k != p->n_norm || m + 1 != p->n_pre || !is_metaspace(&p->pre[m]))
        return false;
    v->add_space_prefix = p->pre[m].prepend != NB_PREPEND_NEVER;
    v->space_prefix_first_only = p->pre[m].prepend == NB_PREPEND_FIRST;
    return true;
}

static bool describe_wordpiece(struct nb_tokenizer *tok)
{
    const struct nb_pipeline *p = &tok->pipe;
    const struct nb_text prefix = tok->pieces_model.prefix;
    const struct nb_norm_step *n = &p->norm[0];
    if (p->n_norm != 1 || n->kind != NB_NORM_BERT || !n->clean || !n->han)
        return false;
    tok->vocab.lowercase = n->lower;
    tok->vocab.strip_accents = n->accents;
    return p->n_pre == 2 && p->pre[0].kind == NB_PRE_WHITESPACE &&
           p->pre[1].kind == NB_PRE_PUNCTUATION && p->pre[1].behavior == NB_SPLIT_ISOLATED &&
           prefix.n == 2 && memcmp(prefix.s, "##", 2) == 0;
}

void nb_tok_describe_pieces(struct nb_tokenizer *tok)
{
    const bool held =
        tok->vocab.kind == NB_VOCAB_UNIGRAM ? describe_unigram(tok) : describe_wordpiece(tok);
    tok->vocab.pre = held ? "default" : NULL;
}
