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

/* Every integer scale there is. hi - lo + 1 is a multiple of 16. */
int32_t nb_nl_refit(float d, int32_t lo, int32_t hi, const float *x, const float *importance)
{
    float w[NB_NL_SUB];
    float error[NB_TRIALS];
    float best = INFINITY;
    int32_t found = 0;
    struct nb_trials t = {.x = x, .w = w, .n = NB_NL_SUB, .n_trials = NB_TRIALS};
    nb_numfmt_weights(w, importance, NB_NL_SUB);
    for (int32_t c = lo; c <= hi; c += NB_TRIALS) {
        for (int32_t i = 0; i < NB_TRIALS; i++) {
            t.scale[i] = d * (float)(c + i);
            t.inv[i] = nb_inverse(t.scale[i]);
        }
        nb_kernels_get()->trial_error_nl_f32(error, &t);
        for (int32_t i = 0; i < NB_TRIALS; i++)
            if (error[i] < best) {
                best = error[i];
                found = c + i;
            }
    }
    return found;
}
