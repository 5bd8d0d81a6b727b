/* numfmt/q2_k.c: 256 codes of 2 bits in 16 sub-blocks, each with a 4-bit scale and a 4-bit minimum
 * (docs/formats/ggml-blocks.md). 2.625 bits a weight.
 *
 * Layout of a block: 0 scales[16]: scale in the low nibble, minimum in the high one; 16 qs[64]; 80 d f16;
 * 82 dmin f16. Element i: n = i / 128, j = (i % 128) / 32, l = i % 32; code = (qs[32 n + l] >> 2 j) & 3.
 * value = (d * scale) * code - dmin * minimum, code 0..3.
 */
#include "numfmt/min_k.h"

enum { BLOCK = NB_MIN_K_BLOCK, SUB = 16, SUBS = 16, BYTES = 84, QS = 16, D = 80, DMIN = 82 };

static const struct nb_min_k kind = {.sub = SUB, .top = 3.0F, .scale_top = 15};

static void unpack(struct nb_grid *g, int8_t *codes, const void *src)
{
    const uint8_t *p = src;
    memset(g, 0, sizeof *g);
    g->d = nb_f16_to_f32(nb_load_u16(p + D));
    g->dmin = nb_f16_to_f32(nb_load_u16(p + DMIN));
    for (uint32_t s = 0; s < SUBS; s++) {
        g->scale_code[s] = p[s] & 15;
        g->min_code[s] = p[s] >> 4;
        nb_min_k_derive(g, s);
    }
    for (size_t n = 0; n < 2; n++)
        for (size_t j = 0; j < 4; j++)
            for (size_t l = 0; l < 32; l++)
                codes[128 * n + 32 * j + l] = (int8_t)((p[QS + 32 * n + l] >> 2 * j) & 3);
}

static void pack(void *dst, const struct nb_grid *g, const int8_t *codes)
{
    uint8_t *p = dst;
    for (size_t s = 0; s < SUBS; s++)
        p[s] = (uint8_t)(g->scale_code[s] | g->min_code[s] << 4);
    for (size_t n = 0; n < 2; n++) {
        const int8_t *c = codes + 128 * n;
        for (size_t l = 0; l < 32; l++)
            p[QS + 32 * n + l] = (uint8_t)(c[l] | c[l + 32] << 2 | c[l + 64] << 4 | c[l + 96] << 6);
    }
    nb_store_u16(p + D, nb_f32_to_f16(g->d));
    nb_store_u16(p + DMIN, nb_f32_to_f16(g->dmin));
}

static int32_t round_code(const struct nb_grid *g, uint32_t i, float x, float *value)
{
    return nb_min_k_round(&kind, g, i, x, value);
}

static void fit(struct nb_grid *g, const float *x, const float *importance)
{
    int8_t codes[BLOCK];
    nb_numfmt_fit_k(nb_kernels_get()->fit_q2_k_f32, g, codes, x, importance);
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
    nb_numfmt_encode_k(&nb_numfmt_q2_k, nb_kernels_get()->fit_q2_k_f32, dst, src, importance, n);
}

const struct nb_numfmt nb_numfmt_q2_k = {
    .name = "q2_k",
    .summary = "256 codes of 2 bits, 4-bit scale and minimum per 16",
    .layout = "scales 16 | qs 64 | d f16 2 | dmin f16 2",
    .kind = NB_NUMFMT_BLOCK,
    .block = BLOCK,
    .sub = SUB,
    .block_bytes = BYTES,
    .code_min = 0,
    .code_max = 3,
    .has_min = true,
    .gguf_type = 10,
    .gguf_ftype = 10,
    .decode = decode,
    .encode = encode,
    .fit = fit,
    .refit = refit,
    .round = round_code,
    .derive = nb_min_k_derive,
    .scales = NB_SCALES_OUTER,
    .scale_hi = 15,
    .min_hi = 15,
    .pack = pack,
    .unpack = unpack,
    .expand_sub = SUB,
    .expand = expand,
};
