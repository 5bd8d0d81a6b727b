/* numfmt/iq.c: rounding to a code word, decoding and repacking of the codebook formats. */
#include "numfmt/iq.h"

/* Where a value lies beyond this many steps the best code word no longer depends on how far. */
#define FAR 4096.0F

#define INLINE static inline __attribute__((always_inline))

uint32_t nb_iq_index_of(const struct nb_iq_grid *grid, const int8_t *codes)
{
    int8_t magnitude[NB_IQ_MAX_DIM];
    for (uint32_t j = 0; j < grid->dim; j++)
        magnitude[j] = (int8_t)(codes[j] < 0 ? -codes[j] : codes[j]);
    const int32_t index = nb_iq_index(grid, magnitude);
    nb_assert(index >= 0);
    return (uint32_t)(index < 0 ? 0 : index);
}

INLINE float point_of(const struct nb_iq_grid *grid, uint32_t base, uint32_t dim, const float *a,
                      const float *w, bool flips, int8_t *codes)
{
    float cost[NB_IQ_MAX_LEVELS * NB_IQ_MAX_DIM];
    float price[NB_IQ_MAX_LEVELS * NB_IQ_MAX_DIM];
    float best = 0.0F;
    for (uint32_t d = 0; d < base; d++) {
        const float v = (float)grid->level[d];
        for (uint32_t j = 0; j < dim; j++)
            cost[d * dim + j] = w[j] * (v * (v - 2.0F * a[j]));
    }
    if (!flips) {
        memcpy(codes, grid->value + (size_t)nb_iq_nearest(grid, cost, &best) * dim, dim);
        return best;
    }
    for (uint32_t d = 0; d < base; d++)
        for (uint32_t j = 0; j < dim; j++)
            price[d * dim + j] = w[j] * a[j] * (4.0F * (float)grid->level[d]);
    memcpy(codes, grid->value + (size_t)nb_iq_nearest_flip(grid, cost, price, &best) * dim, dim);
    return best;
}

/* The point (dim) for magnitudes a; flips: one of them, the cheapest, takes the wrong sign. Returns
 * sum w v (v - 2 a). */
static float best_point(const struct nb_iq_grid *grid, const float *a, const float *w, bool flips,
                        int8_t *codes, uint32_t *signs)
{
    const float e = grid->base == 3 ? point_of(grid, 3, 8, a, w, flips, codes)
                                    : point_of(grid, 8, 4, a, w, flips, codes);
    if (!flips)
        return e;
    uint32_t at = 0;
    for (uint32_t j = 1; j < grid->dim; j++)
        if (w[j] * a[j] * (float)codes[j] < w[at] * a[at] * (float)codes[at])
            at = j;
    *signs ^= 1U << at;
    return e;
}

/* Two points whose signs together must be even. */
static void best_pair(const struct nb_iq_grid *grid, const float *a, const float *w, bool odd,
                      int8_t *codes, uint32_t *signs)
{
    const uint32_t dim = grid->dim;
    const float e0 = best_point(grid, a, w, false, codes, signs);
    const float e1 = best_point(grid, a + dim, w + dim, false, codes + dim, signs);
    if (!odd)
        return;
    int8_t flipped[2][NB_IQ_MAX_DIM];
    uint32_t wrong[2] = {0, 0};
    const float f0 = best_point(grid, a, w, true, flipped[0], &wrong[0]);
    const float f1 = best_point(grid, a + dim, w + dim, true, flipped[1], &wrong[1]);
    const uint32_t k = f0 + e1 <= e0 + f1 ? 0 : 1;
    memcpy(codes + k * dim, flipped[k], dim);
    *signs ^= wrong[k] << k * dim;
}

void nb_iq_word(const struct nb_iq_book *b, const float *x, const float *w, float inv,
                int8_t *codes)
{
    static const float ones[NB_IQ_MAX_DIM] = {1.0F, 1.0F, 1.0F, 1.0F, 1.0F, 1.0F, 1.0F, 1.0F};
    float a[NB_IQ_MAX_DIM];
    int8_t magnitude[NB_IQ_MAX_DIM];
    uint32_t signs = 0;
    uint32_t n_minus = 0;
    for (uint32_t j = 0; j < b->word; j++) {
        const float r = x[j] * inv;
        a[j] = r < 0.0F ? -r : r;
        a[j] = a[j] < FAR ? a[j] : FAR;
        signs |= (uint32_t)(r < 0.0F) << j;
        n_minus += r < 0.0F;
    }
    w = w != NULL ? w : ones;
    const bool odd = b->even && n_minus % 2 != 0;
    if (b->word == b->grid->dim)
        best_point(b->grid, a, w, odd, magnitude, &signs);
    else
        best_pair(b->grid, a, w, odd, magnitude, &signs);
    nb_iq_signed(codes, magnitude, signs, b->word);
}

void nb_iq_round(const struct nb_iq_book *b, const struct nb_grid *g, uint32_t i, const float *x,
                 const float *w, int8_t *codes, float *values)
{
    const float scale = g->scale[i / b->sub];
    nb_iq_word(b, x, w, nb_inverse(scale), codes);
    for (uint32_t j = 0; j < b->word; j++)
        values[j] = scale * (float)codes[j];
}

void nb_iq_decode(const struct nb_numfmt *f, const void *src, float *dst, size_t n)
{
    const uint8_t *p = src;
    for (size_t at = 0; at < n; at += f->block, p += f->block_bytes) {
        struct nb_grid g;
        int8_t codes[NB_NUMFMT_MAX_BLOCK];
        f->unpack(&g, codes, p);
        for (size_t s = 0; s < f->block / f->sub; s++)
            for (size_t i = s * f->sub; i < (s + 1) * f->sub; i++)
                dst[at + i] = g.scale[s] * (float)codes[i];
    }
}

void nb_iq_expand(const struct nb_numfmt *f, const void *src, size_t n, int8_t *codes, float *scale)
{
    const uint8_t *p = src;
    const size_t subs = f->block / f->sub;
    for (size_t b = 0; b < n / f->block; b++, p += f->block_bytes) {
        struct nb_grid g;
        f->unpack(&g, codes + b * f->block, p);
        memcpy(scale + b * subs, g.scale, subs * sizeof(float));
    }
}
