/* numfmt/min_k.c: what q2_k, q4_k and q5_k share: value = (d * scale) * code - dmin * minimum, the twelve bytes
 * of 6-bit scales and minima (q4_k and q5_k), and the search that fits one sub-block again
 * (docs/formats/ggml-blocks.md).
 *
 *   j < 4: sc = s[j] & 63, m = s[j + 4] & 63;
 *   j >= 4: sc = (s[j + 4] & 15) | (s[j - 4] >> 6) << 4, m = (s[j + 4] >> 4) | (s[j] >> 6) << 4
 */
#include "numfmt/min_k.h"

#include <math.h>

enum { SUBS = NB_MIN_K_SUBS, MAX_SUB = NB_MIN_K_SUB };

static void scales_of(uint8_t *sc, uint8_t *m, const uint8_t *s)
{
    for (size_t j = 0; j < 4; j++) {
        sc[j] = s[j] & 63;
        m[j] = s[j + 4] & 63;
        sc[j + 4] = (uint8_t)((s[j + 8] & 15) | (s[j] >> 6) << 4);
        m[j + 4] = (uint8_t)((s[j + 8] >> 4) | (s[j + 4] >> 6) << 4);
    }
}

void nb_min_k_derive(struct nb_grid *g, uint32_t s)
{
    g->scale[s] = g->d * (float)g->scale_code[s];
    g->offset[s] = -(g->dmin * (float)g->min_code[s]);
}

void nb_min_k_read(struct nb_grid *g, const uint8_t *p)
{
    uint8_t sc[SUBS];
    uint8_t m[SUBS];
    memset(g, 0, sizeof *g);
    g->d = nb_f16_to_f32(nb_load_u16(p));
    g->dmin = nb_f16_to_f32(nb_load_u16(p + 2));
    scales_of(sc, m, p + 4);
    for (uint32_t s = 0; s < SUBS; s++) {
        g->scale_code[s] = sc[s];
        g->min_code[s] = m[s];
        nb_min_k_derive(g, s);
    }
}

void nb_min_k_write(uint8_t *p, const struct nb_grid *g)
{
    nb_store_u16(p, nb_f32_to_f16(g->d));
    nb_store_u16(p + 2, nb_f32_to_f16(g->dmin));
    for (size_t j = 0; j < 4; j++) {
        const unsigned sc_lo = (unsigned)g->scale_code[j];
        const unsigned sc_hi = (unsigned)g->scale_code[j + 4];
        const unsigned m_lo = (unsigned)g->min_code[j];
        const unsigned m_hi = (unsigned)g->min_code[j + 4];
        p[4 + j] = (uint8_t)(sc_lo | (sc_hi >> 4) << 6);
        p[8 + j] = (uint8_t)(m_lo | (m_hi >> 4) << 6);
        p[12 + j] = (uint8_t)((sc_hi & 15U) | (m_hi & 15U) << 4);
    }
}

int32_t nb_min_k_round(const struct nb_min_k *k, const struct nb_grid *g, uint32_t i, float x,
                       float *value)
{
    const uint32_t s = i / k->sub;
    const int32_t code = nb_code(x - g->offset[s], nb_inverse(g->scale[s]), 0.0F, k->top);
    *value = g->scale[s] * (float)code + g->offset[s];
    return code;
}

/* ---- one sub-block again ---- */

enum { TRIALS = 8, SPANS = 24, WALKS = 4 };

/* Of the sub-block at hand: values, weights, and sums that no trial changes. */
struct again {
    uint32_t n;
    float top, scale_top, d, dmin;
    float x[MAX_SUB], w[MAX_SUB];
    float lo, hi, sw, sx, sxx;
};

/* Integer scales and minima of eight trials, and what they lose. */
struct pairs {
    float scale[TRIALS], min[TRIALS], error[TRIALS];
};

static void start_trials(struct nb_trials *t, const struct again *a)
{
    t->x = a->x;
    t->w = a->w;
    t->n = a->n;
    t->lo = 0.0F;
    t->hi = a->top;
    t->n_trials = TRIALS;
}

static void set_pairs(struct nb_trials *t, const struct again *a, const struct pairs *p)
{
    start_trials(t, a);
    for (size_t k = 0; k < TRIALS; k++) {
        t->scale[k] = a->d * p->scale[k];
        t->offset[k] = -(a->dmin * p->min[k]);
        t->inv[k] = nb_inverse(t->scale[k]);
    }
}

/* What eight pairs lose, each value on its nearest code. */
static void errors_of(struct pairs *p, const struct again *a)
{
    struct nb_trials t;
    set_pairs(&t, a, p);
    nb_kernels_get()->trial_error_f32(p->error, &t);
}

