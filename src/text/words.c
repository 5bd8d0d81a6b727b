/* text/words.c: words to ids by the tokenizer's model. Words seen before in the same call are copied from
 * the output.
 */
#include "text/text_internal.h"

#include <string.h>

#define MAX_CACHED_BYTES 32u

static struct nb_cached *cache_slot(struct nb_encoder *e, struct nb_text word)
{
    uint64_t h = word.n, part;
    if (e->cache == NULL || word.n > MAX_CACHED_BYTES)
        return NULL;
    for (size_t i = 0; i < word.n; i += 8) {
        part = 0;
        memcpy(&part, word.s + i, NB_MIN(word.n - i, 8u));
        h = (h ^ part) * UINT64_C(0x9e3779b97f4a7c15);
        h ^= h >> 29;
    }
    return &e->cache[(size_t)(h ^ h >> 40) & e->cache_mask];
}

enum nb_status nb_words_one(struct nb_encoder *e, struct nb_text word)
{
    struct nb_cached *c = cache_slot(e, word);
    if (c == NULL)
        return e->tok->word(e, word);
    if (c->s != NULL && c->len == word.n && memcmp(c->s, word.s, word.n) == 0) {
        if (c->n_ids == 0) /* ids->data may still be NULL */
            return NB_OK;
        NB_TRY(nb_ids_reserve(e->ids, c->n_ids, e->err));
        memcpy(e->ids->data + e->ids->n, e->ids->data + c->at, c->n_ids * sizeof(*e->ids->data));
        e->ids->n += c->n_ids;
        return NB_OK;
    }
    size_t at = e->ids->n;
    NB_TRY(e->tok->word(e, word));
    *c = (struct nb_cached){word.s, (uint32_t)word.n, (uint32_t)(e->ids->n - at), at};
    return NB_OK;
}

enum nb_status nb_words_text(struct nb_encoder *e, struct nb_text text)
{
    for (;;) {
        const size_t seam = nb_bpe_seam(e->tok, text);
        if (seam == 0)
            break;
        NB_TRY(nb_words_one(e, (struct nb_text){text.s, seam}));
        text = (struct nb_text){text.s + seam, text.n - seam};
    }
    return nb_words_one(e, text);
}
