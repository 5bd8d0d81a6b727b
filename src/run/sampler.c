/* run/sampler.c: picks the next token.
 *
 * In this order: repetition penalty (Keskar et al. 2019), top-k, top-p (Holtzman et al. 2020) and min-p
 * (Nguyen et al. 2024) on the probabilities as they are, temperature, then one draw. Ties go to the
 * lower id; exp is our own and sums have a fixed order, so a seed gives the same text on every machine.
 * Allocates when created only.
 */
#include "run/run.h"

#include "math/math.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* Owns: the arrays. */
struct nb_sampler {
    const struct nb_allocator *a;
    struct nb_sampler_options o;
    struct nb_rng rng;
    uint32_t n_vocab;
    float *logits;    /* (n_vocab): after penalties                                    */
    uint32_t *heap;   /* (n_vocab): ids; the best of the first n_heap is heap[0]       */
    uint32_t *sorted; /* (n_vocab): ids taken from the heap, best first                */
    uint32_t n_heap, n_sorted;
    uint32_t *last; /* (repeat_last): ring of the tokens accepted */
    uint32_t n_last, next_last;
};

void nb_sampler_options_init(struct nb_sampler_options *o)
{
    *o = (struct nb_sampler_options){.temperature = 0.8F,
                                     .top_k = 40,
                                     .top_p = 0.95F,
                                     .min_p = 0.05F,
                                     .repeat_penalty = 1.0F,
                                     .repeat_last = 64,
                                     .seed = 42};
}

/* Written so that NaN fails. */
static enum nb_status check_options(const struct nb_sampler_options *o, struct nb_error *err)
{
    if (!(o->temperature >= 0.0F && o->temperature <= FLT_MAX))
        NB_FAIL(err, NB_ERR_ARG, "sampler: temperature %g; expected 0 or more",
                (double)o->temperature);
    if (!(o->top_p > 0.0F && o->top_p <= 1.0F))
        NB_FAIL(err, NB_ERR_ARG, "sampler: top-p %g; expected more than 0, at most 1",
                (double)o->top_p);
    if (!(o->min_p >= 0.0F && o->min_p <= 1.0F))
        NB_FAIL(err, NB_ERR_ARG, "sampler: min-p %g; expected 0 to 1", (double)o->min_p);
    if (!(o->repeat_penalty > 0.0F && o->repeat_penalty <= FLT_MAX))
        NB_FAIL(err, NB_ERR_ARG, "sampler: repetition penalty %g; expected more than 0",
                (double)o->repeat_penalty);
    return NB_OK;
}

enum nb_status nb_sampler_create(struct nb_sampler **out, const struct nb_sampler_options *o,
                                 uint32_t n_vocab, const struct nb_allocator *a,
                                 struct nb_error *err)
{
    *out = NULL;
    NB_TRY(check_options(o, err));
    if (n_vocab == 0)
        NB_FAIL(err, NB_ERR_ARG, "sampler: a vocabulary of 0 tokens");
    struct nb_sampler *s = nb_alloc_zero(a, 1, sizeof *s);
    if (!s)
        NB_FAIL(err, NB_ERR_NOMEM, "sampler: out of memory");
    s->a = a;
    s->o = *o;
    s->rng.seed = o->seed;
    s->n_vocab = n_vocab;
    s->logits = nb_alloc(a, n_vocab, sizeof *s->logits);
    s->heap = nb_alloc(a, n_vocab, sizeof *s->heap);
    s->sorted = nb_alloc(a, n_vocab, sizeof *s->sorted);
    s->last = o->repeat_last ? nb_alloc(a, o->repeat_last, sizeof *s->last) : NULL;
    if (!s->logits || !s->heap || !s->sorted || (o->repeat_last && !s->last)) {
        nb_sampler_destroy(s);
        NB_FAIL(err, NB_ERR_NOMEM, "sampler: no memory for a vocabulary of %u tokens", n_vocab);
    }
    *out = s;
    return NB_OK;
}

void nb_sampler_destroy(struct nb_sampler *s)
{
    if (!s)
        return;
    nb_free(s->a, s->logits);
    nb_free(s->a, s->heap);
    nb_free(s->a, s->sorted);
    nb_free(s->a, s->last);
    nb_free(s->a, s);
}

void nb_sampler_accept(struct nb_sampler *s, uint32_t token)
{
    if (s->o.repeat_last == 0 || token >= s->n_vocab)
        return;
    s->last[s->next_last] = token;
    s->next_last = (s->next_last + 1) % s->o.repeat_last;
    if (s->n_last < s->o.repeat_last)
        s->n_last++;
}