/* Keeps the trials that are better, each at its place. */
static void keep_better(struct pairs *best, const struct pairs *p)
{
    for (size_t k = 0; k < TRIALS; k++) {
        const bool better = p->error[k] < best->error[k];
        best->scale[k] = better ? p->scale[k] : best->scale[k];
        best->min[k] = better ? p->min[k] : best->min[k];
        best->error[k] = better ? p->error[k] : best->error[k];
    }
}

/* The pairs that suit the codes of eight scales and offsets best: least squares, rounded one after the
 * other. Their errors as the sums say, which is no less than the truth. */
static void pairs_for(struct pairs *p, const struct again *a, const struct nb_trials *t)
{
    struct nb_trial_sums s;
    const float inv_d = nb_inverse(a->d);
    const float inv_dmin = nb_inverse(a->dmin) * (1.0F / a->sw);
    nb_kernels_get()->trial_sums_f32(&s, t);
    for (size_t k = 0; k < TRIALS; k++) {
        const float det = a->sw * s.ll[k] - s.l[k] * s.l[k];
        const bool flat = !(det > 1e-6F * a->sw * s.ll[k]);
        const float exact = (a->sw * s.lx[k] - a->sx * s.l[k]) / (flat ? 1.0F : det);
        const float want = flat ? t->scale[k] : exact;
        const float sc = nb_whole(nb_clamp(want * inv_d, 0.0F, a->scale_top));
        const float step = a->d * sc;
        const float m = nb_whole(nb_clamp((step * s.l[k] - a->sx) * inv_dmin, 0.0F, a->scale_top));
        const float o = -(a->dmin * m);
        p->scale[k] = sc;
        p->min[k] = m;
        p->error[k] = a->sxx + step * (step * s.ll[k] - 2.0F * s.lx[k]) +
                      o * (o * a->sw + 2.0F * (step * s.l[k] - a->sx));
    }
}

static void load_again(struct again *a, const struct nb_min_k *k, const struct nb_grid *g,
                       const float *x, const float *importance)
{
    *a = (struct again){.n = k->sub, .top = k->top, .scale_top = (float)k->scale_top};
    a->d = g->d;
    a->dmin = g->dmin;
    a->hi = x[0];
    nb_numfmt_weights(a->w, importance, k->sub);
    for (uint32_t i = 0; i < k->sub; i++) {
        a->x[i] = x[i];
        a->lo = x[i] < a->lo ? x[i] : a->lo;
        a->hi = x[i] > a->hi ? x[i] : a->hi;
        a->sw += a->w[i];
        a->sx += a->w[i] * x[i];
        a->sxx += a->w[i] * x[i] * x[i];
    }
}

/* All pairs there are, the sixteen minima of a scale at once. */
static void try_all(struct pairs *best, const struct again *a)
{
    struct nb_trials t;
    float error[NB_TRIALS];
    start_trials(&t, a);
    t.n_trials = NB_TRIALS;
    for (size_t m = 0; m < NB_TRIALS; m++)
        t.offset[m] = -(a->dmin * (float)m);
    for (size_t sc = 0; sc < NB_TRIALS; sc++) {
        const float scale = a->d * (float)sc;
        const float inv = nb_inverse(scale);
        for (size_t m = 0; m < NB_TRIALS; m++) {
            t.scale[m] = scale;
            t.inv[m] = inv;
        }
        nb_kernels_get()->trial_error_f32(error, &t);
        for (size_t m = 0; m < NB_TRIALS; m++)
            if (error[m] < best->error[0]) {
                best->error[0] = error[m];
                best->scale[0] = (float)sc;
                best->min[0] = (float)m;
            }
    }
}

/* The smallest scale that may pay, in units of d: less than the one that spans the values where these that
 * lie far out count little. */
static float first_scale(const struct again *a, float middle)
{
    const float mean = a->sx / a->sw;
    const float variance = a->sxx / a->sw - mean * mean;
    const float sigma = variance > 0.0F ? sqrtf(variance) : 0.0F;
    const float low = (a->top > 15.0F ? 3.6F : 3.2F) * sigma * (1.0F / a->top) * nb_inverse(a->d);
    return nb_whole(nb_clamp(low, 0.3F * middle, 0.8F * middle));
}

/* Scales up to an eighth larger than the one that spans the values, each with offsets from where the lowest
 * code holds the lowest value to where the highest holds the highest, and half a step beyond: eight of them,
 * more where codes are many. */
