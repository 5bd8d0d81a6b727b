/* numfmt/q6_k.c: 256 codes of 6 bits in 16 sub-blocks, each with an 8-bit scale
 * (docs/formats/ggml-blocks.md). 6.5625 bits a weight.
 *
 * Layout of a block: 0 ql[128]; 128 qh[64]; 192 scales s8[16]; 208 d f16.
 *   Element i: n = i / 128, g = (i % 128) / 32, l = i % 32;
 *   code + 32 = (ql[64 n + 32 (g & 1) + l] >> 4 (g >> 1)) & 15 | ((qh[32 n + l] >> 2 g) & 3) << 4
 * value = (d * scale) * code, code -32..31.
 */
#include "numfmt/sym_k.h"

enum { BLOCK = NB_SYM_K_BLOCK, SUB = NB_SYM_K_SUB, SUBS = NB_SYM_K_SUBS };
enum { BYTES = 210, QH = 128, SCALES = 192, D = 208 };

static const struct nb_sym_k kind = {.lo = -32.0F, .hi = 31.0F, .top_scale = 127};

static void codes_of(int8_t *codes, const uint8_t *p)
{
    for (size_t n = 0; n < 2; n++) {
        const uint8_t *ql = p + 64 * n;
        const uint8_t *qh = p + QH + 32 * n;
        for (size_t g = 0; g < 4; g++) {
            for (size_t l = 0; l < 32; l++) {
                const int low = (ql[32 * (g & 1) + l] >> 4 * (g >> 1)) & 15;
                const int high = (qh[l] >> 2 * g) & 3;
                codes[128 * n + 32 * g + l] = (int8_t)((low | high << 4) - 32);
            }
        }
    }
}

static void unpack(struct nb_grid *g, int8_t *codes, const void *src)
{
    const uint8_t *p = src;
    memset(g, 0, sizeof *g);
    g->d = nb_f16_to_f32(nb_load_u16(p + D));
    for (size_t s = 0; s < SUBS; s++) {
        g->scale_code[s] = (int8_t)p[SCALES + s];
        g->scale[s] = g->d * (float)g->scale_code[s];
    }
    codes_of(codes, p);
}

static void pack(void *dst, const struct nb_grid *g, const int8_t *codes)
{
    uint8_t *p = dst;
    for (size_t n = 0; n < 2; n++) {
        const int8_t *c = codes + 128 * n;
        for (size_t l = 0; l < 32; l++) {
            const unsigned a = (unsigned)(c[l] + 32);
            const unsigned b = (unsigned)(c[l + 32] + 32);
            const unsigned e = (unsigned)(c[l + 64] + 32);
            const unsigned f = (unsigned)(c[l + 96] + 32);
            p[64 * n + l] = (uint8_t)((a & 15U) | (e & 15U) << 4);
            p[64 * n + 32 + l] = (uint8_t)((b & 15U) | (f & 15U) << 4);
            p[QH + 32 * n + l] = (uint8_t)(a >> 4 | (b >> 4) << 2 | (e >> 4) << 4 | (f >> 4) << 6);
        }
    }
    for (size_t s = 0; s < SUBS; s++)
        p[SCALES + s] = (uint8_t)g->scale_code[s];
    nb_store_u16(p + D, nb_f32_to_f16(g->d));
}

static int32_t round_code(const struct nb_grid *g, uint32_t i, float x, float *value)
{
    return nb_sym_k_round(&kind, g, i, x, value);
}

static void fit(struct nb_grid *g, const float *x, const float *importance)
{
    int8_t codes[BLOCK];
    nb_numfmt_fit_k(nb_kernels_get()->fit_q6_k_f32, g, codes, x, importance);
}

static void refit(struct nb_grid *g, uint32_t s, const float *x, const float *importance)
{
    nb_sym_k_refit(&kind, g, s, x, importance);
}

static void decode(const void *src, float *dst, size_t n)
{
    const uint8_t *p = src;
    for (size_t at = 0; at < n; at += BLOCK, p += BYTES) {
        struct nb_grid g;
        int8_t codes[BLOCK];
        unpack(&g, codes, p);
        nb_sym_k_values(&g, codes, dst + at);
    }
}

static void expand(const void *src, size_t n, int8_t *codes, float *scale, float *min)
{
    (void)min;
    const uint8_t *p = src;
    for (size_t b = 0; b < n / BLOCK; b++, p += BYTES) {
        struct nb_grid g;
        unpack(&g, codes + b * BLOCK, p);
        memcpy(scale + b * SUBS, g.scale, SUBS * sizeof(float));
    }
}

static void encode(void *dst, const float *src, const float *importance, size_t n)
{
    nb_numfmt_encode_k(&nb_numfmt_q6_k, nb_kernels_get()->fit_q6_k_f32, dst, src, importance, n);
}

static nb_gemv_q_fn *gemv(const struct nb_kernels *k)
{
    return k->gemv_f32_q6_k_q8;
}

const struct nb_numfmt nb_numfmt_q6_k = {
    .name = "q6_k",
    .summary = "256 codes of 6 bits, 8-bit scale per 16",
    .layout = "ql 128 | qh 64 | scales 16 | d f16 2",
    .kind = NB_NUMFMT_BLOCK,
    .block = BLOCK,
    .sub = SUB,
    .block_bytes = BYTES,
    .code_min = -32,
    .code_max = 31,
    .gguf_type = 14,
    .gguf_ftype = 18,
    .decode = decode,
    .encode = encode,
    .fit = fit,
    .refit = refit,
    .round = round_code,
    .derive = nb_derive_product,
    .scales = NB_SCALES_OUTER,
    .scale_lo = -128,
    .scale_hi = 127,
    .pack = pack,
    .unpack = unpack,
    .expand_sub = SUB,
    .expand = expand,
    .gemv = gemv,
};
