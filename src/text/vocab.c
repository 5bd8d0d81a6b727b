/* text/vocab.c: the plain description of a vocabulary, and a tokenizer made from one.
 *
 * Follows the keys tokenizer.ggml.* of GGUF. SentencePiece vocabularies carry scores, not merges: merges
 * are then every split of every token into two tokens, ranked by the token's score, which is what
 * SentencePiece's search for the best-scored neighbour amounts to. Left out: tokens of characters that
 * are no tokens themselves (SentencePiece writes none).
 */
#include "text/text_internal.h"

#include <string.h>

#define MAX_SCORED_BYTES 4096u /* of a token that is split; bounds the work on hostile files */

void nb_vocab_init(struct nb_vocab *v, enum nb_vocab_kind kind, const char *pre)
{
    static const struct { /* by kind */
        int32_t bos, eos, unk, pad, sep, mask;
        bool add_bos, add_eos;
    } ids[] = {[NB_VOCAB_BPE] = {-1, -1, -1, -1, -1, -1, false, false},
               [NB_VOCAB_SPM] = {1, 2, 0, -1, -1, -1, true, false},
               [NB_VOCAB_UNIGRAM] = {-1, 1, 2, 0, -1, -1, false, true},
               [NB_VOCAB_WORDPIECE] = {101, -1, 100, 0, 102, 103, true, true}};
    const bool spm = kind == NB_VOCAB_SPM, unigram = kind == NB_VOCAB_UNIGRAM;
    const bool wordpiece = kind == NB_VOCAB_WORDPIECE;
    if (pre == NULL)
        pre = "default";
    const struct nb_family *f = kind == NB_VOCAB_BPE ? nb_family_find(pre) : NULL;
    *v = (struct nb_vocab){.kind = kind,
                           .pre = pre,
                           .bos = ids[kind].bos,
                           .eos = ids[kind].eos,
                           .eot = -1,
                           .unk = ids[kind].unk,
                           .pad = ids[kind].pad,
                           .sep = ids[kind].sep,
                           .mask = ids[kind].mask,
                           .add_bos = ids[kind].add_bos || (f != NULL && f->add_bos),
                           .add_eos = ids[kind].add_eos,
                           .add_space_prefix = spm || unigram,
                           .ignore_merges = f != NULL && f->ignore_merges,
                           .remove_extra_whitespaces = unigram,
                           .lowercase = wordpiece,
                           .strip_accents = wordpiece};
}

const struct nb_vocab *nb_tokenizer_vocab(const struct nb_tokenizer *tok)
{
    return &tok->vocab;
}

uint32_t nb_tokenizer_n_vocab(const struct nb_tokenizer *tok)
{
    return tok->vocab.n;
}

bool nb_tokenizer_is_eog(const struct nb_tokenizer *tok, int32_t id)
{
    for (size_t i = 0; i < tok->n_eog; i++)
        if (tok->eog[i] == id)
            return true;
    return false;
}

bool nb_tokenizer_is_special(const struct nb_tokenizer *tok, int32_t id)
{
    return id >= 0 && (uint32_t)id < tok->vocab.n &&
           (tok->types[id] == NB_TOKEN_CONTROL || tok->types[id] == NB_TOKEN_UNKNOWN);
}

int32_t nb_tokenizer_find(const struct nb_tokenizer *tok, const char *text, size_t n)
{
    uint64_t id;
    return nb_map_get(&tok->ids, text, n, &id) ? (int32_t)id : -1;
}

struct nb_text nb_tokenizer_piece(const struct nb_tokenizer *tok, int32_t id)
{
    if (id < 0 || (uint32_t)id >= tok->vocab.n)
        return (struct nb_text){"", 0};
    return tok->pieces[id];
}

/* ---- merges ---- */
static enum nb_status push_merge(struct nb_tokenizer *tok, struct nb_merge m, struct nb_error *err)
{
    if (tok->n_merges == tok->cap_merges &&
        !nb_grow(tok->a, &tok->merges, &tok->cap_merges, tok->n_merges, sizeof(*tok->merges)))
        NB_FAIL(err, NB_ERR_NOMEM, "%zu merges: out of memory", tok->n_merges + 1);
    tok->merges[tok->n_merges++] = m;
    tok->in_model[m.id] = 1; /* added tokens may be words of the model as well */
    return NB_OK;
}

