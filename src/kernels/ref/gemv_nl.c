/* kernels/ref/gemv_nl.c: gemv.c for the formats whose nibbles index a table (nl.h): ggml iq4_nl, iq4_xs. */
#include "kernels/ref/ref.h"

#include "kernels/nl.h"

/* sum of table[nibble] * xq over the 32 columns of 16 bytes, exact */
static int32_t isum_of(const uint8_t *qs, const int8_t *xq)
{
    int32_t s = 0;
    for (size_t i = 0; i < 16; i++)
        s += nb_nl_values[qs[i] & 15] * xq[i] + nb_nl_values[qs[i] >> 4] * xq[i + 16];
    return s;
}

void nb_gemv_f32_iq4_nl_q8_ref(float *y, const void *w, size_t row_bytes, size_t n_rows, size_t k,
                               const struct nb_q8 *x)
{
    for (size_t r = 0; r < n_rows; r++) {
        const uint8_t *b = (const uint8_t *)w + r * row_bytes;
        float acc = 0.0F;
        for (size_t i = 0; i < k / 32; i++, b += 18)
            acc = fmaf((float)isum_of(b + 2, x->q + 32 * i), ref_f16(b) * x->d[i], acc);
        y[r] = acc;
    }
}

void nb_gemv_f32_iq4_xs_q8_ref(float *y, const void *w, size_t row_bytes, size_t n_rows, size_t k,
                               const struct nb_q8 *x)
{
    for (size_t r = 0; r < n_rows; r++) {
        const uint8_t *row = (const uint8_t *)w + r * row_bytes;
        float acc = 0.0F;
        for (size_t i = 0; i < k / 32; i++) {
            const uint8_t *b = row + i / 8 * 136;
            const size_t j = i % 8; /* sub-block of the super-block at b */
            const unsigned high = (unsigned)b[2 + j / 4] >> 2 * (j % 4) & 3U;
            const unsigned low = (unsigned)b[4 + j / 2] >> 4 * (j % 2) & 15U;
            const float scale = ref_f16(b) * (float)((int)(low | high << 4) - 32);
            const int32_t isum = isum_of(b + 8 + 16 * j, x->q + 32 * i);
            acc = fmaf((float)isum, scale * x->d[i], acc);
        }
        y[r] = acc;
    }
}