/* A copy fit for arithmetic: NaN is impossible to pick, infinity is merely the largest. */
static void copy_logits(struct nb_sampler *s, const float *logits)
{
    for (uint32_t i = 0; i < s->n_vocab; i++) {
        const float x = logits[i];
        s->logits[i] = isnan(x) ? -INFINITY : x > FLT_MAX ? FLT_MAX : x;
    }
}

/* Each token seen lately once, however often it occurred. */
static void penalize(struct nb_sampler *s)
{
    const float penalty = s->o.repeat_penalty;
    if (penalty == 1.0F)
        return;
    for (uint32_t i = 0; i < s->n_last; i++) {
        const uint32_t id = s->last[i];
        uint32_t before = 0;
        while (before < i && s->last[before] != id)
            before++;
        if (before == i)
            s->logits[id] =
                s->logits[id] > 0.0F ? s->logits[id] / penalty : s->logits[id] * penalty;
    }
}

static bool better(const struct nb_sampler *s, uint32_t a, uint32_t b)
{
    return s->logits[a] > s->logits[b] || (s->logits[a] == s->logits[b] && a < b);
}

static void sift_down(struct nb_sampler *s, uint32_t i)
{
    const uint32_t id = s->heap[i];
    for (;;) {
        uint32_t child = 2 * i + 1;
        if (child >= s->n_heap)
            break;
        if (child + 1 < s->n_heap && better(s, s->heap[child + 1], s->heap[child]))
            child++;
        if (!better(s, s->heap[child], id))
            break;
        s->heap[i] = s->heap[child];
        i = child;
    }
    s->heap[i] = id;
}

static void build_heap(struct nb_sampler *s)
{
    s->n_heap = s->n_vocab;
    s->n_sorted = 0;
    for (uint32_t i = 0; i < s->n_vocab; i++)
        s->heap[i] = i;
    for (uint32_t i = s->n_vocab / 2; i-- > 0;)
        sift_down(s, i);
}

/* Makes sorted[0..n-1] known. n <= n_vocab. */
static void sort_until(struct nb_sampler *s, uint32_t n)
{
    while (s->n_sorted < n) {
        s->sorted[s->n_sorted++] = s->heap[0];
        s->heap[0] = s->heap[--s->n_heap];
        sift_down(s, 0);
    }
}

/* exp(logit - largest logit), sharpened by the temperature */
static double odds(const struct nb_sampler *s, uint32_t id, double temperature)
{
    const double d = (double)s->logits[id] - (double)s->logits[s->sorted[0]];
    return nb_exp(d / temperature);
}

/* How many of the best tokens stay. */
static uint32_t cut(struct nb_sampler *s)
{
    uint32_t most = s->n_vocab;
    double total = 0.0, sum = 0.0;
    if (s->o.top_k && s->o.top_k < most)
        most = s->o.top_k;
    if (most < s->n_vocab)
        sort_until(s, most);
    if (s->o.top_p < 1.0F)
        for (uint32_t i = 0; i < most; i++) /* all tokens: in the order of ids, unsorted */
            total += odds(s, most < s->n_vocab ? s->sorted[i] : i, 1.0);
    for (uint32_t n = 0; n < most; n++) {
        if (s->o.top_p < 1.0F && n && sum >= (double)s->o.top_p * total)
            return n;
        sort_until(s, n + 1);
        const double p = odds(s, s->sorted[n], 1.0);
        if (n && (p < (double)s->o.min_p || p == 0.0))
            return n;
        sum += p;
    }
    return most;
}

uint32_t nb_sampler_pick(struct nb_sampler *s, const float *logits)
{
    copy_logits(s, logits);
    penalize(s);
    build_heap(s);
    sort_until(s, 1);
    const double t = (double)s->o.temperature;
    if (t == 0.0 || s->logits[s->sorted[0]] == -INFINITY)
        return s->sorted[0];
    const uint32_t n = cut(s);
    double total = 0.0, sum = 0.0;
    for (uint32_t i = 0; i < n; i++)
        total += odds(s, s->sorted[i], t);
    const double draw = nb_rng_unit(&s->rng) * total;
    for (uint32_t i = 0; i < n; i++) {
        sum += odds(s, s->sorted[i], t);
        if (draw < sum)
            return s->sorted[i];
    }
    return s->sorted[n - 1];
}