static enum nb_status merge_error(const struct nb_tokenizer *tok, struct nb_text t,
                                  struct nb_error *err)
{
    char name[80];
    NB_FAIL(err, NB_ERR_FORMAT, "merge %zu: '%s' is no token of the vocabulary", tok->n_merges,
            nb_printable(name, sizeof(name), t.s, t.n));
}

enum nb_status nb_tok_add_merge(struct nb_tokenizer *tok, struct nb_text left, struct nb_text right,
                                struct nb_error *err)
{
    struct nb_merge m = {.rank = (uint32_t)tok->n_merges};
    uint64_t l, r, id;
    char small[256], *joined = small;
    if (tok->n_merges >= NB_TEXT_NONE)
        NB_FAIL(err, NB_ERR_LIMIT, "more than %u merges", NB_TEXT_NONE - 1u);
    if (!nb_map_get(&tok->ids, left.s, left.n, &l))
        return merge_error(tok, left, err);
    if (!nb_map_get(&tok->ids, right.s, right.n, &r))
        return merge_error(tok, right, err);
    size_t n = left.n + right.n; /* both are tokens in memory: no overflow */
    if (n > sizeof(small))
        joined = nb_alloc(tok->a, n, 1);
    if (joined == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "merge %zu: out of memory", tok->n_merges);
    memcpy(joined, left.s, left.n);
    memcpy(joined + left.n, right.s, right.n);
    enum nb_status st = NB_OK;
    if (!nb_map_get(&tok->ids, joined, n, &id))
        st = merge_error(tok, (struct nb_text){joined, n}, err);
    if (joined != small)
        nb_free(tok->a, joined);
    NB_TRY(st);
    m.left = (uint32_t)l;
    m.right = (uint32_t)r;
    m.id = (uint32_t)id;
    return push_merge(tok, m, err);
}

/* Where "left right" is cut: the first space behind byte 0 that leaves two tokens. */
static enum nb_status add_merge_text(struct nb_tokenizer *tok, struct nb_text t,
                                     struct nb_error *err)
{
    size_t first = 0;
    uint64_t id;
    for (size_t i = 1; i + 1 < t.n; i++) {
        if (t.s[i] != ' ')
            continue;
        if (first == 0)
            first = i;
        if (nb_map_get(&tok->ids, t.s, i, &id) &&
            nb_map_get(&tok->ids, t.s + i + 1, t.n - i - 1, &id)) {
            first = i;
            break;
        }
    }
    if (first == 0) {
        char name[80];
        NB_FAIL(err, NB_ERR_FORMAT, "merge %zu: '%s', expected \"left right\"", tok->n_merges,
                nb_printable(name, sizeof(name), t.s, t.n));
    }
    return nb_tok_add_merge(tok, (struct nb_text){t.s, first},
                            (struct nb_text){t.s + first + 1, t.n - first - 1}, err);
}

static bool can_merge(const struct nb_tokenizer *tok, uint32_t id)
{
    return tok->types[id] == NB_TOKEN_NORMAL || tok->types[id] == NB_TOKEN_USER;
}

static enum nb_status add_splits(struct nb_tokenizer *tok, uint32_t id, uint32_t rank,
                                 struct nb_error *err)
{
    struct nb_text t = tok->tokens[id];
    uint64_t l, r;
    for (size_t i = 1; i < t.n; i++) {
        if (((uint8_t)t.s[i] & 0xc0) == 0x80)
            continue; /* inside a character */
        if (!nb_map_get(&tok->ids, t.s, i, &l) || !nb_map_get(&tok->ids, t.s + i, t.n - i, &r))
            continue;
        if (can_merge(tok, (uint32_t)l) && can_merge(tok, (uint32_t)r))
            NB_TRY(push_merge(tok, (struct nb_merge){(uint32_t)l, (uint32_t)r, id, rank}, err));
    }
    return NB_OK;
}

/* Ascending keys for descending scores. */
static uint32_t score_key(float score)
{
    uint32_t bits;
    memcpy(&bits, &score, sizeof(bits));
    bits = bits & 0x80000000u ? bits : ~bits & 0x7fffffffu;
    return bits;
}

