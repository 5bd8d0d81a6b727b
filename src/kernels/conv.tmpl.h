/* kernels/conv.tmpl.h: convolutions of single channels, and what follows a convolution, over sixteen lanes.
 *
 * Every channel of every output is one chain of fma over the taps, in their order. Four outputs go through the
 * taps together: enough chains to hide the latency of fma, and a tap's weights are loaded once for all.
 */
#include "kernels/kernels.h"
#include "kernels/tile.h"

#define STEP 16

#define ROW(r)                                                                                     \
    const float *const *x##r = d->x + (row + (r)) * d->n_taps;                                     \
    struct v16 s##r = b;
#define ADD(r) s##r = v16_fma(whole ? v16_load(x##r[t] + i) : v16_load_n(x##r[t] + i, n), w, s##r);
#define PUT(r)                                                                                     \
    if (whole)                                                                                     \
        v16_store(d->y + (row + (r)) * d->y_stride + i, s##r);                                     \
    else                                                                                           \
        v16_store_n(d->y + (row + (r)) * d->y_stride + i, s##r, n);

/* n channels of as many outputs as EACH names; n == STEP: the whole vector. */
#define OUTPUTS_TOGETHER(name, EACH)                                                               \
    static inline void name(const struct nb_dwconv *d, size_t row, size_t i, size_t n)             \
    {                                                                                              \
        const bool whole = n == STEP;                                                              \
        const struct v16 b = whole ? v16_load(d->bias + i) : v16_load_n(d->bias + i, n);           \
        const float *v = d->w + i;                                                                 \
        EACH(ROW)                                                                                  \
        for (size_t t = 0; t < d->n_taps; t++, v += d->n) {                                        \
            const struct v16 w = whole ? v16_load(v) : v16_load_n(v, n);                           \
            EACH(ADD)                                                                              \
        }                                                                                          \
        EACH(PUT)                                                                                  \
    }

OUTPUTS_TOGETHER(four_outputs, EACH4)
OUTPUTS_TOGETHER(one_output, EACH1)

typedef void outputs_fn(const struct nb_dwconv *d, size_t row, size_t i, size_t n);

static inline void all_channels(outputs_fn *outputs, const struct nb_dwconv *d, size_t row)
{
    size_t i = 0;
    for (; i + STEP <= d->n; i += STEP)
        outputs(d, row, i, STEP);
    if (i < d->n)
        outputs(d, row, i, d->n - i);
}

void NB_FN(dwconv_f32_f32_f32)(const struct nb_dwconv *d)
{
    size_t r = 0;
    for (; r + 4 <= d->n_rows; r += 4)
        all_channels(four_outputs, d, r);
    for (; r < d->n_rows; r++)
        all_channels(one_output, d, r);
}

static inline struct v16 between(struct v16 x, struct v16 low, struct v16 high)
{
    x = v16_if_less(x, low, low, x);
    return v16_if_less(high, x, high, x);
}

void NB_FN(clip_f32)(float *y, const float *x, size_t n, float low, float high)
{
    const struct v16 a = v16_set1(low), b = v16_set1(high);
    size_t i = 0;
    for (; i + STEP <= n; i += STEP)
        v16_store(y + i, between(v16_load(x + i), a, b));
    if (i < n)
        v16_store_n(y + i, between(v16_load_n(x + i, n - i), a, b), n - i);
}
