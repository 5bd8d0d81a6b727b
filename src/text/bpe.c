/* text/bpe.c: byte-pair encoding of one word.
 *
 * Sennrich et al. 2016 (arXiv 1508.07909): as long as there is a pair of neighbours with a merge, the one
 * of the lowest rank, leftmost on a tie, becomes one symbol. Short words are scanned; long ones use a
 * heap of (rank, position) over a linked list, O(n log n). SentencePiece by scores is the same thing with
 * ranks made from scores.
 * A word may be the whole text (SentencePiece): it is then cut where no merged token spans the seam,
 * which changes no id.
 */
#include "text/text_internal.h"

#include <string.h>

#define SHORT_WORD 32u
#define SEAM_BITS  20u

/* ---- pair table ---- */
static size_t pair_hash(uint64_t key)
{
    key *= UINT64_C(0x9e3779b97f4a7c15);
    return (size_t)(key ^ key >> 32);
}

enum nb_status nb_bpe_reserve(struct nb_bpe *b, size_t n_pairs)
{
    size_t size = 16, wanted;
    if (!nb_mul_size(&wanted, n_pairs, 2))
        return NB_ERR_NOMEM;
    while (size < wanted)
        size *= 2;
    struct nb_pair *pairs = nb_alloc(b->a, size, sizeof(*pairs));
    if (pairs == NULL)
        return NB_ERR_NOMEM;
    for (size_t i = 0; i < size; i++)
        pairs[i].key = NB_PAIR_EMPTY;
    nb_free(b->a, b->pairs);
    b->pairs = pairs;
    b->mask = size - 1;
    b->n_pairs = 0;
    return NB_OK;
}

enum nb_status nb_bpe_put(struct nb_bpe *b, uint32_t left, uint32_t right, uint32_t rank,
                          uint32_t id)
{
    uint64_t key = (uint64_t)left << 32 | right;
    size_t i = pair_hash(key) & b->mask;
    while (b->pairs[i].key != NB_PAIR_EMPTY && b->pairs[i].key != key)
        i = (i + 1) & b->mask;
    if (b->pairs[i].key == NB_PAIR_EMPTY) {
        if (b->n_pairs >= b->mask)
            return NB_ERR_INTERNAL; /* more pairs than were reserved */
        b->n_pairs++;
    }
    b->pairs[i] = (struct nb_pair){key, rank, id};
    return NB_OK;
}

/* Fills in what becomes of `s` and its right neighbour. */
static void look_up(const struct nb_bpe *b, struct nb_sym *s, int32_t right)
{
    uint64_t key = (uint64_t)(uint32_t)s->id << 32 | (uint32_t)right;
    size_t i = pair_hash(key) & b->mask;
    while (b->pairs[i].key != key) {
        if (b->pairs[i].key == NB_PAIR_EMPTY) {
            s->rank = NB_TEXT_NONE;
            return;
        }
        i = (i + 1) & b->mask;
    }
    s->rank = b->pairs[i].rank;
    s->merged = b->pairs[i].id;
}

/* ---- seams ---- */
static size_t seam_bit(uint32_t a, uint32_t b)
{
    uint64_t h = ((uint64_t)a << 21 | b) * UINT64_C(0x9e3779b97f4a7c15);
    return (size_t)(h >> (64 - SEAM_BITS));
}

enum nb_status nb_bpe_note_seams(struct nb_bpe *b, struct nb_text t)
{
    size_t len;
    if (b->seams == NULL) {
        b->seams = nb_alloc_zero(b->a, (1u << SEAM_BITS) / 64, sizeof(*b->seams));
        if (b->seams == NULL)
            return NB_ERR_NOMEM;
    }
    if (t.n == 0)
        return NB_OK;
    uint32_t before = nb_utf8_take(t.s, t.n, &len);
    for (size_t i = len; i < t.n; i += len) {
        uint32_t cp = nb_utf8_take(t.s + i, t.n - i, &len);
        size_t bit = seam_bit(before, cp);
        b->seams[bit / 64] |= UINT64_C(1) << bit % 64;
        before = cp;
    }
    return NB_OK;
}

