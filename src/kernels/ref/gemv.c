/* kernels/ref/gemv.c: a matrix of ggml blocks times one quantized vector.
 *
 * Block layouts: ggml q8_0, q4_0, q4_K, q6_K (docs/kernels.md has the byte tables). Each unpacks a
 * sub-block to codes; block_dot is the canonical step.
 */
#include "kernels/ref/ref.h"

#include "kernels/q4_k.h"

/* sum of code * xq over n columns, exact */
static int32_t isum_of(const int8_t *code, const int8_t *xq, size_t n)
{
    int32_t s = 0;
    for (size_t i = 0; i < n; i++)
        s += (int32_t)code[i] * xq[i];
    return s;
}

void nb_gemv_f32_q8_0_q8_ref(float *y, const void *w, size_t row_bytes, size_t n_rows, size_t k,
                             const struct nb_q8 *x)
{
    for (size_t r = 0; r < n_rows; r++) {
        const uint8_t *b = (const uint8_t *)w + r * row_bytes;
        float acc = 0.0F;
        for (size_t i = 0; i < k / 32; i++, b += 34) {
            int8_t code[32];
            memcpy(code, b + 2, 32);
            const int32_t isum = isum_of(code, x->q + 32 * i, 32);
            acc = fmaf((float)isum, ref_f16(b) * x->d[i], acc);
        }
        y[r] = acc;
    }
}

void nb_gemv_f32_q4_0_q8_ref(float *y, const void *w, size_t row_bytes, size_t n_rows, size_t k,
                             const struct nb_q8 *x)
{
    for (size_t r = 0; r < n_rows; r++) {
        const uint8_t *b = (const uint8_t *)w + r * row_bytes;
        float acc = 0.0F;
        for (size_t i = 0; i < k / 32; i++, b += 18) {
            int8_t code[32];
            for (size_t j = 0; j < 16; j++) {
                code[j] = (int8_t)((b[2 + j] & 15) - 8);
                code[j + 16] = (int8_t)((b[2 + j] >> 4) - 8);
            }
            const int32_t isum = isum_of(code, x->q + 32 * i, 32);
            acc = fmaf((float)isum, ref_f16(b) * x->d[i], acc);
        }
        y[r] = acc;
    }
}

void nb_gemv_f32_q4_k_q8_ref(float *y, const void *w, size_t row_bytes, size_t n_rows, size_t k,
                             const struct nb_q8 *x)
{
    for (size_t r = 0; r < n_rows; r++) {
        const uint8_t *b = (const uint8_t *)w + r * row_bytes;
        float acc = 0.0F;
        for (size_t i = 0; i < k / 32; i++) {
            const size_t j = i % 8; /* sub-block of the super-block at b */
            int8_t code[32];
            for (size_t l = 0; l < 32; l++)
                code[l] = (int8_t)((b[16 + 32 * (j / 2) + l] >> (4 * (j % 2))) & 15);
            const float xd = x->d[i];
            const float scale = ref_f16(b) * (float)q4_k_scale(b + 4, j);
            const float min = -(ref_f16(b + 2) * (float)q4_k_min(b + 4, j));
            const int32_t isum = isum_of(code, x->q + 32 * i, 32);
            const int32_t xsum = x->sum16[2 * i] + x->sum16[2 * i + 1];
            acc = fmaf((float)isum, scale * xd, acc);
            acc = fmaf((float)xsum, min * xd, acc);
            if (j == 7)
                b += 144;
        }
        y[r] = acc;
    }
}

/* Code of element i of a q6_K block. */
static int8_t q6_k_code(const uint8_t *b, size_t i)
{
    const size_t n = i / 128, g = (i % 128) / 32, l = i % 32;
    const unsigned lo = (b[64 * n + 32 * (g & 1) + l] >> (4 * (g >> 1))) & 15U;
    const unsigned hi = (b[128 + 32 * n + l] >> (2 * g)) & 3U;
    return (int8_t)((int)(lo + 16 * hi) - 32);
}

void nb_gemv_f32_q6_k_q8_ref(float *y, const void *w, size_t row_bytes, size_t n_rows, size_t k,
                             const struct nb_q8 *x)
{
    for (size_t r = 0; r < n_rows; r++) {
        const uint8_t *b = (const uint8_t *)w + r * row_bytes;
        float acc = 0.0F;
        for (size_t i = 0; i < k / 16; i++) {
            const size_t j = i % 16;
            int8_t code[16];
            for (size_t l = 0; l < 16; l++)
                code[l] = q6_k_code(b, 16 * j + l);
            const float scale = ref_f16(b + 208) * (float)(int8_t)b[192 + j];
            const int32_t isum = isum_of(code, x->q + 16 * i, 16);
            acc = fmaf((float)isum, scale * x->d[i / 2], acc);
            if (j == 15)
                b += 210;
        }
        y[r] = acc;
    }
}
