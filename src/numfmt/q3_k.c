/* numfmt/q3_k.c: 256 codes of 3 bits in 16 sub-blocks, each with a 6-bit scale
 * (docs/formats/ggml-blocks.md). 3.4375 bits a weight.
 *
 * Layout of a block: 0 hmask[32]; 32 qs[64]; 96 scales[12]; 108 d f16.
 *   Element i: n = i / 128, j = (i % 128) / 32, l = i % 32;
 *   code + 4 = (qs[32 n + l] >> 2 j) & 3 | ((hmask[l] >> i / 32) & 1) << 2
 *   Sub-block k: scale + 32 = (scales[k % 8] >> 4 (k / 8)) & 15 | ((scales[8 + k % 4] >> 2 (k / 4)) & 3) << 4
 * value = (d * scale) * code, code -4..3, scale -32..31.
 */
#include "numfmt/sym_k.h"

enum { BLOCK = NB_SYM_K_BLOCK, SUB = NB_SYM_K_SUB, SUBS = NB_SYM_K_SUBS };
enum { BYTES = 110, QS = 32, SCALES = 96, D = 108 };

static const struct nb_sym_k kind = {.lo = -4.0F, .hi = 3.0F, .top_scale = 31};

static void codes_of(int8_t *codes, const uint8_t *p)
{
    for (size_t n = 0; n < 2; n++) {
        for (size_t j = 0; j < 4; j++) {
            for (size_t l = 0; l < 32; l++) {
                const int low = (p[QS + 32 * n + l] >> 2 * j) & 3;
                const int high = (p[l] >> (4 * n + j)) & 1;
                codes[128 * n + 32 * j + l] = (int8_t)((low | high << 2) - 4);
            }
        }
    }
}

static void unpack(struct nb_grid *g, int8_t *codes, const void *src)
{
    const uint8_t *p = src;
    const uint8_t *sc = p + SCALES;
    memset(g, 0, sizeof *g);
    g->d = nb_f16_to_f32(nb_load_u16(p + D));
    for (size_t s = 0; s < SUBS; s++) {
        const int low = (sc[s % 8] >> 4 * (s / 8)) & 15;
        const int high = (sc[8 + s % 4] >> 2 * (s / 4)) & 3;
        g->scale_code[s] = (int16_t)((low | high << 4) - 32);
        g->scale[s] = g->d * (float)g->scale_code[s];
    }
    codes_of(codes, p);
}

static void pack(void *dst, const struct nb_grid *g, const int8_t *codes)
{
    uint8_t *p = dst;
    for (size_t l = 0; l < 32; l++) {
        unsigned high = 0;
        for (size_t n = 0; n < 2; n++) {
            unsigned low = 0;
            for (size_t j = 0; j < 4; j++) {
                const unsigned c = (unsigned)(codes[128 * n + 32 * j + l] + 4);
                low |= (c & 3U) << 2 * j;
                high |= (c >> 2) << (4 * n + j);
            }
            p[QS + 32 * n + l] = (uint8_t)low;
        }
        p[l] = (uint8_t)high;
    }
    memset(p + SCALES, 0, 12);
    for (size_t s = 0; s < SUBS; s++) {
        const unsigned c = (unsigned)(g->scale_code[s] + 32);
        p[SCALES + s % 8] |= (uint8_t)((c & 15U) << 4 * (s / 8));
        p[SCALES + 8 + s % 4] |= (uint8_t)((c >> 4) << 2 * (s / 4));
    }
    nb_store_u16(p + D, nb_f32_to_f16(g->d));
}

static int32_t round_code(const struct nb_grid *g, uint32_t i, float x, float *value)
{
    return nb_sym_k_round(&kind, g, i, x, value);
}

static void fit(struct nb_grid *g, const float *x, const float *importance)
{
    int8_t codes[BLOCK];
    nb_numfmt_fit_k(nb_kernels_get()->fit_q3_k_f32, g, codes, x, importance);
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
    nb_numfmt_encode_k(&nb_numfmt_q3_k, nb_kernels_get()->fit_q3_k_f32, dst, src, importance, n);
}

const struct nb_numfmt nb_numfmt_q3_k = {
    .name = "q3_k",
    .summary = "256 codes of 3 bits, 6-bit scale per 16",
    .layout = "hmask 32 | qs 64 | scales 12 | d f16 2",
    .kind = NB_NUMFMT_BLOCK,
    .block = BLOCK,
    .sub = SUB,
    .block_bytes = BYTES,
    .code_min = -4,
    .code_max = 3,
    .gguf_type = 11,
    .gguf_ftype = 12,
    .decode = decode,
    .encode = encode,
    .fit = fit,
    .refit = refit,
    .round = round_code,
    .derive = nb_derive_product,
    .scales = NB_SCALES_OUTER,
    .scale_lo = -32,
    .scale_hi = 31,
    .pack = pack,
    .unpack = unpack,
    .expand_sub = SUB,
    .expand = expand,
};