enum nb_status nb_tok_merges_from_scores(struct nb_tokenizer *tok, struct nb_error *err)
{
    struct nb_heap heap = {.a = tok->a};
    enum nb_status st = NB_OK;
    uint32_t rank = 0, last = 0;
    for (uint32_t i = 0; i < tok->vocab.n; i++) {
        float score = tok->scores[i] + 0.0f; /* no negative zero */
        if (!can_merge(tok, i))
            continue;
        if (score != score) {
            st = NB_ERROR(err, NB_ERR_NUMERIC, "score of token %u is NaN", (unsigned)i);
            goto done;
        }
        if (tok->tokens[i].n > MAX_SCORED_BYTES) {
            st = NB_ERROR(err, NB_ERR_LIMIT, "token %u has %zu bytes, at most %u are supported",
                          (unsigned)i, tok->tokens[i].n, MAX_SCORED_BYTES);
            goto done;
        }
        if (!nb_heap_push(&heap, (uint64_t)score_key(score) << 32 | i)) {
            st = NB_ERROR(err, NB_ERR_NOMEM, "sorting %u scores: out of memory",
                          (unsigned)tok->vocab.n);
            goto done;
        }
    }
    while (heap.n > 0) {
        uint64_t key = nb_heap_pop(&heap);
        if (tok->n_merges != 0 && (uint32_t)(key >> 32) != last)
            rank++;
        last = (uint32_t)(key >> 32);
        NB_TRY_TO(done, add_splits(tok, (uint32_t)key, rank, err));
    }
    tok->from_scores = true;
done:
    nb_free(tok->a, heap.keys);
    return st;
}

/* ---- a tokenizer from a description ---- */
static enum nb_status copy_tokens(struct nb_tokenizer *tok, const struct nb_vocab *v,
                                  struct nb_error *err)
{
    if (v->scores != NULL || v->kind == NB_VOCAB_SPM) {
        tok->scores = nb_arena_alloc(&tok->arena, v->n, sizeof(*tok->scores));
        if (tok->scores == NULL)
            NB_FAIL(err, NB_ERR_NOMEM, "%u scores: out of memory", (unsigned)v->n);
        if (v->scores != NULL)
            memcpy(tok->scores, v->scores, v->n * sizeof(*tok->scores));
    }
    for (uint32_t i = 0; i < v->n; i++) {
        int32_t type = v->types == NULL ? NB_TOKEN_NORMAL : v->types[i];
        if (type < NB_TOKEN_NORMAL || type > NB_TOKEN_BYTE)
            NB_FAIL(err, NB_ERR_FORMAT, "token %u has type %d, expected 1 to 6", (unsigned)i, type);
        if (v->tokens[i].n != 0) {
            tok->tokens[i] = nb_tok_copy(tok, v->tokens[i]);
            if (tok->tokens[i].s == NULL)
                NB_FAIL(err, NB_ERR_NOMEM, "token %u: out of memory", (unsigned)i);
        }
        tok->types[i] = type;
        tok->flags[i] = v->flags == NULL ? 0 : v->flags[i];
        tok->in_model[i] = !nb_tok_is_added(type) && type != NB_TOKEN_UNUSED;
    }
    return NB_OK;
}

static enum nb_status copy_settings(struct nb_tokenizer *tok, const struct nb_vocab *v,
                                    struct nb_error *err)
{
    uint32_t n = tok->vocab.n;
    tok->vocab = *v;
    tok->vocab.n = n;
    tok->vocab.merges = NULL;
    tok->vocab.n_merges = 0;
    tok->vocab.pre = NULL;
    tok->vocab.charsmap = (struct nb_text){NULL, 0};
    if (v->chat_template.s != NULL) {
        tok->vocab.chat_template = nb_tok_copy(tok, v->chat_template);
        if (tok->vocab.chat_template.s == NULL)
            NB_FAIL(err, NB_ERR_NOMEM, "chat template: out of memory");
    }
    if (v->add_bos && v->bos >= 0)
        tok->pipe.prefix[tok->pipe.n_prefix++] = v->bos;
    const int32_t end = v->kind == NB_VOCAB_WORDPIECE ? v->sep : v->eos;
    if (v->add_eos && end >= 0)
        tok->pipe.suffix[tok->pipe.n_suffix++] = end;
    tok->bpe.unk = v->unk;
    tok->bpe.ignore_merges = v->ignore_merges;
    return NB_OK;
}

