/* calib/corpus.c: windows spread evenly over texts. */
#include "calib/corpus.h"

struct share {
    uint64_t fills; /* windows the text has room for */
    uint64_t gets;
    uint64_t rest; /* of the division, to order those that get one more */
};

/* The largest remainder first: of equal ones the first text. */
static void deal_rest(struct share *s, size_t n, uint64_t left)
{
    for (; left > 0; left--) {
        size_t best = 0;
        for (size_t i = 1; i < n; i++)
            best = s[i].rest > s[best].rest ? i : best;
        s[best].gets++;
        s[best].rest = 0;
    }
}

/* wanted of all windows among texts, by how many each fills. No text gets more than it fills: with wanted < all
 * its share is below that before the one more. */
static enum nb_status deal(struct share *s, size_t n, uint64_t all, uint64_t wanted,
                           struct nb_error *err)
{
    uint64_t left = wanted;
    for (size_t i = 0; i < n; i++) {
        uint64_t product;
        if (!nb_mul_u64(&product, s[i].fills, wanted))
            NB_FAIL(err, NB_ERR_LIMIT, "%llu windows are too many", (unsigned long long)all);
        s[i].gets = product / all;
        s[i].rest = product % all;
        left -= s[i].gets;
    }
    deal_rest(s, n, left);
    return NB_OK;
}

/* Where window k of `of` begins: what the text has too much is spread before, between and behind them. */
static size_t place(size_t length, uint32_t ctx, uint64_t k, uint64_t of)
{
    const uint64_t spare = length - of * ctx, gaps = 2 * of;
    return (size_t)(k * ctx + spare / gaps * (2 * k + 1) + spare % gaps * (2 * k + 1) / gaps);
}

static enum nb_status share_out(struct share *s, const struct nb_corpus_plan *plan, uint64_t *n,
                                struct nb_error *err)
{
    uint64_t all = 0;
    for (size_t i = 0; i < plan->n_texts; i++) {
        s[i] = (struct share){.fills = plan->texts[i].n / plan->ctx};
        s[i].gets = s[i].fills;
        if (!nb_add_u64(&all, all, s[i].fills))
            NB_FAIL(err, NB_ERR_LIMIT, "the texts are too long");
    }
    if (all == 0)
        NB_FAIL(err, NB_ERR_ARG, "none of %zu texts fills a window of %u tokens", plan->n_texts,
                plan->ctx);
    *n = all;
    const uint64_t wanted = NB_MAX(plan->budget / plan->ctx, 1);
    if (plan->budget == 0 || wanted >= all)
        return NB_OK;
    *n = wanted;
    return deal(s, plan->n_texts, all, wanted, err);
}

static void lay_out(struct nb_window *w, const struct share *s, const struct nb_corpus_plan *plan)
{
    size_t at = 0;
    for (size_t i = 0; i < plan->n_texts; i++)
        for (uint64_t k = 0; k < s[i].gets; k++, at++)
            w[at] = (struct nb_window){
                .text = i,
                .offset = s[i].gets == s[i].fills
                              ? (size_t)(k * plan->ctx)
                              : place(plan->texts[i].n, plan->ctx, k, s[i].gets),
                .held_out = plan->held_every > 0 && at % plan->held_every == plan->held_every - 1};
}

enum nb_status nb_corpus_windows(struct nb_window **out, size_t *n,
                                 const struct nb_corpus_plan *plan, const struct nb_allocator *a,
                                 struct nb_error *err)
{
    uint64_t count = 0;
    *out = NULL;
    *n = 0;
    if (plan->ctx == 0 || plan->n_texts == 0)
        NB_FAIL(err, NB_ERR_ARG, "windows of %u tokens of %zu texts; expected at least 1 of each",
                plan->ctx, plan->n_texts);
    struct share *s = nb_alloc(a, plan->n_texts, sizeof *s);
    if (s == NULL)
        NB_FAIL(err, NB_ERR_NOMEM, "out of memory for %zu texts", plan->n_texts);
    enum nb_status st = share_out(s, plan, &count, err);
    if (st == NB_OK) {
        *out = count <= SIZE_MAX ? nb_alloc(a, (size_t)count, sizeof **out) : NULL;
        if (*out == NULL)
            st = NB_ERROR(err, NB_ERR_NOMEM, "out of memory for %llu windows",
                          (unsigned long long)count);
    }
    if (st == NB_OK) {
        lay_out(*out, s, plan);
        *n = (size_t)count;
    }
    nb_free(a, s);
    return st;
}
