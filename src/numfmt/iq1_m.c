/* numfmt/iq1_m.c: 256 elements as 32 words of a ternary code book of 2048 (iq_grid.h), with a scale of three bits per 16
 * and a shift of an eighth per word (docs/formats/ggml-blocks.md). 1.75 bits a weight.
 *
 * Layout of a block: 0 idx[32]; 32 qh[16], a nibble per word, the even word low: three high bits of the index, and
 * bit 3 set for a shift of -1/8, clear for +1/8; 48 scales u16[4]: the scale l of sub-block s at bits
 * 3 (s % 4) of scales[s / 4]; their four top nibbles are d, an f16, the lowest first.
 * value = (d (2 l + 1)) (g + shift), g -1..1. The codes are 8 g + 8 shift. Words and shifts are found by
 * exact weighted search (iq1.c).
 */
#include "numfmt/iq1.h"

enum {
    BLOCK = NB_IQ1_BLOCK,
    DIM = NB_IQ1_DIM,
    SUB = 16,
    SUBS = 16,
    BYTES = 56,
    QH = 32,
    SCALES = 48
};

static const struct nb_iq1_shape shape = {.sub = SUB, .run = DIM};

static void unpack(struct nb_grid *g, int8_t *codes, const void *src)
{
    const uint8_t *p = src;
    uint32_t d = 0;
    for (size_t k = 0; k < 4; k++)
        d |= (uint32_t)(p[SCALES + 2 * k + 1] >> 4) << 4 * k;
    memset(g, 0, sizeof *g);
    g->d = nb_f16_to_f32((uint16_t)d);
    for (size_t s = 0; s < SUBS; s++) {
        g->scale_code[s] = (int16_t)(nb_load_u16(p + SCALES + 2 * (s / 4)) >> 3 * (s % 4) & 7);
        g->scale[s] = nb_iq1_step(g->d, g->scale_code[s]);
    }
    for (size_t k = 0; k < BLOCK / DIM; k++) {
        const uint32_t h = (uint32_t)p[QH + k / 2] >> 4 * (k % 2);
        nb_iq1_codes(codes + DIM * k, p[k] | (h & 7U) << 8, h & 8U ? -1 : 1);
    }
}

static void pack(void *dst, const struct nb_grid *g, const int8_t *codes)
{
    uint8_t *p = dst;
    const uint32_t d = nb_f32_to_f16(g->d);
    for (size_t k = 0; k < 4; k++) {
        uint32_t v = (d >> 4 * k & 15U) << 12;
        for (size_t j = 0; j < 4; j++)
            v |= (uint32_t)g->scale_code[4 * k + j] << 3 * j;
        nb_store_u16(p + SCALES + 2 * k, (uint16_t)v);
    }
    memset(p + QH, 0, SUBS);
    for (size_t k = 0; k < BLOCK / DIM; k++) {
        const uint32_t index = nb_iq1_index(codes + DIM * k);
        const uint32_t minus = nb_iq1_shift(codes[DIM * k]) < 0 ? 8U : 0U;
        p[k] = (uint8_t)(index & 255U);
        p[QH + k / 2] |= (uint8_t)((index >> 8 | minus) << 4 * (k % 2));
    }
}

static void round_vec(const struct nb_grid *g, uint32_t i, const float *x, const float *w,
                      int8_t *codes, float *values)
{
    nb_iq1_round(x, w, g->scale[i / SUB], 0, codes, values);
}

static void derive(struct nb_grid *g, uint32_t s)
{
    g->scale[s] = nb_iq1_step(g->d, g->scale_code[s]);
}

static void fit(struct nb_grid *g, const float *x, const float *importance)
{
    nb_iq1_fit(g, x, importance, shape);
}

static void refit(struct nb_grid *g, uint32_t s, const float *x, const float *importance)
{
    nb_iq1_refit(g, s, x, importance, shape);
}

static void decode(const void *src, float *dst, size_t n)
{
    nb_iq_decode(&nb_numfmt_iq1_m, src, dst, n);
}

static void expand(const void *src, size_t n, int8_t *codes, float *scale, float *min)
{
    (void)min;
    nb_iq_expand(&nb_numfmt_iq1_m, src, n, codes, scale);
}

static void encode(void *dst, const float *src, const float *importance, size_t n)
{
    nb_numfmt_encode_blocks(&nb_numfmt_iq1_m, dst, src, importance, n);
}

const struct nb_numfmt nb_numfmt_iq1_m = {
    .name = "iq1_m",
    .summary = "ternary words of 8 with a shift, 3-bit scale per 16",
    .layout = "words 32 | qh 16 | scales and d 8",
    .kind = NB_NUMFMT_BLOCK,
    .block = BLOCK,
    .sub = SUB,
    .block_bytes = BYTES,
    .code_min = -9,
    .code_max = 9,
    .dim = DIM,
    .gguf_type = 29,
    .gguf_ftype = 31,
    .decode = decode,
    .encode = encode,
    .fit = fit,
    .refit = refit,
    .round_vec = round_vec,
    .derive = derive,
    .scales = NB_SCALES_OUTER,
    .scale_hi = 7,
    .pack = pack,
    .unpack = unpack,
    .expand_sub = SUB,
    .expand = expand,
};
