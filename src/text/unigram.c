/* text/unigram.c: the unigram model of SentencePiece (Kudo 2018, arXiv 1804.10959): of all ways to cut a
 * word into tokens the one with the greatest sum of scores, found by Viterbi's algorithm.
 *
 * As Hugging Face tokenizers does it: a character that is no token costs the smallest score minus 10;
 * neighbouring unknown ones are one; bytes ("<0x0A>") in their place, if the model has all of them.
 */
#include "text/text_internal.h"

#define UNKNOWN_PENALTY 10.0

/* Fills in the best way to each byte. */
static void best_ways(const struct nb_tokenizer *tok, struct nb_way *ways, struct nb_text word)
{
    const struct nb_pieces *m = &tok->pieces_model;
    const double unknown = m->min_score - UNKNOWN_PENALTY;
    size_t len;
    for (size_t i = 0; i <= word.n; i++)
        ways[i] = (struct nb_way){0, NB_TEXT_NONE, -1};
    for (size_t at = 0; at < word.n; at += len) {
        const double here = ways[at].score;
        bool single = false;
        uint32_t node = 0;
        (void)nb_utf8_take(word.s + at, word.n - at, &len);
        for (size_t i = at; i < word.n; i++) {
            node = nb_trie_step(&m->trie, node, (uint8_t)word.s[i]);
            if (node == NB_TEXT_NONE)
                break;
            const int32_t id = nb_trie_id(&m->trie, node);
            if (id < 0)
                continue;
            struct nb_way *w = &ways[i + 1];
            const double score = here + m->scores[id];
            if (w->from == NB_TEXT_NONE || score > w->score)
                *w = (struct nb_way){score, (uint32_t)at, id};
            single = single || i + 1 - at == len;
        }
        struct nb_way *w = &ways[at + len];
        if (!single && (w->from == NB_TEXT_NONE || here + unknown > w->score))
            *w = (struct nb_way){here + unknown, (uint32_t)at, tok->vocab.unk};
    }
}

static bool is_special(const struct nb_tokenizer *tok, uint64_t id)
{
    return tok->types[id] == NB_TOKEN_CONTROL || tok->types[id] == NB_TOKEN_UNKNOWN;
}

/* A token's text, or what no token spells. */
static enum nb_status push_piece(struct nb_encoder *e, struct nb_text t)
{
    const struct nb_tokenizer *tok = e->tok;
    uint64_t id;
    if (nb_map_get(&tok->ids, t.s, t.n, &id) && tok->in_model[id] && !is_special(tok, id))
        return nb_ids_push(e->ids, (int32_t)id, e->err);
    bool all = tok->bpe.byte_fallback;
    for (size_t i = 0; i < t.n && all; i++)
        all = tok->bpe.fallback_id[(uint8_t)t.s[i]] >= 0;
    for (size_t i = 0; i < t.n && all; i++)
        NB_TRY(nb_ids_push(e->ids, tok->bpe.fallback_id[(uint8_t)t.s[i]], e->err));
    if (all)
        return NB_OK;
    if (tok->vocab.unk < 0)
        NB_FAIL(e->err, NB_ERR_FORMAT,
                "text that no token spells, and the vocabulary has no unknown token");
    return nb_ids_push(e->ids, tok->vocab.unk, e->err);
}

static enum nb_status reserve(struct nb_encoder *e, size_t n)
{
    if (e->cap_ways >= n)
        return NB_OK;
    const size_t cap = NB_MAX(n + n / 2, 256u);
    struct nb_way *ways = nb_alloc(e->tok->a, cap, sizeof(*ways));
    if (ways == NULL)
        NB_FAIL(e->err, NB_ERR_NOMEM, "a word of %zu bytes: out of memory", n - 1);
    nb_free(e->tok->a, e->ways);
    e->ways = ways;
    e->cap_ways = cap;
    return NB_OK;
}

enum nb_status nb_unigram_word(struct nb_encoder *e, struct nb_text word)
{
    const int32_t unk = e->tok->vocab.unk;
    NB_TRY(reserve(e, word.n + 1));
    struct nb_way *w = e->ways;
    best_ways(e->tok, w, word);
    uint32_t next = NB_TEXT_NONE; /* turn the chain round: `from` becomes where the next one ends */
    for (uint32_t at = (uint32_t)word.n; at > 0;) {
        const uint32_t from = w[at].from;
        w[at].from = next;
        next = at;
        at = from;
    }
    for (uint32_t at = 0; next != NB_TEXT_NONE;) {
        uint32_t end = next;
        next = w[end].from;
        if (unk >= 0 && w[end].id == unk) /* with all that follow it */
            for (; next != NB_TEXT_NONE && w[next].id == unk; next = w[next].from)
                end = next;
        NB_TRY(push_piece(e, (struct nb_text){word.s + at, end - at}));
        at = end;
    }
    return NB_OK;
}
