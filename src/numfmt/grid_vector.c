/* numfmt/grid_vector.c: rows as vectors of neighbours, each the nearest of a codebook (math/vq.c).
 *
 * With a scale per channel the book describes rows divided by their root mean square.
 */
#include "numfmt/grid_internal.h"

#include <math.h>

#define WORDS 32 /* at once */

float nb_grid_row_rms(const float *x, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return (float)sqrt(sum / (double)n);
}

void nb_grid_encode_vectors(const struct nb_tensor *t, const float *importance, const float *x,
                            uint64_t row, uint8_t *const part[NB_MAX_PARTS])
{
    const struct nb_element *e = t->type->grid->elem;
    const uint8_t *book = nb_part_row(t, NB_PART_LEVELS, row);
    const size_t cols = (size_t)nb_shape_cols(&t->shape), words = cols / e->dim;
    float scaled[WORDS * NB_VQ_MAX_DIM];
    float weight[WORDS * NB_VQ_MAX_DIM];
    float inv = 1.0F;
    if (t->type->grid->scale == NB_SCALE_F32) {
        const float rms = nb_grid_row_rms(x, cols);
        nb_store_u32(part[NB_PART_SCALES], nb_f32_bits(rms));
        inv = nb_inverse(rms);
    }
    for (size_t at = 0; at < words; at += WORDS) {
        uint16_t codes[WORDS];
        const size_t n = NB_MIN((size_t)WORDS, words - at);
        for (size_t i = 0; i < n * e->dim; i++) {
            scaled[i] = x[at * e->dim + i] * inv;
            weight[i] = importance == NULL ? 1.0F : importance[at * e->dim + i];
        }
        const struct nb_vq_search q = {
            .codebook = (const float *)(const void *)book,
            .k = 1U << e->bits,
            .dim = e->dim,
            .x = scaled,
            .w = weight,
            .n_w = importance == NULL ? 0 : n * e->dim,
        };
        (void)nb_vq_nearest(&q, 0, n, codes);
        nb_codes_pack(part[NB_PART_CODES], codes, e->bits, at, n);
    }
}
