/* numfmt/q1_0.c: 128 signs and an f16 scale (docs/formats/ggml-blocks.md). 1.125 bits a weight.
 *
 * Layout of a block: 0 d f16; 2 bits[16], element i at bit i % 8 of bits[i / 8].
 * value = d * code, code -1 or 1. The fit is exact: whatever d > 0, the nearest code is the sign, so
 * the weighted mean of |x| is the best d (Rastegari et al., XNOR-Net, arXiv 1603.05279).
 */
#include "numfmt/numfmt_internal.h"

enum { BLOCK = 128, BYTES = 18, BITS = 2, EXPAND_SUB = 32 };

static void codes_of(int8_t *codes, const uint8_t *p)
{
    for (size_t i = 0; i < BLOCK; i++)
        codes[i] = (int8_t)(2 * (p[BITS + i / 8] >> i % 8 & 1) - 1);
}

static void unpack(struct nb_grid *g, int8_t *codes, const void *src)
{
    const uint8_t *p = src;
    memset(g, 0, sizeof *g);
    g->d = nb_f16_to_f32(nb_load_u16(p));
    g->scale[0] = g->d;
    codes_of(codes, p);
}

static void pack(void *dst, const struct nb_grid *g, const int8_t *codes)
{
    uint8_t *p = dst;
    nb_store_u16(p, nb_f32_to_f16(g->d));
    memset(p + BITS, 0, BYTES - BITS);
    for (size_t i = 0; i < BLOCK; i++)
        p[BITS + i / 8] |= (uint8_t)((codes[i] > 0) << i % 8);
}

static int32_t round_code(const struct nb_grid *g, uint32_t i, float x, float *value)
{
    (void)i;
    const int32_t code = (g->d < 0.0F ? -x : x) >= 0.0F ? 1 : -1;
    *value = g->d * (float)code;
    return code;
}

static void fit(struct nb_grid *g, const float *x, const float *importance)
{
    float w[BLOCK];
    double sum = 0.0;
    double sum_w = 0.0;
    memset(g, 0, sizeof *g);
    nb_numfmt_weights(w, importance, BLOCK);
    for (size_t i = 0; i < BLOCK; i++) {
        sum += (double)w[i] * (x[i] < 0.0F ? -(double)x[i] : (double)x[i]);
        sum_w += (double)w[i];
    }
    g->d = nb_via_f16((float)(sum / sum_w));
    g->scale[0] = g->d;
}

static void refit(struct nb_grid *g, uint32_t s, const float *x, const float *importance)
{
    (void)s;
    fit(g, x, importance);
}

static void decode(const void *src, float *dst, size_t n)
{
    const uint8_t *p = src;
    for (size_t at = 0; at < n; at += BLOCK, p += BYTES) {
        int8_t codes[BLOCK];
        const float d = nb_f16_to_f32(nb_load_u16(p));
        codes_of(codes, p);
        for (size_t i = 0; i < BLOCK; i++)
            dst[at + i] = d * (float)codes[i];
    }
}

static void expand(const void *src, size_t n, int8_t *codes, float *scale, float *min)
{
    (void)min;
    const uint8_t *p = src;
    for (size_t at = 0; at < n; at += BLOCK, p += BYTES) {
        codes_of(codes + at, p);
        for (size_t s = 0; s < BLOCK / EXPAND_SUB; s++)
            *scale++ = nb_f16_to_f32(nb_load_u16(p));
    }
}

static void encode(void *dst, const float *src, const float *importance, size_t n)
{
    nb_numfmt_encode_blocks(&nb_numfmt_q1_0, dst, src, importance, n);
}

const struct nb_numfmt nb_numfmt_q1_0 = {
    .name = "q1_0",
    .summary = "128 signs, one f16 scale",
    .layout = "d f16 2 | bits 16",
    .kind = NB_NUMFMT_BLOCK,
    .block = BLOCK,
    .sub = BLOCK,
    .block_bytes = BYTES,
    .code_min = -1,
    .code_max = 1,
    .gguf_type = 41,
    .gguf_ftype = 40,
    .decode = decode,
    .encode = encode,
    .fit = fit,
    .refit = refit,
    .round = round_code,
    .derive = nb_derive_f16,
    .pack = pack,
    .unpack = unpack,
    .expand_sub = EXPAND_SUB,
    .expand = expand,
};
