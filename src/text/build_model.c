/* text/build_model.c: what the models look in: pair table of BPE, trie of Unigram and WordPiece. The
 * tokens come from outside; what cannot be used is refused here.
 */
#include "text/text_internal.h"

#include <string.h>

#define MAX_PIECE_BYTES 4096u /* of a token in a trie: bounds the work per byte of text */

static enum nb_status no_memory(struct nb_error *err)
{
    NB_FAIL(err, NB_ERR_NOMEM, "tokenizer: out of memory");
}

/* ---- BPE ---- */
static int32_t model_id(const struct nb_tokenizer *tok, const char *s, size_t n)
{
    uint64_t id;
    return nb_map_get(&tok->ids, s, n, &id) && tok->in_model[id] ? (int32_t)id : -1;
}

static void fill_byte_ids(struct nb_tokenizer *tok)
{
    static const char hex[] = "0123456789ABCDEF";
    struct nb_bpe *b = &tok->bpe;
    for (unsigned i = 0; i < 256; i++) {
        char c[4], form[] = "<0x00>";
        size_t n = nb_utf8_put(c, b->byte_level ? nb_byte_to_char((uint8_t)i) : i);
        b->byte_id[i] = b->byte_level || i < 0x80 ? model_id(tok, c, n) : -1;
        form[3] = hex[i >> 4];
        form[4] = hex[i & 15];
        b->fallback_id[i] = model_id(tok, form, 6);
    }
}

/* Words may be cut at seams if the text comes whole and no merge has a side that is not plain text. */
static bool may_cut(const struct nb_tokenizer *tok)
{
    if (tok->bpe.byte_level || tok->bpe.ignore_merges)
        return false;
    for (size_t i = 0; i < tok->n_merges; i++) {
        const struct nb_merge *m = &tok->merges[i];
        if ((int32_t)m->left == tok->bpe.unk || (int32_t)m->right == tok->bpe.unk ||
            nb_byte_token_value(tok->tokens[m->left]) >= 0 ||
            nb_byte_token_value(tok->tokens[m->right]) >= 0)
            return false;
    }
    return true;
}

static enum nb_status fill_words(struct nb_tokenizer *tok, struct nb_error *err)
{
    for (uint32_t i = 0; i < tok->vocab.n; i++) {
        struct nb_text t = tok->tokens[i];
        if (!tok->in_model[i])
            continue;
        if (tok->bpe.byte_level) {
            char *bytes = nb_arena_alloc(&tok->arena, t.n, 1);
            if (bytes == NULL)
                return no_memory(err);
            if (!nb_byte_level_decode(bytes, &t.n, t.s, t.n))
                continue; /* no word can spell it */
            t.s = bytes;
        }
        enum nb_status st = nb_map_put(&tok->bpe.words, t.s, t.n, i);
        if (st != NB_OK && st != NB_ERR_EXISTS)
            return no_memory(err);
    }
    return NB_OK;
}

static enum nb_status build_bpe(struct nb_tokenizer *tok, struct nb_error *err)
{
    struct nb_bpe *b = &tok->bpe;
    fill_byte_ids(tok);
    if (nb_bpe_reserve(b, tok->n_merges + 1) != NB_OK)
        return no_memory(err);
    for (size_t i = 0; i < tok->n_merges; i++) {
        const struct nb_merge *m = &tok->merges[i];
        if (nb_bpe_put(b, m->left, m->right, m->rank, m->id) != NB_OK)
            return no_memory(err);
    }
    if (may_cut(tok)) {
        if (nb_bpe_note_seams(b, (struct nb_text){NULL, 0}) != NB_OK)
            return no_memory(err);
        for (size_t i = 0; i < tok->n_merges; i++)
            if (nb_bpe_note_seams(b, tok->tokens[tok->merges[i].id]) != NB_OK)
                return no_memory(err);
    }
    return b->ignore_merges ? fill_words(tok, err) : NB_OK;
}

/* ---- Unigram, WordPiece ---- */
/* Text never becomes a control token by the model's doing, whatever it spells. */
static bool is_piece(const struct nb_tokenizer *tok, uint32_t i)
{
    return tok->in_model[i] && tok->types[i] != NB_TOKEN_CONTROL &&
           tok->types[i] != NB_TOKEN_UNKNOWN;
}

static enum nb_status build_trie(struct nb_tokenizer *tok, struct nb_error *err)
{
    struct nb_trie *t = &tok->pieces_model.trie;
    size_t bytes = 1;
    for (uint32_t i = 0; i < tok->vocab.n; i++) {
        if (!is_piece(tok, i))
            continue;
        if (tok->tokens[i].n > MAX_PIECE_BYTES)
            NB_FAIL(err, NB_ERR_LIMIT, "token %u has %zu bytes, at most %u are supported",
                    (unsigned)i, tok->tokens[i].n, MAX_PIECE_BYTES);
        bytes += tok->tokens[i].n; /* all are in memory: no overflow */
    }
    if (nb_trie_reserve(t, bytes) != NB_OK)
        return no_memory(err);
    for (uint32_t i = 0; i < tok->vocab.n; i++)
        if (is_piece(tok, i))
            nb_trie_put(t, tok->tokens[i], (int32_t)i);
    return NB_OK;
}

static enum nb_status build_unigram(struct nb_tokenizer *tok, struct nb_error *err)
{
    struct nb_pieces *m = &tok->pieces_model;
    bool first = true;
    for (uint32_t i = 0; i < tok->vocab.n; i++) {
        if (!tok->in_model[i])
            continue;
        if (!(m->scores[i] > -1e30 && m->scores[i] < 1e30))
            NB_FAIL(err, NB_ERR_FORMAT, "score of token %u is no finite number", (unsigned)i);
        m->min_score = first ? m->scores[i] : NB_MIN(m->min_score, m->scores[i]);
        first = false;
    }
    fill_byte_ids(tok);
    tok->word = nb_unigram_word;
    return build_trie(tok, err);
}

static enum nb_status build_wordpiece(struct nb_tokenizer *tok, struct nb_error *err)
{
    struct nb_pieces *m = &tok->pieces_model;
    NB_TRY(build_trie(tok, err));
    m->inside = 0;
    for (size_t i = 0; i < m->prefix.n && m->inside != NB_TEXT_NONE; i++)
        m->inside = nb_trie_step(&m->trie, m->inside, (uint8_t)m->prefix.s[i]);
    tok->word = nb_wordpiece_word;
    return NB_OK;
}

enum nb_status nb_tok_build_model(struct nb_tokenizer *tok, struct nb_error *err)
{
    if (tok->vocab.kind == NB_VOCAB_UNIGRAM)
        return build_unigram(tok, err);
    if (tok->vocab.kind == NB_VOCAB_WORDPIECE)
        return build_wordpiece(tok, err);
    return build_bpe(tok, err);
}