static enum nb_status spm_pipeline(struct nb_tokenizer *tok, const struct nb_vocab *v,
                                   struct nb_error *err)
{
    struct nb_pipeline *p = &tok->pipe;
    if (v->charsmap.n != 0)
        NB_TRY(nb_tok_copy_charsmap(tok, v->charsmap, err));
    if (v->remove_extra_whitespaces) {
        p->norm[p->n_norm++] = (struct nb_norm_step){.kind = NB_NORM_REPLACE,
                                                     .regex = true,
                                                     .pattern = NB_TEXT_LIT("\\A +| +\\z"),
                                                     .content = NB_TEXT_LIT("")};
        p->norm[p->n_norm++] = (struct nb_norm_step){.kind = NB_NORM_REPLACE,
                                                     .regex = true,
                                                     .pattern = NB_TEXT_LIT(" {2,}"),
                                                     .content = NB_TEXT_LIT(" ")};
    }
    if (v->add_space_prefix && v->space_prefix_first_only) {
        p->pre[p->n_pre++] = (struct nb_pre_step){.kind = NB_PRE_METASPACE,
                                                  .prepend = NB_PREPEND_FIRST,
                                                  .replacement = NB_TEXT_LIT(NB_TEXT_SPACE_MARK)};
    } else {
        if (v->add_space_prefix)
            p->norm[p->n_norm++] = (struct nb_norm_step){
                .kind = NB_NORM_PREPEND, .content = NB_TEXT_LIT(NB_TEXT_SPACE_MARK)};
        p->norm[p->n_norm++] = (struct nb_norm_step){.kind = NB_NORM_REPLACE,
                                                     .pattern = NB_TEXT_LIT(" "),
                                                     .content = NB_TEXT_LIT(NB_TEXT_SPACE_MARK)};
    }
    p->decoder = (struct nb_decoder){.kind = NB_DECODER_SPM,
                                     .pattern = NB_TEXT_LIT(NB_TEXT_SPACE_MARK),
                                     .content = NB_TEXT_LIT(" "),
                                     .byte_fallback = true,
                                     .strip = NB_TEXT_LIT(" "),
                                     .strip_start = v->add_space_prefix ? 1 : 0};
    tok->bpe.byte_fallback = true;
    tok->bpe.fuse_unk = true;
    return NB_OK;
}

static enum nb_status fill_from_vocab(struct nb_tokenizer *tok, const struct nb_vocab *v,
                                      struct nb_error *err)
{
    char name[80];
    NB_TRY(copy_settings(tok, v, err));
    NB_TRY(copy_tokens(tok, v, err));
    NB_TRY(nb_tok_index(tok, err));
    for (size_t i = 0; i < v->n_merges; i++)
        NB_TRY(add_merge_text(tok, v->merges[i], err));
    if (v->kind == NB_VOCAB_SPM) {
        NB_TRY(spm_pipeline(tok, v, err));
        if (v->n_merges == 0)
            NB_TRY(nb_tok_merges_from_scores(tok, err));
    } else if (v->kind != NB_VOCAB_BPE) {
        NB_TRY(nb_tok_pieces_from_vocab(tok, v, err));
    } else {
        const struct nb_family *f = nb_family_find(v->pre);
        if (f == NULL)
            NB_FAIL(err, NB_ERR_UNSUPPORTED, "pre-tokenizer '%s' is not supported",
                    v->pre == NULL ? "(none)"
                                   : nb_printable(name, sizeof(name), v->pre, strlen(v->pre)));
        nb_family_pipeline(f, &tok->pipe);
        tok->bpe.byte_level = true;
        tok->vocab.pre = nb_tok_copy(tok, (struct nb_text){v->pre, strlen(v->pre)}).s;
    }
    NB_TRY(nb_tok_describe_merges(tok, err));
    return nb_tok_finish(tok, err);
}

enum nb_status nb_tokenizer_from_vocab(struct nb_tokenizer **out, const struct nb_vocab *v,
                                       const struct nb_allocator *a, struct nb_error *err)
{
    struct nb_tokenizer *tok;
    *out = NULL;
    if (v->kind < NB_VOCAB_BPE || v->kind > NB_VOCAB_WORDPIECE)
        NB_FAIL(err, NB_ERR_ARG, "vocabulary kind %d", (int)v->kind);
    NB_TRY(nb_tok_create(&tok, v->n, a, err));
    enum nb_status st = fill_from_vocab(tok, v, err);
    if (st != NB_OK) {
        nb_tokenizer_destroy(tok);
        return st;
    }
    *out = tok;
    return NB_OK;
}