void nb_bpe_fini(struct nb_bpe *b)
{
    nb_free(b->a, b->pairs);
    nb_free(b->a, b->seams);
    nb_map_fini(&b->words);
    b->pairs = NULL;
    b->seams = NULL;
}

/* ---- symbols ---- */
static int32_t char_id(const struct nb_tokenizer *tok, struct nb_text c)
{
    uint64_t id;
    if (c.n == 1 && !tok->bpe.byte_level)
        return tok->bpe.byte_id[(uint8_t)c.s[0]];
    if (!nb_map_get(&tok->ids, c.s, c.n, &id) || !tok->in_model[id])
        return -1;
    return (int32_t)id;
}

/* A word on its way to symbols. An unknown character waits in `unk`, to be fused with the next one. */
struct building {
    struct nb_sym *syms;
    size_t n;
    bool unk;
};

static void add_unknown(const struct nb_bpe *b, struct building *w, struct nb_text c)
{
    bool all = b->byte_fallback;
    for (size_t i = 0; i < c.n && all; i++)
        all = b->fallback_id[(uint8_t)c.s[i]] >= 0;
    if (all) {
        for (size_t i = 0; i < c.n; i++)
            w->syms[w->n++].id = b->fallback_id[(uint8_t)c.s[i]];
        return;
    }
    if (b->unk < 0)
        return; /* no token for it: left out, as Hugging Face does */
    if (w->unk && !b->fuse_unk)
        w->syms[w->n++].id = b->unk;
    w->unk = true;
}

static void add_char(const struct nb_tokenizer *tok, struct building *w, struct nb_text c)
{
    int32_t id = char_id(tok, c);
    if (id < 0) {
        add_unknown(&tok->bpe, w, c);
        return;
    }
    if (w->unk)
        w->syms[w->n++].id = tok->bpe.unk;
    w->unk = false;
    w->syms[w->n++].id = id;
}

static size_t build(struct nb_encoder *e, struct nb_text word)
{
    const struct nb_tokenizer *tok = e->tok;
    struct building w = {e->syms, 0, false};
    size_t len = 1;
    for (size_t i = 0; i < word.n; i += len) {
        char mapped[4];
        uint8_t byte = (uint8_t)word.s[i];
        if (!tok->bpe.byte_level) {
            (void)nb_utf8_take(word.s + i, word.n - i, &len);
            add_char(tok, &w, (struct nb_text){word.s + i, len});
        } else if (tok->bpe.byte_id[byte] >= 0 && !w.unk) {
            w.syms[w.n++].id = tok->bpe.byte_id[byte];
        } else {
            size_t n = nb_utf8_put(mapped, nb_byte_to_char(byte));
            add_char(tok, &w, (struct nb_text){mapped, n});
        }
    }
    if (w.unk)
        w.syms[w.n++].id = tok->bpe.unk;
    return w.n;
}

/* ---- merging ---- */
static size_t merge_short(const struct nb_bpe *b, struct nb_sym *s, size_t n)
{
    for (size_t i = 0; i + 1 < n; i++)
        look_up(b, &s[i], s[i + 1].id);
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (s[i].rank < s[best].rank)
                best = i;
        if (s[best].rank == NB_TEXT_NONE)
            break;
        s[best].id = (int32_t)s[best].merged;
        memmove(s + best + 1, s + best + 2, (n - best - 2) * sizeof(*s));
        n--;
        if (best + 1 < n)
            look_up(b, &s[best], s[best + 1].id);
        if (best > 0)
            look_up(b, &s[best - 1], s[best].id);
    }
    return n;
}

static bool offer(struct nb_encoder *e, struct nb_sym *s, uint32_t i)
{
    s[i].rank = NB_TEXT_NONE;
    if (s[i].next == NB_TEXT_NONE)
        return true;
    look_up(&e->tok->bpe, &s[i], s[s[i].next].id);
    return s[i].rank == NB_TEXT_NONE || nb_heap_push(&e->heap, (uint64_t)s[i].rank << 32 | i);
}