static void try_spans(struct pairs *best, const struct again *a)
{
    const float middle =
        nb_clamp((a->hi - a->lo) * (1.0F / a->top) * nb_inverse(a->d), 1.0F, a->scale_top);
    const float first = first_scale(a, middle);
    const float last = nb_clamp(1.125F * middle + 1.0F, 0.0F, a->scale_top);
    const size_t n = a->top > 15.0F ? 2 : 1;
    const float step = 1.0F + nb_whole((last - first) * (1.0F / (float)SPANS));
    for (float sc = first; sc <= last; sc += step) {
        struct nb_trials t;
        struct pairs p;
        const float s = a->d * sc;
        const float other = a->hi - a->top * s;
        const float low = (other < a->lo ? other : a->lo) - 0.5F * s;
        const float high = (other < a->lo ? a->lo : other) + 0.5F * s;
        const float apart = (high - low) * (1.0F / (float)(n * TRIALS));
        start_trials(&t, a);
        for (size_t part = 0; part < n; part++) {
            for (size_t k = 0; k < TRIALS; k++) {
                t.scale[k] = s;
                t.inv[k] = nb_inverse(s);
                t.offset[k] = low + apart * ((float)(n * k + part) + 0.5F);
            }
            pairs_for(&p, a, &t);
            keep_better(best, &p);
        }
    }
}

/* Codes and pairs in turns, from all eight. */
static void settle(struct pairs *best, const struct again *a)
{
    for (int turn = 0; turn < 2; turn++) {
        struct nb_trials t;
        struct pairs p;
        errors_of(best, a);
        set_pairs(&t, a, best);
        pairs_for(&p, a, &t);
        keep_better(best, &p);
    }
    errors_of(best, a);
}

static size_t least(const float *error)
{
    size_t at = 0;
    for (size_t k = 1; k < TRIALS; k++)
        at = error[k] < error[at] ? k : at;
    return at;
}

/* The neighbours of the best pair: a scale to either side, and the same one, with minima nearby. */
static void try_around(struct pairs *best, const struct again *a, float sc, float m)
{
    static const float scales[3][TRIALS] = {
        {-1, -1, -1, -1, -1, -1, -1, -1}, {0, 0, 0, 0, 0, 0, 1, 1}, {1, 1, 1, 1, 1, 1, 2, -2}};
    static const float mins[3][TRIALS] = {
        {-4, -3, -2, -1, 0, 1, 2, 3}, {-3, -2, -1, 1, 2, 3, -4, -3}, {-2, -1, 0, 1, 2, 3, 0, 0}};
    for (size_t k = 0; k < NB_COUNTOF(scales); k++) {
        struct pairs p;
        for (size_t t = 0; t < TRIALS; t++) {
            p.scale[t] = nb_clamp(sc + scales[k][t], 0.0F, a->scale_top);
            p.min[t] = nb_clamp(m + mins[k][t], 0.0F, a->scale_top);
        }
        errors_of(&p, a);
        keep_better(best, &p);
    }
}

/* From neighbour to better neighbour. */
static void walk(struct pairs *best, const struct again *a)
{
    for (int turn = 0; turn < WALKS; turn++) {
        const size_t at = least(best->error);
        const float sc = best->scale[at];
        const float m = best->min[at];
        try_around(best, a, sc, m);
        const size_t now = least(best->error);
        if (best->scale[now] == sc && best->min[now] == m)
            return;
    }
}

/* d and dmin are frozen. With 4-bit integers every pair is tried; with 6-bit ones the pairs that least squares
 * finds from many starts, then the neighbours of the best. */
void nb_min_k_refit(const struct nb_min_k *k, struct nb_grid *g, uint32_t s, const float *x,
                    const float *importance)
{
    struct again a;
    struct pairs best;
    load_again(&a, k, g, x, importance);
    for (size_t t = 0; t < TRIALS; t++) {
        best.scale[t] = (float)g->scale_code[s];
        best.min[t] = (float)g->min_code[s];
        best.error[t] = INFINITY;
    }
    errors_of(&best, &a);
    if (k->scale_top < 16) {
        try_all(&best, &a);
    } else {
        try_spans(&best, &a);
        settle(&best, &a);
        walk(&best, &a);
    }
    const size_t at = least(best.error);
    g->scale_code[s] = (int16_t)best.scale[at];
    g->min_code[s] = (int16_t)best.min[at];
    nb_min_k_derive(g, s);
}

void nb_min_k_values(const struct nb_min_k *k, const struct nb_grid *g, const int8_t *codes,
                     float *dst)
{
    for (size_t s = 0; s < NB_MIN_K_BLOCK / k->sub; s++)
        for (size_t i = s * k->sub; i < (s + 1) * k->sub; i++)
            dst[i] = g->scale[s] * (float)codes[i] + g->offset[s];
}
