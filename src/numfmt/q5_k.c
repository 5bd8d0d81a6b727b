/* numfmt/q5_k.c: 256 codes of 5 bits in 8 sub-blocks, each with a 6-bit scale and a 6-bit minimum
 * (docs/formats/ggml-blocks.md). 5.5 bits a weight.
 *
 * Layout of a block: 0 d f16; 2 dmin f16; 4 scales[12] (min_k.c); 16 qh[32]: bit j is the fifth bit of
 * element i of sub-block j; 48 qs[128]: the low four bits, as in q4_k.
 * value = (d * sc) * q - dmin * m, q 0..31.
 */
#include "numfmt/min_k.h"

enum { BLOCK = NB_MIN_K_BLOCK, SUB = NB_MIN_K_SUB, SUBS = NB_MIN_K_SUBS, BYTES = 176 };

static const struct nb_min_k kind = {.sub = SUB, .top = 31.0F, .scale_top = 63};

enum { HIGH = 32 }; /* bytes of qh */

static void codes_of(int8_t *codes, const uint8_t *q)
{
    for (size_t j = 0; j < SUBS; j++) {
        for (size_t i = 0; i < SUB; i++) {
            const unsigned low = (unsigned)q[HIGH + 32 * (j / 2) + i] >> 4 * (j % 2) & 15U;
            codes[SUB * j + i] = (int8_t)(low | (q[i] >> j & 1U) << 4);
        }
    }
}

static void unpack(struct nb_grid *g, int8_t *codes, const void *src)
{
    nb_min_k_read(g, src);
    codes_of(codes, (const uint8_t *)src + NB_MIN_K_HEAD);
}

static void pack(void *dst, const struct nb_grid *g, const int8_t *codes)
{
    uint8_t *q = (uint8_t *)dst + NB_MIN_K_HEAD;
    nb_min_k_write(dst, g);
    memset(q, 0, BYTES - NB_MIN_K_HEAD);
    for (size_t j = 0; j < SUBS; j++) {
        for (size_t i = 0; i < SUB; i++) {
            const unsigned code = (unsigned)codes[SUB * j + i];
            q[i] = (uint8_t)(q[i] | (code >> 4) << j);
            uint8_t *low = &q[HIGH + 32 * (j / 2) + i];
            *low = (uint8_t)(*low | (code & 15U) << 4 * (j % 2));
        }
    }
}

static int32_t round_code(const struct nb_grid *g, uint32_t i, float x, float *value)
{
    return nb_min_k_round(&kind, g, i, x, value);
}

static void fit(struct nb_grid *g, const float *x, const float *importance)
{
    int8_t codes[BLOCK];
    nb_numfmt_fit_k(nb_kernels_get()->fit_q5_k_f32, g, codes, x, importance);
}

static void refit(struct nb_grid *g, uint32_t s, const float *x, const float *importance)
{
    nb_min_k_refit(&kind, g, s, x, importance);
}

static void decode(const void *src, float *dst, size_t n)
{
    const uint8_t *p = src;
    for (size_t at = 0; at < n; at += BLOCK, p += BYTES) {
        struct nb_grid g;
        int8_t codes[BLOCK];
        unpack(&g, codes, p);
        nb_min_k_values(&kind, &g, codes, dst + at);
    }
}

static void expand(const void *src, size_t n, int8_t *codes, float *scale, float *min)
{
    const uint8_t *p = src;
    for (size_t b = 0; b < n / BLOCK; b++, p += BYTES) {
        struct nb_grid g;
        unpack(&g, codes + b * BLOCK, p);
        memcpy(scale + b * SUBS, g.scale, SUBS * sizeof(float));
        memcpy(min + b * SUBS, g.offset, SUBS * sizeof(float));
    }
}

static void encode(void *dst, const float *src, const float *importance, size_t n)
{
    nb_numfmt_encode_k(&nb_numfmt_q5_k, nb_kernels_get()->fit_q5_k_f32, dst, src, importance, n);
}

const struct nb_numfmt nb_numfmt_q5_k = {
    .name = "q5_k",
    .summary = "256 codes of 5 bits, 6-bit scale and minimum per 32",
    .layout = "d f16 2 | dmin f16 2 | scales 12 | qh 32 | qs 128",
    .kind = NB_NUMFMT_BLOCK,
    .block = BLOCK,
    .sub = SUB,
    .block_bytes = BYTES,
    .code_min = 0,
    .code_max = 31,
    .has_min = true,
    .gguf_type = 13,
    .gguf_ftype = 16,
    .decode = decode,
    .encode = encode,
    .fit = fit,
    .refit = refit,
    .round = round_code,
    .derive = nb_min_k_derive,
    .scales = NB_SCALES_OUTER,
    .scale_hi = 63,
    .min_hi = 63,
    .pack = pack,
    .unpack = unpack,
    .expand_sub = SUB,
    .expand = expand,
};