static enum nb_status merge_long(struct nb_encoder *e, struct nb_sym *s, size_t *n)
{
    size_t out = 0;
    bool ok = true;
    e->heap.n = 0;
    for (size_t i = 0; i < *n; i++) {
        s[i].prev = i == 0 ? NB_TEXT_NONE : (uint32_t)i - 1;
        s[i].next = i + 1 == *n ? NB_TEXT_NONE : (uint32_t)i + 1;
    }
    for (size_t i = 0; i < *n && ok; i++)
        ok = offer(e, s, (uint32_t)i);
    while (ok && e->heap.n > 0) {
        uint64_t key = nb_heap_pop(&e->heap);
        uint32_t i = (uint32_t)key, right;
        if (s[i].id < 0 || s[i].rank != (uint32_t)(key >> 32))
            continue; /* the pair is gone */
        right = s[i].next;
        s[i].id = (int32_t)s[i].merged;
        s[right].id = -1;
        s[i].next = s[right].next;
        if (s[i].next != NB_TEXT_NONE)
            s[s[i].next].prev = i;
        ok = offer(e, s, i) && (s[i].prev == NB_TEXT_NONE || offer(e, s, s[i].prev));
    }
    if (!ok)
        NB_FAIL(e->err, NB_ERR_NOMEM, "merging a word of %zu symbols: out of memory", *n);
    for (size_t i = 0; i < *n; i++)
        if (s[i].id >= 0)
            s[out++].id = s[i].id;
    *n = out;
    return NB_OK;
}

/* ---- words ---- */
enum nb_status nb_bpe_word(struct nb_encoder *e, struct nb_text word)
{
    const struct nb_bpe *b = &e->tok->bpe;
    uint64_t id;
    /* One symbol per byte is the most (two where a character of the byte alphabet falls back itself),
     * and one more for an unknown that waits. */
    size_t need = word.n * (b->byte_level && b->byte_fallback ? 2 : 1) + 1;
    if (b->ignore_merges && nb_map_get(&b->words, word.s, word.n, &id))
        return nb_ids_push(e->ids, (int32_t)id, e->err);
    if (e->cap_syms < need) {
        size_t cap = NB_MAX(need + need / 2, 256u);
        struct nb_sym *syms = nb_alloc(e->tok->a, cap, sizeof(*syms));
        if (syms == NULL)
            NB_FAIL(e->err, NB_ERR_NOMEM, "a word of %zu bytes: out of memory", word.n);
        nb_free(e->tok->a, e->syms);
        e->syms = syms;
        e->cap_syms = cap;
    }
    size_t n = build(e, word);
    if (n <= SHORT_WORD)
        n = merge_short(b, e->syms, n);
    else
        NB_TRY(merge_long(e, e->syms, &n));
    NB_TRY(nb_ids_reserve(e->ids, n, e->err));
    for (size_t i = 0; i < n; i++)
        e->ids->data[e->ids->n++] = e->syms[i].id;
    return NB_OK;
}

/* A place where the word can be cut: between two known characters that stand side by side in no merged
 * token. Only before a visible space, where nearly all such places are. Returns 0 if there is none. */
size_t nb_bpe_seam(const struct nb_tokenizer *tok, struct nb_text word)
{
    size_t len, before = 0;
    uint32_t last = 0;
    if (tok->bpe.seams == NULL)
        return 0;
    for (size_t i = 0; i < word.n; i += len) {
        uint32_t cp = nb_utf8_take(word.s + i, word.n - i, &len);
        if (cp == 0x2581 && i > 0) {
            size_t bit = seam_bit(last, cp);
            if ((tok->bpe.seams[bit / 64] >> bit % 64 & 1) == 0 &&
                char_id(tok, (struct nb_text){word.s + before, i - before}) >= 0)
                return i;
        }
        last = cp;
        before = i;
    }
    return 0;
}
