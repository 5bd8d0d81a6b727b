/* kernels/dwconv_u8.tmpl.h: convolutions of single channels over bytes, sixteen sums at a time: sixteen channels of an
 * output, or eight of two outputs.
 *
 * An ISA brings NB_FN(op) and
 *   b16             sixteen bytes: b16_load(p); b16_pair(p, q): eight of each; b16_zero()
 *   struct sum16    sixteen sums, with sum16_zero and sum16_store
 *   struct taps16   the weights of two taps: taps16_of(w, v); sum16_add(sum, x, z, taps): a tap of x, one of z
 *
 * Channels that are no multiple of sixteen, or eight, end with a step that overlaps the one before.
 */
#include "kernels/kernels.h"

#define CHANNELS 16
#define HALF     8

/* Where the step at i of n begins; n >= step. */
static inline size_t step_at(size_t i, size_t step, size_t n)
{
    return i + step <= n ? i : n - step;
}

/* Sixteen channels of four or one outputs: rows is a constant. */
static inline __attribute__((always_inline)) void channels(const struct nb_dwconv_u8 *d, size_t row,
                                                           size_t rows, size_t i)
{
    struct sum16 sum[4];
    for (size_t r = 0; r < rows; r++)
        sum[r] = sum16_zero();
    for (size_t t = 0; t < d->n_taps; t += 2) {
        const bool two = t + 1 < d->n_taps;
        const int8_t *w = d->w + t * d->n + i;
        const struct taps16 taps = taps16_of(b16_load(w), two ? b16_load(w + d->n) : b16_zero());
        const size_t at = d->offset[t] + i, next = d->offset[two ? t + 1 : t] + i;
        for (size_t r = 0; r < rows; r++)
            sum16_add(&sum[r], b16_load(d->x[row + r] + at), b16_load(d->x[row + r] + next), &taps);
    }
    for (size_t r = 0; r < rows; r++)
        sum16_store(d->y + (row + r) * d->y_stride + i, &sum[r]);
}

/* Eight channels of outputs p and q, which may be the same; pairs of those two rows after the other. */
static inline void two_outputs(const struct nb_dwconv_u8 *d, size_t p, size_t q, size_t i)
{
    int32_t y[CHANNELS];
    struct sum16 sum = sum16_zero();
    for (size_t t = 0; t < d->n_taps; t += 2) {
        const bool two = t + 1 < d->n_taps;
        const int8_t *w = d->w + t * d->n + i, *v = w + d->n;
        const struct taps16 taps = taps16_of(b16_pair(w, w), two ? b16_pair(v, v) : b16_zero());
        const size_t at = d->offset[t] + i, next = d->offset[two ? t + 1 : t] + i;
        sum16_add(&sum, b16_pair(d->x[p] + at, d->x[q] + at),
                  b16_pair(d->x[p] + next, d->x[q] + next), &taps);
    }
    sum16_store(y, &sum);
    memcpy(d->y + p * d->y_stride + i, y, HALF * sizeof *y);
    memcpy(d->y + q * d->y_stride + i, y + HALF, HALF * sizeof *y);
}

static void few_channels(const struct nb_dwconv_u8 *d)
{
    for (size_t r = 0; r < d->n_rows; r++)
        for (size_t i = 0; i < d->n; i++) {
            uint32_t sum = 0;
            for (size_t t = 0; t < d->n_taps; t++)
                sum += (uint32_t)(d->x[r][d->offset[t] + i] * d->w[t * d->n + i]);
            d->y[r * d->y_stride + i] = (int32_t)sum;
        }
}

void NB_FN(dwconv_s32_u8_s8)(const struct nb_dwconv_u8 *d)
{
    size_t r = 0;
    if (d->n < HALF) {
        few_channels(d);
        return;
    }
    if (d->n < CHANNELS) {
        for (; r < d->n_rows; r += 2)
            for (size_t i = 0; i < d->n; i += HALF)
                two_outputs(d, r, r + 1 < d->n_rows ? r + 1 : r, step_at(i, HALF, d->n));
        return;
    }
    for (; r + 4 <= d->n_rows; r += 4)
        for (size_t i = 0; i < d->n; i += CHANNELS)
            channels(d, r, 4, step_at(i, CHANNELS, d->n));
    for (; r < d->n_rows; r++)
        for (size_t i = 0; i < d->n; i += CHANNELS)
            channels(d, r, 1, step_at(i, CHANNELS, d->n));
}
