/* numfmt/q4_k.c: 256 nibbles in 8 sub-blocks, each with a 6-bit scale and a 6-bit minimum
 * (docs/formats/ggml-blocks.md). 4.5 bits a weight.
 *
 * Layout of a block: 0 d f16; 2 dmin f16; 4 scales[12] (min_k.c); 16 qs[128]: sub-blocks 2c and 2c + 1
 * in the low and high nibbles of qs[32 c ..].
 * value = (d * sc) * q - dmin * m, q 0..15.
 */
#include "numfmt/min_k.h"

enum { BLOCK = NB_MIN_K_BLOCK, SUB = NB_MIN_K_SUB, SUBS = NB_MIN_K_SUBS, BYTES = 144 };

static const struct nb_min_k kind = {.sub = SUB, .top = 15.0F, .scale_top = 63};

static void codes_of(int8_t *codes, const uint8_t *qs)
{
    for (size_t c = 0; c < 4; c++) {
        for (size_t i = 0; i < 32; i++) {
            codes[64 * c + i] = (int8_t)(qs[32 * c + i] & 15);
            codes[64 * c + 32 + i] = (int8_t)(qs[32 * c + i] >> 4);
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
    uint8_t *qs = (uint8_t *)dst + NB_MIN_K_HEAD;
    nb_min_k_write(dst, g);
    for (size_t c = 0; c < 4; c++)
        for (size_t i = 0; i < 32; i++)
            qs[32 * c + i] = (uint8_t)(codes[64 * c + i] | codes[64 * c + 32 + i] << 4);
}

static int32_t round_code(const struct nb_grid *g, uint32_t i, float x, float *value)
{
    return nb_min_k_round(&kind, g, i, x, value);
}

static void fit(struct nb_grid *g, const float *x, const float *importance)
{
    int8_t codes[BLOCK];
    nb_numfmt_fit_k(nb_kernels_get()->fit_q4_k_f32, g, codes, x, importance);
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
    nb_numfmt_encode_k(&nb_numfmt_q4_k, nb_kernels_get()->fit_q4_k_f32, dst, src, importance, n);
}

static nb_gemv_q_fn *gemv(const struct nb_kernels *k)
{
    return k->gemv_f32_q4_k_q8;
}

const struct nb_numfmt nb_numfmt_q4_k = {
    .name = "q4_k",
    .summary = "256 nibbles, 6-bit scale and minimum per 32",
    .layout = "d f16 2 | dmin f16 2 | scales 12 | qs 128",
    .kind = NB_NUMFMT_BLOCK,
    .block = BLOCK,
    .sub = SUB,
    .block_bytes = BYTES,
    .code_min = 0,
    .code_max = 15,
    .has_min = true,
    .gguf_type = 12,
    .gguf_ftype = 14,
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
    .gemv = gemv,
};
