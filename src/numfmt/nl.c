/* numfmt/nl.c: what iq4_nl and iq4_xs share: nibbles that index a table of sixteen values, denser
 * around 0 (kernels/nl.h; docs/formats/ggml-blocks.md). A code is the table's value, so that value = scale * code
 * as in the uniform formats.
 */
#include "numfmt/nl.h"

#include <math.h>

/* By the low byte of a code. */
static const uint8_t nibbles[256] = {
    [256 - 127] = 0, [256 - 104] = 1, [256 - 83] = 2, [256 - 65] = 3,
    [256 - 49] = 4,  [256 - 35] = 5,  [256 - 22] = 6, [256 - 10] = 7,
    [1] = 8,         [13] = 9,        [25] = 10,      [38] = 11,
    [53] = 12,       [69] = 13,       [89] = 14,      [113] = 15};

static uint8_t nibble_of(int8_t code)
{
    return nibbles[(uint8_t)code];
}

void nb_nl_read(int8_t *codes, const uint8_t *qs)
{
    for (size_t i = 0; i < 16; i++) {
        codes[i] = nb_nl_values[qs[i] & 15];
        codes[i + 16] = nb_nl_values[qs[i] >> 4];
    }
}

void nb_nl_write(uint8_t *qs, const int8_t *codes)
{
    for (size_t i = 0; i < 16; i++)
        qs[i] = (uint8_t)(nibble_of(codes[i]) | nibble_of(codes[i + 16]) << 4);
}

int32_t nb_nl_round(float scale, float x, float *value)
{
    const int32_t code = nb_nl_values[nb_nl_nearest(x * nb_inverse(scale))];
    *value = scale * (float)code;
    return code;
}

static float trial_error(const float *x, const float *w, float scale)
{
    float sum = 0.0F;
    for (uint32_t i = 0; i < NB_NL_SUB; i++) {
        float value;
        (void)nb_nl_round(scale, x[i], &value);
        sum += w[i] * (x[i] - value) * (x[i] - value);
    }
    return sum;
}

/* Around the scales that put the largest value on either end of the table, up to a third smaller or
 * larger. */
int32_t nb_nl_refit(float d, int32_t lo, int32_t hi, const float *x, const float *importance)
{
    float w[NB_NL_SUB];
    float peak = 0.0F;
    float best = INFINITY;
    int32_t found = 0;
    nb_numfmt_weights(w, importance, NB_NL_SUB);
    for (uint32_t i = 0; i < NB_NL_SUB; i++)
        peak = fabsf(x[i]) > fabsf(peak) ? x[i] : peak;
    for (int end = 0; end < 2; end++) {
        const float scale = peak / (end == 0 ? (float)NB_NL_MIN : (float)NB_NL_MAX);
        const int32_t middle = nb_code(scale, nb_inverse(d), (float)lo, (float)hi);
        const int32_t step = 1 + (middle < 0 ? -middle : middle) / 20;
        for (int32_t c = middle - 7 * step; c <= middle + 7 * step; c += step) {
            const int32_t code = NB_MIN(NB_MAX(c, lo), hi);
            const float e = trial_error(x, w, d * (float)code);
            if (e < best) {
                best = e;
                found = code;
            }
        }
    }
    return found;
}
