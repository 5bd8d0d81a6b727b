/* kernels/dwconv_u8.tmpl.h: convolutions of single channels over bytes, sixteen sums at a time: sixteen channels of an
 * output, or eight of two outputs.
 *
 * An ISA brings NB_FN(op) and
 *   b16             sixteen bytes: b16_load(p); b16_pair(p, q): eight of each; b16_zero()
 *   struct sum16    sixteen sums, with sum16_zero and sum16_store
 *   struct taps16   the weights of two taps: taps16_of(w, v); sum16_add(sum, x, z, taps): a tap of x, one of z
 *
 * Channels that are no multiple of sixteen, or eight, end with a step that overlaps the one before. Where sixteen is a
 * multiple of them, outputs whose windows lie one behind the other (stride 1) are one row of lanes, for which the weights
 * come round.
 */
#include "kernels/kernels.h"

#define CHANNELS   16
#define HALF       8
#define FLAT_PAIRS 32 /* of taps, at most, where weights come round */

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

/* Fewer channels than a step, of outputs r..end. */
static void few_channels(const struct nb_dwconv_u8 *d, size_t r, size_t end)
{
    for (; d->n >= HALF && r < end; r += 2)
        for (size_t i = 0; i < d->n; i += HALF)
            two_outputs(d, r, r + 1 < end ? r + 1 : r, step_at(i, HALF, d->n));
    for (; r < end; r++)
        for (size_t i = 0; i < d->n; i++) {
            uint32_t sum = 0;
            for (size_t t = 0; t < d->n_taps; t++)
                sum += (uint32_t)(d->x[r][d->offset[t] + i] * d->w[t * d->n + i]);
            d->y[r * d->y_stride + i] = (int32_t)sum;
        }
}

/* ---- outputs one behind the other, as one row of lanes ---- */

static void come_round(struct taps16 taps[FLAT_PAIRS], const struct nb_dwconv_u8 *d)
{
    for (size_t t = 0; t < d->n_taps; t += 2) {
        int8_t w[2][CHANNELS] = {{0}};
        for (size_t k = 0; k < 2 && t + k < d->n_taps; k++)
            for (size_t i = 0; i < CHANNELS; i++)
                w[k][i] = d->w[(t + k) * d->n + i % d->n];
        taps[t / 2] = taps16_of(b16_load(w[0]), b16_load(w[1]));
    }
}

/* `steps` steps of the row that begins with output r, from lane i on: steps is a constant. */
static inline __attribute__((always_inline)) void
flat_steps(const struct nb_dwconv_u8 *d, size_t r, size_t i, size_t steps, const struct taps16 *taps)
{
    struct sum16 sum[4];
    for (size_t k = 0; k < steps; k++)
        sum[k] = sum16_zero();
    for (size_t t = 0; t < d->n_taps; t += 2) {
        const uint8_t *x = d->x[r] + i + d->offset[t];
        const uint8_t *z = d->x[r] + i + d->offset[t + 1 < d->n_taps ? t + 1 : t];
        for (size_t k = 0; k < steps; k++)
            sum16_add(&sum[k], b16_load(x + k * CHANNELS), b16_load(z + k * CHANNELS), &taps[t / 2]);
    }
    for (size_t k = 0; k < steps; k++)
        sum16_store(d->y + r * d->n + i + k * CHANNELS, &sum[k]);
}

static void flat(const struct nb_dwconv_u8 *d)
{
    struct taps16 taps[FLAT_PAIRS];
    come_round(taps, d);
    for (size_t r = 0, end; r < d->n_rows; r = end) {
        for (end = r + 1; end < d->n_rows && d->x[end] == d->x[end - 1] + d->n;)
            end++;
        const size_t lanes = (end - r) * d->n;
        size_t i = 0;
        if (lanes < CHANNELS) {
            few_channels(d, r, end);
            continue;
        }
        for (; i + 4 * CHANNELS <= lanes; i += 4 * CHANNELS)
            flat_steps(d, r, i, 4, taps);
        for (; i < lanes; i += CHANNELS)
            flat_steps(d, r, step_at(i, CHANNELS, lanes), 1, taps);
    }
}

void NB_FN(dwconv_s32_u8_s8)(const struct nb_dwconv_u8 *d)
{
    size_t r = 0;
    if (d->n < CHANNELS) {
        const bool round = d->n > 0 && CHANNELS % d->n == 0 && d->y_stride == d->n;
        if (round && d->n_taps <= 2 * FLAT_PAIRS)
            flat(d);
        else
            few_channels(d, 0, d->n_rows);
        return;
    }
    for (; r + 4 <= d->n_rows; r += 4)
        for (size_t i = 0; i < d->n; i += CHANNELS)
            channels(d, r, 4, step_at(i, CHANNELS, d->n));
    for (; r < d->n_rows; r++)
        for (size_t i = 0; i < d->n; i += CHANNELS)
            channels(d, r, 1, step_at(i, CHANNELS, d->n));
}
