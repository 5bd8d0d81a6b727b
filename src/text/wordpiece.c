/* text/wordpiece.c: WordPiece, the model of BERT (Wu et al. 2016, arXiv 1609.08144; greedy as in BERT):
 * a word is cut from the left, each time the longest token; all but the first bear a prefix ("##"). A
 * word that cannot be cut, or is too long, is one unknown token.
 */
#include "text/text_internal.h"

static enum nb_status missing_unknown(struct nb_error *err)
{
    NB_FAIL(err, NB_ERR_FORMAT,
            "text that no token spells, and the vocabulary has no unknown token");
}

static bool too_long(const struct nb_tokenizer *tok, struct nb_text word)
{
    size_t chars = 0;
    for (size_t i = 0; i < word.n; i++)
        chars += ((uint8_t)word.s[i] & 0xc0) != 0x80;
    return chars > tok->pieces_model.max_chars;
}

/* The longest token that continues at `node`; *len bytes of s. -1: none. */
static int32_t longest(const struct nb_trie *t, uint32_t node, struct nb_text s, size_t *len)
{
    int32_t best = -1;
    for (size_t i = 0; i < s.n; i++) {
        node = nb_trie_step(t, node, (uint8_t)s.s[i]);
        if (node == NB_TEXT_NONE)
            break;
        const int32_t id = nb_trie_id(t, node);
        if (id >= 0) {
            best = id;
            *len = i + 1;
        }
    }
    return best;
}

enum nb_status nb_wordpiece_word(struct nb_encoder *e, struct nb_text word)
{
    const struct nb_tokenizer *tok = e->tok;
    const struct nb_pieces *m = &tok->pieces_model;
    const size_t before = e->ids->n;
    size_t len = 0;
    bool bad = too_long(tok, word);
    for (size_t at = 0; at < word.n && !bad; at += len) {
        const uint32_t root = at == 0 ? 0 : m->inside;
        const int32_t id =
            root == NB_TEXT_NONE
                ? -1
                : longest(&m->trie, root, (struct nb_text){word.s + at, word.n - at}, &len);
        bad = id < 0;
        if (!bad)
            NB_TRY(nb_ids_push(e->ids, id, e->err));
    }
    if (!bad)
        return NB_OK;
    e->ids->n = before;
    if (tok->vocab.unk < 0)
        return missing_unknown(e->err);
    return nb_ids_push(e->ids, tok->vocab.unk, e->err);
}
