/* math/vq_search.c: the nearest code word, exactly.
 *
 * Eight vectors at a time, one in each lane, meet every code word: sum over d of w (x - c)^2 in the
 * order of d, multiplication and addition rounded separately, so that the lanes change no bit. The
 * first of equal code words wins. Dimensions are unrolled; the vectors of the compiler are 16 bytes,
 * which every CPU has.
 * Left out: bounds that skip code words. They pay from thousands of code words on.
 */
#include "math/math.h"

#include <math.h>
#include <string.h>

#define LANES 8

typedef float v4f __attribute__((vector_size(16)));
typedef int32_t v4i __attribute__((vector_size(16)));

/* (dim, lane) */
struct tile {
    v4f x[NB_VQ_MAX_DIM][2], w[NB_VQ_MAX_DIM][2];
};

static inline v4f pick(v4i mask, v4f yes, v4f no)
{
    v4i y, n;
    v4f r;
    memcpy(&y, &yes, sizeof y);
    memcpy(&n, &no, sizeof n);
    y = (y & mask) | (n & ~mask);
    memcpy(&r, &y, sizeof r);
    return r;
}

static inline v4f spread(float a)
{
    return (v4f){a, a, a, a};
}

/* The two halves of the lanes: TERM adds one dimension to s. */
#define TERM(h, d)                                                                                 \
    if (dim > (d)) {                                                                               \
        const v4f t = x[d][h] - spread(c[d]);                                                      \
        const v4f u = weighted ? t * t * w[d][h] : t * t;                                          \
        s = (d) == 0 ? u : s + u;                                                                  \
    }
#define TERMS(h)                                                                                   \
    TERM(h, 0) TERM(h, 1) TERM(h, 2) TERM(h, 3) TERM(h, 4) TERM(h, 5) TERM(h, 6) TERM(h, 7)

static inline __attribute__((always_inline)) void search_tile(const struct nb_vq_search *q,
                                                              const struct tile *tile, float *best,
                                                              int32_t *index, const uint32_t dim,
                                                              const bool weighted)
{
    const v4f(*x)[2] = tile->x, (*w)[2] = tile->w;
    const float inf = (float)INFINITY;
    v4f low[2] = {spread(inf), spread(inf)};
    v4i at[2] = {{0}, {0}};
    const float *c = q->codebook;
    for (int32_t k = 0; k < (int32_t)q->k; k++, c += dim) {
        const v4i id = {k, k, k, k};
        v4f s = {0};
        TERMS(0)
        v4i less = s < low[0];
        low[0] = pick(less, s, low[0]);
        at[0] = (id & less) | (at[0] & ~less);
        TERMS(1)
        less = s < low[1];
        low[1] = pick(less, s, low[1]);
        at[1] = (id & less) | (at[1] & ~less);
    }
    memcpy(best, low, sizeof low);
    memcpy(index, at, sizeof at);
}

#define DIMENSION(n)                                                                               \
    case n:                                                                                        \
        if (q->n_w > 0)                                                                            \
            search_tile(q, tile, best, index, n, true);                                            \
        else                                                                                       \
            search_tile(q, tile, best, index, n, false);                                           \
        break;

static void search_any(const struct nb_vq_search *q, const struct tile *tile, float *best,
                       int32_t *index)
{
    switch (q->dim) {
        DIMENSION(1)
        DIMENSION(2)
        DIMENSION(3)
        DIMENSION(4)
        DIMENSION(5)
        DIMENSION(6)
        DIMENSION(7)
    default:
        DIMENSION(8)
    }
}

/* Vectors [i, i + n) to the lanes; the rest of the lanes repeat the last. */
static void load_tile(struct tile *tile, const struct nb_vq_search *q, size_t i, size_t n)
{
    float x[NB_VQ_MAX_DIM][LANES], w[NB_VQ_MAX_DIM][LANES];
    for (size_t lane = 0; lane < LANES; lane++) {
        const size_t at = (i + NB_MIN(lane, n - 1)) * q->dim;
        size_t column = q->n_w > 0 ? at % q->n_w : 0;
        for (uint32_t d = 0; d < q->dim; d++) {
            x[d][lane] = q->x[at + d];
            if (q->n_w > 0) {
                w[d][lane] = q->w[column];
                column = column + 1 < q->n_w ? column + 1 : 0;
            }
        }
    }
    memcpy(tile->x, x, sizeof x[0] * q->dim);
    if (q->n_w > 0)
        memcpy(tile->w, w, sizeof w[0] * q->dim);
}

double nb_vq_nearest(const struct nb_vq_search *q, size_t begin, size_t end, uint16_t *index)
{
    double error = 0.0;
    for (size_t i = begin; i < end; i += LANES) {
        const size_t n = NB_MIN(end - i, (size_t)LANES);
        struct tile tile;
        float best[LANES];
        int32_t at[LANES];
        load_tile(&tile, q, i, n);
        search_any(q, &tile, best, at);
        for (size_t lane = 0; lane < n; lane++) {
            index[i - begin + lane] = (uint16_t)at[lane];
            error += (double)best[lane];
        }
    }
    return error;
}
